//! A development server: key `devkey`, secret `secret`.
//!
//! `cargo run -p auralink-media --example serve -- [HTTP address] [UDP address]`, by default
//! `127.0.0.1:7880 127.0.0.1:7882`. Clients connect to `ws://127.0.0.1:7880`. Port 0 lets the system choose; the first
//! line printed is `listening http://… udp=…`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use auralink_media::{MediaConfig, MediaServer, RoomRules, TenantLimits};
use auralink_token::KeyRing;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .init();
    let mut arguments = std::env::args().skip(1);
    let http: SocketAddr = arguments.next().unwrap_or("127.0.0.1:7880".into()).parse()?;
    let udp: SocketAddr = arguments.next().unwrap_or("127.0.0.1:7882".into()).parse()?;
    let keys = Arc::new(KeyRing::new([("devkey", "secret")]));
    let config = MediaConfig {
        udp,
        workers: 0,
        split_at: 0,
        advertised: Vec::new(),
        keys,
        limits: TenantLimits::default(),
        rooms: RoomRules::default(),
    };
    let server = MediaServer::start(config).await?;
    let listener = tokio::net::TcpListener::bind(http).await?;
    println!(
        "listening http://{} udp={}",
        listener.local_addr()?,
        server.local_udp_addr()
    );
    let routes = server.router().route("/", axum::routing::get(|| async { "OK" }));
    let mut terminate = signal(SignalKind::terminate())?;
    let ended = async move {
        // Either is a wish to stop; without signals the server runs until it is killed.
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        if let Some(stats) = server.stats().await {
            println!("{stats:#?}");
        }
        server.shutdown(Duration::from_secs(2)).await;
    };
    axum::serve(listener, routes)
        .with_graceful_shutdown(ended)
        .await?;
    Ok(())
}
