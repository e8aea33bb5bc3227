//! Creates certificates that pass QEMU's checks (`qcrypto_tls_creds_x509_sanity_check` in
//! crypto/tlscredsx509.c), as PEM text.

use base::clock::Stamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, Error, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
/// Days until a certificate expires: it is meant for a lab or a test.
const VALIDITY_DAYS: u32 = 365;

/// Creates the certificates of a CA, and of a server and a client that it has signed. Returns file
/// names and contents.
pub(super) fn create_certificates(
    names: Vec<String>,
) -> Result<Vec<(&'static str, String)>, Error> {
    let key = KeyPair::generate()?;
    let mut params = certificate_params("switchover test CA", Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let mut files = vec![("ca-cert.pem", params.self_signed(&key)?.pem())];
    let authority = Issuer::new(params, key);
    let (certificate, key) = create_leaf(
        &authority,
        "switchover test server",
        names,
        ExtendedKeyUsagePurpose::ServerAuth,
    )?;
    files.extend([("server-cert.pem", certificate), ("server-key.pem", key)]);
    let (certificate, key) = create_leaf(
        &authority,
        "switchover test client",
        Vec::new(),
        ExtendedKeyUsagePurpose::ClientAuth,
    )?;
    files.extend([("client-cert.pem", certificate), ("client-key.pem", key)]);
    Ok(files)
}

fn create_leaf(
    authority: &Issuer<'_, KeyPair>,
    name: &str,
    names: Vec<String>,
    purpose: ExtendedKeyUsagePurpose,
) -> Result<(String, String), Error> {
    let key = KeyPair::generate()?;
    let mut params = certificate_params(name, names)?;
    params.is_ca = IsCa::ExplicitNoCa;
    // QEMU 10.0 refuses a certificate that does not permit key encipherment, although a key of an
    // elliptic curve never does that. 7.2.22 and 11.1 do not check it
    // (`qcrypto_tls_creds_check_cert_key_usage`).
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![purpose];
    params.use_authority_key_identifier_extension = true;
    Ok((params.signed_by(&key, authority)?.pem(), key.serialize_pem()))
}

fn certificate_params(name: &str, names: Vec<String>) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, name);
    let now = date_time_ymd(1970, 1, 1) + Duration::from_nanos(Stamp::now().wall_ns);
    // The clocks of the two hosts may differ.
    params.not_before = now - DAY;
    params.not_after = now + DAY * VALIDITY_DAYS;
    Ok(params)
}
