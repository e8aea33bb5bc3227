//! Configuration of TLS for the migration stream.

use serde::{Deserialize, Serialize};

/// The user name of the key in `keys.psk`, which `switchover credentials` creates.
pub const PSK_USER: &str = "qemu";

/// Whether the stream is encrypted, and with which credentials. Each directory is on the host of
/// the QEMU that reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tls {
    /// The kind of credentials. `None` means no TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// The directory with the credentials of both sides. A lab creates credentials if none are
    /// named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
    /// The source's directory if it differs from `dir`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_dir: Option<String>,
    /// The destination's directory if it differs from `dir`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_dir: Option<String>,
    /// The parameter `tls-hostname`: the name in the destination's certificate, if it is not the
    /// host of the URI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The user name of the pre-shared key.
    pub username: String,
    /// GnuTLS's priority string, which selects ciphers. `None` keeps QEMU's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<String>,
    /// Whether each side checks that the other's certificate is signed by the same CA. Otherwise
    /// only the source checks the destination's.
    pub verify_peer: bool,
}

/// How the two sides authenticate each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Credentials {
    /// Certificates (`tls-creds-x509`).
    X509,
    /// A pre-shared key (`tls-creds-psk`).
    Psk,
}

impl Default for Tls {
    fn default() -> Tls {
        Tls {
            credentials: None,
            dir: None,
            source_dir: None,
            destination_dir: None,
            hostname: None,
            username: PSK_USER.to_owned(),
            priority: None,
            verify_peer: true,
        }
    }
}

impl Tls {
    /// Returns the source's and the destination's directory, or `None` unless both are known.
    #[must_use]
    pub fn directories(&self) -> Option<[&str; 2]> {
        let both = self.dir.as_deref();
        Some([self.source_dir.as_deref().or(both)?, self.destination_dir.as_deref().or(both)?])
    }

    /// Finds an invalid value. Returns its key and what to do.
    pub(super) fn find_problem(&self) -> Option<(&'static str, String)> {
        let given = *self != Tls { credentials: self.credentials, ..Tls::default() };
        match self.credentials {
            None if given => Some((
                "tls",
                "without tls.credentials = \"x509\" or \"psk\" there is no TLS".to_owned(),
            )),
            Some(Credentials::Psk) if self.username.is_empty() => {
                Some(("tls.username", "must not be empty: a pre-shared key belongs to a user name".to_owned()))
            }
            Some(Credentials::Psk) if !self.verify_peer => Some((
                "tls.verify_peer",
                "cannot be off with tls.credentials = \"psk\"; only certificates can be left unverified".to_owned(),
            )),
            _ => self.find_relative_path(),
        }
    }

    /// Finds a relative path, which each QEMU would resolve in its own working directory.
    fn find_relative_path(&self) -> Option<(&'static str, String)> {
        let named = [
            ("tls.dir", &self.dir),
            ("tls.source_dir", &self.source_dir),
            ("tls.destination_dir", &self.destination_dir),
        ];
        let (key, directory) = named
            .into_iter()
            .find(|(_, directory)| directory.as_ref().is_some_and(|at| !at.starts_with('/')))?;
        let directory = directory.as_deref()?;
        Some((
            key,
            format!(
                "`{directory}` must begin with /, because QEMU reads it in its own working directory"
            ),
        ))
    }
}
