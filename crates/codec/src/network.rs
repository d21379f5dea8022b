//! The residual block of both trunks, streaming two steps (20 ms) at a time, for any number of streams at once.

use crate::kernels::{Dense, Table};

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
    fn reach(&self) -> usize {
        (self.kernel() - 1) * self.dilation
    }
}

/// What a stream remembers of one block: a ring of its last inputs.
struct BlockState {
    ring: Vec<f32>,
    /// Row of the next step.
    next: usize,
}

/// What a stream remembers of a trunk.
pub(crate) struct TrunkState {
    blocks: Vec<BlockState>,
}

impl TrunkState {
    pub(crate) fn new(blocks: &[Block]) -> Self {
        let state = |block: &Block| BlockState {
            ring: vec![0.0; (block.reach() + STEPS) * block.width],
            next: 0,
        };
        Self {
            blocks: blocks.iter().map(state).collect(),
        }
    }

    pub(crate) fn reset(&mut self) {
        for block in &mut self.blocks {
            block.ring.fill(0.0);
            block.next = 0;
        }
    }
}

/// Streams that go through a trunk together.
pub(crate) trait Streams {
    fn trunk(&mut self, stream: usize) -> &mut TrunkState;
}

/// Buffers that every block of a trunk shares.
pub(crate) struct Scratch {
    branch: Vec<f32>,
    wide: Vec<f32>,
}

impl Scratch {
    /// For that many streams at a time.
    pub(crate) fn new(blocks: &[Block], streams: usize) -> Self {
        let width = blocks.iter().map(|b| b.width).max().unwrap_or(0);
        let wide = blocks.iter().map(|b| b.up.outputs()).max().unwrap_or(0);
        Self {
            branch: vec![0.0; streams * STEPS * width],
            wide: vec![0.0; streams * STEPS * wide],
        }
    }
}

/// Runs one frame of every stream through the trunk: `x` is `[streams][STEPS][width]`, in place.
pub(crate) fn step(
    table: &Table,
    blocks: &[Block],
    scratch: &mut Scratch,
    streams: &mut impl Streams,
    x: &mut [f32],
) {
    for (number, block) in blocks.iter().enumerate() {
        let width = block.width;
        let branch = &mut scratch.branch[..x.len()];
        let frames = x.chunks_exact(STEPS * width);
        for (stream, (x, branch)) in frames.zip(branch.chunks_exact_mut(STEPS * width)).enumerate() {
            let state = &mut streams.trunk(stream).blocks[number];
            let rows = state.ring.len() / width;
            for (x, branch) in x.chunks_exact(width).zip(branch.chunks_exact_mut(width)) {
                state.ring[state.next * width..][..width].copy_from_slice(x);
                table.branch(&block.depth, &state.ring, state.next, block.dilation, branch);
                state.next = (state.next + 1) % rows;
            }
        }
        let rows = x.len() / width;
        let wide = &mut scratch.wide[..rows * block.up.outputs()];
        block.up.apply(rows, branch, wide);
        table.swish(wide);
        block.down.apply(rows, wide, branch);
        for (value, add) in x.iter_mut().zip(branch.iter()) {
            *value += add;
        }
    }
}
