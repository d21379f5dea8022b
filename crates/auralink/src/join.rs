//! `auralink join`: joins a room from the command line, publishes and records, and says what it cost.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, bail};
use auralink_audio::{Reader, is_same_file};
use auralink_client::{
    AtEnd, AudioSource, Client, ClientEvent, ClientOptions, Hearing, OwnSettings, Report, SAMPLE_RATE,
};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};

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
    /// Sound file to publish (WAV, FLAC, Ogg, MP3), of any length and rate, looped; - is standard input; without it
    /// nothing is published
    #[arg(long, value_name = "FILE")]
    pub publish: Option<PathBuf>,
    /// Publish a made-up voice-like signal instead of a file
    #[arg(long, conflicts_with = "publish")]
    pub synthetic: bool,
    /// WAV file for what is heard (48 kHz, mono); - is standard output
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Seconds to stay; Ctrl-C, SIGTERM and SIGHUP leave earlier
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
        Some(path) => Some(source(path, command.record.as_deref())?),
        None if command.synthetic => Some(AudioSource::synthetic()),
        None => None,
    };
    if let Some(path) = &command.record {
        options.hearing = Hearing::Record(path.clone());
    }
    let mut asked_to_end = pin!(asked_to_end());
    let joined = tokio::select! {
        joined = Client::join(options) => joined,
        ended = &mut asked_to_end => return ended,
    };
    let mut client = joined.with_context(|| format!("cannot join {}", command.url))?;
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
            _ = &mut asked_to_end => break,
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
    // What is heard may be in standard output's place.
    if command
        .record
        .as_deref()
        .is_some_and(|path| path.as_os_str() == "-")
    {
        summarise(&report, &mut std::io::stderr())?;
    } else {
        summarise(&report, &mut std::io::stdout())?;
    }
    if let Some(path) = &command.json {
        let text = serde_json::to_vec_pretty(&report)?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The file to publish, which is not the one that is written. Of floating-point files all is looked at beforehand: what
/// no sound has is refused here as anywhere, and not found in the middle of the call.
fn source(path: &Path, record: Option<&Path>) -> anyhow::Result<AudioSource> {
    if record.is_some_and(|record| is_same_file(path, record)) {
        bail!(
            "--record {}: it is the file that is published; name another",
            path.display()
        );
    }
    if path.is_file() {
        let reader = Reader::open(path, SAMPLE_RATE)?;
        if reader.may_be_damaged() {
            reader.check()?;
        }
    }
    Ok(AudioSource::open(path, AtEnd::Loop)?)
}

/// Returns when somebody wants the program to end; a second time they need not ask.
async fn asked_to_end() -> anyhow::Result<()> {
    let (mut terminate, mut hang_up) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    tokio::select! {
        ended = tokio::signal::ctrl_c() => Ok(ended?),
        _ = terminate.recv() => Ok(()),
        _ = hang_up.recv() => Ok(()),
    }
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

fn summarise(report: &Report, to: &mut dyn Write) -> std::io::Result<()> {
    let (steady, stats) = (&report.steady, &report.stats);
    writeln!(
        to,
        "{} in {}: {:.1} s, {}",
        stats.identity,
        stats.room,
        stats.elapsed_ms / 1000.0,
        report.reason
    )?;
    writeln!(
        to,
        "  means over {:.1} s, IP and UDP headers included:",
        steady.seconds
    )?;
    writeln!(
        to,
        "  up    {:7.1} kbps on the wire, {:6.1} kbps audio payload, {:5.1} packets/s",
        steady.up_wire_kbps, steady.up_audio_payload_kbps, steady.up_audio_packets_per_s
    )?;
    writeln!(
        to,
        "  down  {:7.1} kbps on the wire, {:6.1} kbps audio payload, {:5.1} packets/s",
        steady.down_wire_kbps, steady.down_audio_payload_kbps, steady.down_audio_packets_per_s
    )?;
    if stats.publish.as_ref().is_some_and(|publish| publish.synthetic) {
        writeln!(to, "  the published audio was made up, not a recording")?;
    }
    for track in &stats.tracks {
        let heard = &track.stats;
        writeln!(
            to,
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
        )?;
    }
    Ok(())
}
