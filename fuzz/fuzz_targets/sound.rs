//! Any file is read as sound or refused; what is read is finite and ends.
#![no_main]
use std::io::Cursor;

use auralink_audio::Reader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut reader) = Reader::new("fuzz", Cursor::new(bytes.to_vec()), 16_000) else {
        return;
    };
    let mut pcm = [0.0; 4_096];
    while let Ok(count @ 1..) = reader.read(&mut pcm) {
        // Full scale, and what a filter may overshoot with the worst of signals.
        assert!(pcm[..count].iter().all(|sample| sample.abs() < 8.0));
    }
});
