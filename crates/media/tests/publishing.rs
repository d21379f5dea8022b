//! Tracks as browsers and gateways publish them: ids that differ, lines used again, streams that start anew.
#![allow(clippy::unwrap_used)]

mod peer;

use std::time::{Duration, Instant};

use livekit_protocol as proto;
use peer::{Heard, Peer, Shape, in_both_shapes, serve, speak, two, until};
use proto::signal_request::Message as Ask;
use str0m::media::MediaKind;

/// Sends until something arrives that the test names.
async fn heard(anna: &mut Peer, bert: &mut Peer, cid: &str, text: &[u8]) -> Heard {
    for step in 0..500u32 {
        anna.send(cid, 960 * step, text, false).await;
        for _ in 0..3 {
            anna.step().await;
            bert.step().await;
        }
        if let Some(heard) = bert.heard.iter().find(|heard| heard.payload == text) {
            return heard.clone();
        }
    }
    panic!("{} never arrives", String::from_utf8_lossy(text));
}

async fn agreed(anna: &mut Peer, bert: &mut Peer, cid: &str) {
    until("the line is agreed", &mut [anna, bert], |p| p[0].agreed(cid)).await;
}

#[tokio::test]
async fn a_line_whose_track_id_was_never_announced_carries_the_oldest_track_of_its_kind() {
    in_both_shapes(async |shape| {
        let server = serve().await;
        let (mut anna, mut bert) = two(&server, shape).await;
        anna.announce("{mic}", MediaKind::Audio, Default::default()).await;
        anna.offer_line("{mic}", "random", MediaKind::Audio).await;
        agreed(&mut anna, &mut bert, "{mic}").await;
        let heard = heard(&mut anna, &mut bert, "{mic}", b"hello").await;
        let sid = anna.published("{mic}").unwrap().sid.clone();
        until("the line is told", &mut [&mut anna, &mut bert], |p| {
            p[1].tracks.get(&heard.mid) == Some(&sid)
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_line_used_again_carries_a_stream_that_was_never_announced() {
    in_both_shapes(async |shape| {
        let server = serve().await;
        let (mut anna, mut bert) = two(&server, shape).await;
        let mut streams = Vec::new();
        for round in 0..3 {
            let cid = format!("mic-{round}");
            anna.publish(&cid, MediaKind::Audio).await;
            agreed(&mut anna, &mut bert, &cid).await;
            let heard = heard(&mut anna, &mut bert, &cid, cid.as_bytes()).await;
            streams.push((heard.mid, heard.ssrc));
            let line = heard.mid.to_string();
            until("the SSRC is announced", &mut [&mut anna, &mut bert], |p| {
                let ssrc = format!("a=ssrc:{} ", heard.ssrc);
                p[1].last_of_line(&line).is_some_and(|of| of.contains(&ssrc))
            })
            .await;
            anna.unpublish(&cid).await;
            until("the line is inactive", &mut [&mut anna, &mut bert], |p| {
                p[0].agreed(&cid)
                    && p[1]
                        .last_of_line(&line)
                        .is_some_and(|of| of.contains("a=inactive"))
            })
            .await;
        }
        assert!(streams.iter().all(|(mid, _)| *mid == streams[0].0), "{streams:?}");
        let mut ssrcs: Vec<u32> = streams.iter().map(|(_, ssrc)| *ssrc).collect();
        ssrcs.dedup();
        assert_eq!(ssrcs.len(), 3, "{streams:?}");
    })
    .await;
}

#[tokio::test]
async fn a_line_that_its_client_keeps_inactive_is_not_used_for_what_others_publish() {
    let server = serve().await;
    let (mut anna, mut bert) = two(&server, peer::Shape::One).await;
    // Bert's own line, the only idle one once four people talk to him.
    speak(&mut bert, &mut anna).await;
    bert.unpublish("mic").await;
    until("it is answered", &mut [&mut anna, &mut bert], |p| {
        p[1].agreed("mic")
    })
    .await;
    let mut cids: Vec<String> = (0..4).map(|n| format!("mic-{n}")).collect();
    for cid in &cids {
        anna.publish(cid, MediaKind::Audio).await;
        agreed(&mut anna, &mut bert, cid).await;
    }
    let own = bert.sending["mic"];
    for cid in cids.drain(..) {
        let heard = heard(&mut anna, &mut bert, &cid, cid.as_bytes()).await;
        assert_ne!(heard.mid, own);
    }
    let line = bert.last_of_line(&own.to_string()).unwrap();
    assert!(line.contains("a=inactive"), "{line}");
}

#[tokio::test]
async fn a_track_published_muted_is_shown_to_those_present_and_heard_once_it_speaks() {
    in_both_shapes(async |shape| {
        let server = serve().await;
        let (mut anna, mut bert) = two(&server, shape).await;
        let muted = proto::AddTrackRequest {
            muted: true,
            ..Default::default()
        };
        anna.announce("mic", MediaKind::Audio, muted).await;
        anna.offer_line("mic", "mic", MediaKind::Audio).await;
        agreed(&mut anna, &mut bert, "mic").await;
        until("the muted track is shown", &mut [&mut anna, &mut bert], |p| {
            p[1].info("anna").unwrap().tracks.iter().any(|track| track.muted)
        })
        .await;
        let sid = anna.published("mic").unwrap().sid.clone();
        until("it has a line", &mut [&mut anna, &mut bert], |p| {
            p[1].tracks.values().any(|track| *track == sid)
        })
        .await;
        anna.ask(Ask::Mute(proto::MuteTrackRequest { sid, muted: false }))
            .await;
        until(
            "it is still shown before it speaks",
            &mut [&mut anna, &mut bert],
            |p| p[1].info("anna").unwrap().tracks.iter().any(|track| !track.muted),
        )
        .await;
        heard(&mut anna, &mut bert, "mic", b"hello").await;
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_starts_anew_is_heard_within_200_ms_on_an_unbroken_timeline() {
    for start in [7, 1_900, 41_000] {
        let server = serve().await;
        let (mut anna, mut bert) = two(&server, peer::Shape::One).await;
        speak(&mut anna, &mut bert).await;
        bert.heard.clear();
        heard(&mut anna, &mut bert, "mic", b"before").await;
        anna.renew("mic", start);
        let changed = std::time::Instant::now();
        let after = heard(&mut anna, &mut bert, "mic", b"after").await;
        assert!(after.at - changed < Duration::from_millis(200));
        let last = bert
            .heard
            .iter()
            .rev()
            .find(|heard| heard.payload == b"before")
            .unwrap();
        assert_eq!(after.ssrc, last.ssrc);
        assert_eq!(after.seq, last.seq + 1, "a stream that starts at {start}");
        let passed = after.timestamp.wrapping_sub(last.timestamp);
        assert!(passed < 48_000, "{passed} ticks");
    }
}

#[tokio::test]
async fn only_those_whom_the_publisher_allows_get_the_track() {
    in_both_shapes(async |shape| {
        let server = serve().await;
        let (mut anna, mut bert) = two(&server, shape).await;
        speak(&mut anna, &mut bert).await;
        let sid = anna.published("mic").unwrap().sid.clone();
        let nobody = proto::SubscriptionPermission::default();
        anna.ask(Ask::SubscriptionPermission(nobody)).await;
        until("bert is told", &mut [&mut anna, &mut bert], |p| {
            p[1].allowed(&sid) == Some(false)
        })
        .await;
        for _ in 0..20 {
            anna.send("mic", 0, b"secret", false).await;
            anna.step().await;
            bert.step().await;
        }
        assert!(bert.heard.iter().all(|heard| heard.payload != b"secret"));
        let mut carl = Peer::join_shaped(&server, shape, "carl").await;
        until("carl is told, too", &mut [&mut anna, &mut bert, &mut carl], |p| {
            p[2].connected && p[2].allowed(&sid) == Some(false)
        })
        .await;
        let bert_only = proto::SubscriptionPermission {
            all_participants: false,
            track_permissions: vec![proto::TrackPermission {
                participant_identity: "bert".into(),
                track_sids: vec![sid.clone()],
                ..Default::default()
            }],
        };
        anna.ask(Ask::SubscriptionPermission(bert_only)).await;
        heard(&mut anna, &mut bert, "mic", b"for bert").await;
        assert_eq!(bert.allowed(&sid), Some(true));
        for _ in 0..10 {
            carl.step().await;
        }
        assert!(carl.heard.is_empty());
    })
    .await;
}

#[tokio::test]
async fn listeners_are_told_who_speaks_and_who_has_stopped() {
    let server = serve().await;
    let (mut anna, mut bert) = two(&server, peer::Shape::One).await;
    speak(&mut anna, &mut bert).await;
    let sid = bert.info("anna").unwrap().sid;
    // SILK at 20 ms; the first bit of its frame is the encoder's verdict.
    let (voice, silence) = ([0x48, 0x80, 1, 2, 3], [0x48, 0x00, 1, 2, 3]);
    let mut step = 0;
    for (payload, active) in [(&voice, true), (&silence, false), (&voice, true)] {
        while bert.speaks(&sid) != Some(active) {
            anna.send("mic", 960 * step, payload, false).await;
            step += 1;
            assert!(step < 1000, "nobody is told");
            for _ in 0..3 {
                anna.step().await;
                bert.step().await;
            }
        }
    }
    let mut carl = Peer::join(&server, "carl").await;
    until(
        "who comes later is told at once",
        &mut [&mut anna, &mut bert, &mut carl],
        |p| p[2].speaks(&sid) == Some(true),
    )
    .await;
    bert.ask(Ask::Subscription(proto::UpdateSubscription {
        track_sids: vec![anna.published("mic").unwrap().sid.clone()],
        subscribe: false,
        ..Default::default()
    }))
    .await;
    until(
        "carl is told that she has stopped",
        &mut [&mut anna, &mut bert, &mut carl],
        |p| p[2].speaks(&sid) == Some(false),
    )
    .await;
    assert_eq!(
        bert.speaks(&sid),
        Some(true),
        "who doesn't listen to her is not told"
    );
    assert_eq!(anna.speaks(&sid), Some(false), "she herself is");
}

#[tokio::test]
async fn a_client_whose_nat_forgot_it_hears_on_from_its_next_check_on() {
    in_both_shapes(async |shape| {
        let server = serve().await;
        let (mut anna, mut bert) = two(&server, shape).await;
        speak(&mut anna, &mut bert).await;
        bert.rebind().await;
        let forgotten = std::time::Instant::now();
        // Sent to where nobody is any more.
        bert.heard.clear();
        let mut step = 0;
        while bert.heard.is_empty() {
            anna.send("mic", 960 * step, b"again", false).await;
            step += 1;
            for _ in 0..3 {
                anna.step().await;
                bert.step().await;
            }
            assert!(
                forgotten.elapsed() < Duration::from_secs(20),
                "nothing arrives any more"
            );
        }
        println!("heard again after {:?}", forgotten.elapsed());
        assert!(anna.leave().is_none() && bert.leave().is_none());
    })
    .await;
}

#[tokio::test]
async fn who_was_silent_for_a_while_is_heard_again_as_the_same_stream_without_a_gap() {
    let server = serve().await;
    let (mut anna, mut bert) = two(&server, Shape::One).await;
    speak(&mut anna, &mut bert).await;
    for _ in 0..10 {
        anna.step().await;
        bert.step().await;
    }
    let before = bert.heard.last().unwrap();
    let (mid, ssrc, seq) = (before.mid, before.ssrc, before.seq);
    bert.heard.clear();
    // Twice as long as streams are left awake.
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(11) {
        anna.step().await;
        bert.step().await;
    }
    for number in 0..5 {
        anna.send("mic", 2_000_000 + 960 * number, b"again", false).await;
    }
    until("all of it is heard", &mut [&mut anna, &mut bert], |p| {
        p[1].heard.len() >= 5
    })
    .await;
    for (number, heard) in bert.heard.iter().enumerate() {
        assert_eq!((heard.mid, heard.ssrc), (mid, ssrc));
        assert_eq!(heard.seq, seq + 1 + number as u64);
    }
}
