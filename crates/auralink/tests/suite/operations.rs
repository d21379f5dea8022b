//! What operators do with the program: configure it, encrypt it, watch it, and read what it says.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use auralink_aicore::{Certified, DevCertificates};
use auralink_token::{Claims, KeyRing};
use reqwest::{Certificate, Client, Response, StatusCode};
use serde_json::Value;

use crate::call::{BINARY, PATIENCE, Process, http_client, serve, token};

const KEYS: [(&str, &str); 1] = [("ours", "a secret long enough")];

/// A server of that configuration, on addresses of the system's choice.
fn configured(folder: &Path, more: &str, prepare: impl FnOnce(&mut Command)) -> Process {
    let file = folder.join("aura.toml");
    let text = format!("listen = \"127.0.0.1:0\"\nudp = \"127.0.0.1:0\"\n{more}");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(BINARY);
    command.arg("serve").arg("--config").arg(&file);
    prepare(&mut command);
    Process::run(&mut command, "http")
}

fn ours(identity: &str) -> String {
    let claims = Claims::join("room", identity);
    let hour = Duration::from_secs(3600);
    KeyRing::new(KEYS)
        .mint("ours", &claims, hour, SystemTime::now())
        .unwrap()
}

/// What a command that ends by itself says.
fn says(arguments: &[&str]) -> (Output, String) {
    let output = Command::new(BINARY).args(arguments).output().unwrap();
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    (output, said)
}

async fn get(url: String, bearer: &str) -> Response {
    http_client().get(url).bearer_auth(bearer).send().await.unwrap()
}

#[test]
fn a_mistake_ends_with_64_its_field_and_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("aura.toml");
    std::fs::write(
        &file,
        "[keys]\nk = \"a secret long enough\"\n[alerts]\nquality = \"good\"\n",
    )
    .unwrap();
    let (output, said) = says(&["serve", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(
        said.contains("alerts.quality") && said.contains("line 4, column 11"),
        "{said}"
    );

    for database in ["postgress:foo", "mysql://db/aura", "postgres://db:port/aura", ""] {
        for command in [&["serve", "--dev"][..], &["migrate"]] {
            let (output, said) = says(&[command, &["--database", database]].concat());
            assert_eq!(output.status.code(), Some(64), "{command:?} {database}: {said}");
            assert!(said.starts_with("configuration: database: "), "{said}");
        }
    }
    assert!(!Path::new("postgress:foo").exists());
}

#[test]
fn an_error_tells_its_cause_once() {
    let (output, said) = says(&["migrate", "--database", "postgres://nobody@127.0.0.1:1/aura"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(said.matches("refused").count(), 1, "{said}");
    assert_eq!(said.matches("database unavailable").count(), 1, "{said}");
}

#[tokio::test]
async fn keys_and_database_come_from_the_environment_and_files() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    std::fs::write(&keys, "ours: a secret long enough\n").unwrap();
    let database = folder.path().join("database");
    std::fs::write(&database, "memory\n").unwrap();
    let by_files = configured(folder.path(), "", |command| {
        command
            .arg("--key-file")
            .arg(&keys)
            .arg("--database-file")
            .arg(&database);
    });
    let by_environment = configured(folder.path(), "", |command| {
        command
            .env("AURALINK_KEYS", "ours: a secret long enough")
            .env("AURALINK_DATABASE", "memory");
    });
    for server in [by_files, by_environment] {
        let url = format!("http://{}/api/v1/aic/config", server.address);
        assert_eq!(get(url, &ours("ada")).await.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn options_without_a_command_start_the_server() {
    let arguments = serve("memory");
    let server = Process::start(&arguments[1..], "http");
    let url = format!("http://{}/livez", server.address);
    assert_eq!(get(url, &token("ada")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn figures_are_kept_to_their_own_address_and_token() {
    let folder = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let more = format!(
        "database = \"memory\"\n[keys]\nours = \"a secret long enough\"\n\
         [metrics]\nlisten = \"127.0.0.1:{port}\"\ntoken = \"scrape me\"\n"
    );
    let server = configured(folder.path(), &more, |_| {});
    let elsewhere = get(format!("http://{}/metrics", server.address), "scrape me").await;
    assert_eq!(elsewhere.status(), StatusCode::NOT_FOUND);
    let url = format!("http://127.0.0.1:{port}/metrics");
    assert_eq!(
        get(url.clone(), "guessed").await.status(),
        StatusCode::UNAUTHORIZED
    );
    let figures = get(url, "scrape me").await.text().await.unwrap();
    for name in [
        "auralink_build_info{",
        "auralink_rooms 0",
        "auralink_participants 0",
        "auralink_tracks 0",
        "auralink_aic_sessions 0",
        "auralink_queue_length{queue=\"stored_rows\"} 0",
        "auralink_core_load ",
        "auralink_media_unsent_total 0",
        "auralink_media_stray_total 0",
        "auralink_udp_dropped_total 0",
        "process_resident_memory_bytes ",
        "process_cpu_seconds_total ",
        "process_open_fds ",
    ] {
        assert!(
            figures.contains(&format!("\n{name}")),
            "{name} is missing in\n{figures}"
        );
    }
}

#[tokio::test]
async fn a_tenant_at_its_limit_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let more = "database = \"memory\"\n[keys]\nours = \"a secret long enough\"\n\
                [tenant_limits]\nparticipants = 1\n";
    let server = configured(folder.path(), more, |_| {});
    let join = async |identity: &str| {
        http_client()
            .get(format!(
                "http://{}/rtc?access_token={}",
                server.address,
                ours(identity)
            ))
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .send()
            .await
            .unwrap()
    };
    let first = join("ada").await;
    assert_eq!(first.status(), StatusCode::SWITCHING_PROTOCOLS);
    let refused = join("ben").await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.text().await.unwrap().contains("limit"));
    drop(first);
    let begun = Instant::now();
    while join("ben").await.status() != StatusCode::SWITCHING_PROTOCOLS {
        assert!(begun.elapsed() < PATIENCE, "the seat is never given back");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn put(folder: &Path, certified: &Certified) {
    std::fs::write(folder.join("cert.pem"), &certified.cert).unwrap();
    std::fs::write(folder.join("key.pem"), &certified.key).unwrap();
}

/// Whether a client that trusts that authority alone gets an answer.
async fn answers(port: &str, authority: &Certified) -> bool {
    let _ = http_client();
    let client = Client::builder()
        .tls_built_in_root_certs(false)
        .add_root_certificate(Certificate::from_pem(authority.cert.as_bytes()).unwrap())
        .build()
        .unwrap();
    let answer = client.get(format!("https://localhost:{port}/livez")).send().await;
    answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["localhost".to_owned()];
    let [old, new] = [(); 2].map(|()| DevCertificates::make(&names, "client").unwrap());
    put(folder.path(), &old.server);
    let more = format!(
        "database = \"memory\"\n[keys]\nours = \"a secret long enough\"\n[tls]\ncert = \"{0}/cert.pem\"\n\
         key = \"{0}/key.pem\"\n",
        folder.path().display()
    );
    let server = configured(folder.path(), &more, |_| {});
    let (_, port) = server.address.rsplit_once(':').unwrap();
    assert!(answers(port, &old.ca).await && !answers(port, &new.ca).await);
    put(folder.path(), &new.server);
    let begun = Instant::now();
    while !answers(port, &new.ca).await {
        assert!(begun.elapsed() < PATIENCE, "the new certificate is never shown");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[test]
fn a_log_in_json_has_an_object_on_every_line() {
    let mut child = Command::new(BINARY)
        .args(serve("memory"))
        .args(["--log-format", "json"])
        .env("AURALINK_LOG", "debug")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Read all the while: it would wait for room in the pipe.
    let mut stderr = child.stderr.take().unwrap();
    let log = std::thread::spawn(move || std::io::read_to_string(&mut stderr).unwrap());
    // It has started once it says so.
    let mut said = [0; 8];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut said).unwrap();
    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .unwrap()
            .success()
    );
    child.wait().unwrap();
    let log = log.join().unwrap();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let goodbye = lines.iter().find(|line| {
        line["message"]
            .as_str()
            .is_some_and(|message| message.contains("shutting down"))
    });
    assert_eq!(goodbye.unwrap()["level"], "INFO");
}

#[test]
fn a_filter_of_the_log_that_means_nothing_is_refused() {
    let output = Command::new(BINARY)
        .args(serve("memory"))
        .env("AURALINK_LOG", "auralink=loud")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8(output.stderr).unwrap().contains("AURALINK_LOG"));
}
