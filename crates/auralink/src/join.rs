//! `auralink join`: joins a room from the command line, publishes and records, and says what it cost.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use auralink_client::{AtEnd, AudioSource, Client, ClientEvent, ClientOptions, Hearing, OwnSettings, Report};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

/// Joins a room, publishes audio and records what is heard.
#[derive(Args, Clone, Debug)]
pub struct JoinCommand {
    /// Address of the server
    #[arg(long, default_value = "ws://127.0.0.1:7880", env = "LIVEKIT_URL")]
    pub url: String,
    /// PEM file of certificate authorities that wss trusts besides the web's
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Access token (see `auralink token`)
    #[arg(long, env = "LIVEKIT_TOKEN", hide_env_values = true)]
    pub token: String,
    /// WAV file to publish, any rate, looped; without it nothing is published
    #[arg(long, value_name = "FILE")]
    pub publish: Option<PathBuf>,
    /// Publish a made-up voice-like signal instead of a file
    #[arg(long, conflicts_with = "publish")]
    pub synthetic: bool,
    /// WAV file for what is heard (48 kHz, mono)
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Seconds to stay; Ctrl-C leaves earlier
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// Be an AIC client: announce the speech model and obey the server's hints
    #[arg(long)]
    pub aic: bool,
    /// Opus rate of an unsteered publisher, kbps
    #[arg(long, default_value_t = 48, value_parser = clap::value_parser!(u32).range(6..=510))]
    pub kbps: u32,
    /// Send next to nothing in silence
    #[arg(long)]
    pub dtx: bool,
    /// Write the whole report as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Joins, stays, leaves, reports.
pub async fn run(command: JoinCommand) -> anyhow::Result<()> {
    let mut options = ClientOptions::new(&command.url, &command.token);
    options.authorities = command.ca;
    options.aic = command.aic;
    options.own = OwnSettings {
        bitrate: command.kbps * 1000,
        dtx: command.dtx,
        ..OwnSettings::default()
    };
    options.publish = match &command.publish {
        Some(path) => Some(AudioSource::from_wav(path, AtEnd::Loop)?),
        None if command.synthetic => Some(AudioSource::synthetic()),
        None => None,
    };
    if let Some(path) = &command.record {
        options.hearing = Hearing::Record(path.clone());
    }
    let mut client = Client::join(options)
        .await
        .with_context(|| format!("cannot join {}", command.url))?;
    let mut events = client.events();

    let bar = ProgressBar::new(command.seconds);
    bar.set_style(ProgressStyle::with_template(
        "{elapsed_precise} [{bar:30}] {msg}",
    )?);
    let started = tokio::time::Instant::now();
    let end = started + Duration::from_secs(command.seconds);
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(end) => break,
            _ = tokio::signal::ctrl_c() => break,
            _ = second.tick() => {
                bar.set_position(started.elapsed().as_secs());
                if let Ok(stats) = client.stats().await {
                    let now = Duration::from_secs_f64(stats.elapsed_ms / 1000.0);
                    let rates = stats.rates(now.saturating_sub(Duration::from_secs(2)), now);
                    bar.set_message(format!(
                        "up {:.1} kbps, down {:.1} kbps", rates.up_wire_kbps, rates.down_wire_kbps
                    ));
                }
            }
            event = events.recv() => match event {
                Ok(ClientEvent::Ended { .. }) => break,
                Ok(event) => bar.suspend(|| say(&event)),
                Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                Err(tokio::sync::broadcast::error::RecvError::Closed) => break,
            },
        }
    }
    bar.finish_and_clear();
    let report = client.leave().await?;
    summarise(&report);
    if let Some(path) = &command.json {
        let text = serde_json::to_vec_pretty(&report)?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn say(event: &ClientEvent) {
    match event {
        ClientEvent::Published { track } => eprintln!("published as {track}"),
        ClientEvent::Subscribed { track, identity } => {
            eprintln!("hearing {} ({track})", identity.as_deref().unwrap_or("somebody"));
        }
        ClientEvent::Unsubscribed { track } => eprintln!("{track} has ended"),
        ClientEvent::ParticipantJoined { identity } => eprintln!("{identity} is here"),
        ClientEvent::ParticipantLeft { identity } => eprintln!("{identity} has left"),
        ClientEvent::Hint { hint, obeyed } => {
            let word = if *obeyed { "obeyed" } else { "not obeyed" };
            eprintln!("hint for {}: {:?} ({word})", hint.track, hint.source);
        }
        ClientEvent::Switched { switch, .. } => eprintln!("arriving now: {:?}", switch.shape),
        ClientEvent::Data { from, topic, payload } => {
            eprintln!("data from {from} on {topic}: {} bytes", payload.len());
        }
        ClientEvent::Ended { reason } => eprintln!("ended: {reason}"),
    }
}

fn summarise(report: &Report) {
    let (steady, stats) = (&report.steady, &report.stats);
    println!(
        "{} in {}: {:.1} s, {}",
        stats.identity,
        stats.room,
        stats.elapsed_ms / 1000.0,
        report.reason
    );
    println!(
        "  means over {:.1} s, IP and UDP headers included:",
        steady.seconds
    );
    println!(
        "  up    {:7.1} kbps on the wire, {:6.1} kbps audio payload, {:5.1} packets/s",
        steady.up_wire_kbps, steady.up_audio_payload_kbps, steady.up_audio_packets_per_s
    );
    println!(
        "  down  {:7.1} kbps on the wire, {:6.1} kbps audio payload, {:5.1} packets/s",
        steady.down_wire_kbps, steady.down_audio_payload_kbps, steady.down_audio_packets_per_s
    );
    if stats.publish.as_ref().is_some_and(|publish| publish.synthetic) {
        println!("  the published audio was made up, not a recording");
    }
    for track in &stats.tracks {
        let heard = &track.stats;
        println!(
            "  {} ({}): {} packets, {} lost, {:.0} ms concealed in {} gaps (longest {:.0} ms), {} switches, buffer {:.0} ms",
            track.identity.as_deref().unwrap_or("?"),
            track.track,
            heard.packets,
            heard.packets_lost,
            heard.concealed_ms,
            heard.gap_count,
            heard.longest_gap_ms,
            heard.switches.len().saturating_sub(1),
            heard.mean_buffer_ms,
        );
    }
}
