//! Who sits in a room: joining, coming back, leaving, and what the others are told.
#![allow(clippy::unwrap_used)]

mod peer;

use std::time::Duration;

use auralink_token::Claims;
use livekit_protocol as proto;
use peer::{Peer, Shape, in_both_shapes, serve, speak, two, until};
use proto::DisconnectReason;
use proto::signal_request::Message as Ask;

#[tokio::test]
async fn the_room_is_told_who_is_there_and_what_they_publish() {
    in_both_shapes(async |shape| {
        let server = serve().await;
        let (mut anna, mut bert) = two(&server, shape).await;
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
    })
    .await;
}

#[tokio::test]
async fn a_second_participant_of_the_same_name_takes_the_place_of_the_first() {
    in_both_shapes(async |shape| {
        let server = serve().await;
        let (mut anna, mut bert) = two(&server, shape).await;
        let mut again = Peer::join_shaped(&server, shape, "anna").await;
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
    })
    .await;
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
    in_both_shapes(async |shape| {
        let server = serve().await;
        let (mut anna, mut bert) = two(&server, shape).await;
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
    })
    .await;
}

#[tokio::test]
async fn a_join_request_changes_nothing_that_the_token_signed() {
    let server = serve().await;
    let mut claims = Claims::join("room", "anna");
    claims.metadata = "signed".into();
    claims.attributes.insert("role".into(), "student".into());
    let request = || proto::JoinRequest {
        metadata: "forged".into(),
        participant_attributes: [("role", "teacher"), ("aic.decoder", "nolace")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        ..Default::default()
    };
    let mut anna = Peer::join_as(&server, &claims, request()).await;
    until("it is joined", &mut [&mut anna], |p| {
        p[0].join_response().is_some()
    })
    .await;
    let own = anna.join_response().unwrap().participant.clone().unwrap();
    assert_eq!(own.metadata, "signed");
    assert_eq!(own.attributes["role"], "student");
    assert_eq!(
        own.attributes["aic.decoder"], "nolace",
        "what a client can do is its own to say"
    );
    claims.video.can_update_own_metadata = Some(true);
    let mut anna = Peer::join_as(&server, &claims, request()).await;
    until("it is joined again", &mut [&mut anna], |p| {
        p[0].join_response().is_some()
    })
    .await;
    let own = anna.join_response().unwrap().participant.clone().unwrap();
    assert_eq!(
        (own.metadata.as_str(), own.attributes["role"].as_str()),
        ("forged", "teacher")
    );
}

#[tokio::test]
async fn agents_are_known_as_agents() {
    let server = serve().await;
    let mut claims = Claims::join("room", "helper");
    claims.kind = "agent".into();
    claims.kind_details = vec!["cloud_agent".into()];
    claims.video.agent = true;
    let mut agent = Peer::join_as(&server, &claims, proto::JoinRequest::default()).await;
    let mut anna = Peer::join(&server, "anna").await;
    until("both have joined", &mut [&mut agent, &mut anna], |p| {
        p.iter().all(|p| p.join_response().is_some())
    })
    .await;
    let shown = anna.info("helper").unwrap();
    assert_eq!(shown.kind, proto::participant_info::Kind::Agent as i32);
    assert_eq!(
        shown.kind_details,
        [proto::participant_info::KindDetail::CloudAgent as i32]
    );
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
    in_both_shapes(async |shape| {
        let server = serve().await;
        let (mut anna, mut bert) = two(&server, shape).await;
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
        let (socket, _) = tokio_tungstenite::connect_async(server.door(shape, &token, comes_back(sid)))
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
        let (socket, _) = tokio_tungstenite::connect_async(server.door(shape, &token, lost))
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
    })
    .await;
}

#[tokio::test]
async fn a_client_of_two_connections_that_comes_back_is_offered_a_new_start_of_ice() {
    let server = serve().await;
    let (mut anna, mut bert) = two(&server, Shape::Two).await;
    speak(&mut anna, &mut bert).await;
    let name = |sdp: &String| {
        let line = sdp.lines().find(|line| line.starts_with("a=ice-ufrag:"));
        line.unwrap().to_owned()
    };
    let before = name(bert.told.last().unwrap());
    let sid = bert
        .join_response()
        .unwrap()
        .participant
        .as_ref()
        .unwrap()
        .sid
        .clone();
    let request = proto::JoinRequest {
        reconnect: true,
        participant_sid: sid,
        ..Default::default()
    };
    let token = server.token(&Claims::join("room", "bert"));
    let (socket, _) = tokio_tungstenite::connect_async(server.door(Shape::Two, &token, request))
        .await
        .unwrap();
    bert.socket = socket;
    let told = bert.told.len();
    until("ICE starts anew", &mut [&mut anna, &mut bert], |p| {
        p[1].told.len() > told && name(p[1].told.last().unwrap()) != before
    })
    .await;
    bert.heard.clear();
    let mut timestamp = 7_000_000;
    while bert.heard.len() < 50 {
        anna.send("mic", timestamp, b"still here", false).await;
        timestamp += 960;
        anna.step().await;
        bert.step().await;
        assert!(timestamp < 8_000_000, "media stopped");
    }
    assert_eq!(server.media.stats().await.unwrap().participants, 2);
}
