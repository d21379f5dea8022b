//! One user's data: handed out whole, erased whole, and no table forgotten.

use auralink_store::{Span, StoreError};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::people::{live, operator, row, user, write};
use crate::support::{Db, at, both};

both! {
    everything_about_a_user_is_handed_out_and_nothing_about_another,
    nothing_about_an_erased_user_is_left_in_any_table,
    an_erased_operator_leaves_no_name_in_what_he_did,
    a_long_export_loses_nothing_between_its_chunks,
    a_user_erases_himself_and_no_other,
}

/// Columns that name a user, whatever the table.
const NAMING: [&str; 3] = ["user_id", "actor", "acked_by"];

/// How many rows of a table bear the text anywhere.
pub async fn bearing(db: &Db, table: &str, text: &str) -> i64 {
    let row = if db.is_postgres() {
        "t::text".to_owned()
    } else {
        let columns = db.columns(table).await;
        let columns: Vec<_> = columns
            .iter()
            .map(|column| format!("coalesce({column}, '')"))
            .collect();
        columns.join(" || ' ' || ")
    };
    db.number(&format!(
        "SELECT count(*) FROM {table} t WHERE {row} LIKE '%{text}%'"
    ))
    .await
}

/// Tables that name users; each must have a row about ada, else the tests here would show nothing about it.
async fn personal_tables(db: &Db) -> Vec<String> {
    let mut found = Vec::new();
    for table in db.tables().await {
        let columns = db.columns(&table).await;
        if columns
            .iter()
            .any(|column| NAMING.contains(&column.as_str()) || column.ends_with("_by"))
        {
            assert!(
                bearing(db, &table, "ada-of-one").await > 0,
                "{table} has no row about ada"
            );
            found.push(table);
        }
    }
    assert!(found.len() >= 10, "{found:?}");
    found
}

async fn inhabited(db: &Db) {
    for (tenant, name) in [("one", "ada"), ("one", "bob"), ("two", "ada")] {
        live(&db.store, tenant, name).await;
    }
    operator(&db.store, "one")
        .about("ada-of-one".into())
        .unwrap()
        .config()
        .await
        .unwrap();
    db.store.refresh_rollups(at(7200)).await.unwrap();
}

async fn export(scope: &auralink_store::Scoped) -> Vec<Value> {
    let (lines, mut arriving) = mpsc::channel::<String>(4);
    let read = async {
        let mut all = Vec::new();
        while let Some(line) = arriving.recv().await {
            assert!(line.ends_with('\n'));
            all.push(serde_json::from_str(&line).unwrap());
        }
        all
    };
    let (count, all) = tokio::join!(scope.export(lines), read);
    assert_eq!(count.unwrap(), all.len() as u64);
    all
}

async fn everything_about_a_user_is_handed_out_and_nothing_about_another(db: Db) {
    inhabited(&db).await;
    let tables = personal_tables(&db).await;
    let lines = export(&user(&db.store, "one", "ada-of-one")).await;
    for table in tables.iter().filter(|table| !table.ends_with("_all")) {
        let rows: Vec<_> = lines
            .iter()
            .filter(|line| line["table"] == table.as_str())
            .collect();
        assert!(!rows.is_empty(), "{table} was not handed out");
        let columns = db.columns(table).await;
        assert!(
            columns.iter().all(|column| rows[0]["row"].get(column).is_some()),
            "{table}"
        );
    }
    let text = serde_json::to_string(&lines).unwrap();
    assert!(!text.contains("bob") && !text.contains("of-two"), "{text}");
    let metrics = lines.iter().filter(|line| line["table"] == "aic_metrics");
    assert_eq!(metrics.count(), 5);
    assert_eq!(bearing(&db, "audit_log", "user.export").await, 1);
}

async fn nothing_about_an_erased_user_is_left_in_any_table(db: Db) {
    inhabited(&db).await;
    personal_tables(&db).await;
    let mut before = Vec::new();
    for table in db.tables().await {
        before.push((
            table.clone(),
            bearing(&db, &table, "bob-of-one").await,
            bearing(&db, &table, "ada-of-two").await,
        ));
    }
    let boss = operator(&db.store, "one");
    let about = boss.clone().about("ada-of-one".into()).unwrap();
    let erased = about.erase(at(8000)).await.unwrap();
    assert!(erased.rows > 15, "{erased:?}");
    for (table, bobs, adas) in before {
        assert_eq!(
            bearing(&db, &table, "ada-of-one").await,
            0,
            "{table} still has her"
        );
        assert_eq!(bearing(&db, &table, "bob-of-one").await, bobs, "{table} lost bob");
        assert_eq!(
            bearing(&db, &table, "ada-of-two").await,
            adas,
            "{table} lost the other ada"
        );
    }
    let left = boss.performance_summary(&Span::since(at(0))).await.unwrap();
    assert_eq!(left.traffic.seconds, 5, "bob's alone");
    let notes = db
        .texts("SELECT actor || ' ' || user_id FROM audit_log WHERE action = 'user.erase'")
        .await;
    assert_eq!(notes, ["boss-of-one (erased)"]);
    assert_eq!(about.erase(at(8001)).await.unwrap().rows, 0);
}

async fn an_erased_operator_leaves_no_name_in_what_he_did(db: Db) {
    inhabited(&db).await;
    let boss = operator(&db.store, "one");
    let alerts = boss
        .alerts(&auralink_store::AlertQuery {
            limit: 1,
            ..Default::default()
        })
        .await
        .unwrap();
    db.run("UPDATE aic_alerts SET acked_by = 'boss-of-one' WHERE tenant_id = 'one'")
        .await
        .unwrap();
    boss.clone()
        .about("boss-of-one".into())
        .unwrap()
        .erase(at(8000))
        .await
        .unwrap();
    for table in db.tables().await {
        assert_eq!(bearing(&db, &table, "boss-of-one").await, 0, "{table}");
    }
    let id = &alerts.rows[0].alert_id;
    let acked = db
        .texts(&format!(
            "SELECT acked_by FROM aic_alerts WHERE alert_id = '{id}'"
        ))
        .await;
    assert_eq!(acked, ["(erased)"]);
    assert!(bearing(&db, "audit_log", "(erased)").await > 1);
}

async fn a_long_export_loses_nothing_between_its_chunks(db: Db) {
    let rows = (0..1201).map(|number| {
        row(
            "one",
            "ada",
            &format!("AS_{}", number % 7),
            at(number).as_micros(),
        )
    });
    write(&db.store, rows).await;
    let lines = export(&user(&db.store, "one", "ada")).await;
    let mut seconds: Vec<_> = lines
        .iter()
        .filter(|line| line["table"] == "aic_metrics")
        .map(|line| line["row"]["ts_us"].as_i64().unwrap())
        .collect();
    seconds.sort_unstable();
    assert!(
        seconds
            .iter()
            .copied()
            .eq((0..1201).map(|number| at(number).as_micros()))
    );
}

async fn a_user_erases_himself_and_no_other(db: Db) {
    inhabited(&db).await;
    let bob = user(&db.store, "one", "bob-of-one");
    assert!(matches!(
        bob.clone().about("ada-of-one".into()),
        Err(StoreError::Forbidden { .. })
    ));
    bob.erase(at(8000)).await.unwrap();
    assert!(bearing(&db, "aic_metrics", "ada-of-one").await > 0);
    assert_eq!(bearing(&db, "audit_log", "bob-of-one").await, 0);
    assert_eq!(
        export(&bob).await.len(),
        2,
        "the note about this export, by him and about him"
    );
}
