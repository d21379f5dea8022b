//! The gRPC service's two ends; its messages are in `auralink-wire`.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    let file = root.join("aic/v1/aic_compression.proto");
    println!("cargo:rerun-if-changed={}", file.display());
    let set = protox::compile([&file], [&root])?;
    tonic_prost_build::configure()
        .extern_path(".aic.v1", "::auralink_wire::proto::v1")
        .codec_path("crate::grpc::codec::Codec")
        .compile_fds(set)?;
    Ok(())
}
