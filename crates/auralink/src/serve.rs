//! `auralink serve`: media, AI core, REST and store in one process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use auralink_aicore::{GrpcConfig, GrpcServer, LocalCore, RemoteCore, Security, Workers};
use auralink_codec::Model;
use auralink_engine::PolicyBook;
use auralink_media::{Ai, EVENTS, MediaConfig, MediaServer, OpenCore, ROWS};
use auralink_store::{
    EventWriter, Housekeeping, Lease, MetricWriter, Store, StoreOptions, check_url, without_password,
};
use auralink_token::KeyRing;
use auralink_types::FieldError;
use axum::Router;
use axum::routing::get;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::config::{DatabaseOptions, GRPC_PORT, GrpcSettings, HTTP_PORT, ServeConfig, Source, fill};
use crate::control::{Control, installed};
use crate::core::describe;
use crate::figures::{Figures, Queue};
use crate::http::{self, Limits};
use crate::logging::LogFormat;
use crate::tls::Certificate;
use crate::{books, development, summary};

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
    let database = without_password(&config.database);
    let options = StoreOptions {
        connections: config.database_connections,
    };
    let store = Store::open_with(&config.database, &options)
        .await
        .with_context(|| format!("database: cannot open {database}"))?;
    let _housekeeping = Housekeeping::start(store.clone(), config.retention);
    let lease = Lease::start(&store)
        .await
        .context("database: cannot take a lease")?;
    let writer = MetricWriter::start(store.clone());
    let book = Arc::new(PolicyBook::new());
    let keys = Arc::new(KeyRing::new(config.keys.clone()));
    let model = Model::builtin();
    let models: Vec<_> = model.iter().map(|model| installed(model)).collect();
    let model_version = models
        .first()
        .map_or("none", |model| model.model_version.as_str())
        .to_owned();
    let control = Control::start(&config, &store, &keys, &book, models).await?;
    let media_config = MediaConfig {
        udp: config.udp,
        workers: config.workers,
        split_at: config.split_rooms_at,
        advertised: config.advertised.clone(),
        keys: keys.clone(),
        limits: config.tenant_limits,
        rooms: config.rooms,
    };
    let certificate = config.tls.as_ref().map(Certificate::load).transpose()?;
    let (core, workers) = core(&config);
    let faults = workers.as_ref().map(Workers::faults).unwrap_or_default();
    let grpc = match (&config.grpc, &workers) {
        (Some(settings), Some(workers)) => Some(grpc(settings, workers).await?),
        _ => None,
    };
    let (rows, row_receiver) = mpsc::channel(ROWS);
    let (events, event_receiver) = mpsc::channel(EVENTS);
    let queues = vec![
        Queue::of("rows", rows.downgrade()),
        Queue::of("events", events.downgrade()),
    ];
    let ai = Ai {
        core,
        book: book.clone(),
        rows,
        events,
    };
    let media = Arc::new(MediaServer::start_with(media_config, ai).await.context("media")?);
    let record = EventWriter::start(store.clone());
    let mut books = tokio::spawn(books::keep(
        writer.clone(),
        record.clone(),
        control.intake,
        row_receiver,
        event_receiver,
    ));

    let figures = Figures {
        media: Some(media.clone()),
        writers: Some((writer.clone(), record.clone())),
        store: Some(store.clone()),
        workers,
        queues,
        token: config.metrics.token.clone(),
    };
    let figures = figures.routes(&model_version);
    let routes = Router::new()
        .route("/", get(|| async { "AuraLink\n" }))
        .merge(media.router())
        .merge(control.routes);
    let mut routes = auralink_control::open_to(routes, &config.origins)?;
    if config.dev {
        routes = routes.merge(development::routes(faults, media.clone()));
    }
    let figures = match config.metrics.listen {
        Some(address) => Some((http::bind("metrics.listen", address).await?, figures)),
        None => {
            routes = routes.merge(figures);
            None
        }
    };
    let tls = certificate.as_ref().map(Certificate::acceptor).transpose()?;
    if let Some(certificate) = certificate {
        tokio::spawn(async move { certificate.watch().await });
    }

    let listener = http::bind("listen", config.listen).await?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut lines = vec![
        format!("AuraLink {}", env!("CARGO_PKG_VERSION")),
        format!(
            "  http      {scheme}://{} (signalling, REST)",
            listener.local_addr()?
        ),
        format!(
            "  media     udp {} ({} shards)",
            media.local_udp_addr(),
            media.shards()
        ),
    ];
    match (&grpc, &config.core) {
        (Some((server, security)), _) => lines.push(format!("  grpc      {}", describe(server, security))),
        (None, Some(core)) => lines.push(format!("  AI core   at {}", core.url)),
        (None, None) => {}
    }
    lines.push(format!(
        "  database  {database} ({} users with AIC)",
        control.follower.users()
    ));
    lines.push(format!("  model     {model_version}"));
    if let Some((listener, _)) = &figures {
        lines.push(format!("  metrics   http://{}/metrics", listener.local_addr()?));
    }
    if config.dev {
        lines.push("  dev       key devkey, secret secret; not for production".to_owned());
    }
    // Whoever reads that it runs may end it at once.
    let mut terminate = signal(SignalKind::terminate())?;
    summary::print(&lines);

    let (stop, stopped) = watch::channel(());
    let stopping = || {
        let mut stopped = stopped.clone();
        async move {
            // Sent, or dropped with the server itself: it ends either way.
            let _ = stopped.changed().await;
        }
    };
    let serving = http::serve(listener, tls, routes, Limits::default(), stopping(), GRACE);
    let showing = async {
        if let Some((listener, routes)) = figures {
            http::serve(listener, None, routes, Limits::few(), stopping(), GRACE).await;
        }
    };
    let goodbye = async {
        let died = tokio::select! {
            _ = terminate.recv() => false,
            _ = tokio::signal::ctrl_c() => false,
            () = media.gone() => true,
        };
        tracing::info!("shutting down: saying goodbye to clients");
        let leaving = async {
            if let Some((server, _)) = grpc {
                server.shutdown(GRACE).await;
            }
        };
        tokio::join!(media.shutdown(GRACE), leaving);
        let _ = stop.send(());
        died
    };
    let ((), (), died) = tokio::join!(serving, showing, goodbye);
    // Calls have ended and said so; the books close when media lets go of them.
    drop(media);
    if tokio::time::timeout(GRACE, &mut books).await.is_err() {
        tracing::warn!("the last rows and events were not stored in time");
        books.abort();
    }
    drop((control.dispatcher, control.follower));
    writer.flush().await;
    record.flush().await;
    if let Err(error) = lease.end().await {
        tracing::warn!(%error, "the server's lease was not given back");
    }
    store.close().await;
    // Whoever watches over the process starts it again.
    anyhow::ensure!(!died, "a media shard is gone for good");
    Ok(())
}

/// How shards reach the AI core, and its workers where it is in this process.
fn core(config: &ServeConfig) -> (OpenCore, Option<Workers>) {
    if let Some(core) = config.core.clone() {
        // Connections are kept by this runtime, not by a shard's.
        let runtime = tokio::runtime::Handle::current();
        let open: OpenCore = Arc::new(move |wake| {
            let _here = runtime.enter();
            Ok(Box::new(RemoteCore::connect(&core, wake)?))
        });
        return (open, None);
    }
    let workers = Workers::start(workers(config));
    let shared = workers.clone();
    let open: OpenCore = Arc::new(move |wake| Ok(Box::new(LocalCore::on(&shared, wake))));
    (open, Some(workers))
}

async fn grpc(settings: &GrpcSettings, workers: &Workers) -> anyhow::Result<(GrpcServer, Security)> {
    let config = GrpcConfig {
        listen: settings.listen,
        security: settings.security()?,
        limits: auralink_aicore::Limits::default(),
    };
    let server = GrpcServer::start(&config, workers).await.context("grpc")?;
    Ok((server, config.security))
}

/// Worker threads of the AI core: one core is left to media.
fn workers(config: &ServeConfig) -> usize {
    match config.ai_workers {
        0 => std::thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).max(1)),
        wanted => wanted,
    }
}
