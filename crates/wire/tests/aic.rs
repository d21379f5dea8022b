//! The AIC payload against its document, truncation, and chance.
#![allow(clippy::unwrap_used)]

use auralink_wire::WireError;
use auralink_wire::aic::{AicPacket, COPY_LEVELS, HEADER_BYTES, MAX_CODE, is_aic};
use proptest::prelude::*;

const PROTOCOL: &str = include_str!("../../../docs/protocol.md");

fn table(name: &str) -> Vec<Vec<String>> {
    let start = PROTOCOL.find(&format!("```{name}\n")).unwrap();
    let body = PROTOCOL[start..]
        .split_once('\n')
        .unwrap()
        .1
        .split("```")
        .next()
        .unwrap();
    body.lines()
        .map(|line| line.split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

fn groups(cell: &str) -> Vec<Vec<u16>> {
    cell.split('/')
        .map(|group| {
            group
                .split_whitespace()
                .map(|code| code.parse().unwrap())
                .collect::<Vec<u16>>()
        })
        .filter(|group| !group.is_empty())
        .collect()
}

fn build(
    model: u16,
    first: u16,
    dtx: bool,
    levels: u8,
    copy_levels: u8,
    frames: &[Vec<u16>],
    copies: &[Vec<u16>],
) -> AicPacket {
    let mut packet = AicPacket::new(model, levels, copy_levels);
    packet.restart(first, dtx);
    for frame in frames {
        packet.push_frame(frame).unwrap();
    }
    for copy in copies {
        packet.push_copy(copy).unwrap();
    }
    packet
}

#[test]
fn the_documents_vectors_write_and_parse_as_stated() {
    let vectors = table("aic-vectors");
    assert!(vectors.len() >= 4);
    for cells in vectors {
        let fields: Vec<u16> = cells[1]
            .split_whitespace()
            .map(|field| field.parse().unwrap())
            .collect();
        let (frames, copies) = (groups(&cells[2]), groups(&cells[3]));
        let packet = build(
            fields[0],
            fields[1],
            fields[2] == 1,
            fields[3] as u8,
            fields[4] as u8,
            &frames,
            &copies,
        );
        let mut payload = Vec::new();
        packet.write(&mut payload).unwrap();
        assert_eq!(payload, bytes(&cells[4]), "{}", cells[0]);
        let parsed = AicPacket::parse(&payload).unwrap();
        assert_eq!(parsed, packet, "{}", cells[0]);
        for (i, frame) in frames.iter().enumerate() {
            assert_eq!(parsed.frame(i), frame);
        }
        for (i, copy) in copies.iter().enumerate() {
            assert_eq!(parsed.copy(i), (fields[1].wrapping_sub(1 + i as u16), &copy[..]));
        }
    }
}

#[test]
fn the_documents_invalid_payloads_are_refused_with_the_stated_error() {
    let vectors = table("aic-invalid");
    assert!(vectors.len() >= 10);
    for cells in vectors {
        let error = AicPacket::parse(&bytes(&cells[1])).unwrap_err();
        let kind = format!("{error:?}");
        assert!(kind.starts_with(&cells[2]), "{}: {kind}", cells[0]);
    }
}

#[test]
fn every_length_but_the_right_one_is_refused() {
    for cells in table("aic-vectors") {
        let payload = bytes(&cells[4]);
        for len in 0..payload.len() {
            let error = AicPacket::parse(&payload[..len]).unwrap_err();
            assert!(
                matches!(error, WireError::NotAic | WireError::Truncated { .. }),
                "{len}: {error:?}"
            );
        }
        let mut longer = payload.clone();
        longer.push(0);
        assert!(matches!(
            AicPacket::parse(&longer),
            Err(WireError::Trailing { .. })
        ));
    }
}

#[test]
fn a_failed_read_keeps_what_was_there_and_a_failed_write_appends_nothing() {
    let mut packet = build(9, 8, false, 3, 3, &[vec![1, 2, 3]], &[]);
    let before = packet.clone();
    assert!(packet.read(&[0x1b, 0, 0x20, 0, 1]).is_err());
    assert!(packet.read(&[0x78, 1, 2, 3]).is_err());
    assert_eq!(packet, before);

    let mut out = vec![42];
    packet.restart(9, false);
    assert!(matches!(
        packet.write(&mut out),
        Err(WireError::Range {
            field: "frames",
            value: 0,
            ..
        })
    ));
    assert_eq!(out, [42]);
}

#[test]
fn what_does_not_fit_the_wire_is_named() {
    let mut packet = AicPacket::new(1, 3, 3);
    let field = |result: Result<(), WireError>| match result.unwrap_err() {
        WireError::Range { field, value, .. } => (field, value),
        other => panic!("{other:?}"),
    };
    assert_eq!(field(packet.push_frame(&[1, 2])), ("levels of a frame", 2));
    assert_eq!(field(packet.push_frame(&[1, 2, 1024])), ("code", 1024));
    assert_eq!(field(packet.push_copy(&[1; 4])), ("levels of a copy", 4));
    for _ in 0..6 {
        packet.push_frame(&[1, 2, 3]).unwrap();
        packet.push_copy(&[1, 2, 3]).unwrap();
    }
    assert_eq!(field(packet.push_frame(&[1, 2, 3])), ("frames", 7));
    assert_eq!(field(packet.push_copy(&[1, 2, 3])), ("copies", 7));
    assert_eq!(
        field(AicPacket::new(1, 32, 3).push_frame(&[0; 32])),
        ("levels", 32)
    );

    let mut odd = AicPacket::new(1, 12, 5);
    odd.push_frame(&[0; 12]).unwrap();
    odd.push_copy(&[0; 5]).unwrap();
    assert_eq!(odd.write(&mut Vec::new()).map_err(|_| ()), Err(()));
}

#[test]
fn opus_packets_and_dtx_frames_are_never_taken_for_aic() {
    for toc in 0..=255u8 {
        assert!(!is_aic(&[toc]));
        for count in 1..64u8 {
            assert!(!is_aic(&[toc, count]));
        }
        assert_eq!(is_aic(&[toc, 0]), toc & 3 == 3);
    }
    assert!(!is_aic(&[]));
}

fn packets() -> impl Strategy<Value = AicPacket> {
    let code = 0..=MAX_CODE;
    (
        1u8..=31,
        0usize..4,
        1usize..=6,
        0usize..=6,
        any::<(u16, u16, bool)>(),
    )
        .prop_flat_map(move |(levels, copy, frames, copies, (model, first, dtx))| {
            let copy_levels = if copies == 0 { 3 } else { COPY_LEVELS[copy] };
            let block = |levels: u8, count| {
                proptest::collection::vec(
                    proptest::collection::vec(code.clone(), usize::from(levels)),
                    count,
                )
            };
            (block(levels, frames), block(copy_levels, copies)).prop_map(move |(frames, copies)| {
                build(model, first, dtx, levels, copy_levels, &frames, &copies)
            })
        })
}

proptest! {
    #[test]
    fn what_was_written_is_read_back_into_a_used_packet(packet in packets(), used in packets()) {
        let mut payload = Vec::new();
        packet.write(&mut payload).unwrap();
        prop_assert_eq!(payload.len(), packet.payload_len());
        prop_assert!(is_aic(&payload));
        let mut back = used;
        back.read(&payload).unwrap();
        prop_assert_eq!(&back, &packet);
        let mut again = Vec::new();
        back.write(&mut again).unwrap();
        prop_assert_eq!(again, payload);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]
    #[test]
    fn random_payloads_never_panic_and_what_parses_has_one_form(
        head in any::<[u8; HEADER_BYTES]>(), body in proptest::collection::vec(any::<u8>(), 0..64), mark in any::<bool>(),
    ) {
        let mut payload = [&head[..], &body[..]].concat();
        if mark {
            // Past the mark and the version, so that the fields themselves are tried.
            payload[0] |= 3;
            payload[1] = 0;
        }
        if let Ok(packet) = AicPacket::parse(&payload) {
            let mut again = Vec::new();
            packet.write(&mut again).unwrap();
            prop_assert_eq!(again, payload);
        }
    }
}
