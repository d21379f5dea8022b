//! Whoever was erased doesn't come back by rows and events that were still on their way.

use std::path::Path;
use std::time::Duration;

use auralink_store::{
    AuditQuery, CallQuery, EventWriter, MetricQuery, MetricWriter, NewAlert, Retention, Severity,
};
use auralink_types::AlertKind;
use auralink_types::{Event, EventKind, Reason};

use crate::people::{enable, event, live, operator, row, session, user, write};
use crate::personal;
use crate::support::{Db, at, both};

both! {
    rows_and_events_of_a_call_that_outlives_its_erased_user_bring_nothing_back,
    events_that_waited_for_the_database_bring_nobody_back,
    an_alert_about_an_erased_user_names_nobody,
    an_operator_who_looks_for_an_erased_user_leaves_no_name_behind,
    whoever_comes_back_of_his_own_accord_is_known_again_without_his_past,
    others_in_a_call_of_an_erased_user_keep_it_without_the_name_of_the_room,
    somebody_who_joins_an_erased_call_does_not_bring_its_room_back,
    a_user_of_whom_nothing_is_left_is_forgotten_in_time,
    hashes_of_erased_names_differ_between_databases,
}

const NAME: &str = "ada-lovelace-1815";

/// An event of a call in a room that bears her name.
fn told(call: &str, seconds: i64, kind: EventKind) -> Event {
    told_of(NAME, call, seconds, kind)
}

/// Likewise in another room.
fn told_of(room: &str, call: &str, seconds: i64, kind: EventKind) -> Event {
    let mut event = event("one", call, seconds, kind);
    event.room = room.into();
    event.objects.room = Some(serde_json::json!({ "sid": call, "name": room }));
    event
}

fn joined(user: &str, stay: &str) -> EventKind {
    EventKind::ParticipantJoined {
        user: user.into(),
        participant: stay.into(),
    }
}

fn left(user: &str, stay: &str) -> EventKind {
    EventKind::ParticipantLeft {
        user: user.into(),
        participant: stay.into(),
    }
}

/// Tables in which the name stands anywhere.
async fn bearing(db: &Db, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    for table in db.tables().await {
        if personal::bearing(db, &table, name).await > 0 {
            found.push(table);
        }
    }
    found
}

async fn tell(db: &Db, events: impl IntoIterator<Item = Event>) {
    let writer = EventWriter::start(db.store.clone());
    for event in events {
        writer.push(event);
    }
    assert!(writer.flush().await);
    assert_eq!(writer.stats().refused, 0);
}

async fn erase(db: &Db, seconds: i64) {
    operator(&db.store, "one")
        .about(NAME.into())
        .unwrap()
        .erase(at(seconds))
        .await
        .unwrap();
    assert_eq!(bearing(db, NAME).await, Vec::<String>::new());
}

async fn calls(db: &Db) -> Vec<(String, i64)> {
    let query = CallQuery {
        limit: 10,
        ..CallQuery::default()
    };
    let page = operator(&db.store, "one").calls(&query).await.unwrap();
    page.rows
        .iter()
        .map(|call| (call.room.to_string(), call.participants as i64))
        .collect()
}

async fn rows_and_events_of_a_call_that_outlives_its_erased_user_bring_nothing_back(db: Db) {
    let writer = MetricWriter::start(db.store.clone());
    tell(
        &db,
        [
            told("RM_1", 0, EventKind::CallStarted),
            told("RM_1", 0, joined(NAME, "PA_1")),
            told("RM_1", 1, EventKind::SessionStarted(session(NAME, "AS_1"))),
        ],
    )
    .await;
    writer.push(row("one", NAME, "AS_1", at(2).as_micros()));
    assert!(writer.flush().await);
    assert!(bearing(&db, NAME).await.len() >= 6);

    erase(&db, 5).await;
    // The writer believes that her session is stored; one row waited in its spool, another was measured later.
    for seconds in [3, 6] {
        writer.push(row("one", NAME, "AS_1", at(seconds).as_micros()));
    }
    let mut other = row("one", "bob", "AS_2", at(6).as_micros());
    other.call_id = "RM_2".into();
    writer.push(other);
    assert!(writer.flush().await);
    assert_eq!((writer.stats().written, writer.stats().refused), (2, 2));
    let fallback = EventKind::FallbackTriggered {
        session: session(NAME, "AS_1"),
        listener: "bob".into(),
        reason: Reason::Late,
    };
    tell(
        &db,
        [
            told("RM_1", 6, fallback),
            told("RM_1", 7, EventKind::SessionEnded(session(NAME, "AS_1"))),
            // AIC had begun on another track before the servers knew.
            told("RM_1", 8, EventKind::SessionStarted(session(NAME, "AS_3"))),
            told("RM_1", 9, EventKind::SessionEnded(session(NAME, "AS_3"))),
            told("RM_1", 30, left(NAME, "PA_1")),
            told("RM_1", 30, EventKind::CallEnded),
        ],
    )
    .await;
    assert_eq!(bearing(&db, NAME).await, Vec::<String>::new());
    assert_eq!(
        db.texts("SELECT user_id FROM users WHERE tenant_id = 'one'")
            .await,
        ["bob"]
    );
    assert_eq!(db.number("SELECT count(*) FROM webhook_events").await, 0);
}

async fn events_that_waited_for_the_database_bring_nobody_back(db: Db) {
    user(&db.store, "one", NAME)
        .change_config(&enable())
        .await
        .unwrap();
    erase(&db, 5).await;
    let start = |call: &str, room: &str| {
        [
            told_of(room, call, 0, EventKind::CallStarted),
            told_of(room, call, 1, joined(NAME, "PA_1")),
            told_of(room, call, 6, EventKind::CallEnded),
        ]
    };
    tell(&db, start("RM_1", NAME)).await;
    tell(&db, start("RM_2", "surprise party")).await;
    assert_eq!(bearing(&db, NAME).await, Vec::<String>::new());
    assert_eq!(bearing(&db, "surprise").await, Vec::<String>::new());
    assert_eq!(calls(&db).await, []);
}

async fn an_alert_about_an_erased_user_names_nobody(db: Db) {
    live(&db.store, "one", "ada").await;
    let name = "ada-of-one";
    let about = operator(&db.store, "one").about(name.into()).unwrap();
    about.erase(at(100)).await.unwrap();
    let alert = NewAlert {
        tenant: "one".into(),
        key: "quality:AS_1".into(),
        kind: AlertKind::Quality,
        severity: Severity::Warning,
        user: Some(name.into()),
        session: Some("AS_1".into()),
        message: "quality".into(),
        value: 0.5,
        threshold: 0.85,
    };
    let raised = db
        .store
        .raise_alert(&alert, Duration::ZERO, at(101))
        .await
        .unwrap();
    assert_eq!((raised.alert.user_id, raised.fresh), (None, true));
    assert_eq!(bearing(&db, name).await, Vec::<String>::new());
}

async fn an_operator_who_looks_for_an_erased_user_leaves_no_name_behind(db: Db) {
    live(&db.store, "one", "ada").await;
    let name = "ada-of-one";
    let about = operator(&db.store, "one").about(name.into()).unwrap();
    about.erase(at(100)).await.unwrap();
    for _ in 0..2 {
        about.config().await.unwrap();
    }
    assert_eq!(bearing(&db, name).await, Vec::<String>::new());
    let all = AuditQuery {
        limit: 10,
        ..AuditQuery::default()
    };
    let log = operator(&db.store, "one").audit(&all).await.unwrap();
    let of = |action: &str| log.rows.iter().filter(|e| e.action == action).collect::<Vec<_>>();
    let (erased, looked) = (of("user.erase"), of("read.config"));
    assert_eq!((erased.len(), looked.len()), (1, 1));
    assert_eq!(looked[0].user_id, "(erased)");
    assert_eq!(looked[0].detail["subject"], erased[0].detail["subject"]);
}

async fn whoever_comes_back_of_his_own_accord_is_known_again_without_his_past(db: Db) {
    let ada = user(&db.store, "one", NAME);
    let query = MetricQuery {
        limit: 10,
        ..MetricQuery::default()
    };
    write(&db.store, [row("one", NAME, "AS_1", at(1).as_micros())]).await;
    erase(&db, 5).await;
    tell(
        &db,
        [
            told_of("kitchen", "RM_2", 10, EventKind::CallStarted),
            told_of("kitchen", "RM_2", 10, joined(NAME, "PA_2")),
        ],
    )
    .await;
    let rows = [
        row("one", NAME, "AS_1", at(4).as_micros()),
        row("one", NAME, "AS_2", at(11).as_micros()),
    ];
    write(&db.store, rows).await;
    let seen = ada.metrics(&query).await.unwrap().rows;
    let seconds: Vec<_> = seen.iter().map(|row| row.row.ts_us).collect();
    assert_eq!(seconds, [at(11).as_micros()]);
    // By a configuration as well.
    erase(&db, 20).await;
    ada.change_config(&enable()).await.unwrap();
    write(&db.store, [row("one", NAME, "AS_3", at(21).as_micros())]).await;
    assert_eq!(ada.metrics(&query).await.unwrap().rows.len(), 1);
}

async fn others_in_a_call_of_an_erased_user_keep_it_without_the_name_of_the_room(db: Db) {
    tell(
        &db,
        [
            told("RM_1", 0, EventKind::CallStarted),
            told("RM_1", 0, joined(NAME, "PA_1")),
            told("RM_1", 1, joined("bob", "PA_2")),
        ],
    )
    .await;
    erase(&db, 5).await;
    tell(
        &db,
        [
            told("RM_1", 6, left(NAME, "PA_1")),
            told("RM_1", 7, joined("eve", "PA_3")),
            told("RM_1", 8, left("bob", "PA_2")),
            told("RM_1", 30, EventKind::CallEnded),
        ],
    )
    .await;
    assert_eq!(bearing(&db, NAME).await, Vec::<String>::new());
    assert_eq!(calls(&db).await, [("(erased)".to_owned(), 2)]);
    let names = db
        .texts("SELECT event FROM webhook_events ORDER BY event_id")
        .await;
    assert_eq!(names, ["participant.joined", "participant.left", "call.ended"]);
}

async fn somebody_who_joins_an_erased_call_does_not_bring_its_room_back(db: Db) {
    let room = |seconds, kind| told_of("surprise party", "RM_1", seconds, kind);
    tell(
        &db,
        [room(0, EventKind::CallStarted), room(0, joined(NAME, "PA_1"))],
    )
    .await;
    erase(&db, 5).await;
    tell(
        &db,
        [
            room(6, joined("bob", "PA_2")),
            room(7, left(NAME, "PA_1")),
            room(8, left("bob", "PA_2")),
            room(28, EventKind::CallEnded),
        ],
    )
    .await;
    assert_eq!(bearing(&db, "surprise").await, Vec::<String>::new());
    assert_eq!(calls(&db).await, [("(erased)".to_owned(), 1)]);
}

async fn a_user_of_whom_nothing_is_left_is_forgotten_in_time(db: Db) {
    tell(&db, [event("one", "RM_1", 0, joined("ada", "PA_1"))]).await;
    tell(&db, [event("one", "RM_1", 9, EventKind::CallEnded)]).await;
    user(&db.store, "one", "bob")
        .change_config(&enable())
        .await
        .unwrap();
    erase(&db, 5).await;
    let days = |days: i64| at(86_400 * days);
    db.store.retain(&Retention::default(), days(399)).await.unwrap();
    assert_eq!(db.number("SELECT count(*) FROM users").await, 2);
    assert_eq!(
        db.number("SELECT count(*) FROM erasures").await,
        0,
        "nothing of hers can be late any more"
    );
    // His configuration is kept for as long as he wants it.
    db.store
        .retain(&Retention::default(), days(40_000))
        .await
        .unwrap();
    assert_eq!(db.texts("SELECT user_id FROM users").await, ["bob"]);
}

async fn hashes_of_erased_names_differ_between_databases(db: Db) {
    let hashes = async |db: &Db| {
        user(&db.store, "one", NAME).erase(at(1)).await.unwrap();
        let details = db
            .texts("SELECT CAST(detail AS TEXT) FROM audit_log WHERE action = 'user.erase'")
            .await;
        let detail: serde_json::Value = serde_json::from_str(&details[0]).unwrap();
        detail["subject"].as_str().unwrap().to_owned()
    };
    let (here, there) = (hashes(&db).await, hashes(&Db::sqlite().await).await);
    assert_eq!((here.len(), there.len()), (64, 64));
    assert_ne!(here, there);
}

/// Where a file of the database has the text, whatever its page is used for.
fn found_in_files(folder: &Path, text: &str) -> Vec<String> {
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let bears = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    files
        .filter(|path| bears(&std::fs::read(path).unwrap()))
        .map(|path| path.display().to_string())
        .collect()
}

#[tokio::test]
async fn nothing_of_an_erased_user_is_left_in_any_byte_of_the_file_or_its_log() {
    let db = Db::sqlite().await;
    let path = db.url.strip_prefix("sqlite:").unwrap();
    let folder = Path::new(path).parent().unwrap();
    // Enough that pages are split and rows moved about between them.
    for turn in 0..40 {
        for user in [NAME, "bob", "eve"] {
            let call = format!("RM_{turn}_{user}");
            let id = format!("AS_{turn}_{user}");
            let rows = (0..30).map(|second| {
                let mut row = row("one", user, &id, at(turn * 100 + second).as_micros());
                row.call_id = call.as_str().into();
                row
            });
            write(&db.store, rows).await;
            tell(
                &db,
                [told(&call, turn * 100, joined(user, &format!("PA_{call}")))],
            )
            .await;
        }
    }
    assert!(!found_in_files(folder, NAME).is_empty());
    erase(&db, 10_000).await;
    assert_eq!(found_in_files(folder, NAME), Vec::<String>::new());
    assert_eq!(db.number("SELECT count(*) FROM aic_metrics").await, 40 * 30 * 2);
    assert_eq!(
        db.number("SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'")
            .await,
        1
    );
}
