//! QEMUs that the test itself starts, with the micro-guest: the user's VMs, for `migrate` and
//! `inspect`.

use super::{DEADLINE, Qmp, Scratch};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

const GUEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/guest/micro-guest.elf");
const MEMORY_MIB: u64 = 64;

/// What the guest shall do, and how its QEMUs are started.
pub(crate) struct Wish {
    /// Of the guest, in MiB.
    pub(crate) working_set: u64,
    /// MiB written a second.
    pub(crate) rate: u64,
    /// More arguments of the destination; it has `-incoming defer` only if that is among them.
    pub(crate) destination: &'static [&'static str],
}

impl Default for Wish {
    fn default() -> Wish {
        Wish { working_set: 16, rate: 20, destination: &["-incoming", "defer"] }
    }
}

/// Two of them.
pub(crate) struct Pair {
    pub(crate) source: Vm,
    pub(crate) destination: Vm,
}

impl Pair {
    /// Starts both, and waits until the guest on the source works.
    pub(crate) fn start(scratch: &Scratch, source: &str, destination: &str, wish: &Wish) -> Pair {
        let mut source = Vm::start(scratch, "source", source, wish, &[]);
        let destination = Vm::start(scratch, "destination", destination, wish, wish.destination);
        source.wait_until_ready();
        Pair { source, destination }
    }

    /// The arguments that name both.
    pub(crate) fn endpoints(&self) -> [String; 4] {
        [
            "--source".to_owned(),
            self.source.control(),
            "--destination".to_owned(),
            self.destination.control(),
        ]
    }
}

/// What the guest says of its memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) intact: bool,
    /// The lines that it said.
    pub(crate) said: Vec<String>,
}

impl Verdict {
    /// A number of its last line, such as `bad`.
    pub(crate) fn count(&self, name: &str) -> u64 {
        let pairs = self.said.last().unwrap().split(' ').filter_map(|word| word.split_once('='));
        pairs.filter(|(key, _)| *key == name).find_map(|(_, value)| value.parse().ok()).unwrap()
    }
}

/// One QEMU. Killed when dropped, and by the kernel when the test dies.
pub(crate) struct Vm {
    child: Child,
    directory: PathBuf,
    /// A monitor that is the test's alone.
    pub(crate) qmp: Qmp,
    console: BufReader<UnixStream>,
}

impl Vm {
    pub(crate) fn start(
        scratch: &Scratch,
        name: &str,
        program: &str,
        wish: &Wish,
        more: &[&str],
    ) -> Vm {
        let directory = scratch.join(name);
        std::fs::create_dir(&directory).unwrap();
        let at = |socket: &str| directory.join(socket);
        let listen = |socket: &str| UnixListener::bind(at(socket)).unwrap();
        // QEMU connects to these two. Its greeting on the first comes when everything else of it is
        // set up.
        let (judge, console) = (listen("judge"), listen("console"));
        let log = std::fs::File::create(at("log")).unwrap();
        let mut command = Command::new("setpriv");
        command.args([
            "--pdeathsig",
            "KILL",
            program,
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
        ]);
        command.args([
            "-machine",
            "microvm,accel=tcg,isa-serial=on,auto-kernel-cmdline=off",
            "-m",
            &format!("{MEMORY_MIB}M"),
        ]);
        for (id, options) in [
            ("control", format!("socket,path={},server=on,wait=off", at("control").display())),
            ("samples", format!("socket,path={},server=on,wait=off", at("samples").display())),
            ("tcp", "socket,host=127.0.0.1,port=0,server=on,wait=off".to_owned()),
            ("judge", format!("socket,path={},server=off", at("judge").display())),
        ] {
            command.args([
                "-chardev",
                &format!("{options},id={id}"),
                "-mon",
                &format!("chardev={id},mode=control"),
            ]);
        }
        let console_options =
            format!("socket,id=console,path={},server=off", at("console").display());
        command.args(["-chardev", &console_options, "-serial", "chardev:console"]);
        command.args([
            "-chardev",
            "null,id=beats",
            "-device",
            "isa-debugcon,iobase=0xe9,chardev=beats",
        ]);
        let guest = format!(
            "working_set={} rate={} pattern=random heartbeat_us=0",
            wish.working_set << 20,
            wish.rate << 20
        );
        command.args(["-D", &at("trace").to_string_lossy(), "-msg", "timestamp=on"]);
        command.args(["-kernel", GUEST, "-append", &guest]).args(more);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap();
        let accept = |listener: &UnixListener| {
            let mut ready = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
            let came = poll(&mut ready, PollTimeout::try_from(DEADLINE).unwrap()).unwrap();
            assert!(
                came == 1,
                "{program} does not connect: {}",
                std::fs::read_to_string(at("log")).unwrap()
            );
            listener.accept().unwrap().0
        };
        let qmp = accept(&judge);
        let console = accept(&console);
        console.set_read_timeout(Some(DEADLINE)).unwrap();
        Vm { child, qmp: Qmp::over(qmp), console: BufReader::new(console), directory }
    }

    /// `unix:` and the path of its control socket, for the command under test.
    pub(crate) fn control(&self) -> String {
        format!("unix:{}", self.directory.join("control").display())
    }

    pub(crate) fn control_path(&self) -> PathBuf {
        self.directory.join("control")
    }

    pub(crate) fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(self.child.id().try_into().unwrap())
    }

    /// Where its traces go.
    pub(crate) fn trace(&self) -> String {
        self.directory.join("trace").display().to_string()
    }

    /// A second one.
    pub(crate) fn samples(&self) -> String {
        format!("unix:{}", self.directory.join("samples").display())
    }

    /// The same over TCP.
    pub(crate) fn tcp(&mut self) -> String {
        let chardevs = self.qmp.execute("query-chardev", serde_json::json!({}));
        let tcp =
            chardevs.as_array().unwrap().iter().find(|chardev| chardev["label"] == "tcp").unwrap();
        // `disconnected:tcp:127.0.0.1:40123,server=on`
        let port = tcp["filename"]
            .as_str()
            .unwrap()
            .split([':', ','])
            .find_map(|word| word.parse::<u16>().ok());
        format!("tcp:127.0.0.1:{}", port.unwrap())
    }

    /// Waits until the guest has filled its working set.
    pub(crate) fn wait_until_ready(&mut self) {
        self.lines_until("ready");
    }

    /// Has the guest check its memory. It must be running, or be continued soon.
    pub(crate) fn check(&mut self) -> Verdict {
        self.console.get_mut().write_all(b"c").unwrap();
        let said = self.lines_until("end");
        Verdict { intact: said.last().unwrap().ends_with("verdict=intact"), said }
    }

    fn lines_until(&mut self, last: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            let read = self.console.read_line(&mut line).unwrap();
            assert!(read > 0, "the guest's console ended after {lines:?}");
            if line.trim_end() == last {
                return lines;
            }
            lines.push(line.trim_end().to_owned());
        }
    }

    /// All of its memory, as it is now.
    pub(crate) fn memory(&mut self) -> Vec<u8> {
        let path = self.directory.join("memory");
        let arguments = serde_json::json!({"val": 0, "size": MEMORY_MIB << 20, "filename": path});
        self.qmp.execute("pmemsave", arguments);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        bytes
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
