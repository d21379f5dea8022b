//! An AI core in another process, as media sees it.
//!
//! One HTTP/2 connection carries everything to one core, and each track has a `CompressStream` of its own on it: a
//! track's refusal, failure or full window concerns that track alone, the core's limits and drain work by stream, and
//! a balancer may place streams. Rejected: one stream for all tracks. It saves 9 bytes of framing a frame, but
//! couples every track to the slowest, and a second protocol would have to be invented within the stream.
//!
//! While the core is away every call is refused with [`Refused::Unreachable`], which is bypass; the link is made again
//! with back-off and jitter.

mod backoff;
mod link;
mod track;

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use auralink_engine::{InFrame, Outcome, Processor, Refused, StreamId, Wake};
use auralink_types::Rung;
use tokio::runtime::Handle as Runtime;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::{Channel, Endpoint};

use crate::tls::{TlsFileError, TlsFiles};
use track::{Input, Track};

/// Outcomes that may wait to be polled.
const OUTCOMES: usize = 8192;
/// Frames of one track that may wait to be sent: 640 ms of the shortest packets. A full queue sheds the new frame.
const INPUTS: usize = 32;
/// Tracks of one link.
const STREAMS_MAX: usize = 2_000;

/// Where the core is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteConfig {
    /// `https://host:port`, or `http://` on loopback.
    pub url: String,
    /// Needed for `https`.
    pub tls: Option<TlsFiles>,
}

/// Why a link cannot even be tried.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The address.
    #[error("{url} is no address of a core: {problem}")]
    Address {
        /// As it was given.
        url: String,
        /// What is wrong.
        problem: String,
    },
    /// A certificate file.
    #[error(transparent)]
    File(#[from] TlsFileError),
}

/// The link as it is now.
#[derive(Default)]
struct Link {
    channel: Option<Channel>,
    models: Vec<u16>,
    /// Cancelled when this link is given up.
    down: CancellationToken,
}

/// What the tasks share with media.
struct Shared {
    link: Mutex<Link>,
    /// Somebody doubts that the core is there.
    doubt: Notify,
    outcomes: SyncSender<Outcome>,
    wake: Wake,
}

impl Shared {
    fn with_link<T>(&self, look: impl FnOnce(&mut Link) -> T) -> T {
        // Every critical section is a few assignments: nothing in it panics.
        look(&mut self.link.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn tell(&self, outcome: Outcome) {
        // A full queue means nobody polls: the deadline does the rest.
        let _ = self.outcomes.try_send(outcome);
        (self.wake)();
    }
}

/// The AI core in another process.
pub struct RemoteCore {
    shared: Arc<Shared>,
    outcomes: Receiver<Outcome>,
    streams: HashMap<StreamId, mpsc::Sender<Input>>,
    next_id: u64,
    /// Tells this core's sessions from those of an earlier life of this process.
    instance: u64,
    runtime: Runtime,
    _end: DropGuard,
}

impl RemoteCore {
    /// Starts to reach for the core; there is no need that it is there already. Must be called within a runtime.
    pub fn connect(config: &RemoteConfig, wake: Wake) -> Result<Self, RemoteError> {
        let endpoint = endpoint(config)?;
        let (sender, outcomes) = sync_channel(OUTCOMES);
        let shared = Arc::new(Shared {
            link: Mutex::default(),
            doubt: Notify::new(),
            outcomes: sender,
            wake,
        });
        let end = CancellationToken::new();
        let runtime = Runtime::current();
        runtime.spawn(link::keep(endpoint, shared.clone(), end.clone()));
        Ok(Self {
            shared,
            outcomes,
            streams: HashMap::new(),
            next_id: 1,
            instance: rand::random(),
            runtime,
            _end: end.drop_guard(),
        })
    }

    /// Whether the core is there now.
    pub fn is_connected(&self) -> bool {
        self.shared.with_link(|link| link.channel.is_some())
    }

    fn send(&self, stream: StreamId, input: Input) -> Result<(), Refused> {
        let inputs = self.streams.get(&stream).ok_or(Refused::UnknownStream)?;
        inputs.try_send(input).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Refused::Full,
            mpsc::error::TrySendError::Closed(_) => Refused::UnknownStream,
        })
    }
}

fn endpoint(config: &RemoteConfig) -> Result<Endpoint, RemoteError> {
    let wrong = |problem: &str| RemoteError::Address {
        url: config.url.clone(),
        problem: problem.to_owned(),
    };
    let endpoint = Endpoint::from_shared(config.url.clone()).map_err(|error| wrong(&error.to_string()))?;
    let uri = endpoint.uri().clone();
    let host = uri.host().ok_or_else(|| wrong("it names no host"))?;
    let loopback = host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback());
    match (uri.scheme_str(), &config.tls) {
        (Some("https"), Some(files)) => endpoint
            .tls_config(files.client()?)
            .map_err(|error| wrong(&error.to_string())),
        (Some("https"), None) => Err(wrong(
            "https needs a certificate, its key and the core's authority",
        )),
        (Some("http"), _) if loopback => Ok(endpoint),
        (Some("http"), _) => Err(wrong("http is for loopback only; use https with certificates")),
        _ => Err(wrong("it must begin with https:// or http://")),
    }
    .map(link::tuned)
}

impl Processor for RemoteCore {
    fn open(&mut self, rungs: &[Rung]) -> Result<StreamId, Refused> {
        let (channel, down) = self
            .shared
            .with_link(|link| link.channel.clone().map(|channel| (channel, link.down.clone())))
            .ok_or(Refused::Unreachable)?;
        if self.streams.len() >= STREAMS_MAX {
            return Err(Refused::Full);
        }
        let stream = StreamId(self.next_id);
        self.next_id += 1;
        let (inputs, waiting) = mpsc::channel(INPUTS);
        let track = Track {
            stream,
            name: format!("{:016x}-{}", self.instance, stream.0),
            channel,
            down,
            shared: self.shared.clone(),
        };
        self.runtime.spawn(track.run(rungs.to_vec(), waiting));
        self.streams.insert(stream, inputs);
        Ok(stream)
    }

    fn set_rungs(&mut self, stream: StreamId, rungs: &[Rung]) -> Result<(), Refused> {
        self.send(stream, Input::Rungs(rungs.to_vec()))
    }

    fn submit(&mut self, stream: StreamId, frame: InFrame) -> Result<(), Refused> {
        self.send(stream, Input::Frame(frame))
    }

    fn poll(&mut self) -> Option<Outcome> {
        let outcome = self.outcomes.try_recv().ok()?;
        if let Outcome::Failed { stream, .. } = &outcome {
            self.streams.remove(stream);
        }
        Some(outcome)
    }

    fn close(&mut self, stream: StreamId) {
        self.streams.remove(&stream);
    }

    fn models(&self) -> Vec<u16> {
        self.shared.with_link(|link| link.models.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_may_be_spoken_to_in_the_clear() {
        let try_url = |url: &str| {
            endpoint(&RemoteConfig {
                url: url.into(),
                tls: None,
            })
        };
        for good in [
            "http://127.0.0.1:7883",
            "http://[::1]:7883",
            "http://localhost:7883",
        ] {
            assert!(try_url(good).is_ok(), "{good}");
        }
        for bad in [
            "http://10.0.0.1:7883",
            "https://127.0.0.1:7883",
            "core:7883",
            "",
            "ftp://localhost",
        ] {
            assert!(matches!(try_url(bad), Err(RemoteError::Address { .. })), "{bad}");
        }
    }
}
