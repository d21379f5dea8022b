//! What the client needs of a neural speech codec, and the built-in one behind it.

use std::sync::Arc;

use crate::error::JoinError;

pub use auralink_codec::{Frame, NOISE_CODES};

/// Samples of one frame at the codec's 16 kHz: 20 ms.
pub const FRAME_16K: usize = 320;

/// Samples of the same frame at 48 kHz.
pub const FRAME_48K: usize = 960;

/// A model that both ends must have.
pub trait SpeechModel: Send + Sync {
    /// Id on the wire and in the participant attribute.
    fn id(&self) -> u16;

    /// Levels of codes that the encoder gives per frame; every prefix decodes.
    fn levels(&self) -> usize;

    /// Samples at 16 kHz by which the decoder's output lags the encoder's input.
    fn delay(&self) -> usize;

    /// A fresh encoder.
    fn encoder(&self) -> Box<dyn SpeechEncoder>;

    /// A fresh decoder.
    fn decoder(&self) -> Box<dyn SpeechDecoder>;
}

/// Encoder of one stream.
pub trait SpeechEncoder: Send {
    /// Looks for pauses from now on, or no longer.
    fn set_dtx(&mut self, on: bool);

    /// Codes of the next [`FRAME_16K`] samples, coarsest first, as many levels as `codes` holds; and whether they are
    /// worth sending.
    fn encode(&mut self, pcm: &[f32], codes: &mut [u16]) -> Frame;
}

/// Decoder of one stream.
pub trait SpeechDecoder: Send {
    /// The next [`FRAME_16K`] samples from a prefix of the codes. `false` when the codes make no sense.
    fn decode(&mut self, codes: &[u16], pcm: &mut [f32]) -> bool;

    /// The first [`FRAME_16K`] samples of a pause from the description of its noise; [`Self::conceal`] makes the
    /// others. `false` when the codes make no sense.
    fn decode_noise(&mut self, codes: &[u16], pcm: &mut [f32]) -> bool;

    /// Makes up for a lost frame, or goes on with a pause.
    fn conceal(&mut self, pcm: &mut [f32]);

    /// Forgets all history.
    fn reset(&mut self);
}

/// The model that comes with AuraLink.
pub fn builtin() -> Result<Arc<dyn SpeechModel>, JoinError> {
    let model = auralink_codec::Model::builtin().map_err(|error| JoinError::Codec(error.to_string()))?;
    Ok(Arc::new(Builtin(model)))
}

struct Builtin(Arc<auralink_codec::Model>);

impl SpeechModel for Builtin {
    fn id(&self) -> u16 {
        self.0.id().0
    }

    fn levels(&self) -> usize {
        auralink_codec::LEVELS_MAX
    }

    fn delay(&self) -> usize {
        auralink_codec::OUTPUT_LAG_SAMPLES
    }

    fn encoder(&self) -> Box<dyn SpeechEncoder> {
        Box::new(auralink_codec::Encoder::new(self.0.clone()))
    }

    fn decoder(&self) -> Box<dyn SpeechDecoder> {
        Box::new(auralink_codec::Decoder::new(self.0.clone()))
    }
}

impl SpeechEncoder for auralink_codec::Encoder {
    fn set_dtx(&mut self, on: bool) {
        self.set_dtx(on);
    }

    fn encode(&mut self, pcm: &[f32], codes: &mut [u16]) -> Frame {
        self.encode(pcm, codes)
    }
}

impl SpeechDecoder for auralink_codec::Decoder {
    fn decode(&mut self, codes: &[u16], pcm: &mut [f32]) -> bool {
        self.decode(codes, pcm).is_ok()
    }

    fn decode_noise(&mut self, codes: &[u16], pcm: &mut [f32]) -> bool {
        self.decode_noise(codes, pcm).is_ok()
    }

    fn conceal(&mut self, pcm: &mut [f32]) {
        self.conceal(pcm);
    }

    fn reset(&mut self) {
        self.reset();
    }
}
