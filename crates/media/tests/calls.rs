//! Whole calls through sockets: ICE, DTLS-SRTP, media and data, with one peer connection per client and with two.
#![allow(clippy::unwrap_used)]

mod peer;

use livekit_protocol as proto;
use peer::{Peer, Shape, in_both_shapes, serve, speak, two, until};
use proto::signal_request::Message as Ask;
use proto::signal_response::Message;
use str0m::format::Codec;
use str0m::media::MediaKind;

#[tokio::test]
async fn audio_arrives_byte_for_byte_and_dropped_packets_leave_no_gap() {
    in_both_shapes(async |shape| {
        let server = serve().await;
        let (mut anna, mut bert) = two(&server, shape).await;
        speak(&mut anna, &mut bert).await;
        let track = anna.published("mic").unwrap().sid.clone();
        bert.heard.clear();
        let mut sent = Vec::new();
        for i in 0..40u32 {
            // Chromium's bandwidth probes have no payload.
            let empty = i % 5 == 4;
            let payload = if empty {
                Vec::new()
            } else {
                vec![i as u8; 3 + i as usize]
            };
            anna.send("mic", 1_000_000 + 960 * i, &payload, i % 2 == 1).await;
            if !empty {
                sent.push(payload);
            }
            anna.step().await;
            bert.step().await;
        }
        until("everything is heard", &mut [&mut anna, &mut bert], |p| {
            p[1].heard.len() >= sent.len()
        })
        .await;
        let heard: Vec<Vec<u8>> = bert.heard.iter().map(|heard| heard.payload.clone()).collect();
        assert_eq!(heard, sent);
        assert!(
            bert.heard.windows(2).all(|pair| pair[1].seq == pair[0].seq + 1),
            "the numbers have a gap"
        );
        assert!(bert.heard.iter().all(|heard| heard.codec == Codec::Opus));
        assert_eq!(
            bert.heard.iter().filter(|heard| heard.red).count(),
            16,
            "RED stays RED"
        );
        assert_eq!(bert.tracks[&bert.heard[0].mid], track);
        let stats = server.media.stats().await.unwrap();
        assert_eq!(stats.counters.empty, 8);
        assert!(stats.delays.quantile(0.99).is_some());
    })
    .await;
}

#[tokio::test]
async fn a_track_unsubscribed_and_subscribed_again_flows_again_on_a_line_that_was_inactive_between() {
    in_both_shapes(async |shape| {
        let server = serve().await;
        let (mut anna, mut bert) = two(&server, shape).await;
        speak(&mut anna, &mut bert).await;
        let sid = anna.published("mic").unwrap().sid.clone();
        for _ in 0..3 {
            let line = bert.heard.last().unwrap().mid.to_string();
            let want = |subscribe| {
                Ask::Subscription(proto::UpdateSubscription {
                    track_sids: vec![sid.clone()],
                    subscribe,
                    ..Default::default()
                })
            };
            // Media may overtake the description that announces it: the last one said so far may be the `inactive` of the
            // round before. Only what is said after the request tells that the request was obeyed.
            let inactive = |p: &Peer| p.last_of_line(&line).is_some_and(|of| of.contains("a=inactive"));
            println!("media had overtaken its description: {}", inactive(&bert));
            let told = bert.told.len();
            bert.ask(want(false)).await;
            until("the line is inactive", &mut [&mut anna, &mut bert], |p| {
                p[1].told.len() > told && inactive(p[1])
            })
            .await;
            bert.heard.clear();
            anna.send("mic", 0, b"unheard", false).await;
            for _ in 0..5 {
                anna.step().await;
                bert.step().await;
            }
            assert!(bert.heard.iter().all(|packet| packet.payload[..] != *b"unheard"));
            bert.heard.clear();
            bert.ask(want(true)).await;
            let mut timestamp = 0;
            while bert.heard.is_empty() {
                anna.send("mic", timestamp, b"again", false).await;
                timestamp += 960;
                anna.step().await;
                bert.step().await;
                assert!(timestamp < 960 * 500, "nothing arrives any more");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_track_let_go_and_wanted_again_at_once_comes_back_on_a_line_that_was_inactive_between() {
    in_both_shapes(async |shape| {
        let server = serve().await;
        let (mut anna, mut bert) = two(&server, shape).await;
        speak(&mut anna, &mut bert).await;
        let sid = anna.published("mic").unwrap().sid.clone();
        let line = format!("a=mid:{}\r\n", bert.heard.last().unwrap().mid);
        let told = bert.told.len();
        for subscribe in [false, true] {
            let request = proto::UpdateSubscription {
                track_sids: vec![sid.clone()],
                subscribe,
                ..Default::default()
            };
            bert.ask(Ask::Subscription(request)).await;
        }
        until("the line is inactive once", &mut [&mut anna, &mut bert], |p| {
            let mut lines = p[1].told[told..].iter().flat_map(|sdp| sdp.split("m="));
            lines.any(|part| part.contains(&line) && part.contains("a=inactive"))
        })
        .await;
        bert.heard.clear();
        let mut timestamp = 0;
        while bert.heard.is_empty() {
            anna.send("mic", timestamp, b"again", false).await;
            timestamp += 960;
            anna.step().await;
            bert.step().await;
            assert!(timestamp < 960 * 500, "nothing arrives any more");
        }
    })
    .await;
}

#[tokio::test]
async fn twenty_tracks_all_get_a_line() {
    in_both_shapes(async |shape| {
        let server = serve().await;
        let (mut anna, mut bert) = two(&server, shape).await;
        let cids: Vec<String> = (0..20).map(|i| format!("mic-{i}")).collect();
        for cid in &cids {
            let answers = anna.answers.len();
            anna.publish(cid, MediaKind::Audio).await;
            until("the track is answered", &mut [&mut anna, &mut bert], |p| {
                p[0].answers.len() > answers
            })
            .await;
        }
        let mut rounds = 0;
        loop {
            let mut tracks: Vec<&String> = bert
                .heard
                .iter()
                .filter_map(|heard| bert.tracks.get(&heard.mid))
                .collect();
            tracks.sort();
            tracks.dedup();
            if tracks.len() == cids.len() {
                break;
            }
            rounds += 1;
            assert!(rounds < 500, "only {} tracks arrive", tracks.len());
            for cid in &cids {
                anna.send(cid, 960 * rounds, cid.as_bytes(), false).await;
            }
            for _ in 0..4 {
                anna.step().await;
                bert.step().await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_track_that_is_unpublished_frees_its_line_for_the_next() {
    in_both_shapes(async |shape| {
        let server = serve().await;
        let (mut anna, mut bert) = two(&server, shape).await;
        speak(&mut anna, &mut bert).await;
        anna.unpublish("mic").await;
        until("it is gone", &mut [&mut anna, &mut bert], |p| {
            p[1].info("anna").unwrap().tracks.is_empty()
        })
        .await;
        let stats = server.media.stats().await.unwrap();
        assert_eq!(stats.tracks, 0);
    })
    .await;
}

#[tokio::test]
async fn data_reaches_whom_it_is_for_with_the_senders_name() {
    in_both_shapes(async |shape| {
        let server = serve().await;
        let (mut anna, mut bert) = two(&server, shape).await;
        let mut carl = Peer::join_shaped(&server, shape, "carl").await;
        until(
            "all channels are open",
            &mut [&mut anna, &mut bert, &mut carl],
            |p| p.iter().all(|p| p.channels.len() == 2 && p.ears == 2),
        )
        .await;
        let packet = |text: &str, to: &[&str]| {
            let user = proto::UserPacket {
                payload: text.into(),
                ..Default::default()
            };
            proto::DataPacket {
                participant_identity: "the king".into(),
                destination_identities: to.iter().map(|to| (*to).to_owned()).collect(),
                value: Some(proto::data_packet::Value::User(user)),
                ..Default::default()
            }
        };
        anna.say("_reliable", &packet("to carl", &["carl"])).await;
        anna.say("_reliable", &packet("to all", &[])).await;
        until(
            "what is reliable is there",
            &mut [&mut anna, &mut bert, &mut carl],
            |p| p[2].data.len() == 2 && p[1].data.len() == 1,
        )
        .await;
        // By now the server knows that the other channel, opened with this one, is open as well.
        anna.say("_lossy", &packet("lossy", &[])).await;
        until("carl has three", &mut [&mut anna, &mut bert, &mut carl], |p| {
            p[2].data.len() == 3 && p[1].data.len() == 2
        })
        .await;
        assert!(
            carl.data
                .iter()
                .chain(&bert.data)
                .all(|data| data.participant_identity == "anna")
        );
        assert!(anna.data.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_message_of_64_kib_arrives_and_a_larger_one_harms_nobody() {
    in_both_shapes(async |shape| {
        let server = serve().await;
        let (mut anna, mut bert) = two(&server, shape).await;
        until("all channels are open", &mut [&mut anna, &mut bert], |p| {
            p.iter().all(|p| p.channels.len() == 2 && p.ears == 2)
        })
        .await;
        let packet = |bytes: usize| {
            let user = proto::UserPacket {
                payload: vec![7; bytes],
                ..Default::default()
            };
            proto::DataPacket {
                value: Some(proto::data_packet::Value::User(user)),
                ..Default::default()
            }
        };
        let around = prost::Message::encoded_len(&packet(65_000)) - 65_000;
        anna.say("_reliable", &packet(65_536 - around)).await;
        anna.say("_reliable", &packet(90_000)).await;
        anna.say("_reliable", &packet(3)).await;
        until(
            "the large and the small one are there",
            &mut [&mut anna, &mut bert],
            |p| p[1].data.len() == 2,
        )
        .await;
        let stats = server.media.stats().await.unwrap();
        assert_eq!(stats.counters.data_dropped, 1);
        assert_eq!(stats.participants, 2);
    })
    .await;
}

#[tokio::test]
async fn video_starts_with_the_keyframe_that_the_server_asks_for_and_arrives_byte_for_byte() {
    in_both_shapes(async |shape| {
        let server = serve().await;
        let (mut anna, mut bert) = two(&server, shape).await;
        anna.publish("camera", MediaKind::Video).await;
        until("the track is answered", &mut [&mut anna, &mut bert], |p| {
            p[0].answers.len() > 1
        })
        .await;
        let mut id = 0;
        // Without a keyframe nothing may come, but the publisher must be asked for one.
        while anna.keyframes.is_empty() || bert.tracks.is_empty() {
            anna.send("camera", 3000 * u32::from(id), &picture(id, false), false)
                .await;
            id += 1;
            anna.step().await;
            bert.step().await;
            assert!(id < 300, "nobody asks for a keyframe");
        }
        assert_eq!(anna.keyframes[0], anna.sending["camera"]);
        bert.heard.clear();
        let mut sent = Vec::new();
        for i in 0..20 {
            let payload = picture(id + i, i == 0);
            anna.send("camera", 3000 * u32::from(id + i), &payload, false)
                .await;
            sent.push(payload);
            anna.step().await;
            bert.step().await;
        }
        until("every picture is there", &mut [&mut anna, &mut bert], |p| {
            p[1].heard.len() >= sent.len()
        })
        .await;
        let from = bert
            .heard
            .iter()
            .position(|heard| heard.payload == sent[0])
            .expect("the keyframe is there");
        let heard: Vec<Vec<u8>> = bert.heard[from..]
            .iter()
            .map(|heard| heard.payload.clone())
            .collect();
        assert_eq!(heard, sent);
        assert!(bert.heard.iter().all(|heard| heard.codec == Codec::Vp8));
        assert!(
            bert.heard[from..]
                .windows(2)
                .all(|pair| pair[1].seq == pair[0].seq + 1)
        );
    })
    .await;
}

/// A VP8 payload: 15-bit picture id, one temporal layer.
fn picture(id: u16, key: bool) -> Vec<u8> {
    let [high, low] = (0x8000 | id).to_be_bytes();
    vec![
        0x90,
        0xe0,
        high,
        low,
        id as u8,
        0x20,
        if key { 0x10 } else { 0x11 },
        1,
        2,
        3,
    ]
}

#[tokio::test]
async fn clients_of_one_and_of_two_connections_hear_each_other() {
    let server = serve().await;
    let mut anna = Peer::join_shaped(&server, Shape::One, "anna").await;
    let mut bert = Peer::join_shaped(&server, Shape::Two, "bert").await;
    until("both are connected", &mut [&mut anna, &mut bert], |p| {
        p.iter().all(|p| p.connected)
    })
    .await;
    speak(&mut anna, &mut bert).await;
    speak(&mut bert, &mut anna).await;
    let join = bert.join_response().unwrap();
    assert!(join.subscriber_primary && join.fast_publish);
    assert!(!anna.join_response().unwrap().subscriber_primary);
}

#[tokio::test]
async fn the_server_has_one_offer_under_way_and_gathers_what_changes_meanwhile_in_the_next() {
    const TRACKS: usize = 12;
    let server = serve().await;
    let mut anna = Peer::join_shaped(&server, Shape::One, "anna").await;
    let mut bert = Peer::join_shaped(&server, Shape::Two, "bert").await;
    until("both are connected", &mut [&mut anna, &mut bert], |p| {
        p.iter().all(|p| p.connected)
    })
    .await;
    for i in 0..TRACKS {
        let answers = anna.answers.len();
        anna.publish(&format!("mic-{i}"), MediaKind::Audio).await;
        until("the track is answered", &mut [&mut anna], |p| {
            p[0].answers.len() > answers
        })
        .await;
    }
    let before = bert.told.len();
    // Bert reads nothing meanwhile, so whatever he is offered stays unanswered.
    for i in 0..TRACKS {
        anna.send(&format!("mic-{i}"), 0, b"first", false).await;
        for _ in 0..3 {
            anna.step().await;
        }
    }
    until("all tracks are offered", &mut [&mut anna, &mut bert], |p| {
        p[1].tracks.len() == TRACKS
    })
    .await;
    let numbers: Vec<u32> = bert
        .messages
        .iter()
        .filter_map(|message| match message {
            Message::Offer(offer) => Some(offer.id),
            _ => None,
        })
        .collect();
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "{numbers:?}"
    );
    let offers = bert.told.len() - before;
    assert!(offers <= 2, "{offers} offers for changes that fit into two");
}
