//! Guests of the user's own: a kernel, a disk, whatever QEMU's arguments say.

use super::cells;
use crate::harness::{Done, Qmp, Scratch, Switchover, qemu};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

const KERNEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/guest/micro-guest.elf");

/// A boot sector that says `up`, and then writes sector 1 of its disk over and over, each time
/// another number; it says `w` at each 64th, and `!` whenever that fails. In real mode, by the
/// BIOS.
const BOOT_SECTOR: [u8; 64] = [
    0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, // xor ax,ax; mov ds,ax; mov es,ax
    0xbe, 0x3c, 0x7c, 0xba, 0xf8, 0x03, // mov si,text; mov dx,COM1
    0xac, 0x84, 0xc0, 0x74, 0x03, 0xee, 0xeb, 0xf8, // lodsb; until it is 0: out dx,al
    0xff, 0x06, 0x00, 0x7e, // again: inc word [0x7e00]
    0xb8, 0x01, 0x03, 0xb9, 0x02, 0x00, 0xba, 0x80, 0x00, 0xbb, 0x00, 0x7e, 0xcd,
    0x13, // int 0x13: write sector 1 from 0x7e00
    0xb0, 0x21, 0x72, 0x09, // mov al,'!'; jc say
    0xf6, 0x06, 0x00, 0x7e, 0x3f, 0x75, 0xe3, 0xb0,
    0x77, // test [0x7e00],63; jnz again; mov al,'w'
    0xba, 0xf8, 0x03, 0xee, 0xb0, 0x0a, 0xee, 0xeb,
    0xd8, // say: out COM1,al; out COM1,'\n'; jmp again
    b'u', b'p', b'\n', 0,
];

fn run(scratch: &Scratch, version: &'static str, arguments: &[&str]) -> Option<Done> {
    let arguments = [
        &[
            "run",
            "--qemu",
            qemu(version)?,
            "--accel",
            "tcg",
            "--out",
            "run",
            "--set",
            "guest.memory=64MiB",
        ],
        arguments,
    ];
    let done = Switchover::new(scratch, &arguments.concat()).run();
    scratch.assert_clean();
    Some(done)
}

#[test]
fn a_kernel_with_qemu_arguments_goes_over_and_nobody_checks_its_memory() {
    let scratch = Scratch::new();
    let words = "working_set=4194304 rate=4194304";
    let arguments = [
        "--kernel", KERNEL, "--append", words, "--ready", "ready", "--", "-cpu", "max", "-name",
        "mine",
    ];
    let Some(done) = run(&scratch, "10.0", &arguments) else { return };
    done.assert_code(0);
    let summary = done.summary();
    let (guest, views) = (&summary["guest"], &summary["downtime"]["views"]);
    assert_eq!(guest["integrity"], "unknown");
    assert!(
        guest["beats"].is_null() && guest["boot_us"].is_null() && views["heartbeat_us"].is_null(),
        "{}",
        done.story()
    );
    assert!(views["events_us"].is_u64() && views["trace_us"].is_u64(), "{}", done.story());
    assert!(
        std::fs::read_to_string(done.out().join("guest.source.log")).unwrap().contains(" ready\n")
    );
}

#[test]
fn a_kernel_that_is_said_to_beat_is_seen_to() {
    let scratch = Scratch::new();
    let words = "working_set=4194304 rate=4194304 heartbeat_us=2000";
    let arguments = [
        "--kernel",
        KERNEL,
        "--append",
        words,
        "--set",
        "guest.heartbeat=2ms",
        "--set",
        "qemu.machine=q35",
    ];
    let Some(done) = run(&scratch, "newest", &arguments) else { return };
    done.assert_code(0);
    let summary = done.summary();
    assert!(
        summary["downtime"]["views"]["heartbeat_us"].is_u64()
            && summary["guest"]["boot_us"].is_u64(),
        "{}",
        done.story()
    );
}

fn image(scratch: &Scratch) -> PathBuf {
    let mut disk = vec![0; 1 << 20];
    disk[..BOOT_SECTOR.len()].copy_from_slice(&BOOT_SECTOR);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    let path = scratch.join("disk.raw");
    std::fs::write(&path, disk).unwrap();
    path
}

/// Sector 1.
fn written(image: &Path) -> Vec<u8> {
    std::fs::read(image).unwrap()[512..1024].to_vec()
}

/// The guest boots from its disk, and after the migration writes it on the destination, before the
/// run may end.
fn with_a_disk(version: &'static str, machine: &str, access: &str, says: &str) {
    let scratch = Scratch::new();
    let disk = image(&scratch);
    let (machine, access) =
        (format!("qemu.machine={machine}"), format!("guest.disk_access={access}"));
    let hook = format!(
        "hooks.after_switchover=until grep -qs ' {says}$' run/guest.destination.log; do :; done"
    );
    let arguments = [
        "--disk",
        disk.to_str().unwrap(),
        "--ready",
        "up",
        "--set",
        &machine,
        "--set",
        &access,
        "--set",
        &hook,
    ];
    let Some(done) = run(&scratch, version, &arguments) else { return };
    done.assert_code(0);
    let log = std::fs::read_to_string(done.out().join("guest.destination.log")).unwrap();
    assert_eq!(log.contains('!'), says == "!", "{log}");
    let changed = written(&disk) != [0; 512];
    assert_eq!(changed, access == "guest.disk_access=write", "{}", done.story());
}

cells! { with_a_disk;
    a_disk_under_an_overlay_is_written_on_both_sides_and_left_as_it_was_on_7_2: "7.2", "pc",
        "overlay", "w";
    a_disk_under_an_overlay_is_written_on_both_sides_and_left_as_it_was_on_10_0: "10.0", "q35",
        "overlay", "w";
    a_disk_under_an_overlay_is_written_on_both_sides_and_left_as_it_was_on_the_newest: "newest",
        "microvm", "overlay", "w";
    a_disk_that_may_be_written_is_shared_by_both_sides: "10.0", "q35", "write", "w";
    a_disk_that_may_only_be_read_is: "10.0", "q35", "read-only", "!";
}

#[test]
fn a_disk_that_somebody_else_writes_is_left_alone() {
    let Some(program) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let disk = image(&scratch).display().to_string();
    let monitor = scratch.join("monitor");
    let listener = UnixListener::bind(&monitor).unwrap();
    let mut holder = Command::new("setpriv")
        .args([
            "--pdeathsig",
            "KILL",
            program,
            "-machine",
            "pc,accel=tcg",
            "-S",
            "-nodefaults",
            "-display",
            "none",
            "-device",
            "virtio-blk-pci,drive=disk",
        ])
        .args(["-drive", &format!("file={disk},format=raw,if=none,id=disk")])
        .args(["-qmp", &format!("unix:{},server=off", monitor.display())])
        .spawn()
        .unwrap();
    // It greets when all its devices are there, and with them the lock.
    let _greeted = Qmp::over(listener.accept().unwrap().0);
    let done = run(&scratch, "10.0", &["--disk", &disk, "--set", "guest.disk_access=write"]);
    holder.kill().unwrap();
    holder.wait().unwrap();
    done.unwrap().assert_refused(&scratch, 5, &["QEMU ended", "lock"]);
}

fn refused(arguments: &[&str], code: i32, words: &[&str]) {
    let scratch = Scratch::new();
    image(&scratch);
    if let Some(done) = run(&scratch, "10.0", arguments) {
        done.assert_refused(&scratch, code, words);
    }
}

cells! { refused;
    an_own_guest_without_anything_to_boot: &["--set", "guest.kind=own"], 2,
        &["guest.kind", "--kernel", "--disk"];
    a_kernel_that_is_not_there: &["--kernel", "/nowhere"], 5,
        &["guest.kernel: cannot read /nowhere", "No such file"];
    an_initramfs_without_a_kernel: &["--initrd", "/i"], 2, &["guest.kernel", "--kernel"];
    a_disk_that_is_not_of_the_format_that_was_said:
        &["--disk", "disk.raw", "--set", "guest.disk_format=qcow2"], 5, &["guest.disk", "not a qcow2 image", "raw"];
    a_snapshot_of_each_side: &["--disk", "disk.raw", "--", "-snapshot"], 2, &["qemu.arguments", "writes would be lost", "overlay"];
    an_argument_that_qemu_does_not_know: &["--disk", "disk.raw", "--", "-nonsense"], 5, &["QEMU ended", "nonsense"];
    a_load_beside_a_micro_guest: &["--set", "guest.load=stress"], 2, &["guest.load", "linux"];
}
