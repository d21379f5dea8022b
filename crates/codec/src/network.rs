//! The residual block of both trunks, streaming two steps (20 ms) at a time.

use crate::kernels::Dense;

/// Steps (hops) per frame.
pub(crate) const STEPS: usize = 2;

/// Causal depthwise convolution, root-mean-square norm, two pointwise layers around a hard swish, added to the input.
pub(crate) struct Block {
    pub(crate) width: usize,
    pub(crate) dilation: usize,
    /// `[kernel][width]`, the last row weighs the present step.
    pub(crate) depth: Vec<f32>,
    pub(crate) up: Dense,
    pub(crate) down: Dense,
}

impl Block {
    fn kernel(&self) -> usize {
        self.depth.len() / self.width
    }

    /// Past steps a stream has to keep.
    pub(crate) fn reach(&self) -> usize {
        (self.kernel() - 1) * self.dilation
    }
}

/// What a stream remembers of one block: its last inputs, oldest first, and room for the next.
pub(crate) struct BlockState {
    history: Vec<f32>,
}

impl BlockState {
    pub(crate) fn new(block: &Block) -> Self {
        Self {
            history: vec![0.0; (block.reach() + STEPS) * block.width],
        }
    }

    pub(crate) fn reset(&mut self) {
        self.history.fill(0.0);
    }
}

/// Buffers that every block of a trunk shares.
pub(crate) struct Scratch {
    branch: Vec<f32>,
    wide: Vec<f32>,
    narrow: Vec<f32>,
}

impl Scratch {
    pub(crate) fn new(blocks: &[Block]) -> Self {
        let width = blocks.iter().map(|b| b.width).max().unwrap_or(0);
        let wide = blocks.iter().map(|b| b.up.outputs()).max().unwrap_or(0);
        Self {
            branch: vec![0.0; STEPS * width],
            wide: vec![0.0; STEPS * wide],
            narrow: vec![0.0; STEPS * width],
        }
    }
}

/// Runs one frame through the block: `x` is `[STEPS][width]`, in place.
pub(crate) fn step(block: &Block, state: &mut BlockState, scratch: &mut Scratch, x: &mut [f32]) {
    let width = block.width;
    let reach = block.reach();
    state.history[reach * width..].copy_from_slice(x);
    let branch = &mut scratch.branch[..STEPS * width];
    for (at, row) in branch.chunks_exact_mut(width).enumerate() {
        row.fill(0.0);
        for (k, weights) in block.depth.chunks_exact(width).enumerate() {
            let past = &state.history[(at + k * block.dilation) * width..][..width];
            for ((sum, &value), &weight) in row.iter_mut().zip(past).zip(weights) {
                *sum += value * weight;
            }
        }
        let power = row.iter().map(|v| v * v).sum::<f32>() / width as f32;
        let scale = 1.0 / (power + 1e-2).sqrt();
        row.iter_mut().for_each(|v| *v *= scale);
    }
    let wide = &mut scratch.wide[..STEPS * block.up.outputs()];
    block.up.apply::<STEPS>(branch, wide);
    wide.iter_mut()
        .for_each(|v| *v *= (*v + 3.0).clamp(0.0, 6.0) * (1.0 / 6.0));
    let narrow = &mut scratch.narrow[..STEPS * width];
    block.down.apply::<STEPS>(wide, narrow);
    for (value, add) in x.iter_mut().zip(narrow.iter()) {
        *value += add;
    }
    state.history.copy_within(STEPS * width.., 0);
}
