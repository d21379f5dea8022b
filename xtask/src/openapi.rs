//! The committed description of the REST API, and foreign tests made from it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::python;
use crate::step::{Place, Step, cargo};

/// Where the description lies.
const DOCUMENT: &str = "docs/openapi.json";
/// Key and secret of the server under test; it listens on loopback alone.
const KEY: &str = "schemathesis";
const SECRET: &str = "not a secret, on loopback";
/// Seconds that schemathesis may take for one database.
const SECONDS: &str = "75";
/// Pins the cases, so that a failure can be had again.
const SEED: &str = "20260921";

/// Writes the description anew.
pub fn export(place: &Place) -> Result<u8> {
    let text = printed(place)?;
    fs::write(place.root.join(DOCUMENT), text).with_context(|| format!("cannot write {DOCUMENT}"))?;
    eprintln!("x: wrote {DOCUMENT}");
    Ok(0)
}

/// Fails when what is committed is not what the server would serve.
pub fn check(place: &Place) -> Result<()> {
    let committed =
        fs::read_to_string(place.root.join(DOCUMENT)).with_context(|| format!("cannot read {DOCUMENT}"))?;
    if committed != printed(place)? {
        bail!("{DOCUMENT} is not what the server serves; `./x openapi` writes it anew");
    }
    Ok(())
}

fn printed(place: &Place) -> Result<String> {
    cargo(place, ["build", "--locked", "--quiet", "--workspace", "--bins"]).run()?;
    let output = Command::new(place.program("auralink"))
        .arg("openapi")
        .output()
        .context("cannot run auralink openapi")?;
    if !output.status.success() {
        bail!("auralink openapi: {}", String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8(output.stdout).context("auralink openapi printed something else than text")
}

/// Cases that follow from the description alone and are the same every time, for `x test`.
pub fn schemathesis_coverage(place: &Place) -> Result<()> {
    schemathesis(place, "coverage")
}

/// Cases of every kind, made up for as long as [`SECONDS`] last.
pub fn schemathesis_all(place: &Place) -> Result<()> {
    schemathesis(place, "examples,coverage,fuzzing,stateful")
}

/// Runs schemathesis with every check on against a live server, on SQLite and on PostgreSQL.
fn schemathesis(place: &Place, phases: &str) -> Result<()> {
    let interpreter = match python::with(place, "testing/schemathesis/requirements.txt") {
        Ok(interpreter) => interpreter,
        Err(problem) => {
            eprintln!("x: SKIPPED: schemathesis against the REST API: {problem:#}");
            return Ok(());
        }
    };
    let build = [
        "build",
        "--locked",
        "--workspace",
        "--bins",
        "--example",
        "cluster",
    ];
    cargo(place, build).run()?;
    let mut failed = Vec::new();
    let mut run = |name: &str, database: &str| -> Result<()> {
        let server = Server::start(place, database).with_context(|| format!("server on {name}"))?;
        eprintln!("x: schemathesis against {name}");
        if let Err(problem) = against(place, &interpreter, &server, phases) {
            eprintln!("x: schemathesis on {name}: {problem:#}");
            failed.push(name.to_owned());
        }
        Ok(())
    };
    run("SQLite", "memory")?;
    match Cluster::start(place)? {
        Some(cluster) => run("PostgreSQL", &cluster.url)?,
        None => eprintln!("x: SKIPPED: schemathesis on PostgreSQL, which could not be started"),
    }
    if !failed.is_empty() {
        bail!("schemathesis failed on {}", failed.join(", "));
    }
    Ok(())
}

/// A temporary PostgreSQL; it ends when this is dropped, because its input does.
struct Cluster {
    child: Child,
    url: String,
}

impl Cluster {
    fn start(place: &Place) -> Result<Option<Self>> {
        let mut child = Command::new(place.program("examples/cluster"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the cluster")?;
        let said = child.stdout.take().context("the cluster has no output")?;
        let url = BufReader::new(said).lines().next().transpose()?;
        match url {
            Some(url) => Ok(Some(Self { child, url })),
            None => {
                child.wait().context("cannot wait for the cluster")?;
                Ok(None)
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // Nothing more can be done about one that does not end.
        let _ = self.child.wait();
    }
}

fn against(place: &Place, interpreter: &Path, server: &Server, phases: &str) -> Result<()> {
    let minted = Command::new(place.program("auralink"))
        .args(["token", "--identity", "operator", "--grants", "roomList=true"])
        .args(["--key", KEY, "--secret", SECRET])
        .output()
        .context("cannot mint a token")?;
    let token = String::from_utf8(minted.stdout).context("a token is text")?;
    let schemathesis = interpreter.with_file_name("schemathesis");
    let location = format!("{}/api/openapi.json", server.url);
    let header = format!("Authorization: Bearer {}", token.trim());
    let config = "testing/schemathesis/schemathesis.toml";
    let arguments = [
        "--config-file",
        config,
        "run",
        &location,
        "--header",
        &header,
        "--checks",
        "all",
        "--phases",
        phases,
        "--max-time",
        SECONDS,
        "--seed",
        SEED,
        "--request-timeout",
        "10",
        "--output-truncate",
        "true",
    ];
    Step::new(place, schemathesis, arguments)
        .named("schemathesis run")
        .run()
}

/// A server of this build; it ends when this is dropped.
struct Server {
    child: Child,
    url: String,
    _folder: Folder,
}

struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // Left behind, it is only litter below the target directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Server {
    fn start(place: &Place, database: &str) -> Result<Self> {
        let folder = place
            .programs
            .join(format!("schemathesis-{}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let folder = Folder(folder);
        let config = folder.0.join("auralink.toml");
        let text = format!(
            "listen = \"127.0.0.1:0\"\nudp = \"127.0.0.1:0\"\ndatabase = \"{database}\"\nrest_per_second = 1000000\n\
             rest_burst = 1000000\nwebhook_private_addresses = true\n[keys]\n{KEY} = \"{SECRET}\"\n"
        );
        fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
        let mut child = Command::new(place.program("auralink"))
            .arg("serve")
            .arg("--config")
            .arg(&config)
            .env("AURALINK_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start auralink serve")?;
        let said = child.stdout.take().context("auralink serve has no output")?;
        let mut server = Self {
            child,
            url: String::new(),
            _folder: folder,
        };
        let mut lines = BufReader::new(said).lines();
        while let Some(line) = lines.next() {
            let line = line?;
            if let Some(url) = line.split_whitespace().find(|word| word.starts_with("http://")) {
                server.url = url.to_owned();
                // Read on, or the server could not say the rest.
                std::thread::spawn(move || lines.for_each(drop));
                return Ok(server);
            }
        }
        bail!("auralink serve ended before it said where it listens")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
