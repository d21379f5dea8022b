//! The service as its callers see it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bench;

use auralink_types::Rung;
use auralink_wire::aic;
use auralink_wire::proto::v1::{self, compress_stream_request as ask, media_frame::Format};
use bench::*;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request};
use tonic_types::StatusExt as _;

#[tokio::test]
async fn every_frame_is_answered_in_order_and_every_rung_decodes() {
    let mut bench = Bench::start().await;
    for (track, frames) in [("opus", opus(60)), ("pcm", pcm(60))] {
        let mut session = bench.open(track, &[LEAN_60, NEURAL]).await.unwrap();
        assert_ne!(session.opened.model_id, 0);
        let (mut lean, mut neural) = (0, 0);
        for frame in &frames {
            session.send(frame.clone()).await;
            let result = session.results(1).await.remove(0);
            assert_eq!(result.timestamp, frame.timestamp);
            if !result.coded {
                // A machine out of breath may be late; then the frame is there as it was.
                assert_eq!(result.reason(), v1::Reason::Late);
                assert_eq!(result.original.as_ref(), Some(frame));
            }
            for packet in result.packets {
                match packet.codec() {
                    v1::Codec::Opus => lean += usize::from(packet.duration == 3 * 960),
                    v1::Codec::AicSpeech => {
                        assert!(aic::AicPacket::parse(&packet.payload).is_ok());
                        neural += 1;
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        assert!(lean > 10 && neural > 40, "{track}: {lean} lean, {neural} neural");
        // Closing one's side ends the session, and its key is free again.
        drop(session.requests);
        assert!(session.answers.message().await.unwrap().is_none());
        bench.open(track, &[LEAN]).await.unwrap();
    }
}

#[tokio::test]
async fn what_was_compressed_comes_back_as_sound_and_a_lost_packet_is_made_up_for() {
    let mut bench = Bench::start().await;
    let mut session = bench.open("mic", &[NEURAL]).await.unwrap();
    let mut packets = Vec::new();
    for frame in pcm(60) {
        session.send(frame).await;
        packets.extend(session.results(1).await.remove(0).packets);
    }
    assert!(packets.len() > 50);

    let (requests, waiting) = tokio::sync::mpsc::channel(64);
    let say = |message| v1::DecompressStreamRequest {
        message: Some(message),
    };
    let open = v1::OpenDecompression {
        session: Some(key("mic")),
        output: Some(v1::PcmOutput {
            codec: v1::Codec::PcmF32le as i32,
            sample_rate: 48_000,
        }),
    };
    requests
        .send(say(v1::decompress_stream_request::Message::Open(open)))
        .await
        .unwrap();
    let mut answers = bench
        .client
        .decompress_stream(ReceiverStream::new(waiting))
        .await
        .unwrap()
        .into_inner();
    answers.message().await.unwrap().unwrap();
    let (mut power, mut samples, mut concealed) = (0.0, 0, 0);
    for packet in packets.iter().enumerate().filter(|(n, _)| *n != 20) {
        let frame = v1::MediaFrame {
            codec: packet.1.codec,
            payload: packet.1.payload.clone(),
            timestamp: packet.1.timestamp,
            max_latency_ms: 200,
            ..Default::default()
        };
        requests
            .send(say(v1::decompress_stream_request::Message::Frame(frame)))
            .await
            .unwrap();
        let answer = answers.message().await.unwrap().unwrap();
        let Some(v1::decompress_stream_response::Message::Result(result)) = answer.message else {
            panic!("not a result");
        };
        concealed += result.concealed;
        let Some(sound) = result.frame else { continue };
        let floats = sound.payload.as_chunks::<4>().0;
        samples += floats.len();
        power += floats
            .iter()
            .map(|raw| f32::from_le_bytes(*raw).powi(2))
            .sum::<f32>();
    }
    assert!(concealed >= 960, "the hole of packet 20 was filled");
    assert!(
        samples > 50 * 960 && power / samples as f32 > 1e-4,
        "{samples} {power}"
    );
}

#[tokio::test]
async fn single_frames_are_coded_and_decoded_by_themselves() {
    let mut bench = Bench::start().await;
    let frame = pcm(1).remove(0);
    for rung in [LEAN_60, NEURAL] {
        let result = loop {
            let request = v1::CompressFrameRequest {
                frame: Some(frame.clone()),
                choice: Some(v1::compress_frame_request::Choice::Rung(rung.into())),
            };
            let answer = bench.client.compress_frame(request).await.unwrap().into_inner();
            let result = answer.result.unwrap();
            if result.coded {
                break result;
            }
            assert_eq!(result.reason(), v1::Reason::Late);
        };
        let packet = &result.packets[0];
        assert_eq!(packet.duration, 960, "the packet time is the frame's");
        let request = v1::DecompressFrameRequest {
            frame: Some(v1::MediaFrame {
                codec: packet.codec,
                payload: packet.payload.clone(),
                max_latency_ms: 200,
                ..Default::default()
            }),
            output: Some(v1::PcmOutput {
                codec: v1::Codec::PcmS16le as i32,
                sample_rate: 16_000,
            }),
        };
        let sound = loop {
            match bench.client.decompress_frame(request.clone()).await {
                Ok(answer) => break answer.into_inner().frame.unwrap(),
                Err(status) => assert_eq!(status.code(), Code::DeadlineExceeded),
            }
        };
        assert_eq!(sound.payload.len(), 640);
    }
}

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
async fn a_picture_comes_back_as_it_was_with_what_its_sender_should_do() {
    let mut bench = Bench::start().await;
    let mut session = bench.open("camera", &[LEAN]).await.unwrap();
    let codecs = [v1::Codec::H264, v1::Codec::Vp8, v1::Codec::Vp9, v1::Codec::Av1];
    let shape = |width, height| {
        Some(Format::Video(v1::VideoFormat {
            width,
            height,
            ..Default::default()
        }))
    };
    let mut pictures: Vec<v1::MediaFrame> = codecs
        .into_iter()
        .map(|codec| v1::MediaFrame {
            codec: codec as i32,
            payload: vec![7; 5_000].into(),
            format: shape(1920, 1080),
            ..Default::default()
        })
        .collect();
    pictures.push(v1::MediaFrame {
        codec: v1::Codec::I420 as i32,
        payload: vec![7; 640 * 360 * 3 / 2].into(),
        format: shape(640, 360),
        ..Default::default()
    });
    for picture in pictures {
        session.send(picture.clone()).await;
        let result = session.results(1).await.remove(0);
        assert!(!result.coded && result.packets.is_empty());
        assert_eq!(result.reason(), v1::Reason::NoTranscoder);
        assert_eq!(result.original.as_ref(), Some(&picture));
        let hints = result.hints.unwrap();
        assert!(hints.expected_wire_bps < hints.reference_wire_bps);
        assert!(result.decision.is_some());
    }
}

#[tokio::test]
async fn hints_for_sound_and_pictures_and_the_class_of_a_network() {
    let mut bench = Bench::start().await;
    let model = bench
        .client
        .health_check(v1::HealthCheckRequest {})
        .await
        .unwrap()
        .into_inner()
        .models[0]
        .model_id;
    let hints = |mode: v1::Mode, models| v1::GetCompressionHintsRequest {
        configuration: Some(v1::Configuration {
            mode: mode as i32,
            min_quality_score: (mode == v1::Mode::Aggressive).then_some(0.2),
            ..Default::default()
        }),
        receivers: Some(v1::Receivers { models }),
        source: Some(v1::get_compression_hints_request::Source::Audio(
            v1::AudioSource::default(),
        )),
        ..Default::default()
    };
    let stock = bench
        .client
        .get_compression_hints(hints(v1::Mode::Adaptive, vec![]))
        .await
        .unwrap()
        .into_inner();
    let saved = stock.hints.unwrap().expected_savings_ratio;
    assert!(saved >= 0.80, "{saved}");
    let aic = bench
        .client
        .get_compression_hints(hints(v1::Mode::Aggressive, vec![model]))
        .await
        .unwrap()
        .into_inner();
    let rung = Rung::try_from(aic.decision.unwrap().rung.unwrap()).unwrap();
    assert!(matches!(rung, Rung::Neural(_)), "{rung:?}");

    let sample = |at_ms, loss| v1::NetworkSample {
        at_ms,
        loss,
        rtt_ms: 30.0,
        jitter_ms: 2.0,
        capacity_bps: None,
    };
    for (samples, class) in [
        (vec![sample(0, 0.0)], v1::NetworkClass::Good),
        (vec![sample(0, 0.0), sample(1_000, 0.5)], v1::NetworkClass::Poor),
        (vec![sample(0, 0.6)], v1::NetworkClass::Bad),
    ] {
        let request = v1::AnalyzeNetworkConditionsRequest { samples };
        let answer = bench.client.analyze_network_conditions(request).await.unwrap();
        assert_eq!(answer.into_inner().network_class(), class);
    }
}

#[tokio::test]
async fn a_governed_session_obeys_its_configuration_from_the_next_frame_on() {
    let mut bench = Bench::start().await;
    let governed = |configuration: v1::Configuration| {
        v1::open_compression::Choice::Governed(v1::Governed {
            configuration: Some(configuration),
            ..Default::default()
        })
    };
    let adaptive = v1::Configuration {
        max_latency_ms: Some(200),
        ..Default::default()
    };
    let mut session = Session::open(&mut bench.client, "mic", governed(adaptive.clone()))
        .await
        .unwrap();
    let decision = session.opened.decision.unwrap();
    let first = Rung::try_from(decision.rung.unwrap()).unwrap();
    assert!(matches!(first, Rung::Lean(_)));
    let frames = opus(40);
    let mut coded = 0;
    for frame in &frames[..30] {
        session.send(frame.clone()).await;
        coded += session.results(1).await.remove(0).packets.len();
    }
    assert!(coded > 2, "{coded}");
    let change = v1::ChangeCompression {
        change: Some(v1::change_compression::Change::Configuration(v1::Configuration {
            opt_out: true,
            ..adaptive
        })),
    };
    session
        .requests
        .send(message(ask::Message::Change(change)))
        .await
        .unwrap();
    for (n, frame) in frames[30..].iter().enumerate() {
        session.send(frame.clone()).await;
        let result = session.results(1).await.remove(0);
        assert_eq!(result.reason(), v1::Reason::OptOut);
        assert_eq!(result.original.as_ref(), Some(frame));
        assert_eq!(result.decision.is_some(), n == 0, "decisions are told once");
    }
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
