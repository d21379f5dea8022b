//! Streaming decoder: codes to 20 ms of sound, and something fitting where codes are missing.

use std::sync::Arc;

use crate::companding::expand;
use crate::model::Model;
use crate::network::{STEPS, Scratch, Streams, TrunkState, step};
use crate::noise::{self, BANDS, Comfort, Floor, NOISE_CODES};
use crate::{ENTRIES, FRAME_SAMPLES, HOP, LATENT, LEVELS_MAX};

/// A lost frame repeats the last latent, weaker by this factor each time; training uses the same.
const LOST_FADE: f32 = 0.9;
/// Past the longest burst seen in training the guess is worth little: it fades faster.
const LONG_LOSS_FADE: f32 = 0.75;
const TRAINED_BURST: u32 = 3;
/// Frames over which the background noise comes up while a long loss fades, after the trained burst.
const NOISE_RISE: u32 = 5;
/// Share of the noise's power that stands in for a loss: half, as it is only guessed.
const GUESSED_NOISE: f32 = 0.5;

/// Where the noise of a fresh stream begins.
const SEED: u32 = 0x2545_f491;

/// Why codes were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No level, or more than the model has.
    #[error("a frame has 1 to {LEVELS_MAX} levels, got {0}")]
    Levels(usize),
    /// A code that names no entry.
    #[error("code {0} is not under {ENTRIES}")]
    Code(u16),
    /// Noise is described by another number of codes.
    #[error("noise has {NOISE_CODES} codes, got {0}")]
    Noise(usize),
}

/// What came of a frame.
#[derive(Clone, Copy, Debug)]
pub enum Received<'a> {
    /// Its codes, any prefix of them.
    Codes(&'a [u16]),
    /// A description of background noise ([`Frame::Noise`](crate::Frame::Noise)): a pause begins or goes on.
    Noise(&'a [u16]),
    /// Nothing. In a pause the noise goes on; else the frame was lost and is stood in for.
    Nothing,
}

impl Received<'_> {
    /// Whether the codes make sense.
    pub(crate) fn check(&self) -> Result<(), DecodeError> {
        let (codes, fits) = match *self {
            Self::Codes(codes) => (codes, (1..=LEVELS_MAX).contains(&codes.len())),
            Self::Noise(codes) => (codes, codes.len() == NOISE_CODES),
            Self::Nothing => return Ok(()),
        };
        match codes.iter().find(|&&code| usize::from(code) >= ENTRIES) {
            _ if !fits && matches!(self, Self::Noise(_)) => Err(DecodeError::Noise(codes.len())),
            _ if !fits => Err(DecodeError::Levels(codes.len())),
            Some(&code) => Err(DecodeError::Code(code)),
            None => Ok(()),
        }
    }
}

/// One stream's decoder. Allocates nothing after the first frame.
pub struct Decoder {
    model: Arc<Model>,
    last: [f32; LATENT],
    trunk: TrunkState,
    overlap: [f32; HOP],
    lost_in_a_row: u32,
    /// Noise of a pause, or of a long loss.
    comfort: Option<Comfort>,
    /// Whether the sender said that it pauses.
    pausing: bool,
    /// What is always there in what was decoded, for long losses.
    floor: Floor,
    seed: u32,
    /// Made at the first frame that is decoded alone; a stream that is always batched needs none.
    alone: Option<Box<Work>>,
}

/// One frame of one stream, to be decoded together with others.
pub struct DecodeJob<'a> {
    /// The stream.
    pub decoder: &'a mut Decoder,
    /// What came of the frame.
    pub received: Received<'a>,
    /// Where its [`FRAME_SAMPLES`] samples go.
    pub pcm: &'a mut [f32],
}

impl Decoder {
    /// A fresh stream.
    pub fn new(model: Arc<Model>) -> Self {
        Self {
            last: [0.0; LATENT],
            trunk: TrunkState::new(&model.dec_blocks),
            overlap: [0.0; HOP],
            lost_in_a_row: 0,
            comfort: None,
            pausing: false,
            floor: Floor::NEW,
            seed: SEED,
            alone: None,
            model,
        }
    }

    /// Decodes one frame into [`FRAME_SAMPLES`] samples, as many levels as there are codes. Refused codes leave the
    /// stream as it was.
    pub fn decode(&mut self, codes: &[u16], pcm: &mut [f32]) -> Result<(), DecodeError> {
        self.receive(Received::Codes(codes), pcm)
    }

    /// Takes the codes of a [`Frame::Noise`](crate::Frame::Noise) and makes the first frame of that noise;
    /// [`conceal`](Self::conceal) makes the frames after it, until codes come again.
    pub fn decode_noise(&mut self, codes: &[u16], pcm: &mut [f32]) -> Result<(), DecodeError> {
        self.receive(Received::Noise(codes), pcm)
    }

    /// Stands in for a frame that did not come. In a pause the noise goes on. Else the last sound is held and fades,
    /// a long loss down to the background noise.
    pub fn conceal(&mut self, pcm: &mut [f32]) {
        self.render(Received::Nothing, pcm);
    }

    /// Decodes, or stands in for, one frame. Refused codes leave the stream as it was.
    pub fn receive(&mut self, received: Received<'_>, pcm: &mut [f32]) -> Result<(), DecodeError> {
        received.check()?;
        self.render(received, pcm);
        Ok(())
    }

    /// Whether the stream is in a pause that its sender announced.
    pub fn pausing(&self) -> bool {
        self.pausing
    }

    /// Forgets the past, as if just made.
    pub fn reset(&mut self) {
        self.last.fill(0.0);
        self.overlap.fill(0.0);
        self.lost_in_a_row = 0;
        self.comfort = None;
        self.pausing = false;
        self.floor = Floor::NEW;
        self.seed = SEED;
        self.trunk.reset();
    }

    pub(crate) fn model(&self) -> &Arc<Model> {
        &self.model
    }

    fn render(&mut self, received: Received<'_>, pcm: &mut [f32]) {
        let mut work = self
            .alone
            .take()
            .unwrap_or_else(|| Box::new(Work::new(&self.model, 1)));
        let model = self.model.clone();
        let decoder = self;
        let mut jobs = [DecodeJob {
            decoder,
            received,
            pcm,
        }];
        work.decode(&model, &mut jobs);
        let [DecodeJob { decoder, .. }] = jobs;
        decoder.alone = Some(work);
    }

    /// Moves on to the next frame's latent and noise.
    fn take(&mut self, received: Received<'_>) {
        match received {
            Received::Codes(codes) => {
                self.lost_in_a_row = 0;
                self.pausing = false;
                self.silence();
                self.last.fill(0.0);
                for (level, &code) in codes.iter().enumerate() {
                    let entry = &self.model.entries(level)[usize::from(code)];
                    self.last
                        .iter_mut()
                        .zip(entry)
                        .for_each(|(value, entry)| *value += entry);
                }
            }
            Received::Noise(codes) => {
                // The codes were checked, so there are powers.
                let powers = codes
                    .first_chunk()
                    .and_then(noise::from_codes)
                    .unwrap_or_default();
                match &mut self.comfort {
                    Some(comfort) if self.pausing => comfort.aim(powers),
                    _ => self.comfort = Some(Comfort::new(powers, self.seed)),
                }
                self.pausing = true;
            }
            Received::Nothing if self.pausing => {}
            Received::Nothing => {
                self.lost_in_a_row = self.lost_in_a_row.saturating_add(1);
                let fade = if self.lost_in_a_row <= TRAINED_BURST {
                    LOST_FADE
                } else {
                    LONG_LOSS_FADE
                };
                self.last.iter_mut().for_each(|v| *v *= fade);
                if self.lost_in_a_row > TRAINED_BURST && self.comfort.is_none() {
                    self.comfort = self
                        .floor
                        .powers()
                        .map(|powers| Comfort::new(powers.map(|p| GUESSED_NOISE * p), self.seed));
                }
            }
        }
        if self.pausing {
            // The network hears silence, so that it is as good as new when the voice comes back.
            self.last.fill(0.0);
            self.lost_in_a_row = 0;
        }
        if let Some(comfort) = &mut self.comfort {
            comfort.advance();
        }
    }

    fn silence(&mut self) {
        if let Some(comfort) = self.comfort.take() {
            self.seed = comfort.seed();
        }
    }

    /// Adds the noise there should be to the coefficients of a frame, or learns from them what is always there.
    fn background(&mut self, mdct: &mut [f32]) {
        let Some(comfort) = &mut self.comfort else {
            if self.lost_in_a_row == 0 {
                let mut powers = [0.0; BANDS];
                for hop in mdct.chunks_exact(HOP) {
                    noise::add_powers(&mut powers, 1.0 / STEPS as f32, |k| hop[k] * hop[k]);
                }
                self.floor.push(&powers);
            }
            return;
        };
        let gain = if self.pausing {
            1.0
        } else {
            let risen = self.lost_in_a_row.saturating_sub(TRAINED_BURST).min(NOISE_RISE);
            risen as f32 / NOISE_RISE as f32
        };
        mdct.chunks_exact_mut(HOP).for_each(|hop| comfort.add(gain, hop));
    }
}

impl Streams for [DecodeJob<'_>] {
    fn trunk(&mut self, stream: usize) -> &mut TrunkState {
        &mut self[stream].decoder.trunk
    }
}

/// Buffers to decode frames of several streams together.
pub(crate) struct Work {
    latents: Vec<f32>,
    linear: Vec<f32>,
    trunk: Vec<f32>,
    shaping: Vec<f32>,
    mdct: Vec<f32>,
    folded: Vec<f32>,
    scratch: Scratch,
}

impl Work {
    pub(crate) fn new(model: &Model, streams: usize) -> Self {
        Self {
            latents: vec![0.0; streams * LATENT],
            linear: vec![0.0; streams * FRAME_SAMPLES],
            trunk: vec![0.0; streams * model.dec_in.outputs()],
            shaping: vec![0.0; streams * STEPS * model.dec_out.outputs()],
            mdct: vec![0.0; streams * FRAME_SAMPLES],
            folded: vec![0.0; streams * FRAME_SAMPLES],
            scratch: Scratch::new(&model.dec_blocks, streams),
        }
    }

    /// Decodes a frame of every job, whose codes were checked; as many jobs as `new` was told, at most.
    pub(crate) fn decode(&mut self, model: &Model, mut jobs: &mut [DecodeJob<'_>]) {
        let streams = jobs.len();
        for (job, latent) in jobs.iter_mut().zip(self.latents.chunks_exact_mut(LATENT)) {
            assert_eq!(
                job.pcm.len(),
                FRAME_SAMPLES,
                "a frame has {FRAME_SAMPLES} samples"
            );
            job.decoder.take(job.received);
            latent.copy_from_slice(&job.decoder.last);
        }
        let latents = &self.latents[..streams * LATENT];
        let linear = &mut self.linear[..streams * FRAME_SAMPLES];
        let trunk = &mut self.trunk[..streams * model.dec_in.outputs()];
        model.dec_skip.apply(streams, latents, linear);
        model.dec_in.apply(streams, latents, trunk);
        for (job, trunk) in jobs.iter().zip(trunk.chunks_exact_mut(model.dec_in.outputs())) {
            if job.decoder.lost_in_a_row > 0 {
                for (value, add) in trunk.iter_mut().zip(&model.dec_lost) {
                    *value += add;
                }
            }
        }
        step(
            model.table,
            &model.dec_blocks,
            &mut self.scratch,
            &mut jobs,
            trunk,
        );
        let shaping = &mut self.shaping[..streams * STEPS * model.dec_out.outputs()];
        model.dec_out.apply(streams * STEPS, trunk, shaping);
        let mdct = &mut self.mdct[..streams * FRAME_SAMPLES];
        let frames = linear
            .chunks_exact(FRAME_SAMPLES)
            .zip(mdct.chunks_exact_mut(FRAME_SAMPLES))
            .zip(shaping.chunks_exact(STEPS * 2 * HOP));
        for ((linear, mdct), shaping) in frames {
            let level = (model.table.square_sum(linear) / FRAME_SAMPLES as f32 + 1e-12).sqrt();
            let hops = linear
                .chunks_exact(HOP)
                .zip(mdct.chunks_exact_mut(HOP))
                .zip(shaping.chunks_exact(2 * HOP));
            for ((linear, mdct), shaping) in hops {
                let (gain, add) = shaping.split_at(HOP);
                for (((out, linear), gain), add) in mdct.iter_mut().zip(linear).zip(gain).zip(add) {
                    *out = expand(linear * (1.0 + gain) + add * level);
                }
            }
        }
        for (job, mdct) in jobs.iter_mut().zip(mdct.chunks_exact_mut(FRAME_SAMPLES)) {
            job.decoder.background(mdct);
        }
        let folded = &mut self.folded[..streams * FRAME_SAMPLES];
        model.mdct.inverse(streams * STEPS, mdct, folded);
        for (job, folded) in jobs.iter_mut().zip(folded.chunks_exact(FRAME_SAMPLES)) {
            let overlap = &mut job.decoder.overlap;
            for (folded, pcm) in folded.chunks_exact(HOP).zip(job.pcm.chunks_exact_mut(HOP)) {
                model.mdct.unfold(folded, overlap, pcm);
                pcm.iter_mut()
                    .for_each(|sample| *sample = sample.clamp(-1.0, 1.0));
            }
        }
    }
}
