//! The arguments of a lab's QEMU. Pure.

use super::boot::{Boot, Disk};
use record::vm_name;
use scenario::{Accel, Guest, OwnGuest, Scenario, serialized_name};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// How often the guest says how much it has written: its write rate over time, for some 20 bytes each.
const REPORT_US: u64 = 50_000;

/// Linux's own words. The console says what is grave; the guest program has priority over its load, also where that has a session of its
/// own; a TSC whose rate is given is the clock, and no timer is tried out that a busy host could delay. The last three take time off the
/// boot (docs/how-to/guest.md).
const LINUX: &str = "console=ttyS0 quiet loglevel=1 panic=-1 noautogroup tsc=reliable no_timer_check cryptomgr.notests noreplace-smp \
                     ipv6.disable=1";

/// Where the sockets of one VM are.
pub(super) struct Place {
    directory: PathBuf,
    name: String,
}

/// What tells the VMs of a lab apart.
pub(super) struct Role {
    /// Waits for a migration.
    pub(super) incoming: bool,
    /// Where its traces go.
    pub(super) trace: Option<PathBuf>,
}

impl Place {
    pub(super) fn new(directory: &Path, vm: u32) -> Place {
        Place { directory: directory.to_owned(), name: vm_name(vm) }
    }

    pub(super) fn control(&self) -> PathBuf {
        self.directory.join(format!("{}.qmp", self.name))
    }

    pub(super) fn sampling(&self) -> PathBuf {
        self.directory.join(format!("{}.samples", self.name))
    }

    pub(super) fn heartbeat(&self) -> PathBuf {
        self.directory.join(format!("{}.beats", self.name))
    }

    pub(super) fn answers(&self) -> PathBuf {
        self.directory.join(format!("{}.answers", self.name))
    }

    pub(super) fn console(&self) -> PathBuf {
        self.directory.join(format!("{}.console", self.name))
    }
}

/// All arguments of one VM. All are alike but for `-incoming`, sockets and files: a rule of migration.
pub(super) fn arguments(
    scenario: &Scenario,
    accel: Accel,
    role: &Role,
    place: &Place,
    boot: &Boot,
) -> Vec<OsString> {
    let mib = scenario.guest.memory.0 >> 20;
    let mut list: Vec<OsString> = Vec::new();
    let mut add = |words: &[&str]| list.extend(words.iter().map(OsString::from));
    add(&[
        "-name",
        &format!("switchover-{}", place.name),
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-no-reboot",
    ]);
    add(&["-machine", &machine(scenario, accel, boot), "-m", &format!("{mib}M"), "-smp", "1"]);
    match (accel, boot) {
        (Accel::Kvm, _) => add(&["-cpu", "host"]),
        // Without it Linux thinks that the timer stops when the CPU is idle, and where it has no other, its sleeps last up to 4 ms.
        (_, Boot::Linux { .. }) => add(&["-cpu", "qemu64,+arat"]),
        _ => {}
    }
    add(&["-msg", "timestamp=on"]);
    for path in [place.control(), place.sampling()] {
        add(&["-qmp", &format!("unix:{},server=off", escaped(&path))]);
    }
    if scenario.guest.has_heartbeat() {
        add(&[
            "-chardev",
            &socket("beats", &place.heartbeat()),
            "-device",
            "isa-debugcon,iobase=0xe9,chardev=beats",
        ]);
    }
    if scenario.guest.load.is_application() {
        add(&[
            "-chardev",
            &socket("answers", &place.answers()),
            "-device",
            "isa-debugcon,iobase=0xea,chardev=answers",
        ]);
    }
    add(&["-chardev", &socket("console", &place.console()), "-serial", "chardev:console"]);
    let on_microvm = scenario.qemu.machine.name() == "microvm";
    for word in booted(&scenario.guest, boot, on_microvm) {
        add(&[&word]);
    }
    if let Some(trace) = &role.trace {
        // A pattern that matches nothing is no error: QEMU before 8.2 has none of these.
        add(&["-D", &trace.to_string_lossy(), "-trace", "vmstate_downtime_*"]);
        if scenario.record.fault_trace {
            add(&["-trace", "postcopy_page_req_*"]);
        }
    }
    for argument in &scenario.qemu.arguments {
        add(&[argument]);
    }
    if role.incoming {
        // With a direct -incoming URI, multifd and preempt would come too late (facts/qemu.md §4.1).
        add(&["-incoming", "defer"]);
    }
    list
}

fn machine(scenario: &Scenario, accel: Accel, boot: &Boot) -> String {
    let name = scenario.qemu.machine.name();
    // QEMU takes only one of the two; the user's may say more: `-accel kvm,dirty-ring-size=4096`.
    let own = scenario.qemu.arguments.iter().any(|word| word == "-accel");
    let accel = if own { String::new() } else { format!(",accel={}", serialized_name(&accel)) };
    match (name, boot) {
        // No clock devices beyond the PIT that the guest calibrates on; the serial port is its console; and microvm would add its
        // virtio devices to the guest's command line.
        ("microvm", Boot::Micro { .. }) => {
            format!("microvm{accel},isa-serial=on,pit=on,pic=on,rtc=off,auto-kernel-cmdline=off")
        }
        // Linux would wait a second for an RTC that is not there. Without ACPI there is less to find out, and the PIT is its timer.
        ("microvm", Boot::Linux { .. }) => {
            format!(
                "microvm{accel},isa-serial=on,pit=on,pic=on,rtc=on,acpi=off,auto-kernel-cmdline=off"
            )
        }
        _ => format!("{name}{accel}"),
    }
}

/// What the guest boots.
fn booted(guest: &Guest, boot: &Boot, on_microvm: bool) -> Vec<String> {
    let option = |name: &str, value: String| [name.to_owned(), value];
    let path = |path: &Path| path.to_string_lossy().into_owned();
    match boot {
        Boot::Micro { image } => {
            [option("-kernel", path(image)), option("-append", guest_words(guest))].concat()
        }
        Boot::Linux { kernel, initrd, tsc_khz } => {
            let (kernel, initrd) =
                (option("-kernel", path(kernel)), option("-initrd", path(initrd)));
            [kernel, initrd, option("-append", linux_words(guest, *tsc_khz))].concat()
        }
        Boot::Own { disk } => {
            let OwnGuest { kernel, initrd, append, .. } = &guest.own;
            let given = [("-kernel", kernel), ("-initrd", initrd), ("-append", append)];
            let given = given
                .into_iter()
                .filter_map(|(name, value)| Some(option(name, value.clone()?)))
                .flatten();
            given.chain(disk.iter().flat_map(|disk| disk_words(disk, on_microvm))).collect()
        }
    }
}

/// The image stays the node `disk-file` whatever lies over it. All QEMUs open it; QEMU's own locks (`locking=auto`) let only the one
/// write that runs the guest, and keep others out.
fn disk_words(disk: &Disk, on_microvm: bool) -> Vec<String> {
    let node =
        |name: &str, driver: &str, rest: &str| format!("node-name={name},driver={driver},{rest}");
    let read_only = if disk.read_only || disk.overlay.is_some() { ",read-only=on" } else { "" };
    let file = |path: &Path| format!("filename={}{read_only}", escaped(path));
    let mut nodes = vec![node("disk-file", "file", &file(&disk.image))];
    let image = if disk.overlay.is_some() { "disk-image" } else { "disk" };
    nodes.push(node(image, &serialized_name(&disk.format), &format!("file=disk-file{read_only}")));
    if let Some(overlay) = &disk.overlay {
        nodes.push(node("disk-overlay-file", "file", &format!("filename={}", escaped(overlay))));
        nodes.push(node("disk", "qcow2", "file=disk-overlay-file,backing=disk-image"));
    }
    let device = if on_microvm { "virtio-blk-device" } else { "virtio-blk-pci" };
    let nodes = nodes.into_iter().flat_map(|node| ["-blockdev".to_owned(), node]);
    nodes.chain(["-device".to_owned(), format!("{device},drive=disk")]).collect()
}

fn socket(id: &str, path: &Path) -> String {
    format!("socket,id={id},path={},server=off", escaped(path))
}

/// A comma in an option's value is written twice.
fn escaped(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

/// What the guest program is told: fixtures/guest/README.md.
fn guest_words(guest: &Guest) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be from 0 to 4"
    )]
    let zipf_milli = (guest.zipf * 1000.0).round() as u64;
    // Nothing to write is one page that is written once an hour.
    let (working_set, rate) = match guest.working_set.0 {
        0 => (4096, 1),
        bytes => (bytes, guest.rate.bytes_per_second()),
    };
    format!(
        "working_set={working_set} rate={rate} pattern={} content={} touch={} reads_percent={} heartbeat_us={} seed={} \
         hot_memory_percent={} hot_writes_percent={} zipf_milli={zipf_milli} report_us={REPORT_US}",
        serialized_name(&guest.pattern),
        serialized_name(&guest.content),
        serialized_name(&guest.touch),
        guest.reads_percent,
        guest.heartbeat.0,
        guest.seed,
        guest.hot_memory_percent,
        guest.hot_writes_percent,
    )
}

/// What Linux is told, and after `--` its first program.
fn linux_words(guest: &Guest, tsc_khz: Option<u64>) -> String {
    let own = guest.own.append.as_deref().unwrap_or_default();
    let tsc = tsc_khz.map_or_else(String::new, |khz| format!(" tsc_early_khz={khz}"));
    let told = tsc_khz.map_or_else(String::new, |khz| format!(" tsc_khz={khz}"));
    format!(
        "{LINUX}{tsc} {own} -- {}{told} load={} load_memory={} \"load_arguments={}\"",
        guest_words(guest),
        serialized_name(&guest.load),
        guest.load_memory.0,
        guest.load_arguments,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use scenario::{DiskFormat, GuestKind, Load};

    fn line(scenario: &Scenario, vm: u32, boot: &Boot) -> Vec<String> {
        let place = Place::new(Path::new("/p"), vm);
        let role =
            Role { incoming: vm == 1, trace: Some(format!("/p/trace.{}.log", vm_name(vm)).into()) };
        let words = arguments(scenario, Accel::Tcg, &role, &place, boot);
        words.iter().map(|w| w.to_string_lossy().replace(&vm_name(vm), "NAME")).collect()
    }

    fn kinds() -> [(Scenario, Boot); 3] {
        let [mut linux, mut own] = [Scenario::default(), Scenario::default()];
        (linux.guest.kind, linux.guest.load) = (GuestKind::Linux, Load::Redis);
        own.guest.kind = GuestKind::Own;
        own.qemu.arguments = vec!["-cpu".to_owned(), "max".to_owned()];
        let disk = Disk {
            image: "/d".into(),
            format: DiskFormat::Raw,
            read_only: false,
            overlay: Some("/p/o".into()),
        };
        [
            (Scenario::default(), Boot::Micro { image: "/p/guest.elf".into() }),
            (linux, Boot::Linux { kernel: "/k".into(), initrd: "/i".into(), tsc_khz: Some(5) }),
            (own, Boot::Own { disk: Some(disk) }),
        ]
    }

    #[test]
    fn the_two_sides_differ_in_sockets_and_incoming_only() {
        for (scenario, boot) in kinds() {
            let (source, destination) = (line(&scenario, 0, &boot), line(&scenario, 1, &boot));
            assert_eq!(destination[..source.len()], source);
            assert_eq!(destination[source.len()..], ["-incoming", "defer"]);
        }
    }

    #[test]
    fn an_accelerator_of_the_users_own_takes_the_place_of_ours() {
        let (mut scenario, boot) = (Scenario::default(), Boot::Micro { image: "/g".into() });
        assert!(
            line(&scenario, 0, &boot).iter().any(|word| word.starts_with("microvm,accel=tcg,"))
        );
        scenario.qemu.arguments = vec!["-accel".to_owned(), "kvm,dirty-ring-size=4096".to_owned()];
        assert!(
            line(&scenario, 0, &boot).iter().any(|word| word.starts_with("microvm,isa-serial=on,"))
        );
    }

    #[test]
    fn the_guest_gets_plain_numbers() {
        insta::assert_snapshot!(guest_words(&Guest::default()), @"working_set=67108864 rate=52428800 pattern=random content=random touch=words reads_percent=0 heartbeat_us=1000 seed=1 hot_memory_percent=10 hot_writes_percent=90 zipf_milli=990 report_us=50000");
    }

    #[test]
    fn linux_hands_the_words_after_two_dashes_to_the_guest_and_its_load() {
        let [_, (mut scenario, _), _] = kinds();
        scenario.guest.load_arguments = "--maxclients 9".to_owned();
        let words = linux_words(&scenario.guest, Some(2_400_000));
        let (kernels, guests) = words.split_once(" -- ").unwrap();
        assert!(kernels.contains("tsc_early_khz=2400000"), "{kernels}");
        assert_eq!(guests.matches("tsc_khz=2400000").count(), 1);
        assert!(
            guests.ends_with(r#"load=redis load_memory=67108864 "load_arguments=--maxclients 9""#),
            "{guests}"
        );
        assert!(!linux_words(&scenario.guest, None).contains("tsc_khz"));
        // COMMAND_LINE_SIZE of Linux on x86, less the 800 that a scenario may add.
        assert!(words.len() < 2048 - 800, "{} bytes", words.len());
    }

    #[test]
    fn a_disk_of_the_users_is_only_read_under_its_overlay() {
        let [_, _, (scenario, boot)] = kinds();
        let words = line(&scenario, 0, &boot).join(" ");
        assert!(
            words.contains("node-name=disk-file,driver=file,filename=/d,read-only=on "),
            "{words}"
        );
        assert!(
            words
                .contains("node-name=disk,driver=qcow2,file=disk-overlay-file,backing=disk-image "),
            "{words}"
        );
        assert!(words.contains("-device virtio-blk-device,drive=disk"), "{words}");
    }
}
