//! One call in virtual time: a stock client's packets of real speech, the real tap with the real core, a path with
//! losses, and the real receiver. Only the clock and the path are made up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use auralink_aicore::LocalCore;
use auralink_client::answer::LineTerms;
use auralink_client::publish::Publisher;
use auralink_client::receive::{BLOCK, Receiver};
use auralink_client::{AudioSource, OwnSettings};
use auralink_engine::{
    EXTENSION_BYTES, NetworkAnalyzer, NetworkSample, Outcome, ProbeGate, Processor as _, after_loss, expected,
};
use auralink_link::{Link, Meter, Profile};
use auralink_media::tap::{
    AudioPacket, AudioTap, LegCaps, LegId, PayloadKind, PublisherCaps, TapEvent, TapOutput,
};
use auralink_quality::savings::wire_bytes;
use auralink_types::{Bitrate, Mos, NetworkClass, Policy, Rung, TrackId};

const LEG: LegId = LegId(1);
const MS: Duration = Duration::from_millis(1);
/// Payload types, as LiveKit clients have them.
const OPUS: u8 = 111;
const RED: u8 = 63;
/// The receiver holds packets at least this long.
const FLOOR: Duration = Duration::from_millis(70);
/// Real time that the core may take for one frame before the run counts as broken.
const PATIENCE: Duration = Duration::from_secs(10);
/// Start of the call that no share counts: the source's rate is not known yet.
const SETTLE_S: u64 = 3;

/// What the server knows of the listener's network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reports {
    /// What the listener reports, once a second.
    Heard,
    /// Nothing: the rung is the one for a perfect network.
    Ignored,
}

/// What happened in one call.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// What the listener heard, 48 kHz.
    pub heard: Vec<f32>,
    /// Seconds in each class, as the analyzer sees it.
    pub classes: BTreeMap<&'static str, u64>,
    /// Milliseconds on each rung, the start left out.
    pub rungs: BTreeMap<String, u64>,
    /// Milliseconds on the original although the policy wanted a coded rung, and all.
    pub fallback_ms: (u64, u64),
    /// Changes of rung after the start.
    pub switches: u64,
    /// Fallbacks of the leg's state machine.
    pub fallbacks: u64,
    /// Whole-wire rate to the listener.
    pub sent: Bitrate,
    /// Share saved against the publisher's own packets.
    pub saved: f64,
    /// Mean score that the engine expected to be heard, on the PESQ scale.
    pub expected_mos: f64,
    /// Packets lost on the way, and sent.
    pub lost: (u64, u64),
    /// Concealed and longest gap, milliseconds.
    pub concealed_ms: f64,
    /// Longest gap.
    pub longest_gap_ms: f64,
}

/// Timestamp, marker and payload of a packet on its way.
type Flying = (u32, bool, Arc<[u8]>);

struct Line {
    now: Instant,
    tap: AudioTap,
    core: LocalCore,
    gate: ProbeGate,
    link: Link,
    flying: BTreeMap<(Instant, u64), Flying>,
    meter: Meter,
    delay: Duration,
    receiver: Receiver,
    analyzer: NetworkAnalyzer,
    reports: Vec<(Instant, NetworkSample)>,
    sent_bytes: u64,
    bytes_before: u64,
    call: Call,
    mos: (f64, u64),
}

/// Places the call; `source` is what is said.
pub fn call(
    profile: Profile,
    seed: u64,
    seconds: u64,
    policy: &Policy,
    reports: Reports,
    source: AudioSource,
) -> Result<Call> {
    let start = Instant::now();
    let mut publisher = Publisher::new(source, OwnSettings::default(), None, 0);
    publisher.negotiated(&LineTerms {
        payload_types: vec![RED, OPUS],
        opus: Some(OPUS),
        red: Some(RED),
        receives: true,
        ..LineTerms::default()
    });
    publisher.begin(start);
    let mut tap = AudioTap::new(
        start,
        TrackId::from("TR_1"),
        PublisherCaps::default(),
        policy.clone(),
    );
    let caps = LegCaps {
        red: true,
        ..LegCaps::default()
    };
    tap.add_leg(start, LEG, caps);
    let mut line = Line {
        now: start,
        tap,
        core: LocalCore::start(1, Arc::new(|| {})),
        gate: ProbeGate::new(),
        link: Link::new(profile, seed, start),
        flying: BTreeMap::new(),
        meter: Meter::default(),
        delay: Duration::ZERO,
        receiver: Receiver::new(start, None, FLOOR)?,
        analyzer: NetworkAnalyzer::default(),
        reports: Vec::new(),
        sent_bytes: 0,
        bytes_before: 0,
        call: Call::default(),
        mos: (0.0, 0),
    };
    let mut seq = 0;
    for ms in 1..=seconds * 1000 {
        line.now = start + MS * ms as u32;
        while let Some(packet) = publisher.poll(line.now)? {
            let kind = if packet.red {
                PayloadKind::Red
            } else {
                PayloadKind::Opus
            };
            let packet = AudioPacket {
                kind,
                seq,
                timestamp: packet.timestamp,
                marker: packet.marker,
                extensions: EXTENSION_BYTES,
                payload: packet.payload.into(),
                received: line.now,
            };
            seq += 1;
            line.tap.handle_packet(line.now, packet, &mut line.core);
            line.await_core()?;
        }
        line.step(ms, reports, policy.active);
    }
    Ok(line.finish(seconds))
}

impl Line {
    /// Time stands still until the core has answered: it takes as long as it takes, and answers at once.
    fn await_core(&mut self) -> Result<()> {
        let begun = Instant::now();
        while self.tap.stream().is_some() {
            ensure!(
                begun.elapsed() < PATIENCE,
                "the core did not answer within {PATIENCE:?}"
            );
            let Some(outcome) = self.core.poll() else {
                std::thread::sleep(Duration::from_micros(30));
                continue;
            };
            let answered = !matches!(outcome, Outcome::Coded { .. });
            self.tap.handle_outcome(self.now, &outcome, &mut self.core);
            if answered {
                break;
            }
        }
        Ok(())
    }

    fn step(&mut self, ms: u64, reports: Reports, active: bool) {
        if self.tap.poll_timeout().is_some_and(|due| due <= self.now) {
            self.tap.handle_timeout(self.now, &mut self.core, &mut self.gate);
        }
        self.drain(ms);
        while let Some(entry) = self.flying.first_entry() {
            let (arrival, seq) = *entry.key();
            if arrival > self.now {
                break;
            }
            let (timestamp, red, payload) = entry.remove();
            self.receiver
                .arrived(self.now, 1, seq as u16, timestamp, &payload, red);
            let media = Duration::from_secs_f64(f64::from(timestamp) / 48_000.0);
            self.meter.arrived(seq, media, arrival);
        }
        if ms.is_multiple_of(10) {
            let mut block = [0.0; BLOCK];
            self.receiver.pull(self.now, &mut block);
            self.call.heard.extend_from_slice(&block);
        }
        if ms.is_multiple_of(1000) {
            self.report();
        }
        let now = self.now;
        for (_, sample) in self.reports.extract_if(.., |(at, _)| *at <= now) {
            self.analyzer.handle_sample(now, sample);
            if reports == Reports::Heard {
                self.tap
                    .set_leg_network(now, LEG, sample.loss, sample.rtt, sample.jitter);
            }
        }
        if ms.is_multiple_of(20) && ms > SETTLE_S * 1000 {
            self.account(active);
        }
        if ms.is_multiple_of(1000) {
            *self.call.classes.entry(class(self.analyzer.class())).or_default() += 1;
        }
    }

    fn drain(&mut self, ms: u64) {
        while let Some(output) = self.tap.poll_output() {
            match output {
                TapOutput::Send { packet, .. } => {
                    let bytes = wire_bytes(packet.payload.len(), EXTENSION_BYTES);
                    self.sent_bytes += bytes as u64;
                    self.call.lost.1 += 1;
                    let red = packet.kind == PayloadKind::Red;
                    match self.link.send(self.now, bytes) {
                        Some(arrival) => {
                            self.delay = arrival - self.now;
                            self.flying
                                .insert((arrival, packet.seq), (packet.timestamp, red, packet.payload));
                        }
                        None => self.call.lost.0 += 1,
                    }
                }
                TapOutput::Event(TapEvent::Fallback { .. }) => self.call.fallbacks += 1,
                TapOutput::Event(TapEvent::RungChanged { .. }) if ms > SETTLE_S * 1000 => {
                    self.call.switches += 1
                }
                TapOutput::Event(_) | TapOutput::Hint { .. } => {}
            }
        }
    }

    fn report(&mut self) {
        let sent = (self.sent_bytes - self.bytes_before) * 8;
        self.bytes_before = self.sent_bytes;
        let Some(report) = self.meter.report() else { return };
        let Some(arrival) = self.link.report(self.now) else {
            return;
        };
        let sample = NetworkSample {
            loss: report.loss,
            rtt: self.delay + (arrival - self.now),
            jitter: report.jitter,
            packets: report.expected,
            sent: Some(Bitrate::bps(sent)),
            burst: None,
        };
        self.reports.push((arrival, sample));
    }

    /// Twenty milliseconds of the call.
    fn account(&mut self, active: bool) {
        let snapshot = self.tap.snapshot();
        let Some(leg) = snapshot.legs.first() else { return };
        *self.call.rungs.entry(name(leg.rung)).or_default() += 20;
        self.call.fallback_ms.1 += 20;
        if active && leg.rung == Rung::Original {
            self.call.fallback_ms.0 += 20;
        }
        let clean = expected(leg.rung).unwrap_or(Mos::new(Mos::MAX));
        let heard = after_loss(leg.rung, clean, &self.analyzer.network(), true, true);
        self.mos = (self.mos.0 + f64::from(heard.value()), self.mos.1 + 1);
    }

    fn finish(mut self, seconds: u64) -> Call {
        self.tap.close(&mut self.core);
        let snapshot = self.tap.snapshot();
        let stats = self.receiver.stats();
        let mut call = self.call;
        call.sent = Bitrate::bps(self.sent_bytes * 8 / seconds.max(1));
        call.saved = snapshot.downlink.ratio().unwrap_or(0.0);
        call.expected_mos = self.mos.0 / self.mos.1.max(1) as f64;
        call.concealed_ms = stats.concealed_ms;
        call.longest_gap_ms = stats.longest_gap_ms;
        call
    }
}

fn class(class: NetworkClass) -> &'static str {
    match class {
        NetworkClass::Unknown => "unknown",
        NetworkClass::Good => "good",
        NetworkClass::Fair => "fair",
        NetworkClass::Poor => "poor",
        NetworkClass::Bad => "bad",
    }
}

fn name(rung: Rung) -> String {
    match rung {
        Rung::Original => "original".into(),
        Rung::Lean(lean) | Rung::Enhanced(lean) => {
            let fec = if lean.fec { "+fec" } else { "" };
            format!(
                "{} {:.0}k/{}{fec}",
                rung.name(),
                lean.bitrate.as_kbps(),
                lean.packet.millis()
            )
        }
        Rung::Neural(neural) => format!(
            "neural {}k/{}+{}",
            neural.rate.bitrate().as_kbps(),
            neural.packet.millis(),
            neural.copies
        ),
    }
}

/// The source that is said, from a file.
pub fn source(path: &std::path::Path) -> Result<AudioSource> {
    let pcm = auralink_audio::read_all(path, auralink_client::SAMPLE_RATE)?;
    Ok(AudioSource::from_pcm(pcm, auralink_client::AtEnd::Loop))
}
