//! WAV files to 16 kHz mono and back.

use std::path::Path;

use anyhow::{Context, ensure};
use auralink_codec::SAMPLE_RATE;
use hound::{SampleFormat, WavReader, WavSpec, WavWriter};

use super::resample::resample;

/// Rates a WAV file may have: beyond them the header is damaged rather than unusual.
const RATES: std::ops::RangeInclusive<u32> = 4_000..=384_000;

/// A WAV file of any rate, channel count and sample format, as 16 kHz mono in [-1, 1].
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<f32>> {
    let name = || path.display().to_string();
    let mut wav = WavReader::open(path).with_context(name)?;
    let spec = wav.spec();
    ensure!(spec.channels > 0, "{}: no channels", name());
    ensure!(
        RATES.contains(&spec.sample_rate),
        "{}: sample rate {} Hz is out of bounds",
        name(),
        spec.sample_rate
    );
    let all: Vec<f32> = match spec.sample_format {
        SampleFormat::Float => wav
            .samples::<f32>()
            .collect::<Result<_, _>>()
            .with_context(name)?,
        SampleFormat::Int => {
            let full = 2f32.powi(i32::from(spec.bits_per_sample) - 1);
            wav.samples::<i32>()
                .map(|s| s.map(|s| s as f32 / full))
                .collect::<Result<_, _>>()
                .with_context(name)?
        }
    };
    ensure!(
        all.iter().all(|s| s.is_finite()),
        "{}: holds samples that are not finite",
        name()
    );
    let channels = usize::from(spec.channels);
    let mono: Vec<f32> = all
        .chunks_exact(channels)
        .map(|c| c.iter().sum::<f32>() / channels as f32)
        .collect();
    Ok(resample(&mono, spec.sample_rate, SAMPLE_RATE))
}

/// Write 16 kHz mono as 16-bit WAV.
pub(super) fn write(path: &Path, sound: &[f32]) -> anyhow::Result<()> {
    let name = || format!("writing {}", path.display());
    let spec = WavSpec {
        channels: 1,
        sample_rate: SAMPLE_RATE,
        bits_per_sample: 16,
        sample_format: SampleFormat::Int,
    };
    let mut wav = WavWriter::create(path, spec).with_context(name)?;
    for &s in sound {
        wav.write_sample((s * 32_768.0).round().clamp(-32_768.0, 32_767.0) as i16)
            .with_context(name)?;
    }
    wav.finalize().with_context(name)
}
