//! What the network does to a leg is seen by AIC.
#![allow(clippy::unwrap_used)]

mod peer;

use std::time::{Duration, Instant};

use auralink_types::NetworkClass;
use livekit_protocol as proto;
use peer::aic::{Microphone, config, serve_aic};
use peer::{Peer, in_both_shapes, two, until};
use str0m::media::MediaKind;

const PATIENCE: Duration = Duration::from_secs(40);

#[tokio::test]
async fn the_class_of_a_legs_network_follows_what_its_receiver_loses() {
    in_both_shapes(async |shape| {
        let mut aic = serve_aic().await;
        aic.set("anna", config(false));
        let (mut anna, mut bert) = two(&aic.server, shape).await;
        anna.publish("mic", MediaKind::Audio).await;
        until("the track is answered", &mut [&mut anna, &mut bert], |p| {
            p[0].answers.len() > 1
        })
        .await;
        let mut microphone = Microphone::new();
        // Delays of a busy machine alone make a network fair or poor; bad is only one that loses.
        for lose_every in [0, 2] {
            let wanted = |class: &NetworkClass| match lose_every {
                0 => !matches!(class, NetworkClass::Unknown | NetworkClass::Bad),
                _ => *class == NetworkClass::Bad,
            };
            bert.lose_every(lose_every);
            let start = Instant::now();
            let mut seen = Vec::new();
            while !seen.last().is_some_and(wanted) {
                microphone.step(&mut anna, &mut bert).await;
                while let Ok(row) = aic.rows.try_recv() {
                    seen.push(row.network_class);
                }
                assert!(
                    start.elapsed() < PATIENCE,
                    "one in {lose_every} lost, and the classes were {seen:?}"
                );
            }
            let bad = proto::ConnectionQuality::Poor as i32;
            let told = |p: &Peer| {
                p.quality_of("bert")
                    .is_some_and(|q| (q == bad) == (lose_every > 0))
            };
            while !(told(&anna) && told(&bert)) {
                microphone.step(&mut anna, &mut bert).await;
                let seen = (anna.quality_of("bert"), bert.quality_of("bert"));
                assert!(start.elapsed() < PATIENCE, "bert's bars are {seen:?}");
            }
            println!("one in {lose_every} lost: {seen:?}");
        }
    })
    .await;
}
