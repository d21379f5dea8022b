//! `./x bench speech`: our codec beside libopus and Lyra V2 on a folder of clips: quality at every rate, under loss, on
//! inputs that it is weak on, and what each costs.

mod clips;
mod coded;
mod coding;
mod condition;
mod curves;
mod libopus;
mod loss;
mod ours;
mod outcome;
mod page;
mod scores;
mod speed;
mod table;
mod tools;

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use auralink_codec::Model;

use clips::{Clip, SPEECH};
use coding::{Plan, Sample};
use condition::{Coder, Condition};
use outcome::Outcome;
use speed::Speed;

/// Seconds of speech that the timing runs on.
const TIMED_SECONDS: f64 = 20.0;

/// Options of the benchmark.
#[derive(clap::Args)]
pub struct SpeechOptions {
    /// Folder of sound files (FLAC, WAV, Ogg).
    #[arg(long, value_name = "DIR")]
    clips: Option<PathBuf>,
    /// Folder with MANIFEST.csv, for the weak inputs.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Folder with Lyra V2's weights.
    #[arg(long, value_name = "DIR")]
    lyra: Option<PathBuf>,
    /// Where to write what is printed, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where decoded clips, plots and the report go. Scores are kept there too: a second run, or one that was stopped,
    /// scores only what is new.
    #[arg(long, value_name = "DIR", default_value = "out/speech")]
    out: PathBuf,
    /// A few clips only.
    #[arg(long)]
    quick: bool,
}

/// Options of the coding for the quality estimator's fit.
#[derive(clap::Args)]
pub struct CodeOptions {
    /// Folder of 16 kHz mono 16-bit WAV.
    #[arg(long, value_name = "DIR")]
    clips: PathBuf,
    /// Where the decoded clips go, each aligned with its reference, as `CLIP.CONDITION.wav`.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Folder with Lyra V2's weights.
    #[arg(long, value_name = "DIR")]
    lyra: Option<PathBuf>,
    /// Code each clip under one in N conditions only, others from clip to clip.
    #[arg(long, value_name = "N", default_value_t = 1)]
    every: usize,
}

/// Runs the benchmark; always `true` when it could be measured.
pub fn run(options: SpeechOptions) -> Result<bool> {
    let root = repository();
    let clips_at = options
        .clips
        .unwrap_or_else(|| root.join("../shared/data/speech/test"));
    let data = options.data.unwrap_or_else(|| root.join("../shared/data"));
    let mut missing = Vec::new();
    let data = data.join("MANIFEST.csv").is_file().then_some(data).or_else(|| {
        missing.push("weak inputs: no folder with MANIFEST.csv (--data)".to_owned());
        None
    });
    let out = &options.out;
    fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    let clips = clips::prepare(&clips_at, data.as_deref(), &out.join("clips"), options.quick)
        .context("the benchmark needs Python with testing/requirements.txt, which ./x installs")?;
    let (speech, weak): (Vec<Clip>, Vec<Clip>) = clips.into_iter().partition(|clip| clip.group == SPEECH);
    let model = Model::builtin()?;

    // Timed first and alone.
    let mut speed = speed::measure(&model, &timed(&speech)?)?;
    let mut conditions = condition::clean();
    conditions.extend(condition::lossy());
    let weights = options
        .lyra
        .unwrap_or_else(|| root.join("../shared/models/lyra-v2"));
    let mut code = |clips: &[Clip], conditions: &[Condition], missing: &mut Vec<String>| {
        let (samples, timed) = code(
            &model,
            clips,
            conditions,
            &weights,
            &out.join("decoded"),
            1,
            missing,
        )?;
        speed.extend(timed);
        let scores = scores::score(clips, &samples, &out.join("scores.jsonl"))?;
        anyhow::Ok(outcome::rows(clips, conditions, &samples, &scores))
    };
    let mut main = code(&speech, &conditions, &mut missing)?;
    let weak = code(&weak, &condition::weak(), &mut Vec::new())?;
    let lossy = main.split_off(main.iter().take_while(|row| row.loss_percent == 0).count());
    speed.dedup_by(|b, a| a.codec == b.codec);
    let outcome = Outcome {
        source: name(&clips_at),
        clips: speech.len(),
        seconds: speech.iter().map(|clip| clip.seconds).sum(),
        model: format!("{} {}", model.manifest().name, model.id()),
        libopus: auralink_opus::version().to_owned(),
        clean: main,
        lossy,
        weak,
        speed,
        missing,
    };
    print!("{}", table::text(&outcome));
    let page = page::write(&outcome, out)?;
    eprintln!("bench: report {}", page.display());
    if let Some(path) = options.json {
        fs::write(&path, serde_json::to_vec_pretty(&outcome)?).with_context(|| path.display().to_string())?;
    }
    Ok(true)
}

/// Codes a folder under every condition that the estimator is fitted on.
pub fn code_for_fit(options: CodeOptions) -> Result<bool> {
    let clips: Vec<Clip> = clips::of_directory(&options.clips)?;
    let conditions = condition::estimator();
    let weights = options
        .lyra
        .unwrap_or_else(|| repository().join("../shared/models/lyra-v2"));
    let mut missing = Vec::new();
    code(
        &Model::builtin()?,
        &clips,
        &conditions,
        &weights,
        &options.out,
        options.every.max(1),
        &mut missing,
    )?;
    Ok(missing.is_empty())
}

/// Everything that can be coded; who is missing is said at once and noted.
fn code(
    model: &Arc<Model>,
    clips: &[Clip],
    conditions: &[Condition],
    weights: &Path,
    out: &Path,
    every: usize,
    missing: &mut Vec<String>,
) -> Result<(Vec<Sample>, Option<Speed>)> {
    let plan = Plan {
        clips,
        conditions,
        every,
    };
    let mut samples = coding::native(model, &plan, out)?;
    let wanted = conditions
        .iter()
        .any(|condition| matches!(condition.coder, Coder::Lyra(_)));
    let mut speed = None;
    if wanted && !clips.is_empty() {
        let done = if weights.join("lyragan.tflite").is_file() {
            coding::lyra(weights, &plan, out)
        } else {
            Err(anyhow::anyhow!("no weights in {}", name(weights)))
        };
        match done {
            Ok((more, spent)) => {
                samples.extend(more);
                speed = Some(Speed::new("Lyra V2", spent.encode_ms, spent.decode_ms));
            }
            Err(problem) => {
                eprintln!("bench: LYRA V2 IS LEFT OUT: {problem:#}");
                missing.push(format!("Lyra V2: {problem:#}"));
            }
        }
    }
    samples.sort_by_key(|sample| (sample.condition, sample.clip));
    Ok((samples, speed))
}

/// Speech to time with, from several clips.
fn timed(clips: &[Clip]) -> Result<Vec<f32>> {
    let enough = (TIMED_SECONDS * f64::from(auralink_codec::SAMPLE_RATE)) as usize;
    let mut pcm = Vec::new();
    for clip in clips {
        if pcm.len() >= enough {
            break;
        }
        pcm.extend(clips::read(&clip.wav)?);
    }
    Ok(pcm)
}

fn repository() -> &'static Path {
    let bench = Path::new(env!("CARGO_MANIFEST_DIR"));
    bench.parent().unwrap_or(bench)
}

/// The last parts of a path: enough to know the folder by, without the machine's own.
fn name(path: &Path) -> String {
    let parts: Vec<_> = path
        .components()
        .filter(|part| matches!(part, Component::Normal(_)))
        .map(|part| part.as_os_str().to_string_lossy())
        .collect();
    parts[parts.len().saturating_sub(3)..].join("/")
}
