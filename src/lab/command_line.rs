//! Builds the command line of a lab's QEMU.

use super::boot::{Boot, Disk};
use record::vm_name;
use scenario::{Accel, Guest, OwnGuest, Scenario, serialized_name};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Interval of the guest's reports of its write count, in µs. Each report has about 20 bytes.
const REPORT_US: u64 = 50_000;

/// Kernel parameters of the Linux guest. The console shows severe errors only. `noautogroup` gives
/// the guest program priority over its load, also if the load has its own session. The TSC is the
/// clock (`tsc=reliable`), and no timer is tested that a busy host could delay (`no_timer_check`).
/// The last three shorten the boot (docs/how-to/guest.md).
const LINUX_PARAMETERS: &str = "console=ttyS0 quiet loglevel=1 panic=-1 noautogroup tsc=reliable \
                     no_timer_check cryptomgr.notests noreplace-smp ipv6.disable=1";

/// Paths of the sockets of one VM.
pub(super) struct SocketPaths {
    directory: PathBuf,
    name: String,
}

/// Settings that differ between the VMs of a lab.
pub(super) struct VmRole {
    /// Whether the VM waits for an incoming migration.
    pub(super) incoming: bool,
    /// File for QEMU's traces, if they are recorded.
    pub(super) trace: Option<PathBuf>,
}

impl SocketPaths {
    pub(super) fn new(directory: &Path, vm: u32) -> SocketPaths {
        SocketPaths { directory: directory.to_owned(), name: vm_name(vm) }
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

/// Returns all arguments of one VM. Migration requires that the two sides differ only in
/// `-incoming`, sockets and files.
pub(super) fn arguments(
    scenario: &Scenario,
    accel: Accel,
    role: &VmRole,
    paths: &SocketPaths,
    boot: &Boot,
) -> Vec<OsString> {
    let mib = scenario.guest.memory.0 >> 20;
    let mut list: Vec<OsString> = Vec::new();
    let mut add = |words: &[&str]| list.extend(words.iter().map(OsString::from));
    add(&[
        "-name",
        &format!("switchover-{}", paths.name),
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-no-reboot",
    ]);
    add(&["-machine", &machine(scenario, accel, boot), "-m", &format!("{mib}M"), "-smp", "1"]);
    match (accel, boot) {
        (Accel::Kvm, _) => add(&["-cpu", "host"]),
        // Without `arat`, Linux assumes that the APIC timer stops when the CPU is idle. Without
        // another timer its sleeps then last up to 4 ms.
        (_, Boot::Linux { .. }) => add(&["-cpu", "qemu64,+arat"]),
        _ => {}
    }
    add(&["-msg", "timestamp=on"]);
    for path in [paths.control(), paths.sampling()] {
        add(&["-qmp", &format!("unix:{},server=off", double_commas(&path))]);
    }
    if scenario.guest.has_heartbeat() {
        add(&[
            "-chardev",
            &socket_chardev("beats", &paths.heartbeat()),
            "-device",
            "isa-debugcon,iobase=0xe9,chardev=beats",
        ]);
    }
    if scenario.guest.load.is_application() {
        add(&[
            "-chardev",
            &socket_chardev("answers", &paths.answers()),
            "-device",
            "isa-debugcon,iobase=0xea,chardev=answers",
        ]);
    }
    add(&["-chardev", &socket_chardev("console", &paths.console()), "-serial", "chardev:console"]);
    let on_microvm = scenario.qemu.machine.name() == "microvm";
    for word in boot_arguments(&scenario.guest, boot, on_microvm) {
        add(&[&word]);
    }
    if let Some(trace) = &role.trace {
        // QEMU accepts a pattern that matches no event. Versions before 8.2 have none of these.
        add(&["-D", &trace.to_string_lossy(), "-trace", "vmstate_downtime_*"]);
        if scenario.record.fault_trace {
            add(&["-trace", "postcopy_page_req_*"]);
        }
    }
    for argument in &scenario.qemu.arguments {
        add(&[argument]);
    }
    if role.incoming {
        // With a direct `-incoming` URI, QEMU would listen before QMP can enable the multifd and
        // postcopy-preempt capabilities.
        add(&["-incoming", "defer"]);
    }
    list
}

fn machine(scenario: &Scenario, accel: Accel, boot: &Boot) -> String {
    let name = scenario.qemu.machine.name();
    // QEMU accepts either `-accel` or `-machine accel=`. The user's `-accel` may have options, as
    // in `-accel kvm,dirty-ring-size=4096`.
    let own = scenario.qemu.arguments.iter().any(|word| word == "-accel");
    let accel = if own { String::new() } else { format!(",accel={}", serialized_name(&accel)) };
    match (name, boot) {
        // The guest needs the PIT to calibrate its clock, and the serial port for its console.
        // auto-kernel-cmdline would append microvm's virtio devices to the command line.
        ("microvm", Boot::Micro { .. }) => {
            format!("microvm{accel},isa-serial=on,pit=on,pic=on,rtc=off,auto-kernel-cmdline=off")
        }
        // Without an RTC, Linux waits a second for one. Without ACPI it has fewer devices to probe
        // and uses the PIT as its timer.
        ("microvm", Boot::Linux { .. }) => {
            format!(
                "microvm{accel},isa-serial=on,pit=on,pic=on,rtc=on,acpi=off,auto-kernel-cmdline=off"
            )
        }
        _ => format!("{name}{accel}"),
    }
}

/// Returns the arguments that name kernel, initrd, kernel parameters and disk.
fn boot_arguments(guest: &Guest, boot: &Boot, on_microvm: bool) -> Vec<String> {
    let option = |name: &str, value: String| [name.to_owned(), value];
    let path = |path: &Path| path.to_string_lossy().into_owned();
    match boot {
        Boot::Micro { image } => {
            [option("-kernel", path(image)), option("-append", guest_parameters(guest))].concat()
        }
        Boot::Linux { kernel, initrd, tsc_khz } => {
            let (kernel, initrd) =
                (option("-kernel", path(kernel)), option("-initrd", path(initrd)));
            [kernel, initrd, option("-append", linux_parameters(guest, *tsc_khz))].concat()
        }
        Boot::Own { disk } => {
            let OwnGuest { kernel, initrd, append, .. } = &guest.own;
            let given = [("-kernel", kernel), ("-initrd", initrd), ("-append", append)];
            let given = given
                .into_iter()
                .filter_map(|(name, value)| Some(option(name, value.clone()?)))
                .flatten();
            given.chain(disk.iter().flat_map(|disk| disk_arguments(disk, on_microvm))).collect()
        }
    }
}

/// Returns the arguments for the disk. The image is the node `disk-file` with or without an
/// overlay. All QEMUs open it; QEMU's file locks (`locking=auto`) allow only the one that runs the
/// guest to write, and exclude other programs.
fn disk_arguments(disk: &Disk, on_microvm: bool) -> Vec<String> {
    let node =
        |name: &str, driver: &str, rest: &str| format!("node-name={name},driver={driver},{rest}");
    let read_only = if disk.read_only || disk.overlay.is_some() { ",read-only=on" } else { "" };
    let file = |path: &Path| format!("filename={}{read_only}", double_commas(path));
    let mut nodes = vec![node("disk-file", "file", &file(&disk.image))];
    let image = if disk.overlay.is_some() { "disk-image" } else { "disk" };
    nodes.push(node(image, &serialized_name(&disk.format), &format!("file=disk-file{read_only}")));
    if let Some(overlay) = &disk.overlay {
        nodes.push(node(
            "disk-overlay-file",
            "file",
            &format!("filename={}", double_commas(overlay)),
        ));
        nodes.push(node("disk", "qcow2", "file=disk-overlay-file,backing=disk-image"));
    }
    let device = if on_microvm { "virtio-blk-device" } else { "virtio-blk-pci" };
    let nodes = nodes.into_iter().flat_map(|node| ["-blockdev".to_owned(), node]);
    nodes.chain(["-device".to_owned(), format!("{device},drive=disk")]).collect()
}

fn socket_chardev(id: &str, path: &Path) -> String {
    format!("socket,id={id},path={},server=off", double_commas(path))
}

/// Doubles the commas of a path, as QEMU's option parser requires.
fn double_commas(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

/// Returns the parameters of the guest program (fixtures/guest/README.md).
fn guest_parameters(guest: &Guest) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be from 0 to 4"
    )]
    let zipf_milli = (guest.zipf * 1000.0).round() as u64;
    // An empty working set becomes one page that is written once an hour.
    let (working_set, rate) = match guest.working_set.0 {
        0 => (4096, 1),
        bytes => (bytes, guest.rate.bytes_per_second()),
    };
    format!(
        "working_set={working_set} rate={rate} pattern={} content={} touch={} reads_percent={} \
         heartbeat_us={} seed={} hot_memory_percent={} hot_writes_percent={} \
         zipf_milli={zipf_milli} report_us={REPORT_US}",
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

/// Returns the kernel parameters of Linux and, after `--`, those of its init program.
fn linux_parameters(guest: &Guest, tsc_khz: Option<u64>) -> String {
    let own = guest.own.append.as_deref().unwrap_or_default();
    let tsc = tsc_khz.map_or_else(String::new, |khz| format!(" tsc_early_khz={khz}"));
    let guest_tsc = tsc_khz.map_or_else(String::new, |khz| format!(" tsc_khz={khz}"));
    format!(
        "{LINUX_PARAMETERS}{tsc} {own} -- {}{guest_tsc} load={} load_memory={} \
         \"load_arguments={}\"",
        guest_parameters(guest),
        serialized_name(&guest.load),
        guest.load_memory.0,
        guest.load_arguments,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use scenario::{DiskFormat, GuestKind, Load};

    fn command_line(scenario: &Scenario, vm: u32, boot: &Boot) -> Vec<String> {
        let paths = SocketPaths::new(Path::new("/p"), vm);
        let role = VmRole {
            incoming: vm == 1,
            trace: Some(format!("/p/trace.{}.log", vm_name(vm)).into()),
        };
        let list = arguments(scenario, Accel::Tcg, &role, &paths, boot);
        list.iter()
            .map(|argument| argument.to_string_lossy().replace(&vm_name(vm), "NAME"))
            .collect()
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
    fn sides_differ_only_in_sockets_and_incoming() {
        for (scenario, boot) in kinds() {
            let (source, destination) =
                (command_line(&scenario, 0, &boot), command_line(&scenario, 1, &boot));
            assert_eq!(destination[..source.len()], source);
            assert_eq!(destination[source.len()..], ["-incoming", "defer"]);
        }
    }

    #[test]
    fn accelerator_of_the_user_replaces_the_default() {
        let (mut scenario, boot) = (Scenario::default(), Boot::Micro { image: "/g".into() });
        assert!(
            command_line(&scenario, 0, &boot)
                .iter()
                .any(|word| word.starts_with("microvm,accel=tcg,"))
        );
        scenario.qemu.arguments = vec!["-accel".to_owned(), "kvm,dirty-ring-size=4096".to_owned()];
        assert!(
            command_line(&scenario, 0, &boot)
                .iter()
                .any(|word| word.starts_with("microvm,isa-serial=on,"))
        );
    }

    #[test]
    fn passes_plain_numbers_to_the_guest() {
        let expected = "working_set=67108864 rate=52428800 pattern=random content=random touch=words reads_percent=0 \
                        heartbeat_us=1000 seed=1 hot_memory_percent=10 \
                        hot_writes_percent=90 zipf_milli=990 report_us=50000";
        assert_eq!(guest_parameters(&Guest::default()), expected);
    }

    #[test]
    fn passes_guest_and_load_parameters_after_two_dashes() {
        let [_, (mut scenario, _), _] = kinds();
        scenario.guest.load_arguments = "--maxclients 9".to_owned();
        let words = linux_parameters(&scenario.guest, Some(2_400_000));
        let (kernels, guests) = words.split_once(" -- ").unwrap();
        assert!(kernels.contains("tsc_early_khz=2400000"), "{kernels}");
        assert_eq!(guests.matches("tsc_khz=2400000").count(), 1);
        assert!(
            guests.ends_with(r#"load=redis load_memory=67108864 "load_arguments=--maxclients 9""#),
            "{guests}"
        );
        assert!(!linux_parameters(&scenario.guest, None).contains("tsc_khz"));
        // Limit: COMMAND_LINE_SIZE of Linux on x86, less the 800 bytes that a scenario may add.
        assert!(words.len() < 2048 - 800, "{} bytes", words.len());
    }

    #[test]
    fn opens_the_user_disk_read_only_under_an_overlay() {
        let [_, _, (scenario, boot)] = kinds();
        let words = command_line(&scenario, 0, &boot).join(" ");
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
