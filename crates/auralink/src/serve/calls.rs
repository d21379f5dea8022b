//! Media of a server, and the books kept on it.

use std::sync::Arc;

use anyhow::Context as _;
use auralink_control::Intake;
use auralink_engine::PolicyBook;
use auralink_media::{Ai, EVENTS, MediaConfig, MediaServer, OpenCore, ROWS};
use auralink_token::KeyRing;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::GRACE;
use super::record::Record;
use crate::books;
use crate::config::ServeConfig;
use crate::figures::Queue;

/// Everybody's calls.
pub struct Calls {
    pub media: Arc<MediaServer>,
    /// What lies between media and the books.
    pub queues: Vec<Queue>,
    books: JoinHandle<()>,
}

impl Calls {
    /// Opens media's sockets and the books.
    pub async fn start(
        config: &ServeConfig,
        (keys, book): (&Arc<KeyRing>, &Arc<PolicyBook>),
        core: OpenCore,
        intake: Intake,
        record: &Record,
    ) -> anyhow::Result<Self> {
        let media = MediaConfig {
            udp: config.udp,
            workers: config.workers,
            split_at: config.split_rooms_at,
            advertised: config.advertised.clone(),
            keys: keys.clone(),
            limits: config.tenant_limits,
            rooms: config.rooms,
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
        let media = MediaServer::start_with(media, ai).await.context("media")?;
        let (writer, history) = (record.rows.clone(), record.events.clone());
        let books = books::keep(writer, history, intake, row_receiver, event_receiver);
        Ok(Self {
            media: Arc::new(media),
            queues,
            books: tokio::spawn(books),
        })
    }

    /// Where media comes in.
    pub fn line(&self) -> String {
        let (address, shards) = (self.media.local_udp_addr(), self.media.shards());
        format!("  media     udp {address} ({shards} shards)")
    }

    /// Once calls have ended and said so: the books close when everybody has let go of media.
    pub async fn close(self) {
        drop(self.media);
        let mut books = self.books;
        if tokio::time::timeout(GRACE, &mut books).await.is_err() {
            tracing::warn!("the last rows and events were not stored in time");
            books.abort();
        }
    }
}
