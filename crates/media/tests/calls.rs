//! Whole calls through sockets: join over WebSocket, ICE, DTLS-SRTP, media and data.
#![allow(clippy::unwrap_used)]

mod peer;

use std::time::Duration;

use auralink_token::Claims;
use livekit_protocol as proto;
use peer::{Peer, Server, serve, until};
use proto::DisconnectReason;
use proto::signal_request::Message as Ask;
use str0m::format::Codec;
use str0m::media::MediaKind;

async fn two(server: &Server) -> (Peer, Peer) {
    let mut anna = Peer::join(server, "anna").await;
    let mut bert = Peer::join(server, "bert").await;
    until("both are connected", &mut [&mut anna, &mut bert], |p| {
        p.iter().all(|p| p.connected)
    })
    .await;
    (anna, bert)
}

/// Anna's microphone reaches Bert.
async fn speak(anna: &mut Peer, bert: &mut Peer) {
    anna.publish("mic", MediaKind::Audio).await;
    until("the track is answered", &mut [anna, bert], |p| {
        p[0].published("mic").is_some() && p[0].answers.len() > 1
    })
    .await;
    let mut timestamp = 0;
    let before = bert.heard.len();
    while bert.heard.len() == before {
        anna.send("mic", timestamp, b"warm up", false).await;
        timestamp += 960;
        for _ in 0..3 {
            anna.step().await;
            bert.step().await;
        }
        assert!(timestamp < 960 * 500, "nothing arrives");
    }
}

#[tokio::test]
async fn audio_arrives_byte_for_byte_and_dropped_packets_leave_no_gap() {
    let server = serve().await;
    let (mut anna, mut bert) = two(&server).await;
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
    assert!(stats.forward_p99.is_some());
}

#[tokio::test]
async fn the_room_is_told_who_is_there_and_what_they_publish() {
    let server = serve().await;
    let (mut anna, mut bert) = two(&server).await;
    let join = bert.join_response().unwrap();
    assert_eq!(join.other_participants[0].identity, "anna");
    assert!(
        join.participant
            .as_ref()
            .unwrap()
            .permission
            .as_ref()
            .unwrap()
            .can_publish
    );
    assert_eq!((join.ping_interval, join.ping_timeout), (5, 15));
    assert!(!join.server_info.as_ref().unwrap().version.is_empty());
    assert!(anna.info("bert").is_some());
    speak(&mut anna, &mut bert).await;
    until("the track is shown", &mut [&mut anna, &mut bert], |p| {
        p[1].info("anna").unwrap().tracks.len() == 1
    })
    .await;
    let first = bert.info("anna").unwrap();
    let sid = first.tracks[0].sid.clone();
    anna.ask(Ask::Mute(proto::MuteTrackRequest { sid, muted: true }))
        .await;
    until("the mute is shown", &mut [&mut anna, &mut bert], |p| {
        p[1].info("anna").unwrap().tracks[0].muted
    })
    .await;
    assert!(bert.info("anna").unwrap().version > first.version);
    anna.ask(Ask::Leave(proto::LeaveRequest::default())).await;
    let gone = proto::participant_info::State::Disconnected as i32;
    until("the leaving is shown", &mut [&mut bert], |p| {
        p[0].info("anna").unwrap().state == gone
    })
    .await;
}

#[tokio::test]
async fn a_track_unsubscribed_and_subscribed_again_flows_again_on_a_line_that_was_inactive_between() {
    let server = serve().await;
    let (mut anna, mut bert) = two(&server).await;
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
        bert.ask(want(false)).await;
        // An answer to an earlier question may still be on its way.
        until(
            "the line is answered inactive",
            &mut [&mut anna, &mut bert],
            |p| {
                let answer = p[1].answers.last().unwrap();
                let of_line = answer
                    .split("m=")
                    .find(|part| part.contains(&format!("a=mid:{line}\r\n")));
                of_line.is_some_and(|of_line| of_line.contains("a=inactive"))
            },
        )
        .await;
        // That answer may be an older one: the request itself gets time to arrive.
        for _ in 0..10 {
            anna.step().await;
            bert.step().await;
        }
        bert.heard.clear();
        anna.send("mic", 0, b"unheard", false).await;
        for _ in 0..5 {
            anna.step().await;
            bert.step().await;
        }
        // What left before the answer may still arrive.
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
}

#[tokio::test]
async fn twenty_tracks_all_get_a_line() {
    let server = serve().await;
    let (mut anna, mut bert) = two(&server).await;
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
}

#[tokio::test]
async fn a_track_that_is_unpublished_frees_its_line_for_the_next() {
    let server = serve().await;
    let (mut anna, mut bert) = two(&server).await;
    speak(&mut anna, &mut bert).await;
    anna.unpublish("mic").await;
    until("it is gone", &mut [&mut anna, &mut bert], |p| {
        p[1].info("anna").unwrap().tracks.is_empty()
    })
    .await;
    let stats = server.media.stats().await.unwrap();
    assert_eq!(stats.tracks, 0);
}

#[tokio::test]
async fn data_reaches_whom_it_is_for_with_the_senders_name() {
    let server = serve().await;
    let (mut anna, mut bert) = two(&server).await;
    let mut carl = Peer::join(&server, "carl").await;
    until(
        "all channels are open",
        &mut [&mut anna, &mut bert, &mut carl],
        |p| p.iter().all(|p| p.channels.len() == 2),
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
}

#[tokio::test]
async fn a_second_participant_of_the_same_name_takes_the_place_of_the_first() {
    let server = serve().await;
    let (mut anna, mut bert) = two(&server).await;
    let mut again = Peer::join(&server, "anna").await;
    until(
        "the first is told",
        &mut [&mut anna, &mut bert, &mut again],
        |p| p[0].leave().is_some(),
    )
    .await;
    assert_eq!(
        anna.leave().unwrap().reason,
        DisconnectReason::DuplicateIdentity as i32
    );
    until("its socket is closed", &mut [&mut anna, &mut again], |p| {
        p[0].closed && p[1].connected
    })
    .await;
    assert_eq!(server.media.stats().await.unwrap().participants, 2);
}

#[tokio::test]
async fn rooms_of_the_same_name_are_separate_for_two_tenants() {
    let server = serve().await;
    let _anna = Peer::join(&server, "anna").await;
    let keys = server.keys.clone();
    let claims = Claims::join("room", "anna");
    let token = keys
        .mint(
            "other",
            &claims,
            Duration::from_secs(60),
            std::time::SystemTime::now(),
        )
        .unwrap();
    let url = server.url(&token, proto::JoinRequest::default());
    let (_socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let start = std::time::Instant::now();
    loop {
        let stats = server.media.stats().await.unwrap();
        if stats.participants == 2 {
            assert_eq!(stats.rooms, 2);
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn the_server_says_goodbye_when_it_goes() {
    let server = serve().await;
    let (mut anna, mut bert) = two(&server).await;
    server.media.shutdown(Duration::from_secs(2)).await;
    until("both are told", &mut [&mut anna, &mut bert], |p| {
        p.iter().all(|p| p.leave().is_some())
    })
    .await;
    assert_eq!(
        anna.leave().unwrap().reason,
        DisconnectReason::ServerShutdown as i32
    );
    assert_eq!(server.media.stats().await.unwrap().participants, 0);
}

#[tokio::test]
async fn who_may_not_publish_is_refused_and_who_is_hidden_is_not_shown() {
    let server = serve().await;
    let mut claims = Claims::join("room", "ghost");
    claims.video.can_publish = Some(false);
    claims.video.hidden = true;
    let mut ghost = Peer::join_as(&server, &claims, proto::JoinRequest::default()).await;
    let mut anna = Peer::join(&server, "anna").await;
    until("both are connected", &mut [&mut ghost, &mut anna], |p| {
        p.iter().all(|p| p.connected)
    })
    .await;
    assert!(anna.join_response().unwrap().other_participants.is_empty());
    ghost
        .ask(Ask::AddTrack(proto::AddTrackRequest {
            cid: "x".into(),
            ..Default::default()
        }))
        .await;
    until("the refusal comes", &mut [&mut ghost, &mut anna], |p| {
        p[0].messages
            .iter()
            .any(|m| matches!(m, proto::signal_response::Message::RequestResponse(_)))
    })
    .await;
    assert!(ghost.published("x").is_none());
    assert!(anna.info("ghost").is_none());
}

#[tokio::test]
async fn a_client_that_comes_back_keeps_his_seat_and_an_unknown_one_must_start_afresh() {
    let server = serve().await;
    let (mut anna, mut bert) = two(&server).await;
    speak(&mut anna, &mut bert).await;
    let sid = bert
        .join_response()
        .unwrap()
        .participant
        .as_ref()
        .unwrap()
        .sid
        .clone();
    let comes_back = |participant_sid: String| proto::JoinRequest {
        reconnect: true,
        participant_sid,
        ..Default::default()
    };
    let token = server.token(&Claims::join("room", "bert"));
    let (socket, _) = tokio_tungstenite::connect_async(server.url(&token, comes_back(sid)))
        .await
        .unwrap();
    bert.socket = socket;
    bert.messages.clear();
    bert.heard.clear();
    let mut timestamp = 5_000_000;
    while bert.heard.len() < 20 || bert.info("anna").is_none() {
        anna.send("mic", timestamp, b"still here", false).await;
        timestamp += 960;
        anna.step().await;
        bert.step().await;
        assert!(timestamp < 6_000_000, "media stopped");
    }
    assert!(matches!(
        bert.messages[0],
        proto::signal_response::Message::Reconnect(_)
    ));
    assert_eq!(server.media.stats().await.unwrap().participants, 2);

    let mut lost = comes_back("PA_unknown".into());
    lost.metadata = "x".into();
    let (socket, _) = tokio_tungstenite::connect_async(server.url(&token, lost))
        .await
        .unwrap();
    bert.socket = socket;
    bert.messages.clear();
    until("it is told to start afresh", &mut [&mut bert], |p| {
        p[0].leave().is_some()
    })
    .await;
    assert_eq!(
        bert.leave().unwrap().action,
        proto::leave_request::Action::Reconnect as i32
    );
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
async fn video_starts_with_the_keyframe_that_the_server_asks_for_and_arrives_byte_for_byte() {
    let server = serve().await;
    let (mut anna, mut bert) = two(&server).await;
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
}
