//! Creates TLS credentials for tests: X.509 certificates of a new CA, and a pre-shared key.
//!
//! The files have the names that QEMU looks for, in one private directory that serves both sides.
//! This module writes the files; `x509` creates the certificates.

mod x509;

use scenario::PSK_USER;
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Host names that every server certificate is valid for.
pub const LOCAL_NAMES: &[&str] = &["localhost", "127.0.0.1"];

/// Credentials could not be created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The directory already contains files, which may be keys in use.
    #[error("{path} is not empty; name a new or empty directory, so that no key is overwritten")]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// A file or the directory could not be written.
    #[error("cannot write credentials to {path}; name a writable directory")]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A certificate could not be created.
    #[error("cannot create a certificate; each --host must be a DNS name or an IP address")]
    Certificate {
        /// The error of the certificate library.
        source: rcgen::Error,
    },
}

/// Creates certificates of a CA, a server and a client with their keys, and a pre-shared key, in
/// `directory` (mode 0700, files 0600). Returns the paths of the files.
///
/// The server's certificate is valid for `hosts` and for [`LOCAL_NAMES`]. The CA's own key is not
/// kept, so nobody can issue more certificates.
///
/// # Errors
/// [`CredentialsError`]. Files that were written before the error remain.
pub fn create(directory: &Path, hosts: &[String]) -> Result<Vec<PathBuf>, CredentialsError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| CredentialsError::Write { path, source }
    };
    let mut names: Vec<String> = LOCAL_NAMES.iter().map(ToString::to_string).collect();
    names.extend_from_slice(hosts);
    let mut files = x509::create_certificates(names)
        .map_err(|source| CredentialsError::Certificate { source })?;
    files.push((
        "keys.psk",
        format!("{PSK_USER}:{}\n", create_random_key().map_err(failed(Path::new("/dev/urandom")))?),
    ));

    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed(directory))?;
    if std::fs::read_dir(directory).map_err(failed(directory))?.next().is_some() {
        return Err(CredentialsError::NotEmpty { path: directory.to_owned() });
    }
    // A directory that existed before may be open to others.
    std::fs::set_permissions(directory, PermissionsExt::from_mode(0o700))
        .map_err(failed(directory))?;
    let mut created = Vec::new();
    for (name, text) in files {
        let path = directory.join(name);
        let opened = File::options().write(true).create_new(true).mode(0o600).open(&path);
        opened.and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed(&path))?;
        created.push(path);
    }
    Ok(created)
}

/// Creates a random key of 256 bits in hexadecimal, the form that GnuTLS reads.
fn create_random_key() -> io::Result<String> {
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
    fn files_have_the_names_that_qemu_reads_and_are_private() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("new/credentials");
        let created = create(&directory, &["vm1.example.org".to_owned()]).unwrap();
        let names: Vec<_> =
            created.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
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
        assert!(created.iter().all(|path| mode(path) == 0o600));
        assert_eq!(mode(&directory), 0o700);
        let key = std::fs::read_to_string(directory.join("keys.psk")).unwrap();
        assert!(key.starts_with("qemu:") && key.trim_end().len() == "qemu:".len() + 64);
    }

    #[test]
    fn overwrites_nothing_and_makes_an_existing_directory_private() {
        let parent = tempfile::tempdir().unwrap();
        std::fs::set_permissions(parent.path(), PermissionsExt::from_mode(0o755)).unwrap();
        create(parent.path(), &[]).unwrap();
        assert_eq!(mode(parent.path()), 0o700);
        assert!(matches!(create(parent.path(), &[]), Err(CredentialsError::NotEmpty { .. })));
    }

    #[test]
    fn refuses_a_host_that_is_not_a_dns_name() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("none");
        assert!(matches!(
            create(&directory, &["nö".to_owned()]),
            Err(CredentialsError::Certificate { .. })
        ));
        assert!(!directory.exists());
    }
}
