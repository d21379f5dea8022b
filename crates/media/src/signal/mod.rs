//! LiveKit signalling: who may join, and one WebSocket per participant.

pub mod admit;
mod join_request;
mod obey;
mod seats;
mod socket;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use auralink_token::KeyRing;
use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::command::Topology;
use crate::config::TenantLimits;
use crate::participant::SocketId;
use crate::server::Shards;

use seats::Seats;

pub use admit::Refusal;
pub use obey::{add_track, obey};

/// Largest signalling message, as the Go server has it.
const MAX_MESSAGE: usize = 2 << 20;
/// Bytes read from a socket at a time. Each socket keeps a buffer of that size, zeroed before each read; larger messages
/// are read in parts.
const READ_AT_ONCE: usize = 4 << 10;

/// How long a token is good that the server gives a client to come back with.
pub const REFRESH_TTL: Duration = Duration::from_secs(10 * 60);

/// What the routes share.
#[derive(Clone)]
pub struct Signalling {
    keys: Arc<KeyRing>,
    shards: Shards,
    sockets: Arc<AtomicU64>,
    seats: Seats,
}

impl Signalling {
    /// Signalling that hands participants to the shards.
    pub fn new(keys: Arc<KeyRing>, shards: Shards, limits: TenantLimits) -> Self {
        Self {
            keys,
            shards,
            sockets: Arc::default(),
            seats: Seats::new(limits),
        }
    }

    /// Joins turned away at a tenant's limits, since the start.
    pub fn joins_refused(&self) -> u64 {
        self.seats.refused()
    }

    /// The routes.
    pub fn router(self) -> Router {
        Router::new()
            .route("/rtc/v1", get(open_one))
            .route("/rtc/v1/validate", get(validate))
            .route("/rtc", get(open_two))
            .route("/rtc/validate", get(validate))
            .with_state(self)
    }

    fn next_socket(&self) -> SocketId {
        SocketId(self.sockets.fetch_add(1, Ordering::Relaxed))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, self.to_string()).into_response()
    }
}

/// What an upgrade comes with.
type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

/// Signalling v1: one transport per client.
async fn open_one(
    State(signalling): State<Signalling>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Result<Response, Refusal> {
    open(signalling, Topology::One, query, &headers, upgrade)
}

/// Signalling v0, which old SDKs speak: two transports per client.
async fn open_two(
    State(signalling): State<Signalling>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Result<Response, Refusal> {
    open(signalling, Topology::Two, query, &headers, upgrade)
}

fn open(
    signalling: Signalling,
    topology: Topology,
    query: Option<String>,
    headers: &HeaderMap,
    upgrade: Upgrade,
) -> Result<Response, Refusal> {
    let query = query.unwrap_or_default();
    let mut admitted = admit::admit(&signalling.keys, &query, headers, SystemTime::now())?;
    let mut request = join_request::read(&query)?;
    admitted.admission.take_profile(&mut request)?;
    let upgrade = upgrade.map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    let tenant = &admitted.admission.user.tenant;
    let seat = signalling.seats.take(Instant::now(), tenant, request.reconnect)?;
    let id = signalling.next_socket();
    Ok(upgrade
        .max_message_size(MAX_MESSAGE)
        .read_buffer_size(READ_AT_ONCE)
        .on_upgrade(move |web_socket| async move {
            socket::serve(web_socket, id, admitted, (topology, request), signalling).await;
            drop(seat);
        }))
}

async fn validate(
    State(signalling): State<Signalling>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<&'static str, Refusal> {
    let query = query.unwrap_or_default();
    admit::admit(&signalling.keys, &query, &headers, SystemTime::now())?;
    Ok("success")
}

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64)
}
