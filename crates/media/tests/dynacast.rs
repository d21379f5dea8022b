//! Publishers are told how much of their video anybody wants.
#![allow(clippy::unwrap_used)]

mod peer;

use std::time::{Duration, Instant};

use livekit_protocol as proto;
use peer::{Peer, in_both_shapes, serve, two, until};
use proto::VideoQuality::{self, High, Low, Medium};
use proto::signal_request::Message as Ask;
use proto::signal_response::Message;
use str0m::media::MediaKind;

/// The qualities that the publisher was last told to send.
fn told(publisher: &Peer) -> Option<Vec<VideoQuality>> {
    publisher.messages.iter().rev().find_map(|message| match message {
        Message::SubscribedQualityUpdate(update) => {
            let codec = &update.subscribed_codecs[0];
            assert_eq!(codec.codec, "vp8");
            let enabled = codec.qualities.iter().filter(|quality| quality.enabled);
            Some(enabled.map(|quality| quality.quality()).collect())
        }
        _ => None,
    })
}

fn settings(sid: &str, disabled: bool, quality: VideoQuality) -> Ask {
    Ask::TrackSetting(proto::UpdateTrackSettings {
        track_sids: vec![sid.to_owned()],
        disabled,
        quality: quality as i32,
        ..Default::default()
    })
}

#[tokio::test]
async fn more_is_asked_of_a_camera_at_once_and_less_when_nobody_has_wanted_it_for_five_seconds() {
    in_both_shapes(async |shape| {
        let server = serve().await;
        let (mut anna, mut bert) = two(&server, shape).await;
        anna.publish("cam", MediaKind::Video).await;
        until("the track is answered", &mut [&mut anna, &mut bert], |p| {
            p[0].published("cam").is_some() && p[0].agreed("cam")
        })
        .await;
        let sid = anna.published("cam").unwrap().sid.clone();
        let mut timestamp = 0;
        // Media makes it live; Bert has it by himself then.
        while !bert.tracks.values().any(|track| *track == sid) {
            anna.send("cam", timestamp, &[0x10, 0x01, 0, 0], false).await;
            timestamp += 3000;
            anna.step().await;
            bert.step().await;
        }
        assert_eq!(told(&anna), None, "everything is wanted");
        for (disabled, quality, expected, patience) in [
            (true, High, vec![], 5),
            (false, Low, vec![Low], 0),
            (false, High, vec![Low, Medium, High], 0),
            (false, Medium, vec![Low, Medium], 5),
        ] {
            let asked = Instant::now();
            bert.ask(settings(&sid, disabled, quality)).await;
            until(&format!("{expected:?}"), &mut [&mut anna, &mut bert], |p| {
                told(p[0]).as_ref() == Some(&expected)
            })
            .await;
            assert!(
                asked.elapsed() >= Duration::from_secs(patience),
                "{expected:?} too early"
            );
        }
        bert.ask(Ask::Leave(proto::LeaveRequest::default())).await;
        until("nobody is left", &mut [&mut anna, &mut bert], |p| {
            told(p[0]).is_some_and(|told| told.is_empty())
        })
        .await;
    })
    .await;
}
