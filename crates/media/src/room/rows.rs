//! One row a second per track under AIC, and what the log says of its tap.

use std::time::Duration;

use auralink_types::{Media, MetricRow, Mos, NetworkClass, Prediction, QualityMetric, Reason, Rung, TrackId};

use super::{Cx, Room};
use crate::participant::Pid;
use crate::tap::{TapEvent, TapSnapshot};

impl Room {
    /// Writes the rows of the second that has passed.
    pub fn report(&mut self, cx: &mut Cx<'_>) {
        for (pid, serial) in self.audio_tracks() {
            self.report_track(cx, pid, serial);
        }
    }

    fn report_track(&mut self, cx: &mut Cx<'_>, pid: Pid, serial: u32) {
        let (now, call_id) = (cx.now, self.sid.clone());
        let Some(publisher) = self.person_mut(pid) else {
            return;
        };
        let (owner, here) = (publisher.user.clone(), publisher.here().is_some());
        let Some(track) = publisher.track_of(serial) else {
            return;
        };
        let (Some(tapped), id) = (track.tapped.as_mut(), track.id.clone()) else {
            return;
        };
        let snapshot = tapped.tap.snapshot();
        let last = std::mem::replace(&mut tapped.last, snapshot.clone());
        let seconds = now.saturating_duration_since(tapped.last_at).as_secs_f64();
        tapped.last_at = now;
        let Some(session_id) = tapped.session.clone() else {
            return;
        };
        // What a guest sends is counted where they are.
        let uplink = u64::from(here);
        let sum = |s: &TapSnapshot| {
            (
                uplink * s.uplink.original_bytes + s.downlink.original_bytes,
                uplink * s.uplink.sent_bytes + s.downlink.sent_bytes,
            )
        };
        let ((before, after), (was_before, was_after)) = (sum(&snapshot), sum(&last));
        // A pause in which nothing at all was sent has no row.
        if seconds <= 0.0 || (before, after) == (was_before, was_after) {
            return;
        }
        let frames = snapshot.frames - last.frames;
        let kbps = |bytes: u64| bytes as f64 * 8.0 / 1000.0 / seconds;
        let rung = rung_in_use(&snapshot);
        let fallback_reason = Reason::ALL
            .into_iter()
            .find(|reason| snapshot.fallbacks_for(*reason) > last.fallbacks_for(*reason));
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let row = MetricRow {
            owner,
            call_id,
            session_id,
            track_id: id,
            ts_us: cx.ai.wall_us(now),
            media: Media::Audio,
            original_bandwidth_kbps: kbps(before.saturating_sub(was_before)),
            compressed_bandwidth_kbps: kbps(after.saturating_sub(was_after)),
            savings_basis: snapshot.basis,
            inference_latency_ms: snapshot.compute_p50.map(millis),
            inference_latency_p99_ms: snapshot.compute_p99.map(millis),
            // Of the few packets of a pause there is nothing to measure, but what they cost.
            quality_score: snapshot
                .quality
                .or(snapshot.expected)
                .filter(|_| frames > 0)
                .map(score),
            quality_metric: if snapshot.quality.is_some() {
                QualityMetric::EstimatedPesqWb
            } else {
                QualityMetric::ExpectedPesqWb
            },
            psnr_db: None,
            // The prediction in force while this second was measured.
            prediction: last
                .prediction
                .filter(|_| frames > 0 && rung_in_use(&last) == rung)
                .map(|it| Prediction {
                    quality_score: f64::from(it.quality.value()),
                    compression_ratio: it.ratio,
                    confidence: f64::from(it.confidence),
                }),
            model_used: name(rung),
            frames,
            fallback_triggered: fallback_reason.is_some(),
            fallback_reason,
            network_class: worst(&snapshot),
        };
        if cx.ai.rows.try_send(row).is_err() {
            cx.counters.rows_dropped += 1;
        }
    }
}

pub(super) fn tell(track: &TrackId, event: TapEvent) {
    match event {
        TapEvent::SessionStarted => tracing::info!(%track, "AIC session started"),
        TapEvent::SessionEnded => tracing::info!(%track, "AIC session ended"),
        TapEvent::RungChanged {
            leg,
            from,
            to,
            reason,
        } => {
            tracing::info!(%track, leg = leg.0, from = name(from), to = name(to), reason = reason.map(Reason::as_str), "rung changed");
        }
        TapEvent::Fallback { leg, reason } => tracing::warn!(%track, leg = leg.0, %reason, "fallback"),
        TapEvent::Recovered { leg } => tracing::info!(%track, leg = leg.0, "recovered"),
    }
}

fn score(mos: Mos) -> f64 {
    f64::from(mos.score().value())
}

/// The rung of the first leg that gets coded packets, else what the source itself sends.
fn rung_in_use(snapshot: &TapSnapshot) -> Rung {
    let coded = snapshot
        .legs
        .iter()
        .map(|leg| leg.rung)
        .find(|rung| *rung != Rung::Original);
    coded.or(snapshot.source).unwrap_or_default()
}

fn name(rung: Rung) -> String {
    match rung {
        Rung::Original => "original".into(),
        Rung::Lean(lean) | Rung::Enhanced(lean) => {
            let fec = if lean.fec { "-fec" } else { "" };
            let (kind, kbps, ms) = (rung.name(), lean.bitrate.as_kbps(), lean.packet.millis());
            format!("{kind}-{kbps:.0}k-{ms}ms{fec}")
        }
        Rung::Neural(neural) => {
            format!(
                "neural-{}k-{}ms",
                neural.rate.bitrate().as_kbps(),
                neural.packet.millis()
            )
        }
    }
}

fn worst(snapshot: &TapSnapshot) -> NetworkClass {
    let rank = |class: NetworkClass| match class {
        NetworkClass::Unknown => 0,
        NetworkClass::Good => 1,
        NetworkClass::Fair => 2,
        NetworkClass::Poor => 3,
        NetworkClass::Bad => 4,
    };
    snapshot
        .legs
        .iter()
        .map(|leg| leg.network)
        .max_by_key(|class| rank(*class))
        .unwrap_or_default()
}
