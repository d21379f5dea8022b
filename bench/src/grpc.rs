//! `./x bench grpc`: what one CPU core of AI core serves over gRPC, and what gRPC adds to the same work in process.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use auralink_aicore::LocalCore;
use auralink_aicore::grpc::stubs::aic_compression_client::AicCompressionClient;
use auralink_engine::{InFrame, InKind, Outcome, Processor as _};
use auralink_opus::{Application, Encoder, EncoderConfig, Signal};
use auralink_types::{Bitrate, Lean, Neural, NeuralRate, PacketTime, Rung};
use auralink_wire::proto::v1::{self, compress_stream_request as ask, compress_stream_response as answer};
use serde::Serialize;
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use crate::core_process::CoreProcess;
use crate::{server, speech};

/// Length of a frame.
const FRAME: Duration = Duration::from_millis(20);
/// The same on the media timeline.
const TICKS: u64 = 960;
/// Left out at the beginning of a run, in which all streams come at once: until they are known and have been heard.
const SETTLE: Duration = Duration::from_secs(5);
/// Time for the last answers.
const LINGER: Duration = Duration::from_secs(2);
/// Streams of the run that shows what gRPC adds when nobody waits for anybody.
const FEW: usize = 10;
/// What the product promises from request to answer.
const PROMISE_MS: f64 = 10.0;
/// Frames have so long before they come back unchanged: the benchmark measures how late they would be.
const PATIENCE: Duration = Duration::from_millis(200);
/// Speech that the streams share, each from a place of its own.
const SPEECH_SECONDS: f64 = 60.0;

/// What the streams become.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Target {
    /// Opus 16 kbps, 20 ms packets.
    Lean,
    /// The neural codec at 6 kbps, 20 ms packets.
    Neural,
}

impl Target {
    fn rung(self) -> Rung {
        let packet = PacketTime::Ms20;
        match self {
            Self::Lean => Rung::Lean(Lean {
                bitrate: Bitrate::kbps(16),
                packet,
                fec: false,
            }),
            Self::Neural => Rung::Neural(Neural {
                rate: NeuralRate::Kbps6,
                packet,
                copies: 0,
            }),
        }
    }
}

/// Options of the benchmark.
#[derive(clap::Args)]
pub struct GrpcOptions {
    /// Streams at once.
    #[arg(long, value_name = "N", default_value_t = 200)]
    streams: usize,
    /// Length of each of the four runs.
    #[arg(long, value_name = "N", default_value_t = 20.0)]
    seconds: f64,
    /// What the streams become.
    #[arg(long, value_enum, default_value = "lean")]
    rung: Target,
    /// CPU core for the server.
    #[arg(long, value_name = "N", default_value_t = 0)]
    cpu: usize,
    /// Where to write what is printed, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// One run.
#[derive(Clone, Debug, Serialize)]
struct Run {
    path: &'static str,
    streams: usize,
    frames: usize,
    answered: usize,
    coded: usize,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// CPU time of the server, share of one core; absent in process.
    server_cpu: Option<f64>,
    /// The same for one frame, microseconds: it tells how many streams a core carries whatever else runs on it.
    server_us_per_frame: Option<f64>,
}

/// Everything found.
#[derive(Serialize)]
struct Found {
    input: String,
    rung: String,
    seconds: f64,
    runs: Vec<Run>,
    added_p50_ms: f64,
    added_p99_ms: f64,
}

/// Runs the same streams in process and over gRPC, few and many; `true` when the promise was kept.
pub async fn run(options: GrpcOptions) -> Result<bool> {
    ensure!(
        (1..=2_000).contains(&options.streams),
        "--streams must be 1 to 2000, got {}",
        options.streams
    );
    ensure!(
        (6.0..=600.0).contains(&options.seconds),
        "--seconds must be 6 to 600, got {}",
        options.seconds
    );
    let directory = std::env::temp_dir().join(format!("auralink-bench-grpc-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let prepared = packets(&directory);
    let _ = fs::remove_dir_all(&directory);
    let (packets, about) = prepared?;
    let rung = options.rung.rung();
    let program = server::program()?;
    let length = Duration::from_secs_f64(options.seconds);
    let mut runs = Vec::new();
    for streams in [FEW, options.streams] {
        let load = Load {
            streams,
            length,
            packets: &packets,
            rung,
        };
        eprintln!("in process, one worker thread: {streams} streams for {length:.0?}");
        runs.push(in_process(&load).await?);
        eprintln!(
            "gRPC, server pinned to CPU core {}: {streams} streams for {length:.0?}",
            options.cpu
        );
        let core = CoreProcess::start(&program, options.cpu).await?;
        runs.push(remote(&load, &core).await?);
        core.stop().await?;
    }
    let found = Found {
        input: format!("{about}, Opus 48 kbps in 20 ms packets"),
        rung: format!("{rung:?}"),
        seconds: options.seconds,
        added_p50_ms: runs[1].p50_ms - runs[0].p50_ms,
        added_p99_ms: runs[1].p99_ms - runs[0].p99_ms,
        runs,
    };
    publish(&found, &options)?;
    let last = found.runs.last().context("no run")?;
    Ok(last.p99_ms < PROMISE_MS && last.coded == last.frames)
}

/// Real speech as Opus packets, and what it is.
fn packets(directory: &Path) -> Result<(Vec<Arc<[u8]>>, String)> {
    let speech = speech::prepare(None, SPEECH_SECONDS, directory)?;
    let config = EncoderConfig {
        sample_rate: 48_000,
        channels: 1,
        bitrate: 48_000,
        packet_ms: 20,
        complexity: 9,
        vbr: true,
        dtx: false,
        inband_fec: false,
        expected_loss_percent: 0,
        signal: Signal::Auto,
        application: Application::Voip,
        bandwidth: None,
    };
    let mut packets = Vec::new();
    for path in &speech.wavs {
        let mut encoder = Encoder::new(&config)?;
        let pcm = auralink_audio::read_all(path, 48_000)?;
        for frame in pcm.chunks_exact(TICKS as usize) {
            let mut packet = [0; 1_500];
            let length = encoder.encode(frame, &mut packet)?;
            packets.push(Arc::from(&packet[..length]));
        }
    }
    Ok((packets, speech.about))
}

/// The same for every run of a size.
struct Load<'a> {
    streams: usize,
    length: Duration,
    packets: &'a [Arc<[u8]>],
    rung: Rung,
}

impl Load<'_> {
    /// Packet `n` of a stream: each starts at another place of the speech.
    fn packet(&self, stream: usize, n: u64) -> Arc<[u8]> {
        let at = stream * 37 + n as usize;
        self.packets[at % self.packets.len()].clone()
    }

    /// When it is due: streams are spread evenly over a frame, as talkers are who know nothing of each other.
    fn due(&self, stream: usize, n: u64) -> Duration {
        FRAME * n as u32 + FRAME.mul_f64(stream as f64 / self.streams as f64)
    }

    fn frames_each(&self) -> u64 {
        (self.length.as_millis() / FRAME.as_millis()) as u64
    }

    /// All frames in the order in which they are due.
    fn schedule(&self) -> impl Iterator<Item = (usize, u64)> + use<> {
        let streams = self.streams;
        (0..self.frames_each()).flat_map(move |n| (0..streams).map(move |stream| (stream, n)))
    }
}

/// Times from request to answer, without those of the first second.
#[derive(Default)]
struct Times {
    ms: Vec<f64>,
    sent: usize,
    answered: usize,
    coded: usize,
}

impl Times {
    fn sent(&mut self, n: u64) {
        self.sent += usize::from(counts(n));
    }

    fn answer(&mut self, n: u64, took: Duration, coded: bool) {
        if counts(n) {
            self.answered += 1;
            self.coded += usize::from(coded);
            self.ms.push(took.as_secs_f64() * 1e3);
        }
    }

    fn run(mut self, path: &'static str, load: &Load<'_>, server_cpu: Option<f64>) -> Result<Run> {
        self.ms.sort_by(f64::total_cmp);
        let last = self.ms.len().checked_sub(1).context("nothing was answered")?;
        let at = |share: f64| self.ms[(last as f64 * share).round() as usize];
        Ok(Run {
            path,
            streams: load.streams,
            frames: self.sent,
            answered: self.answered,
            coded: self.coded,
            p50_ms: at(0.50),
            p99_ms: at(0.99),
            max_ms: at(1.0),
            server_us_per_frame: server_cpu.map(|share| {
                share * load.length.as_secs_f64() * 1e6 / (load.frames_each() as f64 * load.streams as f64)
            }),
            server_cpu,
        })
    }
}

fn counts(n: u64) -> bool {
    FRAME * n as u32 >= SETTLE
}

async fn in_process(load: &Load<'_>) -> Result<Run> {
    let woken = Arc::new(Notify::new());
    let bell = woken.clone();
    let mut core = LocalCore::start(1, Arc::new(move || bell.notify_one()));
    let mut ids = Vec::new();
    for _ in 0..load.streams {
        ids.push(core.open(&[load.rung])?);
    }
    let numbers: HashMap<_, _> = ids.iter().enumerate().map(|(number, id)| (*id, number)).collect();
    let mut under_way: Vec<VecDeque<(u64, Instant)>> = vec![VecDeque::new(); load.streams];
    let mut times = Times::default();
    let start = Instant::now();
    let mut schedule = load.schedule().peekable();
    let end = start + load.length + LINGER;
    while Instant::now() < end && (schedule.peek().is_some() || under_way.iter().any(|q| !q.is_empty())) {
        while let Some((stream, n)) =
            schedule.next_if(|(stream, n)| start + load.due(*stream, *n) <= Instant::now())
        {
            let now = Instant::now();
            let frame = InFrame {
                kind: InKind::Opus,
                timestamp: n * TICKS,
                payload: load.packet(stream, n),
                deadline: now + PATIENCE,
            };
            times.sent(n);
            if core.submit(ids[stream], frame).is_ok() {
                under_way[stream].push_back((n, now));
            }
        }
        while let Some(outcome) = core.poll() {
            if let Outcome::Took { stream, .. } = outcome
                && let Some(number) = numbers.get(&stream)
                && let Some((n, sent)) = under_way[*number].pop_front()
            {
                times.answer(n, sent.elapsed(), true);
            }
        }
        let due = schedule
            .peek()
            .map_or(end, |(stream, n)| start + load.due(*stream, *n));
        let _ = tokio::time::timeout_at(due.into(), woken.notified()).await;
    }
    times.run("in process", load, None)
}

/// When the frames of one stream were sent.
type Sent = Arc<Mutex<HashMap<u64, Instant>>>;

async fn remote(load: &Load<'_>, core: &CoreProcess) -> Result<Run> {
    let times = Arc::new(Mutex::new(Times::default()));
    let client = AicCompressionClient::connect(format!("http://{}", core.address)).await?;
    let mut streams = Vec::new();
    let mut readers = Vec::new();
    for number in 0..load.streams {
        let (requests, waiting) = mpsc::channel(256);
        let open = ask::Message::Open(v1::OpenCompression {
            session: Some(v1::SessionKey {
                call_id: format!("call-{number}"),
                track_id: "microphone".into(),
                tenant_id: String::new(),
            }),
            choice: Some(v1::open_compression::Choice::Fixed(v1::FixedRungs::from(
                &[load.rung][..],
            ))),
            omit_original: true,
        });
        requests.send(request(open)).await?;
        let mut client = client.clone();
        let mut answers = client
            .compress_stream(ReceiverStream::new(waiting))
            .await
            .with_context(|| format!("stream {number}"))?
            .into_inner();
        let sent = Sent::default();
        let (log, shared) = (sent.clone(), times.clone());
        readers.push(tokio::spawn(async move {
            while let Ok(Some(message)) = answers.message().await {
                let Some(answer::Message::Result(result)) = message.message else {
                    continue;
                };
                let at = log.lock().ok().and_then(|mut log| log.remove(&result.timestamp));
                if let (Some(at), Ok(mut times)) = (at, shared.lock()) {
                    times.answer(result.timestamp / TICKS, at.elapsed(), result.coded);
                }
            }
        }));
        streams.push((requests, sent));
    }
    let before = core.cpu_seconds();
    let start = Instant::now();
    for (stream, n) in load.schedule() {
        let due = start + load.due(stream, n);
        if due > Instant::now() {
            tokio::time::sleep_until(due.into()).await;
        }
        let (requests, sent) = &streams[stream];
        let frame = v1::MediaFrame {
            codec: v1::Codec::Opus as i32,
            payload: load.packet(stream, n).to_vec().into(),
            timestamp: n * TICKS,
            max_latency_ms: PATIENCE.as_millis() as u32,
            ..Default::default()
        };
        if let Ok(mut sent) = sent.lock() {
            sent.insert(n * TICKS, Instant::now());
        }
        if let Ok(mut times) = times.lock() {
            times.sent(n);
        }
        requests.send(request(ask::Message::Frame(frame))).await?;
    }
    let spent = start.elapsed().as_secs_f64();
    let used = core
        .cpu_seconds()
        .zip(before)
        .map(|(now, then)| (now - then) / spent);
    drop(streams);
    for reader in readers {
        let _ = tokio::time::timeout(LINGER, reader).await;
    }
    let times = times
        .lock()
        .map(|mut times| std::mem::take(&mut *times))
        .unwrap_or_default();
    times.run("gRPC", load, used)
}

fn request(message: ask::Message) -> v1::CompressStreamRequest {
    v1::CompressStreamRequest {
        message: Some(message),
    }
}

fn publish(found: &Found, options: &GrpcOptions) -> Result<()> {
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_string_pretty(found)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("input: {}; each stream becomes {}", found.input, found.rung);
    println!(
        "gRPC: server on CPU core {} alone (taskset), one worker; the client and everything else wherever there is room",
        options.cpu
    );
    println!("in process: one worker thread, not pinned\n");
    println!(
        "{:<12}{:>8}{:>9}{:>9}{:>9}{:>9}{:>9}{:>12}{:>14}",
        "path", "streams", "frames", "coded", "p50 ms", "p99 ms", "max ms", "server CPU", "us CPU/frame"
    );
    for run in &found.runs {
        let cpu = run
            .server_cpu
            .map_or("-".to_owned(), |share| format!("{:.0} %", 100.0 * share));
        let each = run
            .server_us_per_frame
            .map_or("-".to_owned(), |us| format!("{us:.0}"));
        println!(
            "{:<12}{:>8}{:>9}{:>9}{:>9.3}{:>9.3}{:>9.3}{cpu:>12}{each:>14}",
            run.path, run.streams, run.frames, run.coded, run.p50_ms, run.p99_ms, run.max_ms
        );
    }
    println!(
        "\ngRPC adds {:.3} ms (p50) and {:.3} ms (p99) at {FEW} streams; the promise is p99 < {PROMISE_MS} ms at 200 on one core",
        found.added_p50_ms, found.added_p99_ms
    );
    Ok(())
}
