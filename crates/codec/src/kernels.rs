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
    let (inputs, outputs) = (dense.inputs, dense.outputs);
    let mut row = 0;
    while row + 2 <= ROWS {
        let (x0, x1) = x[row * inputs..(row + 2) * inputs].split_at(inputs);
        let (y0, y1) = y[row * outputs..(row + 2) * outputs].split_at_mut(outputs);
        two_rows::<FUSED>(dense, [x0, x1], [y0, y1]);
        row += 2;
    }
    if row < ROWS {
        one_row::<FUSED>(dense, &x[row * inputs..], &mut y[row * outputs..]);
    }
}

// One function per row count, over iterators and fixed-size arrays: with an index or a loop over rows inside, the
// compiler keeps the sums in memory and the kernel runs at a fifth of its speed.

#[inline(always)]
fn one_row<const FUSED: bool>(dense: &Dense, x: &[f32], y: &mut [f32]) {
    let weights = dense.packed.as_chunks::<PANEL>().0.chunks_exact(dense.inputs);
    let biases = dense.bias.as_chunks::<PANEL>().0;
    for ((weights, bias), y) in weights.zip(biases).zip(y.as_chunks_mut::<PANEL>().0) {
        let mut sum = *bias;
        for (lanes, &factor) in weights.iter().zip(x) {
            add::<FUSED>(&mut sum, factor, lanes);
        }
        *y = sum;
    }
}

#[inline(always)]
fn two_rows<const FUSED: bool>(dense: &Dense, [x0, x1]: [&[f32]; 2], [y0, y1]: [&mut [f32]; 2]) {
    let weights = dense.packed.as_chunks::<PANEL>().0.chunks_exact(dense.inputs);
    let biases = dense.bias.as_chunks::<PANEL>().0;
    let outputs = y0
        .as_chunks_mut::<PANEL>()
        .0
        .iter_mut()
        .zip(y1.as_chunks_mut::<PANEL>().0);
    for ((weights, bias), (y0, y1)) in weights.zip(biases).zip(outputs) {
        let (mut first, mut second) = (*bias, *bias);
        for ((lanes, &a), &b) in weights.iter().zip(x0).zip(x1) {
            add::<FUSED>(&mut first, a, lanes);
            add::<FUSED>(&mut second, b, lanes);
        }
        *y0 = first;
        *y1 = second;
    }
}

#[inline(always)]
fn add<const FUSED: bool>(sum: &mut [f32; PANEL], factor: f32, lanes: &[f32; PANEL]) {
    for (sum, &lane) in sum.iter_mut().zip(lanes) {
        *sum = if FUSED {
            factor.mul_add(lane, *sum)
        } else {
            factor * lane + *sum
        };
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
