//! The core as a gRPC service, and the stubs of both ends. The only place where gRPC's own types are seen.

mod audio;
mod codec;
mod compress;
mod decompress;
mod one_shot;
mod peer;
mod post;
mod relay;
mod results;
mod server;
mod service;
mod status;

pub use server::{GrpcConfig, GrpcServer, GrpcStartError, Security};

/// What tonic made of the service in `proto/aic/v1/aic_compression.proto`.
#[allow(missing_docs, clippy::all, clippy::pedantic, rustdoc::all)]
pub mod stubs {
    include!(concat!(env!("OUT_DIR"), "/aic.v1.rs"));
}
