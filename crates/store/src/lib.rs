//! The one store interface; SQLite and PostgreSQL behind it.
//!
//! Owns the tables, their migrations, who may see which row, and the spool in which metric rows wait for the
//! database. Must never know HTTP, tokens or media: SQL lives here and nowhere else.
//!
//! There are two doors. [`Store::as_user`] is the one for people: every statement of the handle it returns carries the
//! actor's predicate, and on PostgreSQL runs in a role that sees no more anyway. What stands on [`Store`] itself, and
//! [`MetricWriter`] and [`EventWriter`], act for the server and take no scope from anybody.
//!
//! Statements are shared by both databases wherever both can say them; what only one can say stands in `sqlite` and
//! `postgres`.
//!
//! ```
//! use auralink_store::{Actor, Store};
//! use auralink_types::{ConfigChange, UserKey};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let store = Store::open("memory").await?;
//! let ada = store.as_user(Actor { key: UserKey::new("devkey", "ada"), operator: false });
//! ada.change_config(&ConfigChange { enabled: Some(true), ..Default::default() }).await?;
//! assert!(ada.config().await?.unwrap().config.enabled);
//! # Ok::<(), auralink_store::StoreError>(())
//! # }).unwrap();
//! ```
#![forbid(unsafe_code)]

mod actor;
mod alert;
mod audit;
mod call;
mod changes;
pub mod cluster;
mod config;
mod database;
mod delivery;
mod erasure;
mod error;
mod events;
mod experiment;
mod health;
mod lease;
mod location;
mod metric;
mod names;
mod outbox;
mod page;
mod parents;
mod performance;
mod personal;
mod postgres;
mod pseudonym;
mod redate;
mod retention;
mod rollup;
mod row;
mod savings;
mod schema;
mod scoped;
mod session;
mod spool;
mod sql;
mod sqlite;
mod store;
mod timestamp;
mod usage;
mod webhook;
mod writer;

pub use actor::Actor;
pub use alert::{ALERT_RAISED, ALERT_RESOLVED, Alert, AlertQuery, AlertState, NewAlert, Raised, Severity};
pub use audit::{AuditEntry, AuditQuery};
pub use call::{CallQuery, StoredCall};
pub use changes::{Changes, Revision};
pub use config::{CONFIG_UPDATED, StoredConfig};
pub use delivery::{DeliveryQuery, DeliveryRecord, DeliveryState};
pub use error::StoreError;
pub use events::{EVENT_QUEUE_MAX, EventWriter};
pub use experiment::{ArmOutcome, Experiment, Exposure, NewExperiment, RUNNING_MAX, Sample};
pub use health::TenantHealth;
pub use lease::{LEASE, Lease};
pub use location::check_url;
pub use metric::{MetricCursor, MetricPage, MetricQuery, StoredMetric};
pub use outbox::{Announcement, Delivery, OUTBOX_MAX};
pub use page::{Cursor, PAGE_MAX, Page, Span};
pub use performance::{
    Latency, ModelPerformance, ModelWindow, PerformancePoint, PerformanceSummary, QualityBin,
    QualityDistribution,
};
pub use personal::Erased;
pub use retention::{Housekeeping, REFRESH_EVERY, Retained, Retention};
pub use savings::{BandwidthSavings, Traffic};
pub use schema::Pending;
pub use scoped::Scoped;
pub use session::{SessionQuery, StoredSession};
pub use spool::SPOOL_MAX;
pub use store::{Store, StoreOptions, without_password};
pub use timestamp::Timestamp;
pub use usage::Step;
pub use webhook::{ENDPOINTS_MAX, Endpoint, EndpointChange, NewEndpoint};
pub use writer::{BATCH_MAX, FLUSH_EVERY, MetricWriter, QUEUE_MAX, WriterStats};
