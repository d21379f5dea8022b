//! What a sender is told to do.

use crate::bench::*;
use auralink_types::Rung;
use auralink_wire::proto::v1::{self, compress_stream_request as ask, media_frame::Format};

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
