//! What a server that was killed held is closed.

use std::time::{Duration, SystemTime};

use auralink_store::{CallQuery, LEASE, Lease, Store, Timestamp};
use auralink_types::EventKind;

use crate::people::{event, operator, row, session, write};
use crate::support::{Db, at};

/// A call under a lease, with one who left and two who didn't.
async fn hold(store: &Store) {
    let joined = |user: &str, stay: &str| EventKind::ParticipantJoined {
        user: user.into(),
        participant: stay.into(),
    };
    for (seconds, kind) in [
        (0, EventKind::CallStarted),
        (0, joined("ada", "PA_1")),
        (0, joined("bob", "PA_2")),
        (1, EventKind::SessionStarted(session("ada", "AS_1"))),
        (1, EventKind::SessionStarted(session("bob", "AS_2"))),
        (2, joined("eve", "PA_3")),
        (
            3,
            EventKind::ParticipantLeft {
                user: "eve".into(),
                participant: "PA_3".into(),
            },
        ),
    ] {
        store.record(&event("one", "RM_1", seconds, kind)).await.unwrap();
    }
    write(store, [row("one", "ada", "AS_1", at(7).as_micros())]).await;
}

/// The ends of sessions, stays and calls, in seconds where they have one.
async fn ends(db: &Db) -> Vec<String> {
    let end = |column: &str| format!("coalesce(CAST({column} AS TEXT), 'open')");
    let [session, stay, call] = [end("ended_at_us"), end("left_at_us"), end("ended_at_us")];
    db.texts(&format!(
        "SELECT session_id || ' ' || {session} FROM aic_sessions UNION ALL \
         SELECT participant_id || ' ' || {stay} FROM call_participants UNION ALL \
         SELECT call_id || ' ' || {call} FROM calls ORDER BY 1"
    ))
    .await
}

async fn open(db: &Db) -> usize {
    ends(db).await.iter().filter(|end| end.ends_with("open")).count()
}

/// As if the server had been killed: its lease stays, and nobody renews it. It was last heard of then.
async fn kill(db: &Db, lease: Lease, seen: Timestamp) {
    drop(lease);
    // A beat may be under way.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let us = seen.as_micros();
    db.run(&format!("UPDATE aic_servers SET beat_at_us = {us}"))
        .await
        .unwrap();
}

fn closed_at(last_seen: i64) -> Vec<String> {
    let at = |seconds: i64| at(seconds).as_micros();
    let seen = at(last_seen);
    vec![
        format!("AS_1 {}", at(7)),
        format!("AS_2 {}", at(1)),
        format!("PA_1 {seen}"),
        format!("PA_2 {seen}"),
        format!("PA_3 {}", at(3)),
        format!("RM_1 {seen}"),
    ]
}

#[tokio::test]
async fn what_a_killed_server_left_open_in_a_file_is_closed_by_the_next_start() {
    let db = Db::sqlite().await;
    let lease = Lease::start(&db.store).await.unwrap();
    hold(&db.store).await;
    kill(&db, lease, at(8)).await;
    assert_eq!(open(&db).await, 5);

    let next = Store::open(&db.url).await.unwrap();
    let lease = Lease::start(&next).await.unwrap();
    assert_eq!(ends(&db).await, closed_at(8));
    let told = db
        .texts("SELECT event FROM webhook_events ORDER BY event_id DESC LIMIT 5")
        .await;
    assert_eq!(
        told,
        [
            "call.ended",
            "participant.left",
            "participant.left",
            "aic.session.ended",
            "aic.session.ended"
        ]
    );
    assert_eq!(db.number("SELECT count(*) FROM aic_servers").await, 1);
    lease.end().await.unwrap();
    assert_eq!(db.number("SELECT count(*) FROM aic_servers").await, 0);
}

#[tokio::test]
async fn a_call_lived_at_least_until_its_last_row_however_old_the_last_beat_is() {
    let db = Db::sqlite().await;
    let lease = Lease::start(&db.store).await.unwrap();
    hold(&db.store).await;
    kill(&db, lease, at(-1000)).await;
    let _next = Lease::start(&Store::open(&db.url).await.unwrap()).await.unwrap();
    assert_eq!(ends(&db).await, closed_at(7));
}

#[tokio::test]
async fn a_server_that_sees_anothers_lease_run_out_closes_what_that_one_held() {
    let Some(db) = Db::postgres().await else { return };
    let lease = Lease::start(&db.store).await.unwrap();
    hold(&db.store).await;
    let others = [
        Store::open(&db.url).await.unwrap(),
        Store::open(&db.url).await.unwrap(),
    ];
    let mut leases = Vec::new();
    for other in &others {
        leases.push(Lease::start(other).await.unwrap());
    }
    tokio::time::sleep(LEASE + Duration::from_secs(2)).await;
    assert_eq!(open(&db).await, 5, "it lives, and so do its calls");

    drop(lease);
    let dead = SystemTime::now();
    while open(&db).await > 0 {
        assert!(dead.elapsed().unwrap() < LEASE * 3, "{:?}", ends(&db).await);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(dead.elapsed().unwrap() >= LEASE - Duration::from_secs(1));
    let query = CallQuery {
        limit: 1,
        ..CallQuery::default()
    };
    let call = operator(&db.store, "one").calls(&query).await.unwrap();
    let ended = call.rows[0].ended_at.unwrap();
    let around = [Duration::from_secs(5), Duration::ZERO].map(|before| Timestamp::from(dead - before));
    assert!(
        (around[0]..=around[1]).contains(&ended),
        "{ended:?} of {around:?}"
    );
    assert_eq!(
        db.number("SELECT count(*) FROM webhook_events WHERE event = 'call.ended'")
            .await,
        1,
        "one of the two has done it"
    );
}

#[tokio::test]
async fn a_server_that_only_stood_still_gets_its_lease_again_and_its_calls_their_true_ends() {
    let db = Db::sqlite().await;
    let lease = Lease::start(&db.store).await.unwrap();
    hold(&db.store).await;
    // Another took it for dead.
    let _other = Lease::start(&Store::open(&db.url).await.unwrap()).await.unwrap();
    assert_eq!(open(&db).await, 0);
    let over = event("one", "RM_1", 500, EventKind::CallEnded);
    db.store.record(&over).await.unwrap();
    assert!(ends(&db).await.contains(&format!("RM_1 {}", at(500).as_micros())));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(db.number("SELECT count(*) FROM aic_servers").await, 2);
    drop(lease);
}

#[tokio::test]
async fn what_earlier_versions_left_open_is_closed_at_the_next_start_and_nobody_is_told() {
    let db = Db::sqlite().await;
    hold(&db.store).await;
    let told = db.number("SELECT count(*) FROM webhook_events").await;
    let _lease = Lease::start(&db.store).await.unwrap();
    assert_eq!(open(&db).await, 0, "{:?}", ends(&db).await);
    assert_eq!(db.number("SELECT count(*) FROM webhook_events").await, told);
}
