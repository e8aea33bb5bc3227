//! Where a QMP server listens: `unix:PATH`, `tcp:HOST:PORT`, or a unix socket on another host,
//! `ssh:[USER@]HOST:PATH`.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// The address of a QMP server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Endpoint {
    /// A unix socket: `unix:/run/vm.qmp`.
    Unix(PathBuf),
    /// A TCP port: `tcp:localhost:4444`, `tcp:[::1]:4444`.
    Tcp {
        /// Host name or address, without brackets.
        host: String,
        /// Port.
        port: u16,
    },
    /// A unix socket on a host that the system's `ssh` gets to: `ssh:root@node7:/run/vm.qmp`.
    Ssh(Box<Remote>),
}

/// A unix socket on another host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Who logs in there, where `ssh` does not know it by itself.
    pub user: Option<String>,
    /// Host name, alias of ssh's configuration, or address, without brackets.
    pub host: String,
    /// The socket, from the root.
    pub path: String,
}

/// Text that is not an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a QMP endpoint; write unix:PATH, tcp:HOST:PORT or ssh:[USER@]HOST:PATH{hint}"
)]
pub struct EndpointError {
    text: String,
    hint: &'static str,
}

impl Endpoint {
    /// Whether a QEMU behind this endpoint certainly shares this host's clocks.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Endpoint::Unix(_) => true,
            Endpoint::Tcp { host, .. } => {
                host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
            }
            Endpoint::Ssh(_) => false,
        }
    }

    /// Whether QMP would go in clear over a network that others may be on.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        matches!(self, Endpoint::Tcp { .. }) && !self.is_local()
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let refuse = |hint| Err(EndpointError { text: text.to_owned(), hint });
        match text.split_once(':') {
            Some(("unix", path)) if !path.is_empty() => Ok(Endpoint::Unix(path.into())),
            Some(("tcp", address)) => {
                let Some((host, port)) = address.rsplit_once(':') else { return refuse("") };
                let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
                match port.parse() {
                    Ok(port) if port != 0 && !host.is_empty() => {
                        Ok(Endpoint::Tcp { host: host.to_owned(), port })
                    }
                    _ => refuse(" with a port from 1 to 65535"),
                }
            }
            Some(("ssh", address)) => ssh(address).or_else(refuse),
            _ if text.starts_with('/') => refuse(" (for this path: put `unix:` before it)"),
            _ => refuse(""),
        }
    }
}

/// Nothing that `ssh` would take for an option or for part of another argument: it goes into a
/// command line.
fn ssh(address: &str) -> Result<Endpoint, &'static str> {
    let Some((place, _)) = address.split_once(":/") else {
        return Err(" with a path that begins with /");
    };
    let path = &address[place.len() + 1..];
    let (user, host) =
        place.split_once('@').map_or((None, place), |(user, host)| (Some(user), host));
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_name = |text: &str, more: &str| {
        let plain = text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c) || more.contains(c));
        plain && !text.is_empty() && !text.starts_with('-')
    };
    if !is_name(host, ":%") || user.is_some_and(|user| !is_name(user, "")) {
        return Err(" with the host's name, its address or its alias in ~/.ssh/config");
    }
    if !is_plain_path(path) {
        return Err(" with a path of letters, digits and / . _ - + = , @ #");
    }
    let remote =
        Remote { user: user.map(ToOwned::to_owned), host: host.to_owned(), path: path.to_owned() };
    Ok(Endpoint::Ssh(Box::new(remote)))
}

/// `-L` gives `:`, `\`, `%`, `$` and blanks a meaning (`parse_forward` in readconf.c).
pub(super) fn is_plain_path(path: &str) -> bool {
    path.starts_with('/')
        && path.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+=,@#".contains(c))
}

impl TryFrom<String> for Endpoint {
    type Error = EndpointError;

    fn try_from(text: String) -> Result<Self, EndpointError> {
        text.parse()
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> String {
        endpoint.to_string()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Unix(path) => write!(f, "unix:{}", path.display()),
            Endpoint::Tcp { host, port } if host.contains(':') => write!(f, "tcp:[{host}]:{port}"),
            Endpoint::Tcp { host, port } => write!(f, "tcp:{host}:{port}"),
            Endpoint::Ssh(remote) => {
                let Remote { user, host, path } = remote.as_ref();
                let at = user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
                if host.contains(':') {
                    write!(f, "ssh:{at}[{host}]:{path}")
                } else {
                    write!(f, "ssh:{at}{host}:{path}")
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kinds_parse_and_print_the_same() {
        for text in [
            "unix:/run/a.qmp",
            "tcp:localhost:4444",
            "tcp:[::1]:1",
            "ssh:node7:/run/a.qmp",
            "ssh:root@10.0.0.7:/run/a.qmp",
            "ssh:me@[fe80::1%eth0]:/a",
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_bare_path_is_refused_with_the_way_to_write_it() {
        let error = "/run/a.qmp".parse::<Endpoint>().unwrap_err().to_string();
        assert!(error.ends_with("put `unix:` before it)"), "{error}");
        for bad in ["", "unix:", "tcp:", "tcp:host", "tcp::1", "tcp:host:0", "tcp:host:70000"] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
        }
    }

    #[test]
    fn nothing_gets_to_ssh_that_it_would_take_for_something_else() {
        for bad in [
            "ssh:host",
            "ssh:host:run/a",
            "ssh::/a",
            "ssh:@host:/a",
            "ssh:-oProxyCommand=x:/a",
            "ssh:-v@host:/a",
            "ssh:root@-v:/a",
            "ssh:a b:/a",
            "ssh:a@b@c:/a",
            "ssh:host:/a b",
            "ssh:host:/a:/b",
            "ssh:host:/%h",
            "ssh:host:/$HOME/a",
            "ssh:host:/a\\:b",
            "ssh:$(x):/a",
            "ssh:host:/a\n",
        ] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_plain_tcp_to_elsewhere_is_exposed() {
        let exposed = |text: &str| text.parse::<Endpoint>().unwrap().is_exposed();
        assert!(
            exposed("tcp:node7:1")
                && !exposed("tcp:localhost:1")
                && !exposed("unix:/a")
                && !exposed("ssh:node7:/a")
        );
    }

    #[test]
    fn only_loopback_shares_our_clocks_for_sure() {
        let local = |text: &str| text.parse::<Endpoint>().unwrap().is_local();
        assert!(local("unix:/a") && local("tcp:127.0.0.1:1") && local("tcp:[::1]:1"));
        assert!(
            !local("tcp:192.0.2.1:1") && !local("tcp:example.org:1") && !local("ssh:localhost:/a")
        );
    }
}
