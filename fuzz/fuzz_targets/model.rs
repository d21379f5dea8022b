//! Any model file loads or is refused with a reason; the hash is made to fit, so that what lies behind it is reached.
#![no_main]
use auralink_codec::Model;
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};

fuzz_target!(|input: (&str, &[u8])| {
    let (manifest, weights) = input;
    let _ = Model::load(weights, manifest.as_bytes());
    let digest: String = Sha256::digest(weights).iter().map(|b| format!("{b:02x}")).collect();
    let fitting = format!(
        r#"{{"format":1,"name":"x","sha256":"{digest}","licence":"x","sample_rate":16000,"frame":320,"levels":18,
        "shape":{{"enc_width":32,"enc_blocks":1,"dec_width":32,"dec_blocks":1,"expand":1,"kernel":1}},
        "steps":1,"data":null,"figures":null}}"#
    );
    let _ = Model::load(weights, fitting.as_bytes());
});
