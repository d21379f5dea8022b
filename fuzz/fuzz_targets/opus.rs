//! Any packets in a row decode or are refused, and never yield more audio than their header says.
#![no_main]
use auralink_opus::{Decoder, packet_samples};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|stream: &[u8]| {
    let mut decoder = Decoder::new(16_000, 1, 0).expect("plain settings");
    let mut pcm = [0.0; 1920];
    let mut rest = stream;
    while let Some((&len, after)) = rest.split_first() {
        let (packet, next) = after.split_at(after.len().min(len.into()));
        match decoder.decode(packet, &mut pcm) {
            Ok(samples) => assert_eq!(Ok(samples), packet_samples(packet, 16_000)),
            Err(_) => assert!(decoder.conceal(320, &mut pcm).is_ok()),
        }
        rest = next;
    }
});
