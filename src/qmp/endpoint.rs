//! Where a QMP server listens: `unix:PATH` or `tcp:HOST:PORT`.

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
}

/// Text that is not an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a QMP endpoint; write unix:PATH or tcp:HOST:PORT{hint}")]
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
            Endpoint::Tcp { host, .. } => host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()),
        }
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
                    Ok(port) if port != 0 && !host.is_empty() => Ok(Endpoint::Tcp { host: host.to_owned(), port }),
                    _ => refuse(" with a port from 1 to 65535"),
                }
            }
            _ if text.starts_with('/') => refuse(" (for this path: put `unix:` before it)"),
            _ => refuse(""),
        }
    }
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
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_parse_and_print_the_same() {
        for text in ["unix:/run/a.qmp", "tcp:localhost:4444", "tcp:[::1]:1"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_bare_path_is_refused_with_the_way_to_write_it() {
        let error = "/run/a.qmp".parse::<Endpoint>().unwrap_err().to_string();
        assert!(error.ends_with("put `unix:` before it)"), "{error}");
        for bad in ["", "unix:", "tcp:", "tcp:host", "tcp::1", "tcp:host:0", "tcp:host:70000", "ssh:host:/a"] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_loopback_shares_our_clocks_for_sure() {
        let local = |text: &str| text.parse::<Endpoint>().unwrap().is_local();
        assert!(local("unix:/a") && local("tcp:127.0.0.1:1") && local("tcp:[::1]:1"));
        assert!(!local("tcp:192.0.2.1:1") && !local("tcp:example.org:1"));
    }
}
