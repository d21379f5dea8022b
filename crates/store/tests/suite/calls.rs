//! Calls, participants and sessions from the events of media.

use auralink_store::{CallQuery, EventWriter, SessionQuery};
use auralink_types::{EventKind, Reason};

use crate::people::{event, operator, row, session, user, write};
use crate::support::{Db, at, both};

both! {
    events_of_a_call_are_kept_in_whatever_order_they_and_its_rows_come,
    an_event_told_twice_makes_no_second_row,
    a_fallback_is_told_without_the_name_of_its_listener,
    a_clock_that_is_set_during_a_call_makes_nobodys_stay_longer,
}

async fn events_of_a_call_are_kept_in_whatever_order_they_and_its_rows_come(db: Db) {
    let mut metric = row("one", "ada", "AS_1", at(5).as_micros());
    metric.call_id = "RM_9".into();
    write(&db.store, [metric]).await;
    let writer = EventWriter::start(db.store.clone());
    let joined = |user: &str, participant: &str| EventKind::ParticipantJoined {
        user: user.into(),
        participant: participant.into(),
    };
    let left = EventKind::ParticipantLeft {
        user: "ada".into(),
        participant: "PA_1".into(),
    };
    for (seconds, kind) in [
        (1, joined("ada", "PA_1")),
        (0, EventKind::CallStarted),
        (2, joined("bob", "PA_2")),
        (3, EventKind::SessionStarted(session("ada", "AS_1"))),
        (3, EventKind::SessionStarted(session("bob", "AS_2"))),
        (8, EventKind::SessionEnded(session("ada", "AS_1"))),
        (9, left),
        (10, EventKind::CallEnded),
    ] {
        writer.push(event("one", "RM_9", seconds, kind));
    }
    assert!(writer.flush().await);
    assert_eq!(writer.stats().written, 8);

    let query = CallQuery {
        limit: 10,
        ..CallQuery::default()
    };
    let page = operator(&db.store, "one").calls(&query).await.unwrap();
    let call = &page.rows[0];
    assert_eq!((call.room.as_str(), call.started_at), ("room-RM_9", at(0)));
    assert_eq!(call.ended_at, Some(at(10)));
    assert_eq!((call.participants, call.sessions), (2, 2));
    // Each sees the call and how many were in it, but of the sessions only their own.
    let page = user(&db.store, "one", "bob").calls(&query).await.unwrap();
    assert_eq!((page.rows[0].participants, page.rows[0].sessions), (2, 1));
    assert_eq!(
        user(&db.store, "one", "eve").calls(&query).await.unwrap().rows,
        []
    );

    let query = SessionQuery {
        call_id: Some("RM_9".into()),
        limit: 1,
        ..SessionQuery::default()
    };
    let boss = operator(&db.store, "one");
    let first = boss.sessions(&query).await.unwrap();
    let next = SessionQuery {
        cursor: first.next.clone(),
        ..query
    };
    let second = boss.sessions(&next).await.unwrap();
    let mut ids = [&first.rows[0], &second.rows[0]].map(|session| session.session_id.to_string());
    ids.sort();
    assert_eq!(ids, ["AS_1", "AS_2"]);
    assert_eq!(second.next, None);
    let ada = user(&db.store, "one", "ada");
    let ended = ada.session(&"AS_1".into()).await.unwrap().unwrap();
    assert_eq!((ended.ended_at, ended.traffic.seconds), (Some(at(8)), 1));
}

async fn an_event_told_twice_makes_no_second_row(db: Db) {
    let joined = EventKind::ParticipantJoined {
        user: "ada".into(),
        participant: "PA_1".into(),
    };
    for _ in 0..2 {
        db.store
            .record(&event("one", "RM_1", 1, joined.clone()))
            .await
            .unwrap();
    }
    assert_eq!(db.number("SELECT count(*) FROM call_participants").await, 1);
    assert_eq!(db.number("SELECT count(*) FROM webhook_events").await, 2);
}

async fn a_fallback_is_told_without_the_name_of_its_listener(db: Db) {
    let fallback = EventKind::FallbackTriggered {
        session: session("ada", "AS_1"),
        listener: "bob".into(),
        reason: Reason::Late,
    };
    db.store.record(&event("one", "RM_1", 1, fallback)).await.unwrap();
    let payloads = db.texts("SELECT payload FROM webhook_events").await;
    assert!(payloads[0].contains("\"late\"") && payloads[0].contains("\"ada\""));
    assert!(!payloads[0].contains("bob"));
}

async fn a_clock_that_is_set_during_a_call_makes_nobodys_stay_longer(db: Db) {
    let stay = |user: &str| (user.into(), format!("PA_{user}").as_str().into());
    let joined = |name: &str| {
        let (user, participant) = stay(name);
        EventKind::ParticipantJoined { user, participant }
    };
    let left = |name: &str| {
        let (user, participant) = stay(name);
        EventKind::ParticipantLeft { user, participant }
    };
    let started = EventKind::SessionStarted(session("ada", "AS_1"));
    // The server believes that it is years ago, until the fourth second.
    const YEARS: i64 = 20 * 365 * 86_400;
    for (seconds, kind) in [
        (-YEARS, EventKind::CallStarted),
        (-YEARS, joined("ada")),
        (1 - YEARS, joined("bob")),
        (2 - YEARS, started),
        (3 - YEARS, left("bob")),
        (
            4,
            EventKind::Redated {
                by_us: YEARS * 1_000_000,
            },
        ),
        (5, joined("eve")),
        (9, EventKind::SessionEnded(session("ada", "AS_1"))),
        (9, left("ada")),
        (9, left("eve")),
        (9, EventKind::CallEnded),
    ] {
        db.store
            .record(&event("one", "RM_1", seconds, kind))
            .await
            .unwrap();
    }
    let spans = db
        .texts(
            "SELECT call_id || ' ' || CAST(started_at_us AS TEXT) || ' ' || CAST(ended_at_us AS TEXT) FROM calls \
             UNION ALL SELECT participant_id || ' ' || CAST(joined_at_us AS TEXT) || ' ' || CAST(left_at_us AS TEXT) \
             FROM call_participants UNION ALL SELECT session_id || ' ' || CAST(started_at_us AS TEXT) || ' ' \
             || CAST(ended_at_us AS TEXT) FROM aic_sessions ORDER BY 1",
        )
        .await;
    let span =
        |name: &str, from: i64, to: i64| format!("{name} {} {}", at(from).as_micros(), at(to).as_micros());
    let expected = [
        span("AS_1", 2, 9),
        span("PA_ada", 0, 9),
        span("PA_bob", 1, 3),
        span("PA_eve", 5, 9),
        span("RM_1", 0, 9),
    ];
    assert_eq!(spans, expected);
    let told = "SELECT count(*) FROM webhook_events WHERE event = 'call.redated'";
    assert_eq!(db.number(told).await, 0);
}
