//! `./x bench join`: what it costs the server that one more talker joins a room of talkers, or one more listener, and how long
//! the media of those present waits for it.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use auralink_client::{AudioSource, Client, ClientOptions, Hearing};
use serde::Serialize;
use serde_json::Value;

use crate::server::Server;
use crate::{access, cpu};

/// How long one join may take until everybody hears the newcomer.
const SETTLED: Duration = Duration::from_secs(60);

/// Options of the benchmark.
#[derive(clap::Args)]
pub struct JoinOptions {
    /// People who join one after another; all have a microphone, the last to come has it open.
    #[arg(long, value_name = "N", default_value_t = 100)]
    people: usize,
    /// Only the first has a microphone, which stays open; all others listen.
    #[arg(long)]
    listen: bool,
    /// Every how many joins a line is printed.
    #[arg(long, value_name = "N", default_value_t = 10)]
    every: usize,
    /// Where to write what is printed, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// One join.
#[derive(Serialize)]
struct Joined {
    /// The how-manyth.
    person: usize,
    /// Until its join was answered.
    answered_ms: f64,
    /// Until everybody had a leg to everybody.
    settled_ms: f64,
    /// Processor time of the server in that time.
    server_cpu_ms: f64,
    /// Longest turn of the media task so far, in which nothing else was forwarded; upper bound of a bucket √2 wide.
    longest_turn_ms: Option<f64>,
}

/// Lets people join; always `true` when it could be measured.
pub async fn run(options: JoinOptions) -> Result<bool> {
    // Everybody hears everybody on a line of its own, and a description has 256 lines.
    let most = if options.listen { 1_000 } else { 120 };
    ensure!(
        (2..=most).contains(&options.people),
        "--people must be 2 to {most}, got {}",
        options.people
    );
    ensure!(options.every > 0, "--every must be at least 1");
    let server = Server::start().await?;
    let mut clients: Vec<Client> = Vec::new();
    let mut joins = Vec::new();
    println!("person  answered    settled  server CPU  longest turn");
    for person in 1..=options.people {
        let token = access::token("join", &format!("person-{person}"))?;
        let mut client = ClientOptions::new(format!("ws://{}", server.address), token);
        let talks = !options.listen || person == 1;
        client.publish = talks.then(AudioSource::synthetic);
        client.hearing = Hearing::Count;
        let before = cpu::of(server.id()?);
        let start = Instant::now();
        let client = Client::join(client)
            .await
            .with_context(|| format!("person-{person} cannot join"))?;
        let answered = start.elapsed();
        let others = if options.listen { 1 } else { person };
        let stats = settle(&server, person, others * (person - 1)).await?;
        let joined = Joined {
            person,
            answered_ms: answered.as_secs_f64() * 1e3,
            settled_ms: start.elapsed().as_secs_f64() * 1e3,
            server_cpu_ms: (cpu::of(server.id()?) - before).as_secs_f64() * 1e3,
            longest_turn_ms: stats["longest_turn_us"].as_f64().map(|us| us / 1e3),
        };
        if !options.listen {
            client.set_muted(true).await?;
        }
        clients.push(client);
        if person % options.every == 0 || person == options.people {
            let turn = joined
                .longest_turn_ms
                .map_or("-".into(), |ms| format!("{ms:.1} ms"));
            println!(
                "{person:>6}  {:>5.0} ms  {:>6.0} ms  {:>7.0} ms  {turn:>12}",
                joined.answered_ms, joined.settled_ms, joined.server_cpu_ms,
            );
        }
        joins.push(joined);
    }
    for client in clients {
        client.leave().await?;
    }
    server.stop().await?;
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_string_pretty(&joins)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(true)
}

/// Waits until there is a leg from everybody who talks to everybody else.
async fn settle(server: &Server, people: usize, wanted: usize) -> Result<Value> {
    let url = format!("http://{}/dev/media/stats", server.address);
    let start = Instant::now();
    loop {
        let answer = reqwest::get(&url).await?.error_for_status()?;
        let stats: Value =
            serde_json::from_str(&answer.text().await?).with_context(|| format!("{url}: no JSON"))?;
        let legs = stats["legs"].as_u64().unwrap_or(0);
        if legs == wanted as u64 {
            return Ok(stats);
        }
        ensure!(
            start.elapsed() < SETTLED,
            "{people} people have {legs} legs of {wanted} after {SETTLED:?}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
