//! A viewer who asks for fewer pictures a second.
#![allow(clippy::unwrap_used)]

mod peer;

use livekit_protocol as proto;
use peer::{Peer, in_both_shapes, serve, two, until};
use proto::signal_request::Message as Ask;
use str0m::media::MediaKind;

const FRAME: u32 = 90_000 / 30;

/// A picture of VP8 at thirty a second, every other one of a second level.
fn picture(n: u16) -> Vec<u8> {
    let [high, low] = (0x8000 | n).to_be_bytes();
    let level = (n % 2) as u8;
    let base = (n / 2) as u8;
    vec![
        0x90,
        0xe0,
        high,
        low,
        base,
        level << 6 | level << 5,
        u8::from(n > 0),
        7,
    ]
}

async fn show(anna: &mut Peer, bert: &mut Peer, n: u16) {
    anna.send("camera", u32::from(n) * FRAME, &picture(n), false)
        .await;
    for _ in 0..3 {
        anna.step().await;
        bert.step().await;
    }
}

#[tokio::test]
async fn is_sent_every_other_picture_under_unbroken_numbers_also_when_packets_come_late() {
    in_both_shapes(async |shape| {
        let server = serve().await;
        let (mut anna, mut bert) = two(&server, shape).await;
        anna.publish("camera", MediaKind::Video).await;
        until("the line is agreed", &mut [&mut anna, &mut bert], |p| {
            p[0].published("camera").is_some() && p[0].agreed("camera")
        })
        .await;
        let mut n = 0;
        while bert.heard.is_empty() {
            // Until the way is open, all that is sent is the start.
            show(&mut anna, &mut bert, 0).await;
            n += 1;
            assert!(n < 500, "nothing arrives");
        }
        let sid = anna.published("camera").unwrap().sid.clone();
        bert.ask(Ask::TrackSetting(proto::UpdateTrackSettings {
            track_sids: vec![sid],
            fps: 15,
            ..Default::default()
        }))
        .await;
        for n in 1..40 {
            show(&mut anna, &mut bert, n).await;
        }
        bert.heard.clear();
        // Each picture of the second level is overtaken by the next one of the base.
        for pair in 20..30 {
            anna.skip("camera", 1);
            show(&mut anna, &mut bert, 2 * pair + 2).await;
            anna.skip("camera", -2);
            show(&mut anna, &mut bert, 2 * pair + 1).await;
            anna.skip("camera", 1);
        }
        until("all has arrived", &mut [&mut anna, &mut bert], |p| {
            p[1].heard.len() >= 20
        })
        .await;
        let (hollow, pictures): (Vec<_>, Vec<_>) = bert.heard.iter().partition(|h| h.payload.is_empty());
        assert_eq!((hollow.len(), pictures.len()), (10, 10), "{:?}", bert.heard);
        assert!(pictures.iter().all(|h| h.payload[5] == 0), "of the base alone");
        let mut numbers: Vec<u64> = bert.heard.iter().map(|h| h.seq).collect();
        numbers.sort_unstable();
        assert!(
            numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
            "{numbers:?}"
        );
        let ids: Vec<u16> = pictures
            .iter()
            .map(|h| u16::from_be_bytes([h.payload[2], h.payload[3]]))
            .collect();
        assert!(ids.windows(2).all(|pair| pair[1] > pair[0]), "{ids:?}");
    })
    .await;
}
