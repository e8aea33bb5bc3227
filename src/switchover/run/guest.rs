//! What a guest of ours says before and after: how fast it writes, how its load is, and whether its
//! memory came over.

use base::clock::monotonic_ns;
use base::units::PAGE_BYTES;
use lab::{Console, GuestCheck, GuestStatus, LabError, LoadStatus};
use migrate::drive::Report;
use record::Integrity;
use scenario::{Guest, Load};
use std::time::Duration;

/// A rate of writes is taken over this long: shorter, and the heartbeat's period shows in it.
const WINDOW: Duration = Duration::from_millis(100);
/// One of an application's answers: under TCG the destination first has to translate all code that
/// the guest runs, for some 100 ms.
const APPLICATION_WINDOW: Duration = Duration::from_secs(1);
const CHECK_DEADLINE_PER_GIB: Duration = Duration::from_secs(60);
/// What was learnt from the guest.
#[derive(Clone, Debug, Default)]
pub(super) struct GuestFacts {
    pub(super) integrity: Integrity,
    pub(super) check: Option<GuestCheck>,
    pub(super) operations: Option<u64>,
    pub(super) dirty_bps_before: Option<u64>,
    pub(super) dirty_bps_during: Option<u64>,
    pub(super) dirty_bps_after: Option<u64>,
    /// Its histogram of stalls: just before `migrate`, when the migration had ended, and some time
    /// later.
    pub(super) stalls_before: Vec<(u64, u64)>,
    pub(super) stalls_at_end: Vec<(u64, u64)>,
    pub(super) stalls: Vec<(u64, u64)>,
    /// What runs beside it, if anything does, and when that was asked, ns.
    pub(super) load: Option<(LoadStatus, u64)>,
    pub(super) problem: Option<String>,
}

/// The guest's counters at a moment of the host.
#[derive(Clone, Copy)]
struct Reading {
    at_ns: u64,
    status: GuestStatus,
}

impl Reading {
    async fn take(console: &mut Console) -> Result<Reading, LabError> {
        let status = console.status().await?;
        Ok(Reading { at_ns: monotonic_ns(), status })
    }

    /// Bytes dirtied a second since `earlier`, on the host's clock.
    fn rate_since(&self, earlier: &Reading) -> Option<u64> {
        let pages = self.status.writes.checked_sub(earlier.status.writes)?;
        let nanos = u128::from(self.at_ns.checked_sub(earlier.at_ns)?).max(1);
        u64::try_from(u128::from(pages) * u128::from(PAGE_BYTES) * 1_000_000_000 / nanos).ok()
    }
}

/// Follows the guest through a run.
#[derive(Default)]
pub(super) struct GuestWatch {
    before: Option<Reading>,
    bps_before: Option<u64>,
    stalls_before: Vec<(u64, u64)>,
}

impl GuestWatch {
    /// Just before `migrate`, when all settings are made: what it writes undisturbed. Earlier, our
    /// own questions would show: QEMU holds its lock while it answers query-qmp-schema, and the
    /// guest's heartbeat needs that lock.
    pub(super) async fn before_migrate(&mut self, console: &mut Console) {
        let Ok(first) = Reading::take(console).await else { return };
        tokio::time::sleep(WINDOW).await;
        self.stalls_before = console.stalls().await.unwrap_or_default();
        self.before = Reading::take(console).await.ok();
        self.bps_before = self.before.and_then(|before| before.rate_since(&first));
    }

    /// When it is over, on the side where the guest is now.
    pub(super) async fn after_migration(
        &self,
        console: &mut Console,
        wanted: &Guest,
        report: &Report,
    ) -> GuestFacts {
        let mut facts = GuestFacts::default();
        if let Err(error) = self.ask(console, wanted, report, &mut facts).await {
            facts.problem = Some(error.to_string());
        }
        facts
    }

    async fn ask(
        &self,
        console: &mut Console,
        wanted: &Guest,
        report: &Report,
        facts: &mut GuestFacts,
    ) -> Result<(), LabError> {
        let at_end = Reading::take(console).await?;
        facts.dirty_bps_before = self.bps_before;
        facts.stalls_before.clone_from(&self.stalls_before);
        // Up to this reading, which comes some ms after the end.
        facts.dirty_bps_during = self
            .before
            .filter(|b| b.at_ns <= report.ended.mono_ns)
            .and_then(|b| at_end.rate_since(&b));
        facts.stalls_at_end = console.stalls().await?;
        tokio::time::sleep(if wanted.load.is_application() { APPLICATION_WINDOW } else { WINDOW })
            .await;
        let later = Reading::take(console).await?;
        facts.dirty_bps_after = later.rate_since(&at_end);
        facts.operations = Some(later.status.operations);
        facts.stalls = console.stalls().await?;
        if wanted.inject_fault {
            // Paused first: with touch = "page" the guest's next write would heal the damage.
            console.pause(true).await?;
            console.inject_fault().await?;
        }
        let gib = u32::try_from(wanted.working_set.0 >> 30).unwrap_or(u32::MAX) + 1;
        let check = console.check(CHECK_DEADLINE_PER_GIB * gib).await?;
        facts.check = Some(check);
        if wanted.load != Load::None {
            facts.load = Some((console.load().await?, monotonic_ns()));
        }
        // An application that answers with what nobody stored has lost memory too, whatever the
        // pages of the guest program are like.
        let wrong = facts.load.as_ref().and_then(|(load, _)| load.wrong).unwrap_or(0);
        facts.integrity =
            if check.intact && wrong == 0 { Integrity::Intact } else { Integrity::Corrupt };
        Ok(())
    }
}
