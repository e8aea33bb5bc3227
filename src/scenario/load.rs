//! Loads a scenario: merges defaults, files and flags, and checks the values.

use super::keys::refuse_unknown;
use super::{GuestKind, Mode, Scenario};
use base::text::read_all;
use base::units::Micros;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// The longest scenario file that is read. Files written by people have a few KiB.
pub const MAX_SCENARIO_BYTES: u64 = 4 << 20;

/// A scenario could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("cannot read the scenario {path}")]
    Read {
        /// The path as it was opened.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The text is not TOML.
    #[error("{origin} is not valid TOML: {detail}")]
    Syntax {
        /// The file or the flag.
        origin: String,
        /// The position and the parser's message.
        detail: String,
    },
    /// A key does not exist.
    #[error("{origin}: there is no key `{key}`{nearest}")]
    UnknownKey {
        /// The file or the flag.
        origin: String,
        /// The key.
        key: String,
        /// A suggestion, such as `; did you mean ...?`.
        nearest: String,
    },
    /// A value has the wrong type or form.
    #[error("{origin}: {detail}")]
    Value {
        /// The file or the flag.
        origin: String,
        /// The key, and the values that it accepts.
        detail: String,
    },
    /// A value is out of range, or values contradict each other.
    #[error("{key}: {problem}")]
    Invalid {
        /// The key to change.
        key: &'static str,
        /// What is wrong, and what to do.
        problem: String,
    },
}

/// Merges layers of settings, each over the previous ones, and builds the scenario from them.
///
/// The types of a layer are checked when it is added, so that an error names the file or the flag
/// it came from.
#[derive(Debug, Default)]
pub struct Loader {
    table: Table,
    /// The keys that flags have set, each with the flag as the user typed it.
    flags: Vec<(String, String)>,
}

impl Loader {
    /// A loader with only the defaults.
    #[must_use]
    pub fn new() -> Loader {
        Loader::default()
    }

    /// Adds a scenario file.
    ///
    /// # Errors
    /// [`ScenarioError::Read`], [`ScenarioError::Syntax`], [`ScenarioError::UnknownKey`],
    /// [`ScenarioError::Value`].
    pub fn file(&mut self, path: &Path) -> Result<&mut Loader, ScenarioError> {
        let text = read_all(path, MAX_SCENARIO_BYTES)
            .map_err(|source| ScenarioError::Read { path: path.to_owned(), source })?;
        self.text(&path.display().to_string(), &text)
    }

    /// Adds TOML text; `origin` names it in errors.
    ///
    /// # Errors
    /// [`ScenarioError::Syntax`], [`ScenarioError::UnknownKey`], [`ScenarioError::Value`].
    pub fn text(&mut self, origin: &str, text: &str) -> Result<&mut Loader, ScenarioError> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            ScenarioError::Syntax { origin: origin.to_owned(), detail: error.to_string() }
        })?;
        self.add(origin, table)
    }

    /// Sets one key by `--set KEY=VALUE`, such as `guest.rate=10MiB/s`. The value is TOML if it can
    /// be parsed as such, else text.
    ///
    /// # Errors
    /// [`ScenarioError::Value`] for a value of the wrong type and without `=`,
    /// [`ScenarioError::UnknownKey`].
    pub fn set(&mut self, assignment: &str) -> Result<&mut Loader, ScenarioError> {
        self.set_assignment(&format!("--set {assignment}"), "", assignment)
    }

    /// Sets one key by a flag, such as `--param NAME=VALUE`, whose assignment is below `prefix`.
    ///
    /// # Errors
    /// As [`Loader::set`].
    pub fn set_assignment(
        &mut self,
        flag: &str,
        prefix: &str,
        assignment: &str,
    ) -> Result<&mut Loader, ScenarioError> {
        let Some((key, text)) = assignment.split_once('=') else {
            let detail = if prefix.is_empty() {
                "write it as table.key=value, such as guest.rate=10MiB/s"
            } else {
                "write it as NAME=VALUE"
            };
            return Err(ScenarioError::Value {
                origin: flag.to_owned(),
                detail: detail.to_owned(),
            });
        };
        let value = format!("value = {text}")
            .parse::<Table>()
            .ok()
            .filter(|table| table.len() == 1)
            .and_then(|mut table| table.remove("value"))
            .unwrap_or_else(|| Value::String(text.to_owned()));
        self.set_by_flag(flag, &format!("{prefix}{}", key.trim()), value)
    }

    /// Sets one key by a flag; `flag` is what the user typed, such as `--repeat 5`.
    ///
    /// # Errors
    /// [`ScenarioError::UnknownKey`], [`ScenarioError::Value`].
    pub fn set_by_flag(
        &mut self,
        flag: &str,
        key: &str,
        value: impl Into<Value>,
    ) -> Result<&mut Loader, ScenarioError> {
        self.add(flag, nest(key, value.into()))?;
        self.flags.push((key.to_owned(), flag.to_owned()));
        Ok(self)
    }

    /// Sets one key; errors name the key.
    ///
    /// # Errors
    /// [`ScenarioError::UnknownKey`], [`ScenarioError::Value`].
    pub fn set_value(
        &mut self,
        key: &str,
        value: impl Into<Value>,
    ) -> Result<&mut Loader, ScenarioError> {
        self.add(key, nest(key, value.into()))
    }

    /// Adds a layer after checking its keys and the types of its values.
    fn add(&mut self, origin: &str, layer: Table) -> Result<&mut Loader, ScenarioError> {
        refuse_unknown(origin, &layer, "")?;
        deserialize(origin, layer.clone())?;
        merge(&mut self.table, layer);
        Ok(self)
    }

    /// Builds the scenario, and checks that its values go together.
    ///
    /// # Errors
    /// [`ScenarioError::Invalid`], with the flag that set the key, if one did.
    pub fn load(&self) -> Result<Scenario, ScenarioError> {
        let mut scenario = deserialize("scenario", self.table.clone())?;
        if scenario.mode == Mode::Hybrid
            && scenario.switch.after_pass.is_none()
            && scenario.switch.after.is_none()
        {
            scenario.switch.after_pass = Some(1);
        }
        // Only the user can say that a guest of their own has a heartbeat.
        let has_heartbeat =
            self.table.get("guest").is_some_and(|guest| guest.get("heartbeat").is_some());
        if scenario.guest.kind == GuestKind::Own && !has_heartbeat {
            scenario.guest.heartbeat = Micros(0);
        }
        check(&scenario).map_err(|error| self.name_flag(error))?;
        Ok(scenario)
    }

    /// Adds the flag that set the key of the error, or a key below it, to the message.
    fn name_flag(&self, error: ScenarioError) -> ScenarioError {
        let ScenarioError::Invalid { key, problem } = error else { return error };
        let is_of_key = |set: &str| {
            set.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let flag = self.flags.iter().rev().find(|(set, _)| is_of_key(set));
        let problem = match flag {
            Some((_, flag)) => format!("{problem} (set by {flag})"),
            None => problem,
        };
        ScenarioError::Invalid { key, problem }
    }
}

/// `a.b.c` and a value as nested tables.
fn nest(key: &str, value: Value) -> Table {
    let mut parts = key.rsplit('.');
    let last = parts.next().unwrap_or(key).to_owned();
    parts.fold(Table::from_iter([(last, value)]), |inner, part| {
        Table::from_iter([(part.to_owned(), Value::Table(inner))])
    })
}

fn deserialize(origin: &str, table: Table) -> Result<Scenario, ScenarioError> {
    table.try_into().map_err(|error: toml::de::Error| ScenarioError::Value {
        origin: origin.to_owned(),
        detail: error.to_string().replace('\n', " ").trim_end().to_owned(),
    })
}

fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

fn check(scenario: &Scenario) -> Result<(), ScenarioError> {
    let invalid = |key, problem: String| Err(ScenarioError::Invalid { key, problem });
    let guest =
        scenario.guest.find_problem().or_else(|| scenario.qemu.find_problem(&scenario.guest));
    if let Some((key, problem)) = guest {
        return invalid(key, problem);
    }
    if scenario.limits.downtime.is_some_and(|limit| limit > super::MAX_DOWNTIME) {
        return invalid(
            "limits.downtime",
            "QEMU accepts at most 2000s (migrate_params_check)".to_owned(),
        );
    }
    if scenario.switch.after_pass.is_some() && scenario.switch.after.is_some() {
        return invalid("switch", "give after_pass or after, not both".to_owned());
    }
    if scenario.mode != Mode::Hybrid && scenario.switch != super::Switch::default() {
        return invalid(
            "switch",
            "applies only to mode = \"hybrid\": mode = \"postcopy\" switches at once, and \
             mode = \"precopy\" never does"
                .to_owned(),
        );
    }
    if scenario.finish.after_pass.is_some() && scenario.finish.after.is_some() {
        return invalid("finish", "give after_pass or after, not both".to_owned());
    }
    if scenario.mode != Mode::Precopy && scenario.finish != super::Switch::default() {
        return invalid(
            "finish",
            "applies only to mode = \"precopy\"; post-copy ends by itself".to_owned(),
        );
    }
    if scenario.timeout.0 == 0 {
        return invalid("timeout", "must be greater than 0".to_owned());
    }
    if let Some((key, problem)) =
        scenario.link.find_problem(scenario.timeout).or_else(|| scenario.tls.find_problem())
    {
        return invalid(key, problem);
    }
    if scenario.tls.credentials.is_some() && scenario.parameters.contains_key("tls-creds") {
        let problem =
            "[tls] creates its own objects and sets tls-creds; use either [tls] or this parameter"
                .to_owned();
        return invalid("parameters.tls-creds", problem);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::keys::KEYS;
    use super::*;
    use base::units::{Bytes, Limit, Rate, SampleRate};
    use proptest::prelude::*;

    fn load(text: &str) -> Result<Scenario, ScenarioError> {
        let mut loader = Loader::new();
        loader.text("test.toml", text)?;
        loader.load()
    }

    fn leaves(table: &Table, prefix: &str, found: &mut Vec<String>) {
        for (name, value) in table {
            match value {
                Value::Table(inner) => leaves(inner, &format!("{prefix}{name}."), found),
                _ => found.push(format!("{prefix}{name}")),
            }
        }
    }

    fn full() -> Scenario {
        let mut scenario = Scenario {
            uri: Some("u".into()),
            incoming_uri: Some("i".into()),
            ..Scenario::default()
        };
        scenario.qemu.destination = Some("q".into());
        scenario.qemu.arguments = vec!["-S".into()];
        scenario.guest.load_arguments = "--vm 2".into();
        scenario.guest.own = super::super::OwnGuest {
            kernel: Some("k".into()),
            initrd: Some("i".into()),
            append: Some("a".into()),
            disk: Some("d".into()),
            disk_format: super::super::DiskFormat::Qcow2,
            disk_access: super::super::DiskAccess::Write,
            ready: Some("login:".into()),
            ready_after: Some(Micros(1)),
        };
        scenario.limits.downtime = Some(Micros(1));
        scenario.limits.bandwidth = Some(Limit::Unlimited);
        scenario.limits.postcopy_bandwidth = Some(Limit::At(Rate(1 << 20)));
        scenario.switch.after_pass = Some(1);
        scenario.switch.after = Some(Micros(1));
        scenario.finish.after_pass = Some(1);
        scenario.finish.after = Some(Micros(1));
        scenario.give_up.passes = Some(3);
        scenario.give_up.bytes = Some(Bytes(1));
        scenario.give_up.after = Some(Micros(1));
        scenario.recovery.uri = Some("r".into());
        scenario.hooks.before_switchover = Some("true".into());
        scenario.hooks.after_switchover = Some("true".into());
        scenario.hooks.on_failure = Some("true".into());
        scenario.channels = vec![toml::Value::from("c")];
        scenario.incoming_channels = vec![toml::Value::from("c")];
        scenario.socket = super::super::Socket {
            send_buffer: Some(Bytes(1)),
            receive_buffer: Some(Bytes(1)),
            congestion: Some("reno".into()),
            pacing: Some(Rate(1)),
            notsent_lowat: Some(Bytes(1)),
            keep_alive: Some(Micros(1)),
        };
        scenario.tls = super::super::Tls {
            credentials: Some(super::super::Credentials::X509),
            dir: Some("d".into()),
            source_dir: Some("s".into()),
            destination_dir: Some("t".into()),
            hostname: Some("h".into()),
            priority: Some("NORMAL".into()),
            ..super::super::Tls::default()
        };
        let figures = super::super::Figures {
            rate: Some(Rate(1)),
            delay: Some(Micros(1)),
            jitter: Some(Micros(1)),
            window: Some(Bytes(1)),
            buffer: Some(Bytes(1)),
        };
        (scenario.link.figures, scenario.link.back) = (figures.clone(), figures);
        scenario.link.outages = vec![super::super::Outage::default()];
        scenario
    }

    #[test]
    fn list_of_keys_matches_the_types() {
        let mut keys = Vec::new();
        leaves(&full().to_toml().parse().unwrap(), "", &mut keys);
        keys.sort();
        let mut listed: Vec<_> = KEYS.iter().map(ToString::to_string).collect();
        listed.sort();
        assert_eq!(keys, listed);
    }

    #[test]
    fn printed_scenario_loads_to_the_same_scenario() {
        for mode in ["precopy", "postcopy", "hybrid"] {
            let text = format!(
                "mode = \"{mode}\"\n[capabilities]\nxbzrle = true\n[parameters]\ndowntime-limit = 5\n"
            );
            let scenario = load(&text).unwrap();
            assert_eq!(load(&scenario.to_toml()).unwrap(), scenario);
        }
        for guest in [
            "kind = \"linux\"\nload = \"redis\"\nappend = \"debug\"",
            "kind = \"own\"\nkernel = \"k\"\nready = \"in: \"",
        ] {
            let scenario = load(&format!("[guest]\n{guest}\n")).unwrap();
            assert_eq!(load(&scenario.to_toml()).unwrap(), scenario);
        }
    }

    #[test]
    fn flags_override_the_file_and_the_file_overrides_defaults() {
        let mut loader = Loader::new();
        loader.text("a.toml", "mode = \"hybrid\"\n[guest]\nrate = \"1MiB/s\"\nseed = 9\n").unwrap();
        loader.set("guest.rate=2MiB/s").unwrap().set("sampling.source=max").unwrap();
        let scenario = loader.load().unwrap();
        assert_eq!(scenario.guest.rate, base::units::WriteRate::At(Rate(2 << 20)));
        assert_eq!((scenario.guest.seed, scenario.sampling.source), (9, SampleRate::Max));
        assert_eq!(scenario.switch.after_pass, Some(1));
    }

    #[test]
    fn a_bad_flag_is_named_and_not_the_file() {
        let mut loader = Loader::new();
        loader.text("a.toml", "timeout = \"9s\"\n").unwrap();
        let error = loader.set_by_flag("--timeout 60", "timeout", 60).unwrap_err().to_string();
        assert!(error.starts_with("--timeout 60: "), "{error}");
        let error = loader.set("timeout=60").unwrap_err().to_string();
        assert!(error.starts_with("--set timeout=60: "), "{error}");
        let error = loader.set_assignment("--param x", "parameters.", "x").unwrap_err();
        assert_eq!(error.to_string(), "--param x: write it as NAME=VALUE");
        loader.set_by_flag("--after-pass 2", "switch.after_pass", 2).unwrap();
        let error = loader.load().unwrap_err().to_string();
        assert!(error.ends_with(" (set by --after-pass 2)"), "{error}");
    }

    #[test]
    fn every_scenario_in_fixtures_loads() {
        let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/scenarios");
        let cases = scenarios.join("non-convergence");
        let entries = [scenarios, cases]
            .into_iter()
            .flat_map(|directory| std::fs::read_dir(directory).unwrap());
        let paths = entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|end| end == "toml"));
        let loaded = paths.map(|path| {
            Loader::new()
                .file(&path)
                .unwrap()
                .load()
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        });
        assert!(loaded.count() >= 13);
    }

    #[test]
    fn refuses_bad_input_and_says_what_to_do() {
        let message = |text: &str| load(text).unwrap_err().to_string();
        insta::assert_snapshot!(message("[guest]\nworkingset = \"1MiB\""), @"test.toml: there is no key `guest.workingset`; did you mean `guest.working_set`?");
        insta::assert_snapshot!(message("heartbeat = \"1ms\""), @"test.toml: there is no key `heartbeat`; did you mean `guest.heartbeat`?");
        insta::assert_snapshot!(message("guest = 1"), @"test.toml: `guest` is a table: write [guest] and its keys below it");
        insta::assert_snapshot!(message("xbzrle = true"), @"test.toml: there is no key `xbzrle`; `switchover run --print-scenario` shows all keys. QEMU's own names go under [capabilities] and [parameters]");
        insta::assert_snapshot!(message("[guest]\nworking_set = \"1GiB\""), @"guest.working_set: a working set of 1GiB does not fit into guest.memory = 256MiB (it needs 1033MiB with the guest itself); lower guest.working_set or raise guest.memory");
        insta::assert_snapshot!(message("timeout = 60"), @r#"test.toml: invalid type: integer `60`, expected a duration in quotes, like 300ms or 2s in `timeout`"#);
        insta::assert_snapshot!(message("[switch]\nafter_pass = 1"), @r#"switch: applies only to mode = "hybrid": mode = "postcopy" switches at once, and mode = "precopy" never does"#);
        insta::assert_snapshot!(message("[tls]\ndir = \"/d\""), @r#"tls: without tls.credentials = "x509" or "psk" there is no TLS"#);
        insta::assert_snapshot!(message("[tls]\ncredentials = \"psk\"\ndir = \"keys\""), @"tls.dir: `keys` must begin with /, because QEMU reads it in its own working directory");
        insta::assert_snapshot!(message("[tls]\ncredentials = \"psk\"\n[parameters]\ntls-creds = \"mine\""), @"parameters.tls-creds: [tls] creates its own objects and sets tls-creds; use either [tls] or this parameter");
        assert!(message("mode = ").contains("line 1"), "a syntax error says where");
    }

    #[test]
    fn refuses_keys_of_another_kind_of_guest() {
        let message = |guest: &str| load(&format!("[guest]\n{guest}\n")).unwrap_err().to_string();
        insta::assert_snapshot!(message("load = \"stress\""), @r#"guest.load: only guest.kind = "linux" can run a load"#);
        insta::assert_snapshot!(message("kernel = \"k\""), @r#"guest.kind: kernel, initrd, append, disk, ready and related keys need guest.kind = "own""#);
        insta::assert_snapshot!(message("kind = \"own\""), @"guest.kind: your own guest needs something to boot: a kernel (--kernel), a disk (--disk), or QEMU arguments (after --)");
        insta::assert_snapshot!(message("kind = \"own\"\nappend = \"a\""), @"guest.kernel: guest.initrd and guest.append need a kernel; name it with --kernel");
        insta::assert_snapshot!(message("kind = \"own\"\nkernel = \"k\"\ndisk_access = \"write\""), @"guest.disk: guest.disk_format and guest.disk_access need a disk; name it with --disk");
        insta::assert_snapshot!(message("kind = \"linux\"\nload = \"stress-ng\""), @"guest.working_set: a working set of 64MiB does not fit into guest.memory = 256MiB (it needs 289MiB with the guest itself and its load); lower guest.working_set or raise guest.memory");
        insta::assert_snapshot!(message("kind = \"linux\"\nload_arguments = 'a \"b\"'"), @"guest.load_arguments: must not contain quotation marks or line ends, because it is passed on Linux's command line");
    }

    #[test]
    fn only_an_own_guest_has_no_heartbeat_by_default() {
        let heartbeat = |guest: &str| load(&format!("[guest]\n{guest}\n")).unwrap().guest.heartbeat;
        assert_eq!(heartbeat("kind = \"linux\""), Micros(1000));
        assert_eq!(heartbeat("kind = \"own\"\nkernel = \"k\""), Micros(0));
        assert_eq!(heartbeat("kind = \"own\"\nkernel = \"k\"\nheartbeat = \"2ms\""), Micros(2000));
    }

    proptest! {
        #[test]
        fn loading_never_panics(text in ".{0,200}", assignment in ".{0,60}") {
            let _ = load(&text);
            let _ = Loader::new().set(&assignment);
        }
    }
}
