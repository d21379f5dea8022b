//! Encryption of HTTP: a certificate and its key from files, read again when those change.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use auralink_types::FieldError;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use crate::config::TlsSettings;

/// How often it is looked whether the files have changed. Their authorities renew them weeks ahead.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What HTTP shows its clients.
#[derive(Debug)]
pub struct Certificate {
    settings: TlsSettings,
    provider: Arc<CryptoProvider>,
    current: RwLock<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    /// What the files held.
    files: [Vec<u8>; 2],
    key: Arc<CertifiedKey>,
}

impl Certificate {
    /// Reads both files.
    pub fn load(settings: &TlsSettings) -> Result<Arc<Self>, FieldError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let loaded = read(&provider, files(settings)?)?;
        Ok(Arc::new(Self {
            settings: settings.clone(),
            provider,
            current: RwLock::new(loaded),
        }))
    }

    /// What turns a connection into an encrypted one.
    pub fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, FieldError> {
        let versions = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| FieldError::new("tls", error.to_string()))?;
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Self>::clone(self);
        let mut config = versions.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Watches the files for as long as it is polled. What cannot be used leaves the old certificate in force.
    pub async fn watch(&self) {
        let mut told = None;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            match self.look() {
                Ok(true) => {
                    tracing::info!(cert = %self.settings.cert.display(), "a new certificate is in force")
                }
                Ok(false) => {}
                // Half of a change may be there; it is told once and tried again.
                Err(error) if told.as_ref() != Some(&error) => {
                    tracing::warn!(%error, "the old certificate stays in force");
                    told = Some(error);
                    continue;
                }
                Err(_) => continue,
            }
            told = None;
        }
    }

    /// Whether there was a new one.
    fn look(&self) -> Result<bool, FieldError> {
        let files = files(&self.settings)?;
        if self.current.read().unwrap_or_else(PoisonError::into_inner).files == files {
            return Ok(false);
        }
        let loaded = read(&self.provider, files)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(true)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current.key))
    }
}

fn files(settings: &TlsSettings) -> Result<[Vec<u8>; 2], FieldError> {
    let file = |field: &str, path: &Path| {
        std::fs::read(path)
            .map_err(|error| FieldError::new(field, format!("cannot read {}: {error}", path.display())))
    };
    Ok([file("tls.cert", &settings.cert)?, file("tls.key", &settings.key)?])
}

fn read(provider: &CryptoProvider, files: [Vec<u8>; 2]) -> Result<Loaded, FieldError> {
    let [cert, key] = &files;
    let chain = CertificateDer::pem_slice_iter(cert)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| FieldError::new("tls.cert", format!("is no PEM: {error}")))?;
    if chain.is_empty() {
        return Err(FieldError::new("tls.cert", "holds no certificate"));
    }
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| FieldError::new("tls.key", format!("holds no key: {error}")))?;
    let key = CertifiedKey::from_der(chain, key, provider).map_err(|error| {
        let problem = match error {
            rustls::Error::InconsistentKeys(_) => "belongs to another certificate".into(),
            other => other.to_string(),
        };
        FieldError::new("tls.key", problem)
    })?;
    Ok(Loaded {
        files,
        key: Arc::new(key),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use auralink_aicore::DevCertificates;

    fn made() -> DevCertificates {
        DevCertificates::make(&["localhost".into()], "client").unwrap()
    }

    fn settings(folder: &Path) -> TlsSettings {
        TlsSettings {
            cert: folder.join("cert.pem"),
            key: folder.join("key.pem"),
        }
    }

    #[test]
    fn a_changed_certificate_is_taken_once_its_key_is_there_too() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        let (old, new) = (made().server, made().server);
        std::fs::write(&settings.cert, &old.cert).unwrap();
        std::fs::write(&settings.key, &old.key).unwrap();
        let certificate = Certificate::load(&settings).unwrap();
        let shown = || certificate.current.read().unwrap().key.cert[0].clone();
        let first = shown();
        assert_eq!(certificate.look(), Ok(false));

        std::fs::write(&settings.cert, &new.cert).unwrap();
        assert_eq!(certificate.look().unwrap_err().field, "tls.key");
        assert_eq!(shown(), first, "half of a change changes nothing");
        std::fs::write(&settings.key, &new.key).unwrap();
        assert_eq!(certificate.look(), Ok(true));
        assert_ne!(shown(), first);
        std::fs::remove_file(&settings.key).unwrap();
        assert_eq!(certificate.look().unwrap_err().field, "tls.key");
    }

    #[test]
    fn what_cannot_be_used_is_named_by_its_field() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        let made = made();
        let refused = |cert: &str, key: &str| {
            std::fs::write(&settings.cert, cert).unwrap();
            std::fs::write(&settings.key, key).unwrap();
            Certificate::load(&settings).unwrap_err().field
        };
        assert_eq!(refused("", &made.server.key), "tls.cert");
        assert_eq!(refused(&made.server.key, &made.server.key), "tls.cert");
        assert_eq!(refused(&made.server.cert, ""), "tls.key");
        assert_eq!(refused(&made.server.cert, &made.client.key), "tls.key");
        std::fs::remove_file(&settings.cert).unwrap();
        assert_eq!(Certificate::load(&settings).unwrap_err().field, "tls.cert");
    }
}
