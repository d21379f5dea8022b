//! REST API: configuration, metrics, sessions, savings.
//!
//! Owns what a request may look like and what an answer looks like. Must never know SQL, media or how a decision is
//! made: it turns a request into a question to the store, and a stored configuration into a policy in the book.
//!
//! ```
//! use std::sync::Arc;
//! use auralink_control::{ControlState, router};
//! use auralink_engine::PolicyBook;
//! use auralink_store::Store;
//! use auralink_token::KeyRing;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let app: axum::Router = router(ControlState {
//!     store: Store::open("memory").await?,
//!     keys: Arc::new(KeyRing::new([("devkey", "secret")])),
//!     book: Arc::new(PolicyBook::new()),
//!     model_version: "aic-speech-1".into(),
//!     price_per_gb: 0.09,
//! });
//! # drop(app);
//! # Ok::<(), auralink_store::StoreError>(())
//! # }).unwrap();
//! ```
#![forbid(unsafe_code)]

mod answer;
mod body;
mod caller;
mod handlers;
mod params;
mod problem;

use std::sync::Arc;

use auralink_engine::PolicyBook;
use auralink_store::Store;
use auralink_token::KeyRing;
use axum::Router;
use axum::routing::get;
use tokio::sync::Mutex;

pub use body::{BODY_MAX, BODY_TIMEOUT};

/// Where the API lives.
pub const API: &str = "/api/v1/aic";

/// What the API works on.
#[derive(Clone)]
pub struct ControlState {
    /// Where everything is kept.
    pub store: Store,
    /// Who may sign tokens.
    pub keys: Arc<KeyRing>,
    /// What the media path obeys.
    pub book: Arc<PolicyBook>,
    /// Version of the speech model in use.
    pub model_version: String,
    /// Dollars for one gigabyte of egress, for the savings' worth.
    pub price_per_gb: f64,
}

/// One per router.
struct Shared {
    state: ControlState,
    /// Held from a configuration's commit until its policy is in the book, so that of two changes the later wins in
    /// both places.
    turn: Mutex<()>,
}

/// The API under [`API`], and `/healthz`. It has no fallback of its own, so it merges with other routers.
pub fn router(state: ControlState) -> Router {
    let api = Router::new()
        .route("/config", get(handlers::get_config).post(handlers::post_config))
        .route("/metrics", get(handlers::metrics))
        .route("/sessions/{id}", get(handlers::session))
        .route("/stats/bandwidth-savings", get(handlers::bandwidth_savings))
        .route("/models", get(handlers::models))
        .fallback(handlers::no_such_path)
        .method_not_allowed_fallback(handlers::wrong_method);
    let shared = Arc::new(Shared {
        state,
        turn: Mutex::new(()),
    });
    Router::new()
        .nest(API, api)
        .route("/healthz", get(handlers::health))
        .with_state(shared)
}
