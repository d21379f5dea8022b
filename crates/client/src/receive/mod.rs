//! One remote audio track: packets in at any time and order, 48 kHz audio out in blocks, without a hole where
//! something decodable was there.

mod playout;
mod stats;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::codecs::Decoders;
use crate::error::JoinError;
use crate::jitter::{Extender, Inserted, Transit, Waiting};
use crate::neural::SpeechModel;
use crate::unit::{self, Body, Kind, Unit};
use auralink_types::NeuralRate;

pub use stats::{Gap, ReceiveStats, Shape, Switch};

/// Samples of one output block: 10 ms.
pub const BLOCK: usize = 480;

/// Sequence numbers remembered to tell duplicates.
const SEEN: usize = 1_024;

/// A sequence number that far from the last one begins a new stream.
const MAX_SEQ_JUMP: i64 = 3_000;

/// Most neural copies kept to warm the decoder up at a switch.
const MAX_WARM_UP: usize = 6;

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
        // RED of stock clients is always there and reaches back 20 ms, which the least delay covers.
        let copies = packet.units.iter().filter(|unit| unit.copy && !packet.red);
        let reach = copies.map(|unit| at.saturating_sub(unit.at)).max().unwrap_or(0) as u32;
        self.transit.arrived(now, at, packet.len, reach);
        let describes_pause =
            matches!(packet.units.last(), Some(unit) if matches!(unit.body, Body::Noise(_)));
        let shape = Shape {
            kind: packet.kind,
            packet_ms: packet.len / 48,
            red: packet.red,
            neural_bps: packet
                .rate
                .map(NeuralRate::bitrate)
                .map(auralink_types::Bitrate::as_bps),
        };
        let changed = self.shapes.back().is_none_or(|(_, last)| *last != shape);
        if changed && !describes_pause && self.shapes.len() < SEEN {
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
}
