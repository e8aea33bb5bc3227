//! What else this machine did during a migration: a guest under TCG, and a threshold that it stands
//! close to, are at the mercy of the neighbours.
//!
//! Takes nothing but time; gives the CPU time that the machine had, and what of it went neither to
//! us nor to processes that we started. Knows nothing of migrations.

use base::clock;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use record::Host;

/// From its making to its end.
pub(super) struct HostWatch(Reading);

impl HostWatch {
    /// `None` where `/proc` does not tell.
    pub(super) fn begin() -> Option<HostWatch> {
        Reading::now().map(HostWatch)
    }

    pub(super) fn end(self) -> Option<Host> {
        Some(Reading::now()?.since(&self.0))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reading {
    cpus: u64,
    at_us: u64,
    /// Of all processors, waiting for a disk included.
    idle_us: u64,
    /// Interrupts: mostly what the stream costs on its way, so nobody else's.
    interrupts_us: u64,
    /// Of us and of what we started.
    own_us: u64,
}

impl Reading {
    fn now() -> Option<Reading> {
        let stat = std::fs::read_to_string("/proc/stat").ok()?;
        let Processors { cpus, idle_us, interrupts_us } = Processors::parse(&stat)?;
        let own_us = clock::process_cpu_ns() / 1000 + of_children()?;
        Some(Reading { cpus, at_us: clock::monotonic_ns() / 1000, idle_us, interrupts_us, own_us })
    }

    /// What was neither idle nor ours went to others: also what a hypervisor above us took
    /// (`steal`).
    fn since(&self, earlier: &Reading) -> Host {
        let cpu_us = self.at_us.saturating_sub(earlier.at_us) * self.cpus;
        let known = [
            (self.idle_us, earlier.idle_us),
            (self.interrupts_us, earlier.interrupts_us),
            (self.own_us, earlier.own_us),
        ];
        let known_us: u64 = known.iter().map(|(now, before)| now.saturating_sub(*before)).sum();
        Host { cpu_us: Some(cpu_us), others_us: Some(cpu_us.saturating_sub(known_us)) }
    }
}

/// CPU time of all that we started: those that have ended, and those that run. Not only the two
/// QEMUs of a migration: in a series the next one starts, and the last one ends, meanwhile.
fn of_children() -> Option<u64> {
    loop {
        let ended_us = of_ended_children()?;
        let running_us = of_running_children()?;
        // One that ended between the two would be missing.
        if of_ended_children()? == ended_us {
            return Some(ended_us + running_us);
        }
    }
}

fn of_ended_children() -> Option<u64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).ok()?;
    u64::try_from(usage.user_time().num_microseconds() + usage.system_time().num_microseconds())
        .ok()
}

/// By the thread that started them (proc_pid_task(5)).
fn of_running_children() -> Option<u64> {
    let mut all_us = 0;
    for task in std::fs::read_dir("/proc/self/task").ok()? {
        // A thread that has ended meanwhile left its children to another.
        let Ok(children) = std::fs::read_to_string(task.ok()?.path().join("children")) else {
            continue;
        };
        let running =
            children.split_whitespace().filter_map(|pid| clock::cpu_ns_of(pid.parse().ok()?));
        all_us += running.sum::<u64>() / 1000;
    }
    Some(all_us)
}

/// Of `/proc/stat` (proc_stat(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Processors {
    cpus: u64,
    idle_us: u64,
    interrupts_us: u64,
}

/// It counts in 1/100 s on every platform that QEMU runs on (`USER_HZ`).
const TICK_US: u64 = 10_000;

impl Processors {
    fn parse(stat: &str) -> Option<Processors> {
        let mut lines = stat.lines();
        let all: Vec<u64> = lines
            .next()?
            .strip_prefix("cpu ")?
            .split_whitespace()
            .map_while(|field| field.parse().ok())
            .collect();
        // user, nice, system, idle, iowait, irq, softirq
        let [_, _, _, idle, iowait, irq, softirq, ..] = all.as_slice() else { return None };
        let cpus = lines.take_while(|line| line.starts_with("cpu")).count();
        Some(Processors {
            cpus: u64::try_from(cpus).ok().filter(|cpus| *cpus > 0)?,
            idle_us: (idle + iowait) * TICK_US,
            interrupts_us: (irq + softirq) * TICK_US,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::process::{Command, Stdio};

    #[test]
    fn processors_are_counted_and_their_idle_time_is_that_of_all() {
        let stat = "cpu  10 20 30 400 50 6 7 8 0 0\ncpu0 5 10 15 200 25 3 3 4 0 0\ncpu1 5 10 15 200 25 3 4 4 0 0\nintr 5\nctxt 9\n";
        assert_eq!(
            Processors::parse(stat),
            Some(Processors { cpus: 2, idle_us: 4_500_000, interrupts_us: 130_000 })
        );
        for text in [
            "",
            "cpu",
            "cpu  1 2 3",
            "cpu  1 2 3 4 5 6 7\nintr 1\n",
            "cpu  1 2 3 4 5 x 7\ncpu0 1\n",
        ] {
            assert_eq!(Processors::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_neither_idle_nor_ours_is_others() {
        let before = Reading { cpus: 2, at_us: 1000, idle_us: 500, interrupts_us: 100, own_us: 70 };
        let after =
            Reading { cpus: 2, at_us: 2000, idle_us: 1300, interrupts_us: 200, own_us: 870 };
        assert_eq!(after.since(&before), Host { cpu_us: Some(2000), others_us: Some(300) });
        // Ticks are coarser than clocks: what does not add up is not others'.
        let coarse = Reading { idle_us: 1700, ..after };
        assert_eq!(coarse.since(&before), Host { cpu_us: Some(2000), others_us: Some(0) });
    }

    #[test]
    fn a_machine_says_what_it_does() {
        let host = HostWatch::begin().and_then(HostWatch::end).unwrap();
        assert!(host.others_us <= host.cpu_us, "{host:?}");
    }

    #[test]
    fn what_children_used_is_ours_while_they_run_and_when_they_have_ended() {
        let before = of_children().unwrap();
        // It says so when it has worked, and ends when it is told to.
        let mut child = Command::new("sh")
            .args(["-c", "i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done; echo; read -r line"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        let running = of_children().unwrap();
        assert!(running > before + 1000, "{before} {running}");
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(of_children().unwrap() > before + 1000);
    }
}
