//! What people write: scenarios, and all that is one word of a command line.

use super::{check_error, same};
use analysis::Selection;
use model::Setup;
use std::fmt::{Debug, Display};
use std::str::FromStr;
use switchover::campaign::Shard;

use base::units::{Bytes, Limit, Micros, Rate, SampleRate, WriteRate};
use qmp::Endpoint;
use scenario::Loader;

/// TOML, and after a NUL settings, one a line. What is loaded prints and loads to the same.
pub fn scenario(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (toml, settings) = text.split_once('\0').unwrap_or((&text, ""));
    let mut loader = Loader::new();
    if let Err(error) = loader.text("fuzzed.toml", toml) {
        return check_error(&error, "fuzzed.toml");
    }
    for setting in settings.lines() {
        if let Err(error) = loader.set(setting) {
            check_error(&error, setting);
        }
    }
    let scenario = match loader.load() {
        Ok(scenario) => scenario,
        Err(error) => return check_error(&error, ""),
    };
    let printed = scenario.to_toml();
    let again = Loader::new().text("printed", &printed).and_then(|loader| loader.load());
    match again {
        Ok(again) => same(&scenario, &again),
        Err(error) => panic!("{error}\n{printed}"),
    }
    let setup = Setup::of_scenario(&scenario);
    assert!(setup.ram >= 0.0 && setup.capacity > 0.0, "{setup:?}");
}

/// One word: whatever it parses as prints and parses to the same.
pub fn text(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    round::<Bytes>(&text);
    round::<Rate>(&text);
    round::<Micros>(&text);
    round::<Limit>(&text);
    round::<WriteRate>(&text);
    round::<SampleRate>(&text);
    round::<Endpoint>(&text);
    round::<Selection>(&text);
    let _ = text.parse::<Shard>();
    let cut = base::text::truncate(&text, 10);
    assert!(cut.len() < 60 && (text.len() > 10 || cut == text));
    let json = serde_json::to_string(&text).unwrap();
    let shown = base::text::escape_control(&json);
    assert!(!shown.chars().any(char::is_control));
    same(&serde_json::from_str::<String>(&shown).unwrap(), &text.into_owned());
}

fn round<T: FromStr + Display + Debug + PartialEq>(text: &str)
where
    T::Err: Debug,
{
    if let Ok(parsed) = text.parse::<T>() {
        match parsed.to_string().parse() {
            Ok(again) => same(&parsed, &again),
            Err(error) => panic!("{parsed:?} prints as `{parsed}`: {error:?}"),
        }
    }
}
