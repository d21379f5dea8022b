//! `./x bench forward`: what forwarding a packet costs the server (AIC off), beside Janus with the same packets in the same
//! run.

mod bout;
mod janus;
mod scenario;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use auralink_load::Pictures;
use serde::Serialize;
use tokio::process::Command;
use tokio::runtime::Handle;

use crate::server::Server;
use bout::{Bout, Load, Under};
use scenario::Scenario;

/// Options of the benchmark.
#[derive(clap::Args)]
pub struct ForwardOptions {
    /// What is forwarded.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "audio,webinar,meeting"
    )]
    scenario: Vec<Scenario>,
    /// Listeners of ten speakers, and viewers of one camera.
    #[arg(long, value_name = "N", default_value_t = 60)]
    listeners: usize,
    /// Length of each measurement.
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    seconds: f64,
    /// Measurements of each server, in turns.
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// Media threads of the server, each on a processor of its own.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1")]
    workers: Vec<usize>,
    /// Leaves Janus out.
    #[arg(long)]
    alone: bool,
    /// Where to write what is printed, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Who forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Contender {
    /// We, with that many media threads.
    Auralink(usize),
    /// The baseline.
    Janus,
}

/// All measurements of one server under one load.
#[derive(Serialize)]
struct Bouts {
    about: String,
    contender: Contender,
    bouts: Vec<Bout>,
}

/// Measures; always `true` when it could be.
pub async fn run(options: ForwardOptions) -> Result<bool> {
    let within = |name: &str, value: usize, most: usize| {
        ensure!(
            (1..=most).contains(&value),
            "--{name} must be 1 to {most}, got {value}"
        );
        Ok(())
    };
    within("listeners", options.listeners, 1000)?;
    within("rounds", options.rounds, 100)?;
    let cores = std::thread::available_parallelism()?.get();
    for workers in &options.workers {
        within("workers", *workers, cores)?;
    }
    ensure!(
        (1.0..=3600.0).contains(&options.seconds),
        "--seconds must be 1 to 3600, got {}",
        options.seconds
    );
    let mut contenders: Vec<Contender> = options.workers.iter().copied().map(Contender::Auralink).collect();
    if options.alone {
        eprintln!("NO BASELINE in this run: Janus is left out (--alone)");
    } else if Path::new(janus::PROGRAM).is_file() {
        contenders.push(Contender::Janus);
    } else {
        eprintln!(
            "NO BASELINE in this run: there is no {} (Debian package janus)",
            janus::PROGRAM
        );
    }
    stay_on(cores - 1).await?;
    let mut all: Vec<Bouts> = Vec::new();
    for scenario in &options.scenario {
        let pictures = match scenario.sends() {
            (_, true) => Pictures::load(camera().as_deref())?,
            _ => None,
        };
        if scenario.sends().1 && pictures.is_none() {
            continue;
        }
        let load = Load {
            scenario: *scenario,
            listeners: options.listeners,
            length: Duration::from_secs_f64(options.seconds),
            pictures,
        };
        let mut found: Vec<Bouts> = contenders
            .iter()
            .map(|contender| Bouts {
                about: scenario.about(options.listeners),
                contender: *contender,
                bouts: Vec::new(),
            })
            .collect();
        for round in 0..options.rounds {
            for bouts in &mut found {
                eprintln!("{}: {:?}, round {}", bouts.about, bouts.contender, round + 1);
                bouts.bouts.push(measure(&load, bouts.contender, cores).await?);
            }
        }
        print(&found);
        all.extend(found);
    }
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_string_pretty(&all)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(true)
}

/// What the camera sees: people in the shared data, or a test picture.
fn camera() -> Option<PathBuf> {
    let data = std::env::var_os("AURALINK_DATA").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let found = data.into_iter().chain([beside]);
    let mut films = found.map(|data| data.join("video/gesture_1280x720_mediapipe.mp4"));
    films.find(|film| film.is_file())
}

/// Keeps this process, all its threads, on one processor. There is no safe call for it in the standard library.
async fn stay_on(processor: usize) -> Result<()> {
    let own = std::process::id().to_string();
    let moved = Command::new("taskset")
        .args(["-a", "-c", "-p", &processor.to_string(), &own])
        .output()
        .await
        .context("cannot run taskset (Debian package util-linux)")?;
    ensure!(
        moved.status.success(),
        "taskset: {}",
        String::from_utf8_lossy(&moved.stderr)
    );
    Ok(())
}

async fn measure(load: &Load, contender: Contender, cores: usize) -> Result<Bout> {
    match contender {
        Contender::Auralink(workers) => {
            if workers == cores {
                eprintln!("{workers} media threads and the crowd share {cores} processors");
            }
            // It has one media thread for each processor that it may use.
            let server = Server::start_on(&format!("0-{}", workers - 1)).await?;
            let fought = fight(load, Under::Auralink(server.address.clone()), server.id()?).await;
            server.stop().await?;
            fought
        }
        Contender::Janus => {
            let server = janus::Process::start("0").await?;
            server.api.make_room(load.scenario.publishers()).await?;
            let fought = fight(load, Under::Janus(server.api.clone()), server.id()?).await;
            server.stop().await?;
            fought
        }
    }
}

async fn fight(load: &Load, under: Under, pid: u32) -> Result<Bout> {
    let (load, runtime) = (load.clone(), Handle::current());
    tokio::task::spawn_blocking(move || bout::fight(&load, &under, pid, &runtime)).await?
}

fn median(bouts: &[Bout], pick: fn(&Bout) -> f64) -> f64 {
    let mut values: Vec<f64> = bouts.iter().map(pick).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

/// Medians, and how we compare with the baseline.
fn print(found: &[Bouts]) {
    let Some(first) = found.first() else { return };
    println!("{}", first.about);
    println!(
        "{:<22} {:>10} {:>7} {:>12} {:>9} {:>9} {:>6} {:>8} {:>10}",
        "", "packets/s", "busy", "per busy s", "way p50", "way p99", "lost", "payload", "crowd busy"
    );
    for bouts in found {
        let name = match bouts.contender {
            Contender::Auralink(1) => "AuraLink, 1 worker".to_owned(),
            Contender::Auralink(workers) => format!("AuraLink, {workers} workers"),
            Contender::Janus => "Janus".to_owned(),
        };
        println!(
            "{name:<22} {:>10.0} {:>5.0} % {:>12.0} {:>6.2} ms {:>6.2} ms {:>6.0} {:>6.0} B {:>8.0} %",
            median(&bouts.bouts, |bout| bout.packets_per_s),
            median(&bouts.bouts, |bout| 100.0 * bout.busy),
            median(&bouts.bouts, |bout| bout.packets_per_busy_s),
            median(&bouts.bouts, |bout| bout.way_ms_p50),
            median(&bouts.bouts, |bout| bout.way_ms_p99),
            median(&bouts.bouts, |bout| bout.lost as f64),
            median(&bouts.bouts, |bout| bout.payload_bytes),
            median(&bouts.bouts, |bout| 100.0 * bout.own_busy),
        );
    }
    let baseline = found.iter().find(|bouts| bouts.contender == Contender::Janus);
    for ours in found.iter().filter(|bouts| bouts.contender != Contender::Janus) {
        let Some(baseline) = baseline else { continue };
        let ratios = ours.bouts.iter().zip(&baseline.bouts);
        let mut ratios: Vec<f64> = ratios
            .map(|(ours, theirs)| ours.packets_per_busy_s / theirs.packets_per_busy_s)
            .collect();
        ratios.sort_by(f64::total_cmp);
        let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
        let middle = median(&ours.bouts, |bout| bout.packets_per_busy_s)
            / median(&baseline.bouts, |bout| bout.packets_per_busy_s);
        println!(
            "{:?}: {middle:.2} × Janus per busy second ({least:.2} to {most:.2} by round)",
            ours.contender
        );
    }
    println!();
}
