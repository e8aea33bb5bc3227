//! The arguments of a lab's QEMU. Pure.

use crate::record::vm_name;
use crate::scenario::{Accel, Machine, Scenario, spelling};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// How often the guest says how much it has written: its write rate over time, for some 20 bytes each.
const REPORT_US: u64 = 50_000;

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

    pub(super) fn console(&self) -> PathBuf {
        self.directory.join(format!("{}.console", self.name))
    }
}

/// All arguments of one VM. All are alike but for `-incoming`, sockets and files: a rule of migration.
pub(super) fn arguments(scenario: &Scenario, accel: Accel, role: &Role, place: &Place, image: &Path) -> Vec<OsString> {
    let mib = scenario.guest.memory.0 >> 20;
    let mut list: Vec<OsString> = Vec::new();
    let mut add = |words: &[&str]| list.extend(words.iter().map(OsString::from));
    add(&["-name", &format!("switchover-{}", place.name), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    add(&["-machine", &machine(&scenario.qemu.machine, accel), "-m", &format!("{mib}M"), "-smp", "1"]);
    if accel == Accel::Kvm {
        add(&["-cpu", "host"]);
    }
    add(&["-msg", "timestamp=on"]);
    for path in [place.control(), place.sampling()] {
        add(&["-qmp", &format!("unix:{},server=off", escaped(&path))]);
    }
    add(&["-chardev", &socket("beats", &place.heartbeat()), "-device", "isa-debugcon,iobase=0xe9,chardev=beats"]);
    add(&["-chardev", &socket("console", &place.console()), "-serial", "chardev:console"]);
    add(&["-kernel", &image.to_string_lossy(), "-append", &guest_command_line(scenario)]);
    if let Some(trace) = &role.trace {
        // A pattern that matches nothing is no error: QEMU before 8.2 has none of these.
        add(&["-D", &trace.to_string_lossy(), "-trace", "vmstate_downtime_*"]);
        if scenario.record.fault_trace {
            add(&["-trace", "postcopy_page_req_*"]);
        }
    }
    if role.incoming {
        // With a direct -incoming URI, multifd and preempt would come too late (facts/qemu.md §4.1).
        add(&["-incoming", "defer"]);
    }
    list
}

fn machine(machine: &Machine, accel: Accel) -> String {
    let accel = spelling(&accel);
    match machine.name() {
        // No clock devices beyond the PIT that the guest calibrates on; the serial port is its console; and microvm would add its
        // virtio devices to the guest's command line.
        "microvm" => format!("microvm,accel={accel},isa-serial=on,pit=on,pic=on,rtc=off,auto-kernel-cmdline=off"),
        other => format!("{other},accel={accel}"),
    }
}

fn socket(id: &str, path: &Path) -> String {
    format!("socket,id={id},path={},server=off", escaped(path))
}

/// A comma in an option's value is written twice.
fn escaped(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

/// What the guest is told: fixtures/guest/README.md.
pub(super) fn guest_command_line(scenario: &Scenario) -> String {
    let guest = &scenario.guest;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be from 0 to 4")]
    let zipf_milli = (guest.zipf * 1000.0).round() as u64;
    format!(
        "working_set={} rate={} pattern={} content={} touch={} reads_percent={} heartbeat_us={} seed={} hot_memory_percent={} \
         hot_writes_percent={} zipf_milli={zipf_milli} report_us={REPORT_US}",
        guest.working_set.0,
        guest.rate.bytes_per_second(),
        spelling(&guest.pattern),
        spelling(&guest.content),
        spelling(&guest.touch),
        guest.reads_percent,
        guest.heartbeat.0,
        guest.seed,
        guest.hot_memory_percent,
        guest.hot_writes_percent,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_sides_differ_in_sockets_and_incoming_only() {
        let scenario = Scenario::default();
        let line = |vm| {
            let place = Place::new(Path::new("/p"), vm);
            let role = Role { incoming: vm == 1, trace: Some(format!("/p/trace.{}.log", vm_name(vm)).into()) };
            let words = arguments(&scenario, Accel::Tcg, &role, &place, Path::new("/p/guest.elf"));
            words.iter().map(|w| w.to_string_lossy().replace(&vm_name(vm), "NAME")).collect::<Vec<_>>()
        };
        let (source, destination) = (line(0), line(1));
        assert_eq!(destination[..source.len()], source);
        assert_eq!(destination[source.len()..], ["-incoming", "defer"]);
    }

    #[test]
    fn the_guest_gets_plain_numbers() {
        insta::assert_snapshot!(guest_command_line(&Scenario::default()), @"working_set=67108864 rate=52428800 pattern=random content=random touch=words reads_percent=0 heartbeat_us=1000 seed=1 hot_memory_percent=10 hot_writes_percent=90 zipf_milli=990 report_us=50000");
    }
}
