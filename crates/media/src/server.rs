//! The media server as its binary sees it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use auralink_types::UserId;
use axum::Router;
use tokio::sync::{mpsc, oneshot};

use crate::ai::{Ai, CoreError};
use crate::command::Command;
use crate::config::MediaConfig;
use crate::directory::{Claim, Directory, LeastBusy, ShardId};
use crate::metrics::Stats;
use crate::participant::RoomKey;
use crate::session::SessionConfig;
use crate::shard::{self, Core, Shard, socket};
use crate::signal::{Signalling, now_ms};
use crate::twirp::Twirp;
use crate::verb::{Answer, Asked, Trouble, Verb};
use crate::whereabouts::Names;

/// Commands that may wait for a shard; signalling sockets wait when it is full.
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
    /// A way to the AI core.
    #[error("no way to the AI core: {0}")]
    Core(CoreError),
    /// A shard's thread.
    #[error("a media shard cannot start: {0}")]
    Thread(std::io::Error),
    /// The DTLS certificate.
    #[error("no DTLS certificate could be made")]
    Certificate,
}

/// A running media server.
pub struct MediaServer {
    shards: Shards,
    signalling: Signalling,
    twirp: Twirp,
    local: SocketAddr,
}

/// The way to each shard, and which room is on which.
#[derive(Clone)]
pub(crate) struct Shards {
    directory: Arc<dyn Directory>,
    commands: Arc<[mpsc::Sender<Command>]>,
}

impl Shards {
    /// The way to the shard of the room that somebody claims.
    pub(crate) fn with(&self, claim: &Claim) -> &mpsc::Sender<Command> {
        &self.commands[claim.shard().0]
    }

    /// Somebody's claim on a place in a room.
    pub(crate) fn claim(&self, room: &RoomKey, who: &UserId) -> Claim {
        self.directory.claim(room, who)
    }

    /// Asks something of one room; `None` when its shard is gone, or fails at it.
    pub(crate) async fn ask_room(&self, room: &RoomKey, verb: Verb) -> Option<Result<Answer, Trouble>> {
        let parts = self.directory.parts(room);
        match &verb {
            Verb::Open(_) if parts.is_empty() => {
                let place = self.claim(room, &UserId::from(""));
                self.ask_part(place.shard(), room, Some(place), verb).await
            }
            Verb::Delete => {
                let parts = parts
                    .iter()
                    .map(|part| self.ask_part(*part, room, None, Verb::Delete));
                let answers = futures_util::future::join_all(parts).await;
                let done = answers.into_iter().flatten().find(Result::is_ok);
                Some(done.unwrap_or(Err(Trouble::NoRoom)))
            }
            Verb::To(user, _) => match self.directory.seat(room, user) {
                Some(seat) => self.ask_part(seat, room, None, verb).await,
                None => Some(Err(Trouble::NoParticipant)),
            },
            _ => match parts.first() {
                Some(part) => self.ask_part(*part, room, None, verb).await,
                None => Some(Err(Trouble::NoRoom)),
            },
        }
    }

    async fn ask_part(
        &self,
        part: ShardId,
        room: &RoomKey,
        place: Option<Claim>,
        verb: Verb,
    ) -> Option<Result<Answer, Trouble>> {
        let (reply, answer) = oneshot::channel();
        let asked = Asked {
            room: room.clone(),
            place,
            verb,
            now_ms: now_ms(),
            reply,
        };
        let asked = Command::Asked(Box::new(asked));
        self.commands[part.0].send(asked).await.ok()?;
        answer.await.ok()
    }

    /// Asks each shard for something, all at once.
    pub(crate) async fn ask<T>(&self, question: impl Fn(oneshot::Sender<T>) -> Command) -> Vec<T> {
        let answers = self.commands.iter().map(async |commands| {
            let (reply, answer) = oneshot::channel();
            commands.send(question(reply)).await.ok()?;
            answer.await.ok()
        });
        let answers = futures_util::future::join_all(answers).await;
        answers.into_iter().flatten().collect()
    }

    fn waiting(&self) -> usize {
        let waiting = |commands: &mpsc::Sender<_>| commands.max_capacity() - commands.capacity();
        self.commands.iter().map(waiting).sum()
    }
}

impl MediaServer {
    /// Binds the sockets and starts the shards, as a plain server without AIC.
    pub async fn start(config: MediaConfig) -> Result<Self, StartError> {
        Self::start_with(config, Ai::none()).await
    }

    /// The same with AIC.
    pub async fn start_with(config: MediaConfig, ai: Ai) -> Result<Self, StartError> {
        let failed = |source| StartError::Bind {
            address: config.udp,
            source,
        };
        let count = config.shards();
        let sockets = socket::bind(config.udp, count).map_err(failed)?;
        let local = sockets[0].local_addr().map_err(failed)?;
        let (receiving, sending) = socket::buffers(&sockets[0]).map_err(failed)?;
        tracing::info!(%local, shards = count, receiving, sending, "media sockets are bound; the system buffers so many bytes");
        let provider = str0m::crypto::from_feature_flags();
        let certificate = provider
            .dtls_provider
            .generate_certificate()
            .ok_or(StartError::Certificate)?;
        let sessions = SessionConfig {
            candidates: Arc::from(config.candidates(local)),
            certificate,
            shard: ShardId(0),
            names: Arc::new(Names::default()),
        };
        let (neighbours, mailboxes) = shard::neighbourhood(count);
        let mut commands = Vec::new();
        for (number, (socket, mailbox)) in sockets.into_iter().zip(mailboxes).enumerate() {
            let (sender, receiver) = mpsc::channel(COMMANDS);
            commands.push(sender);
            let shard = Shard {
                socket,
                sessions: SessionConfig {
                    shard: ShardId(number),
                    ..sessions.clone()
                },
                core: Core::open(&ai).map_err(StartError::Core)?,
                ai: ai.clone(),
                commands: receiver,
                mailbox,
                neighbours: neighbours.clone(),
            };
            shard.start().map_err(StartError::Thread)?;
        }
        let shards = Shards {
            directory: Arc::new(LeastBusy::new(count, config.split_at)),
            commands: commands.into(),
        };
        let twirp = Twirp::new(config.keys.clone(), shards.clone(), config.rooms);
        let signalling = Signalling::new(config.keys, shards.clone(), config.limits);
        Ok(Self {
            shards,
            signalling,
            twirp,
            local,
        })
    }

    /// The routes of signalling and of RoomService.
    pub fn router(&self) -> Router {
        self.signalling
            .clone()
            .router()
            .merge(self.twirp.clone().router())
    }

    /// Where media arrives.
    pub fn local_udp_addr(&self) -> SocketAddr {
        self.local
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.shards.commands.len()
    }

    /// A snapshot of all shards, each coherent in itself; `None` when none of them is left.
    pub async fn stats(&self) -> Option<Stats> {
        let answers = self.shards.ask(Command::Stats).await;
        let mut stats = Stats {
            rooms: self.shards.directory.rooms(),
            commands_waiting: self.shards.waiting(),
            joins_refused: self.signalling.joins_refused(),
            ..Stats::default()
        };
        answers.iter().for_each(|answer| stats.add(answer));
        (!answers.is_empty()).then_some(stats)
    }

    /// Fault injection: lets a shard panic.
    pub async fn kill_shard(&self, number: usize) {
        if let Some(commands) = self.shards.commands.get(number) {
            // One that is gone needs no killing.
            let _ = commands.send(Command::Die).await;
        }
    }

    /// Resolves when a shard is gone for good, which without [`MediaServer::shutdown`] it never should be.
    pub async fn gone(&self) {
        let closed = self
            .shards
            .commands
            .iter()
            .map(|commands| Box::pin(commands.closed()));
        futures_util::future::select_all(closed).await;
    }

    /// Says goodbye to every client and waits, at most `grace`, until that has left.
    pub async fn shutdown(&self, grace: Duration) {
        let goodbye = async {
            if !self.shards.ask(Command::Goodbye).await.is_empty() {
                // The sockets' own tasks write the last messages.
                tokio::time::sleep(FAREWELL).await;
            }
        };
        let _ = tokio::time::timeout(grace, goodbye).await;
    }
}

/// Time for queued goodbyes to leave.
const FAREWELL: Duration = Duration::from_millis(200);
