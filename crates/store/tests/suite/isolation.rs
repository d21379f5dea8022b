//! Nobody sees a foreign row through the store.

use std::fmt::Debug;

use auralink_store::{
    Actor, AlertQuery, AuditQuery, CallQuery, DeliveryQuery, MetricQuery, Scoped, SessionQuery, Span, Step,
    StoreError, Timestamp,
};
use auralink_types::{UserId, UserKey};

use crate::people::{live, operator, user};
use crate::support::{Db, at, both};

both! {
    no_answer_holds_a_row_of_another_user_or_tenant,
    a_look_at_somebody_elses_rows_is_in_the_audit_log_once_a_minute,
    only_an_operator_may_name_another_user,
    a_rooms_admin_sees_all_of_that_room_and_nothing_else_of_others,
    every_entry_of_the_audit_log_names_an_actor,
}

/// Fills the tables with two people of each of two tenants.
pub async fn inhabited(db: &Db) {
    for tenant in ["one", "two"] {
        for name in ["ada", "bob"] {
            live(&db.store, tenant, name).await;
        }
    }
    db.store.refresh_rollups(at(7200)).await.unwrap();
}

/// Every answer there is, as text; what is refused to one who is no operator is left out.
async fn everything(scope: &Scoped) -> String {
    let span = Span::since(Timestamp::from_micros(0));
    let mut all = String::new();
    let mut add = |answer: Result<Box<dyn Debug>, StoreError>| match answer {
        Ok(answer) => all.push_str(&format!("{answer:?}\n")),
        Err(StoreError::OperatorOnly) => {}
        Err(error) => panic!("{error}"),
    };
    macro_rules! ask {
        ($($question:expr),+ $(,)?) => {
            $(add($question.await.map(|answer| Box::new(answer) as Box<dyn Debug>));)+
        };
    }
    ask!(
        scope.config(),
        scope.metrics(&MetricQuery {
            limit: 1000,
            ..Default::default()
        }),
        scope.sessions(&SessionQuery {
            limit: 1000,
            ..Default::default()
        }),
        scope.calls(&CallQuery {
            limit: 1000,
            ..Default::default()
        }),
        scope.performance_summary(&span),
        scope.model_performance(&span),
        scope.quality_distribution(&span),
        scope.performance_series(&span, Step::Hour),
        scope.performance_series(&span, Step::Day),
        scope.fallbacks_by_reason(&span),
        scope.model_history(&span),
        scope.alerts(&AlertQuery {
            limit: 1000,
            ..Default::default()
        }),
        scope.audit(&AuditQuery {
            limit: 1000,
            ..Default::default()
        }),
        scope.endpoints(),
        scope.deliveries(&DeliveryQuery {
            limit: 1000,
            ..Default::default()
        }),
        scope.experiments(None, 1000),
    );
    for tenant in ["one", "two"] {
        for name in ["ada", "bob"] {
            ask!(scope.session(&format!("AS-{name}-of-{tenant}").as_str().into()));
        }
    }
    all
}

async fn no_answer_holds_a_row_of_another_user_or_tenant(db: Db) {
    inhabited(&db).await;
    let ada = everything(&user(&db.store, "one", "ada-of-one")).await;
    assert!(ada.contains("ada-of-one"));
    for foreign in ["bob", "of-two", "boss"] {
        assert!(!ada.contains(foreign), "{foreign} in {ada}");
    }
    let summary = user(&db.store, "one", "ada-of-one");
    let summary = summary.performance_summary(&Span::since(at(0))).await.unwrap();
    assert_eq!(
        (summary.traffic.seconds, summary.sessions, summary.fallbacks),
        (5, 1, 1)
    );

    let boss = everything(&operator(&db.store, "one")).await;
    for own in [
        "ada-of-one",
        "bob-of-one",
        "https://example.com/of-one",
        "experiment ada of-one",
    ] {
        assert!(boss.contains(own), "{own}");
    }
    assert!(!boss.contains("of-two"), "{boss}");
    let about = operator(&db.store, "one").about("ada-of-one".into()).unwrap();
    let about = about
        .metrics(&MetricQuery {
            limit: 1000,
            ..Default::default()
        })
        .await
        .unwrap();
    assert_eq!(about.rows.len(), 5);
    assert!(
        about
            .rows
            .iter()
            .all(|row| row.row.owner.user.as_str() == "ada-of-one")
    );

    for stranger in [
        user(&db.store, "one", "eve"),
        user(&db.store, "three", "ada-of-one"),
        operator(&db.store, "three"),
    ] {
        let seen = everything(&stranger).await;
        for foreign in ["of-one", "of-two"] {
            assert!(!seen.contains(foreign), "{foreign} in {seen}");
        }
    }
}

async fn a_look_at_somebody_elses_rows_is_in_the_audit_log_once_a_minute(db: Db) {
    let boss = operator(&db.store, "one");
    let about = boss.clone().about("ada".into()).unwrap();
    let query = MetricQuery::default();
    about.metrics(&query).await.unwrap();
    about.metrics(&query).await.unwrap();
    boss.metrics(&query).await.unwrap();
    about.config().await.unwrap();
    // His own are nobody else's, and a user has no others.
    boss.clone()
        .about("boss-of-one".into())
        .unwrap()
        .metrics(&query)
        .await
        .unwrap();
    user(&db.store, "one", "ada").metrics(&query).await.unwrap();
    let looks = db
        .texts("SELECT actor || ' ' || action || ' ' || user_id FROM audit_log ORDER BY audit_id")
        .await;
    assert_eq!(
        looks,
        [
            "boss-of-one read.metrics ada",
            "boss-of-one read.metrics ",
            "boss-of-one read.config ada"
        ]
    );
}

async fn only_an_operator_may_name_another_user(db: Db) {
    assert!(matches!(
        user(&db.store, "one", "ada").about("bob".into()),
        Err(StoreError::Forbidden { .. })
    ));
    let across = operator(&db.store, "three").about(UserId::from("ada")).unwrap();
    assert_eq!(across.config().await.unwrap(), None);
}

async fn a_rooms_admin_sees_all_of_that_room_and_nothing_else_of_others(db: Db) {
    inhabited(&db).await;
    let admin = user(&db.store, "one", "mod").in_room("room-RM-ada-of-one".into());
    let seen = everything(&admin).await;
    assert!(seen.contains("AS-ada-of-one"), "{seen}");
    for foreign in ["bob", "of-two", "boss", "quality of"] {
        assert!(!seen.contains(foreign), "{foreign} in {seen}");
    }
    let query = MetricQuery {
        limit: 1000,
        ..Default::default()
    };
    assert_eq!(admin.metrics(&query).await.unwrap().rows.len(), 5);
    let summary = admin.performance_summary(&Span::since(at(0))).await.unwrap();
    assert_eq!(
        (summary.traffic.seconds, summary.sessions),
        (0, 0),
        "figures are a user's own"
    );
    let looks = db
        .texts("SELECT action || ' ' || CAST(detail AS TEXT) FROM audit_log WHERE actor = 'mod' ORDER BY audit_id")
        .await;
    assert!(
        looks
            .iter()
            .any(|look| look.starts_with("read.calls") && look.contains("room-RM-ada-of-one")),
        "{looks:?}"
    );

    // Named, they are a user again, and have none but their own.
    let own = admin.about("mod".into()).unwrap();
    assert_eq!(own.metrics(&query).await.unwrap().rows, []);
    let ada = user(&db.store, "one", "ada-of-one").in_room("room-RM-bob-of-one".into());
    assert_eq!(
        ada.about("ada-of-one".into())
            .unwrap()
            .metrics(&query)
            .await
            .unwrap()
            .rows
            .len(),
        5
    );
    // The room of that name of another tenant is another room.
    let stranger = user(&db.store, "two", "mod").in_room("room-RM-ada-of-one".into());
    assert_eq!(stranger.metrics(&query).await.unwrap().rows, []);
}

async fn every_entry_of_the_audit_log_names_an_actor(db: Db) {
    let nobody = |operator| Actor {
        key: UserKey::new("one", ""),
        operator,
    };
    let boss = db.store.as_user(nobody(true));
    boss.metrics(&MetricQuery::default()).await.unwrap();
    boss.clone().about("ada".into()).unwrap().config().await.unwrap();
    boss.note("test.note", serde_json::json!({}), at(1))
        .await
        .unwrap();
    let admin = db.store.as_user(nobody(false));
    for room in ["kitchen", "hall", "kitchen"] {
        let admin = admin.clone().in_room(room.into());
        admin.sessions(&SessionQuery::default()).await.unwrap();
    }
    let entries = db
        .texts("SELECT actor || ' ' || actor_role || ' ' || action FROM audit_log ORDER BY audit_id")
        .await;
    assert_eq!(
        entries,
        [
            "one operator read.metrics",
            "one operator read.config",
            "one operator test.note",
            "one user read.sessions",
            "one user read.sessions",
        ]
    );
}
