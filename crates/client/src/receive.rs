//! One remote audio track: packets in at any time and order, 48 kHz audio out in blocks, without a hole where
//! something decodable was there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use auralink_types::NeuralRate;
use serde::Serialize;

use crate::codecs::{Decoders, OPUS_DELAY_48K};
use crate::error::JoinError;
use crate::jitter::{Extender, Inserted, Transit, Waiting};
use crate::neural::SpeechModel;
use crate::stretch::{self, Urgency};
use crate::unit::{self, Kind, Unit};

/// Samples of one output block: 10 ms.
pub const BLOCK: usize = 480;

/// Gaps listed; later ones are only counted.
const MAX_GAPS: usize = 4_096;

/// Switches listed; later ones are only counted.
const MAX_SWITCHES: usize = 4_096;

/// After so much concealment in a row the stream counts as paused, and the buffer is filled anew before playing.
const PAUSE: u64 = 48_000;

/// Sequence numbers remembered to tell duplicates.
const SEEN: usize = 1_024;

/// A sequence number that far from the last one begins a new stream.
const MAX_SEQ_JUMP: i64 = 3_000;

/// Samples over which one decoder fades into the other.
const FADE: usize = 240;

/// Delay above which it is shortened, and below which it is let be again, milliseconds over the target.
const TOO_LONG_MS: (f64, f64) = (25.0, 8.0);

/// Delay below which it is lengthened, milliseconds under the target.
const TOO_SHORT_MS: f64 = 5.0;

/// Shortfall from which lengthening may be heard rather than risk a hole.
const URGENT_MS: f64 = 25.0;

/// Most neural copies kept to warm the decoder up at a switch.
const MAX_WARM_UP: usize = 6;

/// Time in which nothing decodable was there when it had to be played.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Gap {
    /// Milliseconds since the receiver began.
    pub at_ms: f64,
    /// Length.
    pub ms: f64,
}

/// A change in what the sender sends.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Switch {
    /// Milliseconds since the receiver began, at playout.
    pub at_ms: f64,
    /// From then on.
    pub shape: Shape,
}

/// What a packet looks like from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Shape {
    /// Codec.
    pub kind: Kind,
    /// Audio per packet, milliseconds.
    pub packet_ms: u32,
    /// Whether it is wrapped in RED.
    pub red: bool,
    /// Rate of the neural codec in bits per second.
    pub neural_bps: Option<u64>,
}

/// What one track has been through.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ReceiveStats {
    /// Packets that arrived, duplicates not counted.
    pub packets: u64,
    /// Payload bytes in them.
    pub payload_bytes: u64,
    /// Packets missing from the sequence.
    pub packets_lost: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Packets that came after a later one.
    pub reordered: u64,
    /// Payloads that no decoder takes.
    pub undecodable: u64,
    /// Packets of the neural codec.
    pub neural_packets: u64,
    /// Packets that came after their time to be played.
    pub late: u64,
    /// 20 ms pieces played from a copy, because the original was lost.
    pub recovered: u64,
    /// Times a new stream or timeline began.
    pub restarts: u64,
    /// Milliseconds played.
    pub played_ms: f64,
    /// Milliseconds of them that were concealed.
    pub concealed_ms: f64,
    /// Every stretch that was concealed.
    pub gaps: Vec<Gap>,
    /// Number of gaps.
    pub gap_count: u64,
    /// The longest one, milliseconds.
    pub longest_gap_ms: f64,
    /// Time at the end in which nothing came any more, milliseconds; no gap, because nothing followed.
    pub silent_at_end_ms: f64,
    /// Milliseconds of silence that the sender meant (discontinuous transmission or mute).
    pub comfort_ms: f64,
    /// Milliseconds put in to lengthen the delay without a hole.
    pub stretched_ms: f64,
    /// Milliseconds taken out to shorten it.
    pub squeezed_ms: f64,
    /// Mean time from arrival of a packet to the playing of its first sample, milliseconds.
    pub mean_buffer_ms: f64,
    /// Changes of codec, packet time or redundancy.
    pub switches: Vec<Switch>,
}

/// Receiver of one track.
pub struct Receiver {
    start: Instant,
    decoders: Decoders,
    model: Option<Arc<dyn SpeechModel>>,
    waiting: Waiting,
    transit: Transit,
    timestamps: Extender,
    sequence: Extender,
    ssrc: Option<u32>,
    first_seq: u64,
    last_seq: u64,
    seen: Box<[u64; SEEN]>,
    shapes: VecDeque<(u64, Shape)>,
    warm_up: VecDeque<Unit>,
    position: Option<u64>,
    fifo: VecDeque<f32>,
    scratch: Vec<f32>,
    expanded: u64,
    shortening: bool,
    chunks: u32,
    playing: Option<Kind>,
    shape: Option<Shape>,
    silent_by_intent: bool,
    muted: bool,
    open_gap: Option<(u64, u64)>,
    pulled: u64,
    buffer_ms: (f64, u64),
    pending_arrivals: VecDeque<(u64, Instant)>,
    lost_before: u64,
    stats: ReceiveStats,
}

impl Receiver {
    /// A receiver for a track that begins at `start`. With a model the neural codec can be decoded; `floor` is the
    /// least delay from a packet's first sample to its playing.
    pub fn new(
        start: Instant,
        model: Option<Arc<dyn SpeechModel>>,
        floor: Duration,
    ) -> Result<Self, JoinError> {
        Ok(Self {
            start,
            decoders: Decoders::new(model.clone())?,
            model,
            waiting: Waiting::default(),
            transit: Transit::new(floor),
            timestamps: Extender::new(32),
            sequence: Extender::new(16),
            ssrc: None,
            first_seq: 0,
            last_seq: 0,
            seen: Box::new([0; SEEN]),
            shapes: VecDeque::new(),
            warm_up: VecDeque::new(),
            position: None,
            fifo: VecDeque::with_capacity(4 * BLOCK),
            scratch: Vec::with_capacity(8 * BLOCK),
            expanded: 0,
            shortening: false,
            chunks: 0,
            playing: None,
            shape: None,
            silent_by_intent: false,
            muted: false,
            open_gap: None,
            pulled: 0,
            buffer_ms: (0.0, 0),
            pending_arrivals: VecDeque::new(),
            lost_before: 0,
            stats: ReceiveStats::default(),
        })
    }

    /// The sender said that it is muted (or no longer): silence is then meant.
    pub fn set_muted(&mut self, muted: bool) {
        self.muted = muted;
    }

    /// A packet arrived.
    pub fn arrived(&mut self, now: Instant, ssrc: u32, seq: u16, timestamp: u32, payload: &[u8], red: bool) {
        if self.ssrc != Some(ssrc) {
            self.restart(self.ssrc.is_some());
            self.ssrc = Some(ssrc);
        }
        let (mut extended, jumped) = self.sequence.extend(u32::from(seq), MAX_SEQ_JUMP);
        let (mut at, time_jumped) = self.timestamps.extend_timestamp(timestamp);
        if jumped || time_jumped {
            self.restart(true);
            self.ssrc = Some(ssrc);
            extended = self.sequence.extend(u32::from(seq), MAX_SEQ_JUMP).0;
            at = self.timestamps.extend_timestamp(timestamp).0;
        }
        if self.first_seq == 0 {
            (self.first_seq, self.last_seq) = (extended, extended.saturating_sub(1));
        }
        let slot = &mut self.seen[(extended % SEEN as u64) as usize];
        if *slot == extended {
            self.stats.duplicates += 1;
            return;
        }
        *slot = extended;
        if extended < self.last_seq {
            self.stats.reordered += 1;
        }
        self.first_seq = self.first_seq.min(extended);
        self.last_seq = self.last_seq.max(extended);
        self.stats.packets += 1;
        self.stats.payload_bytes += payload.len() as u64;

        let packet = match unit::unpack(payload, red, at, self.model.as_ref().map(|model| model.id())) {
            Ok(packet) => packet,
            Err(error) => {
                tracing::debug!(%error, "a payload that cannot be decoded");
                self.stats.undecodable += 1;
                return;
            }
        };
        self.stats.neural_packets += u64::from(packet.kind == Kind::Neural);
        self.transit.arrived(now, at, packet.len);
        let shape = Shape {
            kind: packet.kind,
            packet_ms: packet.len / 48,
            red: packet.red,
            neural_bps: packet
                .rate
                .map(NeuralRate::bitrate)
                .map(auralink_types::Bitrate::as_bps),
        };
        if self.shapes.back().is_none_or(|(_, last)| *last != shape) && self.shapes.len() < SEEN {
            self.shapes.push_back((at, shape));
        }
        if self.pending_arrivals.len() < SEEN {
            self.pending_arrivals.push_back((at, now));
        }
        let switching = self.playing != Some(Kind::Neural);
        let mut kept = false;
        for unit in packet.units {
            let past = self.position.is_some_and(|position| unit.end() <= position);
            if past && unit.copy && unit.kind == Kind::Neural && switching {
                self.warm_up.push_back(unit);
                if self.warm_up.len() > MAX_WARM_UP {
                    self.warm_up.pop_front();
                }
                continue;
            }
            let original = !unit.copy;
            let inserted = self.waiting.insert(unit, self.position);
            kept |= original && inserted == Inserted::Kept;
        }
        self.stats.late += u64::from(!kept);
    }

    /// The next block of audio. Call it at the pace of the clock: one block every 10 ms.
    pub fn pull(&mut self, now: Instant, out: &mut [f32; BLOCK]) {
        if self.position.is_none() {
            self.begin(now);
        }
        while self.fifo.len() < BLOCK && self.position.is_some() {
            self.step(now);
        }
        for sample in out.iter_mut() {
            *sample = self.fifo.pop_front().unwrap_or(0.0);
        }
        if self.position.is_none() && self.ssrc.is_some() && self.playing.is_some() {
            self.missing(BLOCK as u64);
        }
        self.pulled += BLOCK as u64;
    }

    /// What happened so far.
    pub fn stats(&self) -> ReceiveStats {
        let mut stats = self.stats.clone();
        let expected = if self.first_seq == 0 {
            0
        } else {
            self.last_seq + 1 - self.first_seq
        };
        stats.packets_lost = (self.lost_before + expected).saturating_sub(stats.packets);
        stats.played_ms = self.pulled as f64 / 48.0;
        stats.silent_at_end_ms = self.open_gap.map_or(0.0, |(_, len)| len as f64 / 48.0);
        stats.mean_buffer_ms = if self.buffer_ms.1 > 0 {
            self.buffer_ms.0 / self.buffer_ms.1 as f64
        } else {
            0.0
        };
        stats
    }

    /// Every change of codec, packet time or redundancy so far.
    pub fn switches(&self) -> &[Switch] {
        &self.stats.switches
    }

    /// When the receiver began.
    pub fn start(&self) -> Instant {
        self.start
    }

    fn restart(&mut self, counted: bool) {
        self.stats.restarts += u64::from(counted);
        if self.first_seq != 0 {
            self.lost_before += self.last_seq + 1 - self.first_seq;
        }
        self.sequence = Extender::new(16);
        self.timestamps = Extender::new(32);
        self.first_seq = 0;
        self.seen.fill(0);
        self.waiting.clear();
        self.transit.reset();
        self.shapes.clear();
        self.warm_up.clear();
        self.pending_arrivals.clear();
        self.position = None;
        self.expanded = 0;
    }

    fn begin(&mut self, now: Instant) {
        let (Some(first), Some(target)) = (self.waiting.next_at(), self.transit.target()) else {
            return;
        };
        if self.transit.of(now, first) + self.fifo_ms() >= target {
            self.position = Some(first);
            self.expanded = 0;
        }
    }

    fn fifo_ms(&self) -> f64 {
        self.fifo.len() as f64 / 48.0
    }

    /// Puts at least one more sample into the queue, or pauses.
    fn step(&mut self, now: Instant) {
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

    fn missing(&mut self, samples: u64) {
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
        // A sender that changes its packets begins with a new encoder, which is silent for as long as it lags.
        let next = self
            .shapes
            .front()
            .filter(|(from, _)| *from <= unit.at)
            .map(|(_, shape)| *shape);
        let reshaped = self.shape.is_some() && next.is_some() && next != self.shape;
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
