//! Encryption of the stream: which objects QEMU needs for it, and what it does not go with.
//!
//! Takes what was asked for and the way of the stream; gives [`Tls`], or why not. Knows nothing of
//! how objects are made.

use super::{Sockets, Stream, Uri};
use base::Side;
use qmp::Request;
use scenario::{Credentials, LinkKind, Scenario};
use serde_json::{Map, Value, json};

/// What the objects are called that we make, on both sides. They are the driver's: one that is
/// there already is a dead driver's.
pub const OBJECT: &str = "switchover-tls";

/// How the two sides prove who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// By what.
    pub credentials: Credentials,
    /// Where their files are: the source's, the destination's.
    pub directories: [String; 2],
    /// Of the key.
    pub username: String,
    /// GnuTLS's, where one was named.
    pub priority: Option<String>,
    /// Whether the destination looks at the source's certificate.
    pub verify_peer: bool,
    /// `tls-hostname`; where it is empty, QEMU takes the URI's host.
    pub hostname: String,
}

impl Tls {
    /// `object-add` for a side. The source begins the connection, so it is the client.
    #[must_use]
    pub fn object(&self, side: Side) -> Request {
        let (endpoint, directory) = match side {
            Side::Source => ("client", &self.directories[0]),
            Side::Destination => ("server", &self.directories[1]),
        };
        let mut arguments = json!({"id": OBJECT, "endpoint": endpoint, "dir": directory});
        if let Some(priority) = &self.priority {
            arguments["priority"] = priority.clone().into();
        }
        match self.credentials {
            Credentials::X509 => {
                arguments["qom-type"] = "tls-creds-x509".into();
                if side == Side::Destination {
                    arguments["verify-peer"] = self.verify_peer.into();
                }
            }
            Credentials::Psk => {
                arguments["qom-type"] = "tls-creds-psk".into();
                if side == Side::Source {
                    arguments["username"] = self.username.clone().into();
                }
            }
        }
        // Raw: the members are flat since 6.0, and qapi's enum of types is one version's.
        Request::raw("object-add", arguments)
    }

    /// Parameters that go with it. Text on all versions, although newer schemas take null too.
    pub(super) fn parameters(&self, side: Side) -> Map<String, Value> {
        let mut parameters = Map::from_iter([("tls-creds".to_owned(), OBJECT.into())]);
        if side == Side::Source {
            // Also where it is empty: the VM may have one from before.
            parameters.insert("tls-hostname".to_owned(), self.hostname.clone().into());
        }
        parameters
    }
}

/// Chooses; what does not fit is added to `reasons`.
pub(super) fn choose(
    scenario: &Scenario,
    stream: &Stream,
    reasons: &mut Vec<String>,
) -> Option<Tls> {
    let asked = &scenario.tls;
    let credentials = asked.credentials?;
    match stream.scheme() {
        "file" => reasons.push(
            "TLS needs somebody at the other end who answers, and a file does not".to_owned(),
        ),
        // It would go in clear: it goes past the place where a channel is encrypted
        // (`rdma_start_outgoing_migration`).
        "rdma" => reasons.push("QEMU does not encrypt `rdma:`; use tcp: or unix:".to_owned()),
        _ if stream.fifo.is_some() => {
            reasons.push(
                "nothing comes back through transport = \"exec\", and TLS needs answers; use owned, unix or tcp".to_owned(),
            );
        }
        _ => {}
    }
    let Some([source, destination]) = asked.directories() else {
        reasons.push(
            "tls.credentials needs to know where the files are: give tls.dir, or tls.source_dir and tls.destination_dir, each a directory on \
             that QEMU's host (`switchover credentials DIR` makes some)"
                .to_owned(),
        );
        return None;
    };
    Some(Tls {
        credentials,
        directories: [source.to_owned(), destination.to_owned()],
        username: asked.username.clone(),
        priority: asked.priority.clone(),
        verify_peer: asked.verify_peer,
        hostname: hostname(scenario, credentials, stream),
    })
}

/// QEMU knows the host only where it connects to it itself; elsewhere it wants to be told (`No
/// hostname for certificate validation`).
fn hostname(scenario: &Scenario, credentials: Credentials, stream: &Stream) -> String {
    if let Some(named) = &scenario.tls.hostname {
        return named.clone();
    }
    let behind_a_link = !scenario.link.is_none() && scenario.link.kind == LinkKind::Emulated;
    match (credentials, stream.scheme()) {
        (Credentials::Psk, _) => String::new(),
        (_, "tcp") if stream.sockets == Sockets::QemusOwn && !behind_a_link => String::new(),
        (_, "tcp") => host_of(&stream.uri),
        _ => "localhost".to_owned(),
    }
}

fn host_of(uri: &Uri) -> String {
    let address = uri.outgoing.strip_prefix("tcp:").unwrap_or_default();
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() { "localhost".to_owned() } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scenario::Loader;

    fn chosen(toml: &str, stream: &Stream) -> Result<Tls, String> {
        let scenario =
            Loader::new().text("test", &format!("[tls]\n{toml}")).unwrap().load().unwrap();
        let mut reasons = Vec::new();
        let tls = choose(&scenario, stream, &mut reasons);
        tls.filter(|_| reasons.is_empty()).ok_or_else(|| reasons.join("\n"))
    }

    fn to(uri: &str, sockets: Sockets) -> Stream {
        Stream {
            uri: Uri { outgoing: uri.to_owned(), incoming: uri.to_owned() },
            sockets,
            ..Stream::default()
        }
    }

    #[test]
    fn each_side_gets_its_end_of_it() {
        let x509 = chosen(
            "credentials = \"x509\"\ndir = \"/both\"\nsource_dir = \"/mine\"\nverify_peer = false",
            &to("tcp:h:1", Sockets::QemusOwn),
        );
        let x509 = x509.unwrap();
        assert_eq!(
            x509.object(Side::Source).arguments,
            json!({"id": OBJECT, "endpoint": "client", "dir": "/mine", "qom-type": "tls-creds-x509"})
        );
        assert_eq!(
            x509.object(Side::Destination).arguments,
            json!({"id": OBJECT, "endpoint": "server", "dir": "/both", "qom-type": "tls-creds-x509", "verify-peer": false})
        );
        let psk = chosen(
            "credentials = \"psk\"\ndir = \"/d\"\nusername = \"u\"\npriority = \"NORMAL\"",
            &to("fd:m", Sockets::Tcp),
        )
        .unwrap();
        assert_eq!(psk.object(Side::Source).arguments["username"], "u");
        assert_eq!(psk.object(Side::Destination).arguments["priority"], "NORMAL");
        assert!(psk.object(Side::Destination).arguments.get("username").is_none());
        assert!(psk.parameters(Side::Destination).get("tls-hostname").is_none());
    }

    #[test]
    fn the_host_name_is_said_where_qemu_cannot_know_it() {
        let name = |more: &str, stream: &Stream| {
            chosen(&format!("credentials = \"x509\"\ndir = \"/d\"\n{more}"), stream)
                .unwrap()
                .hostname
        };
        assert_eq!(name("", &to("tcp:there:1", Sockets::QemusOwn)), "");
        assert_eq!(name("", &to("tcp:there:1", Sockets::OfSource)), "there");
        assert_eq!(
            name("[link]\npreset = \"local\"", &to("tcp:[::1]:1", Sockets::QemusOwn)),
            "::1"
        );
        assert_eq!(name("", &to("unix:/m", Sockets::QemusOwn)), "localhost");
        assert_eq!(name("hostname = \"vm\"", &to("tcp:there:1", Sockets::QemusOwn)), "vm");
    }

    #[test]
    fn what_does_not_fit_says_why() {
        let refusal = |toml: &str, stream: &Stream| chosen(toml, stream).unwrap_err();
        assert!(
            refusal(
                "credentials = \"psk\"\nsource_dir = \"/d\"",
                &to("tcp:h:1", Sockets::QemusOwn)
            )
            .contains("tls.destination_dir")
        );
        assert!(
            refusal("credentials = \"psk\"\ndir = \"/d\"", &to("file:/f", Sockets::QemusOwn))
                .contains("a file does not")
        );
        assert!(
            refusal("credentials = \"psk\"\ndir = \"/d\"", &to("rdma:h:1", Sockets::QemusOwn))
                .contains("does not encrypt")
        );
        let exec = Stream { fifo: Some("/f".into()), ..to("exec:cat", Sockets::QemusOwn) };
        assert!(
            refusal("credentials = \"psk\"\ndir = \"/d\"", &exec)
                .contains("use owned, unix or tcp")
        );
    }
}
