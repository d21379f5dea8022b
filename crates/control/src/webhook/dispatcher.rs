//! Takes what is due from the outbox and sends it. The store keeps the order per subject: of one subject only the oldest
//! is given out, and the next when that one has arrived or was given up. A process that dies loses nothing: its leases
//! run out and the events are given out again.

use std::sync::Arc;
use std::time::Duration;

use auralink_store::{Delivery, Store, Timestamp};
use auralink_token::KeyRing;
use axum::http::header;
use rand::Rng as _;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

use super::backoff;
use super::letter::Letter;
use super::reach::Reach;
use crate::clock::Clock;
use crate::metrics as figures;

/// Deliveries at a time.
pub const IN_FLIGHT_MAX: usize = 32;
/// Longest time a receiver may take.
pub const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for which a delivery is ours: a receiver's time and ours to write down what came of it.
const LEASE: Duration = Duration::from_secs(30);
/// How often the outbox is looked at while nothing is told.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Longest text of a receiver's error that is kept.
const ERROR_MAX: usize = 200;

/// The task that sends. Dropping it stops it.
#[derive(Debug)]
pub struct Dispatcher {
    task: JoinHandle<()>,
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Dispatcher {
    /// Starts it on the current tokio runtime.
    pub fn start(
        store: Store,
        keys: Arc<KeyRing>,
        clock: Clock,
        reach: Reach,
    ) -> Result<Self, reqwest::Error> {
        let http = client(reach)?;
        let work = Work {
            store,
            keys,
            clock,
            reach,
            http,
        };
        Ok(Self {
            task: tokio::spawn(run(Arc::new(work))),
        })
    }
}

/// What the deliveries go out with.
fn client(reach: Reach) -> Result<reqwest::Client, reqwest::Error> {
    // Whoever installed one first, the process has one now.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder()
        .timeout(SEND_TIMEOUT)
        // An event goes where the operator said and nowhere else.
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .dns_resolver(Arc::new(reach))
        .user_agent(concat!("AuraLink/", env!("CARGO_PKG_VERSION")))
        .build()
}

struct Work {
    store: Store,
    keys: Arc<KeyRing>,
    clock: Clock,
    reach: Reach,
    http: reqwest::Client,
}

async fn run(work: Arc<Work>) {
    let mut flying = JoinSet::new();
    let done = Arc::new(Notify::new());
    // Never goes back: a wall clock that is set back must not hold up what is due.
    let mut latest = Timestamp::from_micros(0);
    loop {
        while flying.try_join_next().is_some() {}
        latest = latest.max(work.clock.now().wall.into());
        let room = IN_FLIGHT_MAX - flying.len().min(IN_FLIGHT_MAX);
        let mut busy = false;
        if room > 0 {
            match work
                .store
                .claim_deliveries(latest, LEASE, u32::try_from(room).unwrap_or(1))
                .await
            {
                Ok(claimed) => {
                    busy = claimed.len() == room;
                    for delivery in claimed {
                        let (work, done) = (Arc::clone(&work), Arc::clone(&done));
                        flying.spawn(async move {
                            work.deliver(&delivery, latest).await;
                            done.notify_one();
                        });
                    }
                }
                Err(error) => tracing::warn!(%error, "outbox cannot be read"),
            }
        }
        if busy && flying.len() < IN_FLIGHT_MAX {
            continue;
        }
        // The next of a subject is due as soon as the one before it has arrived.
        tokio::select! {
            () = done.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

impl Work {
    async fn deliver(&self, delivery: &Delivery, claimed_at: Timestamp) {
        let sent = self.send(delivery).await;
        let now = claimed_at.max(self.clock.now().wall.into());
        let noted = match &sent {
            Ok(()) => {
                metrics::counter!(figures::WEBHOOKS, "result" => "delivered").increment(1);
                self.store.delivered(delivery, now).await
            }
            Err(error) => {
                let wait = backoff::wait(delivery.attempts, rand::rng().random());
                let result = if wait.is_some() { "failed" } else { "lost" };
                metrics::counter!(figures::WEBHOOKS, "result" => result).increment(1);
                tracing::warn!(
                    delivery = delivery.delivery_id,
                    event = delivery.event,
                    attempts = delivery.attempts,
                    error,
                    given_up = wait.is_none(),
                    "webhook failed"
                );
                let next = wait.map(|wait| now.plus(wait));
                self.store.delivery_failed(delivery, error, next).await
            }
        };
        match noted {
            Ok(true) => {}
            Ok(false) => tracing::warn!(delivery = delivery.delivery_id, "a webhook's lease ran out"),
            // Its lease runs out and it is sent again: twice is better than never.
            Err(error) => {
                tracing::warn!(%error, delivery = delivery.delivery_id, "webhook's end cannot be noted")
            }
        }
    }

    async fn send(&self, delivery: &Delivery) -> Result<(), String> {
        // A client resolves names only: an address written out doesn't pass the resolver.
        let url = reqwest::Url::parse(&delivery.url).map_err(|error| error.to_string())?;
        self.reach.check(&url)?;
        let letter = Letter::write(delivery, delivery.dropped, &self.keys, self.clock.now().wall)
            .map_err(|error| error.to_string())?;
        let answer = self
            .http
            .post(url)
            .header(header::AUTHORIZATION, letter.token)
            .header(header::CONTENT_TYPE, "application/webhook+json")
            .body(letter.body)
            .send()
            .await
            // An address may hold a secret.
            .map_err(|error| chain(&error.without_url()))?;
        // What the receiver says beyond its status is not read: it could be endless.
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(format!("answered {}", answer.status()))
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text.chars().take(ERROR_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name that leads inside is not known from its letters: it must be the client that refuses it.
    #[tokio::test]
    async fn deliveries_connect_to_no_name_that_leads_inside() {
        let inside = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://localhost:{}/hook", inside.local_addr().unwrap().port());
        let refused = client(Reach::Public)
            .unwrap()
            .post(&url)
            .send()
            .await
            .unwrap_err();
        assert!(chain(&refused).contains("loopback"), "{}", chain(&refused));
        let allowed = tokio::spawn(client(Reach::Anywhere).unwrap().post(&url).send());
        let arrived = tokio::time::timeout(SEND_TIMEOUT, inside.accept()).await;
        assert!(arrived.is_ok_and(|accepted| accepted.is_ok()));
        allowed.abort();
    }
}
