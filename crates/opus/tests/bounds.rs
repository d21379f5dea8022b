//! Bad settings, bad lengths, bad packets.
#![allow(clippy::unwrap_used)]

use auralink_opus::{Decoder, Encoder, EncoderConfig, OpusError, packet_channels, packet_samples};
use proptest::prelude::*;

fn tone(samples: usize) -> Vec<f32> {
    (0..samples).map(|n| 0.3 * (n as f32 * 0.11).sin()).collect()
}

#[test]
fn a_wrong_setting_is_named_with_its_value() {
    let good = EncoderConfig::lean(12_000, 60);
    let field = |config: EncoderConfig| match Encoder::new(&config) {
        Err(OpusError::Config { field, value, .. }) => (field, value),
        other => panic!("{:?}", other.err()),
    };
    assert_eq!(
        field(EncoderConfig {
            sample_rate: 44_100,
            ..good.clone()
        }),
        ("sample_rate", 44_100)
    );
    assert_eq!(
        field(EncoderConfig {
            channels: 3,
            ..good.clone()
        }),
        ("channels", 3)
    );
    assert_eq!(
        field(EncoderConfig {
            bitrate: 0,
            ..good.clone()
        }),
        ("bitrate", 0)
    );
    assert_eq!(
        field(EncoderConfig {
            packet_ms: 30,
            ..good.clone()
        }),
        ("packet_ms", 30)
    );
    assert_eq!(
        field(EncoderConfig {
            complexity: 11,
            ..good.clone()
        }),
        ("complexity", 11)
    );
    assert_eq!(
        field(EncoderConfig {
            expected_loss_percent: 101,
            ..good
        }),
        ("expected_loss_percent", 101)
    );
    assert!(Decoder::new(16_000, 0, 0).is_err());
    assert!(Decoder::new(16_000, 1, 11).is_err());
}

#[test]
fn pcm_that_is_not_one_packet_is_refused() {
    let mut encoder = Encoder::new(&EncoderConfig::lean(12_000, 60)).unwrap();
    let mut out = [0; 1500];
    for samples in [0, 1, 320, 959, 961] {
        let error = encoder.encode(&vec![0.0; samples], &mut out).unwrap_err();
        assert_eq!(
            error,
            OpusError::PcmLength {
                got: samples,
                expected: 960
            }
        );
    }
    assert!(encoder.encode(&[0.0; 960], &mut []).is_err());
    assert!(encoder.encode(&tone(960), &mut out).unwrap() > 10);
}

#[test]
fn packets_get_longer_and_dearer_in_mid_stream_without_a_seam() {
    let own = EncoderConfig {
        bitrate: 48_000,
        ..EncoderConfig::lean_48k(48_000, 20)
    };
    let mut encoder = Encoder::new(&own).unwrap();
    let mut decoder = Decoder::new(48_000, 1, 0).unwrap();
    let pcm: Vec<f32> = (0..96_000).map(|n| 0.3 * (n as f32 * 0.02).sin()).collect();
    let (mut heard, mut packet, mut at) = (Vec::new(), [0; 1500], 0);
    for (bitrate, packet_ms) in [
        (48_000, 20),
        (16_000, 40),
        (16_000, 60),
        (12_000, 80),
        (12_000, 120),
        (32_000, 20),
    ] {
        encoder
            .configure(&EncoderConfig::lean_48k(bitrate, packet_ms))
            .unwrap();
        let samples = 48 * packet_ms as usize;
        for _ in 0..240 / packet_ms {
            let len = encoder.encode(&pcm[at..at + samples], &mut packet).unwrap();
            let mut out = vec![0.0; samples];
            assert_eq!(decoder.decode(&packet[..len], &mut out).unwrap(), samples);
            heard.extend(out);
            at += samples;
        }
    }
    let quietest = heard[4_800..]
        .chunks_exact(480)
        .map(|block| (block.iter().map(|x| x * x).sum::<f32>() / 480.0).sqrt())
        .fold(f32::MAX, f32::min);
    assert!(quietest > 0.15, "a 10 ms block at {quietest}");
}

#[test]
fn what_an_encoder_cannot_change_is_refused_by_name() {
    let config = EncoderConfig::lean(12_000, 60);
    let mut encoder = Encoder::new(&config).unwrap();
    let wrong = [
        EncoderConfig::lean_48k(12_000, 60),
        EncoderConfig {
            channels: 2,
            ..config.clone()
        },
        EncoderConfig {
            application: auralink_opus::Application::Audio,
            ..config.clone()
        },
        EncoderConfig {
            packet_ms: 50,
            ..config
        },
    ];
    let fields: Vec<String> = wrong
        .iter()
        .map(|config| encoder.configure(config).unwrap_err().to_string())
        .collect();
    for (error, field) in fields
        .iter()
        .zip(["sample_rate", "channels", "application", "packet_ms"])
    {
        assert!(error.contains(field), "{error}");
    }
    assert!(encoder.encode(&tone(960), &mut [0; 1500]).unwrap() > 10);
}

#[test]
fn a_short_output_is_refused_before_anything_is_written() {
    let mut encoder = Encoder::new(&EncoderConfig::lean(12_000, 60)).unwrap();
    let mut packet = [0; 1500];
    let len = encoder.encode(&tone(960), &mut packet).unwrap();
    let mut decoder = Decoder::new(16_000, 1, 0).unwrap();
    let mut short = [7.0; 959];
    assert_eq!(
        decoder.decode(&packet[..len], &mut short).unwrap_err(),
        OpusError::OutputTooSmall {
            got: 959,
            needed: 960
        }
    );
    assert!(short.iter().all(|&sample| sample == 7.0));
    for samples in [0, 1, 41, 1921, 4000] {
        assert!(decoder.conceal(samples, &mut [0.0; 4000]).is_err(), "{samples}");
    }
    assert_eq!(decoder.conceal(960, &mut [0.0; 960]).unwrap(), 960);
}

#[test]
fn stereo_at_48_khz_keeps_its_two_channels() {
    let config = EncoderConfig {
        sample_rate: 48_000,
        channels: 2,
        bandwidth: None,
        ..EncoderConfig::lean(64_000, 20)
    };
    let mut encoder = Encoder::new(&config).unwrap();
    let mut decoder = Decoder::new(48_000, 2, 0).unwrap();
    let left = tone(48_000);
    let (mut packet, mut out) = ([0; 1500], vec![0.0; 1920]);
    let (mut loud, mut quiet) = (0.0, 0.0);
    for chunk in left.chunks_exact(960) {
        let pcm: Vec<f32> = chunk.iter().flat_map(|&sample| [sample, 0.0]).collect();
        let len = encoder.encode(&pcm, &mut packet).unwrap();
        assert_eq!(packet_channels(&packet[..len]), Some(2));
        assert_eq!(decoder.decode(&packet[..len], &mut out).unwrap(), 960);
        loud += out.iter().step_by(2).map(|x| x * x).sum::<f32>();
        quiet += out.iter().skip(1).step_by(2).map(|x| x * x).sum::<f32>();
    }
    assert!(loud > 100.0 * quiet, "left {loud}, right {quiet}");
}

#[test]
fn the_bitrate_can_change_between_packets_and_reset_repeats_the_first_packet() {
    let mut encoder = Encoder::new(&EncoderConfig::lean(9_000, 60)).unwrap();
    let pcm = tone(960);
    let mut packet = [0; 1500];
    let first = encoder.encode(&pcm, &mut packet).unwrap();
    let first = packet[..first].to_vec();
    encoder.set_bitrate(24_000).unwrap();
    encoder.set_expected_loss(10).unwrap();
    assert!(encoder.set_bitrate(1_000_000).is_err());
    let noise: Vec<f32> = (0..960)
        .map(|n| ((n * 7919 % 997) as f32 / 500.0 - 1.0) * 0.3)
        .collect();
    let dear = encoder.encode(&noise, &mut packet).unwrap();
    assert!(dear > first.len(), "{dear} after {}", first.len());
    encoder.set_bitrate(9_000).unwrap();
    encoder.set_expected_loss(0).unwrap();
    encoder.reset().unwrap();
    let again = encoder.encode(&pcm, &mut packet).unwrap();
    assert_eq!(packet[..again], first);
}

#[test]
fn an_aic_payload_is_no_opus_packet() {
    for toc in 0..=63u8 {
        for flags in 0..4u8 {
            let payload = [toc << 2 | 3, flags << 6, 1, 2, 3];
            assert!(packet_samples(&payload, 48_000).is_err());
            let mut decoder = Decoder::new(48_000, 1, 0).unwrap();
            assert!(decoder.decode(&payload, &mut [0.0; 5760]).is_err());
        }
    }
    assert!(packet_samples(&[], 48_000).is_err());
}

#[test]
fn the_duration_agrees_with_libopus_on_every_two_byte_start() {
    for toc in 0..=255u8 {
        for count in 0..=255u8 {
            let packet = [toc, count, 0];
            // SAFETY: the pointer is readable for the three bytes given as length.
            let theirs = unsafe { opusic_sys::opus_packet_get_nb_samples(packet.as_ptr(), 3, 48_000) };
            match packet_samples(&packet, 48_000) {
                Ok(ours) => assert_eq!(ours as i32, theirs, "{toc} {count}"),
                Err(_) => assert!(theirs <= 0, "{toc} {count}: {theirs}"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn random_bytes_never_panic_and_never_write_past_the_packet(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let mut decoder = Decoder::new(16_000, 1, 0).unwrap();
        let mut out = vec![9.0e9f32; 2000];
        if let Ok(samples) = decoder.decode(&bytes, &mut out) {
            prop_assert_eq!(samples, packet_samples(&bytes, 16_000).unwrap());
            prop_assert!(out[samples..].iter().all(|&sample| sample == 9.0e9));
        }
        let _ = decoder.decode_fec(&bytes, 320, &mut out);
    }
}
