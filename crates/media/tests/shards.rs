//! Several shards behind one port.
#![allow(clippy::unwrap_used)]

mod peer;

use auralink_token::Claims;
use livekit_protocol as proto;
use peer::{Peer, Server, serve, speak, until};
use proto::leave_request::Action;

/// Two who talk in that room, the first to the second.
async fn talkers(server: &Server, room: &str) -> (Peer, Peer) {
    let mut pair = Vec::new();
    for name in ["anna", "bert"] {
        pair.push(Peer::join_as(server, &Claims::join(room, name), proto::JoinRequest::default()).await);
    }
    let (mut bert, mut anna) = (pair.pop().unwrap(), pair.pop().unwrap());
    until("both are connected", &mut [&mut anna, &mut bert], |p| {
        p.iter().all(|p| p.connected)
    })
    .await;
    speak(&mut anna, &mut bert).await;
    (anna, bert)
}

/// The first says so many numbers, and the second hears each of them once.
async fn all_is_heard(anna: &mut Peer, bert: &mut Peer, count: u32) {
    until("what was said before is heard", &mut [anna, bert], |_| true).await;
    for _ in 0..10 {
        anna.step().await;
        bert.step().await;
    }
    bert.heard.clear();
    for number in 0..count {
        anna.send("mic", 1_000_000 + 960 * number, &number.to_be_bytes(), false)
            .await;
        anna.step().await;
        bert.step().await;
    }
    until("everything is heard", &mut [anna, bert], |p| {
        p[1].heard.len() >= count as usize
    })
    .await;
    let heard: Vec<_> = bert.heard.iter().map(|heard| heard.payload.clone()).collect();
    let said: Vec<_> = (0..count).map(|number| number.to_be_bytes().to_vec()).collect();
    assert_eq!(heard, said);
}

#[tokio::test]
async fn whoever_is_on_any_shard_is_reached_through_the_one_port() {
    let server = serve().await;
    assert_eq!(server.media.shards(), 2);
    let mut rooms = Vec::new();
    for number in 0..6 {
        rooms.push(talkers(&server, &format!("room {number}")).await);
    }
    for (anna, bert) in &mut rooms {
        all_is_heard(anna, bert, 20).await;
    }
    let stats = server.media.stats().await.unwrap();
    assert_eq!((stats.rooms, stats.participants, stats.legs), (6, 12, 6));
    // The system spreads twelve addresses over the sockets by chance: that all are right is one in four thousand.
    assert!(stats.counters.handed_over > 0);
    assert_eq!(stats.counters.unsent, 0);
}

#[tokio::test]
async fn a_shard_that_dies_asks_its_people_to_come_back_and_nobody_else_notices() {
    let server = serve().await;
    // Whose number the first room gets is not fixed: it is found out.
    let mut first = talkers(&server, "first").await;
    let mut second = talkers(&server, "second").await;
    server.media.kill_shard(0).await;
    until("somebody is told", &mut [&mut first.1, &mut second.1], |p| {
        p.iter().any(|p| p.leave().is_some())
    })
    .await;
    let (mut dead, mut alive, name) = if first.1.leave().is_some() {
        (first, second, "first")
    } else {
        (second, first, "second")
    };
    let leave = dead.1.leave().unwrap();
    assert_eq!(leave.action, Action::Reconnect as i32);
    assert!(alive.0.leave().is_none() && alive.1.leave().is_none());
    all_is_heard(&mut alive.0, &mut alive.1, 20).await;
    until("the publisher is told as well", &mut [&mut dead.0], |p| {
        p[0].leave().is_some()
    })
    .await;
    let (mut anna, mut bert) = talkers(&server, name).await;
    all_is_heard(&mut anna, &mut bert, 20).await;
    let stats = server.media.stats().await.unwrap();
    assert_eq!(stats.counters.shard_deaths, 1);
    assert_eq!((stats.rooms, stats.participants), (2, 4));
}
