//! What was found, as it is printed and written.

use serde::Serialize;

use super::clips::Clip;
use super::coding::Sample;
use super::condition::Condition;
use super::scores::Score;
use super::speed::Speed;

/// All figures of one run.
#[derive(Serialize)]
pub struct Outcome {
    /// Folder of the clips.
    pub source: String,
    pub clips: usize,
    pub seconds: f64,
    pub model: String,
    pub libopus: String,
    /// Nothing lost.
    pub clean: Vec<Row>,
    /// Packets of 20 ms lost in bursts.
    pub lossy: Vec<Row>,
    /// Inputs that a speech codec is weak on.
    pub weak: Vec<Row>,
    pub speed: Vec<Speed>,
    /// Peers that could not take part, and why.
    pub missing: Vec<String>,
}

/// Means of one condition over one group of clips.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    pub group: String,
    pub id: String,
    pub family: String,
    pub detail: String,
    pub packet_ms: u32,
    pub loss_percent: u32,
    pub payload_kbps: f64,
    pub wire_kbps: f64,
    pub pesq_wb: Option<f64>,
    /// Standard error of the mean over clips.
    pub pesq_wb_error: Option<f64>,
    pub stoi: Option<f64>,
    pub estoi: Option<f64>,
    pub mel_db: Option<f64>,
    pub clips: usize,
}

/// One row for each group and condition, in their order.
pub fn rows(clips: &[Clip], conditions: &[Condition], samples: &[Sample], scores: &[Score]) -> Vec<Row> {
    let mut groups: Vec<&str> = Vec::new();
    for clip in clips {
        if !groups.contains(&clip.group.as_str()) {
            groups.push(&clip.group);
        }
    }
    let mut rows = Vec::new();
    for group in groups {
        for (number, condition) in conditions.iter().enumerate() {
            let of: Vec<(&Sample, &Score)> = samples
                .iter()
                .zip(scores)
                .filter(|(sample, _)| sample.condition == number && clips[sample.clip].group == group)
                .collect();
            if !of.is_empty() {
                rows.push(row(group, condition, &of));
            }
        }
    }
    rows
}

fn row(group: &str, condition: &Condition, of: &[(&Sample, &Score)]) -> Row {
    let over = |figure: &dyn Fn(&Sample, &Score) -> Option<f64>| -> Vec<f64> {
        of.iter()
            .filter_map(|(sample, score)| figure(sample, score))
            .collect()
    };
    let pesq = over(&|_, score| score.pesq_wb);
    Row {
        group: group.into(),
        id: condition.id.clone(),
        family: condition.family.clone(),
        detail: condition.detail.clone(),
        packet_ms: condition.packet_ms(),
        loss_percent: condition.loss,
        payload_kbps: mean(&over(&|sample, _| Some(sample.payload_kbps))).unwrap_or(0.0),
        wire_kbps: mean(&over(&|sample, _| Some(sample.wire_kbps))).unwrap_or(0.0),
        pesq_wb: mean(&pesq),
        pesq_wb_error: error(&pesq),
        stoi: mean(&over(&|_, score| score.stoi)),
        estoi: mean(&over(&|_, score| score.estoi)),
        mel_db: mean(&over(&|sample, _| sample.mel_db)),
        clips: of.len(),
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Standard error of the mean; `None` of fewer than two.
fn error(values: &[f64]) -> Option<f64> {
    let (mean, count) = (mean(values)?, values.len() as f64);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (count - 1.0) / count).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_has_the_error_of_the_mean_and_nothing_has_none() {
        assert_eq!(mean(&[]), None);
        assert_eq!(error(&[1.0]), None);
        assert_eq!(mean(&[1.0, 2.0, 3.0]), Some(2.0));
        assert!((error(&[1.0, 2.0, 3.0]).unwrap() - (1.0f64 / 3.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn a_clip_without_a_score_does_not_count_in_its_mean() {
        let clip = |group: &str| Clip {
            name: "a".into(),
            group: group.into(),
            wav: "g/a.wav".into(),
            seconds: 1.0,
        };
        let sample = |clip| Sample {
            clip,
            condition: 0,
            wav: "x".into(),
            payload_kbps: 6.0,
            wire_kbps: 20.0,
            mel_db: Some(3.0),
        };
        let conditions = &super::super::condition::clean()[..1];
        let scores = [
            Score {
                pesq_wb: Some(2.0),
                ..Score::default()
            },
            Score::default(),
            Score::default(),
        ];
        let clips = [clip("speech"), clip("speech"), clip("music")];
        let rows = rows(&clips, conditions, &[sample(0), sample(1), sample(2)], &scores);
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[0].pesq_wb, rows[0].clips), (Some(2.0), 2));
        assert_eq!((rows[1].group.as_str(), rows[1].pesq_wb), ("music", None));
    }
}
