//! Streams with a temporal hierarchy as encoders make them, thinned while the wish changes and the network loses and
//! reorders: whatever arrives in the end can be decoded, and nobody waits for anything that never comes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::picture::VideoFormat;
use super::*;
use crate::arrival::Numbers;

const TICKS: u32 = 3_000;
const PICTURES: usize = 600;

/// One place in an encoder's cycle: level, layer sync, and the pictures back that are referred to.
type Place = (u8, bool, &'static [usize]);

/// Two layers of libwebrtc.
const TWO: &[Place] = &[
    (0, false, &[4]),
    (1, true, &[1]),
    (0, false, &[2]),
    (1, false, &[1, 2]),
];

/// Three layers of libwebrtc.
const THREE: &[Place] = &[
    (0, false, &[4]),
    (2, true, &[1]),
    (1, true, &[2]),
    (2, false, &[1, 3]),
    (0, false, &[4]),
    (2, false, &[1, 3, 2]),
    (1, false, &[2, 4]),
    (2, false, &[1, 3]),
];

/// Every third picture is referred to by nobody.
const SPARE: &[Place] = &[(0, false, &[2]), (0, false, &[1]), (1, true, &[1])];

/// A picture that was made.
struct Made {
    level: u8,
    refers_to: Vec<usize>,
    packets: Vec<u64>,
}

/// A stream that was encoded: its pictures, and its packets in their order.
struct Stream {
    pictures: Vec<Made>,
    /// Number, picture and payload.
    packets: Vec<(u64, usize, Vec<u8>)>,
}

fn payload(format: VideoFormat, n: usize, (level, sync, _): Place, base: u8, first: bool) -> Vec<u8> {
    let key = n == 0;
    match format {
        VideoFormat::Vp8 => {
            let [high, low] = (0x8000 | (0x7f00 + n as u16) & 0x7fff).to_be_bytes();
            let start = if first { 0x10 } else { 0 };
            let octet = level << 6 | u8::from(sync) << 5;
            vec![0x80 | start, 0xe0, high, low, base, octet, u8::from(!key), 9]
        }
        _ => vec![
            if key {
                0x65
            } else if level == 0 {
                0x41
            } else {
                0x01
            },
            9,
        ],
    }
}

fn encode(format: VideoFormat, cycle: &[Place], random: &mut StdRng) -> Stream {
    let (mut pictures, mut packets) = (Vec::new(), Vec::new());
    let (mut seq, mut base) = (40_000, 250_u8);
    for n in 0..PICTURES {
        let place = cycle[n % cycle.len()];
        base = base.wrapping_add(u8::from(place.0 == 0));
        let of_it: Vec<u64> = (seq..seq + random.random_range(1..4)).collect();
        seq += of_it.len() as u64;
        let refers_to = place.2.iter().filter_map(|back| n.checked_sub(*back)).collect();
        for number in &of_it {
            packets.push((*number, n, payload(format, n, place, base, *number == of_it[0])));
        }
        pictures.push(Made {
            level: place.0,
            refers_to,
            packets: of_it,
        });
    }
    Stream { pictures, packets }
}

/// What a receiver got: by outgoing number, the picture and the packet, or nothing for a hollow one.
type Got = BTreeMap<u64, Option<(usize, u64)>>;

struct Trip {
    got: Got,
    /// Outgoing numbers of pictures.
    numbers: BTreeMap<usize, u16>,
}

fn forward(format: VideoFormat, order: &[(u64, usize, Vec<u8>)], wish: impl Fn(usize) -> u8) -> Trip {
    let start = Instant::now();
    let mut leg = VideoLeg::new(100, None);
    let mut trip = Trip {
        got: Got::new(),
        numbers: BTreeMap::new(),
    };
    for (seq, n, payload) in order {
        let numbers = Numbers {
            seq: *seq,
            timestamp: (*n as u32).wrapping_mul(TICKS).wrapping_add(u32::MAX - 90_000),
            generation: 0,
        };
        let packet = Incoming {
            layer: 0,
            numbers,
            payload,
            picture: format.read(payload),
        };
        let level = wish(*n);
        let now = start + Duration::from_millis(33 * *n as u64);
        let Some(out) = leg.handle(now, Some(Selection { layer: 0, level }), &packet) else {
            continue;
        };
        let what = (!out.hollow).then_some((*n, *seq));
        assert!(
            trip.got.insert(out.seq, what).is_none(),
            "number {} twice",
            out.seq
        );
        if out.hollow {
            continue;
        }
        if let Some(vp8) = packet.picture.vp8 {
            let id = vp8.picture.unwrap().value;
            // Thinning only takes away: a picture's number is its own or one before.
            let number = (0..=*n as u16)
                .map(|back| id.wrapping_sub(back) & 0x7fff)
                .find(|number| vp8.patch(Some(*number), vp8.base) == out.patch)
                .expect("a number of a picture, and the base's own");
            let known = *trip.numbers.entry(*n).or_insert(number);
            assert_eq!(known, number, "one picture, one number");
        }
    }
    trip
}

/// Every picture that went out did so whole and with what it refers to, but for what was lost on the way in.
fn assert_decodable(stream: &Stream, trip: &Trip, lost: &BTreeSet<u64>) -> BTreeSet<usize> {
    let packets: BTreeSet<u64> = trip.got.values().flatten().map(|(_, seq)| *seq).collect();
    let sent: BTreeSet<usize> = trip.got.values().flatten().map(|(n, _)| *n).collect();
    for n in &sent {
        let made = &stream.pictures[*n];
        for packet in made.packets.iter().filter(|packet| !lost.contains(packet)) {
            assert!(packets.contains(packet), "picture {n} has a hole");
        }
        for other in &made.refers_to {
            let gone = stream.pictures[*other]
                .packets
                .iter()
                .all(|packet| lost.contains(packet));
            assert!(
                sent.contains(other) || gone,
                "picture {n} refers to {other}, which was left out"
            );
        }
    }
    sent
}

fn missing(got: &Got) -> usize {
    let last = *got.keys().next_back().unwrap();
    (100..=last).filter(|number| !got.contains_key(number)).count()
}

/// A wish that changes every forty pictures.
fn moody(random: &mut StdRng) -> impl Fn(usize) -> u8 + use<> {
    let moods: Vec<u8> = (0..=PICTURES / 40).map(|_| random.random_range(0..4)).collect();
    move |n| moods[n / 40]
}

fn streams() -> impl Iterator<Item = (VideoFormat, &'static [Place], StdRng)> {
    let kinds = [
        (VideoFormat::Vp8, TWO),
        (VideoFormat::Vp8, THREE),
        (VideoFormat::Vp8, SPARE),
        (VideoFormat::H264, SPARE),
    ];
    (0..20).flat_map(move |seed| kinds.map(|(format, cycle)| (format, cycle, StdRng::seed_from_u64(seed))))
}

#[test]
fn a_thinned_stream_has_unbroken_numbers_and_refers_to_nothing_left_out() {
    for (format, cycle, mut random) in streams() {
        let stream = encode(format, cycle, &mut random);
        let wish = moody(&mut random);
        let trip = forward(format, &stream.packets, &wish);
        let sent = assert_decodable(&stream, &trip, &BTreeSet::new());
        assert_eq!(missing(&trip.got), 0);
        assert!(
            trip.got.values().all(Option::is_some),
            "nothing hollow where nothing was late"
        );
        assert!(sent.iter().all(|n| stream.pictures[*n].level <= wish(*n)));
        let numbers: Vec<u16> = trip.numbers.values().copied().collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == (pair[0] + 1) & 0x7fff));
        // Two cycles after the wish has changed all that is wanted goes out.
        for n in (0..PICTURES).filter(|n| n % 40 >= 2 * cycle.len()) {
            let wanted = stream.pictures[n].level <= wish(n);
            assert_eq!(sent.contains(&n), wanted, "{format:?} picture {n}");
        }
    }
}

#[test]
fn what_comes_late_finds_its_place_and_no_number_is_waited_for_in_vain() {
    for (format, cycle, mut random) in streams() {
        let stream = encode(format, cycle, &mut random);
        let mut order: Vec<_> = stream.packets.iter().cloned().enumerate().collect();
        for (at, _) in order.iter_mut().skip(4) {
            if random.random_bool(0.1) {
                *at += random.random_range(1..20);
            }
        }
        order.sort_by_key(|(at, _)| *at);
        let order: Vec<_> = order.into_iter().map(|(_, packet)| packet).collect();
        let trip = forward(format, &order, moody(&mut random));
        assert_decodable(&stream, &trip, &BTreeSet::new());
        assert_eq!(missing(&trip.got), 0);
        let numbers: Vec<u16> = trip.numbers.values().copied().collect();
        assert!(
            numbers
                .windows(2)
                .all(|pair| (pair[1].wrapping_sub(pair[0]) & 0x7fff) - 1 < 20)
        );
    }
}

#[test]
fn what_never_comes_leaves_no_larger_gap_than_it_had() {
    for (format, cycle, mut random) in streams() {
        let stream = encode(format, cycle, &mut random);
        let mut order = stream.packets.clone();
        order.retain(|(seq, ..)| *seq < 40_004 || !random.random_bool(0.03));
        let there: BTreeSet<u64> = order.iter().map(|(seq, ..)| *seq).collect();
        let all = stream.packets.iter().map(|(seq, ..)| *seq);
        let lost: BTreeSet<u64> = all.filter(|seq| !there.contains(seq)).collect();
        let trip = forward(format, &order, moody(&mut random));
        assert_decodable(&stream, &trip, &lost);
        assert!(missing(&trip.got) <= lost.len());
    }
}
