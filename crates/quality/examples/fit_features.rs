//! Codes speech with Opus under many settings and prints the estimator's features per 3.2 s piece, for
//! `fit/fit.py`: `fit_features <folder of 16 kHz mono WAV> <output folder>`.
//!
//! Writes each decoded clip, delay removed, as `<clip>.<condition>.wav` and `features.csv` beside them.

use std::io::Write;
use std::path::{Path, PathBuf};

use auralink_opus::{Bandwidth, Decoder, Encoder, EncoderConfig};
use auralink_quality::Estimator;

const PIECE: usize = 51_200;

struct Condition {
    name: String,
    config: Option<EncoderConfig>,
    complexity: u8,
    distortion: fn(&[f32]) -> Vec<f32>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(input), Some(output)) = (args.next(), args.next()) else {
        return Err("usage: fit_features <folder of wav> <output folder>".into());
    };
    std::fs::create_dir_all(&output)?;
    let mut csv = std::fs::File::create(output.join("features.csv"))?;
    writeln!(
        csv,
        "clip,condition,piece,kbps,delay,found,disturbance,added,low,mid,high,dulled,snr_low,snr_mid,estimate"
    )?;
    let mut clips: Vec<_> = std::fs::read_dir(input)?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<_, _>>()?;
    clips.sort();
    for path in clips
        .iter()
        .filter(|path| path.extension().is_some_and(|ext| ext == "wav"))
    {
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let pcm = read_wav(path)?;
        for condition in conditions() {
            let (decoded, kbps, delay) = condition.apply(&pcm)?;
            let found = found_delay(&pcm, &decoded).map_or(-1, |samples| samples as i64);
            write_wav(
                &output.join(format!("{name}.{}.wav", condition.name)),
                &decoded[delay.min(decoded.len())..],
            )?;
            // The delay is cut off below, so the estimator has nothing to skip.
            let mut estimator = Estimator::with_delay(0);
            for (piece, (reference, coded)) in pcm
                .chunks_exact(PIECE)
                .zip(decoded[delay..].chunks_exact(PIECE))
                .enumerate()
            {
                estimator.push(reference, coded);
                if let (Some(f), Some(mos)) = (estimator.features(), estimator.estimate()) {
                    writeln!(
                        csv,
                        "{name},{},{piece},{kbps:.2},{delay},{found},{},{},{},{},{},{},{},{},{}",
                        condition.name,
                        f.disturbance,
                        f.added,
                        f.distance_db[0],
                        f.distance_db[1],
                        f.distance_db[2],
                        f.dulled_db,
                        f.snr_db[0],
                        f.snr_db[1],
                        mos.value()
                    )?;
                }
            }
        }
    }
    Ok(())
}

fn found_delay(reference: &[f32], decoded: &[f32]) -> Option<usize> {
    let mut finder = Estimator::new();
    finder.push(reference, decoded);
    finder.delay()
}

fn conditions() -> Vec<Condition> {
    let mut all = Vec::new();
    let same: fn(&[f32]) -> Vec<f32> = |pcm| pcm.to_vec();
    let mut opus = |name: String, config: EncoderConfig, complexity| {
        all.push(Condition {
            name,
            config: Some(config),
            complexity,
            distortion: same,
        });
    };
    for packet_ms in [20, 60] {
        for kbps in [6, 8, 9, 10, 12, 16, 24, 32, 48] {
            opus(
                format!("wb{kbps}_{packet_ms}"),
                EncoderConfig::lean(kbps * 1000, packet_ms),
                0,
            );
        }
        for kbps in [6, 8, 9, 12] {
            opus(
                format!("nolace{kbps}_{packet_ms}"),
                EncoderConfig::lean(kbps * 1000, packet_ms),
                7,
            );
        }
        for kbps in [6, 9] {
            let config = EncoderConfig {
                bandwidth: Some(Bandwidth::Narrow),
                ..EncoderConfig::lean(kbps * 1000, packet_ms)
            };
            opus(format!("nb{kbps}_{packet_ms}"), config, 0);
        }
    }
    all.push(Condition {
        name: "same".into(),
        config: None,
        complexity: 0,
        distortion: same,
    });
    all.push(Condition {
        name: "noise".into(),
        config: None,
        complexity: 0,
        distortion: |pcm| with_noise(pcm, 0.1),
    });
    all.push(Condition {
        name: "hiss".into(),
        config: None,
        complexity: 0,
        distortion: |pcm| with_noise(pcm, 0.02),
    });
    all
}

impl Condition {
    /// The decoded clip, not yet aligned, its payload rate and its delay.
    fn apply(&self, pcm: &[f32]) -> Result<(Vec<f32>, f64, usize), Box<dyn std::error::Error>> {
        let Some(config) = &self.config else {
            return Ok(((self.distortion)(pcm), 256.0, 0));
        };
        let mut encoder = Encoder::new(config)?;
        let mut decoder = Decoder::new(config.sample_rate, 1, self.complexity)?;
        let samples = config.packet_samples();
        let (mut packet, mut audio) = ([0; 1500], vec![0.0; samples]);
        let (mut decoded, mut bytes) = (Vec::new(), 0);
        // Two packets of silence push the end of the clip out of the delay.
        let padded: Vec<f32> = pcm
            .iter()
            .copied()
            .chain(std::iter::repeat_n(0.0, 2 * samples))
            .collect();
        for chunk in padded.chunks_exact(samples) {
            let len = encoder.encode(chunk, &mut packet)?;
            decoder.decode(&packet[..len], &mut audio)?;
            decoded.extend_from_slice(&audio);
            bytes += len;
        }
        let kbps = bytes as f64 * 8.0 / (decoded.len() as f64 / 16.0);
        decoded
            .iter_mut()
            .for_each(|sample| *sample = sample.clamp(-1.0, 1.0));
        Ok((decoded, kbps, encoder.lookahead()?))
    }
}

/// White noise at a part of the clip's effective value.
fn with_noise(pcm: &[f32], part: f32) -> Vec<f32> {
    let effective = (pcm.iter().map(|x| x * x).sum::<f32>() / pcm.len() as f32).sqrt();
    let mut state = 1u32;
    pcm.iter()
        .map(|&sample| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let uniform = (state >> 8) as f32 / (1 << 23) as f32 - 1.0;
            sample + effective * part * uniform * 3f32.sqrt()
        })
        .collect()
}

fn read_wav(path: &Path) -> Result<Vec<f32>, hound::Error> {
    let mut reader = hound::WavReader::open(path)?;
    reader
        .samples::<i16>()
        .map(|sample| sample.map(|sample| f32::from(sample) / 32768.0))
        .collect()
}

fn write_wav(path: &Path, pcm: &[f32]) -> Result<(), hound::Error> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec)?;
    for &sample in pcm {
        writer.write_sample((sample * 32767.0) as i16)?;
    }
    writer.finalize()
}
