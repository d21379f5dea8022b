//! What is sent: packets made once, which every sender shares.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use auralink_client::answer::LineTerms;
use auralink_client::neural::{self, SpeechModel};
use auralink_client::publish::{Level, Publisher};
use auralink_client::{AtEnd, AudioSource, JoinError, OwnSettings, SAMPLE_RATE};
use auralink_types::SourceCodec;

use crate::error::LoadError;

/// Length of a piece of speech that is sent again and again.
const SPEECH: Duration = Duration::from_secs(10);

/// Bytes at the end of a payload by which it is known again: servers rewrite what is before them.
const TAIL: usize = 24;

/// One packet.
#[derive(Clone, Debug)]
pub struct Packet {
    /// RTP payload.
    pub payload: Arc<[u8]>,
    /// Whether the payload is RED.
    pub red: bool,
    /// Last of a picture, or first after silence.
    pub marker: bool,
    /// First of a picture that needs no other.
    pub key: bool,
    /// Level for the header.
    pub level: Option<Level>,
    /// Until the next is due.
    pub gap: Duration,
    /// What the next one's RTP timestamp is ahead.
    pub ticks: u32,
}

/// A stream of packets that is sent again and again.
#[derive(Debug)]
pub struct Clip {
    packets: Vec<Packet>,
    /// Which packet has that tail; those that share theirs are left out.
    known: HashMap<u64, usize>,
}

impl Clip {
    /// Of these packets; `None` of none.
    pub fn new(packets: Vec<Packet>) -> Option<Self> {
        let mut known: HashMap<u64, Option<usize>> = HashMap::new();
        for (at, packet) in packets.iter().enumerate() {
            let of_two = known.contains_key(&tail(&packet.payload));
            known.insert(tail(&packet.payload), (!of_two).then_some(at));
        }
        let known = known.into_iter().filter_map(|(tail, at)| Some((tail, at?)));
        let known = known.collect();
        (!packets.is_empty()).then_some(Self { packets, known })
    }

    /// The packets, in order.
    pub fn packets(&self) -> &[Packet] {
        &self.packets
    }

    /// Which packet a payload was, if a server passed its end on as it was.
    pub fn find(&self, payload: &[u8]) -> Option<usize> {
        self.known.get(&tail(payload)).copied()
    }
}

fn tail(payload: &[u8]) -> u64 {
    let mut hash = DefaultHasher::new();
    hash.write(&payload[payload.len().saturating_sub(TAIL)..]);
    hash.finish()
}

/// Speech in every shape that somebody sends it in, coded once each.
pub struct Clips {
    speech: Arc<[f32]>,
    model: Option<Arc<dyn SpeechModel>>,
    made: Mutex<HashMap<String, Option<Arc<Clip>>>>,
}

impl Clips {
    /// Of 48 kHz mono samples; `capable` with the neural codec.
    pub fn new(speech: impl Into<Arc<[f32]>>, capable: bool) -> Result<Arc<Self>, LoadError> {
        Ok(Arc::new(Self {
            speech: speech.into(),
            model: capable.then(neural::builtin).transpose()?,
            made: Mutex::default(),
        }))
    }

    /// Id of the neural model, if there is one.
    pub fn model(&self) -> Option<u16> {
        self.model.as_deref().map(SpeechModel::id)
    }

    /// The speech as these terms have it. `None` while it is being coded, by a thread of its own: the thread that sends
    /// has no time for it.
    pub fn of(self: &Arc<Self>, codec: SourceCodec, terms: &LineTerms) -> Option<Arc<Clip>> {
        let terms = LineTerms {
            mid: String::new(),
            msid_track: None,
            ..terms.clone()
        };
        let name = format!("{codec:?} {terms:?}");
        // A thread that panicked while it held the lock left a whole map behind: each change is one insertion.
        let mut made = self.made.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(clip) = made.get(&name) {
            return clip.clone();
        }
        made.insert(name.clone(), None);
        let clips = self.clone();
        std::thread::spawn(move || match clips.code(codec, &terms) {
            Ok(clip) => {
                let mut made = clips.made.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                made.insert(name, clip.map(Arc::new));
            }
            Err(error) => tracing::error!(%error, ?codec, "speech that cannot be coded is not sent"),
        });
        None
    }

    /// Lets the client's own publisher speak in a time that nobody waits for.
    fn code(&self, codec: SourceCodec, terms: &LineTerms) -> Result<Option<Clip>, JoinError> {
        let source = AudioSource::from_pcm(self.speech.clone(), AtEnd::Loop);
        let mut publisher = Publisher::new(source, OwnSettings::default(), self.model.clone(), 0);
        publisher.negotiated(terms);
        publisher.hint(codec);
        let start = Instant::now();
        publisher.begin(start);
        let mut packets: Vec<(u32, Packet)> = Vec::new();
        while let Some(due) = publisher.deadline().filter(|due| *due <= start + SPEECH) {
            let Some(made) = publisher.poll(due)? else {
                continue;
            };
            let packet = Packet {
                payload: made.payload.into(),
                red: made.red,
                marker: made.marker,
                key: false,
                level: made.level,
                gap: Duration::ZERO,
                ticks: made.audio_ms * (SAMPLE_RATE / 1000),
            };
            if let Some((at, last)) = packets.last_mut() {
                last.ticks = made.timestamp.wrapping_sub(*at);
            }
            packets.push((made.timestamp, packet));
        }
        let packets = packets.into_iter().map(|(_, packet)| Packet {
            gap: Duration::from_secs(1) * packet.ticks / SAMPLE_RATE,
            ..packet
        });
        Ok(Clip::new(packets.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use auralink_client::made_up_voice;

    fn spoken(codec: SourceCodec, terms: &LineTerms) -> Arc<Clip> {
        let clips = Clips::new(made_up_voice(), true).unwrap();
        loop {
            if let Some(clip) = clips.of(codec, terms) {
                return clip;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn terms() -> LineTerms {
        LineTerms {
            payload_types: vec![63, 111],
            opus: Some(111),
            red: Some(63),
            ..LineTerms::default()
        }
    }

    #[test]
    fn speech_is_sent_every_20_ms_with_red_where_the_server_wants_it() {
        let clip = spoken(SourceCodec::Own, &terms());
        assert_eq!(clip.packets().len(), 500);
        for packet in clip.packets() {
            assert!(packet.red && packet.level.is_some());
            assert_eq!((packet.gap, packet.ticks), (Duration::from_millis(20), 960));
        }
        let plain = LineTerms {
            payload_types: vec![111],
            red: None,
            ..terms()
        };
        assert!(
            spoken(SourceCodec::Own, &plain)
                .packets()
                .iter()
                .all(|packet| !packet.red)
        );
    }

    #[test]
    fn speech_is_sent_as_the_server_asks_a_capable_client() {
        let lean = auralink_types::Lean {
            bitrate: auralink_types::Bitrate::kbps(12),
            packet: auralink_types::PacketTime::Ms60,
            fec: false,
        };
        let clip = spoken(SourceCodec::Lean(lean), &terms());
        assert_eq!(clip.packets().len(), 166);
        assert!(
            clip.packets()
                .iter()
                .all(|packet| !packet.red && packet.ticks == 2880)
        );
    }

    #[test]
    fn a_packet_is_known_by_its_end_unless_another_ends_alike() {
        let packet = |payload: &[u8]| Packet {
            payload: payload.into(),
            red: false,
            marker: false,
            key: false,
            level: None,
            gap: Duration::ZERO,
            ticks: 0,
        };
        let long = |first: u8| {
            let mut payload = vec![first; 40];
            payload[39] = first;
            payload
        };
        let clip = Clip::new(vec![
            packet(&long(1)),
            packet(b"same"),
            packet(b"same"),
            packet(&long(2)),
        ])
        .unwrap();
        let mut rewritten = long(2);
        rewritten[..10].fill(99);
        assert_eq!(clip.find(&rewritten), Some(3));
        assert_eq!(clip.find(&long(1)), Some(0));
        assert_eq!(clip.find(b"same"), None);
        assert_eq!(clip.find(b""), None);
        assert!(Clip::new(Vec::new()).is_none());
    }
}
