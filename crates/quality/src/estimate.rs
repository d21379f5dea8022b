use std::collections::VecDeque;

use auralink_types::Mos;
use realfft::num_complex::Complex;

use crate::align::{Aligner, CHUNK, MAX_LAG};
use crate::bands::Bands;
use crate::perception::{BANDS, BLOCK, Block, Features, Perception, Window};
use crate::regression;
use crate::spectrum::{Spectrum, WINDOW, bins};

/// Rate of both signals in Hz.
pub const SAMPLE_RATE: u32 = 16_000;
/// Samples between windows: 16 ms.
const HOP: usize = WINDOW / 2;
/// Blocks remembered: 3.2 s of speech.
const BLOCKS: usize = 10;
/// Active windows that make a block worth remembering (0.1 s).
const BLOCK_ACTIVE: usize = 6;
/// Active windows an estimate needs: 1 s.
const ENOUGH_ACTIVE: usize = 62;
/// Samples held of either signal: 2 s. A side that runs further ahead than that starts both afresh.
const MAX_PENDING: usize = 2 * SAMPLE_RATE as usize;
/// Windows measured per 320 samples pushed while a backlog from the alignment is worked off.
const CATCH_UP: usize = 4;

/// Listens to a reference and its decoded copy at 16 kHz and tells the PESQ-WB score the last 3 s would get.
///
/// Meant to sit beside an encoder that decodes its own output. Silence is skipped: the estimate is that of the
/// last speech heard.
pub struct Estimator {
    spectrum: Spectrum,
    bands: Bands,
    perception: Perception,
    aligner: Option<Aligner>,
    delay: Option<usize>,
    /// Decoded samples still to be dropped for the delay.
    skip: usize,
    /// Position of the aligner in the pending reference.
    aligned_to: usize,
    reference: VecDeque<f32>,
    decoded: VecDeque<f32>,
    windows: Vec<Window>,
    blocks: VecDeque<Block>,
    /// What the blocks say: made once a block, asked for once a packet.
    mos: Option<Mos>,
    scratch: Vec<f32>,
    reference_bins: Vec<Complex<f32>>,
    decoded_bins: Vec<Complex<f32>>,
}

impl Default for Estimator {
    fn default() -> Self {
        Self::new()
    }
}

impl Estimator {
    /// Finds the delay of the decoded signal by itself (0 to 60 ms) in the first 0.6 to 1.8 s of sound.
    pub fn new() -> Self {
        Self::build(None)
    }

    /// The decoded signal lags by that many samples.
    pub fn with_delay(samples: usize) -> Self {
        Self::build(Some(samples))
    }

    fn build(delay: Option<usize>) -> Self {
        let bands = Bands::mel(BANDS);
        Self {
            spectrum: Spectrum::new(),
            perception: Perception::new(&bands),
            bands,
            aligner: delay.is_none().then(Aligner::new),
            delay,
            skip: delay.unwrap_or(0),
            aligned_to: 0,
            reference: VecDeque::with_capacity(MAX_PENDING),
            decoded: VecDeque::with_capacity(MAX_PENDING),
            windows: Vec::with_capacity(BLOCK),
            blocks: VecDeque::with_capacity(BLOCKS),
            mos: None,
            scratch: vec![0.0; WINDOW.max(CHUNK + CHUNK + MAX_LAG)],
            reference_bins: bins(),
            decoded_bins: bins(),
        }
    }

    /// Takes the next samples of both signals; the two lengths may differ from call to call. Samples that are
    /// not finite count as silence.
    pub fn push(&mut self, reference: &[f32], decoded: &[f32]) {
        let clean = |&sample: &f32| {
            if sample.is_finite() {
                sample.clamp(-4.0, 4.0)
            } else {
                0.0
            }
        };
        for (reference, decoded) in chunk_pairs(reference, decoded) {
            self.reference.extend(reference.iter().map(clean));
            let dropped = self.skip.min(decoded.len());
            self.skip -= dropped;
            self.decoded.extend(decoded[dropped..].iter().map(clean));
            if self.reference.len().max(self.decoded.len()) > MAX_PENDING {
                self.restart();
            }
            self.align();
            self.measure();
        }
    }

    /// The score of the last speech; `None` before a second of it was measured.
    pub fn estimate(&self) -> Option<Mos> {
        self.mos
    }

    /// What the estimate is made from.
    pub fn features(&self) -> Option<Features> {
        let active: usize = self.blocks.iter().map(|block| block.active).sum();
        if active < ENOUGH_ACTIVE {
            return None;
        }
        Features::over(self.blocks.iter())
    }

    /// Delay in samples, once known.
    pub fn delay(&self) -> Option<usize> {
        self.delay
    }

    /// Forgets what was measured, as after a change of rung with the same delay; both signals go on unbroken.
    pub fn forget(&mut self) {
        self.windows.clear();
        self.blocks.clear();
        self.mos = None;
    }

    /// Forgets measures, pending samples and a delay that was found: the signals start anew.
    pub fn restart(&mut self) {
        self.forget();
        self.reference.clear();
        self.decoded.clear();
        self.aligned_to = 0;
        if self.aligner.is_some() {
            self.aligner = Some(Aligner::new());
            self.delay = None;
        }
        self.skip = self.delay.unwrap_or(0);
    }

    fn align(&mut self) {
        let (None, Some(aligner)) = (self.delay, &mut self.aligner) else {
            return;
        };
        let whole = CHUNK + MAX_LAG;
        while self.reference.len() >= self.aligned_to + CHUNK && self.decoded.len() >= self.aligned_to + whole
        {
            let (reference, decoded) = self.scratch.split_at_mut(CHUNK);
            copy(&self.reference, self.aligned_to, reference);
            copy(&self.decoded, self.aligned_to, &mut decoded[..whole]);
            self.aligned_to += CHUNK;
            if let Some(lag) = aligner.push(reference, &decoded[..whole]) {
                self.delay = Some(lag);
                self.decoded.drain(..lag);
                return;
            }
        }
        // A long silence before the first word: only what may still be needed is kept.
        if self.aligned_to > MAX_PENDING / 2 {
            let old = self.aligned_to - MAX_PENDING / 2;
            self.reference.drain(..old);
            self.decoded.drain(..old);
            self.aligned_to -= old;
        }
    }

    fn measure(&mut self) {
        if self.delay.is_none() {
            return;
        }
        for _ in 0..CATCH_UP {
            if self.reference.len().min(self.decoded.len()) < WINDOW {
                return;
            }
            self.window();
            self.reference.drain(..HOP);
            self.decoded.drain(..HOP);
        }
    }

    fn window(&mut self) {
        let mut window = Window {
            reference: [0.0; BANDS],
            decoded: [0.0; BANDS],
            error: [0.0; BANDS],
        };
        let samples = &mut self.scratch[..WINDOW];
        copy(&self.reference, 0, samples);
        self.spectrum.transform(samples, &mut self.reference_bins);
        copy(&self.decoded, 0, samples);
        self.spectrum.transform(samples, &mut self.decoded_bins);
        self.bands.powers(&self.reference_bins, &mut window.reference);
        self.bands.powers(&self.decoded_bins, &mut window.decoded);
        for (bin, reference) in self.decoded_bins.iter_mut().zip(&self.reference_bins) {
            *bin -= *reference;
        }
        self.bands.powers(&self.decoded_bins, &mut window.error);
        self.windows.push(window);
        if self.windows.len() == BLOCK {
            let block = self.perception.block(&self.windows);
            self.windows.clear();
            if let Some(block) = block.filter(|block| block.active >= BLOCK_ACTIVE) {
                if self.blocks.len() == BLOCKS {
                    self.blocks.pop_front();
                }
                self.blocks.push_back(block);
                let features = self.features();
                self.mos = features.map(|features| Mos::new(regression::mos(&features)));
            }
        }
    }
}

/// Both slices in step, `CHUNK` samples of each at a time, so that one huge push works like many small ones.
fn chunk_pairs<'a>(a: &'a [f32], b: &'a [f32]) -> impl Iterator<Item = (&'a [f32], &'a [f32])> {
    let count = a.len().max(b.len()).div_ceil(CHUNK);
    let part = |slice: &'a [f32], n: usize| {
        let start = (n * CHUNK).min(slice.len());
        &slice[start..(start + CHUNK).min(slice.len())]
    };
    (0..count).map(move |n| (part(a, n), part(b, n)))
}

fn copy(from: &VecDeque<f32>, start: usize, to: &mut [f32]) {
    for (slot, &sample) in to.iter_mut().zip(from.range(start..)) {
        *slot = sample;
    }
}
