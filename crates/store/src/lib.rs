//! The one store interface; SQLite behind it.
//!
//! Owns the tables, their migrations, who may see which row, and the spool in which metric rows wait for the
//! database. Must never know HTTP, tokens or media: SQL lives here and nowhere else.
//!
//! There are two doors. [`Store::as_user`] is the one for people: every statement of the handle it returns carries the
//! actor's predicate. [`MetricWriter`] and [`Store::enabled_configs`] act for the server itself and take no input of
//! users.
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
mod config;
mod error;
mod metric;
mod metric_sql;
mod names;
mod savings;
mod schema;
mod scoped;
mod session;
mod spool;
mod store;
mod timestamp;
mod writer;

pub use actor::Actor;
pub use config::{CONFIG_UPDATED, StoredConfig};
pub use error::StoreError;
pub use metric::{MetricCursor, MetricPage, MetricQuery, PAGE_MAX, StoredMetric};
pub use savings::{BandwidthSavings, Traffic};
pub use scoped::Scoped;
pub use session::StoredSession;
pub use spool::SPOOL_MAX;
pub use store::Store;
pub use timestamp::Timestamp;
pub use writer::{BATCH_MAX, FLUSH_EVERY, MetricWriter, QUEUE_MAX, WriterStats};
