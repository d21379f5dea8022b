//! Real speech through encoder and decoder. Looks for `$AURALINK_DATA` or `../shared/data` beside the
//! repository and skips loudly without it.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use auralink_opus::{Decoder, Dred, Encoder, EncoderConfig, packet_samples};

fn clips() -> Vec<(PathBuf, Vec<f32>)> {
    let root = std::env::var_os("AURALINK_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")),
        PathBuf::from,
    );
    let folder = root.join("speech/test");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("SKIPPED: no speech in {}", folder.display());
        return Vec::new();
    };
    let mut paths: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "flac"))
        .collect();
    paths.sort();
    let clips: Vec<_> = paths
        .into_iter()
        .filter_map(|path| {
            let mut reader = claxon::FlacReader::open(&path).unwrap();
            let info = reader.streaminfo();
            let scale = 2f32.powi(1 - info.bits_per_sample as i32);
            let pcm: Vec<f32> = reader
                .samples()
                .map(|sample| sample.unwrap() as f32 * scale)
                .collect();
            (info.sample_rate == 16_000 && info.channels == 1).then_some((path, pcm))
        })
        .take(3)
        .collect();
    if clips.is_empty() {
        eprintln!("SKIPPED: no 16 kHz mono clip in {}", folder.display());
    }
    clips
}

/// Codes whole packets; returns the decoded audio, its bits per second, and the encoder's look-ahead.
fn code(config: &EncoderConfig, complexity: u8, pcm: &[f32]) -> (Vec<f32>, f64, usize) {
    let mut encoder = Encoder::new(config).unwrap();
    let mut decoder = Decoder::new(config.sample_rate, config.channels, complexity).unwrap();
    let samples = config.packet_samples();
    let (mut out, mut bytes, mut packets) = (Vec::new(), 0, 0);
    let mut packet = [0u8; 1500];
    let mut audio = vec![0.0; samples];
    for chunk in pcm.chunks_exact(samples) {
        let len = encoder.encode(chunk, &mut packet).unwrap();
        assert_eq!(
            packet_samples(&packet[..len], config.sample_rate).unwrap(),
            samples
        );
        assert_eq!(decoder.decode(&packet[..len], &mut audio).unwrap(), samples);
        out.extend_from_slice(&audio);
        bytes += len;
        packets += 1;
    }
    let seconds = f64::from(packets * config.packet_ms) / 1000.0;
    (out, bytes as f64 * 8.0 / seconds, encoder.lookahead().unwrap())
}

/// Packets of 20 ms.
fn packets(encoder: &mut Encoder, pcm: &[f32]) -> Vec<Vec<u8>> {
    pcm.chunks_exact(320)
        .map(|chunk| {
            let mut packet = [0u8; 1500];
            let len = encoder.encode(chunk, &mut packet).unwrap();
            packet[..len].to_vec()
        })
        .collect()
}

/// Best normalised correlation over lags of 0 to 200 samples.
fn correlation(reference: &[f32], decoded: &[f32]) -> f32 {
    (0..200)
        .map(|lag| {
            let (mut xy, mut xx, mut yy) = (0.0f64, 1e-9f64, 1e-9f64);
            for (&x, &y) in reference.iter().zip(&decoded[lag..]) {
                xy += f64::from(x * y);
                xx += f64::from(x * x);
                yy += f64::from(y * y);
            }
            (xy / (xx * yy).sqrt()) as f32
        })
        .fold(-1.0, f32::max)
}

#[test]
fn twelve_kbps_in_sixty_ms_packets_holds_its_rate_and_sounds_like_the_input() {
    for (path, pcm) in clips() {
        let (out, rate, _) = code(&EncoderConfig::lean(12_000, 60), 0, &pcm);
        let r = correlation(&pcm, &out);
        println!("{}: {rate:.0} bps, r = {r:.3}", path.display());
        assert!((9_000.0..15_000.0).contains(&rate), "{rate} bps");
        assert!(r > 0.8, "correlation {r}");
    }
}

#[test]
fn every_packet_time_decodes_to_its_own_length_at_every_lean_rate() {
    for (_, pcm) in clips().into_iter().take(1) {
        for packet_ms in [20, 40, 60, 80, 100, 120] {
            for bitrate in [8_000, 16_000, 24_000] {
                let (out, rate, _) = code(&EncoderConfig::lean(bitrate, packet_ms), 0, &pcm);
                let r = correlation(&pcm, &out);
                assert!(
                    rate < f64::from(bitrate) * 1.25,
                    "{packet_ms} ms {bitrate}: {rate}"
                );
                assert!(r > 0.6, "{packet_ms} ms {bitrate}: correlation {r}");
            }
        }
    }
}

#[test]
fn nolace_changes_low_rate_speech_and_keeps_it_close_to_the_input() {
    for (_, pcm) in clips().into_iter().take(1) {
        let config = EncoderConfig::lean(8_000, 60);
        let (plain, ..) = code(&config, 0, &pcm);
        let (enhanced, ..) = code(&config, 7, &pcm);
        assert_ne!(plain, enhanced);
        assert!(enhanced.iter().all(|sample| sample.is_finite()));
        let (before, after) = (correlation(&pcm, &plain), correlation(&pcm, &enhanced));
        assert!(after > before - 0.05, "plain {before}, NoLACE {after}");
    }
}

#[test]
fn a_lost_packet_comes_back_from_the_copy_in_the_next_one() {
    for (_, pcm) in clips().into_iter().take(1) {
        let config = EncoderConfig {
            inband_fec: true,
            expected_loss_percent: 30,
            ..EncoderConfig::lean(24_000, 20)
        };
        let mut encoder = Encoder::new(&config).unwrap();
        let packets = packets(&mut encoder, &pcm);
        let mut clean = Decoder::new(16_000, 1, 0).unwrap();
        let mut fec = Decoder::new(16_000, 1, 0).unwrap();
        let mut concealing = Decoder::new(16_000, 1, 0).unwrap();
        let (mut a, mut b, mut c) = ([0.0; 320], [0.0; 320], [0.0; 320]);
        let (mut fec_error, mut conceal_error, mut energy) = (0.0f64, 0.0f64, 0.0f64);
        for (n, packet) in packets.iter().enumerate() {
            clean.decode(packet, &mut a).unwrap();
            match packets.get(n + 1) {
                Some(next) if n % 4 == 3 => {
                    fec.decode_fec(next, 320, &mut b).unwrap();
                    concealing.conceal(320, &mut c).unwrap();
                    for i in 0..320 {
                        fec_error += f64::from(a[i] - b[i]).powi(2);
                        conceal_error += f64::from(a[i] - c[i]).powi(2);
                        energy += f64::from(a[i]).powi(2);
                    }
                }
                _ => {
                    fec.decode(packet, &mut b).unwrap();
                    concealing.decode(packet, &mut c).unwrap();
                }
            }
        }
        println!(
            "error of lost frames: fec {:.3}, concealed {:.3}",
            fec_error / energy,
            conceal_error / energy
        );
        assert!(
            fec_error < conceal_error * 0.8,
            "fec {fec_error}, concealed {conceal_error}"
        );
    }
}

/// Loudness of a frame in dB of full scale.
fn loudness(pcm: &[f32]) -> f32 {
    let power = pcm.iter().map(|sample| sample * sample).sum::<f32>() / pcm.len() as f32;
    10.0 * (power + 1e-9).log10()
}

#[test]
fn a_hole_of_120_ms_keeps_its_loudness_contour_by_deep_redundancy() {
    const HOLE: usize = 6;
    const EVERY: usize = 20;
    for (_, pcm) in clips() {
        let config = EncoderConfig {
            expected_loss_percent: 30,
            ..EncoderConfig::lean(24_000, 20)
        };
        let mut encoder = Encoder::new(&config).unwrap();
        encoder.set_dred(50).unwrap();
        let packets = packets(&mut encoder, &pcm);
        let decoder = || Decoder::new(16_000, 1, 5).unwrap();
        let (mut clean, mut deep, mut concealing) = (decoder(), decoder(), decoder());
        let mut dred = Dred::new().unwrap();
        let (mut a, mut b, mut c) = ([0.0; 320], [0.0; 320], [0.0; 320]);
        let (mut deep_error, mut conceal_error, mut loud) = (0.0, 0.0, 0);
        for (n, packet) in packets.iter().enumerate() {
            clean.decode(packet, &mut a).unwrap();
            // Packets left of the hole, this one included; the first one after it tells what was in it.
            let left = (EVERY - n % EVERY) * usize::from(n % EVERY >= EVERY - HOLE);
            match packets.get(n + left) {
                Some(next) if left > 0 => {
                    if left == HOLE {
                        assert!(dred.read(next, HOLE * 320, 16_000).unwrap() > 0, "packet {n}");
                    }
                    deep.decode_dred(&dred, left * 320, 320, &mut b).unwrap();
                    concealing.conceal(320, &mut c).unwrap();
                    if loudness(&a) > -45.0 {
                        deep_error += (loudness(&a) - loudness(&b)).abs();
                        conceal_error += (loudness(&a) - loudness(&c)).abs();
                        loud += 1;
                    }
                }
                _ => {
                    deep.decode(packet, &mut b).unwrap();
                    concealing.decode(packet, &mut c).unwrap();
                }
            }
        }
        let mean = |error: f32| error / loud as f32;
        println!(
            "loudness of {loud} lost frames is off by {:.1} dB with deep redundancy, {:.1} without",
            mean(deep_error),
            mean(conceal_error)
        );
        assert!(loud > 20);
        assert!(
            deep_error < conceal_error * 0.8,
            "off by {} dB with deep redundancy, {} without",
            mean(deep_error),
            mean(conceal_error)
        );
    }
}
