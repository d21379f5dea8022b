//! Nouns of AuraLink that every crate shares: ids, units, configuration and its validation, rungs,
//! decisions, reasons, metric rows.
//!
//! Owns meanings and their bounds. Must never know sockets, clocks, databases or tokio: it compiles to wasm.
//!
//! ```
//! use auralink_types::{AicConfig, ConfigChange, Mode};
//!
//! let change = ConfigChange { enabled: Some(true), mode: Some(Mode::Aggressive), ..Default::default() };
//! let config = AicConfig::default().apply(&change).unwrap();
//! assert_eq!(config.policy().floor.value(), 0.70);
//! ```
#![forbid(unsafe_code)]

mod alert;
mod config;
mod decision;
mod event;
pub mod experiment;
mod hint;
mod ids;
mod metric;
mod mode;
mod policy;
mod reason;
mod rung;
mod units;

pub use alert::AlertKind;
pub use config::{AicConfig, ConfigChange, FieldError, MODEL_TYPE_MAX};
pub use decision::{VideoCodec, VideoContent, VideoDecision};
pub use event::{Event, EventKind, Objects, SessionRef};
pub use hint::{
    AIC_ATTRIBUTES, DECODER_ATTRIBUTE, DECODER_NOLACE, HINT_TOPIC, MODELS_ATTRIBUTE, PublisherHint,
    PublisherReport, REPORT_TOPIC, SourceCodec,
};
pub use ids::{
    CallId, NAME_MAX, ParticipantId, RoomName, SessionId, TenantId, TrackId, UserId, UserKey, check_name,
};
pub use metric::{Media, MetricRow, NetworkClass, Prediction, QualityMetric, SavingsBasis};
pub use mode::Mode;
pub use policy::Policy;
pub use reason::Reason;
pub use rung::{Lean, Neural, NeuralRate, PacketTime, Rung};
pub use units::{Bitrate, Mos, QualityScore};
