//! `auralink serve`: media, AI core, REST and store in one process.

mod ai;
mod calls;
mod doors;
mod record;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use auralink_codec::Model;
use auralink_engine::PolicyBook;
use auralink_media::MediaServer;
use auralink_store::{check_url, without_password};
use auralink_token::KeyRing;
use auralink_types::FieldError;
use axum::Router;
use axum::routing::get;
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::config::{DatabaseOptions, GRPC_PORT, HTTP_PORT, ServeConfig, Source, fill};
use crate::control::{Control, installed};
use crate::figures::Figures;
use crate::logging::LogFormat;
use crate::tls::Certificate;
use crate::{development, summary};
use ai::Core;
use calls::Calls;
use doors::Doors;
use record::Record;

/// Time clients get to hear the goodbye and HTTP answers get to finish.
const GRACE: Duration = Duration::from_secs(3);

/// Run the server.
#[derive(Args, Clone, Debug)]
pub struct ServeCommand {
    /// Development: key `devkey`, secret `secret`, loopback, fault injection under /dev
    #[arg(long)]
    dev: bool,
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE", conflicts_with = "dev")]
    config: Option<PathBuf>,
    /// Address of HTTP; port 0 lets the system choose, for media as well
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    #[command(flatten)]
    database: DatabaseOptions,
    /// File with API keys, `key: secret` in a line
    #[arg(long, value_name = "FILE", env = "AURALINK_KEY_FILE")]
    key_file: Option<PathBuf>,
    /// How the log looks
    #[arg(long, value_name = "FORMAT", env = "AURALINK_LOG_FORMAT")]
    log_format: Option<LogFormat>,
}

impl ServeCommand {
    /// File and arguments put together and checked.
    pub fn config(&self) -> Result<ServeConfig, FieldError> {
        let source = self.config.as_deref().map(Source::read).transpose()?;
        let mut config = match (&source, self.dev) {
            (Some(source), _) => source.parse()?,
            (None, true) => ServeConfig::development(),
            (None, false) => ServeConfig::default(),
        };
        let mut overridden = Vec::new();
        if let Some(listen) = &self.listen {
            config.listen = listen.parse().map_err(|_| {
                FieldError::new(
                    "listen",
                    format!("must be an address like 127.0.0.1:7880, got {listen}"),
                )
            })?;
            if self.dev {
                // A second development server must not fight over the first one's media port.
                let port = if config.listen.port() == 0 {
                    0
                } else {
                    config.udp.port()
                };
                config.udp = SocketAddr::new(config.listen.ip(), port);
                if let Some(grpc) = &mut config.grpc {
                    let port = match config.listen.port() {
                        0 => 0,
                        http => http.saturating_add(GRPC_PORT - HTTP_PORT),
                    };
                    grpc.listen = SocketAddr::new(config.listen.ip(), port);
                }
            }
        }
        if let Some(file) = &self.key_file {
            config.key_file = Some(file.clone());
            overridden.push("key_file");
        }
        if let Some(format) = self.log_format {
            config.log_format = format;
        }
        let located = |error: FieldError| match &source {
            Some(source) if !overridden.contains(&error.field.as_str()) => source.locate(error),
            _ => error,
        };
        fill(&mut config, |name| std::env::var(name).ok()).map_err(located)?;
        if let Some(url) = self.database.url()? {
            check_url(&url)?;
            config.database = url;
        }
        config.validate().map_err(located)?;
        Ok(config)
    }
}

/// Runs until SIGTERM or SIGINT, then says goodbye.
pub async fn run(config: ServeConfig) -> anyhow::Result<()> {
    let record = Record::open(&config).await?;
    let keys = Arc::new(KeyRing::new(config.keys.clone()));
    let book = Arc::new(PolicyBook::new());
    let models: Vec<_> = Model::builtin().iter().map(|model| installed(model)).collect();
    let model = models
        .first()
        .map_or("none".to_owned(), |model| model.model_version.clone());
    let control = Control::start(&config, &record.store, &keys, &book, models).await?;
    let certificate = config.tls.as_ref().map(Certificate::load).transpose()?;
    let core = Core::start(&config).await?;
    let open = core.open.clone();
    let mut calls = Calls::start(&config, (&keys, &book), open, control.intake, &record).await?;
    let figures = Figures {
        media: Some(calls.media.clone()),
        writers: Some((record.rows.clone(), record.events.clone())),
        store: Some(record.store.clone()),
        workers: core.workers.clone(),
        queues: std::mem::take(&mut calls.queues),
        token: config.metrics.token.clone(),
    };
    let routes = routes(&config, &calls, &core, control.routes)?;
    let doors = Doors::open(&config, certificate, routes, figures.routes(&model)).await?;

    let mut lines = vec![format!("AuraLink {}", env!("CARGO_PKG_VERSION"))];
    lines.extend([doors.line()?, calls.line()]);
    lines.extend(core.line(&config));
    let (database, users) = (without_password(&config.database), control.follower.users());
    lines.push(format!("  database  {database} ({users} users with AIC)"));
    lines.push(format!("  model     {model}"));
    lines.extend(doors.figures_line()?);
    if config.dev {
        lines.push("  dev       key devkey, secret secret; not for production".to_owned());
    }
    // Whoever reads that it runs may end it at once.
    let terminate = signal(SignalKind::terminate())?;
    summary::print(&lines);

    let (stop, stopped) = watch::channel(());
    let goodbye = async {
        let died = ended_or_died(terminate, &calls.media).await;
        tracing::info!("shutting down: saying goodbye to clients");
        tokio::join!(calls.media.shutdown(GRACE), core.close());
        let _ = stop.send(());
        died
    };
    let ((), died) = tokio::join!(doors.serve(stopped), goodbye);
    calls.close().await;
    drop((control.dispatcher, control.follower));
    record.close().await;
    // Whoever watches over the process starts it again.
    anyhow::ensure!(!died, "a media shard is gone for good");
    Ok(())
}

/// All that is answered, figures not among it.
fn routes(config: &ServeConfig, calls: &Calls, core: &Core, control: Router) -> anyhow::Result<Router> {
    let routes = Router::new()
        .route("/", get(|| async { "AuraLink\n" }))
        .merge(calls.media.router())
        .merge(control);
    let routes = auralink_control::open_to(routes, &config.origins)?;
    Ok(if config.dev {
        routes.merge(development::routes(core.faults(), calls.media.clone()))
    } else {
        routes
    })
}

/// Waits for SIGTERM or SIGINT, or for media to go; whether it was that.
async fn ended_or_died(mut terminate: Signal, media: &MediaServer) -> bool {
    tokio::select! {
        _ = terminate.recv() => false,
        _ = tokio::signal::ctrl_c() => false,
        () = media.gone() => true,
    }
}
