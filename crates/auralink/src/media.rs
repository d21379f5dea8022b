//! `auralink media`: everything that `serve` does, with the AI core in another process.

use std::path::PathBuf;

use auralink_aicore::{RemoteConfig, TlsFiles};
use auralink_types::FieldError;
use clap::Args;

use crate::config::ServeConfig;
use crate::serve::ServeCommand;

/// Run signalling, media, REST and store here, with the AI core elsewhere.
#[derive(Args, Clone, Debug)]
pub struct MediaCommand {
    #[command(flatten)]
    serve: ServeCommand,
    /// The core: `https://host:port`, or `http://` on loopback
    #[arg(long, value_name = "URL")]
    core: String,
    /// Certificate of this server, PEM
    #[arg(long, value_name = "FILE")]
    core_cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE")]
    core_key: Option<PathBuf>,
    /// Authority that the core's certificate must come from, PEM
    #[arg(long, value_name = "FILE")]
    core_ca: Option<PathBuf>,
}

impl MediaCommand {
    /// File and arguments put together and checked.
    pub fn config(&self) -> Result<ServeConfig, FieldError> {
        let tls = match (&self.core_cert, &self.core_key, &self.core_ca) {
            (Some(cert), Some(key), Some(ca)) => Some(TlsFiles {
                cert: cert.clone(),
                key: key.clone(),
                ca: ca.clone(),
            }),
            (None, None, None) => None,
            _ => {
                let problem = "core-cert, core-key and core-ca are needed together";
                return Err(FieldError::new("core-cert", problem));
            }
        };
        let mut config = self.serve.config()?;
        config.core = Some(RemoteConfig {
            url: self.core.clone(),
            tls,
        });
        config.grpc = None;
        Ok(config)
    }
}
