//! Messages of the gRPC service: compiled from `proto/` in pure Rust, no `protoc` needed.

use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    let file = root.join("aic/v1/aic_compression.proto");
    println!("cargo:rerun-if-changed={}", file.display());
    let set = protox::compile([&file], [&root])?;
    // Servers answer reflection with it.
    let descriptor = PathBuf::from(std::env::var("OUT_DIR")?).join("aic.v1.bin");
    std::fs::write(descriptor, prost::Message::encode_to_vec(&set))?;
    let mut config = prost_build::Config::new();
    config.bytes(["."]);
    config.compile_fds(set)?;
    Ok(())
}
