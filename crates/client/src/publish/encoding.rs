//! The encoder of a published track, and how it becomes another.

use auralink_types::SourceCodec;

use super::Publisher;
use crate::codecs::{self, AudioEncoder, OwnSettings};
use crate::error::JoinError;
use crate::neural::FRAME_48K;

/// Audio fed to a fresh neural encoder before its first packet, so that it does not start cold: 200 ms.
const WARM_UP: usize = 10 * FRAME_48K;

/// Most switches listed.
const MAX_SWITCHES: usize = 4_096;

/// The encoder in use.
pub(super) struct Current {
    pub(super) codec: SourceCodec,
    pub(super) packet_ms: u32,
    pub(super) encoder: AudioEncoder,
    /// The first packet of the neural codec after Opus is still to come.
    pub(super) fresh: bool,
    /// The answer caps it otherwise than when it was made.
    pub(super) outdated: bool,
    /// Where packets of this length began.
    pub(super) since: u64,
}

impl Publisher {
    /// Brings the encoder to what is wished. One of the same family goes on with other settings, so that its decoder
    /// hears no seam; a neural one that begins is warmed up on the audio before `at`.
    pub(super) fn prepare(&mut self, at: u64, packet_ms: u32) -> Result<(), JoinError> {
        let codec = self.next.0;
        let was = self
            .current
            .as_ref()
            .map(|current| (current.codec, current.packet_ms));
        if was == Some((codec, packet_ms)) && !self.current.as_ref().is_some_and(|current| current.outdated) {
            return Ok(());
        }
        let dtx = self.own.dtx && self.dtx_allowed;
        let opus = match codec {
            SourceCodec::Lean(lean) => Some(codecs::lean(&lean, packet_ms, dtx)),
            SourceCodec::Neural(_) if self.model.is_some() => None,
            _ => Some(codecs::own(&self.capped(), packet_ms, dtx)),
        };
        let earlier = self.current.take();
        let since = earlier
            .as_ref()
            .filter(|current| current.packet_ms == packet_ms)
            .map_or(at, |current| current.since);
        let mut fresh = false;
        let encoder = match (earlier.map(|current| current.encoder), opus, codec, &self.model) {
            (Some(AudioEncoder::Opus(mut encoder)), Some(config), ..) => {
                encoder.configure(&config)?;
                AudioEncoder::Opus(encoder)
            }
            // An Opus encoder begins cold: its decoder has not heard what a warm-up would make it build upon, and
            // would fade in over 100 ms (measured), where a cold start costs the first 6.5 ms.
            (_, Some(config), ..) => AudioEncoder::opus(&config)?,
            (Some(AudioEncoder::Neural(mut encoder)), None, SourceCodec::Neural(neural), _) => {
                encoder.configure(&neural);
                AudioEncoder::Neural(encoder)
            }
            (_, None, SourceCodec::Neural(neural), Some(model)) => {
                fresh = was.is_some();
                let encoder = AudioEncoder::neural(model.as_ref(), &neural, dtx);
                self.warmed_up(encoder, at, packet_ms as usize * 48)?
            }
            (_, None, ..) => return Err(JoinError::Codec("the neural codec is not here".to_owned())),
        };
        if was.is_none_or(|(was, _)| was != codec) && self.stats.switches.len() < MAX_SWITCHES {
            self.stats.switches.push((at / 48, name(codec)));
        }
        self.current = Some(Current {
            codec,
            packet_ms,
            encoder,
            fresh,
            outdated: false,
            since,
        });
        Ok(())
    }

    /// The client's own settings under the cap of the answer.
    fn capped(&self) -> OwnSettings {
        let bitrate = self.cap.map_or(self.own.bitrate, |cap| {
            self.own.bitrate.min(cap.max(codecs::LEAST_BITRATE))
        });
        OwnSettings { bitrate, ..self.own }
    }

    fn warmed_up(
        &mut self,
        mut encoder: AudioEncoder,
        at: u64,
        packet: usize,
    ) -> Result<AudioEncoder, JoinError> {
        self.pcm.resize(packet, 0.0);
        for back in (1..=WARM_UP.div_ceil(packet)).rev() {
            self.source
                .read(at as i64 - (back * packet) as i64, &mut self.pcm);
            encoder.encode(&self.pcm, false, &mut self.encoded)?;
        }
        Ok(encoder)
    }
}

pub(super) fn is_neural(codec: SourceCodec) -> bool {
    matches!(codec, SourceCodec::Neural(_))
}

fn name(codec: SourceCodec) -> String {
    match codec {
        SourceCodec::Own => "own".to_owned(),
        SourceCodec::Lean(lean) => {
            let fec = if lean.fec { ", fec" } else { "" };
            format!("lean {} {} ms{fec}", lean.bitrate, lean.packet.millis())
        }
        SourceCodec::Neural(neural) => format!(
            "neural {} {} ms, {} copies",
            neural.rate.bitrate(),
            neural.packet.millis(),
            neural.copies
        ),
    }
}
