//! The control plane of a server: REST, alerts, webhooks and experiments on its store.

use std::sync::Arc;

use anyhow::Context as _;
use auralink_codec::Model;
use auralink_control::{
    Clock, ControlState, Dispatcher, Follower, InstalledModel, Intake, IntakeConfig, RateLimit, Reach, Turn,
    prometheus,
};
use auralink_engine::PolicyBook;
use auralink_store::Store;
use auralink_token::KeyRing;
use auralink_types::{AicConfig, Media, TenantId};
use axum::Router;

use crate::config::ServeConfig;

/// Everything that runs beside media.
pub struct Control {
    /// Its routes, `/metrics` not among them.
    pub routes: Router,
    /// Where media's rows and events are left for alerts, exposures and figures.
    pub intake: Intake,
    /// Sends webhooks until it is dropped.
    pub dispatcher: Dispatcher,
    /// Keeps the book to the database until it is dropped.
    pub follower: Follower,
}

impl Control {
    /// Reads what runs and starts what works in the background.
    pub async fn start(
        config: &ServeConfig,
        store: &Store,
        keys: &Arc<KeyRing>,
        book: &Arc<PolicyBook>,
        models: Vec<InstalledModel>,
    ) -> anyhow::Result<Self> {
        prometheus();
        let clock = Clock::system();
        let tenants: Vec<TenantId> = config
            .keys
            .keys()
            .map(|key| TenantId::from(key.as_str()))
            .collect();
        let turn = Turn::default();
        let follower = Follower::start(store.clone(), Arc::clone(book), tenants.clone(), turn.clone())
            .await
            .context("database: cannot read configurations and experiments")?;
        let intake = Intake::start(IntakeConfig {
            store: store.clone(),
            book: Arc::clone(book),
            tenants,
            rules: config.alerts,
            clock: clock.clone(),
        });
        let reach = if config.webhook_private_addresses {
            Reach::Anywhere
        } else {
            Reach::Public
        };
        let dispatcher = Dispatcher::start(store.clone(), Arc::clone(keys), clock.clone(), reach)
            .context("webhooks: no HTTP client")?;
        let routes = auralink_control::router(ControlState {
            store: store.clone(),
            keys: Arc::clone(keys),
            book: Arc::clone(book),
            turn,
            models,
            price_per_gb: config.price_per_gb,
            reach,
            rate: RateLimit {
                per_second: config.rest_per_second,
                burst: config.rest_burst,
            },
            clock,
        });
        Ok(Self {
            routes,
            intake,
            dispatcher,
            follower,
        })
    }
}

/// The speech model as REST tells of it.
pub fn installed(model: &Model) -> InstalledModel {
    InstalledModel {
        model_type: AicConfig::default().model_type,
        model_version: format!("{}:{}", model.manifest().name, model.id()),
        media: Media::Audio,
        sha256: Some(model.manifest().sha256.clone()),
    }
}
