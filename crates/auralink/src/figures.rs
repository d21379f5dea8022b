//! Figures for Prometheus that are read when somebody scrapes: of media, the AI core, queues and the process.

use std::sync::Arc;

use auralink_aicore::Workers;
use auralink_control::{UPKEEP_EVERY, prometheus, upkeep};
use auralink_media::MediaServer;
use auralink_store::{EventWriter, MetricWriter, Store, WriterStats};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use metrics::{counter, describe_counter, describe_gauge, gauge};
use metrics_process::Collector;
use tokio::sync::mpsc::WeakSender;

use crate::udp;

/// Names of media's counters begin so, and end with `_total`.
const MEDIA: &str = "auralink_media";

/// A queue on the way from media to the books.
pub struct Queue {
    name: &'static str,
    /// Waiting messages, or nothing once the queue is closed.
    waiting: Box<dyn Fn() -> Option<usize> + Send + Sync>,
}

impl Queue {
    /// Watches a channel without keeping it open.
    pub fn of<T: Send + 'static>(name: &'static str, sender: WeakSender<T>) -> Self {
        let waiting = move || {
            let sender = sender.upgrade()?;
            Some(sender.max_capacity() - sender.capacity())
        };
        Self {
            name,
            waiting: Box::new(waiting),
        }
    }
}

/// What the figures are read from; a process has what its role has.
#[derive(Default)]
pub struct Figures {
    /// Its media server.
    pub media: Option<Arc<MediaServer>>,
    /// Writers of its metric rows and events.
    pub writers: Option<(MetricWriter, EventWriter)>,
    /// Where webhooks wait for their delivery.
    pub store: Option<Store>,
    /// The AI core's workers.
    pub workers: Option<Workers>,
    /// Queues to look at.
    pub queues: Vec<Queue>,
    /// What a scrape has to bring.
    pub token: Option<String>,
}

struct Shared {
    figures: Figures,
    process: Collector,
}

impl Figures {
    /// `/metrics`. Without a token it is open to whoever reaches it: it says nothing about anybody.
    pub fn routes(self, model: &str) -> Router {
        prometheus();
        tokio::spawn(upkeep(UPKEEP_EVERY));
        describe();
        let version = env!("CARGO_PKG_VERSION");
        gauge!("auralink_build_info", "version" => version, "model" => model.to_owned()).set(1.0);
        let process = Collector::default();
        process.describe();
        let shared = Shared {
            figures: self,
            process,
        };
        Router::new()
            .route("/metrics", get(scrape))
            .with_state(Arc::new(shared))
    }

    async fn collect(&self) {
        if let Some(media) = &self.media {
            of_media(media).await;
        }
        if let Some((rows, events)) = &self.writers {
            of_writer("auralink_store_rows_total", rows.stats());
            of_writer("auralink_store_events_total", events.stats());
            waiting("stored_rows", rows.waiting());
            waiting("stored_events", events.waiting());
        }
        if let Some(workers) = &self.workers {
            of_workers(workers);
        }
        if let Some(store) = &self.store {
            match store.deliveries_waiting().await {
                Ok(count) => waiting("webhook_deliveries", usize::try_from(count).unwrap_or(usize::MAX)),
                Err(error) => tracing::debug!(%error, "webhook deliveries are not counted"),
            }
        }
        for queue in &self.queues {
            waiting(queue.name, (queue.waiting)().unwrap_or(0));
        }
    }

    fn lets_in(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        given.is_some_and(|given| same(given, token.as_bytes()))
    }
}

async fn scrape(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    if !shared.figures.lets_in(&headers) {
        let ask = [(header::WWW_AUTHENTICATE, "Bearer")];
        return (StatusCode::UNAUTHORIZED, ask, "metrics.token is needed\n").into_response();
    }
    shared.figures.collect().await;
    shared.process.collect();
    let text = prometheus().render();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

/// Takes as long wherever the two differ.
fn same(given: &[u8], token: &[u8]) -> bool {
    let differs = given.iter().zip(token).fold(0, |seen, (a, b)| seen | (a ^ b));
    given.len() == token.len() && differs == 0
}

fn waiting(queue: &'static str, length: usize) {
    gauge!("auralink_queue_length", "queue" => queue).set(length as f64);
}

async fn of_media(media: &MediaServer) {
    let Some(stats) = media.stats().await else { return };
    gauge!("auralink_rooms").set(stats.rooms as f64);
    gauge!("auralink_participants").set(stats.participants as f64);
    gauge!("auralink_tracks").set(stats.tracks as f64);
    gauge!("auralink_legs").set(stats.legs as f64);
    gauge!("auralink_aic_sessions").set(stats.tapped as f64);
    waiting("commands", stats.commands_waiting);
    for (name, _, count) in stats.counters.named() {
        counter!(format!("{MEDIA}_{name}_total")).absolute(count);
    }
    counter!("auralink_joins_refused_total").absolute(stats.joins_refused);
    for (name, share) in [("0.5", 0.5), ("0.99", 0.99)] {
        if let Some(delay) = stats.delays.quantile(share) {
            gauge!("auralink_media_forward_seconds", "quantile" => name).set(delay.as_secs_f64());
        }
    }
    if let Some(dropped) = udp::dropped(media.local_udp_addr()) {
        counter!("auralink_udp_dropped_total").absolute(dropped);
    }
}

fn of_writer(name: &'static str, stats: WriterStats) {
    for (result, count) in [
        ("written", stats.written),
        ("dropped", stats.dropped),
        ("refused", stats.refused),
    ] {
        counter!(name, "result" => result).absolute(count);
    }
}

fn of_workers(workers: &Workers) {
    let stats = workers.stats();
    gauge!("auralink_core_load").set(stats.load);
    gauge!("auralink_core_streams").set(stats.streams as f64);
    gauge!("auralink_core_streams_max").set(stats.streams_max as f64);
    gauge!("auralink_core_workers").set(stats.workers as f64);
    gauge!("auralink_core_workers_wanted").set(stats.workers_wanted as f64);
    counter!("auralink_core_frames_total", "result" => "coded").absolute(stats.frames_coded);
    counter!("auralink_core_frames_total", "result" => "late").absolute(stats.frames_late);
    counter!("auralink_core_workers_replaced_total").absolute(stats.replaced);
}

fn describe() {
    describe_gauge!("auralink_build_info", "Version and speech model of this program");
    describe_gauge!("auralink_rooms", "Rooms now");
    describe_gauge!("auralink_participants", "Participants now");
    describe_gauge!("auralink_tracks", "Published tracks now");
    describe_gauge!("auralink_legs", "Ways of a track to a subscriber now");
    describe_gauge!("auralink_aic_sessions", "Published tracks under AIC now");
    describe_gauge!("auralink_queue_length", "Messages that wait, by queue");
    for (name, what, _) in auralink_media::Counters::default().named() {
        describe_counter!(format!("{MEDIA}_{name}_total"), what);
    }
    describe_counter!(
        "auralink_joins_refused_total",
        "Joins turned away at a tenant's limits"
    );
    describe_gauge!(
        "auralink_media_forward_seconds",
        "Time from receive to send of forwarded media since the start"
    );
    describe_counter!(
        "auralink_udp_dropped_total",
        "Datagrams the kernel dropped because the media socket's buffer was full"
    );
    describe_counter!("auralink_store_rows_total", "Metric rows by what became of them");
    describe_counter!(
        "auralink_store_events_total",
        "Events of calls by what became of them"
    );
    describe_gauge!(
        "auralink_core_load",
        "Share of the workers' time that went into frames lately"
    );
    describe_gauge!("auralink_core_streams", "Streams that are coded now");
    describe_gauge!("auralink_core_streams_max", "Streams that are taken at most");
    describe_gauge!("auralink_core_workers", "Workers alive");
    describe_gauge!("auralink_core_workers_wanted", "Workers there should be");
    describe_counter!("auralink_core_frames_total", "Frames by what became of them");
    describe_counter!(
        "auralink_core_workers_replaced_total",
        "Workers replaced because they died or got stuck"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_lets_a_scrape_in() {
        let figures = Figures {
            token: Some("scrape me".into()),
            ..Figures::default()
        };
        let with = |value: &str| HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
        assert!(figures.lets_in(&with("Bearer scrape me")));
        for wrong in [
            "Bearer scrape",
            "Bearer scrape me!",
            "Bearer ",
            "scrape me",
            "Basic scrape me",
        ] {
            assert!(!figures.lets_in(&with(wrong)), "{wrong}");
        }
        assert!(!figures.lets_in(&HeaderMap::new()));
        assert!(Figures::default().lets_in(&HeaderMap::new()));
    }
}
