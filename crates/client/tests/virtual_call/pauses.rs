//! Silence that is meant: mutes and discontinuous transmission.

use std::time::Duration;

use auralink_client::answer::LineTerms;
use auralink_client::neural::builtin;
use auralink_client::publish::Publisher;
use auralink_client::receive::Receiver;
use auralink_client::{AtEnd, AudioSource, OwnSettings};
use auralink_types::{PacketTime, SourceCodec};

use crate::support::{Call, clean, lean, losing, neural};

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

/// Two seconds of a made-up voice and three of the room it is in, again and again.
fn talker() -> Vec<f32> {
    let mut pcm = vec![0.0; 5 * 48_000];
    AudioSource::synthetic().read(0, &mut pcm[..2 * 48_000]);
    let mut state = 7u32;
    for sample in &mut pcm {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *sample += 0.002 * (state as f32 / u32::MAX as f32 - 0.5);
    }
    pcm
}

/// A call of 20 s whose publisher was told to send that.
fn call_with(dtx: bool, wish: SourceCodec, network: crate::support::Network) -> Call {
    let model = builtin().unwrap();
    let mut call = Call::new(false, network);
    let own = OwnSettings {
        dtx,
        ..OwnSettings::default()
    };
    let source = AudioSource::from_pcm(talker(), AtEnd::Loop);
    call.publisher = Publisher::new(source, own, Some(model.clone()), 0);
    call.receiver = Receiver::new(call.start, Some(model), Duration::from_millis(70)).unwrap();
    call.publisher.negotiated(&LineTerms {
        opus: Some(111),
        usedtx: true,
        receives: true,
        ..LineTerms::default()
    });
    assert!(call.publisher.hint(wish));
    call.publisher.begin(call.start);
    call.run(20_000);
    call
}

fn loudness(pcm: &[f32]) -> f32 {
    (pcm.iter().map(|x| x * x).sum::<f32>() / pcm.len() as f32).sqrt()
}

#[test]
fn pauses_cost_next_to_nothing_on_every_rung_and_sound_like_the_room() {
    for wish in [neural(PacketTime::Ms80, 3), lean(PacketTime::Ms60)] {
        let (all, some) = (call_with(false, wish, clean()), call_with(true, wish, clean()));
        let (before, after) = (all.publisher.stats(), some.publisher.stats());
        println!("{before:?}\n{after:?}");
        assert!(
            after.packets * 3 < before.packets * 2,
            "{} of {}",
            after.packets,
            before.packets
        );
        let stats = some.stats();
        assert_eq!(stats.gap_count, 0, "{:?}", stats.gaps);
        assert_eq!(
            stats.switches.len(),
            all.stats().switches.len(),
            "{:?}",
            stats.switches
        );
        assert!(stats.comfort_ms > 5_000.0, "{}", stats.comfort_ms);
        // The third talk and the third room, each away from its edges.
        let part = |call: &Call, from: f32, to: f32| {
            loudness(&call.heard[(from * 48_000.0) as usize..(to * 48_000.0) as usize])
        };
        let room = 20.0 * (part(&some, 13.0, 14.8) / part(&all, 13.0, 14.8)).log10();
        let voice = 20.0 * (part(&some, 10.5, 11.8) / part(&all, 10.5, 11.8)).log10();
        assert!(voice.abs() < 1.0, "the voice is {voice:.1} dB off");
        assert!((-10.0..=3.0).contains(&room), "the room is {room:.1} dB off");
    }
}

#[test]
fn a_lost_description_of_a_pause_leaves_no_gap_in_the_voice() {
    let call = call_with(true, neural(PacketTime::Ms80, 3), losing(|index| index % 7 == 3));
    let stats = call.stats();
    assert!(stats.packets_lost > 10);
    assert!(stats.longest_gap_ms <= 500.0, "{:?}", stats.gaps);
}
