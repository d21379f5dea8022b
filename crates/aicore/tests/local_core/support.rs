//! A core in this process, a voice-like sound for it, and what comes of it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use auralink_aicore::LocalCore;
use auralink_engine::{Coded, InFrame, InKind, Outcome, Processor, Refused, StreamId};
use auralink_opus::{Encoder, EncoderConfig};
use auralink_types::{Bitrate, Lean, Neural, NeuralRate, PacketTime, Rung};

pub const LEAN: Rung = Rung::Lean(Lean {
    bitrate: Bitrate::kbps(12),
    packet: PacketTime::Ms60,
    fec: false,
});
pub const NEURAL: Rung = Rung::Neural(Neural {
    rate: NeuralRate::Kbps6,
    packet: PacketTime::Ms60,
    copies: 3,
});
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn core() -> (LocalCore, Receiver<()>) {
    let (tell, woken) = channel();
    let wake = Arc::new(move || {
        let _ = tell.send(());
    });
    (LocalCore::start(1, wake), woken)
}

pub fn voice(frames: usize) -> Vec<Vec<u8>> {
    let config = EncoderConfig {
        bandwidth: None,
        ..EncoderConfig::lean(32_000, 20)
    };
    let mut encoder = Encoder::new(&config).unwrap();
    let mut phase = 0.0f32;
    (0..frames)
        .map(|frame| {
            let pcm: Vec<f32> = (0..320)
                .map(|n| {
                    phase +=
                        2.0 * std::f32::consts::PI * (130.0 + 20.0 * (frame as f32 * 0.3).sin()) / 16_000.0;
                    let tone: f32 = (1..16).map(|k| (k as f32 * phase).sin() / k as f32).sum();
                    0.1 * tone * (0.6 + 0.4 * ((frame * 320 + n) as f32 / 2000.0).sin())
                })
                .collect();
            let mut packet = vec![0; 400];
            let len = encoder.encode(&pcm, &mut packet).unwrap();
            packet.truncate(len);
            packet
        })
        .collect()
}

pub fn submit(
    core: &mut LocalCore,
    stream: StreamId,
    kind: InKind,
    timestamp: u64,
    payload: &[u8],
) -> Result<(), Refused> {
    let deadline = Instant::now() + PATIENCE;
    core.submit(
        stream,
        InFrame {
            kind,
            timestamp,
            payload: payload.into(),
            deadline,
        },
    )
}

/// Polls until `enough` says so.
pub fn collect(
    core: &mut LocalCore,
    woken: &Receiver<()>,
    enough: impl Fn(&[Outcome]) -> bool,
) -> Vec<Outcome> {
    let (mut outcomes, until) = (Vec::new(), Instant::now() + PATIENCE);
    while !enough(&outcomes) {
        assert!(Instant::now() < until, "nothing more came after {outcomes:?}");
        let _ = woken.recv_timeout(Duration::from_millis(50));
        outcomes.extend(std::iter::from_fn(|| core.poll()));
    }
    outcomes
}

pub fn coded(outcomes: &[Outcome], rung: Rung) -> Vec<Coded> {
    let packet = |outcome: &Outcome| match outcome {
        Outcome::Coded { packet, .. } if packet.rung == rung => Some(packet.clone()),
        _ => None,
    };
    outcomes.iter().filter_map(packet).collect()
}

pub fn took(outcomes: &[Outcome]) -> usize {
    outcomes
        .iter()
        .filter(|o| matches!(o, Outcome::Took { .. }))
        .count()
}
