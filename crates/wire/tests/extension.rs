//! The AIC header extension against its document and chance.
#![allow(clippy::unwrap_used)]

use auralink_types::{Bitrate, Lean, Neural, NeuralRate, PacketTime, QualityScore, Reason, Rung};
use auralink_wire::WireError;
use auralink_wire::extension::{AicExtension, BYTES};
use proptest::prelude::*;

const PROTOCOL: &str = include_str!("../../../docs/protocol.md");

fn documented(bytes: [u8; BYTES]) {
    let hex: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let hex = hex.join(" ");
    assert!(
        PROTOCOL.contains(&format!("`{hex}`")),
        "{hex} is not in the document"
    );
}

#[test]
fn the_documents_two_examples_are_what_is_written() {
    let lean = AicExtension {
        rung: Rung::Lean(Lean {
            bitrate: Bitrate::kbps(12),
            packet: PacketTime::Ms60,
            fec: false,
        }),
        reason: Some(Reason::Quality),
        quality: Some(QualityScore::new(0.85)),
        saved_kbps: 95,
    };
    let neural = AicExtension {
        rung: Rung::Neural(Neural {
            rate: NeuralRate::Kbps6,
            packet: PacketTime::Ms40,
            copies: 2,
        }),
        reason: None,
        quality: None,
        saved_kbps: 0,
    };
    documented(lean.to_bytes().unwrap());
    documented(neural.to_bytes().unwrap());
    assert_eq!(AicExtension::parse(&neural.to_bytes().unwrap()).unwrap(), neural);
    let back = AicExtension::parse(&lean.to_bytes().unwrap()).unwrap();
    assert_eq!(
        (back.rung, back.reason, back.saved_kbps),
        (lean.rung, lean.reason, 95)
    );
    assert!((back.quality.unwrap().value() - 0.85).abs() < 1.0 / 254.0);
}

#[test]
fn reasons_have_the_documents_codes() {
    let table = PROTOCOL
        .split("```aic-reasons\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let mut known = 0;
    for line in table.lines() {
        let (code, name) = line.split_once(' ').unwrap();
        let reason = Reason::parse(name).unwrap();
        let extension = AicExtension {
            rung: Rung::Original,
            reason: Some(reason),
            quality: None,
            saved_kbps: 0,
        };
        assert_eq!(extension.to_bytes().unwrap()[0].to_string(), code);
        known += 1;
    }
    assert_eq!(known, Reason::ALL.len());
}

#[test]
fn enhanced_opus_and_its_redundancy_survive_the_wire() {
    for fec in [false, true] {
        let lean = Lean {
            bitrate: Bitrate::kbps(9),
            packet: PacketTime::Ms60,
            fec,
        };
        for rung in [Rung::Lean(lean), Rung::Enhanced(lean)] {
            let extension = AicExtension {
                rung,
                reason: None,
                quality: None,
                saved_kbps: 110,
            };
            assert_eq!(
                AicExtension::parse(&extension.to_bytes().unwrap()).unwrap(),
                extension
            );
        }
    }
}

#[test]
fn every_wrong_length_version_and_reserved_bit_is_refused() {
    let good = [0x11, 0x40, 0x30, 0xd9, 0, 0x5f];
    for len in 0..BYTES {
        assert!(matches!(
            AicExtension::parse(&good[..len]),
            Err(WireError::Truncated { .. })
        ));
    }
    assert!(matches!(
        AicExtension::parse(&[0x11, 0x40, 0x30, 0xd9, 0, 0x5f, 0]),
        Err(WireError::Trailing { .. })
    ));
    for (at, value) in [(0, 0x51), (0, 0x1e), (1, 0xc0), (1, 0x42), (0, 0x01), (0, 0x21)] {
        let mut bad = good;
        bad[at] = value;
        assert!(AicExtension::parse(&bad).is_err(), "{bad:x?}");
    }
}

#[test]
fn a_rate_or_depth_that_does_not_fit_is_refused() {
    let extension = |rung| {
        AicExtension {
            rung,
            reason: None,
            quality: None,
            saved_kbps: 0,
        }
        .to_bytes()
    };
    let lean = |bitrate| Rung::Lean(Lean::new(bitrate, PacketTime::Ms20));
    assert!(extension(lean(Bitrate::bps(63_750))).is_ok());
    assert!(extension(lean(Bitrate::bps(63_751))).is_err());
    assert!(extension(lean(Bitrate::bps(u64::MAX))).is_err());
    let neural = |copies| {
        Rung::Neural(Neural {
            rate: NeuralRate::Kbps3,
            packet: PacketTime::Ms120,
            copies,
        })
    };
    assert!(extension(neural(6)).is_ok());
    assert!(extension(neural(7)).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]
    #[test]
    fn random_bytes_never_panic_and_what_parses_writes_the_same_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..9)) {
        if let Ok(value) = AicExtension::parse(&bytes) {
            prop_assert_eq!(&value.to_bytes().unwrap()[..], &bytes[..]);
        }
    }
}
