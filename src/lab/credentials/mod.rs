//! Credentials for a TLS stream, for tests: a private directory with files of the names that QEMU looks for.
//!
//! Takes a directory and names of hosts; gives X.509 certificates of a CA of our own, and a pre-shared key. One directory serves both
//! sides. Knows nothing of QMP, nor of who uses them.
//!
//! Map: here the files · `x509` what is in certificates.

mod x509;

use scenario::PSK_USER;
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Names that every server certificate made here is good for.
pub const LOCAL_NAMES: &[&str] = &["localhost", "127.0.0.1"];

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The directory holds something already, which may be somebody's keys.
    #[error(
        "{path} is not empty; name a directory that is new or empty, so that no key is written over"
    )]
    NotEmpty {
        /// Which directory.
        path: PathBuf,
    },
    /// A file or the directory.
    #[error("cannot write credentials to {path}; name a directory that can be written")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A certificate.
    #[error("cannot make a certificate; a --host must be a DNS name or an IP address")]
    Certificate {
        /// Why.
        source: rcgen::Error,
    },
}

/// Makes a CA's certificate, a server's and a client's with their keys, and a pre-shared key, in `directory` (0700, files 0600). The CA's
/// own key is kept nowhere: nobody can issue more.
///
/// The server's certificate is for `hosts` and for [`LOCAL_NAMES`].
///
/// # Errors
/// [`CredentialsError`]; what was written before remains.
pub fn make(directory: &Path, hosts: &[String]) -> Result<Vec<PathBuf>, CredentialsError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| CredentialsError::Write { path, source }
    };
    let mut names: Vec<String> = LOCAL_NAMES.iter().map(ToString::to_string).collect();
    names.extend_from_slice(hosts);
    let mut files =
        x509::files(names).map_err(|source| CredentialsError::Certificate { source })?;
    files.push((
        "keys.psk",
        format!("{PSK_USER}:{}\n", random_key().map_err(failed(Path::new("/dev/urandom")))?),
    ));

    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed(directory))?;
    if std::fs::read_dir(directory).map_err(failed(directory))?.next().is_some() {
        return Err(CredentialsError::NotEmpty { path: directory.to_owned() });
    }
    // One that was there already may be open to others.
    std::fs::set_permissions(directory, PermissionsExt::from_mode(0o700))
        .map_err(failed(directory))?;
    let mut made = Vec::new();
    for (name, text) in files {
        let path = directory.join(name);
        let opened = File::options().write(true).create_new(true).mode(0o600).open(&path);
        opened.and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed(&path))?;
        made.push(path);
    }
    Ok(made)
}

/// 256 bits in hexadecimal, as GnuTLS wants keys.
fn random_key() -> io::Result<String> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn files_have_qemus_names_and_are_private() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("new/credentials");
        let made = make(&directory, &["vm1.example.org".to_owned()]).unwrap();
        let names: Vec<_> =
            made.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(
            names,
            [
                "ca-cert.pem",
                "server-cert.pem",
                "server-key.pem",
                "client-cert.pem",
                "client-key.pem",
                "keys.psk"
            ]
        );
        assert!(made.iter().all(|path| mode(path) == 0o600));
        assert_eq!(mode(&directory), 0o700);
        let key = std::fs::read_to_string(directory.join("keys.psk")).unwrap();
        assert!(key.starts_with("qemu:") && key.trim_end().len() == "qemu:".len() + 64);
    }

    #[test]
    fn nothing_is_written_over_and_a_directory_that_was_there_is_made_private() {
        let parent = tempfile::tempdir().unwrap();
        std::fs::set_permissions(parent.path(), PermissionsExt::from_mode(0o755)).unwrap();
        make(parent.path(), &[]).unwrap();
        assert_eq!(mode(parent.path()), 0o700);
        assert!(matches!(make(parent.path(), &[]), Err(CredentialsError::NotEmpty { .. })));
    }

    #[test]
    fn a_host_that_is_no_name_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("none");
        assert!(matches!(
            make(&directory, &["nö".to_owned()]),
            Err(CredentialsError::Certificate { .. })
        ));
        assert!(!directory.exists());
    }
}
