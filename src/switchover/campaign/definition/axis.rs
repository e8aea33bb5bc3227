//! The values that one key takes: a list, or a range such as `{ from = "10MiB/s", to = "160MiB/s",
//! steps = 5, scale = "log" }`. Pure.

use base::units::{Bytes, Micros, Rate};
use serde::Deserialize;
use toml::Value;

/// The largest `steps` of a range. More are taken for a mistake.
const MAX_STEPS: u32 = 1000;

/// A range as it is written in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    from: Value,
    to: Value,
    steps: u32,
    #[serde(default)]
    scale: Scale,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Scale {
    #[default]
    Linear,
    Log,
}

/// Lists the values of an axis. The error says what is wrong and does not name the key.
pub(super) fn list_values(axis: &Value) -> Result<Vec<Value>, String> {
    match axis {
        Value::Array(list) if list.is_empty() => {
            Err("is an empty list, so that the campaign would have no cell".to_owned())
        }
        Value::Array(list) => Ok(list.clone()),
        Value::Table(table) if table.contains_key("from") => {
            let range: Range = table
                .clone()
                .try_into()
                .map_err(|error: toml::de::Error| error.message().to_owned())?;
            range.list_values()
        }
        other => Ok(vec![other.clone()]),
    }
}

impl Range {
    fn list_values(&self) -> Result<Vec<Value>, String> {
        if !(2..=MAX_STEPS).contains(&self.steps) {
            return Err(format!("steps = {} is out of range: from 2 to {MAX_STEPS}", self.steps));
        }
        let (from, to) = (Quantity::parse(&self.from)?, Quantity::parse(&self.to)?);
        if std::mem::discriminant(&from) != std::mem::discriminant(&to) {
            return Err(format!(
                "from = {} and to = {} are not of the same kind",
                self.from, self.to
            ));
        }
        let (low, high) = (from.number(), to.number());
        if matches!(self.scale, Scale::Log) && (low <= 0.0 || high <= 0.0) {
            return Err("scale = \"log\" needs from and to above 0".to_owned());
        }
        let last = f64::from(self.steps - 1);
        let at = |step: u32| {
            let share = f64::from(step) / last;
            match self.scale {
                Scale::Linear => low + (high - low) * share,
                Scale::Log => low * (high / low).powf(share),
            }
        };
        let mut values: Vec<Value> = (0..self.steps).map(|step| from.to_value(at(step))).collect();
        values.dedup();
        Ok(values)
    }
}

/// A number with the unit in which it was written.
enum Quantity {
    Whole(f64),
    Real(f64),
    Rate(f64),
    Bytes(f64),
    Micros(f64),
}

impl Quantity {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a bound given by a person has fewer than 15 digits"
    )]
    fn parse(value: &Value) -> Result<Quantity, String> {
        let text = match value {
            Value::Integer(number) => return Ok(Quantity::Whole(*number as f64)),
            Value::Float(number) => return Ok(Quantity::Real(*number)),
            Value::String(text) => text,
            other => return Err(format!("{other} is not a number or quantity")),
        };
        let rate = text
            .parse::<Rate>()
            .ok()
            .map(|rate| Quantity::Rate(rate.0 as f64))
            .filter(|_| text.contains("/s") || text.contains("bit"));
        rate.or_else(|| text.parse::<Micros>().ok().map(|micros| Quantity::Micros(micros.0 as f64)))
            .or_else(|| text.parse::<Bytes>().ok().map(|bytes| Quantity::Bytes(bytes.0 as f64)))
            .ok_or_else(|| format!("{text:?} is not a number or quantity"))
    }

    fn number(&self) -> f64 {
        match self {
            Quantity::Whole(number)
            | Quantity::Real(number)
            | Quantity::Rate(number)
            | Quantity::Bytes(number)
            | Quantity::Micros(number) => *number,
        }
    }

    /// Returns this number as a value of the same kind. Rates above 1 MiB/s become whole KiB/s,
    /// sizes whole pages or MiB, because sizes of memory have to be.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between two quantities that were read"
    )]
    fn to_value(&self, number: f64) -> Value {
        let whole = number.round().max(0.0) as u64;
        match self {
            Quantity::Whole(_) => Value::Integer(number.round() as i64),
            Quantity::Real(_) => Value::Float(number),
            Quantity::Rate(_) => Value::String(
                Rate(if whole > 1 << 20 { whole >> 10 << 10 } else { whole }).to_string(),
            ),
            Quantity::Bytes(_) => Value::String(
                Bytes((whole >> 20 << 20).max(whole.min(1 << 20) >> 12 << 12)).to_string(),
            ),
            Quantity::Micros(_) => Value::String(Micros(whole).to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(axis: &str) -> Result<String, String> {
        let table: toml::Table = format!("axis = {axis}").parse().unwrap();
        list_values(&table["axis"])
            .map(|values| values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn ranges_keep_the_unit_and_the_ends() {
        for (axis, expected) in [
            (
                r#"{ from = "10MiB/s", to = "160MiB/s", steps = 5, scale = "log" }"#,
                r#""10MiB/s" "20MiB/s" "40MiB/s" "80MiB/s" "160MiB/s""#,
            ),
            (
                r#"{ from = "16MiB", to = "64MiB", steps = 4 }"#,
                r#""16MiB" "32MiB" "48MiB" "64MiB""#,
            ),
            (
                r#"{ from = "1ms", to = "1s", steps = 4, scale = "log" }"#,
                r#""1ms" "10ms" "100ms" "1s""#,
            ),
            ("{ from = 1, to = 4, steps = 4 }", "1 2 3 4"),
            ("{ from = 1, to = 2, steps = 5 }", "1 2"),
            ("{ from = 0.5, to = 1.5, steps = 3 }", "0.5 1.0 1.5"),
            ("[true, \"a\", [1]]", r#"true "a" [1]"#),
            ("7", "7"),
        ] {
            assert_eq!(spread(axis).as_deref(), Ok(expected), "{axis}");
        }
    }

    #[test]
    fn refuses_an_axis_that_is_not_valid_and_says_why() {
        for (axis, problem) in [
            ("[]", "is an empty list, so that the campaign would have no cell"),
            (
                r#"{ from = "1MiB", to = "1s", steps = 3 }"#,
                r#"from = "1MiB" and to = "1s" are not of the same kind"#,
            ),
            (
                r#"{ from = 0, to = 4, steps = 3, scale = "log" }"#,
                r#"scale = "log" needs from and to above 0"#,
            ),
            ("{ from = 1, to = 4, steps = 1 }", "steps = 1 is out of range: from 2 to 1000"),
            (
                "{ from = 1, too = 4, steps = 1 }",
                "unknown field `too`, expected one of `from`, `to`, `steps`, `scale`",
            ),
            (r#"{ from = "fast", to = 4, steps = 2 }"#, r#""fast" is not a number or quantity"#),
        ] {
            assert_eq!(spread(axis).unwrap_err(), problem, "{axis}");
        }
    }
}
