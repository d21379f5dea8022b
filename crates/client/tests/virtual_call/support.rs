//! A publisher and a receiver in virtual time, and a network between them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use auralink_client::answer::LineTerms;
use auralink_client::neural::{FRAME_16K, Frame, SpeechDecoder, SpeechEncoder, SpeechModel};
use auralink_client::publish::Publisher;
use auralink_client::receive::{BLOCK, ReceiveStats, Receiver};
use auralink_client::{AtEnd, AudioSource, OwnSettings};
use auralink_types::{Bitrate, Lean, Neural, NeuralRate, PacketTime, SourceCodec};

/// A model that carries loudness and nothing else, as a hum: enough to see where audio is missing.
pub struct Hum;

pub struct HumCoder {
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
    fn set_dtx(&mut self, _: bool) {}
    fn encode(&mut self, pcm: &[f32], codes: &mut [u16]) -> Frame {
        let rms = (pcm.iter().map(|x| x * x).sum::<f32>() / pcm.len() as f32).sqrt();
        codes.fill(0);
        codes[0] = (rms * 1023.0).min(1023.0) as u16;
        Frame::Speech
    }
}

impl SpeechDecoder for HumCoder {
    fn decode(&mut self, codes: &[u16], pcm: &mut [f32]) -> bool {
        self.loudness = f32::from(codes[0]) / 1023.0;
        self.conceal(pcm);
        true
    }
    fn decode_noise(&mut self, _: &[u16], _: &mut [f32]) -> bool {
        false
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
pub type Network = Box<dyn FnMut(u64, u64) -> Vec<u64>>;

/// Sequence number, timestamp, payload, and whether it is RED.
pub type Flying = (u16, u32, Vec<u8>, bool);

pub struct Call {
    pub publisher: Publisher,
    pub receiver: Receiver,
    pub start: Instant,
    pub ms: u64,
    pub sent: u64,
    pub first_seq: u16,
    pub network: Network,
    pub flying: BTreeMap<(u64, u64, u64), Flying>,
    pub heard: Vec<f32>,
}

impl Call {
    pub fn new(red: bool, network: Network) -> Self {
        Self::starting_at(red, network, 0, 0)
    }

    pub fn starting_at(red: bool, network: Network, first_seq: u16, first_timestamp: u32) -> Self {
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

    pub fn run(&mut self, ms: u64) {
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

    pub fn stats(&self) -> ReceiveStats {
        self.receiver.stats()
    }

    /// The quietest 10 ms after the first second, against what a tone at 0.3 should give.
    pub fn quietest(&self) -> f32 {
        let loudness = |block: &[f32]| (block.iter().map(|x| x * x).sum::<f32>() / block.len() as f32).sqrt();
        let quietest = self.heard[48_000..]
            .chunks_exact(BLOCK)
            .map(loudness)
            .fold(f32::MAX, f32::min);
        quietest / (0.3 / 2f32.sqrt())
    }
}

pub fn clean() -> Network {
    Box::new(|_, _| vec![5])
}

pub fn losing(lost: impl Fn(u64) -> bool + 'static) -> Network {
    Box::new(move |index, _| if lost(index) { vec![] } else { vec![5] })
}

pub fn lean(packet: PacketTime) -> SourceCodec {
    SourceCodec::Lean(Lean::new(Bitrate::kbps(16), packet))
}

pub fn neural(packet: PacketTime, copies: u8) -> SourceCodec {
    SourceCodec::Neural(Neural {
        rate: NeuralRate::Kbps6,
        packet,
        copies,
    })
}
