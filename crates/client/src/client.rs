//! The handle of a joined client, its options, events and final report.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use auralink_types::{DECODER_ATTRIBUTE, DECODER_NOLACE, MODELS_ATTRIBUTE, PublisherHint, SourceCodec};
use serde::Serialize;
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::codecs::OwnSettings;
use crate::driver::{self, Command};
use crate::error::JoinError;
use crate::neural::{self, SpeechModel};
use crate::publish::PublishStats;
use crate::receive::{ReceiveStats, Switch};
use crate::source::AudioSource;
use crate::traffic::{self, Bucket, Flow, Rates};

/// Commands that wait for the client's task; the caller waits when it is full.
const COMMANDS: usize = 32;

/// Events kept for a listener that is slow; it then misses the oldest.
const EVENTS: usize = 256;

/// What is done with received audio.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Hearing {
    /// Decode it, measure it, throw it away.
    #[default]
    Listen,
    /// Decode it, measure it, and write what is heard to a WAV file (48 kHz, mono) for the whole stay.
    Record(PathBuf),
    /// Count its packets; decode nothing. For load tests.
    Count,
}

/// How to join.
pub struct ClientOptions {
    /// `ws://host:port` or `wss://host:port` of the server (`http` and `https` are as good).
    pub url: String,
    /// PEM file of certificate authorities that `wss` trusts besides the web's.
    pub authorities: Option<PathBuf>,
    /// Access token.
    pub token: String,
    /// Audio to publish; `None` publishes nothing.
    pub publish: Option<AudioSource>,
    /// How to encode while the server asks for nothing.
    pub own: OwnSettings,
    /// What to send until the first hint; anything but `Own` is for AIC clients and measurements.
    pub begin_with: SourceCodec,
    /// What to do with what is received.
    pub hearing: Hearing,
    /// Whether to be an AIC client: announce the model, obey hints, keep headers small.
    pub aic: bool,
    /// The model of an AIC client; `None` means the built-in one.
    pub model: Option<Arc<dyn SpeechModel>>,
    /// Further participant attributes to announce.
    pub attributes: HashMap<String, String>,
    /// Local address of the media socket; `None` takes the one that faces the server.
    pub bind: Option<IpAddr>,
}

impl ClientOptions {
    /// A stock client that publishes nothing and listens.
    pub fn new(url: impl Into<String>, token: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            authorities: None,
            token: token.into(),
            publish: None,
            own: OwnSettings::default(),
            begin_with: SourceCodec::Own,
            hearing: Hearing::default(),
            aic: false,
            model: None,
            attributes: HashMap::new(),
            bind: None,
        }
    }

    pub(crate) fn resolve_model(&mut self) -> Result<(), JoinError> {
        if !self.aic {
            self.model = None;
            return Ok(());
        }
        let model = match self.model.take() {
            Some(model) => model,
            None => neural::builtin()?,
        };
        self.attributes
            .insert(MODELS_ATTRIBUTE.to_owned(), format!("{:04x}", model.id()));
        self.attributes
            .insert(DECODER_ATTRIBUTE.to_owned(), DECODER_NOLACE.to_owned());
        self.model = Some(model);
        Ok(())
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientEvent {
    /// The server gave the published track its id.
    Published {
        /// `TR_…`.
        track: String,
    },
    /// A remote track arrives from now on.
    Subscribed {
        /// `TR_…`.
        track: String,
        /// Identity of its publisher, if known by then.
        identity: Option<String>,
    },
    /// A remote track no longer arrives.
    Unsubscribed {
        /// `TR_…`.
        track: String,
    },
    /// Somebody joined, or was there already.
    ParticipantJoined {
        /// Identity.
        identity: String,
    },
    /// Somebody left.
    ParticipantLeft {
        /// Identity.
        identity: String,
    },
    /// The server asked for something; `obeyed` says whether it is done.
    Hint {
        /// What it asked for.
        hint: PublisherHint,
        /// Whether the client does it.
        obeyed: bool,
    },
    /// A remote track changed codec, packet time or redundancy.
    Switched {
        /// `TR_…`.
        track: String,
        /// To what.
        switch: Switch,
    },
    /// Application data arrived.
    Data {
        /// Identity of the sender.
        from: String,
        /// Topic.
        topic: String,
        /// Content.
        payload: Vec<u8>,
    },
    /// The stay is over.
    Ended {
        /// Why.
        reason: String,
    },
}

/// One received track.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrackReport {
    /// `TR_…`.
    pub track: String,
    /// Identity of the publisher, if known.
    pub identity: Option<String>,
    /// Milliseconds since joining at which it began.
    pub from_ms: f64,
    /// What it has been through.
    pub stats: ReceiveStats,
}

/// One coherent snapshot of a stay.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stats {
    /// Own identity.
    pub identity: String,
    /// Room.
    pub room: String,
    /// Milliseconds since joining began.
    pub elapsed_ms: f64,
    /// Milliseconds since joining began at which media could flow.
    pub connected_ms: f64,
    /// Whether this is an AIC client.
    pub aic: bool,
    /// Sent.
    pub sent: Flow,
    /// Received.
    pub received: Flow,
    /// Width of a bucket in milliseconds.
    pub bucket_ms: f64,
    /// The history of the wire, oldest first.
    pub buckets: Vec<Bucket>,
    /// The published track.
    pub publish: Option<PublishStats>,
    /// The received tracks.
    pub tracks: Vec<TrackReport>,
}

impl Stats {
    /// Mean rates between two points of time since joining.
    pub fn rates(&self, from: Duration, to: Duration) -> Rates {
        traffic::rates(
            &self.buckets,
            Duration::from_secs_f64(self.bucket_ms / 1000.0),
            from,
            to,
        )
    }

    /// Mean rates while media flowed both as wished: from one second after the first audio packet either way to the
    /// last full bucket with audio.
    pub fn steady(&self) -> Rates {
        let has_audio = |bucket: &Bucket| bucket.up_audio_packets + bucket.down_audio_packets > 0;
        let first = self.buckets.iter().position(has_audio).unwrap_or(0);
        let last = self.buckets.iter().rposition(has_audio).unwrap_or(0);
        let at = |index: usize| Duration::from_secs_f64(index as f64 * self.bucket_ms / 1000.0);
        self.rates(at(first) + Duration::from_secs(1), at(last))
    }
}

/// The end of a stay.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Why it ended.
    pub reason: String,
    /// Mean rates in the steady part.
    pub steady: Rates,
    /// Everything counted.
    pub stats: Stats,
}

/// A joined client. Dropping it leaves the room without waiting.
pub struct Client {
    commands: mpsc::Sender<Command>,
    events: broadcast::Sender<ClientEvent>,
    early: Option<broadcast::Receiver<ClientEvent>>,
    task: tokio::task::JoinHandle<Result<Report, JoinError>>,
}

impl Client {
    /// Joins; returns once media can flow.
    pub async fn join(mut options: ClientOptions) -> Result<Self, JoinError> {
        options.resolve_model()?;
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (events, early) = broadcast::channel(EVENTS);
        let driver = driver::Driver::connect(options, inbox, events.clone()).await?;
        let task = tokio::spawn(driver.run());
        Ok(Self {
            commands,
            events,
            early: Some(early),
            task,
        })
    }

    /// What happens from now on; the first caller also gets what happened while joining.
    pub fn events(&mut self) -> broadcast::Receiver<ClientEvent> {
        self.early.take().unwrap_or_else(|| self.events.subscribe())
    }

    /// What happened so far.
    pub async fn stats(&self) -> Result<Stats, JoinError> {
        let (answer, stats) = oneshot::channel();
        self.commands
            .send(Command::Stats(answer))
            .await
            .map_err(|_| JoinError::Ended)?;
        stats.await.map_err(|_| JoinError::Ended)
    }

    /// Stops or resumes sending, and tells the room.
    pub async fn set_muted(&self, muted: bool) -> Result<(), JoinError> {
        self.commands
            .send(Command::Mute(muted))
            .await
            .map_err(|_| JoinError::Ended)
    }

    /// Sends application data to everyone in the room.
    pub async fn send_data(&self, topic: &str, payload: Vec<u8>, reliable: bool) -> Result<(), JoinError> {
        let topic = topic.to_owned();
        self.commands
            .send(Command::Data {
                topic,
                payload,
                reliable,
            })
            .await
            .map_err(|_| JoinError::Ended)
    }

    /// Whether the stay is over.
    pub fn is_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Leaves the room and waits until the recording is complete.
    pub async fn leave(self) -> Result<Report, JoinError> {
        // A client that has ended by itself has its report ready.
        let _ = self.commands.send(Command::Leave).await;
        self.task.await.map_err(|_| JoinError::Ended)?
    }
}
