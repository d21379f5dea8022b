//! Playing: the next unit decoded, what is missing made up for, the delay kept at its target.

use std::time::Instant;

use super::stats::{Gap, Switch};
use super::{BLOCK, Receiver};
use crate::codecs::OPUS_DELAY_48K;
use crate::stretch::{self, Urgency};
use crate::unit::{Kind, Unit};

/// Gaps listed; later ones are only counted.
const MAX_GAPS: usize = 4_096;

/// Switches listed; later ones are only counted.
const MAX_SWITCHES: usize = 4_096;

/// After so much concealment in a row the stream counts as paused, and the buffer is filled anew before playing.
const PAUSE: u64 = 48_000;

/// Samples over which one decoder fades into the other.
const FADE: usize = 240;

/// Delay above which it is shortened, and below which it is let be again, milliseconds over the target.
const TOO_LONG_MS: (f64, f64) = (18.0, 8.0);

/// Delay below which it is lengthened, milliseconds under the target.
const TOO_SHORT_MS: f64 = 5.0;

/// Shortfall from which lengthening may be heard rather than risk a hole.
const URGENT_MS: f64 = 25.0;

impl Receiver {
    /// Puts at least one more sample into the queue, or pauses.
    pub(super) fn step(&mut self, now: Instant) {
        let Some(position) = self.position else {
            return;
        };
        if let Some(unit) = self.waiting.take(position) {
            self.play(now, position, unit);
            return;
        }
        match self.waiting.next_at() {
            Some(next) => {
                // What was concealed while waiting for the missing packet counts towards it.
                let missing = next - position;
                let already = missing.min(self.expanded);
                self.expanded -= already;
                let rest = missing - already;
                self.position = Some(position + already);
                if rest > PAUSE {
                    self.position = None;
                } else if rest > 0 {
                    let concealed = self.conceal(rest);
                    self.position = Some(position + already + concealed);
                }
            }
            None if self.expanded >= PAUSE => self.position = None,
            None => {
                let concealed = self.conceal(u64::MAX);
                self.expanded += concealed;
            }
        }
    }

    fn conceal(&mut self, most: u64) -> u64 {
        self.scratch.clear();
        self.decoders
            .conceal(self.playing.unwrap_or(Kind::Opus), &mut self.scratch);
        if self.muted {
            self.scratch.fill(0.0);
        }
        let len = (self.scratch.len() as u64).min(most);
        self.missing(len);
        self.fifo.extend(self.scratch.drain(..len as usize));
        len
    }

    pub(super) fn missing(&mut self, samples: u64) {
        // After a mute nothing is missing until the sender's first packet.
        self.silent_by_intent |= self.muted;
        if self.silent_by_intent {
            self.stats.comfort_ms += samples as f64 / 48.0;
            return;
        }
        let at = self.pulled + self.fifo.len() as u64;
        let gap = self.open_gap.get_or_insert((at, 0));
        gap.1 += samples;
    }

    fn close_gap(&mut self) {
        let Some((at, len)) = self.open_gap.take() else {
            return;
        };
        let gap = Gap {
            at_ms: at as f64 / 48.0,
            ms: len as f64 / 48.0,
        };
        self.stats.gap_count += 1;
        self.stats.concealed_ms += gap.ms;
        self.stats.longest_gap_ms = self.stats.longest_gap_ms.max(gap.ms);
        if self.stats.gaps.len() < MAX_GAPS {
            self.stats.gaps.push(gap);
        }
    }

    fn play(&mut self, now: Instant, position: u64, unit: Unit) {
        let switched = self.playing.is_some_and(|kind| kind != unit.kind);
        // Longer packets come from the same encoder; others from a new one, which is silent for as long as it lags.
        let reshaped = self.shape.is_some_and(|was| {
            let next = self.shapes.front().filter(|(from, _)| *from <= unit.at);
            next.is_some_and(|(_, is)| is.red != was.red || is.packet_ms < was.packet_ms)
        });
        let fading_out = if switched || reshaped {
            self.fade_out()
        } else {
            Vec::new()
        };
        if self.playing != Some(unit.kind) {
            self.decoders.begin(unit.kind);
            while let Some(earlier) = self.warm_up.pop_front() {
                self.scratch.clear();
                if unit.kind == Kind::Neural && earlier.end() <= unit.at {
                    self.decoders.decode(&earlier, &mut self.scratch);
                }
            }
        }
        self.scratch.clear();
        if !self.decoders.decode(&unit, &mut self.scratch) {
            self.stats.undecodable += 1;
            self.scratch.clear();
            self.scratch.resize(unit.len as usize, 0.0);
        }
        self.close_gap();
        self.playing = Some(unit.kind);
        self.silent_by_intent = unit.pauses;
        self.stats.recovered += u64::from(unit.copy);
        self.note_shape(unit.at);
        self.note_buffer(now, unit.at);

        let skip = ((position - unit.at) as usize).min(self.scratch.len());
        let mut block: Vec<f32> = self.scratch.drain(..).skip(skip).collect();
        let silent = if unit.kind == Kind::Opus {
            OPUS_DELAY_48K
        } else {
            0
        };
        for (index, (new, old)) in block.iter_mut().zip(&fading_out).take(silent + FADE).enumerate() {
            // An Opus stream that begins is silent for as long as it lags.
            let weight = (index as f32 - silent as f32 + 0.5).max(0.0) / FADE as f32;
            *new = *new * weight + old * (1.0 - weight);
        }
        self.position = Some(unit.end());
        self.expanded = 0;
        self.enqueue(now, position, &block);
    }

    /// What the old decoder would have gone on with, to fade the new one in over it.
    fn fade_out(&mut self) -> Vec<f32> {
        self.scratch.clear();
        self.decoders
            .conceal(self.playing.unwrap_or(Kind::Opus), &mut self.scratch);
        std::mem::take(&mut self.scratch)
    }

    /// Queues a block, a period longer or shorter where the delay is off its target.
    fn enqueue(&mut self, now: Instant, position: u64, block: &[f32]) {
        let target = self.transit.target();
        let mut delay = self.transit.of(now, position) + self.fifo_ms();
        for chunk in block.chunks(2 * BLOCK) {
            self.chunks = self.chunks.wrapping_add(1);
            let over = target.map_or(0.0, |target| delay - target);
            self.shortening = over > TOO_LONG_MS.0 || (self.shortening && over > TOO_LONG_MS.1);
            let changed = if over < -TOO_SHORT_MS {
                let urgency = if over < -URGENT_MS {
                    Urgency::Now
                } else {
                    Urgency::Gentle
                };
                stretch::longer(chunk, urgency)
            } else if self.shortening && self.chunks.is_multiple_of(2) {
                stretch::shorter(chunk, Urgency::Gentle)
            } else {
                None
            };
            let played = changed.as_deref().unwrap_or(chunk);
            let by = (played.len() as f64 - chunk.len() as f64) / 48.0;
            delay += by;
            self.stats.stretched_ms += by.max(0.0);
            self.stats.squeezed_ms += (-by).max(0.0);
            self.fifo.extend(played);
        }
    }

    fn note_shape(&mut self, at: u64) {
        while let Some((from, shape)) = self.shapes.front().copied() {
            if from > at {
                break;
            }
            self.shapes.pop_front();
            if self.shape != Some(shape) {
                self.shape = Some(shape);
                if self.stats.switches.len() < MAX_SWITCHES {
                    let at_ms = (self.pulled + self.fifo.len() as u64) as f64 / 48.0;
                    self.stats.switches.push(Switch { at_ms, shape });
                }
            }
        }
    }

    fn note_buffer(&mut self, now: Instant, at: u64) {
        while let Some((from, arrival)) = self.pending_arrivals.front().copied() {
            if from > at {
                break;
            }
            self.pending_arrivals.pop_front();
            if from == at {
                let waited = now.saturating_duration_since(arrival).as_secs_f64() * 1000.0;
                self.buffer_ms.0 += waited + self.fifo_ms();
                self.buffer_ms.1 += 1;
            }
        }
    }
}
