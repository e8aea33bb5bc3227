//! What else the machine did during a migration: a part of `run.json` and of each line of
//! switchovers.jsonl.

use serde::{Deserialize, Serialize};

/// What else the machine did during a migration of a lab.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// CPU time that it had: its processors × the time that passed.
    pub cpu_us: Option<u64>,
    /// What of it neither the QEMUs nor we used, and was not idle: other processes, and other
    /// guests of a hypervisor (`steal`). Counted in ticks of 10 ms, so of a short migration it says
    /// little.
    pub others_us: Option<u64>,
}

/// Of a machine of which others took more than this share, figures are not to be trusted.
const BUSY: f64 = 0.1;
/// Less than this is within what ticks are wrong by.
const TICKS_US: u64 = 50_000;

impl Host {
    /// What share of the machine others took, if that is so much that it makes figures doubtful.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    pub fn busy_with_others(&self) -> Option<f64> {
        let others_us = self.others_us.filter(|us| *us >= TICKS_US)?;
        let share = others_us as f64 / self.cpu_us.filter(|us| *us > 0)? as f64;
        Some(share).filter(|share| *share > BUSY)
    }

    /// In how many of these others took so much, and the largest share; `None` if in none.
    #[must_use]
    pub fn busiest(hosts: impl IntoIterator<Item = Host>) -> Option<(usize, f64)> {
        let shares: Vec<f64> =
            hosts.into_iter().filter_map(|host| host.busy_with_others()).collect();
        Some((shares.len(), shares.iter().copied().reduce(f64::max)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_is_too_much_and_a_few_ticks_are_not() {
        let share = |cpu_us, others_us| {
            Host { cpu_us: Some(cpu_us), others_us: Some(others_us) }.busy_with_others()
        };
        assert_eq!(share(2_000_000, 1_000_000), Some(0.5));
        assert_eq!(share(2_000_000, 190_000), None);
        assert_eq!(share(100_000, 49_000), None);
        assert_eq!(Host::default().busy_with_others(), None);
    }

    #[test]
    fn of_many_the_busy_ones_count_and_the_busiest_says_how_much() {
        let host = |others_us| Host { cpu_us: Some(2_000_000), others_us: Some(others_us) };
        assert_eq!(Host::busiest([host(0), host(500_000), host(1_000_000)]), Some((2, 0.5)));
        assert_eq!(Host::busiest([host(0), Host::default()]), None);
    }
}
