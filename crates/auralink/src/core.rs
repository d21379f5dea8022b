//! `auralink core`: the AI core alone, as a gRPC service.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use auralink_aicore::{GrpcConfig, GrpcServer, Limits, Security, TlsFiles, Workers};
use auralink_types::FieldError;
use clap::Args;
use tokio::runtime::Builder;

use crate::config::{GRPC_PORT, METRICS_TOKEN};
use crate::figures::Figures;
use crate::http::{self, Limits as HttpLimits};
use crate::logging::LogFormat;
use crate::{schedule, signals, summary};

/// Run the AI core alone, for media servers and others that speak gRPC.
#[derive(Args, Clone, Debug)]
pub struct CoreCommand {
    /// Address; port 0 lets the system choose
    #[arg(long, value_name = "ADDR", default_value_t = SocketAddr::from((Ipv4Addr::UNSPECIFIED, GRPC_PORT)))]
    listen: SocketAddr,
    /// Certificate of this core, PEM
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Authority that clients' certificates must come from, PEM
    #[arg(long, value_name = "FILE")]
    client_ca: Option<PathBuf>,
    /// Development: no certificates, on loopback only
    #[arg(long, conflicts_with_all = ["cert", "key", "client_ca"])]
    dev: bool,
    /// Worker threads; 0 for as many as there are cores
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=256))]
    workers: u16,
    /// Sessions in all
    #[arg(long, value_name = "N", default_value_t = Limits::default().sessions)]
    sessions: usize,
    /// Sessions of one tenant of one client
    #[arg(long, value_name = "N", default_value_t = Limits::default().per_tenant)]
    per_tenant: usize,
    /// Sessions of one call
    #[arg(long, value_name = "N", default_value_t = Limits::default().per_call)]
    per_call: usize,
    /// Share of the workers' time, 0 to 1, from which new sessions are refused
    #[arg(long, value_name = "SHARE", default_value_t = Limits::default().load)]
    load: f64,
    /// Seconds that running sessions get to finish after SIGTERM
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=3600))]
    grace: u64,
    /// Address of the figures for Prometheus, at /metrics; AURALINK_METRICS_TOKEN protects them
    #[arg(long, value_name = "ADDR")]
    metrics: Option<SocketAddr>,
    /// How the log looks
    #[arg(
        long,
        value_name = "FORMAT",
        env = "AURALINK_LOG_FORMAT",
        default_value = "text"
    )]
    pub log_format: LogFormat,
}

/// The runtime that gRPC is served on. Its threads do not interrupt the workers whenever a message comes in: on a busy
/// core two changes of threads for each frame cost more than gRPC itself.
pub fn runtime() -> Builder {
    let mut builder = Builder::new_multi_thread();
    builder.on_thread_start(|| {
        if let Err(error) = schedule::never_interrupt() {
            tracing::warn!(%error, "gRPC's threads may interrupt the workers");
        }
    });
    builder
}

impl CoreCommand {
    /// What the server is told, checked.
    pub fn config(&self) -> Result<GrpcConfig, FieldError> {
        if !(0.0..=1.0).contains(&self.load) {
            return Err(FieldError::new(
                "load",
                format!("must be 0 to 1, got {}", self.load),
            ));
        }
        let security = match (&self.cert, &self.key, &self.client_ca) {
            (Some(cert), Some(key), Some(ca)) => Security::Mutual(TlsFiles {
                cert: cert.clone(),
                key: key.clone(),
                ca: ca.clone(),
            }),
            (None, None, None) if self.dev => Security::Loopback,
            _ => {
                let problem = "cert, key and client-ca are needed together (or --dev, on loopback)";
                return Err(FieldError::new("cert", problem));
            }
        };
        let mut listen = self.listen;
        if security == Security::Loopback {
            if listen.ip().is_unspecified() {
                listen.set_ip(Ipv4Addr::LOCALHOST.into());
            }
            if !listen.ip().is_loopback() {
                let problem = format!("must be on loopback with --dev, got {listen}");
                return Err(FieldError::new("listen", problem));
            }
        }
        Ok(GrpcConfig {
            listen,
            security,
            limits: Limits {
                sessions: self.sessions,
                per_tenant: self.per_tenant,
                per_call: self.per_call,
                load: self.load,
            },
        })
    }
}

/// Runs until SIGTERM or SIGINT, then drains.
pub async fn run(command: CoreCommand, config: GrpcConfig) -> anyhow::Result<()> {
    let count = match command.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        wanted => wanted.into(),
    };
    let workers = Workers::start(count);
    let server = GrpcServer::start(&config, &workers).await.context("grpc")?;
    let mut lines = vec![
        format!("AuraLink core {}", env!("CARGO_PKG_VERSION")),
        format!("  grpc      {}", describe(&server, &config.security)),
        format!("  workers   {count}"),
    ];
    if let Some(address) = command.metrics {
        let listener = http::bind("metrics", address).await?;
        lines.push(format!("  metrics   http://{}/metrics", listener.local_addr()?));
        let figures = Figures {
            workers: Some(workers),
            token: std::env::var(METRICS_TOKEN).ok(),
            ..Figures::default()
        };
        let routes = figures.routes("none");
        tokio::spawn(http::serve(
            listener,
            None,
            routes,
            HttpLimits::few(),
            std::future::pending(),
            Duration::ZERO,
        ));
    }
    summary::print(&lines);
    signals::ended().await?;
    tracing::info!("shutting down: running sessions may finish");
    server.shutdown(Duration::from_secs(command.grace)).await;
    Ok(())
}

/// Address and security in one line.
pub fn describe(server: &GrpcServer, security: &Security) -> String {
    let security = match security {
        Security::Loopback => "not encrypted, loopback only",
        Security::Mutual(_) => "TLS, clients by certificate",
    };
    format!("{} ({security})", server.local_addr())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        command: CoreCommand,
    }

    fn config(arguments: &[&str]) -> Result<GrpcConfig, FieldError> {
        let line = std::iter::once(&"core").chain(arguments);
        Line::parse_from(line).command.config()
    }

    #[test]
    fn a_core_without_certificates_stays_on_loopback_and_has_to_be_asked_for() {
        assert_eq!(config(&[]).unwrap_err().field, "cert");
        assert_eq!(config(&["--cert", "a", "--key", "b"]).unwrap_err().field, "cert");
        let dev = config(&["--dev"]).unwrap();
        assert!(dev.listen.ip().is_loopback() && dev.security == Security::Loopback);
        let far = config(&["--dev", "--listen", "10.0.0.1:7883"]);
        assert_eq!(far.unwrap_err().field, "listen");
        let tls = config(&["--cert", "a", "--key", "b", "--client-ca", "c"]).unwrap();
        assert_eq!(tls.listen, "0.0.0.0:7883".parse().unwrap());
        assert!(matches!(tls.security, Security::Mutual(_)));
        assert_eq!(config(&["--dev", "--load", "1.5"]).unwrap_err().field, "load");
    }
}
