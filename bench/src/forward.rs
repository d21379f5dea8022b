//! `./x bench forward`: what the server adds to the way of a packet that it only forwards (AIC off).

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use auralink_client::{AudioSource, Client, ClientOptions, Hearing};
use serde::Serialize;
use serde_json::Value;

use crate::access;
use crate::server::Server;

/// Options of the benchmark.
#[derive(clap::Args)]
pub struct ForwardOptions {
    /// Length.
    #[arg(long, value_name = "N", default_value_t = 15.0)]
    seconds: f64,
    /// People in the room; all talk, all listen.
    #[arg(long, value_name = "N", default_value_t = 4)]
    people: usize,
    /// Where to write what is printed, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What was found.
#[derive(Serialize)]
struct Forwarding {
    people: usize,
    seconds: f64,
    /// Packets that came in and went out, once per leg.
    packets_in: u64,
    packets_out: u64,
    /// From the socket's receive to the socket's send, upper bound of a bucket that is √2 wide.
    added_ms_p50: Option<f64>,
    added_ms_p99: Option<f64>,
    /// As the receivers count it.
    packets_received: u64,
    packets_lost: u64,
}

/// Places the call; always `true` when it could be measured.
pub async fn run(options: ForwardOptions) -> Result<bool> {
    ensure!(
        (2..=64).contains(&options.people),
        "--people must be 2 to 64, got {}",
        options.people
    );
    ensure!(
        (1.0..=3600.0).contains(&options.seconds),
        "--seconds must be 1 to 3600, got {}",
        options.seconds
    );
    let server = Server::start().await?;
    let mut clients = Vec::new();
    for n in 0..options.people {
        let token = access::token("forward", &format!("talker-{n}"))?;
        let mut client = ClientOptions::new(format!("ws://{}", server.address), token);
        client.publish = Some(AudioSource::synthetic());
        client.hearing = Hearing::Count;
        clients.push(
            Client::join(client)
                .await
                .with_context(|| format!("talker-{n} cannot join"))?,
        );
    }
    eprintln!("{} people talk for {:.0} s", options.people, options.seconds);
    tokio::time::sleep(Duration::from_secs_f64(options.seconds)).await;
    let url = format!("http://{}/dev/media/stats", server.address);
    let answer = reqwest::get(&url).await?.error_for_status()?;
    let stats: Value =
        serde_json::from_str(&answer.text().await?).with_context(|| format!("{url}: no JSON"))?;
    let mut found = Forwarding {
        people: options.people,
        seconds: options.seconds,
        packets_in: stats["packets_in"].as_u64().unwrap_or(0),
        packets_out: stats["packets_out"].as_u64().unwrap_or(0),
        added_ms_p50: stats["forward_p50_us"].as_f64().map(|us| us / 1000.0),
        added_ms_p99: stats["forward_p99_us"].as_f64().map(|us| us / 1000.0),
        packets_received: 0,
        packets_lost: 0,
    };
    for client in clients {
        let report = client.leave().await?;
        found.packets_received += report.stats.received.audio_packets;
        found.packets_lost += report
            .stats
            .tracks
            .iter()
            .map(|track| track.stats.packets_lost)
            .sum::<u64>();
    }
    server.stop().await?;
    publish(&found, &options)?;
    Ok(true)
}

fn publish(found: &Forwarding, options: &ForwardOptions) -> Result<()> {
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_string_pretty(found)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let ms = |value: Option<f64>| value.map_or("-".to_owned(), |ms| format!("{ms:.3} ms"));
    println!(
        "forwarding with AIC off: {} packets in, {} out; added p50 {}, p99 {}; received {}, lost {}",
        found.packets_in,
        found.packets_out,
        ms(found.added_ms_p50),
        ms(found.added_ms_p99),
        found.packets_received,
        found.packets_lost
    );
    Ok(())
}
