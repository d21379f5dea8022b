//! The service when things go wrong: late, dead and stuck workers, too many callers, strangers, the end.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bench;

use std::num::NonZeroU32;
use std::time::Duration;

use auralink_aicore::{
    DevCertificates, GrpcConfig, GrpcServer, GrpcStartError, Limits, Security, TlsFiles, Workers,
};
use auralink_wire::proto::v1;
use bench::*;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request};
use tonic_types::StatusExt as _;

#[tokio::test]
async fn a_late_frame_comes_back_as_it_was_and_no_packet_covers_it_later() {
    let mut bench = Bench::start().await;
    let mut session = bench.open("mic", &[LEAN_60]).await.unwrap();
    bench
        .workers
        .faults()
        .stall(Duration::from_millis(80), NonZeroU32::MIN);
    let frames: Vec<v1::MediaFrame> = opus(9)
        .into_iter()
        .map(|frame| v1::MediaFrame {
            max_latency_ms: 20,
            ..frame
        })
        .collect();
    for frame in &frames[..6] {
        session.send(frame.clone()).await;
    }
    for (result, frame) in session.results(6).await.iter().zip(&frames) {
        assert_eq!((result.coded, result.reason()), (false, v1::Reason::Late));
        assert_eq!(result.original.as_ref(), Some(frame));
    }
    bench.workers.faults().stall(Duration::ZERO, NonZeroU32::MIN);
    let late_until = frames[5].timestamp;
    for frame in &frames[6..] {
        session
            .send(v1::MediaFrame {
                max_latency_ms: 200,
                ..frame.clone()
            })
            .await;
        for packet in session.results(1).await.remove(0).packets {
            assert!(packet.timestamp > late_until, "{}", packet.timestamp);
        }
    }
}

#[tokio::test]
async fn the_callers_deadline_ends_the_session() {
    let mut bench = Bench::start().await;
    let (requests, waiting) = tokio::sync::mpsc::channel(4);
    let open = v1::OpenCompression {
        session: Some(key("mic")),
        choice: Some(v1::open_compression::Choice::Fixed(v1::FixedRungs::from(
            &[LEAN][..],
        ))),
        omit_original: false,
    };
    requests
        .send(message(v1::compress_stream_request::Message::Open(open)))
        .await
        .unwrap();
    let mut request = Request::new(tokio_stream::wrappers::ReceiverStream::new(waiting));
    request
        .metadata_mut()
        .insert("grpc-timeout", "300m".parse().unwrap());
    let mut answers = bench.client.compress_stream(request).await.unwrap().into_inner();
    answers.message().await.unwrap().unwrap();
    let end = tokio::time::timeout(PATIENCE, answers.message()).await.unwrap();
    assert!(matches!(
        end.unwrap_err().code(),
        Code::DeadlineExceeded | Code::Cancelled
    ));
    assert_eq!(bench.server.sessions().0, 0, "its place is free");
}

#[tokio::test]
async fn a_session_whose_worker_dies_or_gets_stuck_gives_every_frame_back_and_may_be_opened_again() {
    let mut bench = Bench::start().await;
    for stuck in [false, true] {
        let mut session = loop {
            match bench.open("mic", &[LEAN]).await {
                Ok(session) => break session,
                Err(status) => assert!(
                    matches!(status.code(), Code::Unavailable | Code::AlreadyExists),
                    "{status:?}"
                ),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        if stuck {
            bench.workers.faults().stick_workers();
        } else {
            bench.workers.faults().kill_workers(Duration::from_millis(100));
        }
        let frame = opus(1).remove(0);
        session.send(frame.clone()).await;
        let result = session.results(1).await.remove(0);
        assert!(!result.coded);
        assert!(
            matches!(result.reason(), v1::Reason::CoreUnreachable | v1::Reason::Late),
            "{:?}",
            result.reason()
        );
        assert_eq!(result.original, Some(frame));
        let end = session.next().await.unwrap_err();
        assert_eq!(end.code(), Code::Unavailable);
    }
    assert_eq!(bench.workers.stats().replaced, 2);
}

#[tokio::test]
async fn a_governed_session_outlives_its_worker_in_bypass() {
    let mut bench = Bench::start().await;
    let governed = v1::open_compression::Choice::Governed(v1::Governed::default());
    let mut session = Session::open(&mut bench.client, "mic", governed).await.unwrap();
    bench.workers.faults().kill_workers(Duration::from_millis(50));
    let frames = opus(20);
    let mut reasons = Vec::new();
    for frame in &frames {
        session.send(frame.clone()).await;
        let result = session.results(1).await.remove(0);
        assert!(!result.coded || result.packets.is_empty());
        if !result.coded {
            assert_eq!(result.original.as_ref(), Some(frame));
            reasons.push(result.reason());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // On a machine out of breath a frame may be late before the death is known.
    let last = reasons.last();
    assert!(
        matches!(last, Some(v1::Reason::CoreUnreachable | v1::Reason::Late)),
        "{reasons:?}"
    );
}

#[tokio::test]
async fn who_comes_too_many_is_refused_and_who_is_there_stays() {
    let mut bench = Bench::with(Limits {
        per_call: 2,
        ..roomy()
    })
    .await;
    let mut first = bench.open("1", &[LEAN]).await.unwrap();
    let _second = bench.open("2", &[LEAN]).await.unwrap();
    let twice = bench.open("1", &[LEAN]).await.err().unwrap();
    assert_eq!(twice.code(), Code::AlreadyExists);
    let third = bench.open("3", &[LEAN]).await.err().unwrap();
    assert_eq!(third.code(), Code::ResourceExhausted);
    assert!(third.get_details_quota_failure().is_some() && third.get_details_retry_info().is_some());
    // What it asked for cannot be: that is a refusal too.
    let wrong = bench.open("4", &[]).await.err().unwrap();
    assert_eq!(wrong.code(), Code::InvalidArgument);
    first.send(opus(1).remove(0)).await;
    first.results(1).await;
    let capacity = bench
        .client
        .health_check(v1::HealthCheckRequest {})
        .await
        .unwrap();
    let capacity = capacity.into_inner().capacity.unwrap();
    assert_eq!((capacity.sessions, capacity.sessions_refused), (2, 3));
}

#[tokio::test]
async fn a_leaving_core_says_so_lets_sessions_finish_and_ends_those_that_do_not() {
    let mut bench = Bench::start().await;
    let mut session = bench.open("1", &[LEAN]).await.unwrap();
    let mut idle = bench.open("2", &[LEAN]).await.unwrap();
    let channel = channel(&bench.server).await;
    let leaving = tokio::spawn(bench.server.shutdown(Duration::from_secs(3)));
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    loop {
        let request = tonic_health::pb::HealthCheckRequest::default();
        let answer = health.check(request).await.unwrap().into_inner();
        if answer.status() == tonic_health::pb::health_check_response::ServingStatus::NotServing {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let refused = Session::open(
        &mut bench.client,
        "3",
        v1::open_compression::Choice::Fixed(v1::FixedRungs::from(&[LEAN][..])),
    )
    .await;
    assert_eq!(refused.err().unwrap().code(), Code::Unavailable);
    // One goes on and finishes in its own time; the other has to be told.
    for frame in opus(5) {
        session.send(frame).await;
        session.results(1).await;
    }
    drop(session.requests);
    assert!(session.answers.message().await.unwrap().is_none());
    let end = idle.next().await.unwrap_err();
    assert_eq!(end.code(), Code::Unavailable);
    tokio::time::timeout(PATIENCE, leaving).await.unwrap().unwrap();
}

struct Certificates {
    _directory: tempfile::TempDir,
    files: TlsFiles,
    made: DevCertificates,
}

fn certificates() -> Certificates {
    let directory = tempfile::tempdir().unwrap();
    let made = DevCertificates::make(&["localhost".into(), "127.0.0.1".into()], "media-7").unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let files = TlsFiles {
        cert: write("server.pem", &made.server.cert),
        key: write("server.key", &made.server.key),
        ca: write("ca.pem", &made.ca.cert),
    };
    Certificates {
        _directory: directory,
        files,
        made,
    }
}

#[tokio::test]
async fn only_a_client_of_the_right_authority_gets_in() {
    let ours = certificates();
    let workers = Workers::start(1);
    let config = GrpcConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        security: Security::Mutual(ours.files.clone()),
        limits: roomy(),
    };
    let server = GrpcServer::start(&config, &workers).await.unwrap();
    let ask = async |tls: ClientTlsConfig| {
        let url = format!("https://localhost:{}", server.local_addr().port());
        let endpoint = Endpoint::from_shared(url).unwrap().tls_config(tls).unwrap();
        let channel = endpoint.connect().await.map_err(|error| error.to_string())?;
        let mut client = Client::new(channel);
        let answer = client.health_check(v1::HealthCheckRequest {}).await;
        answer.map_err(|status| status.to_string())
    };
    let trusting = || {
        ClientTlsConfig::new()
            .domain_name("localhost")
            .ca_certificate(Certificate::from_pem(&ours.made.ca.cert))
    };
    let known = Identity::from_pem(&ours.made.client.cert, &ours.made.client.key);
    ask(trusting().identity(known)).await.unwrap();
    ask(trusting()).await.expect_err("without a certificate");
    let theirs = certificates().made.client;
    let stranger = Identity::from_pem(&theirs.cert, &theirs.key);
    ask(trusting().identity(stranger))
        .await
        .expect_err("another authority's certificate");
    // A server's certificate is not a client's.
    let server_as_client = Identity::from_pem(&ours.made.server.cert, &ours.made.server.key);
    ask(trusting().identity(server_as_client))
        .await
        .expect_err("a certificate for servers");
}

#[tokio::test]
async fn nothing_is_served_in_the_clear_beyond_loopback() {
    let config = GrpcConfig {
        listen: "0.0.0.0:0".parse().unwrap(),
        security: Security::Loopback,
        limits: roomy(),
    };
    let refused = GrpcServer::start(&config, &Workers::start(1)).await;
    assert!(matches!(refused.err().unwrap(), GrpcStartError::Exposed(_)));
}
