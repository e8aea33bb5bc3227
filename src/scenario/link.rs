//! The network between the two QEMUs, as asked for. Named links are the files of fixtures/links.

use base::units::{Bytes, Micros, Rate};
use serde::{Deserialize, Serialize};

/// The network between the two QEMUs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Link {
    /// A named link; the other keys change it.
    pub preset: LinkPreset,
    /// What makes it.
    pub kind: LinkKind,
    /// Divides rate, window and buffer; delays stay. Divide the guest's memory, working set and write rate too, and times stay the same.
    pub scale: u32,
    /// Of the jitter.
    pub seed: u64,
    /// From the source to the destination; and back, unless `back` says otherwise.
    #[serde(flatten)]
    pub figures: Figures,
    /// From the destination to the source, where it differs.
    #[serde(skip_serializing_if = "Figures::is_empty")]
    pub back: Figures,
    /// What goes wrong with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outages: Vec<Outage>,
}

/// Figures of one direction; what is not given is the preset's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Figures {
    /// Of the bottleneck, shared by all channels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// One way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Micros>,
    /// Up to so much more, at random; order is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Micros>,
    /// Bytes of one channel that may be on the way before the first of them is acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Bytes>,
    /// Bytes that wait in front of the bottleneck; when it is full, the sender waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buffer: Option<Bytes>,
}

impl Figures {
    fn is_empty(&self) -> bool {
        *self == Figures::default()
    }

    fn over(&self, below: &Figures) -> Figures {
        Figures {
            rate: self.rate.or(below.rate),
            delay: self.delay.or(below.delay),
            jitter: self.jitter.or(below.jitter),
            window: self.window.or(below.window),
            buffer: self.buffer.or(below.buffer),
        }
    }
}

/// Named links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkPreset {
    /// The transport as it is, unless there are figures or outages.
    None,
    /// Nothing is shaped; what passes is counted.
    Open,
    /// fixtures/links/local.toml.
    Local,
    /// fixtures/links/dublin.toml.
    Dublin,
    /// fixtures/links/halifax.toml.
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
        // They are part of the program, and a test parses them.
        toml::from_str(text).unwrap_or_default()
    }
}

/// What makes the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkKind {
    /// A thread of ours between two sockets: any rate, delay, window; no privileges.
    Emulated,
    /// Two network namespaces and a veth pair between them: a real TCP stack; needs root. Delay and jitter need netem in the kernel.
    Netns,
}

/// One thing that goes wrong, once. Exactly one of `at`, `after_bytes` and `at_state` says when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Outage {
    /// So long after `migrate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Micros>,
    /// When so many bytes have arrived at the destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_bytes: Option<Bytes>,
    /// When the source says that it is in this state, such as `postcopy-active`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_state: Option<String>,
    /// For so long; for good unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Micros>,
    /// Connections break, and no new ones are let in while it lasts. Otherwise nothing passes, and goes on afterwards.
    pub breaks: bool,
}

/// One direction of a link, complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkDirection {
    /// Bytes a second; `None`: no limit.
    pub rate: Option<Rate>,
    /// One way.
    pub delay: Micros,
    /// Up to so much more.
    pub jitter: Micros,
    /// Bytes in flight, of one channel.
    pub window: Option<Bytes>,
    /// Bytes that wait at the bottleneck.
    pub buffer: Bytes,
}

impl LinkDirection {
    /// Whether anything is done to what passes.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.rate.is_none() && self.delay.0 == 0 && self.jitter.0 == 0 && self.window.is_none()
    }
}

/// A buffer that is not given holds so much time of the rate.
const BUFFER_MILLIS: u64 = 10;
/// … but at least so much.
const LEAST_BUFFER: u64 = 256 << 10;
/// … and this where there is no rate.
const BUFFER_WITHOUT_RATE: u64 = 64 << 20;

impl Link {
    /// Whether there is a link of ours at all.
    #[must_use]
    pub fn is_none(&self) -> bool {
        let no_figures = self.figures.is_empty() && self.back.is_empty() && self.outages.is_empty();
        self.preset == LinkPreset::None && self.kind == LinkKind::Emulated && no_figures
    }

    /// Both directions, complete and scaled: source to destination, and back.
    #[must_use]
    pub fn directions(&self) -> [LinkDirection; 2] {
        let there = self.figures.over(&self.preset.figures());
        let back = self.back.over(&there);
        [there, back].map(|figures| self.way(&figures))
    }

    fn way(&self, figures: &Figures) -> LinkDirection {
        let scale = u64::from(self.scale.max(1));
        let rate = figures.rate.map(|rate| Rate((rate.0 / scale).max(1)));
        let default_buffer = match rate {
            Some(rate) => Bytes((rate.0 / 1000).saturating_mul(BUFFER_MILLIS).max(LEAST_BUFFER)),
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

    /// What cannot be: the key, and what is wrong with it.
    pub(super) fn problem(&self, timeout: Micros) -> Option<(&'static str, String)> {
        let given = |figures: &Figures| {
            (figures.rate == Some(Rate(0)))
                .then(|| ("link.rate", "0 lets nothing pass; leave it out for no limit".to_owned()))
                .or_else(|| {
                    (figures.window == Some(Bytes(0))).then(|| {
                        ("link.window", "0 lets nothing pass; leave it out for no limit".to_owned())
                    })
                })
                .or_else(|| {
                    (figures.buffer == Some(Bytes(0)))
                        .then(|| ("link.buffer", "0 lets nothing pass".to_owned()))
                })
        };
        if let Some(problem) = given(&self.figures).or_else(|| given(&self.back)) {
            return Some(problem);
        }
        if self.scale == 0 {
            return Some(("link.scale", "0 is no divisor; 1 leaves the link as it is".to_owned()));
        }
        let round_trip = self
            .directions()
            .iter()
            .map(|way| way.delay.0.saturating_add(way.jitter.0))
            .fold(0, u64::saturating_add);
        if round_trip >= timeout.0 {
            let problem = format!(
                "a round trip of {} is not over before the timeout of {timeout}; lower the one or raise the other",
                Micros(round_trip)
            );
            return Some(("link.delay", problem));
        }
        self.outages.iter().find_map(Outage::problem).map(|problem| ("link.outages", problem))
    }
}

impl Outage {
    fn problem(&self) -> Option<String> {
        let when = [self.at.is_some(), self.after_bytes.is_some(), self.at_state.is_some()]
            .into_iter()
            .filter(|given| *given)
            .count();
        if when != 1 {
            return Some("give each outage one of `at`, `after_bytes` and `at_state`".to_owned());
        }
        (self.lasts == Some(Micros(0)))
            .then(|| "an outage of 0 is none; leave `lasts` out for one that never ends".to_owned())
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
    fn the_named_links_are_what_the_paper_measured() {
        let way = |preset| Link { preset, ..Link::default() }.directions()[0];
        assert_eq!(way(LinkPreset::Local).rate, "9.4Gbit/s".parse().ok());
        assert_eq!(
            (way(LinkPreset::Dublin).rate, way(LinkPreset::Dublin).delay),
            ("7Gbit/s".parse().ok(), Micros(2750))
        );
        assert_eq!(
            (way(LinkPreset::Halifax).rate, way(LinkPreset::Halifax).delay),
            ("3Gbit/s".parse().ok(), Micros(26_250))
        );
        assert_eq!(way(LinkPreset::Halifax).window, Some(Bytes(16 << 20)));
        assert!(way(LinkPreset::Open).is_open() && Link::default().is_none());
    }

    #[test]
    fn scale_divides_what_is_per_second_and_leaves_time() {
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
    fn the_way_back_differs_only_where_it_is_said_to() {
        let back = Figures { rate: Some(Rate(1000)), ..Figures::default() };
        let [there, here] =
            Link { preset: LinkPreset::Dublin, back, ..Link::default() }.directions();
        assert_eq!((here.rate, here.delay), (Some(Rate(1000)), there.delay));
    }
}
