//! The server's REST interface, as its users see it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::outcome::RestFigures;

/// Longest time for an answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Most pages of metrics read for one run.
const PAGES: usize = 50;

/// A client of one server.
pub struct Rest {
    http: reqwest::Client,
    base: String,
}

/// What the metrics of one user say.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Figures for the table.
    pub figures: RestFigures,
    /// Mean quality score.
    pub quality_score: Option<f64>,
    /// How most of the scores were made.
    pub quality_metric: Option<String>,
    /// Median of the rows' medians.
    pub compress_ms_p50: Option<f64>,
    /// Highest of the rows' 99th percentiles.
    pub compress_ms_p99: Option<f64>,
    /// Fallbacks by reason.
    pub fallbacks: BTreeMap<String, u64>,
}

impl Rest {
    /// For the server at `host:port`.
    pub fn new(address: &str) -> Result<Self> {
        let http = reqwest::Client::builder().timeout(ANSWER).build()?;
        Ok(Self {
            http,
            base: format!("http://{address}/api/v1/aic"),
        })
    }

    /// Sets the configuration of the token's user.
    pub async fn set_config(&self, token: &str, config: &Value) -> Result<Value> {
        let url = format!("{}/config", self.base);
        let request = self.http.post(&url).bearer_auth(token).json(config);
        json(&url, request).await
    }

    /// Kills the AI worker of a development server and keeps it down for a while.
    pub async fn kill_worker(&self, address: &str, token: &str, down_ms: u64) -> Result<()> {
        let url = format!("http://{address}/dev/aic/worker/kill?down_ms={down_ms}");
        let answer = self.http.post(&url).bearer_auth(token).send().await?;
        if !answer.status().is_success() {
            bail!(
                "{url}: {} {}",
                answer.status(),
                answer.text().await.unwrap_or_default()
            );
        }
        Ok(())
    }

    /// Everything the server measured for the token's user.
    pub async fn measured(&self, token: &str) -> Result<Measured> {
        let rows = self.rows(token).await?;
        let url = format!("{}/stats/bandwidth-savings?days=1", self.base);
        let savings = json(&url, self.http.get(&url).bearer_auth(token)).await?;
        Ok(measured(&rows, &savings))
    }

    async fn rows(&self, token: &str) -> Result<Vec<Value>> {
        let mut rows = Vec::new();
        let mut cursor = String::new();
        for _ in 0..PAGES {
            let url = format!("{}/metrics?limit=100{cursor}", self.base);
            let mut page = json(&url, self.http.get(&url).bearer_auth(token)).await?;
            let listed = ["metrics", "items", "rows", "data"]
                .into_iter()
                .find_map(|name| page.get(name)?.as_array().cloned());
            let listed = listed
                .or_else(|| page.as_array().cloned())
                .with_context(|| format!("{url}: no list in {page}"))?;
            rows.extend(listed);
            match page.get_mut("next_cursor").map(Value::take) {
                Some(Value::String(next)) if !next.is_empty() => cursor = format!("&cursor={next}"),
                _ => break,
            }
        }
        Ok(rows)
    }
}

async fn json(url: &str, request: reqwest::RequestBuilder) -> Result<Value> {
    let answer = request
        .send()
        .await
        .with_context(|| format!("no answer from {url}"))?;
    let status = answer.status();
    let text = answer.text().await?;
    if !status.is_success() {
        bail!("{url}: {status} {text}");
    }
    serde_json::from_str(&text).with_context(|| format!("{url}: no JSON: {text}"))
}

fn measured(rows: &[Value], savings: &Value) -> Measured {
    let column = |name: &str| {
        rows.iter()
            .filter_map(|row| row.get(name)?.as_f64())
            .collect::<Vec<_>>()
    };
    let original = mean(&column("original_bandwidth_kbps"));
    let compressed = mean(&column("compressed_bandwidth_kbps"));
    let saved = match (original, compressed) {
        (Some(original), Some(compressed)) if original > 0.0 => Some(100.0 * (1.0 - compressed / original)),
        _ => None,
    };
    let mut latencies = column("inference_latency_ms");
    latencies.sort_by(f64::total_cmp);
    let mut fallbacks = BTreeMap::new();
    for row in rows
        .iter()
        .filter(|row| row.get("fallback_triggered") == Some(&Value::Bool(true)))
    {
        let reason = row
            .get("fallback_reason")
            .and_then(Value::as_str)
            .unwrap_or("unnamed");
        *fallbacks.entry(reason.to_owned()).or_default() += 1;
    }
    Measured {
        figures: RestFigures {
            rows: rows.len(),
            original_kbps: original,
            compressed_kbps: compressed,
            saved_percent: saved,
            avg_savings_percent: savings.get("avg_savings_percent").and_then(Value::as_f64),
            total_saved_mb: savings.get("total_saved_mb").and_then(Value::as_f64),
            total_frames: savings.get("total_frames").and_then(Value::as_u64),
            basis: most(rows.iter().filter_map(|row| row.get("savings_basis")?.as_str())),
        },
        quality_score: mean(&column("quality_score")),
        quality_metric: most(
            rows.iter()
                .filter(|row| row.get("quality_score").is_some_and(Value::is_number))
                .filter_map(|row| row.get("quality_metric")?.as_str()),
        ),
        compress_ms_p50: latencies.get(latencies.len() / 2).copied(),
        compress_ms_p99: column("inference_latency_p99_ms").into_iter().reduce(f64::max),
        fallbacks,
    }
}

/// The word said most often.
fn most<'a>(words: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for word in words {
        *counts.entry(word).or_default() += 1;
    }
    let most = counts.into_iter().max_by_key(|(_, count)| *count)?;
    Some(most.0.to_owned())
}

/// Mean of some values; `None` of none.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_become_figures_and_absent_values_stay_absent() {
        let rows = [
            json!({ "original_bandwidth_kbps": 200.0, "compressed_bandwidth_kbps": 50.0, "savings_basis": "measured",
                    "inference_latency_ms": 0.4, "inference_latency_p99_ms": 0.9, "quality_score": 0.8,
                    "quality_metric": "expected_pesq_wb", "fallback_triggered": false, "fallback_reason": null }),
            json!({ "original_bandwidth_kbps": 200.0, "compressed_bandwidth_kbps": 30.0, "savings_basis": "measured",
                    "inference_latency_ms": null, "quality_score": null,
                    "fallback_triggered": true, "fallback_reason": "core_unreachable" }),
        ];
        let found = measured(
            &rows,
            &json!({ "avg_savings_percent": 80.0, "total_saved_mb": 1.5, "total_frames": 99 }),
        );
        assert_eq!(found.figures.saved_percent, Some(80.0));
        assert_eq!(found.figures.basis.as_deref(), Some("measured"));
        assert_eq!(found.figures.total_frames, Some(99));
        assert_eq!(found.quality_metric.as_deref(), Some("expected_pesq_wb"));
        assert_eq!(
            (found.compress_ms_p50, found.compress_ms_p99),
            (Some(0.4), Some(0.9))
        );
        assert_eq!(found.quality_score, Some(0.8));
        assert_eq!(found.fallbacks.get("core_unreachable"), Some(&1));

        let nothing = measured(&[], &json!({}));
        assert_eq!(nothing.figures, RestFigures::default());
        assert!(nothing.compress_ms_p50.is_none() && nothing.fallbacks.is_empty());
    }
}
