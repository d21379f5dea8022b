//! Samples as callers have them, and the 16 kHz mono floats that the codecs work on.

use auralink_codec::SAMPLE_RATE;
use auralink_types::Reason;
use auralink_wire::proto::{PcmFormat, PcmOutput, PcmSample};
use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler};

/// The other rate that callers may use.
const WIDE_RATE: u32 = 48_000;
/// 10 ms at 48 kHz: what PCM comes in multiples of.
const WIDE_STEP: usize = 480;
/// 10 ms at 16 kHz.
const NARROW_STEP: usize = 160;

/// A caller's PCM to 16 kHz mono.
#[derive(Default)]
pub(crate) struct PcmIn {
    down: Option<Fft<f32>>,
    wide: Vec<f32>,
}

impl PcmIn {
    /// Appends the payload's sound to `out`. The payload holds whole multiples of 10 ms.
    pub(crate) fn convert(
        &mut self,
        format: PcmFormat,
        payload: &[u8],
        out: &mut Vec<f32>,
    ) -> Result<(), Reason> {
        if format.rate == SAMPLE_RATE {
            mono(format, payload, out);
            return Ok(());
        }
        self.wide.clear();
        mono(format, payload, &mut self.wide);
        let down = match &mut self.down {
            Some(down) => down,
            none => none.insert(resampler(WIDE_RATE, SAMPLE_RATE, WIDE_STEP)?),
        };
        steps(down, &self.wide, WIDE_STEP, NARROW_STEP, out)
    }
}

/// 16 kHz mono to the PCM a caller wants.
pub(crate) struct PcmOut {
    wanted: PcmOutput,
    up: Option<Fft<f32>>,
    wide: Vec<f32>,
}

impl PcmOut {
    pub(crate) fn new(wanted: PcmOutput) -> Result<Self, Reason> {
        let up = (wanted.rate != SAMPLE_RATE)
            .then(|| resampler(SAMPLE_RATE, WIDE_RATE, NARROW_STEP))
            .transpose()?;
        Ok(Self {
            wanted,
            up,
            wide: Vec::new(),
        })
    }

    /// The sound as bytes. What is no multiple of 10 ms can only be had at 16 kHz.
    pub(crate) fn convert(&mut self, pcm: &[f32]) -> Result<Vec<u8>, Reason> {
        let pcm = match &mut self.up {
            None => pcm,
            Some(up) => {
                self.wide.clear();
                steps(up, pcm, NARROW_STEP, WIDE_STEP, &mut self.wide)?;
                &self.wide
            }
        };
        Ok(match self.wanted.sample {
            PcmSample::F32 => pcm.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
            PcmSample::S16 => pcm
                .iter()
                .flat_map(|sample| {
                    let scaled = (sample.clamp(-1.0, 1.0) * f32::from(i16::MAX)).round();
                    (scaled as i16).to_le_bytes()
                })
                .collect(),
        })
    }
}

fn resampler(from: u32, to: u32, step: usize) -> Result<Fft<f32>, Reason> {
    Fft::new(from as usize, to as usize, step, 1, FixedSync::Both).map_err(|_| Reason::ModelFailure)
}

fn steps(
    resampler: &mut Fft<f32>,
    from: &[f32],
    step: usize,
    wanted: usize,
    out: &mut Vec<f32>,
) -> Result<(), Reason> {
    let (chunks, rest) = (from.chunks_exact(step), from.len() % step);
    if rest != 0 {
        return Err(Reason::BadInput);
    }
    for chunk in chunks {
        let start = out.len();
        out.resize(start + wanted, 0.0);
        let input = InterleavedSlice::new(chunk, 1, step).map_err(|_| Reason::BadInput)?;
        let mut output =
            InterleavedSlice::new_mut(&mut out[start..], 1, wanted).map_err(|_| Reason::BadInput)?;
        resampler
            .process_into_buffer(&input, &mut output, None)
            .map_err(|_| Reason::BadInput)?;
    }
    Ok(())
}

fn mono(format: PcmFormat, payload: &[u8], out: &mut Vec<f32>) {
    let channels = usize::from(format.channels.max(1));
    let share = 1.0 / channels as f32;
    let frame = channels * format.sample.bytes();
    let mixed = payload.chunks_exact(frame).map(|frame| match format.sample {
        PcmSample::S16 => {
            let samples = frame.as_chunks::<2>().0.iter();
            samples
                .map(|raw| f32::from(i16::from_le_bytes(*raw)) / 32_768.0)
                .sum::<f32>()
                * share
        }
        PcmSample::F32 => {
            let samples = frame.as_chunks::<4>().0.iter();
            samples
                .map(|raw| f32::from_le_bytes(*raw).clamp(-1.0, 1.0))
                .sum::<f32>()
                * share
        }
    });
    out.extend(mixed);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(rate: u32, channels: u8, samples: usize) -> Vec<u8> {
        (0..samples)
            .flat_map(|n| {
                let phase = 2.0 * std::f32::consts::PI * 440.0 * n as f32 / rate as f32;
                std::iter::repeat_n((0.5 * phase.sin()).to_le_bytes(), channels.into()).flatten()
            })
            .collect()
    }

    fn power(pcm: &[f32]) -> f32 {
        pcm.iter().map(|x| x * x).sum::<f32>() / pcm.len() as f32
    }

    #[test]
    fn a_tone_keeps_its_level_and_length_at_every_rate_and_channel_count() {
        for (rate, channels) in [(16_000, 1), (16_000, 2), (48_000, 1), (48_000, 2)] {
            let format = PcmFormat {
                sample: PcmSample::F32,
                rate,
                channels,
            };
            let (mut input, mut pcm) = (PcmIn::default(), Vec::new());
            for _ in 0..10 {
                let bytes = tone(rate, channels, rate as usize / 10);
                input.convert(format, &bytes, &mut pcm).unwrap();
            }
            assert_eq!(pcm.len(), 16_000, "{format:?}");
            assert!((power(&pcm[4_000..]) - 0.125).abs() < 0.005, "{format:?}");
        }
    }

    #[test]
    fn what_goes_out_at_either_rate_is_as_long_and_as_loud() {
        let pcm: Vec<f32> = (0..16_000).map(|n| 0.5 * (n as f32 * 0.17).sin()).collect();
        for rate in [16_000, 48_000] {
            let wanted = PcmOutput {
                sample: PcmSample::S16,
                rate,
            };
            let bytes = PcmOut::new(wanted).unwrap().convert(&pcm).unwrap();
            assert_eq!(bytes.len(), 2 * rate as usize);
            let back: Vec<f32> = bytes
                .as_chunks::<2>()
                .0
                .iter()
                .map(|raw| f32::from(i16::from_le_bytes(*raw)) / 32_768.0)
                .collect();
            assert!((power(&back[8_000..]) - 0.125).abs() < 0.005, "{rate}");
        }
    }
}
