//! Plans of PostgreSQL for the statements that the store really sends, as the server itself logs them: each finds its
//! rows by an index made for it, under the policies of the role that asks.

use auralink_store::cluster::{Cluster, Durability};
use auralink_store::{AlertQuery, MetricQuery, Scoped, SessionQuery, Span, Store, Timestamp};
use sqlx::Connection as _;

use crate::people::{operator, user};
use crate::support::at;

/// 100 users of 2 tenants, 10 sessions each, 200 seconds to a session over five days: enough rows that a planner who
/// may choose has a reason to.
const MANY: &str = "
    SELECT set_config('role', 'auralink_service', false);
    INSERT INTO users SELECT 't' || t, 'u' || u, 0 FROM generate_series(1, 2) t, generate_series(1, 100) u;
    INSERT INTO calls SELECT 't' || t, 'c' || c, 'room', 1789999200000000 + c::bigint * 400000000
        FROM generate_series(1, 2) t, generate_series(1, 1000) c;
    INSERT INTO aic_sessions (tenant_id, session_id, user_id, call_id, track_id, media, started_at_us)
        SELECT 't' || t, 's' || c, 'u' || c % 100 + 1, 'c' || c, 'track', 'audio', 1789999200000000 + c::bigint * 400000000
        FROM generate_series(1, 2) t, generate_series(1, 1000) c;
    INSERT INTO aic_metrics (tenant_id, user_id, call_id, session_id, track_id, ts_us, media, original_bandwidth_kbps,
        compressed_bandwidth_kbps, savings_basis, quality_metric, model_used, frames, fallback_triggered,
        fallback_reason, network_class)
        SELECT 't' || t, 'u' || c % 100 + 1, 'c' || c, 's' || c, 'track',
        1789999200000000 + c::bigint * 400000000 + s * 1000000, 'audio', 100, 20, 'measured', 'estimated_pesq_wb',
        'lean', 50, s % 100 = 0, CASE WHEN s % 100 = 0 THEN 'late' END, 'good'
        FROM generate_series(1, 2) t, generate_series(1, 1000) c, generate_series(1, 200) s;
    INSERT INTO aic_sessions (tenant_id, session_id, user_id, call_id, track_id, media, started_at_us)
        SELECT 't1', 'old' || s, 'u' || s % 100 + 1, 'c1', 'track', 'audio', s FROM generate_series(1, 50000) s;
    INSERT INTO aic_alerts (tenant_id, alert_id, key, kind, severity, user_id, message, value, threshold, raised_at_us,
        last_seen_at_us) SELECT 't' || t, 'a' || a, 'k' || a, 'quality', 'info', 'u' || a % 100 + 1, '', 0, 0, a, a
        FROM generate_series(1, 2) t, generate_series(1, 50000) a;
";

struct Planned {
    cluster: Cluster,
    store: Store,
}

impl Planned {
    async fn start() -> Option<Self> {
        let cluster = match Cluster::start(Durability::None) {
            Ok(cluster) => cluster,
            Err(error) => {
                eprintln!("SKIPPED on PostgreSQL, which could not be started: {error}");
                return None;
            }
        };
        let url = cluster.fresh_database().await.unwrap();
        // A partition for each of the days.
        Store::open(&url)
            .await
            .unwrap()
            .retain(&Default::default(), at(86_400))
            .await
            .unwrap();
        let mut superuser = sqlx::PgConnection::connect(&url.replace("auralink_owner@", "postgres@"))
            .await
            .unwrap();
        sqlx::raw_sql(MANY).execute(&mut superuser).await.unwrap();
        let store = Store::open(&url).await.unwrap();
        store.refresh_rollups(at(4 * 86_400)).await.unwrap();
        sqlx::raw_sql(
            "SELECT set_config('role', 'postgres', false); ANALYZE; \
             ALTER ROLE auralink_owner SET session_preload_libraries = 'auto_explain'; \
             ALTER ROLE auralink_owner SET auto_explain.log_min_duration = 0; \
             ALTER ROLE auralink_owner SET log_min_messages = 'log'",
        )
        .execute(&mut superuser)
        .await
        .unwrap();
        store.close().await;
        let store = Store::open(&url).await.unwrap();
        Some(Self { cluster, store })
    }

    /// The plan of the last statement of this table.
    async fn plan(&self, table: &str, ask: impl Future<Output = ()>) -> String {
        let before = self.log().len();
        ask.await;
        let log = self.log();
        let plans = log[before..].split("Query Text: ").skip(1);
        let last = plans
            .filter(|plan| plan.lines().next().is_some_and(|sql| sql.contains(table)))
            .last();
        last.unwrap_or_else(|| panic!("no plan of {table} in {log}"))
            .to_owned()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.cluster.log()).unwrap()
    }
}

fn uses(plan: &str, indexes: &[&str]) {
    assert!(
        indexes.iter().any(|index| plan.contains(index)),
        "none of {indexes:?} in {plan}"
    );
    assert!(!plan.contains("Seq Scan on aic_metrics_p202609"), "{plan}");
}

fn page(call: Option<&str>) -> MetricQuery {
    MetricQuery {
        call_id: call.map(Into::into),
        limit: 100,
        ..MetricQuery::default()
    }
}

fn people(store: &Store) -> [Scoped; 2] {
    [user(store, "t1", "u7"), operator(store, "t1")]
}

#[tokio::test]
async fn every_answer_finds_its_rows_by_an_index() {
    let Some(planned) = Planned::start().await else {
        return;
    };
    let [ada, boss] = people(&planned.store);
    for scope in [&ada, &boss] {
        let plan = planned
            .plan("aic_metrics", async {
                scope.metrics(&page(Some("c106"))).await.unwrap();
            })
            .await;
        uses(&plan, &["call_id_ts_us_idx"]);
    }
    // A page of a user's or a tenant's newest rows is read from the index in order, not sorted.
    let plan = planned
        .plan("aic_metrics", async {
            ada.metrics(&page(None)).await.unwrap();
        })
        .await;
    uses(&plan, &["user_id_ts_us_idx"]);
    let plan = planned
        .plan("aic_metrics", async {
            boss.metrics(&page(None)).await.unwrap();
        })
        .await;
    uses(&plan, &["tenant_id_ts_us_idx"]);

    let days = Span {
        from: at(86_400),
        to: at(3 * 86_400),
    };
    for scope in [&ada, &boss] {
        let ask = async {
            scope.performance_summary(&days).await.unwrap();
        };
        let plan = planned.plan("aic_performance_daily", ask).await;
        uses(
            &plan,
            &["aic_performance_daily_key", "aic_performance_daily_by_time"],
        );
        assert!(plan.contains("aic_performance_hourly_"), "{plan}");
    }
    let plan = planned
        .plan("fallback_reason", async {
            boss.fallbacks_by_reason(&days).await.unwrap();
        })
        .await;
    uses(&plan, &["tenant_id_ts_us_idx"]);

    let query = SessionQuery {
        limit: 10,
        ..SessionQuery::default()
    };
    let plan = planned
        .plan("aic_sessions", async {
            boss.sessions(&query).await.unwrap();
        })
        .await;
    uses(&plan, &["aic_sessions_by_time"]);
    let plan = planned
        .plan("aic_sessions", async {
            ada.sessions(&query).await.unwrap();
        })
        .await;
    uses(&plan, &["aic_sessions_by_user"]);
    let query = AlertQuery {
        limit: 10,
        ..AlertQuery::default()
    };
    let plan = planned
        .plan("aic_alerts", async {
            boss.alerts(&query).await.unwrap();
        })
        .await;
    uses(&plan, &["aic_alerts_by_time"]);

    // The last minutes of all tenants: the block range index, or partitions so small that reading one is as good.
    let ask = async {
        planned
            .store
            .tenant_health(Timestamp::from_micros(at(4 * 86_400).as_micros()))
            .await
            .unwrap();
    };
    let plan = planned.plan("latency_p99_ms", ask).await;
    assert!(
        plan.contains("ts_us_idx") || !plan.contains("Seq Scan on aic_metrics_p20260921"),
        "{plan}"
    );
}
