//! Sound that is coded and decoded.

use crate::bench::*;
use auralink_wire::aic;
use auralink_wire::proto::v1;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

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
