//! PESQ-WB, STOI and ESTOI of everything that was coded.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::clips::Clip;
use super::coding::Sample;
use super::tools;

/// Processes that score; they are niced.
const PROCESSES: usize = 2;

/// Figures of one decoded clip; what could not be had is `None`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Score {
    pub pesq_wb: Option<f64>,
    pub stoi: Option<f64>,
    pub estoi: Option<f64>,
}

#[derive(Serialize)]
struct Jobs<'a> {
    cache: &'a Path,
    processes: usize,
    jobs: Vec<Job>,
}

#[derive(Serialize)]
struct Job {
    reference: PathBuf,
    decoded: PathBuf,
}

#[derive(Deserialize)]
struct Done {
    job: usize,
    scores: Vec<Score>,
}

/// Scores all, in order. What the cache knows is not scored again.
pub fn score(clips: &[Clip], samples: &[Sample], cache: &Path) -> Result<Vec<Score>> {
    let bar = tools::progress("scoring", samples.len());
    let job = |sample: &Sample| Job {
        reference: clips[sample.clip].wav.clone(),
        decoded: sample.wav.clone(),
    };
    let jobs = Jobs {
        cache,
        processes: PROCESSES,
        jobs: samples.iter().map(job).collect(),
    };
    let mut scores = vec![Score::default(); samples.len()];
    tools::run("speech_scores.py", &jobs, &bar, |done: Done| {
        if let (Some(slot), Some(score)) = (scores.get_mut(done.job), done.scores.first()) {
            *slot = *score;
        }
    })?;
    bar.finish_and_clear();
    Ok(scores)
}
