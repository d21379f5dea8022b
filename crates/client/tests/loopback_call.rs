//! Real clients, a real server, real DTLS-SRTP over loopback.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use auralink_client::{AtEnd, AudioSource, Client, ClientOptions, Hearing, JoinError};
use auralink_media::{MediaConfig, MediaServer};
use auralink_token::{Claims, KeyRing};
use auralink_types::{Neural, NeuralRate, PacketTime, SourceCodec};
use rustls::pki_types::PrivateKeyDer;

struct Room {
    url: String,
    /// Where the authority of the TLS proxy is written, if there is one.
    authority: Option<PathBuf>,
    keys: Arc<KeyRing>,
}

impl Room {
    async fn open() -> Self {
        let keys = Arc::new(KeyRing::new([("devkey", "secret")]));
        let server = MediaServer::start(MediaConfig::loopback(keys.clone()))
            .await
            .unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let routes = server.router();
        tokio::spawn(async move {
            let _server = server;
            axum::serve(listener, routes).await.unwrap();
        });
        Self {
            url,
            authority: None,
            keys,
        }
    }

    /// The room behind a proxy that ends TLS, as operators run it; its authority is one of its own.
    async fn open_behind_tls(dir: &Path) -> Self {
        let open = Self::open().await;
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let authority = dir.join("authority.pem");
        std::fs::write(&authority, made.cert.pem()).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let settings = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(rustls::DEFAULT_VERSIONS)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(settings));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("wss://localhost:{}", listener.local_addr().unwrap().port());
        let behind = open.url.trim_start_matches("ws://").to_owned();
        tokio::spawn(async move {
            while let Ok((outside, _)) = listener.accept().await {
                let (acceptor, behind) = (acceptor.clone(), behind.clone());
                tokio::spawn(async move {
                    let mut outside = acceptor.accept(outside).await?;
                    let mut inside = tokio::net::TcpStream::connect(behind).await?;
                    tokio::io::copy_bidirectional(&mut outside, &mut inside).await
                });
            }
        });
        Self {
            url,
            authority: Some(authority),
            keys: open.keys,
        }
    }

    fn options(&self, identity: &str) -> ClientOptions {
        let claims = Claims::join("room", identity);
        let token = self
            .keys
            .mint("devkey", &claims, Duration::from_secs(600), SystemTime::now())
            .unwrap();
        let mut options = ClientOptions::new(&self.url, token);
        options.authorities = self.authority.clone();
        options
    }
}

fn tone() -> AudioSource {
    let pcm: Vec<f32> = (0..48_000)
        .map(|n| 0.3 * (2.0 * std::f32::consts::PI * 440.0 * n as f32 / 48_000.0).sin())
        .collect();
    AudioSource::from_pcm(pcm, AtEnd::Loop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stock_client_is_heard_by_another_and_both_count_what_flowed() {
    let room = Room::open().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("heard.wav");
    let mut listening = room.options("ben");
    listening.hearing = Hearing::Record(path.clone());
    let listener = Client::join(listening).await.unwrap();
    let mut speaking = room.options("ada");
    speaking.publish = Some(tone());
    let speaker = Client::join(speaking).await.unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let spoke = speaker.leave().await.unwrap();
    let heard = listener.leave().await.unwrap();

    println!("up {:?}", spoke.steady);
    println!("down {:?}", heard.steady);
    assert_eq!(heard.stats.tracks.len(), 1, "{heard:?}");
    let track = &heard.stats.tracks[0];
    assert_eq!(track.identity.as_deref(), Some("ada"));
    assert_eq!(track.stats.packets_lost, 0, "loopback loses nothing");
    assert!(track.stats.packets > 200, "{} packets", track.stats.packets);
    assert!(spoke.stats.sent.wire_bytes > spoke.stats.sent.audio_payload_bytes);
    // Opus at 48 kbps, 20 ms, its previous packet with it: what a stock client sends.
    assert!(
        (70.0..120.0).contains(&spoke.steady.up_audio_payload_kbps),
        "{:?}",
        spoke.steady
    );
    assert!(
        (45.0..55.0).contains(&spoke.steady.up_audio_packets_per_s),
        "{:?}",
        spoke.steady
    );

    let pcm = auralink_audio::read_all(&path, 48_000).unwrap();
    let middle = &pcm[pcm.len() / 2..pcm.len() / 2 + 48_000];
    let rising = middle
        .windows(2)
        .filter(|pair| pair[0] < 0.0 && pair[1] >= 0.0)
        .count();
    assert!(
        (430..=450).contains(&rising),
        "{rising} periods of a 440 Hz tone in a second"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_joins_over_tls_only_where_it_trusts_the_authority() {
    let dir = tempfile::tempdir().unwrap();
    let room = Room::open_behind_tls(dir.path()).await;
    let mut speaking = room.options("ada");
    speaking.publish = Some(tone());
    let speaker = Client::join(speaking).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let stats = speaker.stats().await.unwrap();
    assert!(stats.sent.audio_packets > 20, "{}", stats.sent.audio_packets);
    speaker.leave().await.unwrap();

    let mut stranger = room.options("ben");
    stranger.authorities = None;
    let refused = Client::join(stranger).await.err().unwrap();
    assert!(
        matches!(&refused, JoinError::Signal(why) if why.contains("certificate")),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_joiner_and_a_mute_leave_both_sides_connected() {
    let room = Room::open().await;
    let mut speaking = room.options("ada");
    speaking.publish = Some(tone());
    let speaker = Client::join(speaking).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let listener = Client::join(room.options("ben")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let before = listener.stats().await.unwrap();
    assert!(
        before.received.audio_packets > 20,
        "{}",
        before.received.audio_packets
    );
    speaker.set_muted(true).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let muted = listener.stats().await.unwrap().received.audio_packets;
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    assert!(listener.stats().await.unwrap().received.audio_packets <= muted + 2);
    speaker.set_muted(false).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    assert!(listener.stats().await.unwrap().received.audio_packets > muted + 20);
    speaker.leave().await.unwrap();
    let report = listener.leave().await.unwrap();
    assert!(
        report.stats.tracks[0].stats.comfort_ms > 800.0,
        "{:?}",
        report.stats.tracks[0].stats
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_client_is_told_why_in_the_servers_words() {
    let room = Room::open().await;
    for token in ["", "no.token.here"] {
        let error = Client::join(ClientOptions::new(&room.url, token))
            .await
            .err()
            .unwrap();
        match error {
            JoinError::Refused { status, text } => {
                assert!(status == 401 && !text.is_empty(), "{status} {text:?}")
            }
            other => panic!("{other}"),
        }
    }
}

/// Read speech from the shared data; `None`, loudly, where it is missing.
fn speech() -> Option<AudioSource> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let shared = std::env::var("AURALINK_DATA").unwrap_or_else(|_| beside.to_owned());
    let folder = std::path::PathBuf::from(&shared).join("speech/test");
    let files = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let mut files: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|ext| ext == "flac"))
        .collect();
    files.sort();
    let Some(file) = files.first() else {
        eprintln!("SKIPPED: no speech under {shared} (set AURALINK_DATA)");
        return None;
    };
    Some(AudioSource::open(file, AtEnd::Loop).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn speech_from_a_stock_client_costs_what_the_design_counts_with() {
    let Some(source) = speech() else {
        return;
    };
    let room = Room::open().await;
    let listener = Client::join(room.options("ben")).await.unwrap();
    let mut speaking = room.options("ada");
    speaking.publish = Some(source);
    let speaker = Client::join(speaking).await.unwrap();
    tokio::time::sleep(Duration::from_secs(8)).await;
    let spoke = speaker.leave().await.unwrap();
    let heard = listener.leave().await.unwrap();
    println!("stock speech up {:?}", spoke.steady);
    println!("stock speech down {:?}", heard.steady);
    println!("{:?}", heard.stats.tracks[0].stats);
    assert!(
        (100.0..150.0).contains(&spoke.steady.up_wire_kbps),
        "{:?}",
        spoke.steady
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neural_speech_goes_through_a_call_without_a_gap_for_a_fraction_of_the_wire() {
    let source = speech().unwrap_or_else(AudioSource::synthetic);
    let room = Room::open().await;
    let mut listening = room.options("ben");
    listening.aic = true;
    let listener = Client::join(listening).await.unwrap();
    let mut speaking = room.options("ada");
    speaking.aic = true;
    speaking.publish = Some(source);
    speaking.begin_with = SourceCodec::Neural(Neural {
        rate: NeuralRate::Kbps6,
        packet: PacketTime::Ms60,
        copies: 0,
    });
    let speaker = Client::join(speaking).await.unwrap();
    tokio::time::sleep(Duration::from_secs(8)).await;
    let spoke = speaker.leave().await.unwrap();
    let heard = listener.leave().await.unwrap();
    println!("neural speech up {:?}", spoke.steady);
    println!("neural speech down {:?}", heard.steady);
    let track = &heard.stats.tracks[0].stats;
    println!("{track:?}");
    assert!(track.neural_packets > 80, "{track:?}");
    assert_eq!(track.undecodable, 0);
    assert!(spoke.steady.up_wire_kbps < 25.0, "{:?}", spoke.steady);
}
