//! Refusals and the standard protocols.

use crate::bench::*;
use auralink_types::Rung;
use auralink_wire::proto::v1::{self, compress_stream_request as ask};
use tonic::{Code, Request};
use tonic_types::StatusExt as _;

#[tokio::test]
async fn what_cannot_be_is_refused_by_the_path_of_its_field() {
    let mut bench = Bench::start().await;
    let good = pcm(1).remove(0);
    let bad = |change: &dyn Fn(&mut v1::MediaFrame)| {
        let mut frame = good.clone();
        change(&mut frame);
        frame
    };
    let frames = [
        (bad(&|f| f.codec = 99), "frame.codec"),
        (bad(&|f| f.codec = 0), "frame.codec"),
        (bad(&|f| f.payload = vec![0; 641].into()), "frame.payload"),
        (bad(&|f| f.payload = vec![0; 5 << 20].into()), "frame.payload"),
        (bad(&|f| f.format = None), "frame.audio"),
        (bad(&|f| f.timestamp = u64::MAX), "frame.timestamp"),
        (bad(&|f| f.max_latency_ms = 1_000), "frame.max_latency_ms"),
    ];
    for (n, (frame, wanted)) in frames.into_iter().enumerate() {
        let request = v1::CompressFrameRequest {
            frame: Some(frame.clone()),
            choice: Some(v1::compress_frame_request::Choice::Rung(LEAN.into())),
        };
        let refused = bench.client.compress_frame(request).await.unwrap_err();
        assert_eq!(field(&refused), wanted);
        let mut session = bench.open(&format!("bad-{n}"), &[LEAN]).await.unwrap();
        session.send(frame).await;
        assert_eq!(field(&session.next().await.unwrap_err()), wanted);
    }
    let refused = bench.open("mic", &[]).await.err().unwrap();
    assert_eq!(field(&refused), "open.fixed.rungs");
    let refused = bench.open("mic", &[Rung::Original]).await.err().unwrap();
    assert_eq!(field(&refused), "open.fixed.rungs[0]");
    let refused = bench.open(&"x".repeat(200), &[LEAN]).await.err().unwrap();
    assert_eq!(field(&refused), "open.session.track_id");

    // A frame before anything was opened, and a second opening.
    let stream = tokio_stream::once(message(ask::Message::Frame(good)));
    let refused = bench.client.compress_stream(stream).await.unwrap_err();
    assert_eq!(field(&refused), "open");
    let mut session = bench.open("mic", &[LEAN]).await.unwrap();
    let again = v1::OpenCompression::default();
    session
        .requests
        .send(message(ask::Message::Open(again)))
        .await
        .unwrap();
    assert_eq!(field(&session.next().await.unwrap_err()), "open");

    let refused = bench
        .client
        .analyze_network_conditions(v1::AnalyzeNetworkConditionsRequest::default())
        .await;
    assert_eq!(field(&refused.unwrap_err()), "samples");
    let refused = bench
        .client
        .get_compression_hints(v1::GetCompressionHintsRequest::default())
        .await;
    assert_eq!(field(&refused.unwrap_err()), "source");
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_its_senders_mistake_in_every_method() {
    let bench = Bench::start().await;
    let mut raw = tonic::client::Grpc::new(channel(&bench.server).await);
    for method in [
        "CompressFrame",
        "CompressStream",
        "DecompressFrame",
        "DecompressStream",
        "GetCompressionHints",
        "AnalyzeNetworkConditions",
    ] {
        raw.ready().await.unwrap();
        let path = format!("/aic.v1.AicCompression/{method}");
        // Field 1 of all of them is a message, not a number.
        let codec = tonic_prost::ProstCodec::<f64, ()>::default();
        let refused = raw
            .unary(Request::new(1.0), path.parse().unwrap(), codec)
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{method}: {refused}");
        let details = refused.get_details_bad_request().unwrap();
        assert_eq!(details.field_violations[0].field, "message", "{method}");
    }
}

#[tokio::test]
async fn health_and_reflection_speak_the_standard_protocols() {
    let mut bench = Bench::start().await;
    let health = bench
        .client
        .health_check(v1::HealthCheckRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(health.status(), v1::health_check_response::Status::Serving);
    assert_eq!(health.capacity.unwrap().workers, 1);
    assert_eq!(health.models[0].sha256.len(), 64);

    let channel = channel(&bench.server).await;
    let mut standard = tonic_health::pb::health_client::HealthClient::new(channel.clone());
    for service in ["", "aic.v1.AicCompression"] {
        let request = tonic_health::pb::HealthCheckRequest {
            service: service.into(),
        };
        let answer = standard.check(request).await.unwrap().into_inner();
        assert_eq!(
            answer.status(),
            tonic_health::pb::health_check_response::ServingStatus::Serving
        );
    }
    use tonic_reflection::pb::v1 as reflection;
    let mut client = reflection::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let request = reflection::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(
            reflection::server_reflection_request::MessageRequest::ListServices(String::new()),
        ),
    };
    let mut answers = client
        .server_reflection_info(tokio_stream::once(request))
        .await
        .unwrap()
        .into_inner();
    let answer = answers.message().await.unwrap().unwrap();
    let Some(reflection::server_reflection_response::MessageResponse::ListServicesResponse(list)) =
        answer.message_response
    else {
        panic!("no list of services");
    };
    let names: Vec<&str> = list.service.iter().map(|service| &*service.name).collect();
    assert!(names.contains(&"aic.v1.AicCompression"), "{names:?}");

    use tonic_reflection::pb::v1alpha as older;
    let mut client = older::server_reflection_client::ServerReflectionClient::new(channel);
    let symbol = older::server_reflection_request::MessageRequest::FileContainingSymbol(
        "aic.v1.AicCompression".into(),
    );
    let request = older::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(symbol),
    };
    let mut answers = client
        .server_reflection_info(tokio_stream::once(request))
        .await
        .unwrap()
        .into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    assert!(
        matches!(
            answer,
            Some(older::server_reflection_response::MessageResponse::FileDescriptorResponse(_))
        ),
        "{answer:?}"
    );
}
