//! What a tenant's own server does to rooms and to the people in them, as these notice it.
#![allow(clippy::unwrap_used)]

mod peer;

use std::time::{Duration, Instant};

use auralink_token::{Claims, VideoGrants};
use livekit_protocol as proto;
use peer::service::operator;
use peer::{Peer, Server, Shape, in_both_shapes, serve, speak, two, until};
use proto::data_packet::Value as Packet;
use proto::participant_info::State;
use proto::signal_request::Message as Ask;
use proto::signal_response::Message;
use proto::{DisconnectReason, leave_request::Action};
use serde_json::{Value, json};
use str0m::media::MediaKind;

async fn names(server: &Server) -> Vec<String> {
    let listed = server.ask("ListRooms", json!({})).await;
    let rooms = listed["rooms"].as_array().unwrap();
    rooms
        .iter()
        .map(|room| room["name"].as_str().unwrap().to_owned())
        .collect()
}

async fn identities(server: &Server) -> Vec<String> {
    let listed = server.ask("ListParticipants", json!({"room": "room"})).await;
    let people = listed["participants"].as_array().unwrap();
    let mut names: Vec<_> = people
        .iter()
        .map(|p| p["identity"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

async fn pause(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}

fn of(identity: &str) -> Value {
    json!({"room": "room", "identity": identity})
}

/// `of` with more.
fn and(mut asked: Value, more: Value) -> Value {
    asked
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    asked
}

fn permission(publish: bool, subscribe: bool) -> Value {
    json!({"canPublish": publish, "canSubscribe": subscribe, "canPublishData": true})
}

fn last_room(peer: &Peer) -> Option<&proto::Room> {
    peer.messages.iter().rev().find_map(|message| match message {
        Message::RoomUpdate(update) => update.room.as_ref(),
        _ => None,
    })
}

#[tokio::test]
async fn a_created_room_waits_for_people_as_long_as_it_was_told_and_after_them_as_long() {
    let server = serve().await;
    let timeouts = json!({"name": "room", "empty_timeout": 2, "departure_timeout": 1, "metadata": "m"});
    let created = server.ask("CreateRoom", timeouts.clone()).await;
    pause(1.3).await;
    assert_eq!(names(&server).await, ["room"]);
    pause(1.2).await;
    assert!(names(&server).await.is_empty(), "nobody came");

    let again = server.ask("CreateRoom", timeouts).await;
    assert_ne!(again["sid"], created["sid"]);
    let mut anna = Peer::join(&server, "anna").await;
    until("anna is in", &mut [&mut anna], |p| p[0].connected).await;
    let room = anna.join_response().unwrap().room.clone().unwrap();
    assert_eq!(
        (json!(room.sid), room.metadata.as_str()),
        (again["sid"].clone(), "m")
    );
    let same = server
        .ask("CreateRoom", json!({"name": "room", "metadata": "other"}))
        .await;
    assert_eq!(
        (&same["sid"], &same["metadata"]),
        (&again["sid"], &json!("m")),
        "one that is there stays"
    );
    pause(2.3).await;
    assert_eq!(names(&server).await, ["room"], "with somebody in it a room stays");
    anna.ask(Ask::Leave(proto::LeaveRequest::default())).await;
    pause(0.7).await;
    assert_eq!(names(&server).await, ["room"]);
    pause(0.8).await;
    assert!(names(&server).await.is_empty(), "everybody left");
}

#[tokio::test]
async fn a_full_room_lets_nobody_in_but_those_who_serve_others() {
    let server = serve().await;
    server
        .ask("CreateRoom", json!({"name": "room", "maxParticipants": 1}))
        .await;
    let mut anna = Peer::join(&server, "anna").await;
    until("anna is in", &mut [&mut anna], |p| p[0].connected).await;
    let mut bert = Peer::join(&server, "bert").await;
    until("bert is told", &mut [&mut bert], |p| p[0].leave().is_some()).await;
    assert!(bert.join_response().is_none());
    assert_eq!(bert.leave().unwrap().reason(), DisconnectReason::JoinFailure);
    let mut agent = Claims::join("room", "agent");
    agent.kind = "agent".into();
    let mut agent = Peer::join_as(&server, &agent, proto::JoinRequest::default()).await;
    until("the agent is in", &mut [&mut agent], |p| {
        p[0].join_response().is_some()
    })
    .await;
    let mut anna = Peer::join(&server, "anna").await;
    until("anna is in again", &mut [&mut anna], |p| {
        p[0].join_response().is_some()
    })
    .await;
    let room = server.ask("ListRooms", json!({})).await["rooms"][0].clone();
    assert_eq!(room["num_participants"], 1);
}

#[tokio::test]
async fn a_deleted_room_is_gone_at_once_and_its_people_stay_away() {
    let server = serve().await;
    let (mut anna, mut bert) = two(&server, Shape::One).await;
    server.ask("DeleteRoom", json!({"room": "room"})).await;
    assert!(names(&server).await.is_empty());
    until("both are told", &mut [&mut anna, &mut bert], |p| {
        p.iter().all(|p| p.leave().is_some())
    })
    .await;
    for peer in [&anna, &bert] {
        let leave = peer.leave().unwrap();
        assert_eq!(
            (leave.reason(), leave.action()),
            (DisconnectReason::RoomDeleted, Action::Disconnect)
        );
    }
    let (status, code) = server.refusal("DeleteRoom", json!({"room": "room"})).await;
    assert_eq!((status, code.as_str()), (404, "not_found"));
}

#[tokio::test]
async fn rooms_of_all_shards_are_listed_and_those_of_other_tenants_are_not() {
    let server = serve().await;
    for number in 0..6 {
        server
            .ask("CreateRoom", json!({"name": format!("room {number}")}))
            .await;
    }
    assert_eq!(names(&server).await.len(), 6);
    let claims = Claims {
        video: operator(),
        ..Claims::default()
    };
    let now = std::time::SystemTime::now();
    let theirs = server
        .keys
        .mint("other", &claims, Duration::from_secs(60), now)
        .unwrap();
    let head = format!("Authorization: Bearer {theirs}\r\nContent-Type: application/json\r\n");
    let (_, _, body) = server
        .request("POST /twirp/livekit.RoomService/ListRooms", &head, b"{}")
        .await;
    assert_eq!(
        serde_json::from_slice::<Value>(&body).unwrap(),
        json!({"rooms": []})
    );
}

#[tokio::test]
async fn people_are_listed_looked_up_and_removed() {
    let server = serve().await;
    assert!(
        identities(&server).await.is_empty(),
        "in a room that is not there is nobody"
    );
    let (mut anna, mut bert) = two(&server, Shape::One).await;
    speak(&mut anna, &mut bert).await;
    assert_eq!(identities(&server).await, ["anna", "bert"]);
    let info = server.ask("GetParticipant", of("anna")).await;
    assert_eq!(
        (&info["state"], &info["is_publisher"]),
        (&json!("ACTIVE"), &json!(true))
    );
    let track = &info["tracks"][0];
    assert_eq!((&track["name"], &track["type"]), (&json!("mic"), &json!("AUDIO")));
    let room = server.ask("ListRooms", json!({})).await["rooms"][0].clone();
    assert_eq!(
        (&room["num_participants"], &room["num_publishers"]),
        (&json!(2), &json!(1))
    );

    server.ask("RemoveParticipant", of("anna")).await;
    until("both know", &mut [&mut anna, &mut bert], |p| {
        p[0].leave().is_some()
            && p[1]
                .info("anna")
                .is_some_and(|p| p.state() == State::Disconnected)
    })
    .await;
    let leave = anna.leave().unwrap();
    assert_eq!(
        (leave.reason(), leave.action()),
        (DisconnectReason::ParticipantRemoved, Action::Disconnect)
    );
    assert_eq!(identities(&server).await, ["bert"]);
    let subscriptions = and(of("anna"), json!({"trackSids": [], "subscribe": true}));
    for (method, asked) in [
        ("GetParticipant", of("anna")),
        ("RemoveParticipant", of("anna")),
        ("MutePublishedTrack", and(of("anna"), json!({"muted": true}))),
        (
            "MutePublishedTrack",
            and(of("bert"), json!({"muted": true, "trackSid": "TR_none"})),
        ),
        ("UpdateParticipant", of("anna")),
        ("UpdateSubscriptions", subscriptions),
        ("SendData", json!({"room": "elsewhere"})),
        ("DeleteRoom", json!({"room": "elsewhere"})),
        (
            "PerformRpc",
            json!({"room": "room", "destinationIdentity": "anna"}),
        ),
    ] {
        if asked["room"] == "elsewhere" && method == "SendData" {
            let ruler = VideoGrants {
                room: "elsewhere".into(),
                ..operator()
            };
            let (status, answer) = server.ask_as(ruler, method, asked).await;
            assert_eq!((status, &answer["code"]), (404, &json!("not_found")));
            continue;
        }
        let (status, code) = server.refusal(method, asked).await;
        assert_eq!((status, code.as_str()), (404, "not_found"), "{method}");
    }
}

#[tokio::test]
async fn a_track_muted_by_the_server_is_heard_by_nobody_until_its_publisher_unmutes_it() {
    let server = serve().await;
    let (mut anna, mut bert) = two(&server, Shape::One).await;
    speak(&mut anna, &mut bert).await;
    let sid = anna.published("mic").unwrap().sid.clone();
    let muted = and(of("anna"), json!({"track_sid": sid, "muted": true}));
    let answer = server.ask("MutePublishedTrack", muted).await;
    assert_eq!(
        (&answer["track"]["sid"], &answer["track"]["muted"]),
        (&json!(sid), &json!(true))
    );
    until("both know", &mut [&mut anna, &mut bert], |p| {
        let told = |m: &Message| matches!(m, Message::Mute(mute) if mute.muted && mute.sid == sid);
        p[0].messages.iter().any(told) && p[1].info("anna").is_some_and(|p| p.tracks[0].muted)
    })
    .await;
    let before = bert.heard.len();
    for number in 0..20 {
        anna.send("mic", 100_000 + 960 * number, b"still here", false)
            .await;
        anna.step().await;
        bert.step().await;
    }
    assert_eq!(bert.heard.len(), before, "a client that does not obey");

    let unmuted = and(of("anna"), json!({"track_sid": sid, "muted": false}));
    let (status, code) = server.refusal("MutePublishedTrack", unmuted).await;
    assert_eq!((status, code.as_str()), (412, "failed_precondition"));
    anna.ask(Ask::Mute(proto::MuteTrackRequest { sid, muted: false }))
        .await;
    until("bert knows", &mut [&mut anna, &mut bert], |p| {
        p[1].info("anna").is_some_and(|p| !p.tracks[0].muted)
    })
    .await;
    anna.send("mic", 200_000, b"again", false).await;
    until("bert hears", &mut [&mut anna, &mut bert], |p| {
        p[1].heard.iter().any(|heard| heard.payload == b"again")
    })
    .await;
}

#[tokio::test]
async fn what_somebody_shows_is_changed_for_everybody_and_in_the_tokens_they_come_back_with() {
    let server = serve().await;
    let (mut anna, mut bert) = two(&server, Shape::One).await;
    let changed = json!({"name": "Anna A.", "metadata": "m", "attributes": {"seat_number": "7"}});
    let info = server.ask("UpdateParticipant", and(of("anna"), changed)).await;
    assert_eq!(
        (&info["name"], &info["metadata"]),
        (&json!("Anna A."), &json!("m"))
    );
    assert_eq!(info["attributes"], json!({"seat_number": "7"}));
    until(
        "bert knows and anna has a token",
        &mut [&mut anna, &mut bert],
        |p| {
            p[1].info("anna")
                .is_some_and(|p| p.metadata == "m" && p.name == "Anna A.")
                && last_claims(&server, p[0]).is_some_and(|claims| claims.name == "Anna A.")
        },
    )
    .await;
    let claims = last_claims(&server, &anna).unwrap();
    assert_eq!(
        (
            claims.identity.as_str(),
            claims.attributes["seat_number"].as_str()
        ),
        ("anna", "7")
    );
    assert_eq!(claims.video.room, "room");
    let gone = json!({"attributes": {"seat_number": ""}});
    let info = server.ask("UpdateParticipant", and(of("anna"), gone)).await;
    assert_eq!(
        (&info["attributes"], &info["metadata"]),
        (&json!({}), &json!("m"))
    );
    let long = json!({"metadata": "x".repeat(100_000)});
    let (status, code) = server.refusal("UpdateParticipant", and(of("anna"), long)).await;
    assert_eq!((status, code.as_str()), (400, "invalid_argument"));
}

fn last_claims(server: &Server, peer: &Peer) -> Option<Claims> {
    let token = peer.messages.iter().rev().find_map(|message| match message {
        Message::RefreshToken(token) => Some(token.clone()),
        _ => None,
    })?;
    let now = std::time::SystemTime::now();
    Some(server.keys.verify(&token, now).unwrap().claims)
}

#[tokio::test]
async fn who_may_publish_no_longer_has_no_tracks_from_that_moment() {
    in_both_shapes(async |shape| {
        let server = serve().await;
        let (mut anna, mut bert) = two(&server, shape).await;
        speak(&mut anna, &mut bert).await;
        let sid = anna.published("mic").unwrap().sid.clone();
        let info = server
            .ask(
                "UpdateParticipant",
                and(of("anna"), json!({"permission": permission(false, true)})),
            )
            .await;
        assert_eq!(
            (&info["tracks"], &info["is_publisher"]),
            (&json!([]), &json!(false))
        );
        assert_eq!(info["permission"]["can_publish"], false);
        until("both know", &mut [&mut anna, &mut bert], |p| {
            let told = |m: &Message| matches!(m, Message::TrackUnpublished(gone) if gone.track_sid == sid);
            let own = p[0]
                .info("anna")
                .is_some_and(|p| p.permission.is_some_and(|p| !p.can_publish));
            own && p[0].messages.iter().any(told) && p[1].info("anna").is_some_and(|p| p.tracks.is_empty())
        })
        .await;
        let before = bert.heard.len();
        for number in 0..10 {
            anna.send("mic", 100_000 + 960 * number, b"still here", false)
                .await;
            anna.step().await;
            bert.step().await;
        }
        assert_eq!(bert.heard.len(), before);
        anna.announce("again", MediaKind::Audio, proto::AddTrackRequest::default())
            .await;
        until("anna is refused", &mut [&mut anna, &mut bert], |p| {
            p[0].messages
                .iter()
                .any(|m| matches!(m, Message::RequestResponse(_)))
        })
        .await;
        assert!(last_claims(&server, &anna).is_some_and(|claims| !claims.video.can_publish()));
    })
    .await;
}

#[tokio::test]
async fn who_may_subscribe_no_longer_hears_nothing_from_that_moment_and_hears_again_once_they_may() {
    in_both_shapes(async |shape| {
        let server = serve().await;
        let (mut anna, mut bert) = two(&server, shape).await;
        speak(&mut anna, &mut bert).await;
        let sid = anna.published("mic").unwrap().sid.clone();
        let may = |subscribe: bool| and(of("bert"), json!({"permission": permission(true, subscribe)}));
        server.ask("UpdateParticipant", may(false)).await;
        until("bert is told", &mut [&mut anna, &mut bert], |p| {
            p[1].allowed(&sid) == Some(false)
        })
        .await;
        let before = bert.heard.len();
        for number in 0..10 {
            anna.send("mic", 100_000 + 960 * number, b"secret", false).await;
            anna.step().await;
            bert.step().await;
        }
        assert_eq!(bert.heard.len(), before);
        assert_eq!(server.media.stats().await.unwrap().legs, 0);
        server.ask("UpdateParticipant", may(true)).await;
        let mut timestamp = 200_000;
        let start = Instant::now();
        while bert.heard.len() == before {
            anna.send("mic", timestamp, b"open", false).await;
            timestamp += 960;
            anna.step().await;
            bert.step().await;
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "bert hears nothing again"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn who_is_hidden_from_now_on_has_left_for_the_others_and_is_back_when_shown() {
    let server = serve().await;
    let (mut anna, mut bert) = two(&server, Shape::One).await;
    speak(&mut anna, &mut bert).await;
    let hide = |hidden: bool| {
        let permission = and(permission(true, true), json!({"hidden": hidden}));
        and(of("anna"), json!({"permission": permission}))
    };
    server.ask("UpdateParticipant", hide(true)).await;
    until("anna is gone", &mut [&mut anna, &mut bert], |p| {
        p[1].info("anna")
            .is_some_and(|p| p.state() == State::Disconnected)
    })
    .await;
    assert_eq!(server.media.stats().await.unwrap().legs, 0);
    assert_eq!(
        identities(&server).await,
        ["anna", "bert"],
        "the server sees everybody"
    );
    server.ask("UpdateParticipant", hide(false)).await;
    until("anna is back", &mut [&mut anna, &mut bert], |p| {
        p[1].info("anna")
            .is_some_and(|p| p.state() == State::Active && !p.tracks.is_empty())
    })
    .await;
    let before = bert.heard.len();
    let mut timestamp = 200_000;
    while bert.heard.len() == before {
        anna.send("mic", timestamp, b"open", false).await;
        timestamp += 960;
        anna.step().await;
        bert.step().await;
        assert!(timestamp < 2_000_000, "bert hears nothing again");
    }
}

#[tokio::test]
async fn subscriptions_are_ended_and_begun_by_the_server() {
    let server = serve().await;
    let (mut anna, mut bert) = two(&server, Shape::One).await;
    speak(&mut anna, &mut bert).await;
    let (person, track) = (
        server.ask("GetParticipant", of("anna")).await,
        anna.published("mic").unwrap(),
    );
    let named = json!({"trackSids": [track.sid], "subscribe": false});
    server.ask("UpdateSubscriptions", and(of("bert"), named)).await;
    assert_eq!(server.media.stats().await.unwrap().legs, 0);
    let listed = json!([{"participant_sid": person["sid"], "track_sids": [track.sid]}]);
    let again = json!({"participant_tracks": listed, "subscribe": true});
    server.ask("UpdateSubscriptions", and(of("bert"), again)).await;
    let before = bert.heard.len();
    let mut timestamp = 200_000;
    while bert.heard.len() == before {
        anna.send("mic", timestamp, b"open", false).await;
        timestamp += 960;
        anna.step().await;
        bert.step().await;
        assert!(timestamp < 2_000_000, "bert hears nothing again");
    }
}

fn user_packets(peer: &Peer) -> Vec<&proto::UserPacket> {
    let users = peer.data.iter().filter_map(|packet| match &packet.value {
        Some(Packet::User(user)) => Some(user),
        _ => None,
    });
    users.collect()
}

#[tokio::test]
async fn data_comes_to_those_it_names_with_its_topic_and_nonce_and_from_nobody() {
    let server = serve().await;
    let (mut anna, mut bert) = two(&server, Shape::One).await;
    until("channels are open", &mut [&mut anna, &mut bert], |p| {
        p.iter().all(|p| p.ears >= 2)
    })
    .await;
    let bert_sid = server.ask("GetParticipant", of("bert")).await["sid"].clone();
    for (data, more) in [
        ("YWxs", json!({"kind": "RELIABLE"})),
        (
            "YW5uYQ==",
            json!({"destinationIdentities": ["anna"], "topic": "t"}),
        ),
        (
            "YmVydA==",
            json!({"destination_sids": [bert_sid], "nonce": "AAECAwQFBgcICQoLDA0ODw=="}),
        ),
        ("bG9zc3k=", json!({"kind": 1})),
    ] {
        server
            .ask("SendData", and(json!({"room": "room", "data": data}), more))
            .await;
    }
    until("everything has come", &mut [&mut anna, &mut bert], |p| {
        p.iter().all(|p| user_packets(p).len() >= 3)
    })
    .await;
    let texts = |peer: &Peer| -> Vec<String> {
        let packets = user_packets(peer);
        let mut texts: Vec<_> = packets
            .iter()
            .map(|p| String::from_utf8(p.payload.clone()).unwrap())
            .collect();
        texts.sort();
        texts
    };
    assert_eq!(texts(&anna), ["all", "anna", "lossy"]);
    assert_eq!(texts(&bert), ["all", "bert", "lossy"]);
    assert!(
        anna.data
            .iter()
            .all(|packet| packet.participant_identity.is_empty())
    );
    let to_anna = user_packets(&anna)
        .into_iter()
        .find(|p| p.payload == b"anna")
        .unwrap();
    assert_eq!(to_anna.topic.as_deref(), Some("t"));
    let to_bert = user_packets(&bert)
        .into_iter()
        .find(|p| p.payload == b"bert")
        .unwrap();
    assert_eq!(to_bert.nonce, (0..16).collect::<Vec<u8>>());
}

#[tokio::test]
async fn a_rooms_metadata_is_told_to_those_in_it_and_to_those_who_come() {
    let server = serve().await;
    let (mut anna, mut bert) = two(&server, Shape::One).await;
    let room = server
        .ask("UpdateRoomMetadata", json!({"room": "room", "metadata": "new"}))
        .await;
    assert_eq!(
        (&room["metadata"], &room["num_participants"]),
        (&json!("new"), &json!(2))
    );
    until("both know", &mut [&mut anna, &mut bert], |p| {
        p.iter()
            .all(|p| last_room(p).is_some_and(|room| room.metadata == "new"))
    })
    .await;
    let mut carl = Peer::join(&server, "carl").await;
    until("carl is in", &mut [&mut carl], |p| p[0].join_response().is_some()).await;
    assert_eq!(
        carl.join_response().unwrap().room.as_ref().unwrap().metadata,
        "new"
    );
}

#[tokio::test]
async fn somebody_who_is_moved_comes_back_to_the_other_room_as_what_they_were() {
    let server = serve().await;
    let (mut anna, mut bert) = two(&server, Shape::One).await;
    let changed = json!({"metadata": "m", "permission": permission(false, true)});
    server.ask("UpdateParticipant", and(of("anna"), changed)).await;
    let mover = VideoGrants {
        destination_room: "hall".into(),
        ..operator()
    };
    let asked = and(of("anna"), json!({"destinationRoom": "hall"}));
    let (status, answer) = server.ask_as(mover, "MoveParticipant", asked).await;
    assert_eq!((status, answer), (200, json!({})));
    until("both know", &mut [&mut anna, &mut bert], |p| {
        p[0].leave().is_some()
            && p[1]
                .info("anna")
                .is_some_and(|p| p.state() == State::Disconnected)
    })
    .await;
    assert_eq!(anna.leave().unwrap().action(), Action::Reconnect);
    let claims = last_claims(&server, &anna).unwrap();
    assert_eq!(
        (claims.video.room.as_str(), claims.identity.as_str()),
        ("hall", "anna")
    );
    let mut anna = Peer::join_as(&server, &claims, proto::JoinRequest::default()).await;
    until("anna is in the hall", &mut [&mut anna], |p| {
        p[0].join_response().is_some()
    })
    .await;
    let join = anna.join_response().unwrap();
    assert_eq!(join.room.as_ref().unwrap().name, "hall");
    let own = join.participant.as_ref().unwrap();
    assert_eq!(own.metadata, "m");
    assert!(!own.permission.as_ref().unwrap().can_publish);
}

/// Waits for a call; its id and what was handed over.
async fn called(peer: &mut Peer, already: usize) -> (String, proto::RpcRequest) {
    let calls = |peer: &Peer| -> Vec<(String, proto::RpcRequest)> {
        let calls = peer.data.iter().filter_map(|packet| match &packet.value {
            Some(Packet::RpcRequest(call)) => Some((packet.participant_identity.clone(), call.clone())),
            _ => None,
        });
        calls.collect()
    };
    until("the call comes", &mut [peer], |p| calls(p[0]).len() > already).await;
    calls(peer).pop().unwrap()
}

/// A client's packet to whoever called.
fn reply(caller: &str, value: Packet) -> proto::DataPacket {
    proto::DataPacket {
        destination_identities: vec![caller.into()],
        value: Some(value),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_clients_method_is_called_and_its_answer_or_its_error_comes_back() {
    let server = serve().await;
    let (mut anna, mut bert) = two(&server, Shape::One).await;
    until("channels are open", &mut [&mut anna, &mut bert], |p| {
        p.iter().all(|p| p.ears >= 2)
    })
    .await;
    let asked = json!({"room": "room", "destination_identity": "anna", "method": "add", "payload": "1+1"});
    for (number, outcome) in [
        proto::rpc_response::Value::Payload("2".into()),
        proto::rpc_response::Value::Error(proto::RpcError {
            code: 1400,
            message: "Method not supported at destination".into(),
            data: String::new(),
        }),
    ]
    .into_iter()
    .enumerate()
    {
        let answers = async {
            let (caller, call) = called(&mut anna, number).await;
            assert_eq!(
                (call.method.as_str(), call.payload.as_str(), call.version),
                ("add", "1+1", 1)
            );
            let request_id = call.id.clone();
            let ack = Packet::RpcAck(proto::RpcAck { request_id });
            anna.say("_reliable", &reply(&caller, ack)).await;
            let response = Packet::RpcResponse(proto::RpcResponse {
                request_id: call.id,
                value: Some(outcome.clone()),
            });
            anna.say("_reliable", &reply(&caller, response)).await;
            for _ in 0..20 {
                anna.step().await;
            }
        };
        let (answer, ()) = tokio::join!(server.ask_as(operator(), "PerformRpc", asked.clone()), answers);
        match outcome {
            proto::rpc_response::Value::Payload(_) => assert_eq!(answer, (200, json!({"payload": "2"}))),
            _ => {
                let (status, body) = answer;
                assert_eq!((status, &body["code"]), (400, &json!("invalid_argument")));
                assert_eq!(body["msg"], "RpcError 1400: Method not supported at destination");
            }
        }
    }
    assert!(bert.data.is_empty(), "answers to the server are nobody else's");
}

#[tokio::test]
async fn a_call_that_nobody_answers_is_given_up() {
    let server = serve().await;
    let (mut anna, mut bert) = two(&server, Shape::One).await;
    until("channels are open", &mut [&mut anna, &mut bert], |p| {
        p.iter().all(|p| p.ears >= 2)
    })
    .await;
    let asked =
        json!({"room": "room", "destination_identity": "anna", "method": "x", "response_timeout_ms": 300});
    let (status, answer) = server.ask_as(operator(), "PerformRpc", asked).await;
    assert_eq!((status, &answer["code"]), (408, &json!("canceled")), "{answer}");
    let long = json!({"room": "room", "destination_identity": "anna", "payload": "x".repeat(16_000)});
    let (status, code) = server.refusal("PerformRpc", long).await;
    assert_eq!((status, code.as_str()), (400, "malformed"));
    let asked = json!({"room": "room", "destination_identity": "anna", "method": "x"});
    let leaves = async {
        called(&mut anna, 1).await;
        anna.ask(Ask::Leave(proto::LeaveRequest::default())).await;
    };
    let ((status, answer), ()) = tokio::join!(server.ask_as(operator(), "PerformRpc", asked), leaves);
    assert_eq!(
        (status, &answer["code"]),
        (503, &json!("unavailable")),
        "{answer}"
    );
}

#[tokio::test]
async fn pictures_are_held_back_as_long_as_the_room_was_told() {
    in_both_shapes(async |shape| {
        let server = serve().await;
        let delayed = json!({"name": "room", "min_playout_delay": 200, "maxPlayoutDelay": 500});
        server.ask("CreateRoom", delayed).await;
        let (mut anna, mut bert) = two(&server, shape).await;
        anna.publish("cam", MediaKind::Video).await;
        until("the track is answered", &mut [&mut anna, &mut bert], |p| {
            p[0].published("cam").is_some() && p[0].agreed("cam")
        })
        .await;
        let mut timestamp = 0;
        while bert.heard.is_empty() {
            // A whole keyframe of VP8 in one packet (RFC 7741).
            anna.send(
                "cam",
                timestamp,
                &[0x10, 0, 0, 0, 0x9d, 0x01, 0x2a, 8, 0, 8, 0],
                false,
            )
            .await;
            timestamp += 3_000;
            for _ in 0..3 {
                anna.step().await;
                bert.step().await;
            }
            assert!(timestamp < 3_000 * 500, "nothing arrives");
        }
        assert_eq!(bert.heard[0].playout_delay, Some((200, 500)));
        let twisted = json!({"name": "other", "min_playout_delay": 500, "max_playout_delay": 200});
        let (status, code) = server.refusal("CreateRoom", twisted).await;
        assert_eq!((status, code.as_str()), (400, "invalid_argument"));
    })
    .await;
}
