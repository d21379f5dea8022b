//! A publisher of the neural codec who pauses, heard by people with stock clients.

use auralink_codec::{Encoder, FRAME_SAMPLES, Frame, Model, NOISE_CODES};
use auralink_engine::{Coded, InKind, Processor as _};
use auralink_opus::Decoder;
use auralink_wire::aic::{AicPacket, DEFAULT_COPY_LEVELS};

use crate::support::{LEAN, coded, collect, core, submit, took};

/// RTP ticks of the publisher's packets: 80 ms.
const PACKET: u64 = 4 * 960;
const LEVELS: usize = 12;

/// Talks for two seconds, pauses for two, talks for one, in a room with a little noise.
fn sound() -> Vec<f32> {
    let mut state = 7u32;
    let mut phase = 0.0f32;
    (0..5 * 16_000)
        .map(|n| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = 0.002 * (state as f32 / u32::MAX as f32 - 0.5);
            phase += 2.0 * std::f32::consts::PI * 130.0 / 16_000.0;
            let voice: f32 = (1..16).map(|k| (k as f32 * phase).sin() / k as f32).sum();
            let talks = !(32_000..64_000).contains(&n);
            noise
                + if talks {
                    0.1 * voice * (0.6 + 0.4 * (n as f32 / 2000.0).sin())
                } else {
                    0.0
                }
        })
        .collect()
}

/// The packets that a publisher sends of it, as timestamps and payloads.
fn published() -> Vec<(u64, Vec<u8>)> {
    let model = Model::builtin().unwrap();
    let id = model.id().0;
    let mut encoder = Encoder::new(model);
    encoder.set_dtx(true);
    let mut packets = Vec::new();
    let mut noise = None;
    for (number, pcm) in sound().chunks_exact(4 * FRAME_SAMPLES).enumerate() {
        let mut packet = AicPacket::new(id, LEVELS as u8, DEFAULT_COPY_LEVELS);
        let mut talks = false;
        for frame in pcm.chunks_exact(FRAME_SAMPLES) {
            let mut codes = [0; LEVELS];
            match encoder.encode(frame, &mut codes) {
                Frame::Speech => talks = true,
                Frame::Noise(codes) => noise = Some(codes),
                Frame::Pause => {}
            }
            packet.push_frame(&codes).unwrap();
        }
        if !talks {
            let Some(codes) = noise.take() else { continue };
            packet.set_levels(NOISE_CODES as u8, DEFAULT_COPY_LEVELS);
            packet.restart(0, true);
            packet.push_frame(&codes).unwrap();
        }
        let mut payload = Vec::new();
        packet.write(&mut payload).unwrap();
        packets.push((number as u64 * PACKET, payload));
    }
    packets
}

fn loudness(pcm: &[f32]) -> f32 {
    (pcm.iter().map(|x| x * x).sum::<f32>() / pcm.len().max(1) as f32).sqrt()
}

#[test]
fn a_pause_of_a_neural_publisher_is_announced_to_stock_receivers_and_filled_with_its_noise() {
    let (mut core, woken) = core();
    let stream = core.open(&[LEAN]).unwrap();
    let packets = published();
    let pauses = packets
        .iter()
        .filter(|(_, payload)| AicPacket::parse(payload).unwrap().dtx);
    assert!(
        (4..=12).contains(&pauses.count()),
        "described every 400 ms and at the start"
    );
    assert!(packets.len() < 55, "{} of 62 packets were sent", packets.len());
    for (timestamp, payload) in &packets {
        submit(&mut core, stream, InKind::Aic, *timestamp, payload).unwrap();
    }
    let outcomes = collect(&mut core, &woken, |o| took(o) == packets.len());
    let coded: Vec<Coded> = coded(&outcomes, LEAN);

    let mut at = 0;
    let mut opus = Decoder::new(16_000, 1, 0).unwrap();
    let mut heard = Vec::new();
    let mut announced = 0;
    for packet in &coded {
        assert!(packet.timestamp >= at, "packets overlap at {}", packet.timestamp);
        let gap = packet.timestamp - at;
        assert!(
            gap == 0 || announced > 0,
            "a hole of {gap} ticks at {at} in speech"
        );
        // A receiver goes on with the noise that it knows.
        for _ in 0..gap / 960 {
            let mut more = [0.0; FRAME_SAMPLES];
            opus.conceal(FRAME_SAMPLES, &mut more).unwrap();
            heard.extend_from_slice(&more);
        }
        if packet.payload.len() == 1 {
            announced += 1;
            assert_eq!(packet.samples, 960);
        }
        let mut room = [0.0; 1920];
        let samples = opus.decode(&packet.payload, &mut room).unwrap();
        assert_eq!(samples as u64 * 3, packet.samples);
        heard.extend_from_slice(&room[..samples]);
        at = packet.timestamp + packet.samples;
    }
    assert!(announced >= 4, "{announced}");
    let background = loudness(&sound()[40_000..62_000]);
    let pause = loudness(&heard[40_000..62_000]);
    let ratio = 20.0 * (pause / background).log10();
    assert!((-8.0..=3.0).contains(&ratio), "the pause is {ratio:.1} dB off");
    assert!(loudness(&heard[66_000..78_000]) > 0.02, "the voice is back");
}
