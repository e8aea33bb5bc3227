//! `run.json`: names that scripts rely on. Units are in the names; what was not measured is `null`,
//! never 0.

use super::{Application, Brownout, Convergence, Downtime, Host, LinkView, Repeat};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of this form.
pub const SCHEMA: &str = "switchover.run/1";

/// The `accelerator_reason` of an accelerator that the scenario requested.
pub const REQUESTED_ACCELERATOR: &str = "asked for";

/// One run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Summary {
    /// [`SCHEMA`].
    pub schema: String,
    /// Name of the run, also of its directory unless the user named that.
    pub id: String,
    /// RFC 3339, UTC.
    pub started: String,
    /// RFC 3339, UTC.
    pub finished: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, in a sentence.
    pub reason: String,
    /// `precopy`, `postcopy` or `hybrid`.
    pub mode: String,
    /// Whether post-copy really happened: "asked for" is not "happened".
    pub postcopy_happened: bool,
    /// The scenario as resolved.
    pub scenario: Value,
    /// On what it ran.
    pub environment: Environment,
    /// How long each part took.
    pub time_us: TimeUs,
    /// The blackout.
    pub downtime: Downtime,
    /// Many switchovers, if there were (`--repeat`); then the other figures are medians over the
    /// completed ones.
    #[serde(default)]
    pub repeat: Option<Repeat>,
    /// Stalls of the guest's memory accesses over the whole run.
    pub stalls: Stalls,
    /// How the guest fared outside of the blackout.
    #[serde(default)]
    pub brownout: Brownout,
    /// Post-copy page faults.
    pub faults: Faults,
    /// A post-copy that broke, and what was done about it; `null` if none did.
    #[serde(default)]
    pub recovery: Option<Recovery>,
    /// What was sent.
    pub transfer: Transfer,
    /// What passed over the link, where there is one.
    #[serde(default)]
    pub link: Option<LinkView>,
    /// What else the machine did, where that is known.
    #[serde(default)]
    pub host: Host,
    /// How well we looked.
    pub sampling: Sampling,
    /// The guest's word.
    pub guest: Guest,
    /// Why it converged or did not.
    pub convergence: Convergence,
    /// Who decided.
    pub policy: Policy,
    /// Limits that the user set on the result.
    pub checks: Vec<Check>,
    /// What a reader should know before trusting the numbers.
    pub warnings: Vec<String>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The guest runs on the destination.
    Completed,
    /// Given up; the guest runs on the source.
    NotConverged,
    /// Cancelled; the guest runs on the source.
    Cancelled,
    /// Failed; the guest runs on the source.
    Failed,
    /// The guest is gone.
    Lost,
    /// Nobody can say where the guest is: look before doing anything.
    Unknown,
}

impl Outcome {
    /// As in `run.json`.
    #[must_use]
    pub fn name(self) -> String {
        scenario::serialized_name(&self)
    }
}

/// On what a run ran.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Environment {
    /// Version of this program.
    pub switchover: String,
    /// Host name.
    pub host: String,
    /// Kernel release.
    pub kernel: String,
    /// Processors that we may use.
    pub cpus: usize,
    /// `tcg` or `kvm`; `null` for VMs that we did not start.
    pub accelerator: Option<String>,
    /// Why this accelerator was selected; [`REQUESTED_ACCELERATOR`] if the scenario requested it.
    pub accelerator_reason: Option<String>,
    /// Version of the source.
    pub source_qemu: String,
    /// Version of the destination.
    pub destination_qemu: String,
    /// Machine type, of a lab.
    pub machine: Option<String>,
    /// `owned` (sockets of ours), or the scheme of the migration URI.
    pub transport: String,
    /// Whether the source waits for the destination's word.
    pub return_path: bool,
    /// `x509` or `psk`, where the scenario's `tls` had the stream encrypted.
    #[serde(default)]
    pub tls: Option<String>,
}

/// How long each part took, µs, by the events' arrival on one clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeUs {
    /// `migrate` sent → source active.
    pub setup: Option<u64>,
    /// Active → STOP.
    pub precopy: Option<u64>,
    /// STOP → RESUME.
    pub switchover: Option<u64>,
    /// RESUME → completed, when post-copy happened.
    pub postcopy: Option<u64>,
    /// `migrate` sent → both sides done, of one that completed.
    pub total: Option<u64>,
    /// `migrate` sent → its end as the driver saw it, however it ended.
    #[serde(default)]
    pub ended: Option<u64>,
}

/// Stalls of the guest's memory accesses, by its own clock (which under TCG does not see the
/// blackout).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the quantiles and their unit")]
pub struct Stalls {
    pub count: Option<u64>,
    pub p50_us: Option<u64>,
    pub p90_us: Option<u64>,
    pub p99_us: Option<u64>,
    pub p999_us: Option<u64>,
    pub max_us: Option<u64>,
    pub total_us: Option<u64>,
}

/// A post-copy that broke.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// Attempts to bring it back.
    pub attempts: u64,
    /// How often that worked.
    pub recovered: u64,
    /// Time that the source was paused, in all, by the arrival of its events; `null` if it never
    /// went on. What the guest felt of it is in `brownout.beats.postcopy`.
    pub paused_us: Option<u64>,
}

/// Post-copy page faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the quantiles and their unit")]
pub struct Faults {
    /// Page requests that the source got (`postcopy-requests`).
    pub count: Option<u64>,
    /// Faults whose latency is known: by QEMU's own buckets since 10.1 (each figure is then the
    /// upper end of a bucket, at most twice too much), before that by traces, if asked for
    /// (`record.fault_trace`).
    pub timed: Option<u64>,
    pub p50_us: Option<u64>,
    pub p90_us: Option<u64>,
    pub p99_us: Option<u64>,
    pub max_us: Option<u64>,
    /// Mean, by QEMU's own count (`postcopy-latency`, since 10.1).
    pub mean_us: Option<u64>,
    /// Time all vCPUs were blocked (`postcopy-blocktime`).
    pub blocktime_us: Option<u64>,
    /// Time the vCPU that was blocked longest was (`postcopy-vcpu-blocktime`).
    pub vcpu_blocktime_max_us: Option<u64>,
    /// Pages that came without being asked for: post-copy's bytes by page, less the requests.
    pub pushed: Option<u64>,
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Transfer {
    /// Bytes sent.
    pub total_bytes: Option<u64>,
    /// Before switchover.
    pub precopy_bytes: Option<u64>,
    /// During it.
    pub downtime_bytes: Option<u64>,
    /// After it.
    pub postcopy_bytes: Option<u64>,
    /// The highest MIGRATION_PASS.
    pub passes: Option<u64>,
    /// Bytes a second over the whole.
    pub mean_bps: Option<u64>,
    /// The highest rate between two samples at least 50 ms apart.
    pub peak_bps: Option<u64>,
    /// Guest RAM.
    pub ram_bytes: Option<u64>,
}

/// How well both sides were sampled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// The source.
    pub source: Option<SampledSide>,
    /// The destination.
    pub destination: Option<SampledSide>,
}

/// How well one side was sampled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SampledSide {
    /// Answers.
    pub samples: u64,
    /// Answers a second.
    pub rate_hz: f64,
    /// From sending to the answer, median.
    pub rtt_p50_us: u64,
    /// 99th percentile.
    pub rtt_p99_us: u64,
    /// The longest.
    pub rtt_max_us: u64,
    /// The longest time between two answers.
    pub longest_gap_us: u64,
}

/// Whether the guest's memory came over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Integrity {
    /// Every page is what the guest wrote last.
    Intact,
    /// It is not.
    Corrupt,
    /// Nobody checked.
    #[default]
    Unknown,
}

/// The guest's word.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Guest {
    /// Whether its memory is right.
    pub integrity: Integrity,
    /// Pages checked.
    pub pages_checked: Option<u64>,
    /// Pages that are wrong.
    pub bad_pages: Option<u64>,
    /// Operations done.
    pub operations: Option<u64>,
    /// Bytes dirtied a second before the migration (writes × page size, on the host's clock).
    pub dirty_bps_before: Option<u64>,
    /// From `migrate` to the end of the migration.
    pub dirty_bps_during: Option<u64>,
    /// After it.
    pub dirty_bps_after: Option<u64>,
    /// From starting the lab to the first heartbeat.
    pub boot_us: Option<u64>,
    /// Beats that arrived, both sides.
    pub beats: Option<u64>,
    /// From the source's last beat to the destination's first, as recorded: includes up to a period
    /// at each end.
    pub heartbeat_gap_us: Option<u64>,
    /// An application that ran in it; `null` if none did.
    #[serde(default)]
    pub application: Option<Application>,
}

/// Who decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// How many decisions it made.
    pub decisions: u64,
}

/// A limit that the user set on the result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// As written.
    pub name: String,
    /// The bound.
    pub limit: String,
    /// What it was.
    pub actual: String,
    /// Whether it held.
    pub pass: bool,
}
