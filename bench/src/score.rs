//! PESQ-WB and STOI of the recordings, by the Python tools where they are installed.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// One recording to score.
#[derive(Clone, Debug, Serialize)]
pub struct Job {
    /// What was said.
    pub reference: PathBuf,
    /// What was heard.
    pub recorded: PathBuf,
    /// Part of the recording to score, in seconds.
    pub from_s: f64,
    /// Its end.
    pub to_s: f64,
}

/// What was found for one recording.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Score {
    /// Mean over the pieces.
    pub pesq_wb: f64,
    /// Mean over the pieces.
    pub stoi: f64,
    /// Time in the recording less time in what was said, median over the pieces.
    pub lag_ms: f64,
}

#[derive(Serialize)]
struct Jobs<'a> {
    jobs: &'a [Job],
}

/// Scores all of them, in order; `None` for a recording that could not be scored.
pub async fn score(jobs: &[Job]) -> Result<Vec<Option<Score>>> {
    let interpreter = std::env::var_os("AURALINK_PYTHON").unwrap_or_else(|| "python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .with_file_name("testing")
        .join("score.py");
    let mut child = Command::new(&interpreter)
        .arg(&script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", interpreter.display()))?;
    let mut input = child.stdin.take().context("no standard input")?;
    input.write_all(&serde_json::to_vec(&Jobs { jobs })?).await.ok();
    drop(input);
    let output = child.wait_with_output().await?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!(
            "{} {}: {}",
            interpreter.display(),
            script.display(),
            said.trim().lines().last().unwrap_or("no word")
        );
    }
    if !said.trim().is_empty() {
        eprintln!("{}", said.trim());
    }
    let scores: Vec<Option<Score>> =
        serde_json::from_slice(&output.stdout).context("the scores are no JSON")?;
    if scores.len() != jobs.len() {
        bail!("{} scores for {} recordings", scores.len(), jobs.len());
    }
    Ok(scores)
}
