//! The AI core as a child process on one CPU core.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// Time it may take to name its address.
const START: Duration = Duration::from_secs(60);
/// Time it may take to drain.
const STOP: Duration = Duration::from_secs(20);
/// Clock ticks a second in `/proc/PID/stat`; Linux has no other value for user space.
const TICKS: f64 = 100.0;

/// A running core.
pub struct CoreProcess {
    child: Child,
    /// `host:port` of its gRPC.
    pub address: String,
}

impl CoreProcess {
    /// Starts `auralink core --dev` with one worker, on that CPU core alone.
    pub async fn start(program: &PathBuf, cpu: usize) -> Result<Self> {
        let mut child = Command::new("taskset")
            .args(["-c", &cpu.to_string()])
            .arg(program)
            .args(["core", "--dev", "--listen", "127.0.0.1:0", "--workers", "1"])
            // The benchmark shows what happens at full load instead of refusing it.
            .args(["--load", "1", "--grace", "1"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot run taskset (package util-linux)")?;
        let output = child.stdout.take().context("no output")?;
        let mut lines = BufReader::new(output).lines();
        let named = async {
            while let Some(line) = lines.next_line().await? {
                if let Some(rest) = line.trim_start().strip_prefix("grpc") {
                    let address = rest.split_whitespace().next().unwrap_or_default();
                    return Ok(address.to_owned());
                }
            }
            bail!("the core named no address")
        };
        let address = tokio::time::timeout(START, named)
            .await
            .context("the core named no address in time")??;
        // Somebody has to read on, or the child blocks when the pipe is full.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { child, address })
    }

    /// CPU time it has used so far, seconds.
    pub fn cpu_seconds(&self) -> Option<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()?)).ok()?;
        cpu_seconds(&stat)
    }

    /// Asks it to end and waits for it.
    pub async fn stop(mut self) -> Result<()> {
        let id = self.child.id().context("the core ended by itself")?;
        Command::new("kill")
            .args(["-TERM", &id.to_string()])
            .status()
            .await
            .context("cannot run kill")?;
        tokio::time::timeout(STOP, self.child.wait())
            .await
            .context("the core did not end")??;
        Ok(())
    }
}

/// User and system time of a process: fields 14 and 15, counted behind the name, which may hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_whatever_the_process_is_called() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4 0 0 0 0 150 50 0 0 20 0 4 0 9 1 1";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("nonsense"), None);
    }
}
