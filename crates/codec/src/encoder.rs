//! Streaming encoder: 20 ms of sound to one code per level.

use std::sync::Arc;

use crate::model::Model;
use crate::network::{STEPS, Scratch, Streams, TrunkState, step};
use crate::noise::{self, BANDS};
use crate::pauses::{Frame, Pauses};
use crate::search::{Beam, Candidates, Search};
use crate::{FRAME_SAMPLES, HOP, LATENT, LEVELS_MAX};

/// One stream's encoder. Allocates nothing after the first frame.
pub struct Encoder {
    model: Arc<Model>,
    /// The last hop, then the frame.
    window: [f32; HOP + FRAME_SAMPLES],
    trunk: TrunkState,
    beam: Beam,
    pauses: Option<Box<Pauses>>,
    frame: Frame,
    /// Made at the first frame that is coded alone; a stream that is always batched needs none.
    alone: Option<Box<Work>>,
}

/// One frame of one stream, to be coded together with others.
pub struct EncodeJob<'a> {
    /// The stream.
    pub encoder: &'a mut Encoder,
    /// Its next [`FRAME_SAMPLES`] samples in −1..=1.
    pub pcm: &'a [f32],
    /// Where its codes go: 1 to [`LEVELS_MAX`].
    pub codes: &'a mut [u16],
}

impl Encoder {
    /// A fresh stream.
    pub fn new(model: Arc<Model>) -> Self {
        Self {
            window: [0.0; HOP + FRAME_SAMPLES],
            trunk: TrunkState::new(&model.enc_blocks),
            beam: Beam::default(),
            pauses: None,
            frame: Frame::Speech,
            alone: None,
            model,
        }
    }

    /// Trades time for quality: fewer candidates are faster and leave more error.
    pub fn set_beam(&mut self, beam: Beam) {
        self.beam = beam;
    }

    /// Looks for pauses from now on, or no longer: discontinuous transmission. Without it every frame is
    /// [`Frame::Speech`].
    pub fn set_dtx(&mut self, on: bool) {
        if on != self.pauses.is_some() {
            self.pauses = on.then(|| Box::new(Pauses::new()));
        }
        self.frame = Frame::Speech;
    }

    /// What the last frame is worth on the wire; for frames that were coded in a [`Batch`](crate::Batch).
    pub fn frame(&self) -> Frame {
        self.frame
    }

    /// Codes one frame of [`FRAME_SAMPLES`] samples in −1..=1; `codes.len()` levels, 1 to [`LEVELS_MAX`]. The answer
    /// says whether they need be sent; they are valid in a pause too, for a packet that holds other frames as well.
    ///
    /// A sample that is not finite counts as silence, so that one broken frame cannot poison the stream.
    pub fn encode(&mut self, pcm: &[f32], codes: &mut [u16]) -> Frame {
        let mut work = self
            .alone
            .take()
            .unwrap_or_else(|| Box::new(Work::new(&self.model, 1)));
        let model = self.model.clone();
        work.encode(
            &model,
            &mut [EncodeJob {
                encoder: self,
                pcm,
                codes,
            }],
        );
        self.alone = Some(work);
        self.frame
    }

    /// Forgets the past, as if just made.
    pub fn reset(&mut self) {
        self.window.fill(0.0);
        self.trunk.reset();
        if let Some(pauses) = &mut self.pauses {
            **pauses = Pauses::new();
        }
        self.frame = Frame::Speech;
    }

    pub(crate) fn model(&self) -> &Arc<Model> {
        &self.model
    }

    fn look_for_a_pause(&mut self, mdct: &[f32], mdst: &[f32]) {
        let Some(pauses) = &mut self.pauses else {
            return;
        };
        let (mut powers, mut level) = ([0.0; BANDS], 0.0);
        const SHARE: f32 = 0.5 / STEPS as f32;
        for (c, s) in mdct.chunks_exact(HOP).zip(mdst.chunks_exact(HOP)) {
            noise::add_powers(&mut powers, SHARE, |k| c[k] * c[k] + s[k] * s[k]);
            level += SHARE / HOP as f32 * (0..HOP).map(|k| c[k] * c[k] + s[k] * s[k]).sum::<f32>();
        }
        self.frame = pauses.push(&powers, level);
    }

    fn take(&mut self, pcm: &[f32]) {
        self.window.copy_within(FRAME_SAMPLES.., 0);
        for (slot, &sample) in self.window[HOP..].iter_mut().zip(pcm) {
            *slot = if sample.is_finite() {
                sample.clamp(-4.0, 4.0)
            } else {
                0.0
            };
        }
    }
}

impl Streams for [EncodeJob<'_>] {
    fn trunk(&mut self, stream: usize) -> &mut TrunkState {
        &mut self[stream].encoder.trunk
    }
}

impl<S: Streams + ?Sized> Streams for &mut S {
    fn trunk(&mut self, stream: usize) -> &mut TrunkState {
        (**self).trunk(stream)
    }
}

/// Buffers to code frames of several streams together.
pub(crate) struct Work {
    folded: [Vec<f32>; 2],
    spectra: [Vec<f32>; 2],
    features: Vec<f32>,
    frames: Vec<f32>,
    trunk: Vec<f32>,
    shaped: Vec<f32>,
    latents: Vec<f32>,
    scratch: Scratch,
    search: Search,
    candidates: Vec<Candidates>,
}

impl Work {
    pub(crate) fn new(model: &Model, streams: usize) -> Self {
        let hops = || vec![0.0; streams * STEPS * HOP];
        Self {
            folded: [hops(), hops()],
            spectra: [hops(), hops()],
            features: vec![0.0; streams * STEPS * 3 * HOP],
            frames: hops(),
            trunk: vec![0.0; streams * STEPS * model.enc_in.outputs()],
            shaped: vec![0.0; streams * LATENT],
            latents: vec![0.0; streams * LATENT],
            scratch: Scratch::new(&model.enc_blocks, streams),
            search: Search::new(),
            candidates: std::iter::repeat_with(|| Candidates::NEW).take(streams).collect(),
        }
    }

    /// Codes a frame of every job; as many jobs as `new` was told, at most.
    pub(crate) fn encode(&mut self, model: &Model, jobs: &mut [EncodeJob<'_>]) {
        for job in &mut *jobs {
            assert_eq!(
                job.pcm.len(),
                FRAME_SAMPLES,
                "a frame has {FRAME_SAMPLES} samples"
            );
            assert!(
                (1..=LEVELS_MAX).contains(&job.codes.len()),
                "1 to {LEVELS_MAX} levels"
            );
            job.encoder.take(job.pcm);
        }
        self.latents(model, jobs);
        for (candidates, latent) in self
            .candidates
            .iter_mut()
            .zip(self.latents.as_chunks().0)
            .take(jobs.len())
        {
            candidates.start(latent);
        }
        let deepest = jobs.iter().map(|job| job.codes.len()).max().unwrap_or(0);
        // Level by level for all streams, so that a codebook is read while it is in the cache.
        for level in 0..deepest {
            for (job, candidates) in jobs.iter().zip(&mut self.candidates) {
                if level < job.codes.len() {
                    self.search.advance(model, level, candidates, job.encoder.beam);
                }
            }
        }
        for (job, candidates) in jobs.iter_mut().zip(&self.candidates) {
            candidates.best(job.codes);
        }
    }

    fn latents(&mut self, model: &Model, mut jobs: &mut [EncodeJob<'_>]) {
        let rows = jobs.len() * STEPS;
        let [cosine, sine] = self.folded.each_mut().map(|buffer| &mut buffer[..rows * HOP]);
        let [mdct, mdst] = self.spectra.each_mut().map(|buffer| &mut buffer[..rows * HOP]);
        let blocks = jobs
            .iter()
            .flat_map(|job| (0..STEPS).map(|hop| &job.encoder.window[hop * HOP..(hop + 2) * HOP]));
        let folded = cosine.chunks_exact_mut(HOP).zip(sine.chunks_exact_mut(HOP));
        for (block, (cosine, sine)) in blocks.zip(folded) {
            model.mdct.fold(block, cosine, sine);
        }
        model.mdct.transform(rows, [cosine, sine], [mdct, mdst]);
        let features = &mut self.features[..rows * 3 * HOP];
        let frames = &mut self.frames[..rows * HOP];
        let outputs = features
            .chunks_exact_mut(3 * HOP)
            .zip(frames.chunks_exact_mut(HOP));
        for ((c, s), (features, frame)) in mdct.chunks_exact(HOP).zip(mdst.chunks_exact(HOP)).zip(outputs) {
            model.table.spectrum([c, s], features, frame);
        }
        let spectra = mdct
            .chunks_exact(FRAME_SAMPLES)
            .zip(mdst.chunks_exact(FRAME_SAMPLES));
        for (job, (mdct, mdst)) in jobs.iter_mut().zip(spectra) {
            job.encoder.look_for_a_pause(mdct, mdst);
        }
        let trunk = &mut self.trunk[..rows * model.enc_in.outputs()];
        model.enc_in.apply(rows, features, trunk);
        step(
            model.table,
            &model.enc_blocks,
            &mut self.scratch,
            &mut jobs,
            trunk,
        );
        let (shaped, latents) = (
            &mut self.shaped[..jobs.len() * LATENT],
            &mut self.latents[..jobs.len() * LATENT],
        );
        model.enc_out.apply(jobs.len(), trunk, shaped);
        model.enc_skip.apply(jobs.len(), frames, latents);
        let frames = frames.chunks_exact(FRAME_SAMPLES);
        for ((latent, shaped), frame) in latents
            .chunks_exact_mut(LATENT)
            .zip(shaped.chunks_exact(LATENT))
            .zip(frames)
        {
            let level = (model.table.square_sum(frame) / FRAME_SAMPLES as f32).sqrt();
            for (value, add) in latent.iter_mut().zip(shaped) {
                *value += add * level;
            }
        }
    }
}
