//! Whether it converges, why not, and what would help, each with what the model says of it.

use super::boundary::{Boundaries, at_bandwidth, boundaries};
use super::model::{Prediction, predict};
use super::setup::{Setup, Switch, Throttle};
use super::textbook::{Textbook, textbook};
use super::workload::PAGE;
use base::units::{human_bytes, human_micros};
use serde::{Deserialize, Serialize};

/// Within this of the boundary nobody can tell.
const NEAR: f64 = 0.05;
/// Of the threshold.
const LITTLE: f64 = 1.05;
/// A limit that is recommended is above the least by so much.
const MARGIN: f64 = 1.05;
/// QEMU's quantum: what is dirtied in it is the least that is pending.
const WINDOW: f64 = 0.1;

/// Whether it converges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Yes.
    Converges,
    /// It is so near to the boundary that either may happen.
    Barely,
    /// max-bandwidth is below what the way carries and what the guest needs.
    CappedByMaxBandwidth,
    /// Window over round trip is below the link's rate, and that is what is missing.
    WindowLimitedLink,
    /// All of the working set is dirty again in no time, and it is more than bandwidth ×
    /// downtime-limit.
    WorkingSetAboveThreshold,
    /// More is dirtied than sent.
    DirtiesFasterThanItSends,
    /// Less is dirtied than sent, but never as little is left as bandwidth × downtime-limit.
    ThresholdTooSmall,
    /// auto-converge is on, and even at its most the guest writes too fast, or it is not reached in
    /// time.
    ThrottleTooWeak,
    /// xbzrle is on, and its cache is too small or pages change too much.
    XbzrleUseless,
    /// It would converge, but not before it is given up.
    TooLittleTime,
}

impl Verdict {
    /// A sentence.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Verdict::Converges => "it converges",
            Verdict::Barely => {
                "it may or may not converge: the guest writes within 5 % of the highest rate that does"
            }
            Verdict::CappedByMaxBandwidth => {
                "it does not converge because max-bandwidth is below what the way carries"
            }
            Verdict::WindowLimitedLink => {
                "it does not converge because one stream gets only a window a round trip of the link"
            }
            Verdict::WorkingSetAboveThreshold => {
                "it does not converge: the guest dirties its working set again at once, and that is more than bandwidth × downtime-limit"
            }
            Verdict::DirtiesFasterThanItSends => {
                "it does not converge: the guest dirties memory faster than it is sent"
            }
            Verdict::ThresholdTooSmall => {
                "it does not converge: what is left never falls to bandwidth × downtime-limit"
            }
            Verdict::ThrottleTooWeak => {
                "it does not converge: auto-converge does not slow the guest enough, or not in time"
            }
            Verdict::XbzrleUseless => {
                "it does not converge, and xbzrle does not help: its cache is too small or pages change too much"
            }
            Verdict::TooLittleTime => "it would converge, but not before the time-out",
        }
    }

    /// Its name, as in run.json.
    #[must_use]
    pub fn name(self) -> String {
        serde_json::to_value(self)
            .ok()
            .and_then(|value| value.as_str().map(str::to_owned))
            .unwrap_or_default()
    }
}

/// What would help.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Remedy {
    /// A setting, as on the command line.
    pub setting: String,
    /// What it does to the guest.
    pub harm: &'static str,
    /// From active to completed, s.
    pub total_s: f64,
    /// The blackout, s.
    pub blackout_s: f64,
    /// In words.
    pub effect: String,
}

/// All that is known beforehand.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// Whether it converges.
    pub verdict: Verdict,
    /// What will happen.
    pub prediction: Prediction,
    /// What the textbooks say.
    pub textbook: Textbook,
    /// Where it begins to converge, without post-copy and throttle.
    pub boundaries: Boundaries,
    /// The gentlest first; none for what converges.
    pub remedies: Vec<Remedy>,
}

/// Judges.
#[must_use]
pub fn judge(setup: &Setup) -> Judgement {
    let (prediction, boundaries) = (predict(setup), boundaries(setup));
    let verdict = verdict(setup, &prediction, &boundaries);
    let remedies = if prediction.converges { Vec::new() } else { remedies(setup, &boundaries) };
    Judgement { verdict, prediction, textbook: textbook(setup), boundaries, remedies }
}

fn verdict(setup: &Setup, prediction: &Prediction, boundaries: &Boundaries) -> Verdict {
    let pure = setup.switch == Switch::Never && setup.throttle.is_none();
    let (rate, bandwidth) = (setup.workload.rate(), setup.bandwidth().0);
    // A guest that dirties all of its memory in any case may write at any rate: what is left says
    // more then.
    let little_is_left = prediction.converges || prediction.pending < setup.threshold() * LITTLE;
    if pure
        && little_is_left
        && boundaries.rate.is_some_and(|highest| (rate / highest - 1.0).abs() < NEAR)
    {
        return Verdict::Barely;
    }
    if prediction.converges {
        return Verdict::Converges;
    }
    let helps = |changed: Setup| predict(&changed).converges;
    let patient = Setup { timeout: setup.timeout.max(3600.0), ..setup.clone() };
    if setup.throttle.is_some() {
        return Verdict::ThrottleTooWeak;
    }
    if helps(patient.clone()) {
        return Verdict::TooLittleTime;
    }
    if setup.xbzrle.is_some() {
        return Verdict::XbzrleUseless;
    }
    if setup.bandwidth().1 && helps(Setup { max_bandwidth: None, ..patient.clone() }) {
        return Verdict::CappedByMaxBandwidth;
    }
    if let Some(link) = setup.link_rate.filter(|link| *link > setup.capacity)
        && helps(Setup { capacity: link, max_bandwidth: None, ..patient })
    {
        return Verdict::WindowLimitedLink;
    }
    if rate * WINDOW >= setup.workload.working_set() {
        Verdict::WorkingSetAboveThreshold
    } else if rate >= bandwidth {
        Verdict::DirtiesFasterThanItSends
    } else {
        Verdict::ThresholdTooSmall
    }
}

/// The gentlest first: what costs the guest nothing, what stops it for longer, what slows it, what
/// risks it.
fn remedies(setup: &Setup, boundaries: &Boundaries) -> Vec<Remedy> {
    let mut found = Vec::new();
    let mut try_it = |setting: String, harm: &'static str, changed: Setup| {
        let prediction = predict(&changed);
        if let (true, Some(blackout)) = (prediction.converges, prediction.blackout) {
            let effect = effect(&prediction, blackout);
            found.push(Remedy {
                setting,
                harm,
                total_s: prediction.total,
                blackout_s: blackout,
                effect,
            });
        }
    };
    let patient = Setup { timeout: setup.timeout.max(600.0), ..setup.clone() };
    if let Some(needed) =
        boundaries.bandwidth.map(|least| least * MARGIN).filter(|needed| *needed <= setup.capacity)
    {
        let setting = format!("--max-bandwidth {}", rate(needed));
        try_it(setting, "none: more of the network", at_bandwidth(&patient, needed));
    }
    if let Some(link) = setup.link_rate.filter(|link| *link > setup.capacity) {
        let setting =
            format!("a TCP window of {}, or multifd", human_bytes(whole(link * 2.0 * setup.delay)));
        try_it(setting, "none: more of the network", Setup { capacity: link, ..patient.clone() });
    }
    if setup.bandwidth().1 && setup.switchover_bandwidth.is_none() {
        // The limit does not hold for the last bytes, but the estimate believes so.
        let setting = format!("--param avail-switchover-bandwidth={}", rate(setup.capacity));
        try_it(
            setting,
            "none: max-bandwidth does not hold in the blackout",
            Setup { switchover_bandwidth: Some(setup.capacity), ..patient.clone() },
        );
    }
    if let Some(limit) = boundaries.downtime_limit.map(|least| least * MARGIN) {
        let setting = format!("--downtime-limit {}ms", whole(limit * 1000.0).max(1));
        try_it(
            setting,
            "stops the guest for longer",
            Setup { downtime_limit: limit, ..patient.clone() },
        );
    }
    if setup.throttle.is_none() {
        try_it(
            "--cap auto-converge=on".to_owned(),
            "slows the guest",
            Setup { throttle: Some(Throttle::default()), ..patient.clone() },
        );
    }
    if setup.switch == Switch::Never {
        try_it(
            "--mode hybrid".to_owned(),
            "the guest waits for pages, and is lost if a host is",
            Setup { switch: Switch::AfterSyncs(1), ..patient },
        );
    }
    found
}

fn effect(prediction: &Prediction, blackout: f64) -> String {
    let mut parts = vec![
        format!("completes in {}", time(prediction.total)),
        format!("blackout {}", time(blackout)),
    ];
    if prediction.throttle > 0.0 {
        parts.push(format!("guest throttled to {:.0} %", (1.0 - prediction.throttle) * 100.0));
    }
    if let Some(postcopy) = prediction.postcopy {
        let (blocked, fault) = (time(postcopy.blocked), time(postcopy.fault));
        parts.push(format!(
            "then the guest waits {blocked} in all for {:.0} pages, {fault} each",
            postcopy.faults
        ));
    }
    parts.join(", ")
}

/// For people.
#[must_use]
pub fn time(seconds: f64) -> String {
    human_micros(whole(seconds * 1e6))
}

/// A rate that the command line takes.
fn rate(bytes_a_second: f64) -> String {
    format!("{}MiB/s", whole(bytes_a_second / 1_048_576.0).max(1))
}

/// The next whole number above; 0 for what is none.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
#[must_use]
pub fn whole(value: f64) -> u64 {
    value.ceil().clamp(0.0, PAGE * 1e15) as u64
}
