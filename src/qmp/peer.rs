//! The process at the other end of a unix socket, and whether it is no more.
//!
//! A pid alone may be another process by now; its time of start tells (proc_pid_stat(5), field 22).

/// A process of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PeerProcess {
    pub(super) pid: i32,
    started: Option<u64>,
}

impl PeerProcess {
    pub(super) fn of(pid: i32) -> PeerProcess {
        PeerProcess { pid, started: stat(pid).map(|stat| stat.started) }
    }

    /// It ended, which is known only where we saw it live.
    pub(super) fn has_ended(self) -> bool {
        let ended =
            |started| stat(self.pid).is_none_or(|now| now.is_over || now.started != started);
        self.started.is_some_and(ended)
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    started: u64,
    /// A zombie, or on its way to be none.
    is_over: bool,
}

fn stat(pid: i32) -> Option<Stat> {
    parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The second field is a name in brackets, which may have brackets and blanks itself.
fn parse(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let is_over = matches!(fields.next()?, "Z" | "X");
    Some(Stat { started: fields.nth(18)?.parse().ok()?, is_over })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn the_line_is_read_whatever_the_name() {
        let line = "12 (a) b (c) S 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 1 2\n";
        assert_eq!(parse(line), Some(Stat { started: 4711, is_over: false }));
        assert_eq!(parse(&line.replace(" S ", " Z ")).map(|stat| stat.is_over), Some(true));
        assert_eq!(parse("12 (a) S 1"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn a_process_that_has_ended_is_known_to_have() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let peer = PeerProcess::of(i32::try_from(child.id()).unwrap());
        assert!(!peer.has_ended());
        // Its end comes with the end of its input.
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(peer.has_ended());
        assert!(!PeerProcess { pid: peer.pid, started: None }.has_ended());
    }
}
