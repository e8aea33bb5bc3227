//! How the stream goes from the source to the destination.

use super::{Support, Uri};
use qmp::Request;
use scenario::{LinkKind, Scenario, Transport};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What a descriptor is called that we hand to a QEMU.
pub const PASSED: &str = "switchover";

/// What both QEMUs have where they run, for a stream between them.
#[derive(Clone, Debug, Default)]
pub struct StreamContext {
    /// Both are on this host, and files may be made under this name.
    pub local: Option<PathBuf>,
    /// Address of the destination, where it is not the loopback's.
    pub host: Option<String>,
    /// Whether the source takes descriptors over its QMP connection; the destination.
    pub can_pass_descriptors: [bool; 2],
}

/// Sockets of ours for the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sockets {
    /// QEMU opens what it is told.
    #[default]
    QemusOwn,
    /// A TCP connection; both get an end.
    Tcp,
    /// A pair of unix sockets.
    Unix,
    /// We connect to where the destination listens; only the source gets a socket.
    OfSource,
}

/// How the stream goes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stream {
    /// The two ends.
    pub uri: Uri,
    /// `channels` for `migrate` and `migrate-incoming` instead of the URIs.
    pub channels: Option<[Value; 2]>,
    /// Sockets of ours.
    pub sockets: Sockets,
    /// To be made first.
    pub fifo: Option<PathBuf>,
}

impl Stream {
    /// Arguments of `migrate`, where the destination listens at `actual`.
    #[must_use]
    pub fn outgoing(&self, actual: Option<&str>) -> Value {
        match &self.channels {
            Some([outgoing, _]) => json!({ "channels": outgoing }),
            None => json!({ "uri": self.uri.resolved(actual) }),
        }
    }

    /// `migrate-incoming`.
    pub(super) fn incoming(&self, destination: &Support) -> Request {
        let mut arguments = match &self.channels {
            Some([_, incoming]) => json!({ "channels": incoming }),
            None => json!({ "uri": self.uri.incoming }),
        };
        // Since 9.1: a destination that stays after a failure can be asked what went wrong.
        if destination.incoming_has_exit_on_error {
            arguments["exit-on-error"] = false.into();
        }
        Request::raw("migrate-incoming", arguments)
    }

    /// `tcp`, `unix`, `fd` …; empty if there is none.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.uri.scheme()
    }

    /// Nothing comes back from the destination.
    pub(super) fn is_one_way(&self) -> bool {
        matches!(self.scheme(), "file" | "exec")
    }
}

/// Chooses. `several`: more than one channel is wanted.
pub(super) fn choose(
    scenario: &Scenario,
    source: &Support,
    destination: &Support,
    context: &StreamContext,
    several: bool,
) -> Result<Stream, String> {
    if !scenario.channels.is_empty() {
        return channels(scenario, source, destination);
    }
    let stream = match (&scenario.uri, &destination.listens_at) {
        (Some(uri), _) => given(scenario, uri.clone(), context, several)?,
        (None, Some(uri)) => given(scenario, uri.clone(), context, several)?,
        (None, None) => local(scenario, context, several)?,
    };
    let scheme = stream.scheme();
    if scheme.is_empty() {
        return Err(format!(
            "`{}` is not a migration URI; write it like tcp:HOST:PORT or unix:PATH",
            stream.uri.outgoing
        ));
    }
    let needs_answers =
        scenario.mode.allows_postcopy() || scenario.capabilities.get("return-path") == Some(&true);
    if needs_answers && stream.fifo.is_some() {
        return Err("nothing comes back through transport = \"exec\", and post-copy and return-path need answers".to_owned());
    }
    if scenario.link.kind == LinkKind::Netns && context.host.is_none() {
        return Err(
            "link.kind = \"netns\" puts a lab's QEMUs into namespaces; these are where they are"
                .to_owned(),
        );
    }
    if !scenario.socket.is_default() && !matches!(stream.sockets, Sockets::Tcp | Sockets::OfSource)
    {
        return Err(
            "[socket] sets options of sockets that we open: it needs transport = \"owned\""
                .to_owned(),
        );
    }
    let emulated = !scenario.link.is_none() && scenario.link.kind == LinkKind::Emulated;
    let through_us =
        matches!(stream.sockets, Sockets::Tcp | Sockets::Unix) || matches!(scheme, "tcp" | "unix");
    if emulated && !through_us {
        return Err(format!("[link] emulates a network between sockets; `{scheme}:` is none"));
    }
    Ok(stream)
}

/// A URI that was named, or that the destination listens at.
fn given(
    scenario: &Scenario,
    outgoing: String,
    context: &StreamContext,
    several: bool,
) -> Result<Stream, String> {
    let incoming = scenario.incoming_uri.clone().unwrap_or_else(|| outgoing.clone());
    let mut stream = Stream { uri: Uri { outgoing, incoming }, ..Stream::default() };
    if scenario.transport == Transport::Owned {
        one_channel(several, "owned")?;
        if stream.scheme() != "tcp" {
            return Err(format!(
                "transport = \"owned\" with a URI connects to it by TCP; `{}` is not tcp:HOST:PORT",
                stream.uri.outgoing
            ));
        }
        if !context.can_pass_descriptors[0] {
            return Err("transport = \"owned\" hands a socket to the source, which only a unix QMP socket can do".to_owned());
        }
        stream.sockets = Sockets::OfSource;
    }
    Ok(stream)
}

/// None was named: both are on this host, or there is no way.
fn local(scenario: &Scenario, context: &StreamContext, several: bool) -> Result<Stream, String> {
    let Some(base) = &context.local else {
        return Err(
            "no migration URI: the two QEMUs may be on different hosts, so give one, such as --uri tcp:HOST:4444".to_owned()
        );
    };
    let both_take = context.can_pass_descriptors == [true; 2];
    let netns = scenario.link.kind == LinkKind::Netns;
    let transport = match scenario.transport {
        Transport::Auto if both_take && !several => Transport::Owned,
        Transport::Auto if netns => Transport::Tcp,
        Transport::Auto => Transport::Unix,
        named => named,
    };
    if netns && !matches!(transport, Transport::Owned | Transport::Tcp) {
        return Err("link.kind = \"netns\" is a network: transport must be owned or tcp".to_owned());
    }
    let named = |suffix: &str| PathBuf::from(format!("{}{suffix}", base.display()));
    let same = |uri: String| Stream {
        uri: Uri { outgoing: uri.clone(), incoming: uri },
        ..Stream::default()
    };
    let passed = |sockets| Stream { sockets, ..same(format!("fd:{PASSED}")) };
    Ok(match transport {
        Transport::Auto | Transport::Owned | Transport::Fd => {
            let name = if transport == Transport::Fd { "fd" } else { "owned" };
            one_channel(several, name)?;
            if !both_take {
                return Err(format!(
                    "transport = \"{name}\" hands sockets to both QEMUs, which only unix QMP sockets can do"
                ));
            }
            passed(if transport == Transport::Fd { Sockets::Unix } else { Sockets::Tcp })
        }
        Transport::Unix => same(format!("unix:{}", base.display())),
        Transport::Tcp => same(format!("tcp:{}:0", context.host.as_deref().unwrap_or("127.0.0.1"))),
        Transport::Exec => {
            let fifo = named(".fifo");
            let quoted = quoted(&fifo);
            let uri = Uri {
                outgoing: format!("exec:cat > {quoted}"),
                incoming: format!("exec:cat {quoted}"),
            };
            Stream { uri, fifo: Some(fifo), ..Stream::default() }
        }
        Transport::File => same(format!("file:{}", named(".ram").display())),
    })
}

fn one_channel(several: bool, name: &str) -> Result<(), String> {
    if several {
        return Err(format!(
            "transport = \"{name}\" is one channel; multifd and postcopy-preempt need unix or tcp"
        ));
    }
    Ok(())
}

/// For `sh`.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}

fn channels(
    scenario: &Scenario,
    source: &Support,
    destination: &Support,
) -> Result<Stream, String> {
    if let Some(side) = [("source", source), ("destination", destination)]
        .iter()
        .find(|(_, support)| !support.migrate_has_channels)
    {
        return Err(format!(
            "{}: this QEMU ({}) takes no `channels`: they came with 8.2; give a URI",
            side.0, side.1.version
        ));
    }
    if scenario.uri.is_some() || scenario.incoming_uri.is_some() {
        return Err("give channels or a URI, not both".to_owned());
    }
    if !scenario.link.is_none() {
        return Err("[link] goes in front of a URI, not of channels".to_owned());
    }
    let as_json = |list: &[toml::Value]| serde_json::to_value(list).unwrap_or_default();
    let outgoing = as_json(&scenario.channels);
    let incoming = if scenario.incoming_channels.is_empty() {
        outgoing.clone()
    } else {
        as_json(&scenario.incoming_channels)
    };
    let scheme = |channels: &Value| {
        let address = &channels[0]["addr"];
        let kind =
            if address["transport"] == "socket" { &address["type"] } else { &address["transport"] };
        match kind.as_str() {
            Some("inet") => Some("tcp:".to_owned()),
            other => other.map(|kind| format!("{kind}:")),
        }
    };
    match (scheme(&outgoing), scheme(&incoming)) {
        (Some(to), Some(from)) => {
            let uri = Uri { outgoing: to, incoming: from };
            Ok(Stream { uri, channels: Some([outgoing, incoming]), ..Stream::default() })
        }
        _ => Err("channels: each is a table like {channel-type = \"main\", addr = {transport = \"socket\", type = \"inet\", host = …, port = …}}".to_owned()),
    }
}
