//! The control plane: REST, alerts, webhooks, experiments.
//!
//! Owns what a request may look like and what an answer looks like, when an alert is raised and how an event is sent.
//! Must never know SQL, media or how a decision is made: it turns a request into a question to the store, and a stored
//! configuration into a policy in the book.
//!
//! ```
//! use std::sync::Arc;
//! use auralink_control::{Clock, ControlState, RateLimit, Reach, Turn, router};
//! use auralink_engine::PolicyBook;
//! use auralink_store::Store;
//! use auralink_token::KeyRing;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let app: axum::Router = router(ControlState {
//!     store: Store::open("memory").await?,
//!     keys: Arc::new(KeyRing::new([("devkey", "secret")])),
//!     book: Arc::new(PolicyBook::new()),
//!     turn: Turn::default(),
//!     models: Vec::new(),
//!     price_per_gb: 0.09,
//!     reach: Reach::Public,
//!     rate: RateLimit::default(),
//!     clock: Clock::system(),
//! });
//! # drop(app);
//! # Ok::<(), auralink_store::StoreError>(())
//! # }).unwrap();
//! ```
#![forbid(unsafe_code)]

mod alert;
mod api;
mod baseline;
mod body;
mod caller;
mod clock;
mod experiments;
mod follow;
mod intake;
mod metrics;
mod openapi;
mod origins;
mod params;
mod precondition;
mod problem;
mod rate;
mod webhook;

use std::sync::{Arc, Mutex};

use auralink_engine::PolicyBook;
use auralink_store::Store;
use auralink_token::KeyRing;
use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::routing::any;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use self::metrics::{UPKEEP_EVERY, prometheus, upkeep};
pub use alert::{AlertEngine, AlertRules, CHECK_EVERY, Change, SESSIONS_MAX, Subject};
pub use api::models::InstalledModel;
pub use body::{BODY_MAX, BODY_TIMEOUT};
pub use clock::{Clock, Now};
pub use follow::{Follower, LOOK_EVERY, Turn};
pub use intake::{EVENTS_MAX, Intake, IntakeConfig, ROWS_MAX};
pub use origins::{check_origins, open_to};
pub use rate::{CALLERS_MAX, RateLimit};
pub use webhook::{ATTEMPTS_MAX, Dispatcher, IN_FLIGHT_MAX, Reach, SEND_TIMEOUT};

use rate::Limiter;

/// Where the API lives.
pub const API: &str = "/api/v1/aic";
/// Where the dashboard's part of it lives.
pub const DASHBOARD: &str = "/api/v1/dashboard/aic";

/// What the API works on.
#[derive(Clone)]
pub struct ControlState {
    /// Where everything is kept.
    pub store: Store,
    /// Who may sign tokens.
    pub keys: Arc<KeyRing>,
    /// What the media path obeys.
    pub book: Arc<PolicyBook>,
    /// Whose turn it is to change the book; shared with the [`Follower`].
    pub turn: Turn,
    /// Models that the server can code with.
    pub models: Vec<InstalledModel>,
    /// Dollars for one gigabyte of egress, for the savings' worth.
    pub price_per_gb: f64,
    /// Where webhooks may go.
    pub reach: Reach,
    /// How often one caller may ask.
    pub rate: RateLimit,
    /// What time it is.
    pub clock: Clock,
}

impl ControlState {
    /// Version of the speech model in use.
    fn speech_model(&self) -> &str {
        let speech = self
            .models
            .iter()
            .find(|model| model.media == auralink_types::Media::Audio);
        speech.map_or("none", |model| model.model_version.as_str())
    }
}

/// One per router.
struct Shared {
    state: ControlState,
    limiter: Mutex<Limiter>,
    readiness: api::health::Readiness,
}

/// The API under [`API`] and [`DASHBOARD`], its document and docs, `/livez`, `/readyz` and `/healthz`. It has no
/// fallback of its own, so it merges with other routers.
pub fn router(state: ControlState) -> Router {
    let (routes, document) = described();
    let clock = state.clock.clone();
    let shared = Arc::new(Shared {
        limiter: Mutex::new(Limiter::new(state.rate)),
        state,
        readiness: api::health::Readiness::default(),
    });
    routes
        .route(&format!("{API}/{{*path}}"), any(api::health::no_such_path))
        .route(&format!("{DASHBOARD}/{{*path}}"), any(api::health::no_such_path))
        .method_not_allowed_fallback(api::health::wrong_method)
        .layer(from_fn(move |request: Request, next: Next| {
            metrics::count(clock.clone(), request, next)
        }))
        .with_state(shared)
        .merge(openapi::router(&document))
}

/// The API's description (OpenAPI 3.1) as it is served at `/api/openapi.json` and committed in `docs/`.
pub fn openapi_document() -> String {
    openapi::text(&described().1)
}

fn described() -> (Router<Arc<Shared>>, utoipa::openapi::OpenApi) {
    let core = OpenApiRouter::<Arc<Shared>>::new()
        .routes(routes!(api::config::get, api::config::post, api::config::put))
        .routes(routes!(api::metrics::list))
        .routes(routes!(api::sessions::list))
        .routes(routes!(api::sessions::get))
        .routes(routes!(api::calls::list))
        .routes(routes!(api::performance::summary))
        .routes(routes!(api::performance::series))
        .routes(routes!(api::models::list))
        .routes(routes!(api::models::performance))
        .routes(routes!(api::alerts::list))
        .routes(routes!(api::alerts::acknowledge))
        .routes(routes!(api::stats::bandwidth_savings))
        .routes(routes!(api::stats::quality_distribution));
    let whole = core
        .clone()
        .routes(routes!(api::experiments::list, api::experiments::create))
        .routes(routes!(api::outcome::get))
        .routes(routes!(api::experiments::end))
        .routes(routes!(api::webhooks::list, api::webhooks::create))
        .routes(routes!(
            api::webhooks::get,
            api::webhooks::change,
            api::webhooks::remove
        ))
        .routes(routes!(api::deliveries::list))
        .routes(routes!(api::deliveries::replay))
        .routes(routes!(api::deliveries::replay_one))
        .routes(routes!(api::audit::list))
        .routes(routes!(api::users::export))
        .routes(routes!(api::users::erase));
    let dashboard = core.routes(routes!(api::stats::bandwidth_savings_short));
    let (routes, mut document) = OpenApiRouter::with_openapi(openapi::base())
        .nest(API, whole)
        .nest(DASHBOARD, dashboard)
        .routes(routes!(api::health::live))
        .routes(routes!(api::health::ready))
        .routes(routes!(api::health::health))
        .routes(routes!(api::health::problem))
        .split_for_parts();
    openapi::complete(&mut document);
    (routes, document)
}
