//! The server as a child process: the same program that operators run.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// Time it may take to name its address.
const START: Duration = Duration::from_secs(60);

/// Time it may take to say goodbye.
const STOP: Duration = Duration::from_secs(10);

/// Last lines of its output kept, to show when something went wrong.
const LINES: usize = 400;

/// A running server.
pub struct Server {
    child: Child,
    /// `host:port` of its HTTP side.
    pub address: String,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Starts `auralink serve --dev` on ports chosen by the system and waits until it names its address.
    pub async fn start() -> Result<Self> {
        Self::start_as(Command::new(program()?)).await
    }

    /// As above, on those processors alone.
    pub async fn start_on(processors: &str) -> Result<Self> {
        let mut command = Command::new("taskset");
        command.args(["-c", processors]).arg(program()?);
        Self::start_as(command).await
    }

    async fn start_as(mut command: Command) -> Result<Self> {
        let mut child = command
            .args([
                "serve",
                "--dev",
                "--listen",
                "127.0.0.1:0",
                "--database",
                "memory",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the server")?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (found, mut address) = watch::channel(None);
        let found = Arc::new(found);
        if let Some(output) = child.stdout.take() {
            tokio::spawn(follow(output, lines.clone(), found.clone()));
        }
        if let Some(output) = child.stderr.take() {
            tokio::spawn(follow(output, lines.clone(), found));
        }
        let named = tokio::time::timeout(START, address.wait_for(Option::is_some)).await;
        let address = match named {
            Ok(Ok(address)) => address.clone(),
            _ => None,
        };
        match address {
            Some(address) => Ok(Self {
                child,
                address,
                lines,
            }),
            None => bail!("the server named no address:\n{}", tail(&lines)),
        }
    }

    /// Its process.
    pub fn id(&self) -> Result<u32> {
        self.child.id().context("the server ended by itself")
    }

    /// Asks it to end and waits for it; an error when it did not end by itself with code 0.
    pub async fn stop(mut self) -> Result<()> {
        let id = self.id()?;
        // There is no safe call for a signal in the standard library; `kill` is on every system this runs on.
        Command::new("kill")
            .args(["-TERM", &id.to_string()])
            .status()
            .await
            .context("cannot run kill")?;
        match tokio::time::timeout(STOP, self.child.wait()).await {
            Ok(status) => match status?.code() {
                Some(0) => Ok(()),
                code => bail!("the server ended with {code:?}:\n{}", tail(&self.lines)),
            },
            Err(_) => {
                self.child.kill().await?;
                bail!("the server did not end within {} s of SIGTERM", STOP.as_secs())
            }
        }
    }

    /// The last lines it wrote.
    pub fn tail(&self) -> String {
        tail(&self.lines)
    }
}

/// The program beside this one, unless another is named.
pub fn program() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("AURALINK_BIN") {
        return Ok(named.into());
    }
    let beside = std::env::current_exe()?.with_file_name("auralink");
    if !beside.is_file() {
        bail!(
            "no server at {}: build it (`cargo build -p auralink`), or name it in AURALINK_BIN",
            beside.display()
        );
    }
    Ok(beside)
}

async fn follow(
    output: impl AsyncRead + Unpin,
    lines: Arc<Mutex<Vec<String>>>,
    found: Arc<watch::Sender<Option<String>>>,
) {
    let mut reader = BufReader::new(output).lines();
    while let Ok(Some(line)) = reader.next_line().await {
        if found.borrow().is_none()
            && let Some(address) = address_in(&line)
        {
            found.send_replace(Some(address));
        }
        if let Ok(mut lines) = lines.lock() {
            if lines.len() >= LINES {
                lines.remove(0);
            }
            lines.push(line);
        }
    }
}

/// The first `http://host:port` in a line.
fn address_in(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("http://")?;
    let end = rest
        .find(|c: char| !(c.is_ascii_alphanumeric() || ".:[]-".contains(c)))
        .unwrap_or(rest.len());
    let address = rest[..end].trim_end_matches(['.', ':']);
    let (_, port) = address.rsplit_once(':')?;
    (port.parse::<u16>().ok()? != 0).then(|| address.to_owned())
}

fn tail(lines: &Mutex<Vec<String>>) -> String {
    lines
        .lock()
        .map(|lines| lines[lines.len().saturating_sub(30)..].join("\n"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_any_sentence_that_carries_one() {
        let found = |line| address_in(line);
        assert_eq!(
            found("http      http://127.0.0.1:41235 (REST)").as_deref(),
            Some("127.0.0.1:41235")
        );
        assert_eq!(
            found("listening on http://127.0.0.1:7880.").as_deref(),
            Some("127.0.0.1:7880")
        );
        assert_eq!(
            found("docs at http://[::1]:7880/api/docs").as_deref(),
            Some("[::1]:7880")
        );
        for none in [
            "media 127.0.0.1:7882",
            "http://127.0.0.1:0",
            "http://localhost",
            "",
        ] {
            assert_eq!(found(none), None, "{none}");
        }
    }
}
