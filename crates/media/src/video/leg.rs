//! How a leg gets from one selection to the next, and how its packets are renumbered.

use std::time::{Duration, Instant};

use str0m::rtp::Vp8Patch;

use super::numbers::PictureNumbers;
use super::picture::{LEVELS, Picture};
use super::select::Selection;
use super::thinning::Thinning;
use crate::arrival::Numbers;
use crate::sequence::SequenceMap;

/// Least time between two keyframe requests for one layer.
pub const KEYFRAME_REQUEST_PAUSE: Duration = Duration::from_millis(500);

/// A leg that has seen no keyframe for so long starts with whatever comes: a broken picture heals, none doesn't.
const START_ANYWAY: Duration = Duration::from_secs(2);

/// Packets of one picture that may be lost in one go and are still taken for its own.
const MOST_LOST: usize = 64;

/// A packet as it goes out.
#[derive(Debug)]
pub struct Rewritten {
    /// Outgoing sequence number.
    pub seq: u64,
    /// Outgoing timestamp.
    pub timestamp: u32,
    /// Change of the VP8 descriptor.
    pub patch: Option<Vp8Patch>,
    /// Whether only its number goes out, because that was kept for it and receivers would wait.
    pub hollow: bool,
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
    /// What that says.
    pub picture: Picture,
}

/// The video of one leg.
#[derive(Debug)]
pub struct VideoLeg {
    waiting_since: Option<Instant>,
    current: Option<usize>,
    /// That of the stream which goes out now.
    generation: u32,
    map: SequenceMap,
    next_seq: u64,
    timestamp_offset: u32,
    last: Option<(u32, Instant)>,
    thinning: Thinning,
    pictures: PictureNumbers,
    /// The last packet left out.
    left_out: Option<Numbers>,
}

impl VideoLeg {
    /// A leg whose first packet gets that number, and a timestamp after `last` when the line carried something
    /// before.
    pub fn new(next_seq: u64, last: Option<(u32, Instant)>) -> Self {
        Self {
            waiting_since: None,
            current: None,
            generation: 0,
            map: SequenceMap::new(0, next_seq),
            next_seq,
            timestamp_offset: 0,
            last,
            thinning: Thinning::default(),
            pictures: PictureNumbers::default(),
            left_out: None,
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

    /// Whether it gets to what is selected by a keyframe only.
    pub fn needs_keyframe(&self, now: Instant, selection: Selection) -> bool {
        self.current != Some(selection.layer) || self.thinning.needs_keyframe(now)
    }

    /// What goes out for this packet, given what should be carried.
    pub fn handle(
        &mut self,
        now: Instant,
        selection: Option<Selection>,
        packet: &Incoming<'_>,
    ) -> Option<Rewritten> {
        let level = selection.map_or(LEVELS as u8 - 1, |selection| selection.level);
        if packet.payload.is_empty() {
            return match self.current == Some(packet.layer) {
                true => self.keep_unbroken(packet.numbers),
                false => None,
            };
        }
        if self.current == Some(packet.layer) && self.generation != packet.numbers.generation {
            // An encoder that started anew refers to pictures that nobody has.
            self.current = None;
        }
        if self.current != Some(packet.layer) {
            let target = selection.map(|selection| selection.layer);
            let wanted = target == Some(packet.layer) || self.current.is_none();
            if !wanted || !self.may_start(now, packet.picture.keyframe) {
                return None;
            }
            self.switch(now, packet, level);
        }
        let picture = (packet.picture.temporal, packet.picture.keyframe == Some(true));
        if !self.thinning.takes(now, packet.numbers.timestamp, picture, level) {
            return self.leave_out(packet);
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
            patch: packet.picture.vp8.and_then(|vp8| self.pictures.patch(&vp8)),
            hollow: false,
        })
    }

    fn may_start(&mut self, now: Instant, keyframe: Option<bool>) -> bool {
        match keyframe {
            None | Some(true) => true,
            Some(false) => {
                let since = *self.waiting_since.get_or_insert(now);
                self.current.is_none() && now.saturating_duration_since(since) >= START_ANYWAY
            }
        }
    }

    fn switch(&mut self, now: Instant, packet: &Incoming<'_>, level: u8) {
        self.current = Some(packet.layer);
        self.generation = packet.numbers.generation;
        self.waiting_since = None;
        self.map = SequenceMap::new(packet.numbers.seq, self.next_seq);
        self.thinning.begin(level);
        self.left_out = None;
        self.timestamp_offset = match self.last {
            Some((last, at)) => {
                let elapsed = now.saturating_duration_since(at).as_micros() as u64 * 9 / 100;
                // At least one tick on: two pictures must not share a timestamp.
                last.wrapping_add(elapsed.max(1) as u32)
                    .wrapping_sub(packet.numbers.timestamp)
            }
            None => 0,
        };
        if let Some(vp8) = packet.picture.vp8 {
            self.pictures.begin(&vp8);
        }
    }

    /// A packet of a picture that doesn't go out.
    fn leave_out(&mut self, packet: &Incoming<'_>) -> Option<Rewritten> {
        if let Some(vp8) = packet.picture.vp8 {
            self.pictures.leave_out(&vp8);
        }
        let numbers = packet.numbers;
        // What was lost between two packets of one picture is of the same picture.
        if let Some(last) = self.left_out.replace(numbers)
            && last.timestamp == numbers.timestamp
        {
            for lost in (last.seq + 1..numbers.seq).take(MOST_LOST) {
                self.map.drop(lost);
            }
        }
        self.keep_unbroken(numbers)
    }

    /// Closes the gap where a packet isn't sent, or fills it where others have gone out behind it already.
    fn keep_unbroken(&mut self, numbers: Numbers) -> Option<Rewritten> {
        Some(Rewritten {
            seq: self.map.drop(numbers.seq)?,
            timestamp: numbers.timestamp.wrapping_add(self.timestamp_offset),
            patch: None,
            hollow: true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::picture::VideoFormat;
    use super::*;

    fn vp8(picture: u16, key: bool) -> Vec<u8> {
        let [high, low] = (0x8000 | picture).to_be_bytes();
        let base = picture as u8;
        vec![0x90, 0xe0, high, low, base, 0x20, u8::from(!key), 1, 2]
    }

    /// A leg of VP8 that should carry `target`.
    struct Bench {
        leg: VideoLeg,
        start: Instant,
        target: usize,
    }

    impl Bench {
        fn new(next_seq: u64) -> Self {
            let (leg, start) = (VideoLeg::new(next_seq, None), Instant::now());
            Self {
                leg,
                start,
                target: 0,
            }
        }

        fn send(
            &mut self,
            ms: u64,
            layer: usize,
            (generation, seq, timestamp): (u32, u64, u32),
            payload: &[u8],
        ) -> Option<Rewritten> {
            let numbers = Numbers {
                seq,
                timestamp,
                generation,
            };
            let picture = VideoFormat::Vp8.read(payload);
            let packet = Incoming {
                layer,
                numbers,
                payload,
                picture,
            };
            let selection = Selection {
                layer: self.target,
                level: 3,
            };
            let now = self.start + Duration::from_millis(ms);
            self.leg.handle(now, Some(selection), &packet)
        }
    }

    /// Picture id and base index as a descriptor of [`vp8`] has them after the change.
    fn numbers_of(out: &Rewritten, picture: u16) -> bool {
        let unchanged = VideoFormat::Vp8.read(&vp8(picture, false)).vp8.unwrap();
        out.patch == unchanged.patch(Some(picture), Some(picture as u8))
    }

    #[test]
    fn an_encoder_that_starts_anew_is_shown_from_its_first_keyframe_on() {
        let mut bench = Bench::new(0);
        bench.send(0, 0, (0, 50, 1000), &vp8(7, true)).unwrap();
        assert!(bench.send(33, 0, (1, 51, 3970), &vp8(90, false)).is_none());
        assert_eq!(bench.leg.current(), None, "which asks for a keyframe");
        let out = bench.send(33, 0, (1, 52, 3970), &vp8(91, true)).unwrap();
        assert_eq!((out.seq, out.timestamp), (1, 3970));
        let first = VideoFormat::Vp8.read(&vp8(91, true)).vp8.unwrap();
        assert_eq!(out.patch, first.patch(Some(8), Some(8)));
    }

    #[test]
    fn a_leg_begins_with_a_keyframe() {
        let mut bench = Bench::new(10);
        assert!(bench.send(0, 0, (0, 500, 9000), &vp8(1, false)).is_none());
        let out = bench.send(0, 0, (0, 501, 9000), &vp8(2, true)).unwrap();
        assert_eq!((out.seq, out.timestamp), (10, 9000));
        assert!(numbers_of(&out, 2));
    }

    #[test]
    fn a_leg_without_keyframes_starts_after_two_seconds_all_the_same() {
        let mut bench = Bench::new(0);
        assert!(bench.send(0, 0, (0, 1, 0), &vp8(1, false)).is_none());
        assert!(bench.send(2_000, 0, (0, 2, 0), &vp8(1, false)).is_some());
    }

    #[test]
    fn the_old_layer_goes_on_until_the_new_one_has_a_keyframe_and_numbers_stay_unbroken() {
        let mut bench = Bench::new(0);
        bench.send(0, 0, (0, 50, 1000), &vp8(7, true)).unwrap();
        bench.target = 1;
        assert!(bench.send(33, 1, (0, 900, 5_000_000), &vp8(90, false)).is_none());
        let still = bench.send(33, 0, (0, 51, 3970), &vp8(8, false)).unwrap();
        assert_eq!(still.seq, 1);
        let up = bench.send(66, 1, (0, 901, 5_002_970), &vp8(91, true)).unwrap();
        assert_eq!((up.seq, up.timestamp), (2, 3970 + 33 * 90));
        let first = VideoFormat::Vp8.read(&vp8(91, true)).vp8.unwrap();
        assert_eq!(up.patch, first.patch(Some(9), Some(9)));
        assert!(bench.send(67, 0, (0, 52, 6940), &vp8(9, false)).is_none());
    }

    #[test]
    fn a_packet_without_payload_takes_no_number_unless_it_was_kept_for_it() {
        let mut bench = Bench::new(0);
        bench.send(0, 0, (0, 50, 0), &vp8(7, true)).unwrap();
        assert!(bench.send(0, 0, (0, 51, 0), &[]).is_none());
        assert_eq!(bench.send(1, 0, (0, 53, 3000), &vp8(8, false)).unwrap().seq, 2);
        let late = bench.send(2, 0, (0, 52, 0), &[]).unwrap();
        assert!(late.hollow && late.seq == 1);
    }
}
