//! The two ADPCM codings of answering machines, dictation and telephone systems (Microsoft's "Multimedia Data
//! Standards Update", 1994).

use crate::error::Problem;

/// Channels that blocks are read of.
const MAX_CHANNELS: usize = 2;

fn check(align: usize, channels: usize, header: usize) -> Result<(), Problem> {
    if channels > MAX_CHANNELS {
        return Err(Problem::Field {
            field: "channels of ADPCM",
            found: channels as u64,
            expected: "1 and 2",
        });
    }
    if align < header * channels {
        return Err(Problem::Field {
            field: "bytes of a block",
            found: align as u64,
            expected: "more than its header",
        });
    }
    Ok(())
}

fn i16_at(bytes: &[u8], at: usize) -> i32 {
    i16::from_le_bytes([bytes[at], bytes[at + 1]]).into()
}

fn full(sample: i32) -> f32 {
    sample as f32 / 32_768.0
}

/// Microsoft's: a prediction from two samples, with coefficients from the header.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Microsoft {
    pairs: Vec<[i32; 2]>,
}

/// The coefficients that every file has, in 256ths.
const PAIRS: [[i32; 2]; 7] = [
    [256, 0],
    [512, -256],
    [0, 0],
    [192, 64],
    [240, 0],
    [460, -208],
    [392, -232],
];

/// How the step changes, in 256ths, after each code.
const ADAPTATION: [i32; 16] = [
    230, 230, 230, 230, 307, 409, 512, 614, 768, 614, 512, 409, 307, 230, 230, 230,
];

impl Microsoft {
    const HEADER: usize = 7;

    /// `extra` is what follows the size of the extension: samples of a block, number of pairs, pairs.
    pub(super) fn new(align: usize, channels: usize, extra: &[u8]) -> Result<Self, Problem> {
        check(align, channels, Self::HEADER)?;
        let own: Vec<[i32; 2]> = extra
            .get(4..)
            .unwrap_or_default()
            .chunks_exact(4)
            .take(extra.get(2).map_or(0, |count| usize::from(*count)))
            .map(|pair| [i16_at(pair, 0), i16_at(pair, 2)])
            .collect();
        Ok(Self {
            pairs: if own.len() < PAIRS.len() {
                PAIRS.to_vec()
            } else {
                own
            },
        })
    }

    pub(super) fn frames(&self, block: usize) -> usize {
        2 * (block.saturating_sub(Self::HEADER)) + 2
    }

    pub(super) fn decode(&self, block: &[u8], channels: usize, out: &mut Vec<f32>) {
        let Some((header, codes)) = block.split_at_checked(Self::HEADER * channels) else {
            return;
        };
        // Fields of all channels stand together: pair, step, last sample, the one before.
        let field = |n: usize, channel: usize| i16_at(header, channels + 2 * (n * channels + channel));
        let mut voices: Vec<Voice> = (0..channels)
            .map(|channel| Voice {
                pair: self
                    .pairs
                    .get(usize::from(header[channel]))
                    .copied()
                    .unwrap_or(PAIRS[0]),
                step: field(0, channel),
                last: field(1, channel),
                earlier: field(2, channel),
            })
            .collect();
        out.extend(voices.iter().map(|voice| full(voice.earlier)));
        out.extend(voices.iter().map(|voice| full(voice.last)));
        let nibbles = codes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        for (n, code) in nibbles.enumerate() {
            out.push(full(voices[n % channels].next(code)));
        }
        out.truncate(out.len() / channels * channels);
    }
}

struct Voice {
    pair: [i32; 2],
    step: i32,
    last: i32,
    earlier: i32,
}

impl Voice {
    fn next(&mut self, code: u8) -> i32 {
        let signed = i32::from(code) - if code > 7 { 16 } else { 0 };
        // Samples, coefficients and steps have 16 bits or little more: nothing overflows.
        let predicted = (self.last * self.pair[0] + self.earlier * self.pair[1]) / 256;
        let sample = (predicted + signed * self.step).clamp(-32_768, 32_767);
        self.step = (ADAPTATION[usize::from(code)] * self.step / 256).clamp(16, 1 << 20);
        self.earlier = std::mem::replace(&mut self.last, sample);
        sample
    }
}

/// IMA's, as WAV has it: eight samples of a channel, then eight of the next.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ima {
    channels: usize,
}

const STEPS: [i32; 89] = [
    7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 19, 21, 23, 25, 28, 31, 34, 37, 41, 45, 50, 55, 60, 66, 73, 80, 88,
    97, 107, 118, 130, 143, 157, 173, 190, 209, 230, 253, 279, 307, 337, 371, 408, 449, 494, 544, 598, 658,
    724, 796, 876, 963, 1060, 1166, 1282, 1411, 1552, 1707, 1878, 2066, 2272, 2499, 2749, 3024, 3327, 3660,
    4026, 4428, 4871, 5358, 5894, 6484, 7132, 7845, 8630, 9493, 10442, 11487, 12635, 13899, 15289, 16818,
    18500, 20350, 22385, 24623, 27086, 29794, 32767,
];

/// How far the step moves in the table after a code of that size.
const MOVES: [i32; 8] = [-1, -1, -1, -1, 2, 4, 6, 8];

impl Ima {
    const HEADER: usize = 4;

    pub(super) fn new(align: usize, channels: usize) -> Result<Self, Problem> {
        check(align, channels, Self::HEADER)?;
        Ok(Self { channels })
    }

    pub(super) fn frames(&self, block: usize) -> usize {
        let group = Self::HEADER * self.channels;
        block.saturating_sub(group) / group * 8 + 1
    }

    pub(super) fn decode(&self, block: &[u8], channels: usize, out: &mut Vec<f32>) {
        let Some((header, codes)) = block.split_at_checked(Self::HEADER * channels) else {
            return;
        };
        let mut states: Vec<(i32, i32)> = header
            .chunks_exact(Self::HEADER)
            .map(|header| (i16_at(header, 0), i32::from(header[2]).min(88)))
            .collect();
        out.extend(states.iter().map(|(sample, _)| full(*sample)));
        for group in codes.chunks_exact(4 * channels) {
            let begin = out.len();
            out.resize(begin + 8 * channels, 0.0);
            for (channel, (bytes, state)) in group.chunks_exact(4).zip(&mut states).enumerate() {
                let nibbles = bytes.iter().flat_map(|byte| [byte & 15, byte >> 4]);
                for (n, code) in nibbles.enumerate() {
                    out[begin + n * channels + channel] = full(step(state, code));
                }
            }
        }
    }
}

fn step((sample, index): &mut (i32, i32), code: u8) -> i32 {
    let size = STEPS[*index as usize];
    let part = |bit: u8, shift: u32| if code & bit == 0 { 0 } else { size >> shift };
    let change = (size >> 3) + part(4, 0) + part(2, 1) + part(1, 2);
    let signed = if code & 8 == 0 { change } else { -change };
    *sample = (*sample + signed).clamp(-32_768, 32_767);
    *index = (*index + MOVES[usize::from(code & 7)]).clamp(0, 88);
    *sample
}
