//! The exact, ordered settings for both sides, or a refusal that says what is incompatible, why and
//! since when.
//!
//! Takes a scenario and what both QEMUs support ([`Support`]); gives a [`Plan`]. Pure, but for
//! [`Support::ask`]. Knows nothing of how a plan is run. Everything that can be refused is refused
//! here, before either QEMU is touched; what only QEMU knows (ranges of parameters, its memory) it
//! checks itself when the settings are made, still before the migration, and atomically.
//!
//! Map: here the plan · [`support`](Support) what a QEMU offers · `sides` which side a setting
//! belongs to · `rules` what does not go together · `parameters` values typed by the schema ·
//! `stream` how the stream goes · `tls` its encryption · `uri` QEMU's own form of it.

mod parameters;
mod rules;
mod sides;
mod stream;
mod support;
mod tls;
mod uri;

pub use rules::combinations;
pub use stream::{PASSED, Sockets, Stream, StreamContext};
pub use support::Support;
pub use tls::{OBJECT, Tls};
pub use uri::Uri;

use base::Side;
use base::units::Micros;
use model::policy::{GiveUpWhen, SwitchWhen};
use qmp::{QemuVersion, Request, Status};
use scenario::{Handover, Hooks, Mode, Scenario, Switch};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The oldest QEMU that is driven. Tested from 7.2 on; below 6.0 answers and events differ in ways
/// nobody has checked.
pub const OLDEST: QemuVersion = QemuVersion::new(6, 0, 0);

/// What to set on one side, only where it differs from what is set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Capabilities, in one command: QEMU checks them as a set.
    pub capabilities: Vec<(String, bool)>,
    /// Parameters.
    pub parameters: Map<String, Value>,
}

/// When the destination is told to listen.
#[derive(Clone, Debug, PartialEq)]
pub enum Listen {
    /// It does so already.
    Already,
    /// Before the source sends.
    Before(Request),
    /// When the source has sent everything: into a file, of which nothing can be read before.
    After(Request),
}

/// What will be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The scenario's mode.
    pub mode: Mode,
    /// Settings of the source.
    pub source: Settings,
    /// Settings of the destination.
    pub destination: Settings,
    /// `migrate-incoming`.
    pub listen: Listen,
    /// How the stream goes; a port 0 is replaced by the one that the destination got.
    pub stream: Stream,
    /// When post-copy is asked for.
    pub switch: SwitchWhen,
    /// When pre-copy shall finish, whatever the blackout.
    pub finish: SwitchWhen,
    /// How long the guest may stand by the `downtime-limit` that is set, if one is.
    pub downtime_limit: Micros,
    /// When pre-copy is given up.
    pub give_up: GiveUpWhen,
    /// Whether this source refuses `migrate_cancel` in post-copy by itself. 7.2 does not and would
    /// lose the guest, so once post-copy has been asked for, nothing may be cancelled there.
    pub cancel_is_guarded: bool,
    /// Whether the source waits for the destination's word (`return-path`, or post-copy, which
    /// implies it).
    pub return_path: bool,
    /// How often a broken post-copy is tried again.
    pub recovery: RecoveryRules,
    /// Commands of the user's.
    pub hooks: Hooks,
    /// Encryption of the stream.
    pub tls: Option<Tls>,
    /// The destination starts the guest only when the source has said that it is done.
    pub confirms: bool,
}

/// How a broken post-copy is brought back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveryRules {
    /// So often at most; again as often when it goes on in between.
    pub attempts: u32,
    /// After a failed attempt; doubled each time, up to 2 s.
    pub backoff: Micros,
    /// Post-copy that sends nothing for so long is taken for broken.
    pub stalled_after: Micros,
}

/// Why there is no plan. Neither QEMU has been touched.
#[derive(Debug, thiserror::Error)]
#[error("this migration cannot be done, and nothing was changed:\n{}", .0.iter().map(|r| format!("  - {r}")).collect::<Vec<_>>().join("\n"))]
pub struct Refused(pub Vec<String>);

/// Makes the plan.
///
/// `context` says where the stream can go if the scenario names no URI.
///
/// # Errors
/// [`Refused`], with every reason there is.
pub fn plan(
    scenario: &Scenario,
    source: &Support,
    destination: &Support,
    context: &StreamContext,
) -> Result<Plan, Refused> {
    let mut reasons = Vec::new();
    for (side, support) in [(Side::Source, source), (Side::Destination, destination)] {
        reasons.extend(support.unfit(side));
    }

    let several = ["multifd", "postcopy-preempt"].iter().any(|name| {
        let on = |support: &Support| support.capabilities.get(*name) == Some(&true);
        scenario.capabilities.get(*name).copied().unwrap_or_else(|| on(source) || on(destination))
    });
    let stream =
        stream::choose(scenario, source, destination, context, several).unwrap_or_else(|reason| {
            reasons.push(reason);
            Stream::default()
        });
    let tls = tls::choose(scenario, &stream, &mut reasons);
    let wanted = wanted_capabilities(scenario, source, destination, stream.is_one_way());
    let mut settings = BTreeMap::new();
    let return_path =
        wanted.get("return-path").copied().unwrap_or(false) || scenario.mode.allows_postcopy();
    for (side, support) in [(Side::Source, source), (Side::Destination, destination)] {
        let capabilities = sides::capabilities_for(side, &wanted);
        reasons.extend(rules::check(
            side,
            support,
            &capabilities,
            &stream.uri,
            scenario.tls.credentials.is_some(),
        ));
        let mut parameters = parameters::typed(side, support, scenario, &mut reasons);
        parameters.extend(tls.iter().flat_map(|tls| tls.parameters(side)));
        let changed = capabilities
            .into_iter()
            .filter(|(name, on)| support.capabilities.get(name) != Some(on))
            .collect();
        settings.insert(side, Settings { capabilities: changed, parameters });
    }
    reasons.dedup();
    if !reasons.is_empty() {
        return Err(Refused(reasons));
    }

    let listen = match (destination.listens, stream.scheme()) {
        (true, _) => Listen::Already,
        (false, "file") => Listen::After(stream.incoming(destination)),
        (false, _) => Listen::Before(stream.incoming(destination)),
    };
    let reads_later = matches!(listen, Listen::After(_));
    let source_settings = settings.remove(&Side::Source).unwrap_or_default();
    let downtime_limit =
        source_settings.parameters.get("downtime-limit").and_then(Value::as_u64).unwrap_or(0);
    Ok(Plan {
        mode: scenario.mode,
        source: source_settings,
        destination: settings.remove(&Side::Destination).unwrap_or_default(),
        listen,
        stream,
        switch: switch_when(scenario),
        finish: moment(&scenario.finish).unwrap_or(SwitchWhen::Never),
        downtime_limit: Micros(downtime_limit.saturating_mul(1000)),
        give_up: GiveUpWhen {
            passes: scenario.give_up.passes,
            bytes: scenario.give_up.bytes,
            after: scenario
                .give_up
                .after
                .map_or(scenario.timeout, |after| after.min(scenario.timeout)),
        },
        cancel_is_guarded: source.version >= QemuVersion::new(10, 0, 0),
        return_path,
        recovery: recovery(scenario, releases(scenario, source)),
        hooks: scenario.hooks.clone(),
        tls,
        // A guest that does not run now shall not be started, and a file is read when the source is
        // done.
        confirms: scenario.handover == Handover::Confirmed && source.ran() && !reads_later,
    })
}

/// The plan for a migration that somebody else began: nothing is set, nothing switched; what breaks
/// is recovered, as the scenario says.
///
/// # Errors
/// [`Refused`], if there is none.
pub fn adopt(
    scenario: &Scenario,
    source: &Support,
    destination: &Support,
) -> Result<Plan, Refused> {
    // A source that failed when the destination had the guest: both may run.
    let has_guest = destination.status == Status::Completed || destination.status.is_postcopy();
    let is_doubtful = source.status == Status::Failed && has_guest;
    if matches!(source.status, Status::None | Status::Cancelled | Status::Failed) && !is_doubtful {
        return Err(Refused(vec![format!(
            "source: no migration is under way (status {})",
            source.status
        )]));
    }
    let on = |name: &str| source.capabilities.get(name) == Some(&true);
    Ok(Plan {
        mode: if on("postcopy-ram") { Mode::Hybrid } else { Mode::Precopy },
        source: Settings::default(),
        destination: Settings::default(),
        listen: Listen::Already,
        stream: Stream::default(),
        switch: SwitchWhen::Never,
        finish: SwitchWhen::Never,
        downtime_limit: Micros(0),
        give_up: GiveUpWhen {
            passes: scenario.give_up.passes,
            bytes: scenario.give_up.bytes,
            after: scenario.timeout,
        },
        cancel_is_guarded: source.version >= QemuVersion::new(10, 0, 0),
        return_path: on("return-path") || on("postcopy-ram"),
        recovery: recovery(scenario, on("release-ram")),
        hooks: scenario.hooks.clone(),
        tls: None,
        confirms: scenario.handover == Handover::Confirmed && source.ran(),
    })
}

/// With release-ram the source has given away what was on the way.
fn recovery(scenario: &Scenario, releases: bool) -> RecoveryRules {
    let asked = &scenario.recovery;
    let attempts = if releases { 0 } else { asked.attempts };
    RecoveryRules { attempts, backoff: asked.backoff, stalled_after: asked.stalled_after }
}

fn releases(scenario: &Scenario, source: &Support) -> bool {
    let now = source.capabilities.get("release-ram").copied().unwrap_or(false);
    scenario.capabilities.get("release-ram").copied().unwrap_or(now)
}

/// What the mode needs, what is wise, and what the scenario names, which goes over both.
fn wanted_capabilities(
    scenario: &Scenario,
    source: &Support,
    destination: &Support,
    one_way: bool,
) -> BTreeMap<String, bool> {
    let mut wanted = BTreeMap::from([("events".to_owned(), true)]);
    // With a return path the source learns whether the destination could load the guest, and runs
    // on if it could not. Not for one-way streams, and not beside background-snapshot, which takes
    // no other capability.
    let snapshot = scenario.capabilities.get("background-snapshot") == Some(&true);
    let offered = |name| {
        source.capabilities.contains_key(name) && destination.capabilities.contains_key(name)
    };
    if offered("return-path") && !snapshot && !one_way {
        wanted.insert("return-path".to_owned(), true);
    }
    if scenario.mode.allows_postcopy() {
        wanted.insert("postcopy-ram".to_owned(), true);
        // The destination then counts how long faults take: the brownout of post-copy.
        if destination.capabilities.contains_key("postcopy-blocktime") {
            wanted.insert("postcopy-blocktime".to_owned(), true);
        }
    }
    if scenario.hooks.before_switchover.is_some() {
        wanted.insert("pause-before-switchover".to_owned(), true);
    }
    wanted.extend(scenario.capabilities.iter().map(|(name, on)| (name.clone(), *on)));
    wanted
}

fn switch_when(scenario: &Scenario) -> SwitchWhen {
    match scenario.mode {
        Mode::Precopy => SwitchWhen::Never,
        Mode::Postcopy => SwitchWhen::AtOnce,
        Mode::Hybrid => moment(&scenario.switch).unwrap_or(SwitchWhen::AfterPass(1)),
    }
}

/// The moment that a scenario names, if it names one.
fn moment(named: &Switch) -> Option<SwitchWhen> {
    named.after.map(SwitchWhen::After).or_else(|| named.after_pass.map(SwitchWhen::AfterPass))
}

#[cfg(test)]
mod tests {
    use super::support::tests::like;
    use super::*;
    use scenario::Loader;
    use serde_json::json;

    fn planned(version: (u32, u32, u32), toml: &str) -> Result<Plan, String> {
        let scenario = Loader::new().text("test", toml).unwrap().load().unwrap();
        let (source, destination) = (like(version, false), like(version, true));
        plan(&scenario, &source, &destination, &context()).map_err(|refused| refused.to_string())
    }

    fn context() -> StreamContext {
        StreamContext {
            local: Some("/run/m.sock".into()),
            host: None,
            can_pass_descriptors: [true; 2],
        }
    }

    fn incoming(plan: &Plan) -> &Value {
        match &plan.listen {
            Listen::Before(request) | Listen::After(request) => &request.arguments,
            Listen::Already => &Value::Null,
        }
    }

    fn names(settings: &Settings) -> Vec<&str> {
        settings.capabilities.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn settings_land_on_the_side_where_they_belong() {
        let toml = "mode = \"hybrid\"\n[limits]\ndowntime = \"100us\"\nbandwidth = \"unlimited\"\n[capabilities]\nauto-converge = true\n\
                    postcopy-blocktime = true\n[parameters]\nannounce-rounds = 3\nmultifd-channels = 4\nxbzrle-cache-size = \"64MiB\"\n";
        let plan = planned((10, 0, 2), toml).unwrap();
        assert_eq!(names(&plan.source), ["auto-converge", "events", "postcopy-ram", "return-path"]);
        assert_eq!(
            names(&plan.destination),
            ["events", "postcopy-blocktime", "postcopy-ram", "return-path"]
        );
        assert_eq!(plan.source.parameters["downtime-limit"], 1);
        assert_eq!(plan.source.parameters["max-bandwidth"], 0);
        assert_eq!(plan.source.parameters["xbzrle-cache-size"], 64 << 20);
        assert!(!plan.source.parameters.contains_key("announce-rounds"));
        assert_eq!(plan.destination.parameters["announce-rounds"], 3);
        assert_eq!(plan.destination.parameters["multifd-channels"], 4);
        assert_eq!(plan.switch, SwitchWhen::AfterPass(1));
        assert_eq!(incoming(&plan)["exit-on-error"], false);
    }

    #[test]
    fn an_old_destination_is_not_asked_for_what_it_does_not_know() {
        let plan = planned((7, 2, 22), "").unwrap();
        assert_eq!(*incoming(&plan), json!({"uri": "fd:switchover"}));
        assert!(!plan.cancel_is_guarded);
    }

    #[test]
    fn one_channel_on_this_host_is_ours_and_several_are_qemus() {
        let stream = |toml: &str| planned((10, 0, 2), toml).unwrap().stream;
        assert_eq!((stream("").sockets, stream("").scheme()), (Sockets::Tcp, "fd"));
        assert_eq!(stream("[capabilities]\nmultifd = true").uri.outgoing, "unix:/run/m.sock");
        assert_eq!(stream("transport = \"tcp\"").uri.outgoing, "tcp:127.0.0.1:0");
        assert_eq!(stream("uri = \"tcp:h:1\"").sockets, Sockets::QemusOwn);
        assert_eq!(stream("uri = \"tcp:h:1\"\ntransport = \"owned\"").sockets, Sockets::OfSource);
        let exec = stream("transport = \"exec\"").uri;
        assert_eq!(
            (exec.outgoing.as_str(), exec.incoming.as_str()),
            ("exec:cat > '/run/m.sock.fifo'", "exec:cat '/run/m.sock.fifo'")
        );
    }

    #[test]
    fn a_file_is_read_when_it_is_complete_and_answers_nothing() {
        let plan =
            planned((10, 0, 2), "transport = \"file\"\n[capabilities]\nmapped-ram = true").unwrap();
        assert!(matches!(plan.listen, Listen::After(_)) && !plan.return_path);
        let refusal = planned((10, 0, 2), "mode = \"postcopy\"\ntransport = \"file\"").unwrap_err();
        assert!(refusal.contains("which a file cannot give"), "{refusal}");
    }

    #[test]
    fn channels_are_given_as_they_are_and_only_to_those_who_take_them() {
        let toml = "[[channels]]\nchannel-type = \"main\"\naddr = { transport = \"socket\", type = \"inet\", host = \"h\", port = \"1\" }";
        let plan = planned((10, 0, 2), toml).unwrap();
        let channels = json!([{"channel-type": "main", "addr": {"transport": "socket", "type": "inet", "host": "h", "port": "1"}}]);
        assert_eq!(plan.stream.outgoing(None), json!({ "channels": channels }));
        assert_eq!((incoming(&plan)["channels"].clone(), plan.stream.scheme()), (channels, "tcp"));
        assert!(planned((7, 2, 22), toml).unwrap_err().contains("they came with 8.2"));
    }

    #[test]
    fn what_cannot_be_is_refused_with_reason_and_version() {
        let refusal = |version, toml: &str| planned(version, toml).unwrap_err();
        insta::assert_snapshot!(refusal((10, 0, 2), "mode = \"postcopy\"\n[capabilities]\nmultifd = true\n"), @r"
        this migration cannot be done, and nothing was changed:
          - source: multifd does not go with postcopy-ram on this QEMU (10.0.2): QEMU 8.0 to 10.0 refuses it (`Postcopy is not yet compatible with multifd`); 11.1 supports it
          - destination: multifd does not go with postcopy-ram on this QEMU (10.0.2): QEMU 8.0 to 10.0 refuses it (`Postcopy is not yet compatible with multifd`); 11.1 supports it
        ");
        insta::assert_snapshot!(refusal((7, 2, 22), "[capabilities]\nmapped-ram = true\n"), @r"
        this migration cannot be done, and nothing was changed:
          - source: this QEMU (7.2.22) has no capability `mapped-ram`: it came with 9.0
          - destination: this QEMU (7.2.22) has no capability `mapped-ram`: it came with 9.0
        ");
        insta::assert_snapshot!(refusal((10, 0, 2), "[capabilities]\npostcopy-preempt = true\nxbzrl = true\n"), @r"
        this migration cannot be done, and nothing was changed:
          - source: postcopy-preempt needs postcopy-ram: turn that on too
          - source: this QEMU (10.0.2) has no capability `xbzrl`; did you mean `xbzrle`?
          - destination: postcopy-preempt needs postcopy-ram: turn that on too
          - destination: this QEMU (10.0.2) has no capability `xbzrl`; did you mean `xbzrle`?
        ");
        insta::assert_snapshot!(refusal((10, 0, 2), "uri = \"exec:cat\"\n[capabilities]\nmultifd = true\n"), @r"
        this migration cannot be done, and nothing was changed:
          - source: multifd needs several channels, which `exec:` cannot give: use tcp:, unix: or vsock:
          - destination: multifd needs several channels, which `exec:` cannot give: use tcp:, unix: or vsock:
        ");
        insta::assert_snapshot!(refusal((10, 0, 2), "[parameters]\nmultifd-compression = \"lz4\"\nmultifd-chanels = 2\ndirect-io = 7\n"), @r"
        this migration cannot be done, and nothing was changed:
          - source: parameter direct-io = 7: takes true or false
          - source: this QEMU (10.0.2) has no parameter `multifd-chanels`; did you mean `multifd-channels`?
          - source: parameter multifd-compression = lz4: takes one of none, zlib, zstd
          - destination: parameter direct-io = 7: takes true or false
          - destination: this QEMU (10.0.2) has no parameter `multifd-chanels`; did you mean `multifd-channels`?
          - destination: parameter multifd-compression = lz4: takes one of none, zlib, zstd
        ");
    }

    #[test]
    fn transports_that_do_not_fit_say_what_would() {
        let refusal = |toml: &str| {
            planned((10, 0, 2), toml)
                .unwrap_err()
                .lines()
                .nth(1)
                .unwrap_or_default()
                .trim()
                .to_owned()
        };
        insta::assert_snapshot!(refusal("transport = \"owned\"\n[capabilities]\nmultifd = true"), @r#"- transport = "owned" is one channel; multifd and postcopy-preempt need unix or tcp"#);
        insta::assert_snapshot!(refusal("transport = \"unix\"\n[socket]\ncongestion = \"reno\""), @r#"- [socket] sets options of sockets that we open: it needs transport = "owned""#);
        insta::assert_snapshot!(refusal("transport = \"exec\"\n[link]\npreset = \"dublin\""), @r#"- [link] emulates a network between sockets; `exec:` is none"#);
        insta::assert_snapshot!(refusal("transport = \"owned\"\nuri = \"unix:/a\""), @r#"- transport = "owned" with a URI connects to it by TCP; `unix:/a` is not tcp:HOST:PORT"#);
        insta::assert_snapshot!(refusal("transport = \"unix\"\n[link]\nkind = \"netns\""), @r#"- link.kind = "netns" is a network: transport must be owned or tcp"#);
        insta::assert_snapshot!(refusal("channels = [3]"), @r#"- channels: each is a table like {channel-type = "main", addr = {transport = "socket", type = "inet", host = …, port = …}}"#);
    }

    #[test]
    fn tls_sets_both_sides_and_what_it_does_not_go_with_is_refused() {
        let tls = |more: &str| {
            planned((10, 0, 2), &format!("[tls]\ncredentials = \"x509\"\ndir = \"/d\"\n{more}"))
        };
        let plan = tls("").unwrap();
        assert_eq!(
            (&plan.source.parameters["tls-creds"], &plan.source.parameters["tls-hostname"]),
            (&OBJECT.into(), &"localhost".into())
        );
        assert_eq!(plan.destination.parameters["tls-creds"], OBJECT);
        assert_eq!(plan.tls.map(|tls| tls.credentials), Some(scenario::Credentials::X509));
        tls("[capabilities]\nmultifd = true").unwrap();
        let refusal = |more: &str| tls(more).unwrap_err();
        insta::assert_snapshot!(refusal("[capabilities]\nmultifd = true\nzero-copy-send = true"), @r"
        this migration cannot be done, and nothing was changed:
          - source: zero-copy-send does not go with TLS (`Zero copy only available for non-compressed non-TLS multifd migration`): turn one of them off
        ");
        assert!(refusal("[capabilities]\nmapped-ram = true").contains(
            "source: mapped-ram does not go with TLS (`Cannot use TLS with mapped-ram`)"
        ));
    }

    #[test]
    fn a_version_that_loses_the_guest_is_refused_although_qemu_would_accept() {
        let refusal = planned((7, 2, 22), "mode = \"postcopy\"\n[capabilities]\nmultifd = true\n")
            .unwrap_err();
        assert!(refusal.contains("the destination aborts after `completed`"), "{refusal}");
        planned((11, 1, 3), "mode = \"postcopy\"\n[capabilities]\nmultifd = true\n").unwrap();
    }

    #[test]
    fn vms_in_the_wrong_state_are_refused() {
        let scenario = Scenario::default();
        let (mut source, mut destination) = (like((10, 0, 2), false), like((10, 0, 2), true));
        source.run_state = "postmigrate".into();
        source.blocked_reasons = vec!["device `vfio` cannot".into()];
        destination.run_state = "running".into();
        let refused = plan(&scenario, &source, &destination, &context()).unwrap_err().to_string();
        insta::assert_snapshot!(refused, @r"
        this migration cannot be done, and nothing was changed:
          - source: its VM has already been migrated away (run state postmigrate)
          - source: QEMU says that this VM cannot migrate: device `vfio` cannot
          - destination: it does not wait for a migration (run state running); start it with the same options as the source and `-incoming defer`
        ");
    }
}
