//! GSM 6.10 (full rate, ETSI EN 300 961), in which telephone systems keep voice mail: two frames of 160 samples in 65
//! bytes, packed as Microsoft does. Fixed-point arithmetic of 16 bits, as the standard has it: the result is exact.

/// Bytes of two frames.
pub(super) const BLOCK: usize = 65;
/// Samples of two frames.
pub(super) const SAMPLES: usize = 320;

const SUBFRAME: usize = 40;
/// Samples of the past that a subframe may repeat.
const MEMORY: usize = 120;

/// Bits of the eight log area ratios, then what decodes them: offset, least value, 1/A.
const RATIO_BITS: [u32; 8] = [6, 6, 5, 5, 4, 4, 3, 3];
const RATIOS: [(i32, i32, i32); 8] = [
    (0, -32, 13_107),
    (0, -32, 13_107),
    (2_048, -16, 13_107),
    (-2_560, -16, 13_107),
    (94, -8, 19_223),
    (-1_792, -8, 17_476),
    (-341, -4, 31_454),
    (-1_144, -4, 29_708),
];

/// Long-term gains (table 3.2b) and mantissas of the pulses (table 3.6).
const GAINS: [i32; 4] = [3_277, 11_469, 21_299, 32_767];
const MANTISSAS: [i32; 8] = [18_431, 20_479, 22_527, 24_575, 26_623, 28_671, 30_719, 32_767];

/// The state of a stream.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Gsm {
    /// The past of the long-term filter, and the subframe in work.
    residual: [i32; MEMORY + SUBFRAME],
    lag: usize,
    ratios: [i32; 8],
    lattice: [i32; 9],
    emphasis: i32,
}

impl Gsm {
    pub(super) fn new() -> Self {
        Self {
            residual: [0; MEMORY + SUBFRAME],
            lag: 40,
            ratios: [0; 8],
            lattice: [0; 9],
            emphasis: 0,
        }
    }

    /// Appends the samples of one block.
    pub(super) fn decode(&mut self, block: &[u8; BLOCK], out: &mut Vec<f32>) {
        let mut bits = Bits { bytes: block, at: 0 };
        for _ in 0..2 {
            self.frame(&mut bits, out);
        }
    }

    fn frame(&mut self, bits: &mut Bits<'_>, out: &mut Vec<f32>) {
        let mut ratios = [0; 8];
        for ((ratio, width), (offset, least, inverse)) in ratios.iter_mut().zip(RATIO_BITS).zip(RATIOS) {
            let value = saturated(((bits.next(width) + least) << 10) - 2 * offset);
            *ratio = saturated(2 * product(inverse, value));
        }
        let mut excitation = [0; 4 * SUBFRAME];
        for part in excitation.chunks_exact_mut(SUBFRAME) {
            self.subframe(bits, part);
        }
        let before = std::mem::replace(&mut self.ratios, ratios);
        // The filter moves from the last frame's to this one's in three steps.
        let (half, quarter, most) = (|x| x >> 1, |x| x >> 2, |x| (x >> 2) + (x >> 1));
        for (ratios, range) in [
            (between(&before, most, &ratios, quarter), 0..13),
            (between(&before, half, &ratios, half), 13..27),
            (between(&before, quarter, &ratios, most), 27..40),
            (ratios, 40..160),
        ] {
            self.synthesise(&ratios.map(reflection), &excitation[range], out);
        }
    }

    /// The excitation of 40 samples: thirteen pulses on a grid, and what was `lag` samples ago.
    fn subframe(&mut self, bits: &mut Bits<'_>, out: &mut [i32]) {
        let lag = bits.next(7) as usize;
        let gain = GAINS[bits.next(2) as usize];
        let grid = bits.next(2) as usize;
        let (exponent, mantissa) = scale(bits.next(6));
        let shift = 6 - exponent;
        let rounding = if shift > 0 { 1 << (shift - 1) } else { 0 };
        let now = &mut self.residual[MEMORY..];
        now.fill(0);
        for place in now.iter_mut().skip(grid).step_by(3).take(13) {
            let pulse = product(MANTISSAS[mantissa], (2 * bits.next(3) - 7) << 12);
            *place = saturated(pulse + rounding) >> shift;
        }
        if (40..=MEMORY).contains(&lag) {
            self.lag = lag;
        }
        for n in MEMORY..MEMORY + SUBFRAME {
            self.residual[n] = saturated(self.residual[n] + product(gain, self.residual[n - self.lag]));
        }
        out.copy_from_slice(&self.residual[MEMORY..]);
        self.residual.copy_within(SUBFRAME.., 0);
    }

    /// The lattice filter, then the inverse of the emphasis that the coder gave.
    fn synthesise(&mut self, reflections: &[i32; 8], excitation: &[i32], out: &mut Vec<f32>) {
        for sample in excitation {
            let mut sample = *sample;
            for n in (0..8).rev() {
                sample = saturated(sample - product(reflections[n], self.lattice[n]));
                self.lattice[n + 1] = saturated(self.lattice[n] + product(reflections[n], sample));
            }
            self.lattice[0] = sample;
            self.emphasis = saturated(sample + product(self.emphasis, 28_180));
            let whole = saturated(2 * self.emphasis) & !7;
            out.push(whole as f32 / 32_768.0);
        }
    }
}

/// Shares of two frames' ratios, added.
fn between(before: &[i32; 8], old: fn(i32) -> i32, now: &[i32; 8], new: fn(i32) -> i32) -> [i32; 8] {
    std::array::from_fn(|n| saturated(old(before[n]) + new(now[n])))
}

/// Exponent and mantissa of a subframe's largest pulse.
fn scale(coded: i32) -> (i32, usize) {
    let mut exponent = if coded > 15 { (coded >> 3) - 1 } else { 0 };
    let mut mantissa = coded - (exponent << 3);
    if mantissa == 0 {
        return (-4, 7);
    }
    while mantissa <= 7 {
        mantissa = mantissa << 1 | 1;
        exponent -= 1;
    }
    (exponent, (mantissa - 8) as usize & 7)
}

/// Reflection coefficient of a log area ratio.
fn reflection(ratio: i32) -> i32 {
    let size = ratio.abs().min(32_767);
    let size = match size {
        ..11_059 => size << 1,
        11_059..20_070 => size + 11_059,
        _ => saturated((size >> 2) + 26_112),
    };
    if ratio < 0 { -size } else { size }
}

fn saturated(value: i32) -> i32 {
    value.clamp(-32_768, 32_767)
}

/// Product of two fractions of 16 bits, rounded.
fn product(a: i32, b: i32) -> i32 {
    saturated((a * b + 16_384) >> 15)
}

/// Fields, the lowest bit first.
struct Bits<'a> {
    bytes: &'a [u8; BLOCK],
    at: usize,
}

impl Bits<'_> {
    fn next(&mut self, width: u32) -> i32 {
        let mut value = 0;
        for bit in 0..width {
            let byte = self.bytes[self.at / 8];
            value |= i32::from(byte >> (self.at % 8) & 1) << bit;
            self.at += 1;
        }
        value
    }
}
