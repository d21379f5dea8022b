//! The server's one configuration: a TOML file, overridden by arguments, checked whole.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use auralink_aicore::{RemoteConfig, Security, TlsFiles};
use auralink_control::{AlertRules, RateLimit, check_origins};
use auralink_store::{Retention, StoreOptions};
use auralink_types::FieldError;
use serde::Deserialize;

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

/// Everything the server is told.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServeConfig {
    /// Address of HTTP, WebSocket and REST.
    pub listen: SocketAddr,
    /// Address of the one UDP socket for all media.
    pub udp: SocketAddr,
    /// Addresses told to clients; empty for those of this machine.
    pub advertised: Vec<IpAddr>,
    /// API keys and their secrets.
    pub keys: BTreeMap<String, String>,
    /// `memory`, a file, a `sqlite:` URL or a `postgres:` URL.
    pub database: String,
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
    /// Development: well-known keys and fault injection.
    #[serde(skip)]
    pub dev: bool,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), HTTP_PORT),
            udp: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 7882),
            advertised: Vec::new(),
            keys: BTreeMap::new(),
            database: "auralink.db".into(),
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

    /// Reads a file over `self`.
    pub fn read(path: &Path) -> Result<Self, FieldError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| FieldError::new("config", format!("cannot read {}: {error}", path.display())))?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self, FieldError> {
        let table: toml::Table = text
            .parse()
            .map_err(|error: toml::de::Error| FieldError::new("config", error.message()))?;
        serde_path_to_error::deserialize(table).map_err(|error| {
            let field = match error.path().to_string() {
                path if path == "." => "config".to_owned(),
                path => path,
            };
            FieldError::new(field, error.inner().message())
        })
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
            let field = format!("keys.{key}");
            if key.is_empty() {
                return Err(FieldError::new("keys", "an API key must not be empty"));
            }
            if !self.dev && secret.len() < SECRET_MIN {
                let problem = format!("the secret must have at least {SECRET_MIN} characters");
                return Err(FieldError::new(field, problem));
            }
        }
        if !self.price_per_gb.is_finite() || self.price_per_gb < 0.0 {
            let problem = format!("must be zero or more, got {}", self.price_per_gb);
            return Err(FieldError::new("price_per_gb", problem));
        }
        if self.ai_workers > 256 {
            return Err(FieldError::new(
                "ai_workers",
                format!("must be 0 to 256, got {}", self.ai_workers),
            ));
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
        if self.database.is_empty() {
            return Err(FieldError::new("database", "must not be empty"));
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

    fn refused(text: &str) -> String {
        ServeConfig::parse(text)
            .and_then(|config| config.validate())
            .unwrap_err()
            .field
    }

    #[test]
    fn a_file_needs_nothing_but_keys() {
        let config = ServeConfig::parse(KEYS).unwrap();
        config.validate().unwrap();
        assert_eq!(config.listen.port(), 7880);
    }

    #[test]
    fn every_mistake_is_named_by_its_field() {
        assert_eq!(refused(""), "keys");
        assert_eq!(refused("[keys]\nk = \"short\""), "keys.k");
        assert_eq!(refused(&format!("listen = \"nowhere\"\n{KEYS}")), "listen");
        assert_eq!(refused(&format!("price_per_gb = nan\n{KEYS}")), "price_per_gb");
        assert_eq!(refused(&format!("ai_workers = -1\n{KEYS}")), "ai_workers");
        assert_eq!(refused(&format!("ai_workers = 1000\n{KEYS}")), "ai_workers");
        assert_eq!(refused(&format!("rest_burst = 0\n{KEYS}")), "rest_burst");
        let origins = format!("origins = [\"https://app.example\", \"app.example\"]\n{KEYS}");
        assert_eq!(refused(&origins), "origins[1]");
        assert_eq!(
            refused(&format!("{KEYS}[alerts]\nquality = 2.0")),
            "alerts.quality"
        );
        assert!(
            ServeConfig::parse(&format!("colour = 1\n{KEYS}"))
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
    }

    #[test]
    fn development_needs_no_configuration() {
        ServeConfig::development().validate().unwrap();
    }
}
