//! One run of the demo: two clients join, talk, and leave; what their sockets, their ears and the server say of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use auralink_client::receive::Shape;
use auralink_client::unit::Kind;
use auralink_client::{AtEnd, AudioSource, Client, ClientOptions, Hearing, Report};
use auralink_types::{Neural, NeuralRate, PacketTime, SourceCodec};
use indicatif::ProgressBar;

use crate::access;
use crate::gaps;
use crate::outcome::{Event, Run, Timeline};
use crate::plan::{Clients, Plan};
use crate::rest::{Measured, Rest, mean};
use crate::score::Job;
use crate::server::Server;
use crate::speech::Speech;
use auralink_link::StallWatch;

/// The two who talk.
const NAMES: [&str; 2] = ["anna", "bert"];

/// Left out at the beginning of a run: congestion control, buffers and the ladder settle in it.
const SETTLE: Duration = Duration::from_secs(2);

/// Left out of the scores: the same, and a second more for the ladder's first step.
const SCORE_FROM: f64 = 3.0;

/// Step of the timeline.
const STEP: Duration = Duration::from_millis(500);

/// The server stores its metrics once a second, in batches.
const STORED_WITHIN: Duration = Duration::from_secs(6);

/// One of the two, when the call is over.
struct Side {
    name: &'static str,
    report: Report,
    wav: PathBuf,
    /// When it began to join.
    from: Instant,
    /// Since then, when both were there.
    offset: Duration,
}

/// Makes one call; the recordings still have to be scored.
pub async fn place(
    server: &Server,
    plan: &Plan,
    speech: &Speech,
    length: Duration,
    directory: &Path,
    progress: &ProgressBar,
) -> Result<(Run, Vec<Job>)> {
    let room = format!("demo-{}", plan.mode);
    let rest = Rest::new(&server.address)?;
    let tokens = users(plan).map(|user| access::token(&room, &user));
    let [anna, bert] = tokens;
    let tokens = [anna?, bert?];
    if let Some(config) = &plan.config {
        for token in &tokens {
            rest.set_config(token, config).await?;
        }
    }
    let stalls = StallWatch::start();
    let sides = talk(server, plan, speech, length, directory, &tokens, &rest, progress).await?;
    let stalls = stalls.stalls();
    let measured = measured(&rest, plan, &tokens).await?;

    let mut run = Run {
        mode: plan.mode.to_owned(),
        about: plan.about.to_owned(),
        ..Run::default()
    };
    wire(&mut run, &sides, length);
    shape(&mut run, &sides, plan);
    run.gaps = sides
        .iter()
        .flat_map(|side| {
            gaps::of(
                side.name,
                &side.report,
                side.from,
                side.offset,
                &stalls,
                plan.config.is_some(),
            )
        })
        .collect();
    run.longest_gap_ms = run.gaps.iter().map(|gap| gap.ms).fold(0.0, f64::max);
    run.events = events(&sides, plan, length);
    server_side(&mut run, measured);
    run.wavs = sides.iter().map(|side| side.wav.clone()).collect();
    let jobs = sides.iter().zip(speech.wavs.iter().rev()).map(|(side, said)| {
        let offset = side.offset.as_secs_f64();
        Job {
            reference: said.clone(),
            recorded: side.wav.clone(),
            from_s: offset + SCORE_FROM,
            to_s: offset + length.as_secs_f64() - 0.5,
        }
    });
    let jobs = jobs.collect();
    Ok((run, jobs))
}

fn users(plan: &Plan) -> [String; 2] {
    // Users of their own for every run, so that the server's figures of a user are those of one run.
    NAMES.map(|name| format!("{name}-{}", plan.mode))
}

#[allow(
    clippy::too_many_arguments,
    reason = "one call needs all of these, and a struct for them would be used once"
)]
async fn talk(
    server: &Server,
    plan: &Plan,
    speech: &Speech,
    length: Duration,
    directory: &Path,
    tokens: &[String; 2],
    rest: &Rest,
    progress: &ProgressBar,
) -> Result<Vec<Side>> {
    let mut joined = Vec::new();
    for (n, name) in NAMES.into_iter().enumerate() {
        let wav = directory.join(format!("{}-heard-by-{name}.wav", plan.mode));
        let mut options = ClientOptions::new(format!("ws://{}", server.address), tokens[n].clone());
        options.publish = Some(AudioSource::open(&speech.wavs[n], AtEnd::Loop)?);
        options.hearing = Hearing::Record(wav.clone());
        options.aic = match plan.clients {
            Clients::Stock => false,
            Clients::Aic => true,
            Clients::StockSpeaker => name == NAMES[1],
            Clients::NeuralSpeaker => name == NAMES[0],
        };
        if options.aic && plan.clients == Clients::NeuralSpeaker {
            options.begin_with = SourceCodec::Neural(Neural {
                rate: NeuralRate::Kbps6,
                packet: PacketTime::Ms60,
                copies: 0,
            });
        }
        let from = Instant::now();
        let client = Client::join(options)
            .await
            .with_context(|| format!("{name} cannot join"))?;
        joined.push((name, client, wav, from));
    }
    let start = Instant::now();
    let mut outage = plan.outage;
    while start.elapsed() < length {
        tokio::time::sleep(Duration::from_millis(100).min(length.saturating_sub(start.elapsed()))).await;
        progress.set_position(start.elapsed().as_millis() as u64);
        if let Some(due) = outage.filter(|due| start.elapsed() >= length.mul_f64(due.at)) {
            outage = None;
            rest.kill_worker(&server.address, &tokens[0], due.down_ms).await?;
        }
        if let Some((name, ..)) = joined.iter().find(|(_, client, ..)| client.is_ended()) {
            anyhow::bail!("{name} fell out of the call");
        }
    }
    let mut sides = Vec::new();
    for (name, client, wav, from) in joined {
        let report = client
            .leave()
            .await
            .with_context(|| format!("{name} cannot leave"))?;
        sides.push(Side {
            name,
            report,
            wav,
            from,
            offset: start - from,
        });
    }
    Ok(sides)
}

async fn measured(rest: &Rest, plan: &Plan, tokens: &[String; 2]) -> Result<Vec<Measured>> {
    let since = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let mut found = Vec::new();
        for token in tokens {
            found.push(rest.measured(token).await?);
        }
        let nothing_yet = plan.config.is_some() && found.iter().all(|one| one.figures.rows == 0);
        if !nothing_yet || since.elapsed() > STORED_WITHIN {
            return Ok(found);
        }
    }
}

/// Rates on the wire, mean of both sides.
fn wire(run: &mut Run, sides: &[Side], length: Duration) {
    let rates: Vec<_> = sides
        .iter()
        .map(|side| {
            side.report
                .stats
                .rates(side.offset + SETTLE, side.offset + length)
        })
        .collect();
    let of = |pick: fn(&auralink_client::traffic::Rates) -> f64| {
        rates.iter().map(pick).sum::<f64>() / rates.len() as f64
    };
    run.wire_kbps_up = of(|rates| rates.up_wire_kbps);
    run.wire_kbps_down = of(|rates| rates.down_wire_kbps);
    run.payload_kbps_up = of(|rates| rates.up_audio_payload_kbps);
    run.payload_kbps_down = of(|rates| rates.down_audio_payload_kbps);
    run.packets_per_s_up = of(|rates| rates.up_audio_packets_per_s);
    run.packets_per_s_down = of(|rates| rates.down_audio_packets_per_s);
    let steps = (length.as_secs_f64() / STEP.as_secs_f64()).floor() as u32;
    let step = |n: u32, pick: fn(&auralink_client::traffic::Rates) -> f64| {
        let rates = sides.iter().map(|side| {
            side.report
                .stats
                .rates(side.offset + STEP * n, side.offset + STEP * (n + 1))
        });
        rates.map(|rates| pick(&rates)).sum::<f64>() / sides.len() as f64
    };
    run.timeline = Timeline {
        step_s: STEP.as_secs_f64(),
        up_kbps: (0..steps).map(|n| step(n, |rates| rates.up_wire_kbps)).collect(),
        down_kbps: (0..steps)
            .map(|n| step(n, |rates| rates.down_wire_kbps))
            .collect(),
    };
}

/// The rung that the second side heard for most of the time, and the delay that comes with it.
fn shape(run: &mut Run, sides: &[Side], plan: &Plan) {
    let Some(track) = sides.last().and_then(|side| side.report.stats.tracks.first()) else {
        run.rung = "none".to_owned();
        run.rung_detail = "nothing arrived".to_owned();
        return;
    };
    let switches = &track.stats.switches;
    let mut time: Vec<(Shape, f64)> = Vec::new();
    for (n, switch) in switches.iter().enumerate() {
        let until = switches
            .get(n + 1)
            .map_or(track.stats.played_ms, |next| next.at_ms);
        match time.iter_mut().find(|(shape, _)| *shape == switch.shape) {
            Some((_, ms)) => *ms += until - switch.at_ms,
            None => time.push((switch.shape, until - switch.at_ms)),
        }
    }
    let Some((shape, _)) = time.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)) else {
        return;
    };
    run.rung = rung(&shape, plan).to_owned();
    run.rung_detail = describe(&shape, plan);
    let delays = sides
        .iter()
        .flat_map(|side| &side.report.stats.tracks)
        .map(|track| {
            let packet = track
                .stats
                .switches
                .last()
                .map_or(0, |switch| switch.shape.packet_ms);
            f64::from(packet) + track.stats.mean_buffer_ms
        });
    run.delay_ms = mean(&delays.collect::<Vec<_>>());
}

fn rung(shape: &Shape, plan: &Plan) -> &'static str {
    match shape.kind {
        Kind::Neural => "neural",
        Kind::Opus if shape.red || plan.config.is_none() => "original",
        Kind::Opus => "lean",
    }
}

fn describe(shape: &Shape, plan: &Plan) -> String {
    let rate = shape
        .neural_bps
        .map(|bps| format!(" {} kbps", bps as f64 / 1000.0))
        .unwrap_or_default();
    let red = if shape.red { " RED" } else { "" };
    format!("{}{rate}{red} {} ms", rung(shape, plan), shape.packet_ms)
}

/// What happened, on the clock of the run.
fn events(sides: &[Side], plan: &Plan, length: Duration) -> Vec<Event> {
    let mut events = Vec::new();
    if let Some(outage) = plan.outage {
        let at_s = outage.at * length.as_secs_f64();
        events.push(Event {
            at_s,
            what: "AI worker killed".to_owned(),
        });
        events.push(Event {
            at_s: at_s + outage.down_ms as f64 / 1000.0,
            what: "AI worker may come back".to_owned(),
        });
    }
    for side in sides {
        let offset = side.offset.as_secs_f64();
        for track in &side.report.stats.tracks {
            for switch in &track.stats.switches {
                let at_s = (track.from_ms + switch.at_ms) / 1000.0 - offset;
                events.push(Event {
                    at_s: at_s.max(0.0),
                    what: format!("{} hears {}", side.name, describe(&switch.shape, plan)),
                });
            }
        }
    }
    events.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    events
}

/// What the server says, both users together.
fn server_side(run: &mut Run, measured: Vec<Measured>) {
    let all = |pick: fn(&Measured) -> Option<f64>| measured.iter().filter_map(pick).collect::<Vec<_>>();
    let sum = |values: Vec<f64>| (!values.is_empty()).then(|| values.iter().sum::<f64>());
    run.quality_score = mean(&all(|one| one.quality_score));
    run.quality_metric = measured.iter().find_map(|one| one.quality_metric.clone());
    run.compress_ms_p50 = mean(&all(|one| one.compress_ms_p50));
    run.compress_ms_p99 = all(|one| one.compress_ms_p99).into_iter().reduce(f64::max);
    let mut fallbacks: BTreeMap<String, u64> = BTreeMap::new();
    for (reason, count) in measured.iter().flat_map(|one| &one.fallbacks) {
        *fallbacks.entry(reason.clone()).or_default() += count;
    }
    run.fallbacks = fallbacks;
    let rest = &mut run.rest;
    rest.rows = measured.iter().map(|one| one.figures.rows).sum();
    rest.original_kbps = mean(&all(|one| one.figures.original_kbps));
    rest.compressed_kbps = mean(&all(|one| one.figures.compressed_kbps));
    rest.saved_percent = match (rest.original_kbps, rest.compressed_kbps) {
        (Some(original), Some(compressed)) if original > 0.0 => Some(100.0 * (1.0 - compressed / original)),
        _ => None,
    };
    rest.avg_savings_percent = mean(&all(|one| one.figures.avg_savings_percent));
    rest.total_saved_mb = sum(all(|one| one.figures.total_saved_mb));
    let frames: Vec<u64> = measured
        .iter()
        .filter_map(|one| one.figures.total_frames)
        .collect();
    rest.total_frames = (!frames.is_empty()).then(|| frames.iter().sum());
    rest.basis = measured.iter().find_map(|one| one.figures.basis.clone());
}
