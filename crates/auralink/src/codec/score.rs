//! How much a recording lost, by this project's own measures.

use std::path::Path;

use anyhow::Context;
use auralink_audio::read_all;
use auralink_codec::SAMPLE_RATE;
use auralink_quality::{Estimator, log_mel_distance, segmental_snr};
use serde::Serialize;

use super::progress;

/// Samples given to the estimator at a time: 20 ms.
const CHUNK: usize = 320;

#[derive(Debug, Serialize)]
struct Score {
    /// Samples at 16 kHz by which the recording lags.
    delay_samples: usize,
    /// Estimated MOS on the scale of PESQ-WB.
    estimated_mos: Option<f32>,
    log_mel_distance_db: Option<f32>,
    segmental_snr_db: Option<f32>,
}

/// Compares a recording with what was spoken; a delay up to 60 ms is found and taken out.
pub(super) fn run(reference: &Path, degraded: &Path, json: bool) -> anyhow::Result<()> {
    let (spoken, heard) = (
        read_all(reference, SAMPLE_RATE)?,
        read_all(degraded, SAMPLE_RATE)?,
    );
    let mut estimator = Estimator::new();
    let bar = progress(spoken.len().div_ceil(CHUNK) as u64, "comparing");
    for (spoken, heard) in spoken.chunks(CHUNK).zip(heard.chunks(CHUNK)) {
        estimator.push(spoken, heard);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let delay_samples = estimator.delay().unwrap_or(0);
    let heard = heard
        .get(delay_samples..)
        .context("the recording ends before its delay")?;
    let score = Score {
        delay_samples,
        estimated_mos: estimator.estimate().map(|mos| mos.value()),
        log_mel_distance_db: log_mel_distance(&spoken, heard),
        segmental_snr_db: segmental_snr(&spoken, heard),
    };
    if json {
        println!("{}", serde_json::to_string(&score)?);
        return Ok(());
    }
    let say = |value: Option<f32>, unit: &str| {
        value.map_or_else(
            || "too little speech to say".to_owned(),
            |value| format!("{value:.2}{unit}"),
        )
    };
    println!("estimated MOS (PESQ-WB scale)  {}", say(score.estimated_mos, ""));
    println!(
        "log-mel distance               {}",
        say(score.log_mel_distance_db, " dB")
    );
    println!(
        "segmental SNR                  {}",
        say(score.segmental_snr_db, " dB")
    );
    println!(
        "delay                          {:.1} ms",
        delay_samples as f32 / 16.0
    );
    Ok(())
}
