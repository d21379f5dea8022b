//! How good a participant's connection is, as clients show it in bars.

use std::time::Duration;

use livekit_protocol as proto;

/// One report on what flows to or from a participant.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Share of packets lost.
    pub loss: f32,
    /// Round trip.
    pub rtt: Duration,
    /// Interarrival jitter.
    pub jitter: Duration,
}

/// Points lost for each percent of packets lost: 5 % are heard, 15 % are hardly bearable without repair.
const POINTS_PER_PERCENT: f32 = 4.0;

/// From here on delay is noticed in talk (ITU-T G.114), and each ten milliseconds more cost a point.
const DELAY_FREE_MS: f32 = 150.0;
const DELAY_STEP_MS: f32 = 10.0;

const EXCELLENT: f32 = 80.0;
const GOOD: f32 = 40.0;

impl Sample {
    /// From 0 to 100.
    fn points(self) -> f32 {
        let delay = self.rtt.as_secs_f32() * 500.0 + 2.0 * self.jitter.as_secs_f32() * 1000.0;
        let late = (delay - DELAY_FREE_MS).max(0.0) / DELAY_STEP_MS;
        let lost = self.loss.clamp(0.0, 1.0) * 100.0 * POINTS_PER_PERCENT;
        (100.0 - late - lost).clamp(0.0, 100.0)
    }
}

/// Gathers reports and says what has changed.
#[derive(Debug, Default)]
pub struct QualityMeter {
    /// Points of the worst stream since the last look.
    worst: Option<f32>,
    told: Option<proto::ConnectionQuality>,
    score: f32,
}

impl QualityMeter {
    /// Takes in a report.
    pub fn handle_sample(&mut self, sample: Sample) {
        let points = sample.points();
        self.worst = Some(self.worst.map_or(points, |worst| worst.min(points)));
    }

    /// Looks at what was reported since the last look; whether others are to be told.
    pub fn look(&mut self) -> bool {
        let Some(points) = self.worst.take() else {
            return false;
        };
        // Never `Lost`: a client that hears it while it publishes starts the whole connection anew.
        let quality = if points >= EXCELLENT {
            proto::ConnectionQuality::Excellent
        } else if points >= GOOD {
            proto::ConnectionQuality::Good
        } else {
            proto::ConnectionQuality::Poor
        };
        // The scale of mean opinion scores, which clients show as a number.
        self.score = 1.0 + 3.5 * points / 100.0;
        self.told.replace(quality) != Some(quality)
    }

    /// Takes over what was found elsewhere.
    pub fn set(&mut self, info: &proto::ConnectionQualityInfo) {
        (self.told, self.score) = (Some(info.quality()), info.score);
    }

    /// What was found last; `None` before the first report.
    pub fn info(&self, participant_sid: &str) -> Option<proto::ConnectionQualityInfo> {
        Some(proto::ConnectionQualityInfo {
            participant_sid: participant_sid.into(),
            quality: self.told? as i32,
            score: self.score,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(loss: f32, rtt_ms: u64) -> Sample {
        Sample {
            loss,
            rtt: Duration::from_millis(rtt_ms),
            jitter: Duration::from_millis(5),
        }
    }

    #[test]
    fn the_worst_stream_decides_and_only_changes_are_told() {
        let mut meter = QualityMeter::default();
        assert!(!meter.look(), "nothing is known");
        assert!(meter.info("PA_1").is_none());
        for (samples, quality, fresh) in [
            (vec![sample(0.0, 30)], proto::ConnectionQuality::Excellent, true),
            (
                vec![sample(0.02, 30), sample(0.0, 30)],
                proto::ConnectionQuality::Excellent,
                false,
            ),
            (
                vec![sample(0.0, 30), sample(0.10, 30)],
                proto::ConnectionQuality::Good,
                true,
            ),
            (vec![sample(0.30, 30)], proto::ConnectionQuality::Poor, true),
            (vec![sample(1.0, 60_000)], proto::ConnectionQuality::Poor, false),
            (vec![sample(0.0, 800)], proto::ConnectionQuality::Good, true),
        ] {
            for sample in &samples {
                meter.handle_sample(*sample);
            }
            assert_eq!(meter.look(), fresh, "{samples:?}");
            assert_eq!(meter.info("PA_1").unwrap().quality, quality as i32, "{samples:?}");
        }
        assert!(!meter.look(), "no report, no news");
    }
}
