//! Any payload parses or is refused; what parses is written back byte for byte.
#![no_main]
use auralink_wire::red::{Red, write};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    if let Ok(red) = Red::parse(payload) {
        let blocks: Vec<_> = red.blocks().collect();
        let (primary, redundant) = blocks.split_last().expect("the primary is always there");
        let mut again = Vec::new();
        write(redundant, primary, &mut again).expect("parsed blocks are in range");
        assert_eq!(again, payload);
    }
});
