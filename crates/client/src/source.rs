//! Where the published audio comes from: a WAV file, or a voice-like signal when none is given.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler};

/// Sample rate of everything inside the client.
pub const SAMPLE_RATE: u32 = 48_000;

/// Longest file read, in samples at its own rate: three hours at 48 kHz.
const MAX_SAMPLES: usize = 3 * 3600 * 48_000;

/// Why a source could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file could not be opened or is not a WAV file.
    #[error("cannot read {path}: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        cause: hound::Error,
    },
    /// The file holds no sample.
    #[error("{path} holds no sample")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file is longer than the client reads.
    #[error("{path} holds {samples} samples, more than {MAX_SAMPLES}")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Samples per channel.
        samples: usize,
    },
    /// The sample rate cannot be converted.
    #[error("{path} has a sample rate of {rate} Hz, which cannot be converted")]
    Rate {
        /// The file.
        path: PathBuf,
        /// Its rate.
        rate: u32,
    },
}

/// What happens after the last sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AtEnd {
    /// Start again.
    #[default]
    Loop,
    /// Silence.
    Pad,
}

/// 48 kHz mono audio that can be read at any position.
#[derive(Clone, Debug)]
pub struct AudioSource {
    pcm: Arc<[f32]>,
    at_end: AtEnd,
    synthetic: bool,
}

impl AudioSource {
    /// Reads a WAV file of any rate, width and channel count; channels are averaged.
    pub fn from_wav(path: &Path, at_end: AtEnd) -> Result<Self, SourceError> {
        let fail = |cause| SourceError::Read {
            path: path.to_owned(),
            cause,
        };
        let mut reader = hound::WavReader::open(path).map_err(fail)?;
        let spec = reader.spec();
        let samples = reader.duration() as usize;
        if samples > MAX_SAMPLES {
            return Err(SourceError::TooLong {
                path: path.to_owned(),
                samples,
            });
        }
        let interleaved: Vec<f32> = match spec.sample_format {
            hound::SampleFormat::Float => reader.samples::<f32>().collect::<Result<_, _>>().map_err(fail)?,
            hound::SampleFormat::Int => {
                let scale = 1.0 / (1u64 << (spec.bits_per_sample - 1)) as f32;
                let samples = reader
                    .samples::<i32>()
                    .map(|sample| sample.map(|value| value as f32 * scale));
                samples.collect::<Result<_, _>>().map_err(fail)?
            }
        };
        let channels = usize::from(spec.channels.max(1));
        let mono: Vec<f32> = interleaved
            .chunks_exact(channels)
            .map(|frame| frame.iter().sum::<f32>() / channels as f32)
            .map(|sample| {
                if sample.is_finite() {
                    sample.clamp(-1.0, 1.0)
                } else {
                    0.0
                }
            })
            .collect();
        if mono.is_empty() {
            return Err(SourceError::Empty {
                path: path.to_owned(),
            });
        }
        let pcm = to_48k(&mono, spec.sample_rate).ok_or_else(|| SourceError::Rate {
            path: path.to_owned(),
            rate: spec.sample_rate,
        })?;
        Ok(Self {
            pcm: pcm.into(),
            at_end,
            synthetic: false,
        })
    }

    /// Takes 48 kHz mono samples as they are.
    pub fn from_pcm(pcm: impl Into<Arc<[f32]>>, at_end: AtEnd) -> Self {
        Self {
            pcm: pcm.into(),
            at_end,
            synthetic: false,
        }
    }

    /// Ten seconds of a voice-like signal: a gliding pitch with three formants, in syllables with pauses.
    pub fn synthetic() -> Self {
        Self {
            pcm: voice_like(10 * SAMPLE_RATE as usize).into(),
            at_end: AtEnd::Loop,
            synthetic: true,
        }
    }

    /// Whether this is the made-up signal and no recording.
    pub fn is_synthetic(&self) -> bool {
        self.synthetic
    }

    /// Samples before the end.
    pub fn len(&self) -> usize {
        self.pcm.len()
    }

    /// Whether there is no sample at all.
    pub fn is_empty(&self) -> bool {
        self.pcm.is_empty()
    }

    /// Fills `out` from `position` on; before the beginning there is silence.
    pub fn read(&self, position: i64, out: &mut [f32]) {
        for (offset, sample) in out.iter_mut().enumerate() {
            *sample = self.sample(position + offset as i64);
        }
    }

    fn sample(&self, position: i64) -> f32 {
        let Ok(index) = usize::try_from(position) else {
            return 0.0;
        };
        match self.at_end {
            AtEnd::Loop if !self.pcm.is_empty() => self.pcm[index % self.pcm.len()],
            _ => self.pcm.get(index).copied().unwrap_or(0.0),
        }
    }
}

fn to_48k(mono: &[f32], rate: u32) -> Option<Vec<f32>> {
    if rate == SAMPLE_RATE {
        return Some(mono.to_vec());
    }
    if !(4_000..=768_000).contains(&rate) {
        return None;
    }
    let mut resampler =
        Fft::<f32>::new(rate as usize, SAMPLE_RATE as usize, 1024, 1, FixedSync::Input).ok()?;
    let input = InterleavedSlice::new(mono, 1, mono.len()).ok()?;
    Some(resampler.process_all(&input, mono.len(), None).ok()?.take_data())
}

fn voice_like(samples: usize) -> Vec<f32> {
    let rate = SAMPLE_RATE as f32;
    let mut phase = 0.0f32;
    let mut out = vec![0.0f32; samples];
    let mut noise = 0x2545_f491u32;
    let mut resonators =
        [(500.0, 80.0), (1500.0, 120.0), (2500.0, 180.0)].map(|(f, bw)| Resonator::new(f, bw));
    for (n, sample) in out.iter_mut().enumerate() {
        let t = n as f32 / rate;
        let syllable = (t * 4.0).fract();
        let phrase = if (t % 2.5) < 2.0 { 1.0 } else { 0.0 };
        let envelope = phrase * (std::f32::consts::PI * syllable).sin().max(0.0).powf(0.7);
        let pitch = 120.0 + 25.0 * (2.0 * std::f32::consts::PI * 0.4 * t).sin();
        phase += pitch / rate;
        let pulse = if phase >= 1.0 {
            phase -= 1.0;
            1.0
        } else {
            0.0
        };
        noise ^= noise << 13;
        noise ^= noise >> 17;
        noise ^= noise << 5;
        let breath = (noise as f32 / u32::MAX as f32 - 0.5) * 0.02;
        if n % 12_000 == 0 {
            let vowel = (n / 12_000) % 4;
            let formants = [(700.0, 1200.0), (300.0, 2200.0), (500.0, 900.0), (400.0, 1900.0)][vowel];
            resonators[0] = resonators[0].at(formants.0, 80.0);
            resonators[1] = resonators[1].at(formants.1, 120.0);
        }
        let excitation = (pulse + breath) * envelope;
        let voiced: f32 = resonators
            .iter_mut()
            .map(|resonator| resonator.step(excitation))
            .sum();
        *sample = voiced + breath * 0.01;
    }
    let peak = out.iter().fold(1e-6f32, |a, b| a.max(b.abs()));
    out.iter_mut().for_each(|sample| *sample *= 0.5 / peak);
    out
}

#[derive(Clone, Copy)]
struct Resonator {
    a1: f32,
    a2: f32,
    gain: f32,
    y1: f32,
    y2: f32,
}

impl Resonator {
    fn new(frequency: f32, bandwidth: f32) -> Self {
        Self {
            a1: 0.0,
            a2: 0.0,
            gain: 0.0,
            y1: 0.0,
            y2: 0.0,
        }
        .at(frequency, bandwidth)
    }

    fn at(self, frequency: f32, bandwidth: f32) -> Self {
        let rate = SAMPLE_RATE as f32;
        let radius = (-std::f32::consts::PI * bandwidth / rate).exp();
        let angle = 2.0 * std::f32::consts::PI * frequency / rate;
        Self {
            a1: 2.0 * radius * angle.cos(),
            a2: -radius * radius,
            gain: 1.0 - radius,
            ..self
        }
    }

    fn step(&mut self, input: f32) -> f32 {
        let out = self.gain * input + self.a1 * self.y1 + self.a2 * self.y2;
        self.y2 = self.y1;
        self.y1 = out;
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, rate: u32, channels: u16, frames: usize) {
        let spec = hound::WavSpec {
            channels,
            sample_rate: rate,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::create(path, spec).unwrap();
        for n in 0..frames {
            let value = (2.0 * std::f32::consts::PI * 440.0 * n as f32 / rate as f32).sin();
            for _ in 0..channels {
                writer.write_sample((value * 16_000.0) as i16).unwrap();
            }
        }
        writer.finalize().unwrap();
    }

    #[test]
    fn files_of_every_rate_and_channel_count_become_48_khz_mono_of_the_same_length() {
        let dir = tempfile::tempdir().unwrap();
        for (rate, channels) in [
            (8_000, 1),
            (16_000, 1),
            (44_100, 2),
            (48_000, 1),
            (48_000, 2),
            (96_000, 2),
        ] {
            let path = dir.path().join(format!("{rate}-{channels}.wav"));
            write(&path, rate, channels, rate as usize);
            let source = AudioSource::from_wav(&path, AtEnd::Pad).unwrap();
            assert!(
                source.len().abs_diff(48_000) <= 2,
                "{rate} Hz gave {}",
                source.len()
            );
            let mut block = vec![0.0; 24_000];
            source.read(12_000, &mut block);
            let crossings = block
                .windows(2)
                .filter(|pair| pair[0] < 0.0 && pair[1] >= 0.0)
                .count();
            assert!(
                (219..=221).contains(&crossings),
                "{rate} Hz: {crossings} periods in half a second"
            );
        }
    }

    #[test]
    fn a_source_loops_or_falls_silent_as_asked() {
        let pcm: Vec<f32> = (0..10).map(|n| n as f32 / 10.0).collect();
        let mut out = [9.0; 4];
        AudioSource::from_pcm(pcm.clone(), AtEnd::Loop).read(8, &mut out);
        assert_eq!(out, [0.8, 0.9, 0.0, 0.1]);
        AudioSource::from_pcm(pcm, AtEnd::Pad).read(8, &mut out);
        assert_eq!(out, [0.8, 0.9, 0.0, 0.0]);
    }

    #[test]
    fn a_file_that_is_no_wav_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text.wav");
        std::fs::write(&path, b"no audio here").unwrap();
        let error = AudioSource::from_wav(&path, AtEnd::Loop).unwrap_err();
        assert!(error.to_string().contains("text.wav"), "{error}");
    }

    #[test]
    fn the_made_up_voice_is_audible_and_never_clips() {
        let pcm = voice_like(48_000);
        let rms = (pcm.iter().map(|x| x * x).sum::<f32>() / pcm.len() as f32).sqrt();
        assert!(rms > 0.01 && pcm.iter().all(|x| x.abs() <= 0.5));
    }
}
