//! Rows and events of media on their way to the store. Media never waits: its channels are bounded, and what the store
//! cannot take in time waits in the writer's own spool.

use auralink_control::Intake;
use auralink_store::{EventWriter, MetricWriter};
use auralink_types::{Event, MetricRow};
use tokio::sync::mpsc;

/// Keeps the books until media has let go of both channels. Alerts, exposures and figures get a copy of everything.
pub async fn keep(
    writer: MetricWriter,
    record: EventWriter,
    intake: Intake,
    mut rows: mpsc::Receiver<MetricRow>,
    mut events: mpsc::Receiver<Event>,
) {
    loop {
        tokio::select! {
            // Rows of a session were sent before its end: they are handed on before it.
            biased;
            Some(mut row) = rows.recv() => {
                intake.rebase(&mut row);
                intake.row(&row);
                let tenant = row.owner.tenant.clone();
                if !writer.push(row) {
                    intake.turned_away(&tenant);
                }
            }
            Some(event) = events.recv() => {
                tracing::debug!(event = event.kind.name(), call = %event.call_id, "event");
                intake.event(&event);
                record.push(event);
            }
            else => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use auralink_control::{AlertRules, Clock, IntakeConfig};
    use auralink_engine::PolicyBook;
    use auralink_store::{Actor, Store};
    use auralink_types::{
        EventKind, Media, NetworkClass, Objects, QualityMetric, SavingsBasis, SessionRef, UserKey,
    };

    use super::*;

    fn row(ts_us: i64) -> MetricRow {
        MetricRow {
            owner: UserKey::new("devkey", "ada"),
            call_id: "RM_1".into(),
            session_id: "AS_1".into(),
            track_id: "TR_1".into(),
            ts_us,
            media: Media::Audio,
            original_bandwidth_kbps: 120.0,
            compressed_bandwidth_kbps: 20.0,
            savings_basis: SavingsBasis::Measured,
            inference_latency_ms: None,
            inference_latency_p99_ms: None,
            quality_score: None,
            quality_metric: QualityMetric::EstimatedPesqWb,
            psnr_db: None,
            prediction: None,
            model_used: "lean-12k-60ms".into(),
            frames: 50,
            fallback_triggered: false,
            fallback_reason: None,
            network_class: NetworkClass::Good,
        }
    }

    #[tokio::test]
    async fn a_session_that_media_ended_is_stored_as_ended_after_all_its_rows() {
        let store = Store::open("memory").await.unwrap();
        let writer = MetricWriter::start(store.clone());
        let (rows, row_receiver) = mpsc::channel(8);
        let (events, event_receiver) = mpsc::channel(8);
        let ended = 1_700_000_002_500_000;
        rows.try_send(row(1_700_000_001_000_000)).unwrap();
        rows.try_send(row(1_700_000_002_000_000)).unwrap();
        let session = SessionRef {
            session_id: "AS_1".into(),
            track_id: "TR_1".into(),
            user: "ada".into(),
            media: Media::Audio,
        };
        let event = Event {
            ts_us: ended,
            tenant: "devkey".into(),
            call_id: "RM_1".into(),
            room: "kitchen".into(),
            kind: EventKind::SessionEnded(session),
            objects: Objects::default(),
        };
        events.try_send(event).unwrap();
        drop((rows, events));
        let record = EventWriter::start(store.clone());
        let intake = Intake::start(IntakeConfig {
            store: store.clone(),
            book: Arc::new(PolicyBook::new()),
            tenants: vec!["devkey".into()],
            rules: AlertRules::default(),
            clock: Clock::system(),
        });
        keep(
            writer.clone(),
            record.clone(),
            intake,
            row_receiver,
            event_receiver,
        )
        .await;
        assert!(writer.flush().await && record.flush().await);
        let ada = store.as_user(Actor {
            key: UserKey::new("devkey", "ada"),
            operator: false,
        });
        let stored = ada.session(&"AS_1".into()).await.unwrap().unwrap();
        assert_eq!(stored.ended_at.map(|at| at.as_micros()), Some(ended));
        assert_eq!(stored.traffic.frames, 100);
    }
}
