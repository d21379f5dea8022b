//! A dense layer in the layout that the kernels read.

use super::Table;
use super::half::exact_half;

/// Outputs packed together: four 256-bit or two 512-bit registers.
pub(super) const PANEL: usize = 32;

/// Weights in panels of 32 outputs: `[outputs / 32][inputs][32]`.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
pub(super) enum Packed {
    Single(Vec<f32>),
    Half(Vec<u16>),
}

/// A dense layer `y = Wx + b`.
pub(crate) struct Dense {
    table: &'static Table,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) packed: Packed,
    pub(super) bias: Vec<f32>,
}

impl Dense {
    /// From row-major `[outputs][inputs]`. `outputs` is a multiple of 32: the model loader checks shapes.
    ///
    /// Weights that are halves, as a model file's are, stay halves where the kernel reads them: half the memory
    /// to stream per frame, the same result to the bit.
    pub(crate) fn new(table: &'static Table, rows: &[f32], bias: Vec<f32>, inputs: usize) -> Self {
        let outputs = bias.len();
        assert_eq!(rows.len(), inputs * outputs, "weights of another shape");
        assert_eq!(outputs % PANEL, 0, "outputs must fill panels");
        let order = (0..outputs / PANEL).flat_map(|panel| {
            (0..inputs)
                .flat_map(move |input| (0..PANEL).map(move |lane| (panel * PANEL + lane) * inputs + input))
        });
        let halves: Option<Vec<u16>> = if table.halves {
            order.clone().map(|at| exact_half(rows[at])).collect()
        } else {
            None
        };
        Self {
            table,
            inputs,
            outputs,
            packed: halves.map_or_else(
                || Packed::Single(order.map(|at| rows[at]).collect()),
                Packed::Half,
            ),
            bias,
        }
    }

    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// Applies the layer to `rows` inputs at once: `x` is `[rows][inputs]`, `y` is `[rows][outputs]`. What comes out
    /// of a row does not depend on the rows beside it.
    pub(crate) fn apply(&self, rows: usize, x: &[f32], y: &mut [f32]) {
        assert_eq!(x.len(), rows * self.inputs, "input of another shape");
        assert_eq!(y.len(), rows * self.outputs, "output of another shape");
        // SAFETY: the table's features were detected; the shapes are those asserted here and in `new`, whose fields
        // never change.
        unsafe { (self.table.dense)(self, rows, x, y) };
    }
}

#[cfg(test)]
mod tests {
    use super::super::Kernel;
    use super::*;

    fn value(i: usize) -> f32 {
        ((i * 2_654_435_761) % 1000) as f32 / 500.0 - 1.0
    }

    #[test]
    fn every_kernel_computes_what_the_definition_says_for_every_number_of_rows() {
        for halves in [false, true] {
            for (inputs, outputs) in [(37, 96), (64, 32), (5, 160), (128, 64)] {
                let weight = |i| {
                    if halves {
                        (value(i) * 64.0).round() / 64.0
                    } else {
                        value(i)
                    }
                };
                let weights: Vec<f32> = (0..inputs * outputs).map(weight).collect();
                let bias: Vec<f32> = (0..outputs).map(|i| value(i + 7)).collect();
                for kernel in Kernel::ALL {
                    let Some(table) = kernel.table() else { continue };
                    let dense = Dense::new(table, &weights, bias.clone(), inputs);
                    assert_eq!(matches!(dense.packed, Packed::Half(_)), halves && table.halves);
                    for rows in 1..=18 {
                        let x: Vec<f32> = (0..rows * inputs).map(|i| value(i + 91)).collect();
                        let mut y = vec![f32::NAN; rows * outputs];
                        dense.apply(rows, &x, &mut y);
                        for (row, y) in y.chunks_exact(outputs).enumerate() {
                            for (o, &y) in y.iter().enumerate() {
                                let expected = bias[o]
                                    + (0..inputs)
                                        .map(|i| weights[o * inputs + i] * x[row * inputs + i])
                                        .sum::<f32>();
                                assert!(
                                    (y - expected).abs() < 1e-4,
                                    "{kernel}, {rows} rows: {y} for {expected}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_row_comes_out_the_same_to_the_bit_whatever_stands_beside_it() {
        let (inputs, outputs) = (160, 96);
        let weights: Vec<f32> = (0..inputs * outputs).map(value).collect();
        for kernel in Kernel::ALL {
            let Some(table) = kernel.table() else { continue };
            let dense = Dense::new(table, &weights, vec![0.25; outputs], inputs);
            let rows = 17;
            let x: Vec<f32> = (0..rows * inputs).map(|i| value(i + 3)).collect();
            let mut together = vec![0.0; rows * outputs];
            dense.apply(rows, &x, &mut together);
            for (x, expected) in x.chunks_exact(inputs).zip(together.chunks_exact(outputs)) {
                let mut alone = vec![0.0; outputs];
                dense.apply(1, x, &mut alone);
                assert_eq!(alone, expected, "{kernel}");
            }
        }
    }
}
