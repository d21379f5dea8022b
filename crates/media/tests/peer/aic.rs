//! A server with a real AI core, and what it tells those who keep books.

use std::sync::Arc;
use std::time::Duration;

use auralink_aicore::{CoreFaults, LocalCore, Workers};
use auralink_engine::PolicyBook;
use auralink_media::{Ai, EVENTS, ROWS};
use auralink_types::{AicConfig, ConfigChange, Event, MetricRow, UserKey};
use tokio::sync::mpsc;

use super::{Peer, Server, serve_with};

/// A frame of silence as libopus writes it.
pub const SILENCE: &[u8] = &[0xf8, 0xff, 0xfe];

pub struct Aic {
    pub server: Server,
    pub book: Arc<PolicyBook>,
    pub rows: mpsc::Receiver<MetricRow>,
    pub events: mpsc::Receiver<Event>,
    pub faults: CoreFaults,
}

pub async fn serve_aic() -> Aic {
    let workers = Workers::start(1);
    let faults = workers.faults();
    let book = Arc::new(PolicyBook::new());
    let (row_sender, rows) = mpsc::channel(ROWS);
    let (event_sender, events) = mpsc::channel(EVENTS);
    let server = serve_with(Ai {
        core: Arc::new(move |wake| Ok(Box::new(LocalCore::on(&workers, wake)))),
        book: book.clone(),
        rows: row_sender,
        events: event_sender,
    })
    .await;
    Aic {
        server,
        book,
        rows,
        events,
        faults,
    }
}

impl Aic {
    /// AIC for one user, or their veto.
    pub fn set(&self, user: &str, config: AicConfig) {
        self.book.set(UserKey::new("devkey", user), config).unwrap();
    }

    /// Everything told so far that was not taken yet.
    pub fn told(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.events.try_recv().ok()).collect()
    }
}

/// AIC on, with or without a veto.
pub fn config(opt_out: bool) -> AicConfig {
    let change = ConfigChange {
        enabled: Some(true),
        opt_out: Some(opt_out),
        ..Default::default()
    };
    AicConfig::default().apply(&change).unwrap()
}

/// AIC off.
pub fn off() -> AicConfig {
    AicConfig::default()
}

/// A microphone that sends silence in real time.
pub struct Microphone {
    timestamp: u32,
    next: tokio::time::Instant,
}

impl Microphone {
    pub fn new() -> Self {
        Self {
            timestamp: 0,
            next: tokio::time::Instant::now(),
        }
    }

    /// Sends what is due on track `mic`, then lets both run a little.
    pub async fn step(&mut self, speaker: &mut Peer, listener: &mut Peer) {
        let now = tokio::time::Instant::now();
        while self.next <= now {
            speaker.send("mic", self.timestamp, SILENCE, false).await;
            self.timestamp += 960;
            self.next += Duration::from_millis(20);
        }
        speaker.step().await;
        listener.step().await;
    }
}
