//! The arguments of a lab's QEMU. Pure.

use crate::plan::Side;
use crate::scenario::{Accel, Machine, Scenario, spelling};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Where the sockets of one side are.
pub(super) struct Place {
    directory: PathBuf,
    side: Side,
}

impl Place {
    pub(super) fn new(directory: &Path, side: Side) -> Place {
        Place { directory: directory.to_owned(), side }
    }

    pub(super) fn control(&self) -> PathBuf {
        self.directory.join(format!("{}.qmp", self.side))
    }

    pub(super) fn sampling(&self) -> PathBuf {
        self.directory.join(format!("{}.samples", self.side))
    }

    pub(super) fn heartbeat(&self) -> PathBuf {
        self.directory.join(format!("{}.beats", self.side))
    }

    pub(super) fn console(&self) -> PathBuf {
        self.directory.join(format!("{}.console", self.side))
    }
}

/// All arguments of one side. Both sides are alike but for `-incoming` and the sockets: a rule of migration.
pub(super) fn arguments(scenario: &Scenario, accel: Accel, side: Side, place: &Place, image: &Path) -> Vec<OsString> {
    let mib = scenario.guest.memory.0 >> 20;
    let mut list: Vec<OsString> = Vec::new();
    let mut add = |words: &[&str]| list.extend(words.iter().map(OsString::from));
    add(&["-name", &format!("switchover-{side}"), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
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
    if side == Side::Destination {
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
         hot_writes_percent={} zipf_milli={zipf_milli}",
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
        let line = |side| {
            let place = Place::new(Path::new("/p"), side);
            let words = arguments(&scenario, Accel::Tcg, side, &place, Path::new("/p/guest.elf"));
            words.iter().map(|w| w.to_string_lossy().replace(side.name(), "SIDE")).collect::<Vec<_>>()
        };
        let (source, destination) = (line(Side::Source), line(Side::Destination));
        assert_eq!(destination[..source.len()], source);
        assert_eq!(destination[source.len()..], ["-incoming", "defer"]);
    }

    #[test]
    fn the_guest_gets_plain_numbers() {
        insta::assert_snapshot!(guest_command_line(&Scenario::default()), @"working_set=67108864 rate=52428800 pattern=random content=random touch=words reads_percent=0 heartbeat_us=1000 seed=1 hot_memory_percent=10 hot_writes_percent=90 zipf_milli=990");
    }
}
