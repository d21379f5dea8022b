//! A core without codecs and a listener that checks every packet, in virtual time.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use auralink_engine::{Coded, InFrame, InKind, Outcome, ProbeGate, Processor, Refused, StreamId};
use auralink_quality::Content;
use auralink_types::{AicConfig, ConfigChange, Mos, Policy, PublisherHint, Reason, Rung, TrackId};
use auralink_wire::aic::AicPacket;

use super::super::*;

pub const MS: Duration = Duration::from_millis(1);
pub const MODEL: u16 = 7;
const CODED: u8 = b'C';
const PLAIN: u8 = b'O';

/// A rung with start and end of the audio that waits for its packet to fill.
type Pending = (Rung, Option<(u64, u64)>);

/// Codes by writing down what it was asked to code.
pub struct FakeCore {
    now: Instant,
    streams: HashMap<StreamId, Vec<Pending>>,
    ready: VecDeque<(Instant, Outcome)>,
    next: u64,
    pub calls: usize,
    pub delay: Duration,
    /// One packet in so many takes 200 ms.
    pub one_late_in: Option<u64>,
    pub quality: Option<f32>,
    pub content: Content,
    pub dead: bool,
    pub full: bool,
    pub stuck: bool,
    pub no_accelerator: bool,
    made: u64,
}

impl FakeCore {
    fn new(now: Instant) -> Self {
        Self {
            now,
            streams: HashMap::new(),
            ready: VecDeque::new(),
            next: 1,
            calls: 0,
            delay: 2 * MS,
            one_late_in: None,
            quality: None,
            content: Content::Unknown,
            dead: false,
            full: false,
            stuck: false,
            no_accelerator: false,
            made: 0,
        }
    }

    pub fn kill(&mut self) {
        self.dead = true;
        self.fail(Reason::CoreUnreachable);
    }

    /// Every stream fails.
    pub fn fail(&mut self, reason: Reason) {
        self.ready.clear();
        for (stream, _) in self.streams.drain() {
            self.ready
                .push_back((self.now, Outcome::Failed { stream, reason }));
        }
    }
}

fn frames(rung: Rung) -> u64 {
    rung.packet().map_or(1, |packet| packet.frames() as u64)
}

impl Processor for FakeCore {
    fn open(&mut self, rungs: &[Rung]) -> Result<StreamId, Refused> {
        self.calls += 1;
        if self.dead {
            return Err(Refused::Unreachable);
        }
        let stream = StreamId(self.next);
        self.next += 1;
        self.streams
            .insert(stream, rungs.iter().map(|rung| (*rung, None)).collect());
        Ok(stream)
    }

    fn set_rungs(&mut self, stream: StreamId, rungs: &[Rung]) -> Result<(), Refused> {
        self.calls += 1;
        let outputs = self.streams.get_mut(&stream).ok_or(Refused::UnknownStream)?;
        // Like the real core: a coder that nobody needs as it is goes on as a new rung of its family.
        let (kept, mut spare): (Vec<Pending>, Vec<Pending>) = std::mem::take(outputs)
            .into_iter()
            .partition(|(rung, _)| rungs.contains(rung));
        *outputs = kept;
        for rung in rungs {
            if outputs.iter().any(|(of, _)| of == rung) {
                continue;
            }
            let family = |(of, _): &Pending| of.same_family(*rung);
            let pending = spare
                .iter()
                .position(family)
                .and_then(|at| spare.swap_remove(at).1);
            outputs.push((*rung, pending));
        }
        Ok(())
    }

    fn submit(&mut self, stream: StreamId, frame: InFrame) -> Result<(), Refused> {
        self.calls += 1;
        if self.dead {
            return Err(Refused::Unreachable);
        }
        if self.full {
            return Err(Refused::Full);
        }
        let ticks = match frame.kind {
            InKind::Aic => AicPacket::parse(&frame.payload).unwrap().frame_count() as u64 * 960,
            InKind::Opus if frame.payload[0] >> 3 == 11 => 2880,
            InKind::Opus => 960,
        };
        let outputs = self.streams.get_mut(&stream).ok_or(Refused::UnknownStream)?;
        for (rung, pending) in outputs {
            let (mut from, end) = match *pending {
                Some((from, end)) if frame.timestamp.saturating_sub(end) <= 5760 => (from, end),
                _ => (frame.timestamp, frame.timestamp),
            };
            let end = end.max(frame.timestamp) + ticks;
            let samples = frames(*rung) * 960;
            while end - from >= samples {
                let mut payload = vec![0x58, CODED, frames(*rung) as u8];
                payload.resize(30, 0);
                self.made += 1;
                let slow = self.one_late_in.is_some_and(|n| self.made.is_multiple_of(n));
                let due = self.now + if slow { 200 * MS } else { self.delay };
                let packet = Coded {
                    rung: *rung,
                    timestamp: from,
                    samples,
                    payload: payload.into(),
                    quality: self.quality.map(Mos::new),
                    content: self.content,
                };
                if !self.stuck {
                    self.ready.push_back((due, Outcome::Coded { stream, packet }));
                }
                from += samples;
            }
            *pending = Some((from, end));
        }
        let compute = Duration::from_micros(100);
        self.ready
            .push_back((self.now, Outcome::Took { stream, compute }));
        Ok(())
    }

    fn poll(&mut self) -> Option<Outcome> {
        let at = self.ready.iter().position(|(due, _)| *due <= self.now)?;
        self.ready.remove(at).map(|(_, outcome)| outcome)
    }

    fn close(&mut self, stream: StreamId) {
        self.streams.remove(&stream);
    }

    fn models(&self) -> Vec<u16> {
        vec![MODEL]
    }

    fn no_accelerator(&self) -> bool {
        self.no_accelerator
    }
}

/// A tap with its fake surroundings.
pub struct Bench {
    pub tap: AudioTap,
    pub core: FakeCore,
    gate: ProbeGate,
    pub now: Instant,
    pub seq: u64,
    pub timestamp: u32,
    /// Header extensions of the publisher's packets.
    pub extensions: usize,
    pub sent: BTreeMap<LegId, Vec<(Instant, OutPacket)>>,
    pub events: Vec<(Instant, TapEvent)>,
    /// Wishes, and whether the rate was left alone.
    pub hints: Vec<(Instant, PublisherHint, bool)>,
}

pub fn policy(change: ConfigChange) -> Policy {
    let enabled = ConfigChange {
        enabled: Some(true),
        ..change
    };
    AicConfig::default().apply(&enabled).unwrap().policy()
}

pub fn adaptive() -> Policy {
    policy(ConfigChange::default())
}

impl Bench {
    pub fn new(policy: Policy, publisher: PublisherCaps) -> Self {
        let now = Instant::now();
        Self {
            tap: AudioTap::new(now, TrackId::from("TR_1"), publisher, policy),
            core: FakeCore::new(now),
            gate: ProbeGate::new(),
            now,
            seq: 5000,
            timestamp: u32::MAX - 100 * 960,
            extensions: 0,
            sent: BTreeMap::new(),
            events: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// With one stock leg, number 1.
    pub fn stock(policy: Policy) -> Self {
        let mut bench = Self::new(policy, PublisherCaps::default());
        bench.tap.add_leg(
            bench.now,
            LegId(1),
            LegCaps {
                red: true,
                ..LegCaps::default()
            },
        );
        bench
    }

    pub fn deliver(&mut self, kind: PayloadKind, payload: Vec<u8>, ticks: u32) {
        let packet = AudioPacket {
            kind,
            seq: self.seq,
            timestamp: self.timestamp,
            marker: false,
            extensions: self.extensions,
            payload: payload.into(),
            received: self.now,
        };
        self.seq += 1;
        self.timestamp = self.timestamp.wrapping_add(ticks);
        self.hand(packet);
    }

    pub fn hand(&mut self, packet: AudioPacket) {
        self.core.now = self.now;
        self.tap.handle_packet(self.now, packet, &mut self.core);
        self.drain();
    }

    /// One 20 ms packet of a stock client, 120 bytes, and the 20 ms after it.
    pub fn talk(&mut self) {
        self.deliver(PayloadKind::Opus, plain(120), 960);
        self.pass(20);
    }

    pub fn talk_for(&mut self, ms: u64) {
        for _ in 0..ms / 20 {
            self.talk();
        }
    }

    pub fn pass(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now += MS;
            self.core.now = self.now;
            while let Some(outcome) = self.core.poll() {
                self.tap.handle_outcome(self.now, &outcome, &mut self.core);
            }
            if self.tap.poll_timeout().is_some_and(|due| due <= self.now) {
                self.tap.handle_timeout(self.now, &mut self.core, &mut self.gate);
            }
            self.drain();
        }
    }

    pub fn drain(&mut self) {
        while let Some(output) = self.tap.poll_output() {
            match output {
                TapOutput::Send { leg, packet } => self.sent.entry(leg).or_default().push((self.now, packet)),
                TapOutput::Hint { hint, keep_rate } => self.hints.push((self.now, hint, keep_rate)),
                TapOutput::Event(event) => self.events.push((self.now, event)),
            }
        }
    }

    pub fn of(&self, leg: u64) -> &[(Instant, OutPacket)] {
        self.sent.get(&LegId(leg)).map_or(&[], Vec::as_slice)
    }

    pub fn rung(&mut self, leg: u64) -> Rung {
        let snapshot = self.tap.snapshot();
        snapshot
            .legs
            .iter()
            .find(|one| one.leg == LegId(leg))
            .unwrap()
            .rung
    }

    pub fn fallbacks(&self) -> Vec<(Instant, Reason)> {
        let reason = |(at, event): &(Instant, TapEvent)| match event {
            TapEvent::Fallback { reason, .. } => Some((*at, *reason)),
            _ => None,
        };
        self.events.iter().filter_map(reason).collect()
    }

    /// Every packet of the leg continues where the last one ended, in sequence and in time, up to audio that was
    /// handed over within the last `pending` ms.
    pub fn assert_seamless(&self, leg: u64, pending: u32) {
        let packets = self.of(leg);
        let (_, first) = packets.first().expect("something went out");
        assert!(first.seq < 65_536);
        for ((_, before), (_, after)) in packets.iter().zip(&packets[1..]) {
            assert_eq!(after.seq, before.seq + 1, "sequence");
            assert_eq!(
                after.timestamp,
                before.timestamp.wrapping_add(ticks(before)),
                "audio after seq {}",
                before.seq
            );
        }
        let (_, last) = &packets[packets.len() - 1];
        let missing = self
            .timestamp
            .wrapping_sub(last.timestamp.wrapping_add(ticks(last)));
        assert!(missing <= pending * 48, "{} ms have not gone out", missing / 48);
    }

    /// Longest silence between two sends.
    pub fn longest_wait(&self, leg: u64) -> Duration {
        let packets = self.of(leg);
        packets
            .iter()
            .zip(&packets[1..])
            .map(|(a, b)| b.0 - a.0)
            .max()
            .unwrap_or_default()
    }
}

pub fn plain(len: usize) -> Vec<u8> {
    let mut payload = vec![0x78, PLAIN];
    payload.resize(len, 0xaa);
    payload
}

pub fn is_coded(packet: &OutPacket) -> bool {
    packet.payload.len() > 2 && packet.payload[1] == CODED
}

pub fn ticks(packet: &OutPacket) -> u32 {
    match &packet.payload[..] {
        payload if auralink_wire::aic::is_aic(payload) => {
            AicPacket::parse(payload).unwrap().frame_count() as u32 * 960
        }
        [0x58, CODED, frames, ..] => u32::from(*frames) * 960,
        [0x58, ..] => 2880,
        _ => 960,
    }
}

pub fn aic(frames: usize, model: u16) -> Vec<u8> {
    let mut packet = AicPacket::new(model, 12, 3);
    packet.restart(0, false);
    for _ in 0..frames {
        packet.push_frame(&[5; 12]).unwrap();
    }
    let mut payload = Vec::new();
    packet.write(&mut payload).unwrap();
    payload
}

pub fn stock_caps() -> LegCaps {
    LegCaps {
        red: true,
        ..LegCaps::default()
    }
}

pub fn aic_caps() -> LegCaps {
    LegCaps {
        models: vec![MODEL],
        enhances: false,
        red: true,
        opted_out: false,
    }
}

pub fn shared(bytes: &[u8]) -> Arc<[u8]> {
    bytes.into()
}
