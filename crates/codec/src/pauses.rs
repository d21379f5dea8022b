//! When there is nothing to say: voice activity on the encoder's own spectrum, and what to send in a pause.
//!
//! A frame is speech when it stands out over what is always there ([`Floor`]), and for 200 ms after that. Doubt counts
//! as speech: in the first 1.5 s, and wherever it is loud, so that a steady tone or music is not taken for a room.

use crate::noise::{BANDS, Floor, NOISE_CODES, Powers, to_codes};

/// What a frame is worth on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Its codes have to be sent.
    Speech,
    /// A pause: instead of the frame's codes these are sent, marked as noise; the decoder goes on with noise of that
    /// kind until the next frame. At the start of a pause, every
    /// [`NOISE_INTERVAL`] frames in it, and sooner where the noise becomes softer.
    Noise([u16; NOISE_CODES]),
    /// A pause: nothing need be sent.
    Pause,
}

/// Frames from one description of the noise to the next, at most: 400 ms.
pub const NOISE_INTERVAL: u32 = 20;

/// Frames to the next description where the noise becomes softer: 100 ms.
const SOFTER_INTERVAL: u32 = 5;
/// How much softer, mean over the bands: 3 dB.
const SOFTER_LOG2: f32 = 1.0;
/// Frames after the last voice that still count as speech: 200 ms.
const HANGOVER: u32 = 10;
/// Mean over the bands by which speech stands out, dB.
const OVER_FLOOR_DB: f32 = 3.5;
/// The same for a single band.
const BAND_OVER_FLOOR_DB: f32 = 11.0;
/// Power per sample from which a frame is speech whatever the floor: −35 dBFS.
const LOUD: f32 = 3.16e-4;
/// Power per sample under which it is a pause whatever the floor: −78 dBFS.
const SILENT: f32 = 1.6e-8;
/// Keeps ratios of silence finite: −100 dBFS.
const FLOOR: f32 = 1e-10;
/// Most that the described noise is over the floor.
const OVER_FLOOR: f32 = 1.5;
/// Share of a frame in the noise that is described, when it is softer and when it is louder.
const FALLING: f32 = 0.5;
const RISING: f32 = 0.15;

/// Tells speech from pauses, frame by frame.
pub(crate) struct Pauses {
    floor: Floor,
    /// Base 2 logarithms of the noise's powers.
    noise: Powers,
    /// What was described last.
    described: Powers,
    since_described: u32,
    /// Frames since a voice was heard.
    silent_for: u32,
}

impl Pauses {
    pub(crate) fn new() -> Self {
        Self {
            floor: Floor::NEW,
            noise: [0.0; BANDS],
            described: [0.0; BANDS],
            since_described: 0,
            silent_for: 0,
        }
    }

    /// Takes the band powers of the next frame.
    pub(crate) fn push(&mut self, powers: &Powers, level: f32) -> Frame {
        self.floor.push(powers);
        if self.is_voice(powers, level) {
            self.silent_for = 0;
            return Frame::Speech;
        }
        self.silent_for = self.silent_for.saturating_add(1);
        // Averaged from the first frame without voice on, as logarithms: a voice that dies away is soon forgotten.
        for (noise, power) in self.noise.iter_mut().zip(powers) {
            let power = (power + FLOOR).log2();
            let share = if power < *noise { FALLING } else { RISING };
            *noise = if self.silent_for == 1 {
                power
            } else {
                *noise + share * (power - *noise)
            };
        }
        if self.silent_for <= HANGOVER {
            return Frame::Speech;
        }
        self.since_described += 1;
        let begins = self.silent_for == HANGOVER + 1;
        if begins || self.since_described >= NOISE_INTERVAL || self.is_softer() {
            self.since_described = 0;
            self.described = self.noise;
            return Frame::Noise(to_codes(&self.description()));
        }
        Frame::Pause
    }

    /// Whether the noise has become clearly softer than was said, as when a voice dies away in a room.
    fn is_softer(&self) -> bool {
        let fall: f32 = self
            .described
            .iter()
            .zip(&self.noise)
            .map(|(said, is)| said - is)
            .sum();
        self.since_described >= SOFTER_INTERVAL && fall > SOFTER_LOG2 * BANDS as f32
    }

    /// The averaged noise without what a voice that dies away left in it.
    fn description(&self) -> Powers {
        let most = self.floor.powers().unwrap_or([f32::INFINITY; BANDS]);
        std::array::from_fn(|band| (self.noise[band].exp2() - FLOOR).min(OVER_FLOOR * most[band]))
    }

    fn is_voice(&self, powers: &Powers, level: f32) -> bool {
        if level < SILENT {
            return false;
        }
        let Some(floor) = self.floor.powers().filter(|_| level < LOUD) else {
            return true;
        };
        let over = std::array::from_fn::<f32, BANDS, _>(|band| {
            10.0 * ((powers[band] + FLOOR) / (floor[band] + FLOOR)).log10()
        });
        let mean = over.iter().map(|db| db.max(0.0)).sum::<f32>() / BANDS as f32;
        mean > OVER_FLOOR_DB || over.iter().any(|&db| db > BAND_OVER_FLOOR_DB)
    }
}
