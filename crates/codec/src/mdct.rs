//! Orthonormal MDCT and MDST with the sine window (Princen and Bradley 1986), 10 ms hops, by matrix.
//!
//! A hop of 160 is too short for a fast transform to pay against the dense kernel.

use crate::HOP;
use crate::kernels::Dense;

fn basis(kind: fn(f64) -> f64) -> Vec<f32> {
    let hop = HOP as f64;
    let scale = (2.0 / hop).sqrt();
    let mut rows = Vec::with_capacity(2 * HOP * HOP);
    for k in 0..HOP {
        for n in 0..2 * HOP {
            let window = (std::f64::consts::PI * (n as f64 + 0.5) / (2.0 * hop)).sin();
            let phase = std::f64::consts::PI / hop * (n as f64 + 0.5 + hop / 2.0) * (k as f64 + 0.5);
            rows.push((window * kind(phase) * scale) as f32);
        }
    }
    rows
}

/// `[2·HOP] → [HOP MDCT, HOP MDST]`.
pub(crate) fn analysis() -> Dense {
    let mut rows = basis(f64::cos);
    rows.extend(basis(f64::sin));
    Dense::new(&rows, vec![0.0; 2 * HOP], 2 * HOP)
}

/// `[HOP MDCT] → [2·HOP]` to be overlapped and added.
pub(crate) fn synthesis() -> Dense {
    let forward = basis(f64::cos);
    let mut rows = vec![0.0; forward.len()];
    for k in 0..HOP {
        for n in 0..2 * HOP {
            rows[n * HOP + k] = forward[k * 2 * HOP + n];
        }
    }
    Dense::new(&rows, vec![0.0; 2 * HOP], HOP)
}

const COMPAND_SCALE: f32 = 6.0;

/// Square-root companding: brings the coefficients of speech near unit size.
pub(crate) fn compand(x: f32) -> f32 {
    if x == 0.0 {
        0.0
    } else {
        COMPAND_SCALE * x.signum() * (x.abs() + 1e-12).sqrt()
    }
}

/// Undoes [`compand`].
pub(crate) fn expand(y: f32) -> f32 {
    y * y.abs() / (COMPAND_SCALE * COMPAND_SCALE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn analysis_and_synthesis_reconstruct_one_hop_late() {
        let x: Vec<f32> = (0..HOP * 6).map(|n| (n as f32 * 0.37).sin() * 0.5).collect();
        let (forward, inverse) = (analysis(), synthesis());
        let mut padded = vec![0.0; HOP];
        padded.extend(&x);
        let (mut tail, mut y) = (vec![0.0; HOP], Vec::new());
        for block in 0..6 {
            let mut both = vec![0.0; 2 * HOP];
            forward.apply::<1>(&padded[block * HOP..(block + 2) * HOP], &mut both);
            let mut time = vec![0.0; 2 * HOP];
            inverse.apply::<1>(&both[..HOP], &mut time);
            y.extend(tail.iter().zip(&time).map(|(a, b)| a + b));
            tail.copy_from_slice(&time[HOP..]);
        }
        for n in 0..x.len() - HOP {
            assert!((y[n + HOP] - x[n]).abs() < 1e-4, "sample {n}");
        }
    }
}
