//! The Python side: clips, Lyra and scores come from small programs in `testing/` that take JSON and answer a line for each
//! job done.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .with_file_name("testing")
        .join(name)
}

fn python(name: &str) -> Command {
    let interpreter = std::env::var_os("AURALINK_PYTHON").unwrap_or_else(|| "python3".into());
    let mut command = Command::new(interpreter);
    command.arg(script(name));
    command
}

/// A bar on standard error; nothing where that is no terminal but a line at the end of each stage.
pub fn progress(what: &str, count: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:24} {wide_bar} {pos}/{len} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(count as u64)
        .with_style(style)
        .with_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(500));
    if bar.is_hidden() {
        eprintln!("bench: {what}: {count}");
    }
    bar
}

/// Runs a program to its end and reads its whole answer.
pub fn ask<T: DeserializeOwned>(name: &str, arguments: &[&std::ffi::OsStr]) -> Result<T> {
    let output = python(name)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .output()
        .with_context(|| format!("cannot start python for {name}"))?;
    if !output.status.success() {
        bail!("{name}: {}", last_line(&String::from_utf8_lossy(&output.stderr)));
    }
    serde_json::from_slice(&output.stdout).with_context(|| format!("{name} answered no JSON"))
}

/// Hands all jobs to a program and calls `done` with each of its lines.
pub fn run<T: DeserializeOwned>(
    name: &str,
    jobs: &impl Serialize,
    bar: &ProgressBar,
    mut done: impl FnMut(T),
) -> Result<()> {
    let mut child = python(name)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start python for {name}"))?;
    let mut input = child.stdin.take().context("no standard input")?;
    let output = child.stdout.take().context("no standard output")?;
    let mut errors = child.stderr.take().context("no standard error")?;
    let text = serde_json::to_vec(jobs)?;
    // Read on threads of their own: a full pipe must not stop the other.
    let feeder = std::thread::spawn(move || input.write_all(&text));
    let listener = std::thread::spawn(move || {
        let mut said = String::new();
        errors.read_to_string(&mut said).ok();
        said
    });
    for line in BufReader::new(output).lines() {
        let line = line?;
        done(serde_json::from_str(&line).with_context(|| format!("{name} said {line:?}"))?);
        bar.inc(1);
    }
    let status = child.wait()?;
    feeder.join().ok();
    let said = listener.join().unwrap_or_default();
    if !status.success() {
        bail!("{name}: {}", last_line(&said));
    }
    Ok(())
}

fn last_line(said: &str) -> &str {
    said.trim().lines().last().unwrap_or("no word")
}
