//! One room on two shards.
#![allow(clippy::unwrap_used)]

mod peer;

use auralink_media::Ai;
use auralink_token::Claims;
use livekit_protocol as proto;
use peer::{Peer, Server, Shape, in_both_shapes, serve_split, speak, two, until};
use proto::leave_request::Action;
use proto::signal_request::Message as Ask;
use proto::signal_response::Message;

/// A server on which each of two people in a room is on a shard of their own.
async fn serve() -> Server {
    serve_split(Ai::none(), 1).await
}

/// How many are in the room, as this client was told last.
fn people(peer: &Peer) -> Option<u32> {
    peer.messages.iter().rev().find_map(|message| match message {
        Message::RoomUpdate(update) => Some(update.room.as_ref()?.num_participants),
        _ => None,
    })
}

fn want(track: &str, subscribe: bool) -> Ask {
    Ask::Subscription(proto::UpdateSubscription {
        track_sids: vec![track.to_owned()],
        subscribe,
        ..Default::default()
    })
}

async fn relayed(server: &Server) -> u64 {
    server.media.stats().await.unwrap().counters.relayed
}

#[tokio::test]
async fn who_is_on_another_shard_is_heard_like_everybody() {
    in_both_shapes(async |shape: Shape| {
        let server = serve().await;
        let (mut anna, mut bert) = two(&server, shape).await;
        speak(&mut anna, &mut bert).await;
        speak(&mut bert, &mut anna).await;
        let stats = server.media.stats().await.unwrap();
        assert_eq!(
            (stats.participants, stats.rooms, stats.tracks, stats.legs),
            (2, 1, 2, 2)
        );
        assert!(stats.counters.relayed > 0);
        assert_eq!(stats.counters.relayed_lost, 0);
    })
    .await;
}

#[tokio::test]
async fn both_parts_are_one_room_with_one_id_and_one_number_of_people() {
    let server = serve().await;
    let (mut anna, mut bert) = two(&server, Shape::One).await;
    until("both know how many they are", &mut [&mut anna, &mut bert], |p| {
        p.iter().all(|p| people(p) == Some(2))
    })
    .await;
    let ids = [&anna, &bert].map(|peer| peer.join_response().unwrap().room.clone().unwrap().sid);
    assert_eq!(ids[0], ids[1]);
    bert.ask(Ask::Leave(proto::LeaveRequest::default())).await;
    until("anna is alone", &mut [&mut anna, &mut bert], |p| {
        let gone = p[0]
            .info("bert")
            .is_some_and(|bert| bert.state == proto::participant_info::State::Disconnected as i32);
        gone && people(p[0]) == Some(1)
    })
    .await;
}

#[tokio::test]
async fn a_track_that_nobody_wants_on_another_shard_does_not_go_there() {
    let server = serve().await;
    let (mut anna, mut bert) = two(&server, Shape::One).await;
    speak(&mut anna, &mut bert).await;
    let track = anna.published("mic").unwrap().sid.clone();
    bert.ask(want(&track, false)).await;
    for _ in 0..10 {
        anna.step().await;
        bert.step().await;
    }
    let before = relayed(&server).await;
    for number in 0..20 {
        anna.send("mic", 10_000_000 + 960 * number, b"unheard", false)
            .await;
        anna.step().await;
    }
    assert_eq!(relayed(&server).await, before);
    bert.ask(want(&track, true)).await;
    bert.heard.clear();
    let mut timestamp = 20_000_000;
    while bert.heard.is_empty() {
        anna.send("mic", timestamp, b"heard again", false).await;
        timestamp += 960;
        anna.step().await;
        bert.step().await;
        assert!(timestamp < 20_000_000 + 960 * 1000, "nothing arrives");
    }
}

#[tokio::test]
async fn of_a_room_on_two_shards_of_which_one_dies_the_others_stay_and_who_is_asked_to_comes_back() {
    let server = serve().await;
    let (mut anna, mut bert) = two(&server, Shape::One).await;
    speak(&mut anna, &mut bert).await;
    // Nobody else is there: the first is on the first shard.
    server.media.kill_shard(0).await;
    until("anna is asked to come back", &mut [&mut anna, &mut bert], |p| {
        p[0].leave().is_some()
    })
    .await;
    assert_eq!(anna.leave().unwrap().action, Action::Reconnect as i32);
    until("bert is told that she is gone", &mut [&mut bert], |p| {
        p[0].info("anna").unwrap().state == proto::participant_info::State::Disconnected as i32
    })
    .await;
    assert!(bert.leave().is_none());
    drop(anna);
    let claims = Claims::join("room", "anna");
    let mut anna = Peer::join_as(&server, &claims, proto::JoinRequest::default()).await;
    until("she is back", &mut [&mut anna, &mut bert], |p| p[0].connected).await;
    speak(&mut anna, &mut bert).await;
    speak(&mut bert, &mut anna).await;
}

#[tokio::test]
async fn whoever_comes_twice_is_found_on_whatever_shard_they_are() {
    let server = serve().await;
    let (mut anna, mut bert) = two(&server, Shape::One).await;
    for (name, first) in [("anna", &mut anna), ("bert", &mut bert)] {
        let claims = Claims::join("room", name);
        let mut second = Peer::join_as(&server, &claims, proto::JoinRequest::default()).await;
        until("the first has to go", &mut [first, &mut second], |p| {
            p[0].leave().is_some()
        })
        .await;
    }
}
