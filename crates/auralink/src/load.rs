//! `auralink load`: people by the hundred at any server that speaks LiveKit's protocol.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use auralink_audio::read_all;
use auralink_client::SAMPLE_RATE;
use auralink_load::{Aic, Media, Plan, Progress};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

/// Lets people join, talk and listen, and counts what the server makes of it.
#[derive(Args, Clone, Debug)]
pub struct LoadCommand {
    /// Address of the server
    #[arg(long, default_value = "ws://127.0.0.1:7880", env = "LIVEKIT_URL")]
    pub url: String,
    /// PEM file of certificate authorities that wss trusts besides the web's
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// API key that signs the tokens
    #[arg(long, default_value = "devkey", env = "LIVEKIT_API_KEY")]
    pub key: String,
    /// Secret of the key
    #[arg(
        long,
        default_value = "secret",
        env = "LIVEKIT_API_SECRET",
        hide_env_values = true
    )]
    pub secret: String,
    /// What people are called; two loads in one room need two names
    #[arg(long, default_value = "load")]
    pub name: String,
    /// What rooms are called, to share them with other loads; as people are without it
    #[arg(long, value_name = "NAME")]
    pub room_name: Option<String>,
    /// Rooms
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub rooms: usize,
    /// People in each room who send
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub publishers: usize,
    /// People in each room who only listen
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub subscribers: usize,
    /// Those who send listen to nobody
    #[arg(long)]
    pub deaf_publishers: bool,
    /// What is sent
    #[arg(long, value_delimiter = ',', default_value = "audio")]
    pub media: Vec<Sent>,
    /// Publishers of a room who talk at a time, in turns; all at once without it
    #[arg(long, value_name = "N")]
    pub talking: Option<usize>,
    /// Seconds of a turn
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = seconds, allow_negative_numbers = true)]
    pub turn: f64,
    /// Sound file that is spoken; a made-up voice without it
    #[arg(long, value_name = "FILE")]
    pub audio_file: Option<PathBuf>,
    /// Video file that is shown, in three simulcast layers up to 720p; ffmpeg's test picture without it
    #[arg(long, value_name = "FILE")]
    pub video_file: Option<PathBuf>,
    /// Messages of each publisher
    #[arg(long, value_name = "N", default_value_t = 5.0, allow_negative_numbers = true)]
    pub messages_per_second: f64,
    /// Bytes of each message
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub message_bytes: usize,
    /// People who begin to join, until all are there
    #[arg(long, value_name = "N", default_value_t = 20.0, allow_negative_numbers = true)]
    pub joins_per_second: f64,
    /// People who leave and are replaced at once, once all are there
    #[arg(long, value_name = "N", default_value_t = 0.0, allow_negative_numbers = true)]
    pub leaves_per_second: f64,
    /// Seconds that are measured, once all are there; Ctrl-C ends them earlier
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0, value_parser = seconds, allow_negative_numbers = true)]
    pub duration: f64,
    /// AIC: off; on among stock clients; on among clients that understand it
    #[arg(long, value_enum, default_value = "off")]
    pub aic: Mode,
    /// The server's process on this machine, whose processor time and memory are told
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// Write what is printed as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// What publishers send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sent {
    /// Speech in Opus
    Audio,
    /// VP8 in three simulcast layers
    Video,
    /// Messages to everybody in the room
    Data,
}

/// AIC, as a user of the command has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// The server passes speech on
    Off,
    /// It saves bandwidth for clients that know nothing of it
    Stock,
    /// It saves bandwidth for clients that decode what it sends and send what it asks for
    Capable,
}

/// A time that a clock can tell; its bounds are the plan's to check.
fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "is no number".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
    Ok(seconds)
}

/// Puts the load on, prints and writes what was found.
pub async fn run(command: LoadCommand) -> anyhow::Result<()> {
    let json = command.json.clone();
    let plan = plan(command)?;
    let length = plan.length;
    let bar = ProgressBar::new(length.as_secs());
    bar.set_style(ProgressStyle::with_template(
        "{elapsed_precise} [{bar:30}] {msg}",
    )?);
    let stopped = Arc::new(AtomicBool::new(false));
    let told = (bar.clone(), stopped.clone());
    let load = auralink_load::run(plan, move |progress| {
        let (bar, stopped) = &told;
        tell(bar, progress);
        !stopped.load(Ordering::Relaxed)
    });
    let mut load = std::pin::pin!(load);
    let report = tokio::select! {
        report = &mut load => report?,
        asked = tokio::signal::ctrl_c() => {
            asked?;
            stopped.store(true, Ordering::Relaxed);
            load.await?
        }
    };
    bar.finish_and_clear();
    print!("{}", report.table());
    if let Some(path) = json {
        let text = serde_json::to_vec_pretty(&report)?;
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn tell(bar: &ProgressBar, progress: Progress) {
    bar.set_message(format!("{} of {} connected", progress.connected, progress.wanted));
    bar.set_position(progress.measured.unwrap_or_default().as_secs());
}

fn plan(command: LoadCommand) -> anyhow::Result<Plan> {
    if let Some(path) = command.video_file.as_deref().filter(|path| !path.is_file()) {
        bail!("--video-file {}: there is no such file", path.display());
    }
    let speech = match &command.audio_file {
        Some(path) => {
            Some(read_all(path, SAMPLE_RATE).with_context(|| format!("--audio-file {}", path.display()))?)
        }
        None => None,
    };
    let plan = Plan {
        url: command.url,
        authorities: command.ca,
        key: command.key,
        secret: command.secret,
        name: command.name,
        room_name: command.room_name,
        rooms: command.rooms,
        publishers: command.publishers,
        subscribers: command.subscribers,
        publishers_listen: !command.deaf_publishers,
        media: command
            .media
            .iter()
            .map(|sent| match sent {
                Sent::Audio => Media::Audio,
                Sent::Video => Media::Video,
                Sent::Data => Media::Data,
            })
            .collect(),
        talking: command.talking,
        turn: Duration::from_secs_f64(command.turn),
        messages: command.messages_per_second,
        message_bytes: command.message_bytes,
        joins: command.joins_per_second,
        leaves: command.leaves_per_second,
        length: Duration::from_secs_f64(command.duration),
        aic: match command.aic {
            Mode::Off => Aic::Off,
            Mode::Stock => Aic::Stock,
            Mode::Capable => Aic::Capable,
        },
        speech,
        video: command.video_file,
        server: command.server_pid,
    };
    // Not as a mistake in a configuration: it was said on the command line.
    plan.check().map_err(|error| anyhow!("{error}"))?;
    Ok(plan)
}
