//! The server's one configuration: a TOML file, overridden by arguments, checked whole. docs/configuration.md tells of
//! every field, which a test here sees to.

#[cfg(test)]
mod reference;
mod secret;
mod source;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use auralink_aicore::{RemoteConfig, Security, TlsFiles};
use auralink_control::{AlertRules, RateLimit, check_origins};
use auralink_media::{RoomRules, TenantLimits};
use auralink_store::{Retention, StoreOptions, check_url};
use auralink_types::{FieldError, check_name};
use serde::Deserialize;

use crate::logging::LogFormat;

pub use secret::{DatabaseOptions, METRICS_TOKEN, fill};
pub use source::Source;

/// Shortest secret accepted outside development.
const SECRET_MIN: usize = 16;

/// Port of HTTP.
pub const HTTP_PORT: u16 = 7880;

/// Port of gRPC.
pub const GRPC_PORT: u16 = 7883;

/// gRPC of the AI core in this process.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrpcSettings {
    /// Its address.
    #[serde(default = "GrpcSettings::listen")]
    pub listen: SocketAddr,
    /// Certificate of the core, PEM.
    pub cert: Option<PathBuf>,
    /// Its key, PEM.
    pub key: Option<PathBuf>,
    /// Authority that clients' certificates must come from, PEM.
    pub client_ca: Option<PathBuf>,
}

impl GrpcSettings {
    fn listen() -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), GRPC_PORT)
    }

    /// Who may call.
    pub fn security(&self) -> Result<Security, FieldError> {
        match (&self.cert, &self.key, &self.client_ca) {
            (Some(cert), Some(key), Some(ca)) => Ok(Security::Mutual(TlsFiles {
                cert: cert.clone(),
                key: key.clone(),
                ca: ca.clone(),
            })),
            (None, None, None) if self.listen.ip().is_loopback() => Ok(Security::Loopback),
            (None, None, None) => Err(FieldError::new(
                "grpc.listen",
                format!(
                    "must be on loopback without cert, key and client_ca, got {}",
                    self.listen
                ),
            )),
            _ => Err(FieldError::new(
                "grpc.cert",
                "cert, key and client_ca are needed together",
            )),
        }
    }
}

/// Encryption of HTTP and WebSockets; both files are read again when they change.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// Certificate and what leads from it to its authority, PEM.
    pub cert: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
}

/// Who reads the figures for Prometheus, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsSettings {
    /// An address of their own; `/metrics` of `listen` where this is left out.
    pub listen: Option<SocketAddr>,
    /// What a scrape has to bring as `Authorization: Bearer`.
    pub token: Option<String>,
    /// File that holds this token and nothing else.
    pub token_file: Option<PathBuf>,
}

/// Everything the server is told.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServeConfig {
    /// Address of HTTP, WebSocket and REST.
    pub listen: SocketAddr,
    /// Address of the one UDP port for all media.
    pub udp: SocketAddr,
    /// Shards of the media server, each a thread that has some of the rooms; 0 for one per processor.
    pub workers: usize,
    /// People of one room on one shard from which on the next ones come to another; 0 for never.
    pub split_rooms_at: usize,
    /// Addresses told to clients; empty for those of this machine.
    pub advertised: Vec<IpAddr>,
    /// API keys and their secrets.
    pub keys: BTreeMap<String, String>,
    /// File with more of them, `key: secret` in a line.
    pub key_file: Option<PathBuf>,
    /// Encryption of HTTP, WebSocket and REST; plain where this is left out.
    pub tls: Option<TlsSettings>,
    /// `memory`, a file, a `sqlite:` URL or a `postgres:` URL.
    pub database: String,
    /// File that holds this and nothing else, for a URL with a password.
    pub database_file: Option<PathBuf>,
    /// Connections to PostgreSQL at a time.
    pub database_connections: u32,
    /// How long rows are kept.
    pub retention: Retention,
    /// Worker threads of the AI core; 0 for one fewer than there are cores, at least one.
    pub ai_workers: usize,
    /// Dollars for one gigabyte of egress.
    pub price_per_gb: f64,
    /// gRPC of the AI core; not served where this is left out.
    pub grpc: Option<GrpcSettings>,
    /// The AI core, where it is in another process (`auralink media`).
    #[serde(skip)]
    pub core: Option<RemoteConfig>,
    /// REST requests a second that one caller may make for as long as he likes.
    pub rest_per_second: u32,
    /// REST requests at once after a pause.
    pub rest_burst: u32,
    /// Origins of the pages that may call REST and signalling from a browser; `*` for all.
    pub origins: Vec<String>,
    /// Webhooks may be sent to loopback, private and other addresses that are not public.
    pub webhook_private_addresses: bool,
    /// When to raise alerts.
    pub alerts: AlertRules,
    /// How many participants a tenant may have, and how fast they may come.
    pub tenant_limits: TenantLimits,
    /// What may be done to rooms.
    pub rooms: RoomRules,
    /// Who reads the figures for Prometheus, and where.
    pub metrics: MetricsSettings,
    /// `text` or `json`.
    pub log_format: LogFormat,
    /// Development: well-known keys and fault injection.
    #[serde(skip)]
    pub dev: bool,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), HTTP_PORT),
            udp: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 7882),
            workers: 0,
            split_rooms_at: 400,
            advertised: Vec::new(),
            keys: BTreeMap::new(),
            key_file: None,
            tls: None,
            database: "auralink.db".into(),
            database_file: None,
            database_connections: StoreOptions::default().connections,
            retention: Retention::default(),
            ai_workers: 0,
            price_per_gb: 0.09,
            grpc: None,
            core: None,
            rest_per_second: RateLimit::default().per_second,
            rest_burst: RateLimit::default().burst,
            origins: vec!["*".into()],
            webhook_private_addresses: false,
            alerts: AlertRules::default(),
            tenant_limits: TenantLimits::default(),
            rooms: RoomRules::default(),
            metrics: MetricsSettings::default(),
            log_format: LogFormat::default(),
            dev: false,
        }
    }
}

impl ServeConfig {
    /// What development starts from: loopback, key `devkey`, secret `secret`.
    pub fn development() -> Self {
        let loopback = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        Self {
            listen: loopback(HTTP_PORT),
            udp: loopback(7882),
            grpc: Some(GrpcSettings {
                listen: loopback(GRPC_PORT),
                cert: None,
                key: None,
                client_ca: None,
            }),
            keys: BTreeMap::from([("devkey".into(), "secret".into())]),
            webhook_private_addresses: true,
            dev: true,
            ..Self::default()
        }
    }

    /// Checks what types cannot say.
    pub fn validate(&self) -> Result<(), FieldError> {
        if self.keys.is_empty() {
            return Err(FieldError::new(
                "keys",
                "at least one API key with its secret is needed (or --dev)",
            ));
        }
        for (key, secret) in &self.keys {
            check_name("keys", key)?;
            let field = format!("keys.{key}");
            if !self.dev && secret.len() < SECRET_MIN {
                let problem = format!("the secret must have at least {SECRET_MIN} characters");
                return Err(FieldError::new(field, problem));
            }
        }
        if !self.price_per_gb.is_finite() || self.price_per_gb < 0.0 {
            let problem = format!("must be zero or more, got {}", self.price_per_gb);
            return Err(FieldError::new("price_per_gb", problem));
        }
        for (field, threads) in [("workers", self.workers), ("ai_workers", self.ai_workers)] {
            if threads > 256 {
                let problem = format!("must be 0 to 256, got {threads}");
                return Err(FieldError::new(field, problem));
            }
        }
        for address in &self.advertised {
            if address.is_unspecified() || (address.is_ipv6() && self.udp.is_ipv4()) {
                let problem = format!("clients cannot reach {} at {address}", self.udp);
                return Err(FieldError::new("advertised", problem));
            }
        }
        if let Some(grpc) = &self.grpc {
            grpc.security()?;
        }
        for (field, count) in [
            ("rest_per_second", self.rest_per_second),
            ("rest_burst", self.rest_burst),
        ] {
            if !(1..=1_000_000).contains(&count) {
                return Err(FieldError::new(
                    field,
                    format!("must be 1 to 1000000, got {count}"),
                ));
            }
        }
        check_origins(&self.origins)?;
        self.alerts.validate()?;
        check_url(&self.database)?;
        if self.metrics.token.as_ref().is_some_and(String::is_empty) {
            return Err(FieldError::new("metrics.token", "must not be empty"));
        }
        if !(1..=1000).contains(&self.database_connections) {
            let problem = format!("must be 1 to 1000, got {}", self.database_connections);
            return Err(FieldError::new("database_connections", problem));
        }
        self.retention
            .validate()
            .map_err(|error| FieldError::new(format!("retention.{}", error.field), error.problem))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: &str = "[keys]\nk = \"a secret long enough\"\n";

    fn read(text: &str) -> Result<ServeConfig, FieldError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Source::read(file.path()).unwrap().parse()
    }

    fn refused(text: &str) -> String {
        read(text).and_then(|config| config.validate()).unwrap_err().field
    }

    #[test]
    fn a_file_needs_nothing_but_keys() {
        let config = read(KEYS).unwrap();
        config.validate().unwrap();
        assert_eq!(config.listen.port(), 7880);
    }

    #[test]
    fn every_mistake_is_named_by_its_field() {
        assert_eq!(refused(""), "keys");
        assert_eq!(refused("[keys]\nk = \"short\""), "keys.k");
        assert_eq!(refused("[keys]\n\"\" = \"a secret long enough\""), "keys");
        assert_eq!(refused("[keys]\n\"a\\nb\" = \"a secret long enough\""), "keys");
        assert_eq!(refused(&format!("listen = \"nowhere\"\n{KEYS}")), "listen");
        assert_eq!(refused(&format!("price_per_gb = nan\n{KEYS}")), "price_per_gb");
        assert_eq!(refused(&format!("ai_workers = -1\n{KEYS}")), "ai_workers");
        assert_eq!(refused(&format!("ai_workers = 1000\n{KEYS}")), "ai_workers");
        assert_eq!(refused(&format!("workers = 257\n{KEYS}")), "workers");
        assert_eq!(refused(&format!("rest_burst = 0\n{KEYS}")), "rest_burst");
        let origins = format!("origins = [\"https://app.example\", \"app.example\"]\n{KEYS}");
        assert_eq!(refused(&origins), "origins[1]");
        for address in ["0.0.0.0", "2001:db8::7", "example.com"] {
            let refused = refused(&format!("advertised = [\"{address}\"]\n{KEYS}"));
            assert!(refused.starts_with("advertised"), "{refused}");
        }
        assert_eq!(
            refused(&format!("{KEYS}[alerts]\nquality = 2.0")),
            "alerts.quality"
        );
        assert!(
            read(&format!("colour = 1\n{KEYS}"))
                .unwrap_err()
                .problem
                .contains("colour")
        );
        assert_eq!(refused("listen = "), "config");
        assert_eq!(
            refused(&format!("database_connections = 0\n{KEYS}")),
            "database_connections"
        );
        let retention = |line: &str| refused(&format!("{KEYS}[retention]\n{line}"));
        assert_eq!(retention("metrics_days = 0"), "retention.metrics_days");
        assert_eq!(retention("audit_days = \"long\""), "retention.audit_days");
        assert_eq!(refused(&format!("{KEYS}[grpc]\n")), "grpc.listen");
        let half = format!("{KEYS}[grpc]\nlisten = \"127.0.0.1:7883\"\ncert = \"a\"");
        assert_eq!(refused(&half), "grpc.cert");
        assert_eq!(
            refused(&format!("database = \"postgress:foo\"\n{KEYS}")),
            "database"
        );
        assert_eq!(refused(&format!("log_format = \"xml\"\n{KEYS}")), "log_format");
        assert_eq!(refused(&format!("{KEYS}[tls]\ncert = \"a\"")), "tls");
        assert_eq!(
            refused(&format!("{KEYS}[metrics]\ntoken = \"\"")),
            "metrics.token"
        );
        let limits = format!("{KEYS}[tenant_limits]\nparticipants = -1");
        assert_eq!(refused(&limits), "tenant_limits.participants");
    }

    #[test]
    fn development_needs_no_configuration() {
        ServeConfig::development().validate().unwrap();
    }
}
