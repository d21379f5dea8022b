//! Frames of many streams in one go: every weight is read once for all of them.

use std::sync::Arc;

use crate::decoder::{self, DecodeError, DecodeJob};
use crate::encoder::{self, EncodeJob};
use crate::model::Model;

/// Streams that go through the network together; more in one call are taken in groups of this size. At 16 the values
/// of a group still fit a core's cache beside the weights of a layer, and weights are no longer what costs.
const GROUP: usize = 16;

/// Buffers to code and decode frames of many streams of one model together. Allocates only in `new`.
///
/// A stream's codes and samples are the same to the bit as when it is coded alone, whatever stands beside it.
///
/// ```
/// use auralink_codec::{Batch, EncodeJob, Encoder, FRAME_SAMPLES, Model};
///
/// let model = Model::builtin().unwrap();
/// let mut batch = Batch::new(model.clone());
/// let (mut a, mut b) = (Encoder::new(model.clone()), Encoder::new(model));
/// let (mut rich, mut coarse) = ([0u16; 12], [0u16; 3]);
/// let pcm = [0.0f32; FRAME_SAMPLES];
/// batch.encode(&mut [
///     EncodeJob { encoder: &mut a, pcm: &pcm, codes: &mut rich },
///     EncodeJob { encoder: &mut b, pcm: &pcm, codes: &mut coarse },
/// ]);
/// ```
pub struct Batch {
    model: Arc<Model>,
    encoding: encoder::Work,
    decoding: decoder::Work,
}

impl Batch {
    /// Buffers for streams of that model.
    pub fn new(model: Arc<Model>) -> Self {
        Self {
            encoding: encoder::Work::new(&model, GROUP),
            decoding: decoder::Work::new(&model, GROUP),
            model,
        }
    }

    /// Codes one frame of every stream. Panics when a stream is of another model, as [`EncodeJob`] when a length is
    /// wrong.
    pub fn encode(&mut self, jobs: &mut [EncodeJob<'_>]) {
        for jobs in jobs.chunks_mut(GROUP) {
            for job in &*jobs {
                assert!(
                    Arc::ptr_eq(job.encoder.model(), &self.model),
                    "a stream of another model"
                );
            }
            self.encoding.encode(&self.model, jobs);
        }
    }

    /// Decodes or conceals one frame of every stream. When the codes of any make no sense, none is decoded, and the
    /// error says which it was. Panics when a stream is of another model.
    pub fn decode(&mut self, jobs: &mut [DecodeJob<'_>]) -> Result<(), (usize, DecodeError)> {
        for (number, job) in jobs.iter().enumerate() {
            assert!(
                Arc::ptr_eq(job.decoder.model(), &self.model),
                "a stream of another model"
            );
            job.received.check().map_err(|error| (number, error))?;
        }
        for jobs in jobs.chunks_mut(GROUP) {
            self.decoding.decode(&self.model, jobs);
        }
        Ok(())
    }
}
