//! On PostgreSQL nobody sees a foreign row past the store either.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::isolation::inhabited;
use crate::support::Db;

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
