use super::*;
use auralink_types::{AicConfig, Bitrate, ConfigChange, Mode};

const HALF: Duration = Duration::from_millis(500);
const ALL: [bool; 4] = [true; 4];

fn policy(change: ConfigChange) -> Policy {
    let change = ConfigChange {
        enabled: Some(true),
        ..change
    };
    AicConfig::default().apply(&change).unwrap().policy()
}

fn situation() -> VideoSituation {
    VideoSituation {
        source: VideoSource {
            codec: VideoCodec::H264,
            bitrate: Bitrate::kbps(5_000),
            width: 1920,
            height: 1080,
            fps: 30,
            content: VideoContent::Camera,
        },
        encoders: [Some(Duration::from_millis(15)); 4],
        decoders: ALL,
        network: Network::default(),
        sizes: 1,
        quality: None,
    }
}

fn narrow(kbps: u64) -> Network {
    Network {
        capacity: Some(Bitrate::kbps(kbps)),
        ..Network::default()
    }
}

#[test]
fn every_mode_saves_its_share_of_five_megabits_at_1080p() {
    for (mode, share) in [
        (Mode::Conservative, 0.5),
        (Mode::Adaptive, 0.75),
        (Mode::Aggressive, 0.85),
    ] {
        let wish = policy(ConfigChange {
            mode: Some(mode),
            ..ConfigChange::default()
        });
        let decision = VideoPilot::new()
            .review(Instant::now(), &wish, &situation())
            .unwrap();
        let saved = 1.0 - decision.max_bitrate.as_bps() as f64 / 5e6;
        assert!(saved >= share, "{mode}: {saved}");
        assert_eq!(
            (decision.codec, decision.scale, decision.max_fps),
            (VideoCodec::Av1, 1.0, 30)
        );
    }
}

#[test]
fn av1_needs_time_to_encode_and_receivers_that_decode_it() {
    let on = policy(ConfigChange::default());
    let codec = |change: fn(&mut VideoSituation)| {
        let mut situation = situation();
        change(&mut situation);
        VideoPilot::new()
            .review(Instant::now(), &on, &situation)
            .unwrap()
            .codec
    };
    assert_eq!(codec(|_| {}), VideoCodec::Av1);
    assert_eq!(
        codec(|s| s.encoders[3] = Some(Duration::from_millis(21))),
        VideoCodec::Vp9
    );
    assert_eq!(codec(|s| s.decoders[3] = false), VideoCodec::Vp9);
    assert_eq!(
        codec(|s| (s.encoders[3], s.encoders[2]) = (None, None)),
        VideoCodec::H264
    );
    assert_eq!(codec(|s| s.source.codec = VideoCodec::Vp9), VideoCodec::Av1);
}

#[test]
fn codecs_change_at_most_every_five_seconds_but_an_undecodable_one_goes_at_once() {
    let on = policy(ConfigChange::default());
    let start = Instant::now();
    let mut pilot = VideoPilot::new();
    let mut changes = Vec::new();
    let mut last = VideoCodec::H264;
    for step in 0..120 {
        let now = start + HALF * step;
        let mut situation = situation();
        // The encoder's time swings around the limit.
        situation.encoders[3] = Some(Duration::from_millis(if step % 2 == 0 { 15 } else { 25 }));
        pilot.review(now, &on, &situation);
        let codec = pilot.decision().unwrap().codec;
        if codec != last {
            changes.push(now);
            last = codec;
        }
    }
    assert!(changes.len() > 2);
    assert!(changes.windows(2).all(|pair| pair[1] - pair[0] >= CODEC_PAUSE));
    let mut pilot = VideoPilot::new();
    pilot.review(start, &on, &situation());
    let mut joined = situation();
    joined.decoders = [true, true, false, false];
    assert_eq!(
        pilot.review(start + HALF, &on, &joined).unwrap().codec,
        VideoCodec::H264
    );
}

#[test]
fn the_cap_rises_at_once_and_falls_by_fifteen_percent_a_step() {
    let on = policy(ConfigChange::default());
    let start = Instant::now();
    let mut pilot = VideoPilot::new();
    let mut measured = situation();
    let quality = |ssim, rate| {
        Some(VideoQuality {
            ssim,
            baseline: Some(0.960),
            rate,
        })
    };
    let first = pilot.review(start, &on, &measured).unwrap().max_bitrate;
    measured.quality = quality(0.951, first);
    let more = pilot.review(start + HALF, &on, &measured).unwrap().max_bitrate;
    assert!(more > first, "a shortfall is met at once");
    let mut last = more;
    for step in 2..40 {
        measured.quality = quality(0.985, last);
        if let Some(next) = pilot.review(start + HALF * step, &on, &measured) {
            assert!(next.max_bitrate.as_bps() as f64 >= 0.849 * last.as_bps() as f64);
            last = next.max_bitrate;
        }
    }
    assert!(last.as_bps() < more.as_bps() / 2, "{last}");
}

#[test]
fn a_narrow_path_is_obeyed_at_once_and_left_for_more_when_it_widens() {
    let on = policy(ConfigChange::default());
    let start = Instant::now();
    let mut pilot = VideoPilot::new();
    let wide = pilot.review(start, &on, &situation()).unwrap();
    let squeezed = VideoSituation {
        network: narrow(300),
        ..situation()
    };
    let little = pilot.review(start + HALF, &on, &squeezed).unwrap();
    assert!(little.max_bitrate <= Bitrate::kbps(255));
    assert!(little.scale > 1.0 && little.max_fps == 30, "{little:?}");
    assert_eq!(little.reason, Some(Reason::UnstableNetwork));
    let again = pilot.review(start + 2 * HALF, &on, &situation()).unwrap();
    assert_eq!(again.max_bitrate, wide.max_bitrate);
}

#[test]
fn a_screen_gives_up_frames_before_size_where_perception_counts() {
    let mut screen = VideoSituation {
        network: narrow(600),
        ..situation()
    };
    screen.source.content = VideoContent::Screen;
    let decide = |perceptual| {
        let wish = policy(ConfigChange {
            enable_perceptual_optimization: Some(perceptual),
            ..ConfigChange::default()
        });
        VideoPilot::new().review(Instant::now(), &wish, &screen).unwrap()
    };
    let (with, without) = (decide(true), decide(false));
    assert!(with.scale == 1.0 && with.max_fps < 30, "{with:?}");
    assert!(without.scale > 1.0 && without.max_fps == 30, "{without:?}");
}

#[test]
fn a_predicted_squeeze_is_met_before_it_comes_where_the_policy_predicts() {
    let mut situation = situation();
    situation.network.capacity_ahead = Some(Bitrate::kbps(500));
    let cap = |predictive| {
        let wish = policy(ConfigChange {
            enable_predictive_compression: Some(predictive),
            ..ConfigChange::default()
        });
        VideoPilot::new()
            .review(Instant::now(), &wish, &situation)
            .unwrap()
            .max_bitrate
    };
    assert!(cap(true) <= Bitrate::kbps(425));
    assert!(cap(false) > Bitrate::kbps(800));
}

#[test]
fn quality_missed_twice_puts_the_publishers_own_settings_back_for_thirty_seconds() {
    let on = policy(ConfigChange::default());
    let start = Instant::now();
    let miss = |rate| {
        Some(VideoQuality {
            ssim: 0.80,
            baseline: Some(0.96),
            rate,
        })
    };
    let mut pilot = VideoPilot::new();
    let first = pilot.review(start, &on, &situation()).unwrap();
    let mut bad = situation();
    bad.quality = miss(first.max_bitrate);
    let once = pilot.review(start + HALF, &on, &bad).unwrap();
    assert_eq!(once.reason, None, "one miss buys bits");
    let twice = pilot.review(start + 2 * HALF, &on, &bad).unwrap();
    assert_eq!(
        (twice.codec, twice.max_bitrate, twice.reason),
        (VideoCodec::H264, Bitrate::kbps(5_000), Some(Reason::Quality))
    );
    assert_eq!(pilot.review(start + HOLD, &on, &situation()), None, "held");
    let back = pilot.review(start + HOLD + 3 * HALF, &on, &situation()).unwrap();
    assert_eq!(back.codec, VideoCodec::Av1);
}

#[test]
fn an_opt_out_leaves_the_publisher_alone() {
    let out = policy(ConfigChange {
        opt_out: Some(true),
        ..ConfigChange::default()
    });
    let decision = VideoPilot::new()
        .review(Instant::now(), &out, &situation())
        .unwrap();
    assert_eq!(
        (
            decision.codec,
            decision.max_bitrate,
            decision.scale,
            decision.reason
        ),
        (VideoCodec::H264, Bitrate::kbps(5_000), 1.0, Some(Reason::OptOut))
    );
}

#[test]
fn layers_are_sent_only_where_receivers_show_different_sizes() {
    let on = policy(ConfigChange::default());
    let layers = |sizes| {
        let situation = VideoSituation { sizes, ..situation() };
        VideoPilot::new()
            .review(Instant::now(), &on, &situation)
            .unwrap()
            .layers
    };
    assert_eq!([layers(0), layers(1), layers(2), layers(9)], [1, 1, 2, 3]);
}

#[test]
fn no_cap_is_more_than_the_path_carries_or_the_publisher_sends() {
    let on = policy(ConfigChange::default());
    let cap = |situation: &VideoSituation| {
        VideoPilot::advise(Instant::now(), &on, situation)
            .max_bitrate
            .as_bps()
    };
    for kbps in [20, 50, 200, 1_000, 5_000] {
        let situation = VideoSituation {
            network: narrow(kbps),
            ..situation()
        };
        assert!(cap(&situation) < 1_000 * kbps, "{kbps}");
    }
    let tiny = VideoSituation {
        source: VideoSource::stock(VideoCodec::Vp8, 16, 16, 30),
        ..situation()
    };
    assert!(cap(&tiny) <= tiny.source.bitrate.as_bps());
}
