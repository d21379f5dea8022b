//! What is counted as saved, against what really flows with AIC off.

use auralink_quality::savings::{Preset, SavingsMeter, extension_bytes, wire_bytes};
use auralink_types::{Bitrate, SavingsBasis, SourceCodec};
use auralink_wire::red;

use super::super::*;
use super::bench::*;

/// A publisher who talks for a second and is silent for half of one, without discontinuous transmission.
struct Client {
    rate: Bitrate,
    red: bool,
    spoken: u64,
    previous: Vec<u8>,
}

impl Client {
    fn new(kbps: u64, red: bool) -> Self {
        Self {
            rate: Bitrate::kbps(kbps),
            red,
            spoken: 0,
            previous: Vec::new(),
        }
    }

    /// What their encoder makes of the next so many milliseconds at a rate.
    fn encode(&mut self, rate: Bitrate, ms: u64) -> Vec<u8> {
        let talks = self.spoken % 1_500 < 1_000;
        self.spoken += ms;
        let toc = if ms == 60 { 0x58 } else { 0x78 };
        let bytes = if talks { rate.as_bps() * ms / 8000 } else { ms / 10 };
        let mut payload = vec![toc, b'O'];
        payload.resize(bytes.max(2) as usize, 0);
        payload
    }

    /// Sends as they like for so long; bytes on the wire by the sizes of what is sent.
    fn speak_freely(&mut self, bench: &mut Bench, ms: u64) -> u64 {
        let mut wire = 0;
        bench.extensions = extension_bytes(Preset::STOCK.extensions);
        for _ in 0..ms / 20 {
            let block = self.encode(self.rate, 20);
            let (kind, payload) = if self.red {
                (PayloadKind::Red, wrapped(&self.previous, &block))
            } else {
                (PayloadKind::Opus, block.clone())
            };
            self.previous = block;
            wire += wire_bytes(payload.len(), extension_bytes(Preset::STOCK.extensions)) as u64;
            bench.deliver(kind, payload, 960);
            bench.pass(20);
        }
        wire
    }

    /// Does what was asked for; bytes on the wire likewise.
    fn obey(&mut self, bench: &mut Bench, ms: u64) -> u64 {
        let mut wire = 0;
        bench.extensions = 0;
        for _ in 0..ms / 60 {
            let rate = match bench.hints.last() {
                Some((_, hint, false)) => match hint.source {
                    SourceCodec::Lean(lean) => lean.bitrate.min(self.rate),
                    _ => self.rate,
                },
                _ => self.rate,
            };
            let payload = self.encode(rate, 60);
            wire += wire_bytes(payload.len(), 0) as u64;
            bench.deliver(PayloadKind::Opus, payload, 2880);
            bench.pass(60);
        }
        wire
    }
}

fn wrapped(previous: &[u8], primary: &[u8]) -> Vec<u8> {
    let block = |payload, timestamp_offset| red::Block {
        payload_type: 111,
        timestamp_offset,
        payload,
    };
    let earlier = block(previous, 960);
    let earlier: &[_] = if previous.is_empty() { &[] } else { &[earlier] };
    let mut out = Vec::new();
    red::write(earlier, &block(primary, 0), &mut out).unwrap();
    out
}

fn within(claimed: u64, counted: u64, percent: u64) -> bool {
    claimed.abs_diff(counted) * 100 <= counted * percent
}

fn since(later: SavingsMeter, earlier: SavingsMeter) -> SavingsMeter {
    SavingsMeter {
        original_bytes: later.original_bytes - earlier.original_bytes,
        sent_bytes: later.sent_bytes - earlier.sent_bytes,
    }
}

#[test]
fn whatever_a_stock_client_sends_unasked_is_what_its_savings_are_counted_from() {
    let off = auralink_types::AicConfig::default().policy();
    for (kbps, announces_red, offers_red) in [
        (24, false, true),
        (24, true, true),
        (48, true, true),
        (96, true, true),
        (32, true, false),
    ] {
        let red = announces_red && offers_red;
        let caps = PublisherCaps {
            models: Vec::new(),
            steerable: true,
            red: announces_red,
            stereo: false,
        };
        let mut bench = Bench::new(off.clone(), caps);
        if !offers_red {
            bench.tap.forget_red();
        }
        bench.tap.add_leg(bench.now, LegId(1), stock_caps());
        let free = Client::new(kbps, red).speak_freely(&mut bench, 60_000);
        let plain = bench.tap.snapshot();
        assert_eq!(
            (plain.uplink.sent_bytes, plain.uplink.original_bytes),
            (free, free),
            "{kbps} {red}: without AIC nothing is saved"
        );
        assert_eq!(plain.basis, SavingsBasis::Measured);

        let caps = PublisherCaps {
            models: Vec::new(),
            steerable: true,
            red: announces_red,
            stereo: false,
        };
        let mut bench = Bench::new(adaptive(), caps);
        if !offers_red {
            bench.tap.forget_red();
        }
        bench.tap.add_leg(bench.now, LegId(1), stock_caps());
        let sent = Client::new(kbps, red).obey(&mut bench, 60_000);
        let thinned = bench.tap.snapshot();
        assert_eq!(thinned.uplink.sent_bytes, sent);
        assert_eq!(thinned.basis, SavingsBasis::Measured);
        let claimed = (thinned.uplink.original_bytes, thinned.downlink.original_bytes);
        assert!(
            within(claimed.0, free, 5),
            "{kbps} {red}: up {claimed:?} of {free}"
        );
        assert!(
            within(claimed.1, free, 5),
            "{kbps} {red}: down {claimed:?} of {free}"
        );
    }
}

#[test]
fn packets_shorter_than_a_frame_hold_no_more_than_their_time() {
    let caps = PublisherCaps {
        steerable: true,
        ..PublisherCaps::default()
    };
    let mut bench = Bench::new(adaptive(), caps);
    Client::new(32, false).obey(&mut bench, 6_000);
    let before = bench.tap.snapshot().uplink;
    for _ in 0..300 {
        let mut payload = vec![0x70, b'O'];
        payload.resize(15, 0);
        bench.deliver(PayloadKind::Opus, payload, 480);
        bench.pass(10);
    }
    let claimed = since(bench.tap.snapshot().uplink, before).original_bytes;
    let headers = 300 * wire_bytes(0, extension_bytes(Preset::STOCK.extensions)) as u64;
    let talk = 32_000 * 3 / 8;
    assert!(within(claimed, headers + talk, 3), "{claimed}");
}

#[test]
fn a_listener_without_red_is_not_said_to_have_been_spared_it() {
    let caps = PublisherCaps {
        models: Vec::new(),
        steerable: true,
        red: true,
        stereo: false,
    };
    let mut bench = Bench::new(adaptive(), caps);
    bench.tap.add_leg(bench.now, LegId(1), LegCaps::default());
    bench.tap.add_leg(bench.now, LegId(2), stock_caps());
    Client::new(48, true).obey(&mut bench, 30_000);
    let legs = bench.tap.snapshot().legs;
    let (without, with) = (legs[0].savings.original_bytes, legs[1].savings.original_bytes);
    assert!(without * 100 < with * 70, "{without} and {with}");
}

#[test]
fn an_aic_client_is_counted_from_what_its_own_encoder_makes_and_from_a_preset_before_it_tells() {
    let caps = |red| PublisherCaps {
        models: vec![MODEL],
        steerable: true,
        red,
        stereo: false,
    };
    for (kbps, red) in [(24, false), (24, true), (48, true)] {
        let off = auralink_types::AicConfig::default().policy();
        let mut bench = Bench::new(off, PublisherCaps::default());
        let free = Client::new(kbps, red).speak_freely(&mut bench, 30_000);
        let mut bench = Bench::new(adaptive(), caps(red));
        bench.tap.add_leg(bench.now, LegId(1), stock_caps());
        let mut client = Client::new(kbps, red);
        client.obey(&mut bench, 3_000);
        let before = bench.tap.snapshot();
        assert_eq!(before.basis, SavingsBasis::Preset);
        assert_eq!(before.compute_p50, None);
        let rate = Bitrate::kbps(kbps);
        bench.tap.handle_report(Some((300, 900)), Some(rate));
        client.obey(&mut bench, 30_000);
        let after = bench.tap.snapshot();
        assert_eq!(after.basis, SavingsBasis::Measured);
        assert_eq!(
            (after.compute_p50, after.compute_p99),
            (Some(MS * 3 / 10), Some(MS * 9 / 10))
        );
        let claimed = [
            since(after.uplink, before.uplink).original_bytes,
            since(after.downlink, before.downlink).original_bytes,
        ];
        // An AIC client's own headers are eight bytes shorter: it sends neither absolute times nor transport-wide numbers.
        for (claimed, free) in claimed.into_iter().zip([free - 8 * 30 * 50, free]) {
            assert!(within(claimed, free, 5), "{kbps} {red}: {claimed} of {free}");
        }
    }
}

#[test]
fn nobody_is_believed_to_send_more_than_a_stock_client_and_reports_grow_old() {
    let caps = PublisherCaps {
        models: vec![MODEL],
        steerable: true,
        red: false,
        stereo: false,
    };
    let claimed = |told: Option<Bitrate>| {
        let mut bench = Bench::new(adaptive(), caps.clone());
        bench.tap.handle_report(Some((u32::MAX, 0)), told);
        Client::new(48, false).obey(&mut bench, 10_000);
        bench.tap.snapshot().uplink.original_bytes
    };
    assert_eq!(claimed(Some(Bitrate::kbps(4_000))), claimed(None));
    assert_eq!(claimed(Some(Bitrate::bps(0))), claimed(None));
    let mut bench = Bench::new(adaptive(), caps);
    bench.tap.handle_report(Some((300, 900)), None);
    assert!(bench.tap.snapshot().compute_p50.is_some());
    let told = (0..60).filter(|_| bench.tap.snapshot().compute_p50.is_some());
    assert!(
        told.count() < 30,
        "a client that tells no more is not timed any more"
    );
}

/// Talks for 1.2 s and is silent for 3 s, again and again, with discontinuous transmission: a packet without sound announces
/// a pause, and one of noise breaks it every 0.6 s. Bytes on the wire.
fn speak_with_pauses(bench: &mut Bench, red: bool, rate: Bitrate, ms: u64) -> u64 {
    let toc = if ms == 60 { 0x58 } else { 0x78 };
    let mut wire = 0;
    let mut previous = Vec::new();
    let mut send = |bench: &mut Bench, bytes: u64, until_next: u64| {
        let mut block = vec![toc, b'O'];
        block.resize(bytes as usize, 0);
        let (kind, payload) = if red {
            (PayloadKind::Red, wrapped(&previous, &block))
        } else {
            (PayloadKind::Opus, block.clone())
        };
        previous = if until_next == ms { block } else { Vec::new() };
        wire += wire_bytes(payload.len(), bench.extensions) as u64;
        bench.deliver(kind, payload, until_next as u32 * 48);
        bench.pass(until_next);
    };
    let sound = rate.as_bps() * ms / 8000;
    for _ in 0..10 {
        for _ in 0..1_200 / ms {
            send(bench, sound, ms);
        }
        for _ in 0..5 {
            send(bench, 1, 600 - ms);
            send(bench, sound, ms);
        }
    }
    wire
}

#[test]
fn what_breaks_a_pause_for_a_moment_stands_for_one_packet_however_long_packets_are() {
    let caps = |red| PublisherCaps {
        red,
        steerable: true,
        ..PublisherCaps::default()
    };
    let off = auralink_types::AicConfig::default().policy();
    for red in [false, true] {
        let mut bench = Bench::new(off.clone(), caps(red));
        bench.extensions = extension_bytes(Preset::STOCK.extensions);
        let free = speak_with_pauses(&mut bench, red, Bitrate::kbps(32), 20);
        let mut bench = Bench::new(adaptive(), caps(red));
        Client::new(32, false).obey(&mut bench, 6_000);
        let before = bench.tap.snapshot().uplink;
        let sent = speak_with_pauses(&mut bench, false, Bitrate::kbps(12), 60);
        let thinned = since(bench.tap.snapshot().uplink, before);
        assert_eq!(thinned.sent_bytes, sent);
        assert!(
            within(thinned.original_bytes, free, 3),
            "{red}: {thinned:?} of {free}"
        );
    }
}
