//! The link to a core elsewhere, as media uses it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bench;

use std::sync::Arc;
use std::time::{Duration, Instant};

use auralink_aicore::{GrpcConfig, GrpcServer, RemoteConfig, RemoteCore, Security, Workers};
use auralink_engine::{InFrame, InKind, Outcome, Processor, Refused, StreamId};
use auralink_types::{Reason, Rung};
use bench::*;
use tokio::sync::Notify;

async fn serve(listen: &str, workers: &Workers) -> GrpcServer {
    let config = GrpcConfig {
        listen: listen.parse().unwrap(),
        security: Security::Loopback,
        limits: roomy(),
    };
    GrpcServer::start(&config, workers).await.unwrap()
}

struct Link {
    core: RemoteCore,
    woken: Arc<Notify>,
}

impl Link {
    fn to(address: std::net::SocketAddr) -> Self {
        let woken = Arc::new(Notify::new());
        let bell = woken.clone();
        let config = RemoteConfig {
            url: format!("http://{address}"),
            tls: None,
        };
        let core = RemoteCore::connect(&config, Arc::new(move || bell.notify_one())).unwrap();
        Self { core, woken }
    }

    /// Opens as soon as the core is there.
    async fn open(&mut self, rungs: &[Rung]) -> StreamId {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.core.open(rungs) {
                Ok(stream) => return stream,
                Err(refused) => assert_eq!(refused, Refused::Unreachable),
            }
            assert!(Instant::now() < until, "the core never came");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn submit(&mut self, stream: StreamId, timestamp: u64, payload: &[u8]) -> Result<(), Refused> {
        let frame = InFrame {
            kind: InKind::Opus,
            timestamp,
            payload: payload.into(),
            deadline: Instant::now() + Duration::from_millis(200),
        };
        self.core.submit(stream, frame)
    }

    async fn collect(&mut self, enough: impl Fn(&[Outcome]) -> bool) -> Vec<Outcome> {
        let (mut outcomes, until) = (Vec::new(), Instant::now() + PATIENCE);
        while !enough(&outcomes) {
            assert!(Instant::now() < until, "nothing more came after {outcomes:?}");
            let _ = tokio::time::timeout(Duration::from_millis(50), self.woken.notified()).await;
            outcomes.extend(std::iter::from_fn(|| self.core.poll()));
        }
        outcomes
    }
}

fn packets(outcomes: &[Outcome], wanted: Rung) -> usize {
    let is = |outcome: &&Outcome| matches!(outcome, Outcome::Coded { packet, .. } if packet.rung == wanted);
    outcomes.iter().filter(is).count()
}

fn failed(outcomes: &[Outcome]) -> Option<Reason> {
    outcomes.iter().find_map(|outcome| match outcome {
        Outcome::Failed { reason, .. } => Some(*reason),
        _ => None,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remote_core_codes_like_a_local_one_and_rungs_change_in_a_running_stream() {
    let server = serve("127.0.0.1:0", &Workers::start(1)).await;
    let mut link = Link::to(server.local_addr());
    let stream = link.open(&[LEAN]).await;
    assert_eq!(link.core.models().len(), 1);
    let frames = opus(120);
    let mut outcomes = Vec::new();
    for (n, frame) in frames.iter().enumerate() {
        if n == 60 {
            link.core.set_rungs(stream, &[LEAN, NEURAL]).unwrap();
        }
        link.submit(stream, frame.timestamp, &frame.payload).unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
        outcomes.extend(std::iter::from_fn(|| link.core.poll()));
    }
    let (lean, neural) = (packets(&outcomes, LEAN), packets(&outcomes, NEURAL));
    assert!(lean > 90 && (30..=60).contains(&neural), "{lean} {neural}");
    assert_eq!(failed(&outcomes), None);
    link.core.close(stream);
    assert_eq!(
        link.submit(stream, 0, &frames[0].payload),
        Err(Refused::UnknownStream)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_core_that_goes_away_fails_its_streams_refuses_new_ones_and_is_found_again() {
    let workers = Workers::start(1);
    let server = serve("127.0.0.1:0", &workers).await;
    let address = server.local_addr();
    let mut link = Link::to(address);
    let stream = link.open(&[LEAN]).await;
    server.shutdown(Duration::ZERO).await;
    let outcomes = link.collect(|outcomes| failed(outcomes).is_some()).await;
    assert_eq!(failed(&outcomes), Some(Reason::CoreUnreachable));
    assert_eq!(outcomes.last().unwrap().stream(), stream);
    let until = Instant::now() + PATIENCE;
    while link.core.is_connected() {
        assert!(Instant::now() < until, "the link was never given up");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(link.core.open(&[LEAN]), Err(Refused::Unreachable));
    assert!(link.core.models().is_empty());

    let _again = serve(&address.to_string(), &workers).await;
    let stream = link.open(&[LEAN]).await;
    for frame in opus(10) {
        link.submit(stream, frame.timestamp, &frame.payload).unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let outcomes = link.collect(|outcomes| packets(outcomes, LEAN) > 5).await;
    assert_eq!(failed(&outcomes), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_core_that_is_silent_without_closing_is_given_up() {
    // It accepts connections and never says a word.
    let deaf = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut link = Link::to(deaf.local_addr().unwrap());
    let _open = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((socket, _)) = deaf.accept().await {
            held.push(socket);
        }
    });
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(link.core.open(&[LEAN]), Err(Refused::Unreachable));
}
