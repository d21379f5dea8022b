/// Longest delay looked for: 60 ms at 16 kHz; the neural codec has 30, Opus 6.5 and a resampler or two 10.
pub(crate) const MAX_LAG: usize = 960;
/// Samples correlated at once.
pub(crate) const CHUNK: usize = 320;
/// Sound needed before a clear peak is trusted: 0.6 s.
const ENOUGH: usize = 30 * CHUNK;
/// Sound after which any peak is: 1.8 s.
const AT_MOST: usize = 90 * CHUNK;
/// Normalised correlation of a clear peak. Noise before the first word stays under it at low rates.
const CLEAR: f32 = 0.6;
/// Mean square under which a chunk says nothing: −50 dBFS.
const QUIET: f32 = 1e-5;
/// A first difference takes out rumble and hum, which codecs filter and which look alike at every lag.
const PRE_EMPHASIS: f32 = 0.95;

/// Finds by how many samples the decoded signal lags, from a running cross-correlation.
pub(crate) struct Aligner {
    correlation: Vec<f32>,
    heard: usize,
    /// What the correlation would be if both were equal.
    full: f32,
    reference: Vec<f32>,
    decoded: Vec<f32>,
}

impl Aligner {
    pub(crate) fn new() -> Self {
        Self {
            correlation: vec![0.0; MAX_LAG + 1],
            heard: 0,
            full: 0.0,
            reference: Vec::with_capacity(CHUNK),
            decoded: Vec::with_capacity(CHUNK + MAX_LAG),
        }
    }

    /// Takes one chunk of the reference and the decoded samples from the same position on, `MAX_LAG` longer.
    /// Answers once enough was heard.
    pub(crate) fn push(&mut self, reference: &[f32], decoded: &[f32]) -> Option<usize> {
        let energy: f32 = reference.iter().map(|x| x * x).sum();
        if energy < QUIET * CHUNK as f32 {
            return None;
        }
        emphasise(reference, &mut self.reference);
        emphasise(decoded, &mut self.decoded);
        let energy: f32 = self.reference.iter().map(|x| x * x).sum();
        // Amplitude, not energy: one loud vowel does not decide alone, noise between words hardly counts.
        let weight = 1.0 / energy.max(f32::MIN_POSITIVE).sqrt();
        for (lag, slot) in self.correlation.iter_mut().enumerate() {
            // Eight partial sums let the compiler use wide registers.
            let mut partial = [0.0f32; 8];
            let (xs, _) = self.reference.as_chunks::<8>();
            let (ys, _) = self.decoded[lag..lag + CHUNK].as_chunks::<8>();
            for (x, y) in xs.iter().zip(ys) {
                for i in 0..8 {
                    partial[i] += x[i] * y[i];
                }
            }
            *slot += weight * partial.iter().sum::<f32>();
        }
        self.heard += CHUNK;
        self.full += weight * energy;
        if self.heard < ENOUGH {
            return None;
        }
        let best = self
            .correlation
            .iter()
            .enumerate()
            .max_by(|a, b| a.1.total_cmp(b.1));
        let (lag, &peak) = best?;
        (peak >= CLEAR * self.full || self.heard >= AT_MOST).then_some(lag)
    }
}

fn emphasise(samples: &[f32], out: &mut Vec<f32>) {
    out.clear();
    let mut last = samples.first().copied().unwrap_or(0.0);
    out.extend(samples.iter().map(|&sample| {
        let difference = sample - PRE_EMPHASIS * last;
        last = sample;
        difference
    }));
}
