//! Certificates from files, for both ends; and certificates for development.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

/// Life of certificates for development, in days.
const DAYS: u32 = 365;

/// Paths of one end's certificate, its key, and the authority that the other end's certificate must come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Own certificate, PEM.
    pub cert: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Authority of the other end, PEM.
    pub ca: PathBuf,
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}: {source}")]
pub struct TlsFileError {
    /// The file.
    pub path: PathBuf,
    /// What the system says.
    pub source: std::io::Error,
}

impl TlsFiles {
    pub(crate) fn server(&self) -> Result<ServerTlsConfig, TlsFileError> {
        Ok(ServerTlsConfig::new()
            .identity(Identity::from_pem(read(&self.cert)?, read(&self.key)?))
            .client_ca_root(Certificate::from_pem(read(&self.ca)?)))
    }

    pub(crate) fn client(&self) -> Result<ClientTlsConfig, TlsFileError> {
        Ok(ClientTlsConfig::new()
            .identity(Identity::from_pem(read(&self.cert)?, read(&self.key)?))
            .ca_certificate(Certificate::from_pem(read(&self.ca)?)))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsFileError> {
    std::fs::read(path).map_err(|source| TlsFileError {
        path: path.to_owned(),
        source,
    })
}

/// A certificate with its key, PEM.
#[derive(Clone, Debug)]
pub struct Certified {
    /// The certificate.
    pub cert: String,
    /// The key.
    pub key: String,
}

/// An authority with a server's and a client's certificate: for development, never for production.
#[derive(Clone, Debug)]
pub struct DevCertificates {
    /// The authority.
    pub ca: Certified,
    /// For the core, valid for the names asked for.
    pub server: Certified,
    /// For a media server; its name is the peer's name.
    pub client: Certified,
}

impl DevCertificates {
    /// Makes all three. `names` are DNS names and IP addresses of the server, `client` is the client's name.
    pub fn make(names: &[String], client: &str) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        dated(&mut params);
        params
            .distinguished_name
            .push(DnType::CommonName, "AuraLink development CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let cert = params.self_signed(&key)?.pem();
        let ca = Certified {
            cert,
            key: key.serialize_pem(),
        };
        let issuer = Issuer::new(params, key);
        let server = leaf(
            &issuer,
            "auralink-core",
            names.to_vec(),
            ExtendedKeyUsagePurpose::ServerAuth,
        )?;
        let client = leaf(
            &issuer,
            client,
            vec![client.to_owned()],
            ExtendedKeyUsagePurpose::ClientAuth,
        )?;
        Ok(Self { ca, server, client })
    }
}

fn leaf(
    issuer: &Issuer<'_, KeyPair>,
    name: &str,
    names: Vec<String>,
    usage: ExtendedKeyUsagePurpose,
) -> Result<Certified, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names)?;
    dated(&mut params);
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    Ok(Certified {
        cert: params.signed_by(&key, issuer)?.pem(),
        key: key.serialize_pem(),
    })
}

fn dated(params: &mut CertificateParams) {
    let now = std::time::SystemTime::now();
    let day = std::time::Duration::from_secs(24 * 3_600);
    // A day back, for clocks that are not quite the same.
    params.not_before = (now - day).into();
    params.not_after = (now + day * DAYS).into();
}
