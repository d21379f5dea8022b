//! Janus as a child process, with a configuration of its own on loopback.

use std::fs;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::api::Api;

/// Where Debian puts it.
pub const PROGRAM: &str = "/usr/bin/janus";

/// Debian's directory of its plugins.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/janus";

/// Time it may take to answer.
const START: Duration = Duration::from_secs(15);

/// Time it may take to end.
const STOP: Duration = Duration::from_secs(10);

/// A running Janus.
pub struct Process {
    child: Child,
    /// Its API.
    pub api: Api,
    _directory: TempDir,
}

impl Process {
    /// Starts it on those processors and waits until it answers.
    pub async fn start(processors: &str) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        configure(directory.path(), port)?;
        let log = fs::File::create(directory.path().join("log"))?;
        let child = Command::new("taskset")
            .args(["-c", processors, PROGRAM, "--disable-colors", "-F"])
            .arg(directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start janus under taskset")?;
        let since = Instant::now();
        let api = loop {
            match Api::open(&format!("ws://127.0.0.1:{port}")).await {
                Ok(api) => break api,
                Err(error) if since.elapsed() > START => {
                    let log = fs::read_to_string(directory.path().join("log")).unwrap_or_default();
                    bail!("janus does not answer: {error:#}\n{log}");
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        };
        Ok(Self {
            child,
            api,
            _directory: directory,
        })
    }

    /// Its process.
    pub fn id(&self) -> Result<u32> {
        self.child.id().context("janus ended by itself")
    }

    /// Asks it to end and waits for it; one that will not is killed.
    pub async fn stop(mut self) -> Result<()> {
        let id = self.id()?;
        Command::new("kill")
            .args(["-TERM", &id.to_string()])
            .status()
            .await?;
        if tokio::time::timeout(STOP, self.child.wait()).await.is_err() {
            self.child.kill().await?;
        }
        Ok(())
    }
}

/// The address of this machine by which Janus takes media: it passes loopback over. What is sent there from here leaves
/// the machine no more than what is sent to loopback.
pub fn address() -> Result<IpAddr> {
    // An address for documentation (RFC 5737): nothing is sent, the system only says from where it would be.
    let probe = UdpSocket::bind("0.0.0.0:0")?;
    probe
        .connect("198.51.100.1:9")
        .context("this machine has no address but loopback, and janus takes none")?;
    Ok(probe.local_addr()?.ip())
}

fn configure(directory: &Path, port: u16) -> Result<()> {
    let address = address()?;
    let here = directory.display();
    let main = format!(
        r#"general: {{
    configs_folder = "{here}"
    plugins_folder = "{LIBRARY}/plugins"
    transports_folder = "{LIBRARY}/transports"
    events_folder = "{LIBRARY}/events"
    loggers_folder = "{LIBRARY}/loggers"
    debug_level = 2
    session_timeout = 0
}}
media: {{ rtp_port_range = "20000-32000" }}
nat: {{
    ice_lite = true
    ice_enforce_list = "{address}"
}}
plugins: {{ disable = "libjanus_audiobridge.so,libjanus_duktape.so,libjanus_echotest.so,libjanus_lua.so,libjanus_nosip.so,libjanus_recordplay.so,libjanus_sip.so,libjanus_streaming.so,libjanus_textroom.so,libjanus_videocall.so,libjanus_voicemail.so" }}
transports: {{ disable = "libjanus_http.so,libjanus_mqtt.so,libjanus_nanomsg.so,libjanus_pfunix.so,libjanus_rabbitmq.so" }}
"#
    );
    fs::write(directory.join("janus.jcfg"), main)?;
    let socket = format!(
        "general: {{\n    ws = true\n    ws_port = {port}\n    ws_ip = \"127.0.0.1\"\n    json = \"compact\"\n}}\n"
    );
    fs::write(directory.join("janus.transport.websockets.jcfg"), socket)?;
    fs::write(
        directory.join("janus.plugin.videoroom.jcfg"),
        "general: { events = false }\n",
    )?;
    Ok(())
}
