//! Finds invalid values of a guest, and of QEMU's arguments: the key to change, and what to do.

use super::super::Qemu;
use super::{Guest, GuestKind, Load, OwnGuest};
use base::units::{Bytes, Micros, PAGE_BYTES};

/// A key, and what is wrong with its value.
type Problem = (&'static str, String);

const MIB: u64 = 1 << 20;
/// The most memory that the test guests support.
const MAX_MEMORY: Bytes = Bytes(12 << 30);
/// Linux accepts a command line of 2048 bytes, of which we use about 1000.
const MAX_ARGUMENT_BYTES: usize = 800;

impl Guest {
    pub(crate) fn find_problem(&self) -> Option<Problem> {
        self.find_heartbeat_problem()
            .or_else(|| self.find_share_problem())
            .or_else(|| self.find_kind_problem())
            .or_else(|| match self.kind {
                GuestKind::Micro => self.find_size_problem(16 * MIB, self.micro_guest_bytes()),
                GuestKind::Linux => self
                    .find_argument_problem()
                    .or_else(|| self.find_size_problem(128 * MIB, self.linux_guest_bytes())),
                GuestKind::Own => self.own.find_problem().or_else(|| self.find_memory_problem(MIB)),
            })
    }

    /// Memory of the micro-guest itself: its image, the firmware, and 4 bytes for each page of the
    /// working set.
    fn micro_guest_bytes(&self) -> u64 {
        (8 << 20) + self.working_set.0 / 1024
    }

    /// Memory of the Linux guest itself: the kernel, the guest program and its page table, the
    /// load's program (two copies while the initramfs is unpacked), and the load's own memory.
    /// Measured on Debian 12's kernel with 256 MiB, as MemAvailable at the first heartbeat.
    fn linux_guest_bytes(&self) -> u64 {
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

    fn find_memory_problem(&self, least: u64) -> Option<Problem> {
        let key = "guest.memory";
        if self.memory.0 < least || self.memory > MAX_MEMORY {
            let range = format!("this guest needs from {} to {MAX_MEMORY}", Bytes(least));
            return Some((key, format!("{} is out of range; {range}", self.memory)));
        }
        let uneven = !self.memory.0.is_multiple_of(MIB);
        uneven.then(|| (key, format!("{} is not a whole number of MiB", self.memory)))
    }

    fn find_size_problem(&self, least: u64, own: u64) -> Option<Problem> {
        if let Some(problem) = self.find_memory_problem(least) {
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
                "a working set of {} does not fit into guest.memory = {} (it needs {} with the \
                 guest itself{beside}); lower guest.working_set or raise guest.memory",
                self.working_set,
                self.memory,
                Bytes(needed.div_ceil(MIB) << 20)
            )
        };
        (needed > self.memory.0).then(|| (key, problem()))
    }

    fn find_heartbeat_problem(&self) -> Option<Problem> {
        let silent = self.kind == GuestKind::Own && self.heartbeat == Micros(0);
        let wrong = !silent && !(50..=10_000_000).contains(&self.heartbeat.0);
        wrong.then(|| {
            ("guest.heartbeat", format!("{} is out of range; from 50us to 10s", self.heartbeat))
        })
    }

    fn find_share_problem(&self) -> Option<Problem> {
        let percents = [
            ("guest.reads_percent", self.reads_percent),
            ("guest.hot_memory_percent", self.hot_memory_percent),
            ("guest.hot_writes_percent", self.hot_writes_percent),
        ];
        let too_much = percents.into_iter().find(|(_, percent)| *percent > 100);
        let zipf = || format!("{} is out of range; from 0 to 4", self.zipf);
        too_much
            .map(|(key, percent)| (key, format!("{percent} % is more than 100 %")))
            .or_else(|| (!(0.0..=4.0).contains(&self.zipf)).then(|| ("guest.zipf", zipf())))
    }

    /// Finds a key that belongs to another kind of guest.
    fn find_kind_problem(&self) -> Option<Problem> {
        if self.load != Load::None && self.kind != GuestKind::Linux {
            return Some(("guest.load", "only guest.kind = \"linux\" can run a load".to_owned()));
        }
        let append = self.own.append.clone().filter(|_| self.kind == GuestKind::Linux);
        let foreign = self.kind.is_ours() && self.own != OwnGuest { append, ..OwnGuest::default() };
        foreign.then(|| {
            let keys = "kernel, initrd, append, disk, ready and related keys";
            ("guest.kind", format!("{keys} need guest.kind = \"own\""))
        })
    }

    /// Finds text that cannot be passed on Linux's command line: its length is limited, and a
    /// quotation mark would end our argument.
    fn find_argument_problem(&self) -> Option<Problem> {
        let texts = [
            ("guest.load_arguments", self.load_arguments.as_str()),
            ("guest.append", self.own.append.as_deref().unwrap_or_default()),
        ];
        let too_long = texts.iter().map(|(_, text)| text.len()).sum::<usize>() > MAX_ARGUMENT_BYTES;
        let quoted = texts.into_iter().find(|(_, text)| text.contains(['"', '\n']));
        match quoted {
            Some((key, _)) => Some((
                key,
                "must not contain quotation marks or line ends, because it is passed on Linux's \
                 command line"
                    .to_owned(),
            )),
            None => too_long.then(|| {
                (
                    "guest.load_arguments",
                    format!(
                        "has more than {MAX_ARGUMENT_BYTES} characters together with guest.append"
                    ),
                )
            }),
        }
    }
}

impl OwnGuest {
    fn find_problem(&self) -> Option<Problem> {
        if self.kernel.is_none() && (self.initrd.is_some() || self.append.is_some()) {
            return Some((
                "guest.kernel",
                "guest.initrd and guest.append need a kernel; name it with --kernel".to_owned(),
            ));
        }
        let without_disk =
            self.disk.is_none() && (self.disk_format, self.disk_access) != Default::default();
        if without_disk {
            return Some((
                "guest.disk",
                "guest.disk_format and guest.disk_access need a disk; name it with --disk"
                    .to_owned(),
            ));
        }
        let nothing = self.ready.as_ref().is_some_and(String::is_empty);
        nothing.then(|| {
            (
                "guest.ready",
                "an empty text would be found at once; leave it out, or give guest.ready_after"
                    .to_owned(),
            )
        })
    }
}

/// Arguments that would take control of the VM from the lab or lose what the guest writes, and why.
const HARMFUL: [(&str, &str); 4] = [
    ("-incoming", "the lab itself decides which QEMU is the destination"),
    ("-daemonize", "the lab could neither monitor nor end the process"),
    (
        "-snapshot",
        "each QEMU would have its own copy, so after the migration the guest's writes would be lost. \
         To discard them at the end instead, use guest.disk_access = \"overlay\" (--disk)",
    ),
    ("-loadvm", "the two QEMUs would differ"),
];
/// Texts within an argument that would do the same, and why.
const HARMFUL_OPTIONS: [(&str, &str); 2] = [
    (
        "snapshot=on",
        "each QEMU would have its own copy, so after the migration the guest's writes would be lost",
    ),
    (
        "locking=off",
        "QEMU's lock prevents other programs from writing to the image; migration works with the lock on",
    ),
];

impl Qemu {
    pub(crate) fn find_problem(&self, guest: &Guest) -> Option<Problem> {
        if guest.kind == GuestKind::Own
            && self.arguments.is_empty()
            && guest.own.kernel.is_none()
            && guest.own.disk.is_none()
        {
            let how = "a kernel (--kernel), a disk (--disk), or QEMU arguments (after --)";
            return Some(("guest.kind", format!("your own guest needs something to boot: {how}")));
        }
        self.arguments.iter().find_map(|argument| {
            // QEMU accepts two dashes as well.
            let option =
                argument.strip_prefix('-').filter(|rest| rest.starts_with('-')).unwrap_or(argument);
            let harmful = HARMFUL.iter().find(|(name, _)| option == *name);
            let harmful = harmful
                .or_else(|| HARMFUL_OPTIONS.iter().find(|(part, _)| argument.contains(part)));
            harmful
                .map(|(_, why)| ("qemu.arguments", format!("`{argument}` is not allowed: {why}")))
        })
    }
}
