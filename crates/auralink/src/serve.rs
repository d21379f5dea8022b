//! `auralink serve`: media, AI core, REST and store in one process.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use auralink_aicore::{CoreFaults, GrpcConfig, GrpcServer, LocalCore, RemoteCore, Security, Workers};
use auralink_codec::Model;
use auralink_engine::{PolicyBook, Processor};
use auralink_media::{Ai, EVENTS, MediaConfig, MediaServer, ROWS, Stats};
use auralink_store::{EventWriter, Housekeeping, Lease, MetricWriter, Store, StoreOptions, without_password};
use auralink_token::KeyRing;
use auralink_types::FieldError;
use axum::extract::Query;
use axum::routing::{get, post};
use axum::{Json, Router};
use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::books;
use crate::config::{GRPC_PORT, GrpcSettings, HTTP_PORT, ServeConfig};
use crate::control::{Control, installed, metrics_route};
use crate::core::describe;
use crate::http::{self, Limits};
use crate::summary;

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
    /// `memory`, a file, a `sqlite:` URL or a `postgres:` URL
    #[arg(long, value_name = "URL")]
    database: Option<String>,
}

impl ServeCommand {
    /// File and arguments put together and checked.
    pub fn config(&self) -> Result<ServeConfig, FieldError> {
        let mut config = match (&self.config, self.dev) {
            (Some(path), _) => ServeConfig::read(path)?,
            (None, true) => ServeConfig::development(),
            (None, false) => ServeConfig::default(),
        };
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
        if let Some(database) = &self.database {
            config.database.clone_from(database);
        }
        config.validate()?;
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
        advertised: config.advertised.clone(),
        keys: keys.clone(),
    };
    let woken = Arc::new(Notify::new());
    let (processor, workers) = processor(&config, woken.clone())?;
    let faults = workers.as_ref().map(Workers::faults).unwrap_or_default();
    let grpc = match (&config.grpc, &workers) {
        (Some(settings), Some(workers)) => Some(grpc(settings, workers).await?),
        _ => None,
    };
    let (rows, row_receiver) = mpsc::channel(ROWS);
    let (events, event_receiver) = mpsc::channel(EVENTS);
    let ai = Ai {
        processor,
        woken,
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

    let routes = Router::new()
        .route("/", get(|| async { "AuraLink\n" }))
        .merge(media.router())
        .merge(metrics_route(media.clone(), writer.clone()))
        .merge(control.routes);
    let routes = auralink_control::open_to(routes, &config.origins)?;
    let routes = if config.dev {
        routes.merge(development(faults, media.clone()))
    } else {
        routes
    };

    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("listen: cannot bind {}", config.listen))?;
    let mut lines = vec![
        format!("AuraLink {}", env!("CARGO_PKG_VERSION")),
        format!("  http      http://{} (signalling, REST)", listener.local_addr()?),
        format!("  media     udp {}", media.local_udp_addr()),
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
    if config.dev {
        lines.push("  dev       key devkey, secret secret; not for production".to_owned());
    }
    summary::print(&lines);

    let mut terminate = signal(SignalKind::terminate())?;
    let (stop, stopping) = oneshot::channel();
    let serving = http::serve(
        listener,
        routes,
        Limits::default(),
        async {
            // Sent, or dropped with the server itself: it ends either way.
            let _ = stopping.await;
        },
        GRACE,
    );
    let goodbye = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        tracing::info!("shutting down: saying goodbye to clients");
        let leaving = async {
            if let Some((server, _)) = grpc {
                server.shutdown(GRACE).await;
            }
        };
        tokio::join!(media.shutdown(GRACE), leaving);
        let _ = stop.send(());
    };
    tokio::join!(serving, goodbye);
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
    Ok(())
}

/// The AI core behind its trait, and its workers where it is in this process.
fn processor(
    config: &ServeConfig,
    woken: Arc<Notify>,
) -> anyhow::Result<(Box<dyn Processor>, Option<Workers>)> {
    let wake = Arc::new(move || woken.notify_one());
    if let Some(core) = &config.core {
        let remote = RemoteCore::connect(core, wake).context("core")?;
        return Ok((Box::new(remote), None));
    }
    let workers = Workers::start(workers(config));
    Ok((Box::new(LocalCore::on(&workers, wake)), Some(workers)))
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

/// Ends with SIGTERM or SIGINT.
pub(crate) async fn ended() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(())
}

/// Worker threads of the AI core: one core is left to media.
fn workers(config: &ServeConfig) -> usize {
    match config.ai_workers {
        0 => std::thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).max(1)),
        wanted => wanted,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kill {
    /// Milliseconds before the workers are started again.
    #[serde(default = "Kill::default_down")]
    down_ms: u64,
}

impl Kill {
    const fn default_down() -> u64 {
        2_000
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stall {
    /// Milliseconds that a frame takes longer; zero heals.
    ms: u64,
    /// One frame in so many.
    #[serde(default = "Stall::default_every")]
    every: NonZeroU32,
}

impl Stall {
    const fn default_every() -> NonZeroU32 {
        NonZeroU32::MIN
    }
}

/// What the forwarding benchmark reads.
#[derive(Serialize)]
struct ForwardStats {
    legs: usize,
    longest_turn_us: Option<f64>,
    packets_in: u64,
    packets_out: u64,
    forward_p50_us: Option<f64>,
    forward_p99_us: Option<f64>,
}

impl From<Stats> for ForwardStats {
    fn from(stats: Stats) -> Self {
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        Self {
            legs: stats.legs,
            longest_turn_us: stats.longest_turn.map(micros),
            packets_in: stats.counters.packets_in,
            packets_out: stats.counters.packets_out,
            forward_p50_us: stats.forward_p50.map(micros),
            forward_p99_us: stats.forward_p99.map(micros),
        }
    }
}

/// Routes of `--dev`: fault injection and figures. Never in production: they ask for no token.
fn development(faults: CoreFaults, media: Arc<MediaServer>) -> Router {
    let (stalling, sticking) = (faults.clone(), faults.clone());
    let kill = move |Query(kill): Query<Kill>| async move {
        faults.kill_workers(Duration::from_millis(kill.down_ms.min(60_000)));
        "killed\n"
    };
    let stall = move |Query(stall): Query<Stall>| async move {
        stalling.stall(Duration::from_millis(stall.ms.min(60_000)), stall.every);
        "stalled\n"
    };
    let stick = move || async move {
        sticking.stick_workers();
        "stuck\n"
    };
    let stats = move || async move { Json(media.stats().await.map(ForwardStats::from)) };
    Router::new()
        .route("/dev/aic/worker/kill", post(kill))
        .route("/dev/aic/worker/stall", post(stall))
        .route("/dev/aic/worker/stick", post(stick))
        .route("/dev/media/stats", get(stats))
}
