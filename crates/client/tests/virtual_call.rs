//! Publisher and receiver wired together in virtual time: loss, order and switches are exact, so gaps are too.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use auralink_client::answer::LineTerms;
use auralink_client::neural::{FRAME_16K, SpeechDecoder, SpeechEncoder, SpeechModel};
use auralink_client::publish::Publisher;
use auralink_client::receive::{BLOCK, ReceiveStats, Receiver};
use auralink_client::unit::Kind;
use auralink_client::{AtEnd, AudioSource, OwnSettings};
use auralink_types::{Bitrate, Lean, Neural, NeuralRate, PacketTime, SourceCodec};
use proptest::prelude::*;

/// A model that carries loudness and nothing else, as a hum: enough to see where audio is missing.
struct Hum;

struct HumCoder {
    phase: f32,
    loudness: f32,
}

impl SpeechModel for Hum {
    fn id(&self) -> u16 {
        7
    }
    fn levels(&self) -> usize {
        18
    }
    fn delay(&self) -> usize {
        160
    }
    fn encoder(&self) -> Box<dyn SpeechEncoder> {
        Box::new(HumCoder {
            phase: 0.0,
            loudness: 0.0,
        })
    }
    fn decoder(&self) -> Box<dyn SpeechDecoder> {
        Box::new(HumCoder {
            phase: 0.0,
            loudness: 0.0,
        })
    }
}

impl SpeechEncoder for HumCoder {
    fn encode(&mut self, pcm: &[f32], codes: &mut [u16]) {
        let rms = (pcm.iter().map(|x| x * x).sum::<f32>() / pcm.len() as f32).sqrt();
        codes.fill(0);
        codes[0] = (rms * 1023.0).min(1023.0) as u16;
    }
}

impl SpeechDecoder for HumCoder {
    fn decode(&mut self, codes: &[u16], pcm: &mut [f32]) -> bool {
        self.loudness = f32::from(codes[0]) / 1023.0;
        self.conceal(pcm);
        true
    }
    fn conceal(&mut self, pcm: &mut [f32]) {
        assert_eq!(pcm.len(), FRAME_16K);
        for sample in pcm {
            *sample = self.loudness * 2f32.sqrt() * self.phase.sin();
            self.phase += 2.0 * std::f32::consts::PI * 700.0 / 16_000.0;
        }
    }
    fn reset(&mut self) {
        self.loudness = 0.0;
    }
}

/// What the network does to packet `index`, sent at `ms`: arrival times in milliseconds later; none is a loss.
type Network = Box<dyn FnMut(u64, u64) -> Vec<u64>>;

/// Sequence number, timestamp, payload, and whether it is RED.
type Flying = (u16, u32, Vec<u8>, bool);

struct Call {
    publisher: Publisher,
    receiver: Receiver,
    start: Instant,
    ms: u64,
    sent: u64,
    first_seq: u16,
    network: Network,
    flying: BTreeMap<(u64, u64, u64), Flying>,
    heard: Vec<f32>,
}

impl Call {
    fn new(red: bool, network: Network) -> Self {
        Self::starting_at(red, network, 0, 0)
    }

    fn starting_at(red: bool, network: Network, first_seq: u16, first_timestamp: u32) -> Self {
        let tone: Vec<f32> = (0..48_000)
            .map(|n| 0.3 * (2.0 * std::f32::consts::PI * 200.0 * n as f32 / 48_000.0).sin())
            .collect();
        let start = Instant::now();
        let model: Arc<dyn SpeechModel> = Arc::new(Hum);
        let source = AudioSource::from_pcm(tone, AtEnd::Loop);
        let mut publisher = Publisher::new(
            source,
            OwnSettings::default(),
            Some(model.clone()),
            first_timestamp,
        );
        publisher.negotiated(&LineTerms {
            payload_types: if red { vec![63, 111] } else { vec![111, 63] },
            opus: Some(111),
            red: Some(63),
            receives: true,
            ..LineTerms::default()
        });
        publisher.begin(start);
        Self {
            publisher,
            receiver: Receiver::new(start, Some(model), Duration::from_millis(70)).unwrap(),
            start,
            ms: 0,
            sent: 0,
            first_seq,
            network,
            flying: BTreeMap::new(),
            heard: Vec::new(),
        }
    }

    fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.ms += 1;
            let now = self.start + Duration::from_millis(self.ms);
            while let Some(packet) = self.publisher.poll(now).unwrap() {
                for (copy, delay) in (self.network)(self.sent, self.ms).into_iter().enumerate() {
                    let seq = self.first_seq.wrapping_add(self.sent as u16);
                    let value = (seq, packet.timestamp, packet.payload.clone(), packet.red);
                    self.flying
                        .insert((self.ms + delay, self.sent, copy as u64), value);
                }
                self.sent += 1;
            }
            while let Some(entry) = self.flying.first_entry() {
                if entry.key().0 > self.ms {
                    break;
                }
                let (seq, timestamp, payload, red) = entry.remove();
                self.receiver.arrived(now, 1, seq, timestamp, &payload, red);
            }
            if self.ms.is_multiple_of(10) {
                let mut block = [0.0; BLOCK];
                self.receiver.pull(now, &mut block);
                self.heard.extend_from_slice(&block);
            }
        }
    }

    fn stats(&self) -> ReceiveStats {
        self.receiver.stats()
    }

    /// The quietest 10 ms after the first second, against what a tone at 0.3 should give.
    fn quietest(&self) -> f32 {
        let loudness = |block: &[f32]| (block.iter().map(|x| x * x).sum::<f32>() / block.len() as f32).sqrt();
        let quietest = self.heard[48_000..]
            .chunks_exact(BLOCK)
            .map(loudness)
            .fold(f32::MAX, f32::min);
        quietest / (0.3 / 2f32.sqrt())
    }
}

fn clean() -> Network {
    Box::new(|_, _| vec![5])
}

fn losing(lost: impl Fn(u64) -> bool + 'static) -> Network {
    Box::new(move |index, _| if lost(index) { vec![] } else { vec![5] })
}

fn lean(packet: PacketTime) -> SourceCodec {
    SourceCodec::Lean(Lean::new(Bitrate::kbps(16), packet))
}

fn neural(packet: PacketTime, copies: u8) -> SourceCodec {
    SourceCodec::Neural(Neural {
        rate: NeuralRate::Kbps6,
        packet,
        copies,
    })
}

#[test]
fn a_clean_call_has_no_gap_and_a_steady_delay() {
    let mut call = Call::new(true, clean());
    call.run(5_000);
    let stats = call.stats();
    assert_eq!(
        (stats.gap_count, stats.packets_lost, stats.late),
        (0, 0, 0),
        "{stats:?}"
    );
    assert!(call.sent - stats.packets <= 1, "only the last may be on its way");
    assert_eq!((stats.stretched_ms, stats.squeezed_ms), (0.0, 0.0));
    assert!(stats.mean_buffer_ms < 60.0, "{}", stats.mean_buffer_ms);
    assert!(call.quietest() > 0.8, "{}", call.quietest());
}

#[test]
fn red_recovers_every_single_loss() {
    let mut call = Call::new(true, losing(|index| index % 5 == 3));
    call.run(5_000);
    let stats = call.stats();
    let lost = (0..call.sent - 1).filter(|index| index % 5 == 3).count() as u64;
    assert!(
        stats.packets_lost >= lost - 1 && stats.packets_lost <= lost,
        "{} of {lost}",
        stats.packets_lost
    );
    assert_eq!(stats.gap_count, 0, "{:?}", stats.gaps);
    assert!(stats.recovered >= lost - 3, "{} of {lost}", stats.recovered);
}

#[test]
fn a_lost_packet_without_red_is_one_gap_of_its_length() {
    let mut call = Call::new(
        false,
        losing(|index| index == 100 || index == 150 || index == 151),
    );
    call.run(5_000);
    let stats = call.stats();
    let lengths: Vec<f64> = stats.gaps.iter().map(|gap| gap.ms).collect();
    assert_eq!(lengths, [20.0, 40.0]);
    assert_eq!(
        (stats.packets_lost, stats.concealed_ms, stats.longest_gap_ms),
        (3, 60.0, 40.0)
    );
    assert!((stats.gaps[1].at_ms - stats.gaps[0].at_ms - 1_000.0).abs() < 1e-6);
}

#[test]
fn opus_redundancy_fills_single_losses_of_speech() {
    let lost = |index| index > 60 && index % 5 == 3;
    let wish = SourceCodec::Lean(Lean {
        bitrate: Bitrate::kbps(24),
        packet: PacketTime::Ms60,
        fec: true,
    });
    let mut call = Call::new(true, losing(lost));
    // Only what sounds like speech is copied.
    call.publisher = Publisher::new(AudioSource::synthetic(), OwnSettings::default(), None, 0);
    call.publisher.negotiated(&LineTerms {
        opus: Some(111),
        receives: true,
        ..LineTerms::default()
    });
    call.publisher.hint(wish);
    call.publisher.begin(call.start);
    call.run(10_000);
    let stats = call.stats();
    assert!(stats.packets_lost > 15, "{stats:?}");
    assert!(
        stats.recovered as f64 > 0.7 * stats.packets_lost as f64,
        "{} of {}: {:?}",
        stats.recovered,
        stats.packets_lost,
        stats.gaps
    );
}

#[test]
fn an_outage_is_one_gap_and_the_call_goes_on_after_it() {
    let mut call = Call::new(false, losing(|index| (100..130).contains(&index)));
    call.run(6_000);
    let stats = call.stats();
    assert_eq!(stats.gap_count, 1, "{:?}", stats.gaps);
    assert!(
        (stats.longest_gap_ms - 600.0).abs() <= 20.0,
        "{}",
        stats.longest_gap_ms
    );
    assert!(
        call.heard[call.heard.len() - 9_600..]
            .iter()
            .any(|x| x.abs() > 0.2)
    );
}

#[test]
fn reordered_and_doubled_packets_cost_nothing() {
    let network: Network = Box::new(|index, _| match index % 10 {
        3 => vec![27],
        6 => vec![5, 9],
        _ => vec![5],
    });
    let mut call = Call::new(false, network);
    call.run(5_000);
    let stats = call.stats();
    assert!(stats.reordered >= 20 && stats.duplicates >= 20, "{stats:?}");
    assert_eq!((stats.gap_count, stats.packets_lost), (0, 0), "{:?}", stats.gaps);
}

#[test]
fn sequence_and_timestamp_may_wrap_in_mid_call() {
    let mut call = Call::starting_at(true, losing(|index| index % 7 == 5), 65_500, u32::MAX - 40_000);
    call.run(5_000);
    let stats = call.stats();
    assert_eq!((stats.gap_count, stats.restarts), (0, 0), "{:?}", stats.gaps);
    assert!(stats.packets_lost > 30);
}

#[test]
fn packets_that_grow_from_20_to_120_ms_leave_no_gap() {
    let mut call = Call::new(true, clean());
    call.run(2_000);
    assert!(call.publisher.hint(lean(PacketTime::Ms120)));
    call.run(4_000);
    assert!(call.publisher.hint(SourceCodec::Own));
    call.run(4_000);
    let stats = call.stats();
    assert_eq!(stats.gap_count, 0, "{:?} {:?}", stats.gaps, stats.switches);
    assert!(stats.stretched_ms > 60.0 && stats.squeezed_ms > 40.0, "{stats:?}");
    assert!(
        stats
            .switches
            .iter()
            .any(|switch| switch.shape.packet_ms == 120 && !switch.shape.red)
    );
    assert!(call.quietest() > 0.3, "{}", call.quietest());
}

#[test]
fn going_to_the_neural_codec_and_back_leaves_no_gap() {
    let mut call = Call::new(true, clean());
    for _ in 0..5 {
        call.run(1_500);
        assert!(call.publisher.hint(neural(PacketTime::Ms60, 0)));
        call.run(1_500);
        assert!(call.publisher.hint(SourceCodec::Own));
    }
    call.run(1_000);
    let stats = call.stats();
    assert_eq!((stats.gap_count, stats.late), (0, 0), "{:?}", stats.gaps);
    let kinds: Vec<Kind> = stats.switches.iter().map(|switch| switch.shape.kind).collect();
    assert_eq!(kinds.windows(2).filter(|pair| pair[0] != pair[1]).count(), 10);
    assert!(stats.neural_packets > 100);
    assert!(call.quietest() > 0.4, "{}", call.quietest());
}

#[test]
fn copies_fill_what_a_burst_took() {
    let mut call = Call::new(true, losing(|index| index > 100 && index % 10 < 2));
    assert!(call.publisher.hint(neural(PacketTime::Ms20, 2)));
    call.run(5_000);
    let stats = call.stats();
    assert!(stats.packets_lost > 20);
    assert!(stats.concealed_ms <= 40.0, "{:?}", stats.gaps);
    assert!(stats.recovered > 20, "{}", stats.recovered);
}

#[test]
fn a_muted_sender_makes_no_gap() {
    let mut call = Call::new(true, clean());
    call.run(1_000);
    call.publisher.set_muted(true);
    call.receiver.set_muted(true);
    call.run(3_000);
    call.publisher.set_muted(false);
    call.receiver.set_muted(false);
    call.run(2_000);
    let stats = call.stats();
    assert_eq!(stats.gap_count, 0, "{:?}", stats.gaps);
    assert!(stats.comfort_ms > 2_500.0, "{}", stats.comfort_ms);
    assert!(
        call.heard[call.heard.len() - 9_600..]
            .iter()
            .any(|x| x.abs() > 0.2)
    );
}

#[test]
fn discontinuous_transmission_is_no_gap() {
    let own = OwnSettings {
        dtx: true,
        ..OwnSettings::default()
    };
    let mut call = Call::new(false, clean());
    call.publisher = Publisher::new(AudioSource::from_pcm(vec![0.0; 480], AtEnd::Loop), own, None, 0);
    call.publisher.negotiated(&LineTerms {
        opus: Some(111),
        usedtx: true,
        receives: true,
        ..LineTerms::default()
    });
    call.publisher.begin(call.start);
    call.run(6_000);
    let stats = call.stats();
    assert!(call.sent < 100, "{} packets of silence", call.sent);
    assert_eq!(stats.gap_count, 0, "{:?}", stats.gaps);
    assert!(stats.comfort_ms > 3_000.0, "{}", stats.comfort_ms);
}

#[test]
fn jitter_is_absorbed_once_it_is_known() {
    let mut state = 1u64;
    let network: Network = Box::new(move |_, _| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        vec![10 + (state >> 33) % 60]
    });
    let mut call = Call::new(true, network);
    call.run(20_000);
    let stats = call.stats();
    let late: f64 = stats
        .gaps
        .iter()
        .filter(|gap| gap.at_ms > 3_000.0)
        .map(|gap| gap.ms)
        .sum();
    assert!(late < 0.02 * 17_000.0, "{late} ms concealed: {:?}", stats.gaps);
    assert_eq!(stats.packets_lost, 0);
}

#[test]
fn a_timeline_that_begins_anew_is_played_from_there() {
    let mut call = Call::new(true, clean());
    call.run(2_000);
    let mut other = Call::starting_at(true, clean(), 30_000, 3_000_000_000);
    other.run(2_000);
    let restarts = call.stats().restarts;
    std::mem::swap(&mut call.publisher, &mut other.publisher);
    call.first_seq = 40_000;
    call.run(2_000);
    assert_eq!(restarts, 0);
    assert_eq!(call.stats().restarts, 1);
    assert!(
        call.heard[call.heard.len() - 9_600..]
            .iter()
            .any(|x| x.abs() > 0.2)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn nothing_that_arrives_makes_the_receiver_panic_or_overshoot(
        packets in proptest::collection::vec(
            (any::<u16>(), any::<u32>(), proptest::collection::vec(any::<u8>(), 0..80), any::<bool>(), 0u64..40),
            1..60,
        ),
        ssrcs in 1u32..4,
    ) {
        let start = Instant::now();
        let mut receiver = Receiver::new(start, Some(Arc::new(Hum)), Duration::from_millis(40)).unwrap();
        let mut now = start;
        let mut block = [0.0; BLOCK];
        for (index, (seq, timestamp, payload, red, wait)) in packets.iter().enumerate() {
            let near = if index % 3 == 0 { *timestamp } else { 960 * index as u32 };
            receiver.arrived(now, index as u32 % ssrcs, *seq, near, payload, *red);
            now += Duration::from_millis(*wait);
            receiver.pull(now, &mut block);
            prop_assert!(block.iter().all(|x| x.is_finite()));
        }
        for _ in 0..300 {
            now += Duration::from_millis(10);
            receiver.pull(now, &mut block);
        }
        prop_assert!(receiver.stats().packets + receiver.stats().duplicates <= packets.len() as u64);
    }
}

#[test]
fn what_a_timestamp_means_does_not_change_with_the_codec() {
    let heard = |wish: SourceCodec| {
        let model = auralink_client::neural::builtin().unwrap();
        let mut call = Call::new(false, clean());
        call.publisher = Publisher::new(
            AudioSource::synthetic(),
            OwnSettings::default(),
            Some(model.clone()),
            0,
        );
        call.publisher.negotiated(&LineTerms {
            opus: Some(111),
            receives: true,
            ..LineTerms::default()
        });
        call.publisher.hint(wish);
        call.publisher.begin(call.start);
        call.receiver = Receiver::new(call.start, Some(model), Duration::from_millis(70)).unwrap();
        call.run(3_000);
        assert_eq!(call.stats().gap_count, 0);
        call.heard
    };
    let (opus, neural) = (heard(SourceCodec::Own), heard(neural(PacketTime::Ms20, 0)));
    let likeness = |lag: i64| -> f64 {
        let pairs = (24_000..120_000).step_by(3);
        pairs
            .map(|n: i64| f64::from(opus[n as usize]) * f64::from(neural[(n + lag) as usize]))
            .sum()
    };
    let best = (-2_400..=2_400)
        .max_by(|a, b| likeness(*a).total_cmp(&likeness(*b)))
        .unwrap();
    assert!(
        best.abs() <= 48,
        "the neural path is {best} samples off at 48 kHz"
    );
}
