//! Whose certificates a server's TLS is checked against.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// Why a file of certificate authorities is of no use.
#[derive(Debug, thiserror::Error)]
#[error("certificate authorities {path}: {problem}")]
pub struct TrustError {
    path: PathBuf,
    problem: String,
}

/// TLS settings that trust the web's certificate authorities and those of the PEM file `more`.
pub(crate) fn tls(more: Option<&Path>) -> Result<Arc<ClientConfig>, TrustError> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    if let Some(path) = more {
        let refuse = |problem: String| TrustError {
            path: path.to_owned(),
            problem,
        };
        let web = roots.len();
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| refuse(error.to_string()))? {
            let certificate = certificate.map_err(|error| refuse(error.to_string()))?;
            roots
                .add(certificate)
                .map_err(|error| refuse(error.to_string()))?;
        }
        if roots.len() == web {
            return Err(refuse("there is no certificate in it".to_owned()));
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(Arc::new(
        ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(rustls::DEFAULT_VERSIONS)
            .expect("the provider has suites for the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_authorities_that_is_none_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("authorities.pem");
        let absent = tls(Some(&path)).unwrap_err().to_string();
        assert!(absent.contains("authorities.pem"), "{absent}");
        std::fs::write(&path, "no certificate").unwrap();
        let empty = tls(Some(&path)).unwrap_err().to_string();
        assert!(empty.contains("no certificate in it"), "{empty}");
    }
}
