//! What media tells of calls, sessions and fallbacks to whoever keeps books.
#![allow(clippy::unwrap_used)]

mod peer;

use std::time::{Duration, Instant};

use auralink_types::{Event, EventKind, SessionRef};
use livekit_protocol as proto;
use peer::aic::{Aic, Microphone, config, off, serve_aic};
use peer::{Peer, Shape, two, until};
use proto::signal_request::Message as Ask;
use str0m::media::MediaKind;

const PATIENCE: Duration = Duration::from_secs(20);

/// Lets Anna talk to Bert until an event of that name is told; resolves to all told so far.
async fn talk_until(
    name: &str,
    aic: &mut Aic,
    seen: &mut Vec<Event>,
    (anna, bert, microphone): (&mut Peer, &mut Peer, &mut Microphone),
) -> Event {
    let start = Instant::now();
    loop {
        let fresh = aic.told();
        let found = fresh.iter().find(|event| event.kind.name() == name).cloned();
        seen.extend(fresh);
        if let Some(found) = found {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "no {name} among {seen:?}");
        microphone.step(anna, bert).await;
    }
}

fn session(event: &Event) -> SessionRef {
    match &event.kind {
        EventKind::SessionStarted(session) | EventKind::SessionEnded(session) => session.clone(),
        EventKind::FallbackTriggered { session, .. } => session.clone(),
        other => panic!("{other:?} is not about a session"),
    }
}

#[tokio::test]
async fn a_call_its_people_and_its_sessions_are_told_in_the_order_in_which_they_happen() {
    let mut aic = serve_aic().await;
    let (mut anna, mut bert) = two(&aic.server, Shape::One).await;
    anna.publish("mic", MediaKind::Audio).await;
    until("the track is answered", &mut [&mut anna, &mut bert], |p| {
        p[0].answers.len() > 1
    })
    .await;
    let mut seen = Vec::new();
    let mut microphone = Microphone::new();
    aic.set("anna", config(false));
    let started = talk_until(
        "aic.session.started",
        &mut aic,
        &mut seen,
        (&mut anna, &mut bert, &mut microphone),
    )
    .await;
    aic.set("anna", off());
    let ended = talk_until(
        "aic.session.ended",
        &mut aic,
        &mut seen,
        (&mut anna, &mut bert, &mut microphone),
    )
    .await;
    assert_eq!(session(&started), session(&ended));
    assert_eq!(
        session(&started).track_id.as_str(),
        anna.published("mic").unwrap().sid
    );
    aic.set("anna", config(false));
    let again = talk_until(
        "aic.session.started",
        &mut aic,
        &mut seen,
        (&mut anna, &mut bert, &mut microphone),
    )
    .await;
    assert_ne!(session(&again).session_id, session(&started).session_id);

    anna.ask(Ask::Leave(proto::LeaveRequest::default())).await;
    until("anna is gone", &mut [&mut bert], |p| {
        p[0].info("anna")
            .is_some_and(|anna| anna.state == proto::participant_info::State::Disconnected as i32)
    })
    .await;
    aic.server.media.shutdown(Duration::from_secs(2)).await;
    seen.extend(aic.told());
    let names: Vec<String> = seen
        .iter()
        .map(|event| {
            format!(
                "{} {}",
                event.kind.name(),
                event.kind.user().map_or("", |user| user.as_str())
            )
        })
        .collect();
    let expected = [
        "call.started ",
        "participant.joined anna",
        "participant.joined bert",
        "track.published anna",
        "aic.session.started anna",
        "aic.session.ended anna",
        "aic.session.started anna",
        "aic.session.ended anna",
        "track.unpublished anna",
        "participant.left anna",
        "participant.left bert",
        "call.ended ",
    ];
    assert_eq!(names, expected);
    assert!(seen.windows(2).all(|pair| pair[0].ts_us <= pair[1].ts_us));
    assert!(
        seen.iter()
            .all(|event| event.call_id == seen[0].call_id && event.room.as_str() == "room")
    );
    assert_eq!(aic.server.media.stats().await.unwrap().counters.events_dropped, 0);

    // With what LiveKit shows of each.
    let told = |name: &str| {
        let event = seen.iter().find(|event| event.kind.name() == name).unwrap();
        event.objects.clone()
    };
    let objects = told("track.published");
    let (room, publisher, track) = (
        objects.room.unwrap(),
        objects.participant.unwrap(),
        objects.track.unwrap(),
    );
    assert_eq!(
        (&room["name"], &room["numParticipants"]),
        (&"room".into(), &2.into())
    );
    assert!(room["creationTime"].is_string());
    assert_eq!(
        (&publisher["identity"], &publisher["state"]),
        (&"anna".into(), &"ACTIVE".into())
    );
    assert_eq!(track["sid"], session(&started).track_id.as_str());
    assert_eq!(
        told("participant.left").participant.unwrap()["state"],
        "DISCONNECTED"
    );
    assert!(told("call.ended").participant.is_none());
}

#[tokio::test]
async fn a_core_that_dies_in_a_call_is_told_as_a_fallback_of_the_session() {
    let mut aic = serve_aic().await;
    aic.set("anna", config(false));
    let (mut anna, mut bert) = two(&aic.server, Shape::One).await;
    anna.publish("mic", MediaKind::Audio).await;
    until("the track is answered", &mut [&mut anna, &mut bert], |p| {
        p[0].answers.len() > 1
    })
    .await;
    let mut microphone = Microphone::new();
    let start = Instant::now();
    let mut coded = false;
    // The publisher of this test obeys no answer, so the core has to code for it.
    while !coded {
        microphone.step(&mut anna, &mut bert).await;
        while let Ok(row) = aic.rows.try_recv() {
            coded |= row.model_used != "original";
        }
        assert!(start.elapsed() < PATIENCE, "the core codes nothing");
    }
    aic.faults.kill_workers(Duration::from_secs(60));
    let mut seen = Vec::new();
    let event = talk_until(
        "aic.fallback.triggered",
        &mut aic,
        &mut seen,
        (&mut anna, &mut bert, &mut microphone),
    )
    .await;
    let EventKind::FallbackTriggered { listener, reason, .. } = &event.kind else {
        panic!("{event:?}");
    };
    println!("told as {reason}");
    assert_eq!(listener.as_str(), "bert");
    let started = seen
        .iter()
        .find(|event| event.kind.name() == "aic.session.started")
        .unwrap();
    assert_eq!(session(started), session(&event));
}
