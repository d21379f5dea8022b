//! RED against hand-made payloads, truncation, and chance.
#![allow(clippy::unwrap_used)]

use auralink_wire::WireError;
use auralink_wire::red::{Block, MAX_BLOCK_BYTES, MAX_OFFSET, Red, write};
use proptest::prelude::*;

/// As a LiveKit client sends it: type 111 inside 63, distance 1, 20 ms at 48 kHz.
const LIVEKIT: [u8; 10] = [0xef, 0x0f, 0x00, 0x02, 0x6f, 0xaa, 0xbb, 0x01, 0x02, 0x03];

#[test]
fn a_livekit_payload_gives_the_copy_first_and_the_primary_last() {
    let red = Red::parse(&LIVEKIT).unwrap();
    let blocks: Vec<_> = red.blocks().collect();
    assert_eq!(
        blocks,
        [
            Block {
                payload_type: 111,
                timestamp_offset: 960,
                payload: &[0xaa, 0xbb]
            },
            Block {
                payload_type: 111,
                timestamp_offset: 0,
                payload: &[1, 2, 3]
            },
        ]
    );
    assert_eq!(red.primary(), blocks[1]);
    let mut out = Vec::new();
    write(&blocks[..1], &blocks[1], &mut out).unwrap();
    assert_eq!(out, LIVEKIT);
}

#[test]
fn every_cut_before_the_end_of_the_last_copy_is_an_error() {
    for len in 0..7 {
        assert!(
            matches!(Red::parse(&LIVEKIT[..len]), Err(WireError::Truncated { .. })),
            "{len}"
        );
    }
    for len in 7..LIVEKIT.len() {
        let red = Red::parse(&LIVEKIT[..len]).unwrap();
        assert_eq!(red.primary().payload.len(), len - 7);
    }
}

#[test]
fn headers_without_end_are_refused() {
    assert!(matches!(
        Red::parse(&[0xff; 1400]),
        Err(WireError::Range {
            field: "red blocks",
            value: 17,
            ..
        })
    ));
}

#[test]
fn what_red_cannot_carry_is_named_and_nothing_is_written() {
    let primary = Block {
        payload_type: 111,
        timestamp_offset: 0,
        payload: &[1],
    };
    let long = vec![0; MAX_BLOCK_BYTES + 1];
    let mut out = Vec::new();
    for (bad, name) in [
        (
            Block {
                payload: &long,
                ..primary
            },
            "red block bytes",
        ),
        (
            Block {
                timestamp_offset: MAX_OFFSET + 1,
                ..primary
            },
            "timestamp offset",
        ),
        (
            Block {
                payload_type: 128,
                ..primary
            },
            "payload type",
        ),
    ] {
        let error = write(&[bad], &primary, &mut out).unwrap_err();
        assert!(
            matches!(error, WireError::Range { field, .. } if field == name),
            "{error:?}"
        );
    }
    assert!(write(&[primary; 16], &primary, &mut out).is_err());
    assert!(
        write(
            &[],
            &Block {
                timestamp_offset: 1,
                ..primary
            },
            &mut out
        )
        .is_err()
    );
    assert!(out.is_empty());
}

proptest! {
    #[test]
    fn blocks_survive_the_round_trip(
        redundant in proptest::collection::vec((0u8..128, 0..=MAX_OFFSET, proptest::collection::vec(any::<u8>(), 0..40)), 0..15),
        primary in (0u8..128, proptest::collection::vec(any::<u8>(), 0..60)),
    ) {
        let blocks: Vec<_> = redundant
            .iter()
            .map(|(payload_type, offset, payload)| Block { payload_type: *payload_type, timestamp_offset: *offset, payload })
            .collect();
        let primary = Block { payload_type: primary.0, timestamp_offset: 0, payload: &primary.1 };
        let mut out = Vec::new();
        write(&blocks, &primary, &mut out).unwrap();
        let back: Vec<_> = Red::parse(&out).unwrap().blocks().collect();
        prop_assert_eq!(&back[..blocks.len()], &blocks[..]);
        prop_assert_eq!(back[blocks.len()], primary);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]
    #[test]
    fn random_payloads_never_panic_and_blocks_cover_the_payload(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(red) = Red::parse(&bytes) {
            let blocks: Vec<_> = red.blocks().collect();
            let total: usize = blocks.iter().map(|block| block.payload.len()).sum();
            prop_assert_eq!(total + 4 * (blocks.len() - 1) + 1, bytes.len());
        }
    }
}
