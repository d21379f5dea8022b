//! The small networks that `fit/` fits: standardised inputs, one hidden layer of tanh, linear outputs.

/// Standardised inputs are cut off here: what the fit never saw is not extrapolated.
const INPUT_RANGE: f32 = 4.0;

/// Weights of a network of so many inputs, hidden units and outputs.
pub(crate) struct Network<const I: usize, const H: usize, const O: usize> {
    pub(crate) mean: [f32; I],
    /// One over the deviation.
    pub(crate) scale: [f32; I],
    pub(crate) hidden: [[f32; I]; H],
    pub(crate) hidden_bias: [f32; H],
    pub(crate) out: [[f32; H]; O],
    pub(crate) out_bias: [f32; O],
}

impl<const I: usize, const H: usize, const O: usize> Network<I, H, O> {
    pub(crate) fn apply(&self, inputs: &[f32; I]) -> [f32; O] {
        let standard: [f32; I] = std::array::from_fn(|n| {
            ((inputs[n] - self.mean[n]) * self.scale[n]).clamp(-INPUT_RANGE, INPUT_RANGE)
        });
        let hidden: [f32; H] =
            std::array::from_fn(|n| (dot(&self.hidden[n], &standard) + self.hidden_bias[n]).tanh());
        std::array::from_fn(|n| dot(&self.out[n], &hidden) + self.out_bias[n])
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}
