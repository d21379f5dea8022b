//! Where the published audio comes from: a sound file, or a voice-like signal when none is given.

mod stream;
mod voice;

use std::path::Path;
use std::sync::Arc;

use auralink_audio::AudioError;

use stream::Stream;
pub use voice::made_up_voice;

/// Sample rate of everything inside the client.
pub const SAMPLE_RATE: u32 = 48_000;

/// What happens after the last sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AtEnd {
    /// Start again; what comes from a pipe cannot, and falls silent.
    #[default]
    Loop,
    /// Silence.
    Pad,
}

/// 48 kHz mono audio, read once from its beginning to whenever the call ends.
pub struct AudioSource {
    sound: Sound,
    synthetic: bool,
}

enum Sound {
    Memory(Arc<[f32]>, AtEnd),
    File(Stream),
}

impl AudioSource {
    /// Opens a sound file of any kind, rate and channel count that `auralink-audio` reads; `-` is standard input. It is
    /// read a few seconds ahead while the call goes on, however long it is.
    pub fn open(path: &Path, at_end: AtEnd) -> Result<Self, AudioError> {
        Ok(Self {
            sound: Sound::File(Stream::open(path, at_end)?),
            synthetic: false,
        })
    }

    /// Takes 48 kHz mono samples as they are.
    pub fn from_pcm(pcm: impl Into<Arc<[f32]>>, at_end: AtEnd) -> Self {
        Self {
            sound: Sound::Memory(pcm.into(), at_end),
            synthetic: false,
        }
    }

    /// [`made_up_voice`], again and again.
    pub fn synthetic() -> Self {
        Self {
            sound: Sound::Memory(made_up_voice().into(), AtEnd::Loop),
            synthetic: true,
        }
    }

    /// Whether this is the made-up signal and no recording.
    pub fn is_synthetic(&self) -> bool {
        self.synthetic
    }

    /// Fills `out` from `position` on; before the beginning there is silence. A file remembers one second: what lies
    /// further behind the latest position read is silence too.
    pub fn read(&mut self, position: i64, out: &mut [f32]) {
        match &mut self.sound {
            Sound::File(stream) => stream.read(position, out),
            Sound::Memory(pcm, at_end) => {
                for (offset, sample) in out.iter_mut().enumerate() {
                    *sample = at(pcm, *at_end, position + offset as i64);
                }
            }
        }
    }
}

fn at(pcm: &[f32], at_end: AtEnd, position: i64) -> f32 {
    let Ok(index) = usize::try_from(position) else {
        return 0.0;
    };
    match at_end {
        AtEnd::Loop if !pcm.is_empty() => pcm[index % pcm.len()],
        _ => pcm.get(index).copied().unwrap_or(0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_loops_or_falls_silent_as_asked() {
        let pcm: Vec<f32> = (0..10).map(|n| n as f32 / 10.0).collect();
        let mut out = [9.0; 4];
        AudioSource::from_pcm(pcm.clone(), AtEnd::Loop).read(8, &mut out);
        assert_eq!(out, [0.8, 0.9, 0.0, 0.1]);
        AudioSource::from_pcm(pcm, AtEnd::Pad).read(8, &mut out);
        assert_eq!(out, [0.8, 0.9, 0.0, 0.0]);
    }
}
