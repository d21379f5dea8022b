//! `./x demo`: a real call in every mode, measured.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};

use crate::outcome::{AUDIBLE_GAP_MS, Baseline, Blame, Outcome, Run};
use crate::plan::{self, Plan};
use crate::rest::mean;
use crate::score::{self, Job, Score};
use crate::server::Server;
use crate::{call, report, speech, table};

/// A run with an outage is longer by this: the AI comes back only after a probation of 10 s.
const OUTAGE_EXTRA: Duration = Duration::from_secs(10);

/// Speech is prepared for so much more than the longest run, because joining takes time.
const SPEECH_EXTRA: Duration = Duration::from_secs(10);

/// Options of the demo.
#[derive(clap::Args)]
pub struct DemoOptions {
    /// What is said, as a sound file; without it the shared test speech, or a made-up voice.
    #[arg(long, value_name = "FILE.wav")]
    audio: Option<PathBuf>,
    /// Length of each run.
    #[arg(long, value_name = "N", default_value_t = 20.0)]
    seconds: f64,
    /// Where to write what is printed, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where recordings and the report go.
    #[arg(long, value_name = "DIR", default_value = "out/demo")]
    out: PathBuf,
    /// Only these runs, by name; the baseline is always made.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
}

/// Makes all calls; whether none had an audible gap because of AIC.
pub async fn run(options: DemoOptions) -> Result<bool> {
    ensure!(
        (6.0..=3600.0).contains(&options.seconds),
        "--seconds must be 6 to 3600, got {}",
        options.seconds
    );
    let plans = chosen(&options.only)?;
    fs::create_dir_all(&options.out).with_context(|| format!("cannot make {}", options.out.display()))?;
    let length = Duration::from_secs_f64(options.seconds);
    let speech_length = (length + OUTAGE_EXTRA + SPEECH_EXTRA).as_secs_f64();
    let speech = speech::prepare(options.audio.as_deref(), speech_length, &options.out)?;
    eprintln!("speech: {}", speech.about);

    let server = Server::start().await?;
    eprintln!("server: http://{}", server.address);
    let mut runs = Vec::new();
    let mut jobs = Vec::new();
    for (n, plan) in plans.iter().enumerate() {
        let length = if plan.outage.is_some() {
            length + OUTAGE_EXTRA
        } else {
            length
        };
        let progress = progress(n + 1, plans.len(), plan, length);
        let placed = call::place(&server, plan, &speech, length, &options.out, &progress).await;
        progress.finish_and_clear();
        let (run, listened) = placed.with_context(|| format!("run {}:\n{}", plan.mode, server.tail()))?;
        eprintln!(
            "  {:<14} {:<22} {:>6.1} kbps up {:>6.1} down, longest gap {:.0} ms",
            run.mode, run.rung_detail, run.wire_kbps_up, run.wire_kbps_down, run.longest_gap_ms
        );
        runs.push(run);
        jobs.push(listened);
    }
    let mut missing = Vec::new();
    if let Err(problem) = server.stop().await {
        missing.push(format!("the server did not shut down cleanly: {problem:#}"));
    }
    eprintln!("scoring the recordings");
    if let Err(problem) = add_scores(&mut runs, &jobs).await {
        missing.push(format!("no PESQ and no STOI: {problem:#}"));
    }
    let outcome = assemble(runs, speech.about, options.seconds, missing);
    publish(outcome, &options)
}

fn chosen(only: &[String]) -> Result<Vec<Plan>> {
    let plans = plan::plans();
    for name in only {
        let known: Vec<_> = plans.iter().map(|plan| plan.mode).collect();
        ensure!(
            known.contains(&name.as_str()),
            "--only must be of {}, got {name}",
            known.join(", ")
        );
    }
    let wanted =
        |n: usize, plan: &Plan| n == 0 || only.is_empty() || only.iter().any(|name| name == plan.mode);
    Ok(plans
        .into_iter()
        .enumerate()
        .filter(|(n, plan)| wanted(*n, plan))
        .map(|(_, plan)| plan)
        .collect())
}

fn progress(n: usize, of: usize, plan: &Plan, length: Duration) -> ProgressBar {
    let progress = ProgressBar::new(length.as_millis() as u64);
    if progress.is_hidden() {
        eprintln!(
            "[{n}/{of}] {}: {} ({:.0} s)",
            plan.mode,
            plan.about,
            length.as_secs_f64()
        );
    }
    let style = ProgressStyle::with_template("[{prefix}] {msg:<14} {bar:40} {elapsed}");
    progress.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    progress.set_prefix(format!("{n}/{of}"));
    progress.set_message(plan.mode);
    progress
}

async fn add_scores(runs: &mut [Run], jobs: &[Vec<Job>]) -> Result<()> {
    let all: Vec<Job> = jobs.iter().flatten().cloned().collect();
    let mut scores = score::score(&all).await?.into_iter();
    for (run, jobs) in runs.iter_mut().zip(jobs) {
        let scored: Vec<Score> = scores.by_ref().take(jobs.len()).flatten().collect();
        run.pesq_wb = mean(&scored.iter().map(|score| score.pesq_wb).collect::<Vec<_>>());
        run.stoi = mean(&scored.iter().map(|score| score.stoi).collect::<Vec<_>>());
    }
    Ok(())
}

fn assemble(mut runs: Vec<Run>, source: String, seconds: f64, missing: Vec<String>) -> Outcome {
    let baseline = runs.remove(0);
    let before = baseline.wire_kbps_up + baseline.wire_kbps_down;
    for run in &mut runs {
        run.saved_percent = 100.0 * (1.0 - (run.wire_kbps_up + run.wire_kbps_down) / before);
        run.added_delay_ms = run
            .delay_ms
            .zip(baseline.delay_ms)
            .map(|(with, without)| with - without);
    }
    let wavs = std::iter::once(&baseline)
        .chain(&runs)
        .flat_map(|run| run.wavs.clone())
        .collect();
    let aic_gaps = runs
        .iter()
        .flat_map(|run| &run.gaps)
        .filter(|gap| gap.blame == Blame::Aic)
        .count();
    Outcome {
        source,
        seconds,
        baseline: Baseline { run: baseline },
        runs,
        wavs,
        report: None,
        aic_gaps,
        missing,
    }
}

fn publish(mut outcome: Outcome, options: &DemoOptions) -> Result<bool> {
    let page = options.out.join("report.html");
    fs::write(&page, report::html(&outcome, &options.out))
        .with_context(|| format!("cannot write {}", page.display()))?;
    outcome.report = Some(page.clone());
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&outcome)?;
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("{}", table::text(&outcome));
    println!("{}", table::rest_text(&outcome));
    for missing in &outcome.missing {
        println!("NOTE: {missing}");
    }
    println!("recordings: {}", options.out.display());
    println!("report:     {}", page.display());
    if outcome.is_clean() {
        println!("no gap over {AUDIBLE_GAP_MS:.0} ms because of AIC");
    } else {
        println!(
            "FAILED: {} gaps over {AUDIBLE_GAP_MS:.0} ms because of AIC",
            outcome.aic_gaps
        );
    }
    Ok(outcome.is_clean())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Gap;

    fn run(mode: &str, up: f64, down: f64) -> Run {
        Run {
            mode: mode.into(),
            wire_kbps_up: up,
            wire_kbps_down: down,
            delay_ms: Some(up),
            ..Run::default()
        }
    }

    #[test]
    fn savings_are_counted_on_both_directions_against_the_baseline() {
        let outcome = assemble(
            vec![run("off", 100.0, 100.0), run("adaptive", 30.0, 10.0)],
            String::new(),
            20.0,
            vec![],
        );
        assert_eq!(outcome.runs[0].saved_percent, 80.0);
        assert_eq!(outcome.baseline.run.saved_percent, 0.0);
        assert_eq!(outcome.runs[0].added_delay_ms, Some(-70.0));
    }

    #[test]
    fn only_gaps_that_are_aics_spoil_the_outcome() {
        let gap = |blame| Gap {
            listener: "bert".into(),
            at_s: 1.0,
            ms: 100.0,
            blame,
        };
        let mut with = run("adaptive", 1.0, 1.0);
        with.gaps = vec![gap(Blame::Machine)];
        let clean = assemble(
            vec![run("off", 1.0, 1.0), with.clone()],
            String::new(),
            20.0,
            vec![],
        );
        assert!(clean.is_clean());
        with.gaps.push(gap(Blame::Aic));
        let spoilt = assemble(vec![run("off", 1.0, 1.0), with], String::new(), 20.0, vec![]);
        assert!(!spoilt.is_clean());
    }

    #[test]
    fn the_json_has_the_form_that_others_read() {
        let mut with = run("adaptive", 30.0, 10.0);
        with.rung = "lean".into();
        with.fallbacks.insert("late".into(), 2);
        with.wavs = vec!["a.wav".into()];
        let outcome = assemble(vec![run("off", 100.0, 100.0), with], String::new(), 20.0, vec![]);
        let json = serde_json::to_value(&outcome).unwrap();
        assert_eq!(json["baseline"]["wire_kbps_up"], 100.0);
        assert_eq!(json["baseline"]["wire_kbps_down"], 100.0);
        let run = &json["runs"][0];
        assert_eq!(run["mode"], "adaptive");
        assert_eq!(run["rung"], "lean");
        assert_eq!(run["fallbacks"]["late"], 2);
        for number in [
            "wire_kbps_up",
            "wire_kbps_down",
            "saved_percent",
            "longest_gap_ms",
        ] {
            assert!(run[number].is_number(), "{number}");
        }
        for absent in [
            "pesq_wb",
            "stoi",
            "quality_score",
            "compress_ms_p50",
            "compress_ms_p99",
        ] {
            assert!(
                run.as_object().unwrap().contains_key(absent) && run[absent].is_null(),
                "{absent}"
            );
        }
        assert_eq!(json["wavs"][0], "a.wav");
    }
}
