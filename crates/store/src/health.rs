//! How each tenant fares at the moment: what alert rules are asked about.

use auralink_types::{Reason, TenantId};

use crate::error::StoreError;
use crate::sql::Sql;
use crate::store::Store;
use crate::timestamp::Timestamp;

/// The last minutes of a tenant.
#[derive(Clone, Debug, PartialEq)]
pub struct TenantHealth {
    /// Whose.
    pub tenant: TenantId,
    /// Seconds of tracks.
    pub seconds: u64,
    /// Fallbacks begun.
    pub fallbacks: u64,
    /// Mean quality score.
    pub quality_mean: Option<f64>,
    /// 99th percentile over seconds of their own 99th percentile of latency, milliseconds.
    pub latency_p99_ms: Option<f64>,
    /// Fallbacks begun by reason.
    pub by_reason: Vec<(Reason, u64)>,
}

impl Store {
    /// Every tenant that has rows since then, from the rows themselves.
    pub async fn tenant_health(&self, since: Timestamp) -> Result<Vec<TenantHealth>, StoreError> {
        let sums = Sql::new(
            "SELECT tenant_id, count(*) AS seconds, count(*) FILTER (WHERE fallback_triggered) AS fallbacks, \
             avg(quality_score) AS quality_mean, min(inference_latency_p99_ms) \
             FILTER (WHERE inference_latency_p99_ms IS NOT NULL AND rank >= 0.99) AS latency_p99_ms \
             FROM (SELECT tenant_id, fallback_triggered, quality_score, inference_latency_p99_ms, \
             cume_dist() OVER (PARTITION BY tenant_id, inference_latency_p99_ms IS NULL \
             ORDER BY inference_latency_p99_ms) AS rank FROM aic_metrics WHERE ts_us >= $1) AS recent \
             GROUP BY tenant_id ORDER BY tenant_id",
        );
        let reasons = Sql::new(
            "SELECT tenant_id, fallback_reason, count(*) AS count FROM aic_metrics WHERE ts_us >= $1 \
             AND fallback_triggered AND fallback_reason IS NOT NULL GROUP BY tenant_id, fallback_reason \
             ORDER BY tenant_id, fallback_reason",
        );
        let mut tx = self.read().await?;
        let sums = tx.rows(sums.with(since)).await?;
        let reasons = tx.rows(reasons.with(since)).await?;
        tx.commit().await?;
        let mut tenants = Vec::with_capacity(sums.len());
        for row in &sums {
            let tenant = row.text("tenant_id")?;
            let mut by_reason = Vec::new();
            for reason in &reasons {
                if reason.text("tenant_id")? == tenant {
                    by_reason.push((reason.named("fallback_reason")?, reason.count("count")?));
                }
            }
            tenants.push(TenantHealth {
                tenant: tenant.into(),
                seconds: row.count("seconds")?,
                fallbacks: row.count("fallbacks")?,
                quality_mean: row.get("quality_mean")?,
                latency_p99_ms: row.get("latency_p99_ms")?,
                by_reason,
            });
        }
        Ok(tenants)
    }
}
