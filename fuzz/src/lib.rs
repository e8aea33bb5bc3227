//! What the fuzzer calls, and the ordinary tests as well (tests/it/fuzzed): one function a target,
//! each of which takes any bytes and panics where a law is broken. Only what the crate offers to
//! everybody is called.
//!
//! Map: `peer` a QMP connection · `files` what lies in directories · `texts` what people write ·
//! `story` a plan and what happens to it.

mod files;
mod peer;
mod story;
mod texts;

pub use files::{campaign, run, samples, trace, transcript};
pub use peer::wire;
pub use story::policy;
pub use texts::{scenario, text};

use serde_json::Value;
use std::fmt::Debug;

/// Any bytes, and a panic where a law is broken.
pub type Call = fn(&[u8]);

/// The names of the targets, and what is called for each.
pub const TARGETS: [(&str, Call); 9] = [
    ("campaign", campaign),
    ("policy", policy),
    ("run", run),
    ("samples", samples),
    ("scenario", scenario),
    ("text", text),
    ("trace", trace),
    ("transcript", transcript),
    ("wire", wire),
];

/// An error is for people: it says something, names the place, and is not as long as what it
/// complains of.
fn check_error(error: &dyn std::error::Error, names: &str) {
    let said = base::causes::with_causes(error);
    assert!(said.contains(names), "does not name `{names}`: {said}");
    let shown = base::text::escape_control(&said);
    assert!(!shown.chars().any(|c| c.is_control() && c != '\n' && c != '\t'), "{shown:?}");
}

/// What is printed as JSON reads as the same. Of numbers with a fraction the last digit may differ:
/// serde_json reads them quickly, not exactly.
fn prints_and_reads<T: serde::Serialize + serde::de::DeserializeOwned>(one: &T) {
    let printed = serde_json::to_string(one).unwrap();
    let again: T =
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"));
    let again = serde_json::to_value(&again).unwrap();
    assert!(near(&serde_json::to_value(one).unwrap(), &again), "{printed} became {again}");
}

fn near(one: &Value, two: &Value) -> bool {
    match (one, two) {
        (Value::Array(one), Value::Array(two)) => {
            one.len() == two.len() && one.iter().zip(two).all(|(one, two)| near(one, two))
        }
        (Value::Object(one), Value::Object(two)) => {
            one.len() == two.len()
                && one.iter().all(|(key, one)| two.get(key).is_some_and(|two| near(one, two)))
        }
        (Value::Number(one), Value::Number(two)) if one.is_f64() => {
            let (one, two) = (one.as_f64().unwrap_or(0.0), two.as_f64().unwrap_or(0.0));
            (one - two).abs() <= one.abs() * 1e-12
        }
        _ => one == two,
    }
}

fn same<T: PartialEq + Debug>(one: &T, two: &T) {
    assert!(one == two, "{one:?} became {two:?}");
}
