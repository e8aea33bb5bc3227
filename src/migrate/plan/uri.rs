//! Where the migration stream goes, as QEMU spells it.

use serde_json::Value;

/// The two ends of the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uri {
    /// For `migrate` on the source.
    pub outgoing: String,
    /// For `migrate-incoming` on the destination.
    pub incoming: String,
}

impl Uri {
    /// `tcp`, `unix` …; empty if there is none.
    #[must_use]
    pub fn scheme(&self) -> &str {
        Uri::scheme_of(&self.outgoing)
    }

    pub(super) fn scheme_of(uri: &str) -> &str {
        uri.split_once(':').map_or("", |(scheme, _)| scheme)
    }

    /// A `SocketAddress` of `query-migrate` as a URI.
    #[must_use]
    pub fn of_socket_address(address: &Value) -> Option<String> {
        let text = |key: &str| address.get(key).and_then(Value::as_str);
        match text("type")? {
            "inet" => {
                let host = text("host")?;
                let port = text("port")?;
                Some(if host.contains(':') {
                    format!("tcp:[{host}]:{port}")
                } else {
                    format!("tcp:{host}:{port}")
                })
            }
            "unix" => Some(format!("unix:{}", text("path")?)),
            _ => None,
        }
    }

    /// The outgoing URI with port 0 replaced by the port of `actual`, where the destination says
    /// that it listens.
    #[must_use]
    pub fn resolved(&self, actual: Option<&str>) -> String {
        let port = actual.and_then(|uri| uri.rsplit_once(':')).map(|(_, port)| port);
        match (self.outgoing.strip_suffix(":0"), port) {
            (Some(host), Some(port)) if self.scheme() == "tcp" => format!("{host}:{port}"),
            _ => self.outgoing.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_port_that_the_destination_got_replaces_port_0() {
        let uri = Uri { outgoing: "tcp:127.0.0.1:0".into(), incoming: String::new() };
        let actual =
            Uri::of_socket_address(&json!({"type": "inet", "host": "127.0.0.1", "port": "41234"}));
        assert_eq!(uri.resolved(actual.as_deref()), "tcp:127.0.0.1:41234");
        assert_eq!(uri.resolved(None), "tcp:127.0.0.1:0");
        let unix = Uri { outgoing: "unix:/a:0".into(), incoming: String::new() };
        assert_eq!(unix.resolved(Some("tcp:h:1")), "unix:/a:0");
    }
}
