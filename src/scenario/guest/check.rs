//! What cannot be, whatever the QEMUs: the key to change, and what would be right.

use super::super::Qemu;
use super::{Guest, GuestKind, Load, OwnGuest};
use base::units::{Bytes, Micros, PAGE_BYTES};

/// What cannot be, at which key.
type Problem = (&'static str, String);

const MIB: u64 = 1 << 20;
const LARGEST: Bytes = Bytes(12 << 30);
/// Linux takes 2048 bytes of command line, of which ours are some 1000.
const WORDS_MAX: usize = 800;

impl Guest {
    pub(crate) fn problem(&self) -> Option<Problem> {
        self.heart().or_else(|| self.shares()).or_else(|| self.kind_problem()).or_else(
            || match self.kind {
                GuestKind::Micro => self.sizes(16 * MIB, self.micro_needs()),
                GuestKind::Linux => {
                    self.words().or_else(|| self.sizes(128 * MIB, self.linux_needs()))
                }
                GuestKind::Own => self.own.problem().or_else(|| self.memory_problem(MIB)),
            },
        )
    }

    /// Its image, the firmware's part, and 4 bytes a page for its table.
    fn micro_needs(&self) -> u64 {
        (8 << 20) + self.working_set.0 / 1024
    }

    /// The kernel, its own program and its table; the load's program, which is there twice while the initramfs is unpacked, and what the
    /// load takes. Measured on Debian 12's kernel with 256 MiB (MemAvailable at the first beat).
    fn linux_needs(&self) -> u64 {
        let program = match self.load {
            Load::None => 0,
            Load::Stress => 8,
            Load::Memcached => 20,
            Load::Redis => 40,
            Load::StressNg => 80,
        };
        let taken = if self.load == Load::None { 0 } else { self.load_memory.0 };
        (80 + program) * MIB + self.working_set.0 / 256 + taken
    }

    fn memory_problem(&self, least: u64) -> Option<Problem> {
        let key = "guest.memory";
        if self.memory.0 < least || self.memory > LARGEST {
            let range = format!("this guest takes from {} to {LARGEST}", Bytes(least));
            return Some((key, format!("{} is out of range; {range}", self.memory)));
        }
        let uneven = !self.memory.0.is_multiple_of(MIB);
        uneven.then(|| (key, format!("{} is not a whole number of MiB", self.memory)))
    }

    fn sizes(&self, least: u64, own: u64) -> Option<Problem> {
        if let Some(problem) = self.memory_problem(least) {
            return Some(problem);
        }
        let key = "guest.working_set";
        let may_be_nothing = self.kind == GuestKind::Linux;
        if self.working_set.0 < PAGE_BYTES && !(may_be_nothing && self.working_set.0 == 0) {
            return Some((key, format!("{} is less than one page (4KiB)", self.working_set)));
        }
        if !self.working_set.0.is_multiple_of(PAGE_BYTES) {
            return Some((
                key,
                format!("{} is not a whole number of pages (4KiB)", self.working_set),
            ));
        }
        let needed = self.working_set.0.saturating_add(own);
        let beside = if self.load == Load::None { "" } else { " and its load" };
        let problem = || {
            format!(
                "a working set of {} does not fit into guest.memory = {} (it needs {} with the guest itself{beside}); raise the one or \
                 lower the other",
                self.working_set,
                self.memory,
                Bytes(needed.div_ceil(MIB) << 20)
            )
        };
        (needed > self.memory.0).then(|| (key, problem()))
    }

    fn heart(&self) -> Option<Problem> {
        let silent = self.kind == GuestKind::Own && self.heartbeat == Micros(0);
        let wrong = !silent && !(50..=10_000_000).contains(&self.heartbeat.0);
        wrong.then(|| {
            ("guest.heartbeat", format!("{} is out of range; from 50us to 10s", self.heartbeat))
        })
    }

    fn shares(&self) -> Option<Problem> {
        let percents = [
            ("guest.reads_percent", self.reads_percent),
            ("guest.hot_memory_percent", self.hot_memory_percent),
            ("guest.hot_writes_percent", self.hot_writes_percent),
        ];
        let too_much = percents.into_iter().find(|(_, percent)| *percent > 100);
        let zipf = || format!("{} is out of range; from 0 to 4", self.zipf);
        too_much
            .map(|(key, percent)| (key, format!("{percent} % is more than all")))
            .or_else(|| (!(0.0..=4.0).contains(&self.zipf)).then(|| ("guest.zipf", zipf())))
    }

    /// Keys of another kind of guest.
    fn kind_problem(&self) -> Option<Problem> {
        if self.load != Load::None && self.kind != GuestKind::Linux {
            return Some((
                "guest.load",
                "only guest.kind = \"linux\" has a load beside the guest".to_owned(),
            ));
        }
        let append = self.own.append.clone().filter(|_| self.kind == GuestKind::Linux);
        let foreign = self.kind.is_ours() && self.own != OwnGuest { append, ..OwnGuest::default() };
        foreign.then(|| {
            let keys = "kernel, initrd, append, disk, ready and their like";
            ("guest.kind", format!("{keys} are for guest.kind = \"own\""))
        })
    }

    /// Linux's command line is not endless, and a quotation mark would end our word in it.
    fn words(&self) -> Option<Problem> {
        let texts = [
            ("guest.load_arguments", self.load_arguments.as_str()),
            ("guest.append", self.own.append.as_deref().unwrap_or_default()),
        ];
        let too_long = texts.iter().map(|(_, text)| text.len()).sum::<usize>() > WORDS_MAX;
        let quoted = texts.into_iter().find(|(_, text)| text.contains(['"', '\n']));
        match quoted {
            Some((key, _)) => Some((
                key,
                "quotation marks and ends of lines cannot go through Linux's command line"
                    .to_owned(),
            )),
            None => too_long.then(|| {
                (
                    "guest.load_arguments",
                    format!("more than {WORDS_MAX} characters with guest.append"),
                )
            }),
        }
    }
}

impl OwnGuest {
    fn problem(&self) -> Option<Problem> {
        if self.kernel.is_none() && (self.initrd.is_some() || self.append.is_some()) {
            return Some((
                "guest.kernel",
                "an initramfs and a command line belong to a kernel; name it too (--kernel)"
                    .to_owned(),
            ));
        }
        let without_disk =
            self.disk.is_none() && (self.disk_format, self.disk_access) != Default::default();
        if without_disk {
            return Some((
                "guest.disk",
                "disk_format and disk_access say something about a disk; name it too (--disk)"
                    .to_owned(),
            ));
        }
        let nothing = self.ready.as_ref().is_some_and(String::is_empty);
        nothing.then(|| {
            (
                "guest.ready",
                "no text would be found at once; leave it out, or give ready_after".to_owned(),
            )
        })
    }
}

/// Arguments that would take the VM out of the lab's hands or lose what the guest writes, and why.
const HARMFUL: [(&str, &str); 4] = [
    ("-incoming", "the lab says itself which QEMU waits for the guest"),
    ("-daemonize", "the lab could neither watch nor end it"),
    (
        "-snapshot",
        "each QEMU would have a copy of its own: after the migration the guest's writes would be gone. guest.disk_access = \"overlay\" (--disk) throws them away at the end instead",
    ),
    ("-loadvm", "the two QEMUs would not be alike"),
];
/// The same within an argument.
const HARMFUL_OPTIONS: [(&str, &str); 2] = [
    (
        "snapshot=on",
        "each QEMU would have a copy of its own: after the migration the guest's writes would be gone",
    ),
    (
        "locking=off",
        "QEMU's lock is what keeps a third program from writing the image meanwhile; migration does not need it off",
    ),
];

impl Qemu {
    pub(crate) fn problem(&self, guest: &Guest) -> Option<Problem> {
        if guest.kind == GuestKind::Own
            && self.arguments.is_empty()
            && guest.own.kernel.is_none()
            && guest.own.disk.is_none()
        {
            let how = "a kernel (--kernel), a disk (--disk), or QEMU's own arguments (after --)";
            return Some((
                "guest.kind",
                format!("a guest of your own has to boot something: {how}"),
            ));
        }
        self.arguments.iter().find_map(|argument| {
            // QEMU takes two dashes as well.
            let option =
                argument.strip_prefix('-').filter(|rest| rest.starts_with('-')).unwrap_or(argument);
            let harmful = HARMFUL.iter().find(|(name, _)| option == *name);
            let harmful = harmful
                .or_else(|| HARMFUL_OPTIONS.iter().find(|(part, _)| argument.contains(part)));
            harmful.map(|(_, why)| ("qemu.arguments", format!("`{argument}` cannot be: {why}")))
        })
    }
}
