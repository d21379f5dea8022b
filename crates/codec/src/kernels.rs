//! Matrix kernels, chosen once per call by what the processor has. The portable body is the oracle.

/// Outputs computed together: four 256-bit registers per input row.
const PANEL: usize = 32;

/// A dense layer `y = Wx + b`, weights packed in panels of 32 outputs: `[outputs / 32][inputs][32]`.
pub(crate) struct Dense {
    inputs: usize,
    outputs: usize,
    packed: Vec<f32>,
    bias: Vec<f32>,
}

impl Dense {
    /// From row-major `[outputs][inputs]`. `outputs` is a multiple of 32: the model loader checks shapes.
    pub(crate) fn new(rows: &[f32], bias: Vec<f32>, inputs: usize) -> Self {
        let outputs = bias.len();
        assert_eq!(rows.len(), inputs * outputs, "weights of another shape");
        assert_eq!(outputs % PANEL, 0, "outputs must fill panels");
        let mut packed = Vec::with_capacity(rows.len());
        for panel in 0..outputs / PANEL {
            for input in 0..inputs {
                packed.extend((0..PANEL).map(|lane| rows[(panel * PANEL + lane) * inputs + input]));
            }
        }
        Self {
            inputs,
            outputs,
            packed,
            bias,
        }
    }

    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// Applies the layer to `ROWS` inputs at once: `x` is `[ROWS][inputs]`, `y` is `[ROWS][outputs]`.
    pub(crate) fn apply<const ROWS: usize>(&self, x: &[f32], y: &mut [f32]) {
        assert_eq!(x.len(), ROWS * self.inputs, "input of another shape");
        assert_eq!(y.len(), ROWS * self.outputs, "output of another shape");
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            // SAFETY: the processor has both features, checked in the line above.
            unsafe { apply_avx2::<ROWS>(self, x, y) };
            return;
        }
        apply_body::<ROWS, false>(self, x, y);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn apply_avx2<const ROWS: usize>(dense: &Dense, x: &[f32], y: &mut [f32]) {
    apply_body::<ROWS, true>(dense, x, y);
}

#[inline(always)]
fn apply_body<const ROWS: usize, const FUSED: bool>(dense: &Dense, x: &[f32], y: &mut [f32]) {
    for (panel, weights) in dense.packed.chunks_exact(dense.inputs * PANEL).enumerate() {
        let outputs = panel * PANEL..(panel + 1) * PANEL;
        let mut sums = [[0.0f32; PANEL]; ROWS];
        for row in &mut sums {
            row.copy_from_slice(&dense.bias[outputs.clone()]);
        }
        for (input, lanes) in weights.chunks_exact(PANEL).enumerate() {
            for (row, sum) in sums.iter_mut().enumerate() {
                let factor = x[row * dense.inputs + input];
                for (sum, &weight) in sum.iter_mut().zip(lanes) {
                    *sum = if FUSED {
                        factor.mul_add(weight, *sum)
                    } else {
                        factor * weight + *sum
                    };
                }
            }
        }
        for (row, sum) in sums.iter().enumerate() {
            let at = row * dense.outputs;
            y[at + outputs.start..at + outputs.end].copy_from_slice(sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_computes_what_the_definition_says() {
        let (inputs, outputs) = (37, 96);
        let value = |i: usize| ((i * 2_654_435_761) % 1000) as f32 / 500.0 - 1.0;
        let rows: Vec<f32> = (0..inputs * outputs).map(value).collect();
        let bias: Vec<f32> = (0..outputs).map(|i| value(i + 7)).collect();
        let x: Vec<f32> = (0..2 * inputs).map(|i| value(i + 91)).collect();
        let dense = Dense::new(&rows, bias.clone(), inputs);
        let (mut fast, mut portable) = (vec![0.0; 2 * outputs], vec![0.0; 2 * outputs]);
        dense.apply::<2>(&x, &mut fast);
        apply_body::<2, false>(&dense, &x, &mut portable);
        for row in 0..2 {
            for o in 0..outputs {
                let expected = bias[o]
                    + (0..inputs)
                        .map(|i| rows[o * inputs + i] * x[row * inputs + i])
                        .sum::<f32>();
                assert!((fast[row * outputs + o] - expected).abs() < 1e-4);
                assert!((portable[row * outputs + o] - expected).abs() < 1e-4);
            }
        }
    }
}
