/// Longest delay looked for: 60 ms at 16 kHz; the neural codec has 30, Opus 6.5 and a resampler or two 10.
pub(crate) const MAX_LAG: usize = 960;
/// Samples correlated at once.
pub(crate) const CHUNK: usize = 320;
/// Speech needed before the lag is trusted: 0.6 s.
const ENOUGH: usize = 30 * CHUNK;
/// Mean square under which a chunk says nothing: −50 dBFS.
const QUIET: f32 = 1e-5;

/// Finds by how many samples the decoded signal lags, from a running cross-correlation.
pub(crate) struct Aligner {
    correlation: Vec<f32>,
    heard: usize,
}

impl Aligner {
    pub(crate) fn new() -> Self {
        Self {
            correlation: vec![0.0; MAX_LAG + 1],
            heard: 0,
        }
    }

    /// Takes one chunk of the reference and the decoded samples from the same position on, `MAX_LAG` longer.
    /// Answers once enough was heard.
    pub(crate) fn push(&mut self, reference: &[f32], decoded: &[f32]) -> Option<usize> {
        let energy: f32 = reference.iter().map(|x| x * x).sum();
        if energy < QUIET * CHUNK as f32 {
            return None;
        }
        // Each chunk weighs the same, so that one loud vowel does not decide alone.
        let weight = 1.0 / energy;
        for (lag, slot) in self.correlation.iter_mut().enumerate() {
            // Eight partial sums let the compiler use wide registers.
            let mut partial = [0.0f32; 8];
            let (xs, _) = reference.as_chunks::<8>();
            let (ys, _) = decoded[lag..lag + CHUNK].as_chunks::<8>();
            for (x, y) in xs.iter().zip(ys) {
                for i in 0..8 {
                    partial[i] += x[i] * y[i];
                }
            }
            *slot += weight * partial.iter().sum::<f32>();
        }
        self.heard += CHUNK;
        (self.heard >= ENOUGH).then(|| {
            let best = self
                .correlation
                .iter()
                .enumerate()
                .max_by(|a, b| a.1.total_cmp(b.1));
            best.map_or(0, |(lag, _)| lag)
        })
    }
}
