//! Quantities with units: [`Bytes`], [`Rate`], [`Micros`], [`SampleRate`].
//!
//! Every quantity is printed in a form that parses to the same value. A number without a unit is
//! refused, because `300` could be milliseconds or seconds.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

/// Bytes in a page of guest RAM: all guests of this project have x86's 4 KiB pages.
pub const PAGE_BYTES: u64 = 4096;
/// [`PAGE_BYTES`] for computations in floating point.
pub const PAGE_BYTES_F64: f64 = 4096.0;

/// Text that cannot be parsed as the wanted quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}; write it like {example}")]
pub struct UnitError {
    text: String,
    what: &'static str,
    example: &'static str,
}

/// A size in bytes. Text: `4096B`, `64KiB`, `256MiB`, `1.5GiB`, and decimal `kB`, `MB`, `GB`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

/// A rate in bytes per second. Text: a size and `/s` (`100MiB/s`), or bits (`7Gbit/s`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(pub u64);

/// A duration in microseconds. Text: `100us`, `300ms`, `2s`, `1.5s`, `2m`, `1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub u64);

/// A limit of a rate, or no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Text: `unlimited`. QEMU's value for it is 0.
    Unlimited,
    /// The highest rate allowed.
    At(Rate),
}

/// The rate at which the guest writes memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WriteRate {
    /// Text: `max`. The guest writes as fast as it can.
    Max,
    /// Pages dirtied per second, multiplied by the page size.
    At(Rate),
}

/// The rate at which QEMU is queried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SampleRate {
    /// Text: `off`. QEMU is not queried.
    Off,
    /// Queries per second. Text: `1kHz`, `100Hz`.
    Hertz(u32),
    /// Text: `max`. The next query is sent as soon as the last answer has arrived.
    Max,
}

const SIZES: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1000),
    ("B", 1),
];
/// Units of bits per second.
const BITS: &[(&str, u64)] = &[
    ("Tbit/s", 1_000_000_000_000),
    ("Gbit/s", 1_000_000_000),
    ("Mbit/s", 1_000_000),
    ("kbit/s", 1000),
    ("bit/s", 1),
];
const TIMES: &[(&str, u64)] = &[
    ("us", 1),
    ("µs", 1),
    ("ms", 1000),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
];
const FREQUENCIES: &[(&str, u64)] = &[("kHz", 1000), ("Hz", 1)];

/// Parses a decimal number followed by one of the units, as a whole number of the smallest unit.
/// `None` if the text has another form or the value overflows.
fn parse_scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(digits);
    let scale = units.iter().find(|(name, _)| *name == unit.trim_start())?.1;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let whole: u64 = whole.parse().ok()?;
    if fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let denominator = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let part = u128::from(fraction.parse::<u64>().ok()?) * u128::from(scale) / denominator;
    whole.checked_mul(scale)?.checked_add(u64::try_from(part).ok()?)
}

/// Splits `value` into a number and the largest unit that divides it without remainder, so that
/// the printed text parses to the same value.
fn split_exactly(value: u64, units: &[(&'static str, u64)]) -> (u64, &'static str) {
    let (unit, scale) = units
        .iter()
        .filter(|(_, scale)| value.is_multiple_of(*scale))
        .max_by_key(|(_, scale)| *scale)
        .copied()
        .unwrap_or(("", 1));
    (value / scale, unit)
}

macro_rules! impl_text {
    ($type:ty, $what:literal, $example:literal, |$text:ident| $parse:expr) => {
        impl FromStr for $type {
            type Err = UnitError;
            fn from_str(text: &str) -> Result<Self, UnitError> {
                let $text = text.trim();
                $parse.ok_or_else(|| UnitError {
                    text: text.to_owned(),
                    what: $what,
                    example: $example,
                })
            }
        }
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl de::Visitor<'_> for Text {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!("a ", $what, " in quotes, like ", $example))
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
    };
}

impl_text!(Bytes, "size", "256MiB", |text| parse_scaled(text, SIZES).map(Bytes));
impl_text!(Rate, "rate", "100MiB/s or 7Gbit/s", |text| parse_rate(text));
impl_text!(Micros, "duration", "300ms or 2s", |text| parse_scaled(text, TIMES).map(Micros));
impl_text!(Limit, "rate or `unlimited`", "100MiB/s", |text| match text {
    "unlimited" => Some(Limit::Unlimited),
    _ => parse_rate(text).filter(|r| r.0 > 0).map(Limit::At),
});
impl_text!(WriteRate, "rate or `max`", "200MiB/s", |text| match text {
    "max" => Some(WriteRate::Max),
    _ => parse_rate(text).map(WriteRate::At),
});
impl_text!(SampleRate, "sampling rate", "1kHz, max or off", |text| match text {
    "off" => Some(SampleRate::Off),
    "max" => Some(SampleRate::Max),
    _ => parse_scaled(text, FREQUENCIES)
        .and_then(|hz| u32::try_from(hz).ok())
        .filter(|hz| *hz > 0)
        .map(SampleRate::Hertz),
});

fn parse_rate(text: &str) -> Option<Rate> {
    match text.strip_suffix("/s") {
        Some(size) if !size.ends_with("bit") => parse_scaled(size, SIZES).map(Rate),
        _ => parse_scaled(text, BITS).map(|bits| Rate(bits / 8)),
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0B");
        }
        let (value, unit) = split_exactly(self.0, &SIZES[..4]);
        if unit.is_empty() { write!(f, "{value}B") } else { write!(f, "{value}{unit}") }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", Bytes(self.0))
    }
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0us");
        }
        let (value, unit) = split_exactly(self.0, &[TIMES[0], TIMES[2], TIMES[3]]);
        write!(f, "{value}{unit}")
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Unlimited => f.write_str("unlimited"),
            Limit::At(rate) => rate.fmt(f),
        }
    }
}

impl fmt::Display for WriteRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteRate::Max => f.write_str("max"),
            WriteRate::At(rate) => rate.fmt(f),
        }
    }
}

impl fmt::Display for SampleRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SampleRate::Off => f.write_str("off"),
            SampleRate::Max => f.write_str("max"),
            SampleRate::Hertz(hz) => write!(f, "{hz}Hz"),
        }
    }
}

impl Limit {
    /// The value for `max-bandwidth` and similar QEMU parameters: bytes per second, 0 for
    /// unlimited.
    #[must_use]
    pub fn as_qemu(self) -> u64 {
        match self {
            Limit::Unlimited => 0,
            Limit::At(rate) => rate.0,
        }
    }
}

impl WriteRate {
    /// Bytes per second as the guest program takes them: 0 means as fast as possible.
    #[must_use]
    pub fn bytes_per_second(self) -> u64 {
        match self {
            WriteRate::Max => 0,
            WriteRate::At(rate) => rate.0,
        }
    }
}

impl Micros {
    /// Converts to a [`std::time::Duration`].
    #[must_use]
    pub fn duration(self) -> std::time::Duration {
        std::time::Duration::from_micros(self.0)
    }

    /// Converts to whole milliseconds, rounded up: a limit of 100 µs must not become 0 in QEMU.
    #[must_use]
    pub fn as_millis(self) -> u64 {
        self.0.div_ceil(1000)
    }
}

/// Formats a size for people: three significant figures and a binary unit, such as `31.2 MiB`.
#[must_use]
pub fn human_bytes(bytes: u64) -> String {
    let (unit, scale) =
        SIZES[..4].iter().find(|(_, scale)| bytes >= *scale).copied().unwrap_or(("B", 1));
    format_scaled(bytes, scale, unit)
}

/// Formats a duration in microseconds for people: `480 µs`, `27.3 ms`, `1.42 s`.
#[must_use]
pub fn human_micros(micros: u64) -> String {
    let (unit, scale) = match micros {
        0..1000 => ("µs", 1),
        1000..1_000_000 => ("ms", 1000),
        _ => ("s", 1_000_000),
    };
    format_scaled(micros, scale, unit)
}

#[expect(clippy::cast_precision_loss, reason = "three figures are printed; f64 holds fifteen")]
fn format_scaled(value: u64, scale: u64, unit: &str) -> String {
    let scaled = value as f64 / scale as f64;
    let decimals = match scaled {
        _ if scale == 1 => 0,
        s if s >= 99.95 => 0,
        s if s >= 9.995 => 1,
        _ => 2,
    };
    format!("{scaled:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parses_sizes_rates_and_times() {
        assert_eq!("256MiB".parse(), Ok(Bytes(256 << 20)));
        assert_eq!("1.5GiB".parse(), Ok(Bytes(3 << 29)));
        assert_eq!("10 kB".parse(), Ok(Bytes(10_000)));
        assert_eq!("100MiB/s".parse(), Ok(Rate(100 << 20)));
        assert_eq!("7Gbit/s".parse(), Ok(Rate(875_000_000)));
        assert_eq!("1.5s".parse(), Ok(Micros(1_500_000)));
        assert_eq!("unlimited".parse(), Ok(Limit::Unlimited));
        assert_eq!("1kHz".parse(), Ok(SampleRate::Hertz(1000)));
        assert_eq!(Micros(100).as_millis(), 1);
    }

    #[test]
    fn refuses_a_number_without_a_unit_and_shows_an_example() {
        let error = "300".parse::<Micros>().unwrap_err().to_string();
        assert_eq!(error, "`300` is not a duration; write it like 300ms or 2s");
        for bad in ["", "MiB", "1.MiB", "-1B", "1e3B", "99999999999999TiB", "0Hz"] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad}");
            assert!(bad.parse::<SampleRate>().is_err(), "{bad}");
        }
    }

    #[test]
    fn formats_three_significant_digits_for_people() {
        assert_eq!(human_bytes(32_715_571), "31.2 MiB");
        assert_eq!(human_bytes(512), "512 B");
        assert_eq!(human_micros(480), "480 µs");
        assert_eq!(human_micros(27_300), "27.3 ms");
        assert_eq!(human_micros(1_420_000), "1.42 s");
    }

    proptest! {
        #[test]
        fn printed_values_parse_to_the_same_value(n in any::<u64>(), hz in 1u32..) {
            prop_assert_eq!(Bytes(n).to_string().parse(), Ok(Bytes(n)));
            prop_assert_eq!(Rate(n).to_string().parse(), Ok(Rate(n)));
            prop_assert_eq!(Micros(n).to_string().parse(), Ok(Micros(n)));
            prop_assert_eq!(SampleRate::Hertz(hz).to_string().parse(), Ok(SampleRate::Hertz(hz)));
        }

        #[test]
        fn parsing_never_panics(text in ".*") {
            let _ = text.parse::<Bytes>();
            let _ = text.parse::<Rate>();
            let _ = text.parse::<Micros>();
        }
    }
}
