//! TLS for the stream, as asked for.

use serde::{Deserialize, Serialize};

/// The user for whom `keys.psk`, made by `switchover credentials`, has a key.
pub const PSK_USER: &str = "qemu";

/// Whether the stream is encrypted, and with which credentials. The directories are on the host of the QEMU that reads them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tls {
    /// Which kind; without it, none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// Where both sides' files are. A lab makes some of its own where none are named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
    /// The source's, where they are not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_dir: Option<String>,
    /// The destination's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_dir: Option<String>,
    /// `tls-hostname`: what the destination's certificate must be for, where that is not the host of the URI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Of the key, for PSK.
    pub username: String,
    /// GnuTLS's priority string, which chooses ciphers; QEMU's own unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<String>,
    /// Each side wants the other's certificate to be of the same CA. Off, only the source looks at the destination's.
    pub verify_peer: bool,
}

/// What both sides know each other by.
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
    /// The source's directory and the destination's, if both are known.
    #[must_use]
    pub fn directories(&self) -> Option<[&str; 2]> {
        let both = self.dir.as_deref();
        Some([self.source_dir.as_deref().or(both)?, self.destination_dir.as_deref().or(both)?])
    }

    /// What cannot be, whatever the QEMUs: the key, and what would be right.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        let given = *self != Tls { credentials: self.credentials, ..Tls::default() };
        match self.credentials {
            None if given => Some((
                "tls",
                "without tls.credentials = \"x509\" or \"psk\" there is no TLS".to_owned(),
            )),
            Some(Credentials::Psk) if self.username.is_empty() => {
                Some(("tls.username", "a key belongs to a user".to_owned()))
            }
            Some(Credentials::Psk) if !self.verify_peer => Some((
                "tls.verify_peer",
                "who has the key is believed; only certificates can be left unverified".to_owned(),
            )),
            _ => self.relative(),
        }
    }

    /// Each QEMU would look for it below its own working directory.
    fn relative(&self) -> Option<(&'static str, String)> {
        let named = [
            ("tls.dir", &self.dir),
            ("tls.source_dir", &self.source_dir),
            ("tls.destination_dir", &self.destination_dir),
        ];
        let (key, directory) = named
            .into_iter()
            .find(|(_, directory)| directory.as_ref().is_some_and(|at| !at.starts_with('/')))?;
        let directory = directory.as_deref().unwrap_or_default();
        Some((
            key,
            format!(
                "`{directory}` must begin with /: QEMU reads it, which has a working directory of its own"
            ),
        ))
    }
}
