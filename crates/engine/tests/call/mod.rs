//! One leg of a call in virtual time: packets of the rung in force cross a path, its reports come back, and the engine
//! decides as the tap asks it to.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use auralink_engine::{
    EXTENSION_BYTES, Judge, LegPilot, Network, NetworkAnalyzer, NetworkSample, Situation, Terms, wire_bitrate,
};
use auralink_link::{Link, Meter, Profile};
use auralink_quality::savings::{Preset, wire_bytes};
use auralink_types::{AicConfig, Bitrate, ConfigChange, NetworkClass, Policy, Reason, Rung};

const SECOND: Duration = Duration::from_secs(1);

/// A change at a time since the call began.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change<T> {
    pub at: Duration,
    pub to: T,
}

/// A second of the call.
#[derive(Clone, Copy, Debug)]
pub struct Second {
    pub at: Duration,
    pub rung: Rung,
    pub network: Network,
    pub reason: Option<Reason>,
    pub sent: Bitrate,
    /// Longest way of a packet that arrived.
    pub delay: Duration,
    pub lost: u32,
}

pub struct Call {
    pub policy: Policy,
    pub situation: Situation,
    start: Instant,
    now: Instant,
    link: Link,
    meter: Meter,
    analyzer: NetworkAnalyzer,
    judge: Judge,
    pilot: LegPilot,
    seq: u64,
    next_packet: Instant,
    on_the_way: VecDeque<(Instant, u64, Duration)>,
    reports: VecDeque<(Instant, NetworkSample)>,
    sent: u64,
    delay: Duration,
    pub seconds: Vec<Second>,
    pub classes: Vec<Change<NetworkClass>>,
    pub switches: Vec<Change<Rung>>,
}

pub fn policy(change: ConfigChange) -> Policy {
    let change = ConfigChange {
        enabled: Some(true),
        ..change
    };
    AicConfig::default().apply(&change).unwrap().policy()
}

pub fn adaptive() -> Policy {
    policy(ConfigChange::default())
}

impl Call {
    /// A stock receiver behind that profile.
    pub fn new(profile: Profile, seed: u64, policy: Policy) -> Self {
        let start = Instant::now();
        Self {
            policy,
            situation: Situation {
                original: Some(Preset::STOCK.wire_bitrate()),
                ..Situation::stock(Network::default())
            },
            start,
            now: start,
            link: Link::new(profile, seed, start),
            meter: Meter::default(),
            analyzer: NetworkAnalyzer::default(),
            judge: Judge::default(),
            pilot: LegPilot::new(start),
            seq: 0,
            next_packet: start,
            on_the_way: VecDeque::new(),
            reports: VecDeque::new(),
            sent: 0,
            delay: Duration::ZERO,
            seconds: Vec::new(),
            classes: Vec::new(),
            switches: Vec::new(),
        }
    }

    pub fn run(mut self, seconds: u64) -> Self {
        for _ in 0..seconds {
            let end = self.now + SECOND;
            let lost = self.talk_until(end);
            self.now = end;
            self.report(lost);
            self.review();
        }
        self
    }

    /// Share of the seconds from a time on in which the network had one of the classes.
    pub fn share_of(&self, classes: &[NetworkClass], from: u64) -> f64 {
        let right = self
            .from(from)
            .filter(|second| classes.contains(&second.network.class));
        right.count() as f64 / self.from(from).count() as f64
    }

    /// Mean whole-wire rate from a time on, kbps.
    pub fn rate_from(&self, from: u64) -> f64 {
        self.from(from).map(|second| second.sent.as_kbps()).sum::<f64>() / self.from(from).count() as f64
    }

    pub fn switches_a_minute_from(&self, from: u64) -> f64 {
        let count = self
            .switches
            .iter()
            .filter(|change| change.at.as_secs() >= from)
            .count();
        count as f64 * 60.0 / (self.seconds.len() as f64 - from as f64)
    }

    pub fn from(&self, from: u64) -> impl Iterator<Item = &Second> + Clone {
        self.seconds
            .iter()
            .filter(move |second| second.at.as_secs() >= from)
    }

    fn talk_until(&mut self, end: Instant) -> u32 {
        let mut lost = 0;
        while self.next_packet < end {
            let rung = self.pilot.rung();
            let (time, bytes) = match (rung.packet(), wire_bitrate(rung)) {
                (Some(packet), Some(rate)) => (
                    packet.duration(),
                    (rate.as_bps() * u64::from(packet.millis()) / 8000) as usize,
                ),
                _ => (Duration::from_millis(20), Preset::STOCK.packet_bytes()),
            };
            debug_assert!(bytes > wire_bytes(0, EXTENSION_BYTES));
            let at = self.next_packet + time;
            self.sent += bytes as u64;
            match self.link.send(at, bytes) {
                Some(arrival) => self.on_the_way.push_back((arrival, self.seq, at - self.start)),
                None => lost += 1,
            }
            self.seq += 1;
            self.next_packet = at;
            while self
                .on_the_way
                .front()
                .is_some_and(|(arrival, ..)| *arrival <= at)
            {
                let (arrival, seq, sent) = self.on_the_way.pop_front().unwrap();
                self.delay = self.delay.max(arrival - self.start - sent);
                self.meter.arrived(seq, sent, arrival);
            }
        }
        lost
    }

    fn report(&mut self, lost: u32) {
        let sent = Bitrate::bps(self.sent * 8);
        self.sent = 0;
        if let Some(report) = self.meter.report()
            && let Some(arrival) = self.link.report(self.now)
        {
            let sample = NetworkSample {
                loss: report.loss,
                rtt: self.delay + (arrival - self.now),
                jitter: report.jitter,
                packets: report.expected,
                burst: None,
                sent: Some(sent),
            };
            self.reports.push_back((arrival, sample));
        }
        while self.reports.front().is_some_and(|(at, _)| *at <= self.now) {
            let (_, sample) = self.reports.pop_front().unwrap();
            let before = self.analyzer.class();
            self.analyzer.handle_sample(self.now, sample);
            if self.analyzer.class() != before {
                self.classes.push(Change {
                    at: self.now - self.start,
                    to: self.analyzer.class(),
                });
            }
        }
        self.seconds.push(Second {
            at: self.now - self.start,
            rung: self.pilot.rung(),
            network: self.analyzer.network(),
            reason: self.pilot.reason(),
            sent,
            delay: std::mem::take(&mut self.delay),
            lost,
        });
    }

    fn review(&mut self) {
        let situation = Situation {
            network: self.analyzer.network(),
            ..self.situation
        };
        let terms = Terms::default();
        let _ = self
            .pilot
            .review(self.now, &self.policy, &situation, &terms, &self.judge);
        let to = self.pilot.wanted();
        if to != self.pilot.rung() {
            self.pilot.handle_switch(self.now, to);
            self.switches.push(Change {
                at: self.now - self.start,
                to,
            });
        }
    }
}
