//! The media server as its binary sees it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};

use crate::ai::Ai;
use crate::command::Command;
use crate::config::MediaConfig;
use crate::metrics::Stats;
use crate::session::SessionConfig;
use crate::shard;
use crate::signal::Signalling;
use crate::switchboard::Switchboard;

/// Commands that may wait for the media task; signalling sockets wait when it is full.
const COMMANDS: usize = 1024;

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The UDP socket.
    #[error("cannot bind UDP {address}: {source}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The DTLS certificate.
    #[error("no DTLS certificate could be made")]
    Certificate,
}

/// A running media server.
pub struct MediaServer {
    commands: mpsc::Sender<Command>,
    signalling: Signalling,
    local: SocketAddr,
}

impl MediaServer {
    /// Binds the socket and starts the media task, as a plain server without AIC.
    pub async fn start(config: MediaConfig) -> Result<Self, StartError> {
        Self::start_with(config, Ai::none()).await
    }

    /// The same with AIC.
    pub async fn start_with(config: MediaConfig, ai: Ai) -> Result<Self, StartError> {
        let failed = |source| StartError::Bind {
            address: config.udp,
            source,
        };
        let socket = UdpSocket::bind(config.udp).await.map_err(failed)?;
        let local = socket.local_addr().map_err(failed)?;
        let provider = str0m::crypto::from_feature_flags();
        let certificate = provider
            .dtls_provider
            .generate_certificate()
            .ok_or(StartError::Certificate)?;
        let sessions = SessionConfig {
            candidates: Arc::from(config.candidates(local)),
            certificate,
        };
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let woken = ai.woken.clone();
        let board = Switchboard::new(Instant::now(), SystemTime::now(), sessions, ai);
        tokio::spawn(shard::run(socket, board, receiver, woken));
        let signalling = Signalling::new(config.keys, commands.clone(), config.limits);
        Ok(Self {
            commands,
            signalling,
            local,
        })
    }

    /// The signalling routes.
    pub fn router(&self) -> Router {
        self.signalling.clone().router()
    }

    /// Where media arrives.
    pub fn local_udp_addr(&self) -> SocketAddr {
        self.local
    }

    /// One coherent snapshot; `None` when the media task is gone.
    pub async fn stats(&self) -> Option<Stats> {
        let (reply, answer) = oneshot::channel();
        let commands_waiting = self.commands.max_capacity() - self.commands.capacity();
        self.commands.send(Command::Stats(reply)).await.ok()?;
        let stats = answer.await.ok()?;
        Some(Stats {
            commands_waiting,
            joins_refused: self.signalling.joins_refused(),
            ..stats
        })
    }

    /// Resolves when the media task is gone, which without [`MediaServer::shutdown`] it never should be.
    pub async fn gone(&self) {
        self.commands.closed().await;
    }

    /// Says goodbye to every client and waits, at most `grace`, until that has left.
    pub async fn shutdown(&self, grace: Duration) {
        let (done, finished) = oneshot::channel();
        let goodbye = async {
            if self.commands.send(Command::Goodbye(done)).await.is_ok() {
                // The task that was to answer may be gone, which is what is wanted.
                let _ = finished.await;
                // The sockets' own tasks write the last messages.
                tokio::time::sleep(FAREWELL).await;
            }
        };
        let _ = tokio::time::timeout(grace, goodbye).await;
    }
}

/// Time for queued goodbyes to leave.
const FAREWELL: Duration = Duration::from_millis(200);
