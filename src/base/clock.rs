//! The only file that reads clocks.
//!
//! All other code receives time as a value, so that it can be replayed and tested without waiting.
//! `clippy.toml` forbids the standard library's clock functions elsewhere.

use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One instant on this host, read from its monotonic and its wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stamp {
    /// `CLOCK_MONOTONIC` in nanoseconds, for differences. Comparable between the processes of one
    /// host until it reboots.
    pub mono_ns: u64,
    /// `CLOCK_REALTIME` in nanoseconds since 1970. QEMU's event timestamps use the same clock
    /// (`g_get_real_time()`).
    pub wall_ns: u64,
}

/// Longest time between the reads of both clocks that counts as one instant.
const MAX_READ_GAP_NS: u64 = 20_000;

impl Stamp {
    /// Reads both clocks.
    #[must_use]
    pub fn now() -> Stamp {
        // If we are interrupted between the two reads, the wall clock seems to have stepped, so we
        // read again.
        for _ in 0..3 {
            let mono_ns = monotonic_ns();
            let wall_ns = read(ClockId::CLOCK_REALTIME);
            if monotonic_ns() - mono_ns < MAX_READ_GAP_NS {
                return Stamp { mono_ns, wall_ns };
            }
        }
        Stamp { mono_ns: monotonic_ns(), wall_ns: read(ClockId::CLOCK_REALTIME) }
    }

    /// The time from `earlier` to `self` on the monotonic clock; zero if `earlier` is later.
    #[must_use]
    pub fn since(&self, earlier: Stamp) -> Duration {
        Duration::from_nanos(self.mono_ns.saturating_sub(earlier.mono_ns))
    }
}

/// Reads `CLOCK_MONOTONIC`, in nanoseconds.
#[must_use]
pub fn monotonic_ns() -> u64 {
    read(ClockId::CLOCK_MONOTONIC)
}

/// The CPU time that this process has used in user and system mode in all its threads, in
/// nanoseconds.
#[must_use]
pub fn process_cpu_ns() -> u64 {
    read(ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

/// The CPU time that another process has used in user and system mode in all its threads, in
/// nanoseconds. `None` if there is no such process.
#[must_use]
pub fn cpu_ns_of(pid: u32) -> Option<u64> {
    let pid = Pid::from_raw(i32::try_from(pid).ok().filter(|pid| *pid > 0)?);
    clock_getcpuclockid(pid).ok().map(read)
}

/// The CPU time that the calling thread has used, in nanoseconds.
#[must_use]
pub fn thread_cpu_ns() -> u64 {
    read(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

/// Blocks the calling thread until `mono_ns` on the monotonic clock; returns at once if that has
/// passed.
///
/// Only for a dedicated thread that follows a schedule, such as the sampler. Code that waits for
/// something to happen waits for the event instead.
pub fn sleep_until(mono_ns: u64) {
    let now = monotonic_ns();
    if mono_ns > now {
        #[expect(clippy::disallowed_methods, reason = "only this file may sleep")]
        std::thread::sleep(Duration::from_nanos(mono_ns - now));
    }
}

fn read(clock: ClockId) -> u64 {
    // Cannot fail for these clocks on Linux: clock_gettime(2) gives EINVAL only for unknown clocks.
    clock_gettime(clock).map_or(0, |t| {
        let seconds = u64::try_from(t.tv_sec()).unwrap_or(0);
        let nanos = u64::try_from(t.tv_nsec()).unwrap_or(0);
        seconds * 1_000_000_000 + nanos
    })
}

/// Formats a wall-clock time as RFC 3339 in UTC with milliseconds: `2026-11-23T03:38:05.120Z`.
#[must_use]
pub fn rfc3339(wall_ns: u64) -> String {
    let seconds = wall_ns / 1_000_000_000;
    let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second) =
        (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
    let millis = wall_ns / 1_000_000 % 1000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Converts days since 1970-01-01 to year, month and day of the Gregorian calendar. It counts in
/// eras of 400 years that begin in March.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// Seconds from 1970-01-01T00:00:00Z to midnight (UTC) of a day of the Gregorian calendar.
///
/// Years are counted from March, so that the leap day is the last day of its year. `year` is at
/// least 1970, `month` is from 1 to 12, `day` from 1 to 31.
#[must_use]
pub fn unix_seconds_of_day(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    (year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468) * 86_400
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_dates_at_leap_days_and_the_epoch() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(951_782_400_000_000_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(rfc3339(1_795_405_085_120_000_000), "2026-11-23T03:38:05.120Z");
    }

    #[test]
    fn monotonic_clock_does_not_go_back() {
        let first = Stamp::now();
        assert!(Stamp::now().mono_ns >= first.mono_ns);
    }
}
