//! Media live in memory only: a marked voice goes through a running call with AIC on, and everything the server wrote,
//! logged, counted, sent or answered is searched for it.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use auralink_client::publish::Publisher;
use auralink_client::{AtEnd, AudioSource, Client, ClientOptions, OwnSettings};
use auralink_store::cluster::{Cluster, Durability};
use auralink_token::{Claims, KeyRing};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use tempfile::TempDir;

const KEY: &str = "privacy";
const SECRET: &str = "a secret of this test alone";

/// Noise that nobody else would make, from a seed (splitmix64), 48 kHz.
fn marked() -> Vec<f32> {
    let mut state = 0x5EED_0F9A_91AC_u64;
    (0..48_000 * 4)
        .map(|_| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            (((z ^ (z >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0) * 0.3
        })
        .collect()
}

/// What must be nowhere: stretches of the samples and of the packets made of them, as bytes and as text would show them.
struct Needles(Vec<Vec<u8>>);

impl Needles {
    fn new(pcm: &[f32]) -> Self {
        let mut found = Vec::new();
        for at in (0..pcm.len() - 16).step_by(960) {
            let stretch = &pcm[at..at + 16];
            found.push(stretch.iter().flat_map(|sample| sample.to_le_bytes()).collect());
            found.push(
                stretch
                    .iter()
                    .flat_map(|sample| ((sample * 32_768.0) as i16).to_le_bytes())
                    .collect(),
            );
        }
        for packet in packets(pcm) {
            // The first bytes are a table of contents that many packets share.
            let stretch = &packet[packet.len() / 3..][..24];
            found.push(stretch.to_vec());
            let hex = stretch.iter().fold(String::new(), |mut text, byte| {
                write!(text, "{byte:02x}").unwrap();
                text
            });
            found.push(hex.to_uppercase().into_bytes());
            found.push(hex.into_bytes());
            let list: Vec<_> = stretch.iter().map(u8::to_string).collect();
            found.push(list.join(", ").into_bytes());
            found.push(list.join(",").into_bytes());
            // Base64 depends on where in three bytes the stretch begins.
            for skip in 0..3 {
                found.push(STANDARD_NO_PAD.encode(&stretch[skip..skip + 21]).into_bytes());
            }
        }
        Self(found)
    }

    /// The needles looked up by their first four bytes: there are thousands of them.
    fn is_in(&self, hay: &[u8]) -> bool {
        let mut starts = std::collections::HashMap::<&[u8], Vec<&[u8]>>::new();
        for needle in &self.0 {
            starts.entry(&needle[..4]).or_default().push(needle);
        }
        hay.windows(4).enumerate().any(|(at, start)| {
            let candidates = starts.get(start).into_iter().flatten();
            candidates.into_iter().any(|needle| hay[at..].starts_with(needle))
        })
    }
}

/// The Opus packets that a client makes of the samples.
fn packets(pcm: &[f32]) -> Vec<Vec<u8>> {
    let begun = Instant::now();
    let source = AudioSource::from_pcm(pcm.to_vec(), AtEnd::Loop);
    let mut publisher = Publisher::new(source, OwnSettings::default(), None, 0);
    publisher.begin(begun);
    let mut found = Vec::new();
    for tick in 0..4_000 {
        let now = begun + Duration::from_millis(tick);
        while let Some(packet) = publisher.poll(now).unwrap() {
            found.push(packet.payload);
        }
    }
    found
}

struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(folder: &Path, database: &str) -> Self {
        let config = folder.join("auralink.toml");
        let text = format!(
            "listen = \"127.0.0.1:0\"\nudp = \"127.0.0.1:0\"\ndatabase = \"{database}\"\nwebhook_private_addresses = true\n[keys]\n{KEY} = \"{SECRET}\"\n"
        );
        fs::write(&config, text).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_auralink"))
            .arg("serve")
            .arg("--config")
            .arg(&config)
            .env("AURALINK_LOG", "trace,hyper=info,sqlx=debug")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(folder.join("server.log")).unwrap())
            .spawn()
            .unwrap();
        let said = child.stdout.take().unwrap();
        let mut lines = BufReader::new(said).lines().map_while(Result::ok);
        let url = lines
            .find_map(|line| {
                line.split_whitespace()
                    .find(|word| word.starts_with("http://"))
                    .map(str::to_owned)
            })
            .expect("the server says where it listens");
        Self { child, url }
    }

    async fn stop(mut self) {
        let id = self.child.id().to_string();
        Command::new("kill").arg(&id).status().unwrap();
        for _ in 0..100 {
            if self.child.try_wait().unwrap().is_some() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the server did not end");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Everything that webhooks brought.
async fn receiver(heard: Arc<Mutex<Vec<u8>>>) -> String {
    let app = axum::Router::new().route(
        "/",
        axum::routing::post(move |body: axum::body::Bytes| async move {
            heard.lock().unwrap().extend_from_slice(&body);
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_marked_voice_is_in_no_file_no_log_no_figure_no_answer_and_no_webhook() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("aura.db");
    look_for_a_marked_voice(&folder, &database.display().to_string(), &database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_is_it_in_any_file_of_postgresql() {
    let cluster = match Cluster::start(Durability::Full) {
        Ok(cluster) => cluster,
        Err(error) => return eprintln!("SKIPPED on PostgreSQL, which could not be started: {error}"),
    };
    let url = cluster.fresh_database().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    look_for_a_marked_voice(&folder, &url, cluster.folder()).await;
}

/// Every file under a path.
fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let Ok(entries) = fs::read_dir(path) else {
        return Vec::new();
    };
    entries.flat_map(|entry| files(&entry.unwrap().path())).collect()
}

/// A call with the voice, and the search for it in everything that the server answers and sends, in all files of the
/// folder it logs into, and in those its database is in.
async fn look_for_a_marked_voice(folder: &TempDir, database: &str, stored: &Path) {
    let server = Server::start(folder.path(), database);
    let keys = KeyRing::new([(KEY, SECRET)]);
    let mint = |claims: &Claims| {
        keys.mint(KEY, claims, Duration::from_secs(600), SystemTime::now())
            .unwrap()
    };
    let mut operator = Claims {
        identity: "boss".into(),
        ..Claims::default()
    };
    operator.video.room_list = true;
    let operator = mint(&operator);
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let http = reqwest::Client::new();
    let api = format!("{}/api/v1/aic", server.url);
    let post = async |token: &str, path: &str, body: String| {
        let request = http.post(format!("{api}/{path}")).bearer_auth(token);
        let answer = request
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await
            .unwrap();
        assert!(
            answer.status().is_success(),
            "{path}: {}",
            answer.text().await.unwrap()
        );
    };
    let heard = Arc::new(Mutex::new(Vec::new()));
    let url = receiver(Arc::clone(&heard)).await;
    post(&operator, "webhooks", format!("{{\"url\":\"{url}\"}}")).await;
    let ada = mint(&Claims::join("room", "ada"));
    post(&ada, "config", r#"{"enabled":true}"#.into()).await;

    let pcm = marked();
    let socket = server.url.replace("http://", "ws://");
    let listener = Client::join(ClientOptions::new(&socket, mint(&Claims::join("room", "ben"))))
        .await
        .unwrap();
    let mut options = ClientOptions::new(&socket, ada.clone());
    options.publish = Some(AudioSource::from_pcm(pcm.clone(), AtEnd::Loop));
    let speaker = Client::join(options).await.unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;

    let mut found = Vec::new();
    let reads = [
        "config",
        "metrics",
        "sessions",
        "calls",
        "performance/summary",
        "models/performance",
        "alerts",
        "audit",
        "webhooks",
        "experiments",
        "stats/bandwidth-savings",
        "stats/quality-distribution",
        "users/ada/export",
    ];
    for read in reads {
        let answer = http
            .get(format!("{api}/{read}"))
            .bearer_auth(&operator)
            .send()
            .await
            .unwrap();
        assert!(answer.status().is_success(), "{read}");
        found.push((read.to_owned(), answer.bytes().await.unwrap().to_vec()));
    }
    let figures = http
        .get(format!("{}/metrics", server.url))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    for name in ["ada", "ben", "boss", KEY, "RM_", "AS_", "TR_", "PA_", "127.0.0.1"] {
        assert!(!figures.contains(name), "{name} in /metrics");
    }
    assert!(figures.contains("auralink_aic_frames_total"), "{figures}");
    found.push(("metrics".into(), figures.into_bytes()));
    let spoke = speaker.leave().await.unwrap();
    let listened = listener.leave().await.unwrap();
    assert!(spoke.stats.sent.audio_packets > 60, "{:?}", spoke.stats.sent);
    assert!(
        listened.stats.received.audio_packets > 60,
        "{:?}",
        listened.stats.received
    );
    server.stop().await;

    found.push(("webhooks sent".into(), heard.lock().unwrap().clone()));
    for path in [files(folder.path()), files(stored)].concat() {
        found.push((path.display().to_string(), fs::read(&path).unwrap()));
    }
    let size = |part: &str| -> usize {
        let named = found.iter().filter(|(name, _)| name.contains(part));
        named.map(|(_, hay)| hay.len()).sum()
    };
    assert!(
        size(&stored.display().to_string()) > 50_000
            && size("server.log") > 10_000
            && size("webhooks sent") > 0,
        "there is something to search"
    );

    let needles = Needles::new(&pcm);
    let planted = needles.0[needles.0.len() / 2].clone();
    assert!(needles.is_in(&[b"noise before ".to_vec(), planted, b" and after".to_vec()].concat()));
    for (name, hay) in &found {
        assert!(!needles.is_in(hay), "media in {name}");
    }
}
