//! Configuration of the network between the two QEMUs. The presets are the files in fixtures/links.

use base::units::{Bytes, Micros, Rate};
use serde::{Deserialize, Serialize};

/// The network between the two QEMUs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Link {
    /// A named link. The other keys override its values.
    pub preset: LinkPreset,
    /// How the link is implemented.
    pub kind: LinkKind,
    /// Divides rate, window and buffer, but not delays. If the guest's memory, working set and
    /// write rate are divided too, times stay the same.
    pub scale: u32,
    /// The seed of the jitter.
    pub seed: u64,
    /// Values from the source to the destination, and also back where `back` gives no other.
    #[serde(flatten)]
    pub figures: Figures,
    /// Values from the destination to the source where they differ.
    #[serde(skip_serializing_if = "Figures::is_empty")]
    pub back: Figures,
    /// Faults of the link.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outages: Vec<Outage>,
}

/// Values of one direction. A value that is `None` is the preset's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Figures {
    /// The rate of the bottleneck, which all channels share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// The delay in one direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Micros>,
    /// The maximum random delay that is added. The order of bytes is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Micros>,
    /// Bytes of one channel that may be in flight before the first of them is acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Bytes>,
    /// Bytes that can wait before the bottleneck. When the buffer is full, the sender waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buffer: Option<Bytes>,
}

impl Figures {
    fn is_empty(&self) -> bool {
        *self == Figures::default()
    }

    /// Returns these values, and those of `base` where they are `None`.
    fn or(&self, base: &Figures) -> Figures {
        Figures {
            rate: self.rate.or(base.rate),
            delay: self.delay.or(base.delay),
            jitter: self.jitter.or(base.jitter),
            window: self.window.or(base.window),
            buffer: self.buffer.or(base.buffer),
        }
    }
}

/// A named link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkPreset {
    /// No link, unless the scenario gives values or outages.
    None,
    /// The link has no limits, but counts bytes.
    Open,
    /// The link in fixtures/links/local.toml.
    Local,
    /// The link in fixtures/links/dublin.toml.
    Dublin,
    /// The link in fixtures/links/halifax.toml.
    Halifax,
}

impl LinkPreset {
    fn figures(self) -> Figures {
        let text = match self {
            LinkPreset::None | LinkPreset::Open => return Figures::default(),
            LinkPreset::Local => include_str!("../../fixtures/links/local.toml"),
            LinkPreset::Dublin => include_str!("../../fixtures/links/dublin.toml"),
            LinkPreset::Halifax => include_str!("../../fixtures/links/halifax.toml"),
        };
        toml::from_str(text).expect("the presets are compiled in, and a test parses them")
    }
}

/// How the link is implemented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkKind {
    /// A thread that forwards between two sockets. Any rate, delay and window; no privileges.
    Emulated,
    /// Two network namespaces with a veth pair between them. This uses the kernel's TCP and needs
    /// root. Delay and jitter need netem in the kernel.
    Netns,
}

/// One fault that happens once. Exactly one of `at`, `after_bytes` and `at_state` says when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Outage {
    /// The fault starts this long after `migrate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Micros>,
    /// The fault starts when this many bytes have arrived at the destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_bytes: Option<Bytes>,
    /// The fault starts when the source reports this state, such as `postcopy-active`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_state: Option<String>,
    /// How long the fault lasts. `None` means forever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Micros>,
    /// Whether connections break, and new ones are refused while it lasts. Otherwise bytes are only
    /// held back, and continue afterwards.
    pub breaks: bool,
}

/// The values of one direction of a link, with preset, defaults and scale applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkDirection {
    /// The rate of the bottleneck; `None` is no limit.
    pub rate: Option<Rate>,
    /// The delay in this direction.
    pub delay: Micros,
    /// The maximum random delay that is added.
    pub jitter: Micros,
    /// Bytes of one channel that may be in flight; `None` is no limit.
    pub window: Option<Bytes>,
    /// Bytes that can wait before the bottleneck.
    pub buffer: Bytes,
}

impl LinkDirection {
    /// Whether this direction has no rate, delay, jitter or window.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.rate.is_none() && self.delay.0 == 0 && self.jitter.0 == 0 && self.window.is_none()
    }
}

/// The default buffer holds the bytes of this time at the link's rate.
const DEFAULT_BUFFER_MILLIS: u64 = 10;
/// The default buffer is at least this large.
const MIN_BUFFER_BYTES: u64 = 256 << 10;
/// The default buffer of a link without a rate.
const BUFFER_WITHOUT_RATE: u64 = 64 << 20;

impl Link {
    /// Whether the scenario configures no link.
    #[must_use]
    pub fn is_none(&self) -> bool {
        let no_figures = self.figures.is_empty() && self.back.is_empty() && self.outages.is_empty();
        self.preset == LinkPreset::None && self.kind == LinkKind::Emulated && no_figures
    }

    /// Returns both directions, with preset, defaults and scale applied: source to destination, and
    /// back.
    #[must_use]
    pub fn directions(&self) -> [LinkDirection; 2] {
        let there = self.figures.or(&self.preset.figures());
        let back = self.back.or(&there);
        [there, back].map(|figures| self.complete(&figures))
    }

    /// Applies defaults and the scale.
    fn complete(&self, figures: &Figures) -> LinkDirection {
        let scale = u64::from(self.scale.max(1));
        let rate = figures.rate.map(|rate| Rate((rate.0 / scale).max(1)));
        let default_buffer = match rate {
            Some(rate) => {
                Bytes((rate.0 / 1000).saturating_mul(DEFAULT_BUFFER_MILLIS).max(MIN_BUFFER_BYTES))
            }
            None => Bytes(BUFFER_WITHOUT_RATE),
        };
        LinkDirection {
            rate,
            delay: figures.delay.unwrap_or(Micros(0)),
            jitter: figures.jitter.unwrap_or(Micros(0)),
            window: figures.window.map(|window| Bytes((window.0 / scale).max(1))),
            buffer: figures
                .buffer
                .map_or(default_buffer, |buffer| Bytes((buffer.0 / scale).max(1))),
        }
    }

    /// Finds an invalid value. Returns its key and the problem.
    pub(super) fn find_problem(&self, timeout: Micros) -> Option<(&'static str, String)> {
        let given = |figures: &Figures| {
            (figures.rate == Some(Rate(0)))
                .then(|| {
                    (
                        "link.rate",
                        "a link with 0 transfers nothing; leave it out for no limit".to_owned(),
                    )
                })
                .or_else(|| {
                    (figures.window == Some(Bytes(0))).then(|| {
                        (
                            "link.window",
                            "a link with 0 transfers nothing; leave it out for no limit".to_owned(),
                        )
                    })
                })
                .or_else(|| {
                    (figures.buffer == Some(Bytes(0)))
                        .then(|| ("link.buffer", "a link with 0 transfers nothing".to_owned()))
                })
        };
        if let Some(problem) = given(&self.figures).or_else(|| given(&self.back)) {
            return Some(problem);
        }
        if self.scale == 0 {
            return Some((
                "link.scale",
                "the scale is a divisor and must not be 0; 1 leaves the link unchanged".to_owned(),
            ));
        }
        let round_trip = self
            .directions()
            .iter()
            .map(|direction| direction.delay.0.saturating_add(direction.jitter.0))
            .fold(0, u64::saturating_add);
        if round_trip >= timeout.0 {
            let problem = format!(
                "a round trip of {} takes longer than the timeout of {timeout}; lower the \
                 delay or raise the timeout",
                Micros(round_trip)
            );
            return Some(("link.delay", problem));
        }
        self.outages.iter().find_map(Outage::find_problem).map(|problem| ("link.outages", problem))
    }
}

impl Outage {
    fn find_problem(&self) -> Option<String> {
        let when = [self.at.is_some(), self.after_bytes.is_some(), self.at_state.is_some()]
            .into_iter()
            .filter(|given| *given)
            .count();
        if when != 1 {
            return Some("give each outage one of `at`, `after_bytes` and `at_state`".to_owned());
        }
        (self.lasts == Some(Micros(0))).then(|| {
            "an outage of 0 has no effect; leave `lasts` out for one that never ends".to_owned()
        })
    }
}

impl Default for Link {
    fn default() -> Link {
        Link {
            preset: LinkPreset::None,
            kind: LinkKind::Emulated,
            scale: 1,
            seed: 1,
            figures: Figures::default(),
            back: Figures::default(),
            outages: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_what_the_paper_measured() {
        let direction = |preset| Link { preset, ..Link::default() }.directions()[0];
        assert_eq!(direction(LinkPreset::Local).rate, "9.4Gbit/s".parse().ok());
        assert_eq!(
            (direction(LinkPreset::Dublin).rate, direction(LinkPreset::Dublin).delay),
            ("7Gbit/s".parse().ok(), Micros(2750))
        );
        assert_eq!(
            (direction(LinkPreset::Halifax).rate, direction(LinkPreset::Halifax).delay),
            ("3Gbit/s".parse().ok(), Micros(26_250))
        );
        assert_eq!(direction(LinkPreset::Halifax).window, Some(Bytes(16 << 20)));
        assert!(direction(LinkPreset::Open).is_open() && Link::default().is_none());
    }

    #[test]
    fn scale_divides_rates_and_sizes_but_not_delays() {
        let link = Link { preset: LinkPreset::Halifax, scale: 10, ..Link::default() };
        let [there, back] = link.directions();
        assert_eq!((there.rate, there.delay), (Some(Rate(37_500_000)), Micros(26_250)));
        assert_eq!(
            (there.window, there.buffer),
            (Some(Bytes((16 << 20) / 10)), Bytes((4 << 20) / 10))
        );
        assert_eq!(there, back);
    }

    #[test]
    fn the_return_direction_differs_only_where_back_gives_a_value() {
        let back = Figures { rate: Some(Rate(1000)), ..Figures::default() };
        let [there, here] =
            Link { preset: LinkPreset::Dublin, back, ..Link::default() }.directions();
        assert_eq!((here.rate, here.delay), (Some(Rate(1000)), there.delay));
    }
}
