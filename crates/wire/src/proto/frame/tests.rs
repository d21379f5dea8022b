use super::*;

fn pcm_frame(bytes: usize) -> v1::MediaFrame {
    v1::MediaFrame {
        codec: v1::Codec::PcmS16le as i32,
        payload: vec![0; bytes].into(),
        format: Some(Format::Audio(v1::AudioFormat {
            sample_rate: 16_000,
            channels: 1,
        })),
        ..Default::default()
    }
}

fn picture(codec: v1::Codec, width: u32, height: u32, bytes: usize) -> v1::MediaFrame {
    v1::MediaFrame {
        codec: codec as i32,
        payload: vec![0; bytes].into(),
        format: Some(Format::Video(v1::VideoFormat {
            width,
            height,
            ..Default::default()
        })),
        ..Default::default()
    }
}

fn refused(frame: v1::MediaFrame) -> String {
    Frame::try_from(frame).unwrap_err().field
}

#[test]
fn a_good_frame_of_every_codec_is_taken() {
    Frame::try_from(pcm_frame(640)).unwrap();
    for codec in [v1::Codec::Opus, v1::Codec::AicSpeech] {
        let frame = v1::MediaFrame {
            codec: codec as i32,
            payload: vec![0xf8, 0xff, 0xfe].into(),
            max_latency_ms: 20,
            ..Default::default()
        };
        let Frame::Audio(audio) = Frame::try_from(frame).unwrap() else {
            panic!("audio is audio");
        };
        assert_eq!(audio.max_latency, Some(Duration::from_millis(20)));
    }
    for codec in [v1::Codec::H264, v1::Codec::Vp8, v1::Codec::Vp9, v1::Codec::Av1] {
        assert!(matches!(
            Frame::try_from(picture(codec, 640, 360, 100)),
            Ok(Frame::Video(_))
        ));
    }
    Frame::try_from(picture(v1::Codec::I420, 3, 3, 17)).unwrap();
}

#[test]
fn every_lie_is_refused_by_the_name_of_its_field() {
    assert_eq!(refused(v1::MediaFrame::default()), "codec");
    assert_eq!(
        refused(v1::MediaFrame {
            codec: 99,
            ..pcm_frame(640)
        }),
        "codec"
    );
    for bytes in [0, 1, 639, 641, 16 * 2 * 130, PCM_MAX + 1] {
        assert_eq!(refused(pcm_frame(bytes)), "payload", "{bytes}");
    }
    assert_eq!(
        refused(v1::MediaFrame {
            format: None,
            ..pcm_frame(640)
        }),
        "audio"
    );
    assert_eq!(
        refused(v1::MediaFrame {
            timestamp: u64::MAX,
            ..pcm_frame(640)
        }),
        "timestamp"
    );
    assert_eq!(
        refused(v1::MediaFrame {
            max_latency_ms: 201,
            ..pcm_frame(640)
        }),
        "max_latency_ms"
    );
    let mut frame = pcm_frame(640);
    for (rate, channels, field) in [(44_100, 1, "audio.sample_rate"), (16_000, 3, "audio.channels")] {
        frame.format = Some(Format::Audio(v1::AudioFormat {
            sample_rate: rate,
            channels,
        }));
        assert_eq!(refused(frame.clone()), field);
    }
    let opus = |bytes: usize| v1::MediaFrame {
        codec: v1::Codec::Opus as i32,
        payload: vec![0; bytes].into(),
        ..Default::default()
    };
    assert_eq!(refused(opus(0)), "payload");
    assert_eq!(refused(opus(CODED_AUDIO_MAX + 1)), "payload");
    assert_eq!(refused(picture(v1::Codec::I420, 4, 4, 23)), "payload");
    assert_eq!(refused(picture(v1::Codec::I420, 4_000, 4, 24_000)), "video.width");
    assert_eq!(refused(picture(v1::Codec::Vp8, 0, 4, 24)), "video.width");
    assert_eq!(refused(picture(v1::Codec::Vp8, 4, 9_000, 24)), "video.height");
    assert_eq!(refused(picture(v1::Codec::Av1, 4, 4, VIDEO_MAX + 1)), "payload");
}

#[test]
fn a_sample_that_is_no_number_never_reaches_a_coder() {
    let mut bytes = vec![0; 1280];
    bytes[8..12].copy_from_slice(&f32::NAN.to_le_bytes());
    let frame = v1::MediaFrame {
        codec: v1::Codec::PcmF32le as i32,
        payload: bytes.into(),
        ..pcm_frame(0)
    };
    assert_eq!(refused(frame), "payload");
}
