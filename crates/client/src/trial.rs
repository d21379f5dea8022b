//! What the client's own Opus encoder would have sent of audio that goes out otherwise: tried for some seconds of talk,
//! because savings are counted from it.

use crate::codecs::{self, AudioEncoder, OwnSettings};
use crate::error::JoinError;
use crate::publish::level;

/// Talk in which an encoder that begins settles on how to code it: libopus takes a second, and sends less in it.
const SETTLING: u64 = 48_000;
/// Talk that is measured then: 5 s.
const TRIED: u64 = 5 * 48_000;
/// Measured talk after which the rate is told: 1 s.
const KNOWN: u64 = 48_000;
/// Packets of a stock client: 20 ms.
const PACKET: usize = 960;

/// The encoder on trial.
#[derive(Default)]
pub(crate) struct Trial {
    encoder: Option<AudioEncoder>,
    encoded: Vec<u8>,
    settled: u64,
    bytes: u64,
    samples: u64,
}

impl Trial {
    /// Encodes the audio of a packet as the client would by itself, and throws the result away.
    pub(crate) fn listen(&mut self, own: &OwnSettings, pcm: &[f32]) -> Result<(), JoinError> {
        if self.samples >= TRIED {
            self.encoder = None;
            return Ok(());
        }
        let encoder = match &mut self.encoder {
            Some(encoder) => encoder,
            none => none.insert(AudioEncoder::opus(&codecs::own(own, 20, own.dtx))?),
        };
        for packet in pcm.chunks_exact(PACKET) {
            encoder.encode(packet, false, &mut self.encoded)?;
            if !level(packet).voice {
                continue;
            }
            if self.settled < SETTLING {
                self.settled += PACKET as u64;
            } else {
                self.bytes += self.encoded.len() as u64;
                self.samples += PACKET as u64;
            }
        }
        Ok(())
    }

    /// Bits per second of talk, once a second of it was measured.
    pub(crate) fn bitrate(&self) -> Option<u32> {
        (self.samples >= KNOWN).then(|| (self.bytes * 8 * 48_000 / self.samples) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::AudioSource;

    fn tried(bitrate: u32, source: &mut AudioSource, seconds: usize) -> Option<u32> {
        let own = OwnSettings {
            bitrate,
            ..OwnSettings::default()
        };
        let mut trial = Trial::default();
        let mut pcm = vec![0.0; 3 * PACKET];
        for packet in 0..seconds * 50 / 3 {
            source.read((packet * pcm.len()) as i64, &mut pcm);
            trial.listen(&own, &pcm).unwrap();
        }
        trial.bitrate()
    }

    #[test]
    fn the_rate_of_talk_is_near_the_encoders_target_and_silence_says_nothing() {
        let mut talk = AudioSource::synthetic();
        for target in [24_000u32, 48_000] {
            let rate = tried(target, &mut talk, 8).unwrap();
            assert!(rate.abs_diff(target) < target / 20, "{rate} of {target}");
        }
        let mut silence = AudioSource::from_pcm(vec![0.0; 48_000], crate::AtEnd::Loop);
        assert_eq!(tried(48_000, &mut silence, 8), None);
    }
}
