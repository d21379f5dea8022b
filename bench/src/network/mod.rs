//! `./x bench network`: what AIC does on each kind of network, beside a rung that never moves and beside no AIC at all.
//!
//! The speech, the codecs, the tap, the engine and the receiver are real; clock and path are simulated, so a run says
//! the same on any machine.

mod line;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use auralink_audio::WavWriter;
use auralink_client::SAMPLE_RATE;
use auralink_link::{PROFILES, Profile};
use auralink_types::{AicConfig, ConfigChange, Mode, Policy};
use serde::Serialize;

use crate::score::{self, Job};
use crate::speech;
use line::{Call, Reports};

/// Profiles run when none is named.
const USUAL: [&str; 14] = [
    "clean",
    "wifi",
    "lossy-wifi",
    "congested-wifi",
    "4g",
    "3g",
    "edge",
    "satellite",
    "random-1",
    "random-3",
    "random-10",
    "narrow-30",
    "audio-dip",
    "outage-2",
];
/// Start that is not scored: the receiver finds its delay.
const UNSCORED_S: f64 = 3.0;

/// Options of the benchmark.
#[derive(clap::Args)]
pub struct NetworkOptions {
    /// Profiles to run; `all` for every one.
    #[arg(long = "profile", value_name = "NAME")]
    profiles: Vec<String>,
    /// Length of each call.
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// Seeds of the path, each a call of its own.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seeds: u64,
    /// Mode of the publisher: conservative, adaptive or aggressive.
    #[arg(long, value_name = "MODE", default_value = "adaptive")]
    mode: String,
    /// What is said, a sound file; otherwise the shared recordings.
    #[arg(long, value_name = "WAV")]
    audio: Option<PathBuf>,
    /// Folder in which to leave what was said and heard, as WAV files
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Where to write what is printed, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// One profile under one treatment, all seeds together.
#[derive(Clone, Debug, Serialize)]
struct Row {
    profile: &'static str,
    /// `engine`, `fixed` or `off`.
    treatment: &'static str,
    classes: BTreeMap<&'static str, f64>,
    rungs: BTreeMap<String, f64>,
    kbps: f64,
    saved_percent: f64,
    switches_per_minute: f64,
    /// Share of 20 ms frames that went out as they came although a coded rung was wished for.
    fallback_percent: f64,
    fallbacks: u64,
    loss_percent: f64,
    concealed_percent: f64,
    longest_gap_ms: f64,
    expected_mos: f64,
    pesq_wb: Option<f64>,
    stoi: Option<f64>,
}

#[derive(Serialize)]
struct Found {
    source: String,
    mode: String,
    seconds: u64,
    seeds: u64,
    rows: Vec<Row>,
    missing: Vec<String>,
}

/// Runs every profile; `true` when fewer than 1 % of frames fell back on clean, wifi and 4g.
pub async fn run(options: NetworkOptions) -> Result<bool> {
    let profiles = profiles(&options.profiles)?;
    let Some(mode) = Mode::parse(&options.mode).filter(|mode| *mode != Mode::Off) else {
        bail!(
            "--mode must be conservative, adaptive or aggressive, got {}",
            options.mode
        );
    };
    if !(10..=3600).contains(&options.seconds) || !(1..=20).contains(&options.seeds) {
        bail!("--seconds must be 10 to 3600 and --seeds 1 to 20");
    }
    let own = std::env::temp_dir().join(format!("auralink-network-{}", std::process::id()));
    let folder = options.out.clone().unwrap_or_else(|| own.clone());
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let said = speech::prepare(options.audio.as_deref(), options.seconds as f64, &folder)?;
    let on = policy(Some(mode));
    let treatments = [
        ("engine", &on, Reports::Heard),
        ("fixed", &on, Reports::Ignored),
        ("off", &policy(None), Reports::Heard),
    ];
    let mut calls = Vec::new();
    let mut jobs = Vec::new();
    for profile in profiles {
        for (treatment, policy, reports) in treatments {
            for seed in 1..=options.seeds {
                eprintln!("{} {treatment} {seed}", profile.name);
                let source = line::source(&said.wavs[0])?;
                let mut call = line::call(profile, seed, options.seconds, policy, reports, source)?;
                let wav = folder.join(format!("{}-{treatment}-{seed}.wav", profile.name));
                WavWriter::write_all(&wav, SAMPLE_RATE, &std::mem::take(&mut call.heard))?;
                jobs.push(Job {
                    reference: said.wavs[0].clone(),
                    recorded: wav,
                    from_s: UNSCORED_S,
                    to_s: options.seconds as f64,
                });
                calls.push((profile.name, treatment, call));
            }
        }
    }
    let mut missing = Vec::new();
    let scores = score::score(&jobs).await.unwrap_or_else(|problem| {
        missing.push(format!("no PESQ: {problem:#}"));
        vec![None; jobs.len()]
    });
    if options.out.is_none() {
        fs::remove_dir_all(&own).ok();
    }
    let scored: Vec<_> = calls.into_iter().zip(scores).collect();
    let rows: Vec<Row> = scored
        .chunks(options.seeds as usize)
        .map(|seeds| row(seeds, options.seconds))
        .collect();
    print(&rows);
    for line in &missing {
        println!("{line}");
    }
    println!(
        "\nSource: {}. Simulated: the clock and the listener's path. Real: speech, codecs, tap, engine, receiver.",
        said.about
    );
    let healthy = ["clean", "wifi", "4g"];
    let holds = rows
        .iter()
        .filter(|row| row.treatment == "engine" && healthy.contains(&row.profile))
        .all(|row| row.fallback_percent < 1.0);
    if let Some(path) = &options.json {
        let found = Found {
            source: said.about,
            mode: options.mode,
            seconds: options.seconds,
            seeds: options.seeds,
            rows,
            missing,
        };
        fs::write(path, serde_json::to_vec_pretty(&found)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(holds)
}

fn profiles(named: &[String]) -> Result<Vec<Profile>> {
    if named.iter().any(|name| name == "all") {
        return Ok(PROFILES.to_vec());
    }
    let usual = USUAL.map(String::from);
    let names = if named.is_empty() { &usual[..] } else { named };
    let find = |name: &String| {
        let known = || PROFILES.map(|profile| profile.name).join(", ");
        Profile::named(name)
            .with_context(|| format!("--profile {name} is unknown; known are all, {}", known()))
    };
    names.iter().map(find).collect()
}

fn policy(mode: Option<Mode>) -> Policy {
    let change = ConfigChange {
        enabled: Some(mode.is_some()),
        mode,
        ..ConfigChange::default()
    };
    AicConfig::default()
        .apply(&change)
        .map_or_else(|_| AicConfig::default().policy(), |config| config.policy())
}

type Scored = ((&'static str, &'static str, Call), Option<score::Score>);

fn row(seeds: &[Scored], seconds: u64) -> Row {
    let calls: Vec<&Call> = seeds.iter().map(|((_, _, call), _)| call).collect();
    let count = calls.len().max(1) as f64;
    let mean = |of: &dyn Fn(&Call) -> f64| calls.iter().map(|call| of(call)).sum::<f64>() / count;
    let part = |a: u64, b: u64| 100.0 * a as f64 / b.max(1) as f64;
    let scores: Vec<_> = seeds.iter().filter_map(|(_, score)| *score).collect();
    let scored = |of: &dyn Fn(&score::Score) -> f64| {
        (!scores.is_empty()).then(|| scores.iter().map(of).sum::<f64>() / scores.len() as f64)
    };
    let mut classes = BTreeMap::new();
    let mut rungs = BTreeMap::new();
    for call in &calls {
        let all: u64 = call.classes.values().sum();
        for (class, held) in &call.classes {
            *classes.entry(*class).or_insert(0.0) += part(*held, all) / count;
        }
        let all: u64 = call.rungs.values().sum();
        for (rung, held) in &call.rungs {
            *rungs.entry(rung.clone()).or_insert(0.0) += part(*held, all) / count;
        }
    }
    Row {
        profile: seeds[0].0.0,
        treatment: seeds[0].0.1,
        classes,
        rungs,
        kbps: mean(&|call| call.sent.as_kbps()),
        saved_percent: mean(&|call| 100.0 * call.saved),
        switches_per_minute: mean(&|call| call.switches as f64 * 60.0 / seconds as f64),
        fallback_percent: mean(&|call| part(call.fallback_ms.0, call.fallback_ms.1)),
        fallbacks: calls.iter().map(|call| call.fallbacks).sum(),
        loss_percent: mean(&|call| part(call.lost.0, call.lost.1)),
        concealed_percent: mean(&|call| call.concealed_ms / (10.0 * seconds as f64)),
        longest_gap_ms: calls.iter().map(|call| call.longest_gap_ms).fold(0.0, f64::max),
        expected_mos: mean(&|call| call.expected_mos),
        pesq_wb: scored(&|score| score.pesq_wb),
        stoi: scored(&|score| score.stoi),
    }
}

fn print(rows: &[Row]) {
    println!(
        "{:<15}{:<8}{:>7}{:>8}{:>8}{:>10}{:>7}{:>9}{:>10}{:>9}{:>7}  classes; rungs",
        "profile",
        "",
        "kbps",
        "saved %",
        "sw/min",
        "fallback %",
        "loss %",
        "conceal %",
        "expected",
        "PESQ-WB",
        "STOI"
    );
    let number = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.2}"));
    for row in rows {
        let shares = |shares: Vec<(&str, f64)>| {
            let mut shares = shares;
            shares.sort_by(|a, b| b.1.total_cmp(&a.1));
            let shown = shares.into_iter().filter(|(_, share)| *share >= 0.5);
            shown
                .map(|(name, share)| format!("{name} {share:.0}"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        println!(
            "{:<15}{:<8}{:>7.1}{:>8.1}{:>8.1}{:>10.2}{:>7.1}{:>9.2}{:>10.2}{:>9}{:>7}  {}; {}",
            row.profile,
            row.treatment,
            row.kbps,
            row.saved_percent,
            row.switches_per_minute,
            row.fallback_percent,
            row.loss_percent,
            row.concealed_percent,
            row.expected_mos,
            number(row.pesq_wb),
            number(row.stoi),
            shares(row.classes.iter().map(|(name, share)| (*name, *share)).collect()),
            shares(
                row.rungs
                    .iter()
                    .map(|(name, share)| (name.as_str(), *share))
                    .collect()
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_profile_is_refused_with_the_names_of_those_that_are() {
        let problem = profiles(&["wlan".into()]).unwrap_err().to_string();
        assert!(
            problem.contains("wlan") && problem.contains("lossy-wifi"),
            "{problem}"
        );
        assert_eq!(profiles(&[]).unwrap().len(), USUAL.len());
        assert_eq!(profiles(&["all".into()]).unwrap().len(), PROFILES.len());
    }

    #[test]
    fn a_call_over_a_clean_path_is_coded_saves_and_loses_nothing() {
        let source = auralink_client::AudioSource::synthetic();
        let call = line::call(
            Profile::named("clean").unwrap(),
            1,
            12,
            &policy(Some(Mode::Adaptive)),
            Reports::Heard,
            source,
        )
        .unwrap();
        assert_eq!(call.lost.0, 0);
        assert_eq!(call.fallback_ms.0, 0, "{:?}", call.rungs);
        assert!(call.saved > 0.6 && call.longest_gap_ms <= 60.0, "{call:?}");
    }
}
