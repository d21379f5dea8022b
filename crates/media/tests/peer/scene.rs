//! What happens in many tests: people meet, speak, and wait for each other.

use std::time::{Duration, Instant};

use str0m::media::MediaKind;

use super::{Peer, Server, Shape};

/// How long a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// Lets everybody run until the condition holds; what it waits for is named in the failure.
pub async fn until(what: &str, peers: &mut [&mut Peer], mut done: impl FnMut(&[&mut Peer]) -> bool) {
    let start = Instant::now();
    while !done(peers) {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        for peer in peers.iter_mut() {
            peer.step().await;
        }
    }
}

/// Runs a test with clients of one connection, then with clients of two.
pub async fn in_both_shapes(test: impl AsyncFn(Shape)) {
    for shape in [Shape::One, Shape::Two] {
        println!("{shape:?}");
        test(shape).await;
    }
}

/// Anna and Bert in one room, connected, and told of each other.
pub async fn two(server: &Server, shape: Shape) -> (Peer, Peer) {
    let mut anna = Peer::join_shaped(server, shape, "anna").await;
    let mut bert = Peer::join_shaped(server, shape, "bert").await;
    until("both are connected", &mut [&mut anna, &mut bert], |p| {
        p.iter().all(|p| p.connected) && p[0].info("bert").is_some()
    })
    .await;
    (anna, bert)
}

/// Anna's microphone reaches Bert.
pub async fn speak(anna: &mut Peer, bert: &mut Peer) {
    anna.publish("mic", MediaKind::Audio).await;
    until("the track is answered", &mut [anna, bert], |p| {
        p[0].published("mic").is_some() && p[0].agreed("mic")
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
