//! Prometheus figures of the control plane and of AIC. No label names a user, a tenant, a call or an address: what is
//! scraped says nothing about anybody.

use std::sync::OnceLock;
use std::time::Duration;

use auralink_types::MetricRow;
use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

pub(crate) const REQUESTS: &str = "auralink_http_requests_total";
pub(crate) const REQUEST_SECONDS: &str = "auralink_http_request_seconds";
pub(crate) const RATE_LIMITED: &str = "auralink_http_rate_limited_total";
pub(crate) const WEBHOOKS: &str = "auralink_webhooks_total";
pub(crate) const EVENTS: &str = "auralink_events_total";
pub(crate) const ALERTS: &str = "auralink_alerts_raised";
pub(crate) const INTAKE_DROPPED: &str = "auralink_intake_dropped_total";
const ROWS: &str = "auralink_aic_track_seconds_total";
const ORIGINAL: &str = "auralink_aic_original_bytes_total";
const COMPRESSED: &str = "auralink_aic_compressed_bytes_total";
const FRAMES: &str = "auralink_aic_frames_total";
const FALLBACKS: &str = "auralink_aic_fallbacks_total";
const LATENCY: &str = "auralink_aic_latency_seconds";
const QUALITY: &str = "auralink_aic_quality_score";
const PREDICTION_ERROR: &str = "auralink_aic_prediction_error";

/// Around the budget of 20 ms, and the 3 ms that audio should take.
const LATENCY_BUCKETS: [f64; 9] = [0.000_25, 0.000_5, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05];
/// The floors of the modes and what lies between.
const QUALITY_BUCKETS: [f64; 8] = [0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95];
/// A tenth of the scale is what listeners begin to notice.
const ERROR_BUCKETS: [f64; 6] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5];
/// An answer should take a few milliseconds.
const REQUEST_BUCKETS: [f64; 8] = [0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 2.0];
/// How often samples are folded into their buckets. Until then each of them takes some twenty bytes.
pub const UPKEEP_EVERY: Duration = Duration::from_secs(5);
/// Bytes of one kilobit.
const BYTES_PER_KBIT: f64 = 125.0;

/// The process's one recorder, installed at the first call.
pub fn prometheus() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let builder = [
            (LATENCY, &LATENCY_BUCKETS[..]),
            (QUALITY, &QUALITY_BUCKETS[..]),
            (PREDICTION_ERROR, &ERROR_BUCKETS[..]),
            (REQUEST_SECONDS, &REQUEST_BUCKETS[..]),
        ]
        .into_iter()
        .fold(PrometheusBuilder::new(), |builder, (name, buckets)| {
            // Refused only when there are no buckets.
            builder
                .set_buckets_for_metric(Matcher::Full(name.into()), buckets)
                .expect("buckets are constants")
        });
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another recorder of figures is installed; /metrics stays empty");
        }
        describe();
        handle
    })
}

/// Folds samples into their buckets for as long as it is polled, whether anybody scrapes or not.
pub async fn upkeep(every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        prometheus().run_upkeep();
    }
}

fn describe() {
    describe_counter!(REQUESTS, "REST requests by path, method and status");
    describe_histogram!(REQUEST_SECONDS, "Time REST requests took");
    describe_counter!(RATE_LIMITED, "REST requests refused with 429");
    describe_counter!(WEBHOOKS, "Webhook attempts by result");
    describe_counter!(EVENTS, "Events of calls by name");
    describe_gauge!(ALERTS, "Alerts that are raised now");
    describe_counter!(
        INTAKE_DROPPED,
        "Rows and events that alerts and figures missed because too many came at once"
    );
    describe_counter!(ROWS, "Seconds of tracks under AIC by media and savings basis");
    describe_counter!(ORIGINAL, "Whole-wire bytes that would have flowed without AIC");
    describe_counter!(COMPRESSED, "Whole-wire bytes that did flow");
    describe_counter!(FRAMES, "Frames that passed AIC");
    describe_counter!(FALLBACKS, "Fallbacks by reason");
    describe_histogram!(
        LATENCY,
        "Median time a frame spent in compression, one sample a second and track"
    );
    describe_histogram!(QUALITY, "Quality score, one sample a second and track");
    describe_histogram!(
        PREDICTION_ERROR,
        "Distance of the predicted quality score from the estimated one, one sample a second and track"
    );
}

/// Counts a row.
pub(crate) fn row(row: &MetricRow) {
    let media = match row.media {
        auralink_types::Media::Audio => "audio",
        auralink_types::Media::Video => "video",
    };
    let basis = match row.savings_basis {
        auralink_types::SavingsBasis::Measured => "measured",
        auralink_types::SavingsBasis::Experiment => "experiment",
        auralink_types::SavingsBasis::Preset => "preset",
    };
    let bytes = |kbps: f64| (kbps.max(0.0) * BYTES_PER_KBIT) as u64;
    counter!(ROWS, "media" => media, "basis" => basis).increment(1);
    counter!(ORIGINAL, "media" => media).increment(bytes(row.original_bandwidth_kbps));
    counter!(COMPRESSED, "media" => media).increment(bytes(row.compressed_bandwidth_kbps));
    counter!(FRAMES, "media" => media).increment(row.frames);
    if row.fallback_triggered {
        let reason = row
            .fallback_reason
            .map_or("unknown", auralink_types::Reason::as_str);
        counter!(FALLBACKS, "reason" => reason).increment(1);
    }
    if let Some(ms) = row.inference_latency_ms {
        histogram!(LATENCY, "media" => media).record(ms / 1000.0);
    }
    if let Some(score) = row.quality_score {
        histogram!(QUALITY, "media" => media).record(score);
        // An expected score is the prediction itself.
        let measured = row.quality_metric != auralink_types::QualityMetric::ExpectedPesqWb;
        if let Some(prediction) = row.prediction.filter(|_| measured) {
            histogram!(PREDICTION_ERROR, "media" => media).record((prediction.quality_score - score).abs());
        }
    }
}

/// Sets a gauge.
pub(crate) fn raised(alerts: usize) {
    gauge!(ALERTS).set(alerts as f64);
}

/// Counts requests; the label is the route's pattern, not the caller's path.
pub(crate) async fn count(clock: crate::Clock, request: Request, next: Next) -> Response {
    let path = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("none", |path| path.as_str())
        .to_owned();
    let method = request.method().as_str().to_owned();
    let method = match method.as_str() {
        "GET" | "POST" | "PUT" | "PATCH" | "DELETE" => method,
        _ => "other".into(),
    };
    let begun = clock.now().steady;
    let response = next.run(request).await;
    let took: Duration = clock.now().steady.saturating_duration_since(begun);
    let status = response.status().as_u16().to_string();
    counter!(REQUESTS, "path" => path.clone(), "method" => method, "status" => status).increment(1);
    histogram!(REQUEST_SECONDS, "path" => path).record(took.as_secs_f64());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kilobytes of this process that are in memory.
    fn resident() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    #[tokio::test]
    async fn samples_take_no_more_and_more_memory_while_nobody_scrapes() {
        const SAMPLES: u32 = 8_000_000;
        prometheus();
        let keeping = tokio::spawn(upkeep(Duration::from_millis(1)));
        let before = resident();
        for sample in 0..SAMPLES {
            histogram!(REQUEST_SECONDS, "path" => "a test").record(0.001);
            if sample % 100_000 == 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        let grown = resident().saturating_sub(before);
        keeping.abort();
        // Unfolded they take at least eight bytes each: 62 MB.
        assert!(grown < 30_000, "{grown} kB more");
    }
}
