//! Reports of a network.

use std::time::Duration;

use auralink_types::{Bitrate, FieldError};

use super::{v1, within};

/// Most reports in one question.
pub const SAMPLES_MAX: usize = 1_000;
/// Longest round trip or jitter that is believed.
const TIME_MAX_MS: f64 = 60_000.0;

/// One report.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NetworkReport {
    /// When, on a clock of the reporter's.
    pub at: Duration,
    /// Share of packets lost, 0 to 1.
    pub loss: f32,
    /// Round-trip time.
    pub rtt: Duration,
    /// Interarrival jitter.
    pub jitter: Duration,
    /// Rate that the path can carry, where somebody measured it.
    pub capacity: Option<Bitrate>,
}

impl TryFrom<v1::NetworkSample> for NetworkReport {
    type Error = FieldError;

    fn try_from(sample: v1::NetworkSample) -> Result<Self, FieldError> {
        if !(0.0..=1.0).contains(&sample.loss) {
            return Err(FieldError::new(
                "loss",
                format!("must be 0 to 1, got {}", sample.loss),
            ));
        }
        Ok(Self {
            at: Duration::from_millis(sample.at_ms),
            loss: sample.loss as f32,
            rtt: time("rtt_ms", sample.rtt_ms)?,
            jitter: time("jitter_ms", sample.jitter_ms)?,
            capacity: sample.capacity_bps.map(Bitrate::bps),
        })
    }
}

impl From<NetworkReport> for v1::NetworkSample {
    fn from(report: NetworkReport) -> Self {
        Self {
            at_ms: u64::try_from(report.at.as_millis()).unwrap_or(u64::MAX),
            loss: report.loss.into(),
            rtt_ms: report.rtt.as_secs_f64() * 1e3,
            jitter_ms: report.jitter.as_secs_f64() * 1e3,
            capacity_bps: report.capacity.map(Bitrate::as_bps),
        }
    }
}

fn time(field: &str, ms: f64) -> Result<Duration, FieldError> {
    if (0.0..=TIME_MAX_MS).contains(&ms) {
        Ok(Duration::from_secs_f64(ms / 1e3))
    } else {
        Err(FieldError::new(
            field,
            format!("must be 0 to {TIME_MAX_MS}, got {ms}"),
        ))
    }
}

/// All reports of a question, in their order; their times must not run backwards.
pub fn reports(request: v1::AnalyzeNetworkConditionsRequest) -> Result<Vec<NetworkReport>, FieldError> {
    let count = request.samples.len();
    if !(1..=SAMPLES_MAX).contains(&count) {
        let problem = format!("must be 1 to {SAMPLES_MAX}, got {count}");
        return Err(FieldError::new("samples", problem));
    }
    let mut reports: Vec<NetworkReport> = Vec::with_capacity(count);
    for (n, sample) in request.samples.into_iter().enumerate() {
        let report =
            NetworkReport::try_from(sample).map_err(|error| within(&format!("samples[{n}]"), error))?;
        if reports.last().is_some_and(|last| report.at < last.at) {
            let problem = "must not be before the sample before it";
            return Err(FieldError::new(format!("samples[{n}].at_ms"), problem));
        }
        reports.push(report);
    }
    Ok(reports)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at_ms: u64) -> v1::NetworkSample {
        v1::NetworkSample {
            at_ms,
            loss: 0.01,
            rtt_ms: 40.0,
            jitter_ms: 3.0,
            capacity_bps: None,
        }
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let refused = |samples| {
            reports(v1::AnalyzeNetworkConditionsRequest { samples })
                .unwrap_err()
                .field
        };
        assert_eq!(refused(vec![]), "samples");
        assert_eq!(refused(vec![sample(0); SAMPLES_MAX + 1]), "samples");
        assert_eq!(refused(vec![sample(5), sample(4)]), "samples[1].at_ms");
        for loss in [-0.1, 1.5, f64::NAN] {
            assert_eq!(
                refused(vec![v1::NetworkSample { loss, ..sample(0) }]),
                "samples[0].loss"
            );
        }
        for rtt_ms in [-1.0, 1e308, f64::NAN] {
            assert_eq!(
                refused(vec![v1::NetworkSample { rtt_ms, ..sample(0) }]),
                "samples[0].rtt_ms"
            );
        }
    }

    #[test]
    fn a_report_goes_there_and_back() {
        let report = NetworkReport::try_from(sample(7)).unwrap();
        assert_eq!(
            NetworkReport::try_from(v1::NetworkSample::from(report)),
            Ok(report)
        );
    }
}
