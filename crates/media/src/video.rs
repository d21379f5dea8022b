//! Which layer of a published video goes out on a leg, and how its packets are renumbered.

use std::time::{Duration, Instant};

use str0m::rtp::{Vp8Descriptor, Vp8Patch};

use crate::arrival::{Arrival, Numbers};
use crate::sequence::SequenceMap;

/// A layer without a packet for so long counts as gone.
pub const LAYER_GONE: Duration = Duration::from_millis(1_000);

/// Least time between two keyframe requests for one layer.
pub const KEYFRAME_REQUEST_PAUSE: Duration = Duration::from_millis(500);

/// A leg that has seen no keyframe for so long starts with whatever comes: a broken picture heals, none doesn't.
const START_ANYWAY: Duration = Duration::from_secs(2);

const PICTURE_ID_15: u16 = 0x7fff;
const PICTURE_ID_7: u16 = 0x7f;

/// Codecs whose payload the server reads a little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VideoFormat {
    /// RFC 7741.
    Vp8,
    /// RFC 6184.
    H264,
    /// Anything else: forwarded as it is.
    Opaque,
}

impl VideoFormat {
    /// Whether the payload begins a picture that needs no other; `None` when the format isn't read.
    pub fn starts_keyframe(self, payload: &[u8]) -> Option<bool> {
        match self {
            Self::Vp8 => Some(Vp8Descriptor::parse(payload).is_ok_and(|d| d.starts_keyframe(payload))),
            Self::H264 => Some(h264_keyframe(payload)),
            Self::Opaque => None,
        }
    }
}

fn h264_keyframe(payload: &[u8]) -> bool {
    const IDR: u8 = 5;
    const SPS: u8 = 7;
    const STAP_A: u8 = 24;
    const FU_A: u8 = 28;
    let key = |header: u8| matches!(header & 0x1f, IDR | SPS);
    let Some(&header) = payload.first() else {
        return false;
    };
    match header & 0x1f {
        STAP_A => {
            let mut rest = &payload[1..];
            while let [high, low, tail @ ..] = rest {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                if tail.first().is_some_and(|h| key(*h)) {
                    return true;
                }
                rest = tail.get(length..).unwrap_or_default();
            }
            false
        }
        FU_A => payload.get(1).is_some_and(|fu| fu & 0x80 != 0 && key(*fu)),
        _ => key(header),
    }
}

/// One simulcast layer of a published track, or its only stream.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    /// Restriction id; `None` when the track has one stream.
    pub rid: Option<String>,
    /// Last packet seen.
    pub seen: Option<Instant>,
    /// Last keyframe request sent.
    pub asked: Option<Instant>,
    /// The stream in progress.
    pub arrival: Arrival,
}

impl Layer {
    fn alive(&self, now: Instant) -> bool {
        self.seen
            .is_some_and(|seen| now.saturating_duration_since(seen) < LAYER_GONE)
    }
}

/// Layers of those rids, smallest picture first. LiveKit names them `q`, `h`, `f`; other names keep their order.
pub fn layers_of(rids: &[String]) -> Vec<Layer> {
    if rids.is_empty() {
        return vec![Layer::default()];
    }
    let mut rids = rids.to_vec();
    rids.sort_by_key(|rid| match rid.as_str() {
        "q" => 0,
        "h" => 1,
        "f" => 2,
        _ => 3,
    });
    rids.into_iter()
        .map(|rid| Layer {
            rid: Some(rid),
            ..Layer::default()
        })
        .collect()
}

/// The layer a leg should carry: the highest that flows and isn't over what the subscriber asked for, else the
/// lowest that flows.
pub fn choose(layers: &[Layer], ceiling: usize, now: Instant) -> Option<usize> {
    let alive = || (0..layers.len()).filter(|i| layers[*i].alive(now));
    alive().rfind(|i| *i <= ceiling).or_else(|| alive().next())
}

/// A packet as it goes out.
#[derive(Debug)]
pub struct Rewritten {
    /// Outgoing sequence number.
    pub seq: u64,
    /// Outgoing timestamp.
    pub timestamp: u32,
    /// Change of the VP8 descriptor.
    pub patch: Option<Vp8Patch>,
}

/// A packet as it came in.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// Index of its layer.
    pub layer: usize,
    /// Its place on the layer's timeline.
    pub numbers: Numbers,
    /// Payload.
    pub payload: &'a [u8],
}

/// The video of one leg.
#[derive(Debug)]
pub struct VideoLeg {
    format: VideoFormat,
    waiting_since: Option<Instant>,
    current: Option<usize>,
    /// That of the stream which goes out now.
    generation: u32,
    map: SequenceMap,
    next_seq: u64,
    timestamp_offset: u32,
    last: Option<(u32, Instant)>,
    picture_offset: u16,
    last_picture: Option<u16>,
    base_offset: u8,
    last_base: Option<u8>,
}

impl VideoLeg {
    /// A leg whose first packet gets that number, and a timestamp after `last` when the line carried something
    /// before.
    pub fn new(format: VideoFormat, next_seq: u64, last: Option<(u32, Instant)>) -> Self {
        Self {
            format,
            waiting_since: None,
            current: None,
            generation: 0,
            map: SequenceMap::new(0, next_seq),
            next_seq,
            timestamp_offset: 0,
            last,
            picture_offset: 0,
            last_picture: None,
            base_offset: 0,
            last_base: None,
        }
    }

    /// The layer that goes out now.
    pub fn current(&self) -> Option<usize> {
        self.current
    }

    /// Where the next leg on the same line has to go on.
    pub fn end(&self) -> (u64, Option<(u32, Instant)>) {
        (self.next_seq, self.last)
    }

    /// What goes out for this packet, given the layer that should be carried.
    pub fn handle(&mut self, now: Instant, target: Option<usize>, packet: Incoming<'_>) -> Option<Rewritten> {
        if packet.payload.is_empty() {
            if self.current == Some(packet.layer) {
                self.map.drop(packet.numbers.seq);
            }
            return None;
        }
        if self.current == Some(packet.layer) && self.generation != packet.numbers.generation {
            // An encoder that started anew refers to pictures that nobody has.
            self.current = None;
        }
        if self.current != Some(packet.layer) {
            let wanted = target == Some(packet.layer) || self.current.is_none();
            if !wanted || !self.may_start(now, packet.payload) {
                return None;
            }
            self.switch(now, packet);
        }
        let seq = self.map.map(packet.numbers.seq)?;
        self.next_seq = self.next_seq.max(seq + 1);
        let timestamp = packet.numbers.timestamp.wrapping_add(self.timestamp_offset);
        if self
            .last
            .is_none_or(|(last, _)| timestamp.wrapping_sub(last) < 1 << 31)
        {
            self.last = Some((timestamp, now));
        }
        Some(Rewritten {
            seq,
            timestamp,
            patch: self.patch(packet.payload),
        })
    }

    fn may_start(&mut self, now: Instant, payload: &[u8]) -> bool {
        match self.format.starts_keyframe(payload) {
            None | Some(true) => true,
            Some(false) => {
                let since = *self.waiting_since.get_or_insert(now);
                self.current.is_none() && now.saturating_duration_since(since) >= START_ANYWAY
            }
        }
    }

    fn switch(&mut self, now: Instant, packet: Incoming<'_>) {
        self.current = Some(packet.layer);
        self.generation = packet.numbers.generation;
        self.waiting_since = None;
        self.map = SequenceMap::new(packet.numbers.seq, self.next_seq);
        self.timestamp_offset = match self.last {
            Some((last, at)) => {
                let elapsed = now.saturating_duration_since(at).as_micros() as u64 * 9 / 100;
                // At least one tick on: two pictures must not share a timestamp.
                last.wrapping_add(elapsed.max(1) as u32)
                    .wrapping_sub(packet.numbers.timestamp)
            }
            None => 0,
        };
        if let (VideoFormat::Vp8, Ok(descriptor)) = (self.format, Vp8Descriptor::parse(packet.payload)) {
            let next = |last: u16| last.wrapping_add(1);
            if let (Some(last), Some(id)) = (self.last_picture, descriptor.picture_id()) {
                self.picture_offset = next(last).wrapping_sub(id);
            }
            if let (Some(last), Some(id)) = (self.last_base, descriptor.tl0_pic_idx()) {
                self.base_offset = last.wrapping_add(1).wrapping_sub(id);
            }
        }
    }

    fn patch(&mut self, payload: &[u8]) -> Option<Vp8Patch> {
        if self.format != VideoFormat::Vp8 {
            return None;
        }
        let descriptor = Vp8Descriptor::parse(payload).ok()?;
        let mut patch = descriptor.patch();
        let mut short = patch;
        if let Some(id) = descriptor.picture_id() {
            let id = id.wrapping_add(self.picture_offset);
            self.last_picture = Some(id & PICTURE_ID_15);
            patch = patch.picture_id(id & PICTURE_ID_15);
            short = short.picture_id(id & PICTURE_ID_7);
        }
        if let Some(id) = descriptor.tl0_pic_idx() {
            let id = id.wrapping_add(self.base_offset);
            self.last_base = Some(id);
            patch = patch.tl0_pic_idx(id);
            short = short.tl0_pic_idx(id);
        }
        if self.picture_offset == 0 && self.base_offset == 0 {
            return None;
        }
        patch.build().or_else(|_| short.build()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vp8(picture: u16, base: u8, key: bool) -> Vec<u8> {
        let [high, low] = (0x8000 | picture).to_be_bytes();
        vec![
            0x90,
            0xe0,
            high,
            low,
            base,
            0x20,
            if key { 0x10 } else { 0x11 },
            1,
            2,
        ]
    }

    fn packet(layer: usize, seq: u64, timestamp: u32, payload: &[u8]) -> Incoming<'_> {
        of_generation(0, layer, (seq, timestamp), payload)
    }

    fn of_generation(
        generation: u32,
        layer: usize,
        (seq, timestamp): (u64, u32),
        payload: &[u8],
    ) -> Incoming<'_> {
        let numbers = Numbers {
            seq,
            timestamp,
            generation,
        };
        Incoming {
            layer,
            numbers,
            payload,
        }
    }

    #[test]
    fn an_encoder_that_starts_anew_is_shown_from_its_first_keyframe_on() {
        let now = Instant::now();
        let later = now + Duration::from_millis(33);
        let mut leg = VideoLeg::new(VideoFormat::Vp8, 0, None);
        leg.handle(now, Some(0), packet(0, 50, 1000, &vp8(7, 3, true)))
            .unwrap();
        let (broken, whole) = (vp8(90, 40, false), vp8(91, 41, true));
        let packet = of_generation(1, 0, (51, 3970), &broken);
        assert!(leg.handle(later, Some(0), packet).is_none());
        assert_eq!(leg.current(), None, "which asks for a keyframe");
        let packet = of_generation(1, 0, (52, 3970), &whole);
        let out = leg.handle(later, Some(0), packet).unwrap();
        assert_eq!((out.seq, out.timestamp), (1, 3970));
        assert_eq!((leg.last_picture, leg.last_base), (Some(8), Some(4)));
    }

    #[test]
    fn a_leg_begins_with_a_keyframe() {
        let now = Instant::now();
        let mut leg = VideoLeg::new(VideoFormat::Vp8, 10, None);
        assert!(
            leg.handle(now, Some(0), packet(0, 500, 9000, &vp8(1, 1, false)))
                .is_none()
        );
        let out = leg
            .handle(now, Some(0), packet(0, 501, 9000, &vp8(2, 1, true)))
            .unwrap();
        assert_eq!((out.seq, out.timestamp), (10, 9000));
    }

    #[test]
    fn a_leg_without_keyframes_starts_after_two_seconds_all_the_same() {
        let now = Instant::now();
        let mut leg = VideoLeg::new(VideoFormat::H264, 0, None);
        assert!(leg.handle(now, Some(0), packet(0, 1, 0, &[0x41, 0])).is_none());
        let later = now + START_ANYWAY;
        assert!(leg.handle(later, Some(0), packet(0, 2, 0, &[0x41, 0])).is_some());
    }

    #[test]
    fn the_old_layer_goes_on_until_the_new_one_has_a_keyframe_and_numbers_stay_unbroken() {
        let now = Instant::now();
        let at = |ms| now + Duration::from_millis(ms);
        let mut leg = VideoLeg::new(VideoFormat::Vp8, 0, None);
        leg.handle(at(0), Some(0), packet(0, 50, 1000, &vp8(7, 3, true)))
            .unwrap();
        assert!(
            leg.handle(at(33), Some(1), packet(1, 900, 5_000_000, &vp8(90, 40, false)))
                .is_none()
        );
        let still = leg
            .handle(at(33), Some(1), packet(0, 51, 3970, &vp8(8, 4, false)))
            .unwrap();
        assert_eq!(still.seq, 1);
        let up = leg
            .handle(at(66), Some(1), packet(1, 901, 5_002_970, &vp8(91, 41, true)))
            .unwrap();
        assert_eq!(up.seq, 2);
        assert_eq!(up.timestamp, 3970 + 33 * 90);
        assert!(up.patch.is_some());
        assert!(
            leg.handle(at(67), Some(1), packet(0, 52, 6940, &vp8(9, 5, false)))
                .is_none()
        );
        assert_eq!(leg.last_picture, Some(9));
        assert_eq!(leg.last_base, Some(5));
    }

    #[test]
    fn a_vanished_layer_is_replaced_by_the_best_that_flows() {
        let now = Instant::now();
        let mut layers = layers_of(&["f".into(), "q".into(), "h".into()]);
        assert_eq!(choose(&layers, 2, now), None);
        layers[0].seen = Some(now);
        layers[2].seen = Some(now);
        assert_eq!(choose(&layers, 2, now), Some(2));
        assert_eq!(choose(&layers, 1, now), Some(0));
        let later = now + LAYER_GONE;
        layers[0].seen = Some(later);
        assert_eq!(choose(&layers, 2, later), Some(0));
    }

    #[test]
    fn every_truncation_of_a_payload_is_survived() {
        let stap = [24, 0, 2, 0x67, 1, 0, 3, 0x65, 1, 2];
        assert!(h264_keyframe(&stap));
        assert!(h264_keyframe(&[28, 0x85]));
        assert!(!h264_keyframe(&[28, 0x05]));
        let vp8 = vp8(1, 1, true);
        for length in 0..stap.len() {
            h264_keyframe(&stap[..length]);
        }
        for length in 0..vp8.len() {
            VideoFormat::Vp8.starts_keyframe(&vp8[..length]);
        }
    }
}
