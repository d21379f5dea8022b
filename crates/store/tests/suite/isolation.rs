//! Nobody sees a foreign row: not through the store, and on PostgreSQL not past it either.

use std::fmt::Debug;

use auralink_store::{
    Actor, AlertQuery, AuditQuery, CallQuery, DeliveryQuery, MetricQuery, Scoped, SessionQuery, Span, Step,
    StoreError, Timestamp,
};
use auralink_types::{UserId, UserKey};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::people::{live, operator, user};
use crate::support::{Db, at, both};

both! {
    no_answer_holds_a_row_of_another_user_or_tenant,
    a_look_at_somebody_elses_rows_is_in_the_audit_log_once_a_minute,
    only_an_operator_may_name_another_user,
    a_rooms_admin_sees_all_of_that_room_and_nothing_else_of_others,
    every_entry_of_the_audit_log_names_an_actor,
}

async fn inhabited(db: &Db) {
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

/// Rows that a role sees of a table with these settings, and how many of them are foreign.
async fn seen(
    connection: &mut PgConnection,
    role: &str,
    tenant: &str,
    user: &str,
    table: &str,
    foreign: &str,
) -> Result<(i64, i64), sqlx::Error> {
    let mut tx = connection.begin().await?;
    if !role.is_empty() {
        sqlx::query(AssertSqlSafe(format!("SET LOCAL ROLE {role}")))
            .execute(&mut *tx)
            .await?;
    }
    sqlx::query("SELECT set_config('app.tenant_id', $1, true), set_config('app.user_id', $2, true)")
        .bind(tenant)
        .bind(user)
        .execute(&mut *tx)
        .await?;
    let sql = format!("SELECT count(*), count(*) FILTER (WHERE {foreign}) FROM {table}");
    sqlx::query_as(AssertSqlSafe(sql)).fetch_one(&mut *tx).await
}

#[tokio::test]
async fn past_the_store_too_each_role_sees_its_own_rows_and_the_owner_of_the_tables_none() {
    let Some(db) = Db::postgres().await else { return };
    inhabited(&db).await;
    let mut connection = PgConnection::connect(&db.url).await.unwrap();
    let mut tables = db.tables().await;
    tables.extend(["aic_performance_hourly".into(), "aic_performance_daily".into()]);
    let partitions = db.texts("SELECT inhrelid::regclass::text FROM pg_inherits").await;
    let mut checked = 0;
    for table in &tables {
        let columns = db.columns(table).await;
        let has = |name: &str| columns.iter().any(|column| column == name);
        if !has("tenant_id") {
            assert!(
                matches!(
                    table.as_str(),
                    "aic_rollup_state" | "aic_state" | "aic_servers" | "erasures"
                ),
                "{table} has no tenant"
            );
            continue;
        }
        checked += 1;
        let whole = db.number(&format!("SELECT count(*) FROM {table}")).await;
        let is_view = table.starts_with("aic_performance_");
        assert!(
            whole > 0 || is_view && !table.ends_with("_all"),
            "{table} is empty: the test shows nothing"
        );

        let owner = seen(&mut connection, "", "one", "ada-of-one", table, "true").await;
        assert!(
            matches!(owner, Ok((0, 0)) | Err(_)),
            "{table} as owner: {owner:?}"
        );

        let foreign = "tenant_id <> 'one'";
        match seen(
            &mut connection,
            "auralink_operator",
            "one",
            "boss-of-one",
            table,
            foreign,
        )
        .await
        {
            Ok((own, foreign)) => {
                assert!(
                    own > 0 && foreign == 0,
                    "{table} as operator: {own} rows, {foreign} foreign"
                );
            }
            Err(_) => assert!(table.ends_with("_all"), "{table} is refused to operators"),
        }
        let foreign = if has("user_id") {
            "tenant_id <> 'one' OR user_id <> 'ada-of-one'"
        } else {
            "tenant_id <> 'one'"
        };
        match seen(
            &mut connection,
            "auralink_user",
            "one",
            "ada-of-one",
            table,
            foreign,
        )
        .await
        {
            Ok((own, foreign)) => {
                assert!(
                    own > 0 && foreign == 0,
                    "{table} as user: {own} rows, {foreign} foreign"
                );
            }
            Err(_) => {
                let tenants = [
                    "aic_model_performance",
                    "experiments",
                    "webhook_deliveries",
                    "webhook_endpoints",
                    "webhook_events",
                ];
                assert!(
                    table.ends_with("_all") || tenants.contains(&table.as_str()),
                    "{table} is refused to users"
                );
            }
        }
        // Without settings, or with those of nobody, there is nothing.
        for (tenant, user) in [("", ""), ("one", ""), ("three", "ada-of-one")] {
            let nobody = seen(&mut connection, "auralink_user", tenant, user, table, "true").await;
            assert!(
                matches!(nobody, Ok((0, 0)) | Err(_)),
                "{table} as ({tenant}, {user}): {nobody:?}"
            );
        }
    }
    assert!(checked >= 16, "{checked} tables");
    assert!(partitions.len() > 3);
    for partition in &partitions {
        for role in ["", "auralink_user", "auralink_operator", "auralink_service"] {
            let found = seen(&mut connection, role, "one", "ada-of-one", partition, "true").await;
            assert!(
                matches!(found, Ok((0, 0)) | Err(_)),
                "{partition} as {role:?}: {found:?}"
            );
        }
    }
}

#[tokio::test]
async fn past_the_store_nobody_writes_a_foreign_row_or_lifts_the_protection() {
    let Some(db) = Db::postgres().await else { return };
    inhabited(&db).await;
    let mut connection = PgConnection::connect(&db.url).await.unwrap();
    for (role, sql) in [
        ("auralink_user", "INSERT INTO users VALUES ('one', 'eve', 0)"),
        ("auralink_user", "UPDATE aic_configs SET user_id = 'bob-of-one'"),
        (
            "auralink_user",
            "INSERT INTO audit_log (tenant_id, actor, actor_role, action, user_id, detail, at_us) VALUES ('one', 'x', 'user', 'x', 'bob-of-one', '{}', 0)",
        ),
        ("auralink_user", "DELETE FROM aic_metrics"),
        ("auralink_user", "DELETE FROM audit_log"),
        ("auralink_user", "UPDATE aic_alerts SET message = 'x'"),
        ("auralink_user", "SELECT * FROM aic_performance_daily_all"),
        ("auralink_operator", "SELECT * FROM aic_performance_hourly_all"),
        ("auralink_user", "SELECT erasure_key FROM aic_state"),
        ("auralink_operator", "SELECT erasure_key FROM aic_state"),
        ("auralink_user", "SELECT * FROM erasures"),
        ("auralink_operator", "DELETE FROM erasures"),
        ("auralink_operator", "UPDATE aic_servers SET beats = 0"),
        ("auralink_operator", "INSERT INTO users VALUES ('two', 'eve', 0)"),
        (
            "auralink_operator",
            "UPDATE webhook_endpoints SET tenant_id = 'two'",
        ),
        ("auralink_operator", "DELETE FROM audit_log"),
        ("auralink_service", "ALTER TABLE users DISABLE ROW LEVEL SECURITY"),
        ("auralink_service", "DROP TABLE audit_log"),
    ] {
        let mut tx = connection.begin().await.unwrap();
        let set = format!(
            "SET LOCAL ROLE {role}; SET LOCAL app.tenant_id = 'one'; SET LOCAL app.user_id = 'ada-of-one'"
        );
        sqlx::raw_sql(AssertSqlSafe(set)).execute(&mut *tx).await.unwrap();
        let done = sqlx::query(AssertSqlSafe(sql)).execute(&mut *tx).await;
        assert!(done.is_err(), "{role} could {sql}: {done:?}");
    }
}
