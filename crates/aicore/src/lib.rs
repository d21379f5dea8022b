//! The AI core: workers that decode a publisher's packets once and code them for every rung wanted, in this process
//! or as a gRPC service, and the link to such a service elsewhere.
//!
//! Owns worker threads, the codec state of streams, who is admitted to them, and both ends of `proto/aic/v1`. Must
//! never know rooms or users: packets come in through [`auralink_engine::Processor`] or gRPC, coded packets come
//! out. A worker that dies or gets stuck takes its streams with it, says so, and is replaced.
//!
//! ```
//! use std::sync::Arc;
//! use auralink_aicore::LocalCore;
//! use auralink_engine::Processor as _;
//! use auralink_types::Rung;
//!
//! let mut core = LocalCore::start(1, Arc::new(|| {}));
//! let stream = core.open(&[Rung::Original]).unwrap();
//! core.close(stream);
//! ```
#![forbid(unsafe_code)]

mod admission;
mod advice;
mod coder;
mod core;
mod effort;
mod governor;
pub mod grpc;
mod input;
mod listener;
mod output;
mod pcm;
mod pool;
mod remote;
mod round;
mod stream;
mod tls;
mod watch;
mod worker;

pub use crate::admission::{Denied, Limits};
pub use crate::core::{CoreFaults, LocalCore, Workers};
pub use crate::grpc::{GrpcConfig, GrpcServer, GrpcStartError, Security};
pub use crate::pool::PoolStats;
pub use crate::remote::{RemoteConfig, RemoteCore, RemoteError};
pub use crate::tls::{Certified, DevCertificates, TlsFileError, TlsFiles};
