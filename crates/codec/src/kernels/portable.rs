//! Plain Rust, and the bodies that the compiler vectorises for whatever features the caller was compiled for.

use super::book::{Book, LANES, Rounded, Row};
use super::dense::{Dense, PANEL, Packed};
use super::{Kernel, Table, elementwise};
use crate::{ENTRIES, LATENT};

pub(super) static TABLE: Table = Table {
    kernel: Kernel::Portable,
    halves: false,
    bytes: false,
    dense,
    costs,
    spectrum: elementwise::spectrum,
    branch: elementwise::branch::<false>,
    swish: elementwise::swish,
    below: elementwise::below,
    count: elementwise::count,
    distances: elementwise::distances,
    square_sum: elementwise::square_sum::<false>,
};

fn dense(dense: &Dense, rows: usize, x: &[f32], y: &mut [f32]) {
    let Packed::Single(packed) = &dense.packed else {
        unreachable!("this table keeps no halves");
    };
    let (inputs, outputs) = (dense.inputs, dense.outputs);
    let mut row = 0;
    while row + 2 <= rows {
        let (x0, x1) = x[row * inputs..(row + 2) * inputs].split_at(inputs);
        let (y0, y1) = y[row * outputs..(row + 2) * outputs].split_at_mut(outputs);
        two_rows(packed, &dense.bias, [x0, x1], [y0, y1]);
        row += 2;
    }
    if row < rows {
        one_row(packed, &dense.bias, &x[row * inputs..], &mut y[row * outputs..]);
    }
}

// One function per row count, over iterators and fixed-size arrays: with an index or a loop over rows inside, the
// compiler keeps the sums in memory and the kernel runs at a fifth of its speed.

fn one_row(packed: &[f32], bias: &[f32], x: &[f32], y: &mut [f32]) {
    let weights = packed.as_chunks::<PANEL>().0.chunks_exact(x.len());
    let biases = bias.as_chunks::<PANEL>().0;
    for ((weights, bias), y) in weights.zip(biases).zip(y.as_chunks_mut::<PANEL>().0) {
        let mut sum = *bias;
        for (lanes, &factor) in weights.iter().zip(x) {
            add(&mut sum, factor, lanes);
        }
        *y = sum;
    }
}

fn two_rows(packed: &[f32], bias: &[f32], [x0, x1]: [&[f32]; 2], [y0, y1]: [&mut [f32]; 2]) {
    let weights = packed.as_chunks::<PANEL>().0.chunks_exact(x0.len());
    let biases = bias.as_chunks::<PANEL>().0;
    let outputs = y0
        .as_chunks_mut::<PANEL>()
        .0
        .iter_mut()
        .zip(y1.as_chunks_mut::<PANEL>().0);
    for ((weights, bias), (y0, y1)) in weights.zip(biases).zip(outputs) {
        let (mut first, mut second) = (*bias, *bias);
        for ((lanes, &a), &b) in weights.iter().zip(x0).zip(x1) {
            add(&mut first, a, lanes);
            add(&mut second, b, lanes);
        }
        *y0 = first;
        *y1 = second;
    }
}

#[inline(always)]
fn add(sum: &mut [f32; PANEL], factor: f32, lanes: &[f32; PANEL]) {
    for (sum, &lane) in sum.iter_mut().zip(lanes) {
        *sum += factor * lane;
    }
}

fn costs(book: &Book, rows: &[Row], costs: &mut [f32], minima: &mut [[f32; LANES]]) {
    let Rounded::Words(words) = &book.rounded else {
        unreachable!("this table keeps words");
    };
    let halves = book.halves.as_chunks::<LANES>().0;
    let scales = book.scales.as_chunks::<LANES>().0;
    for ((row, costs), minima) in rows.iter().zip(costs.chunks_exact_mut(ENTRIES)).zip(minima) {
        *minima = [f32::INFINITY; LANES];
        let panels = words.chunks_exact(LATENT / 2).zip(halves).zip(scales);
        for (((panel, halves), scales), costs) in panels.zip(costs.as_chunks_mut::<LANES>().0) {
            let mut dots = [0i32; LANES];
            for (pairs, &[low, high]) in panel.iter().zip(row.words.as_chunks::<2>().0) {
                for (dot, &[a, b]) in dots.iter_mut().zip(pairs.as_chunks::<2>().0) {
                    *dot += i32::from(a) * i32::from(low) + i32::from(b) * i32::from(high);
                }
            }
            for lane in 0..LANES {
                let gain = dots[lane] as f32 * (row.scale * scales[lane]);
                let cost = row.cost + (halves[lane] - gain);
                costs[lane] = cost;
                minima[lane] = if cost < minima[lane] { cost } else { minima[lane] };
            }
        }
    }
}
