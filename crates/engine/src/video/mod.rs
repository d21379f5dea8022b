//! What a publisher of video should send: codec, bitrate cap, scale, frame rate, layers.
//!
//! The best codec that encodes in time and that every receiver decodes; as many bits as the floor needs, up at once and
//! down by small steps; less of what people notice least when the path is narrow. A miss puts everything back to the
//! publisher's own settings for a while.

mod model;
mod reference;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use auralink_types::{Bitrate, Policy, Reason, VideoCodec, VideoContent, VideoDecision};

use crate::network::Network;

/// A codec is used only if a frame takes at most this part of the frame's time to encode, 95 of 100 times.
const ENCODE_SHARE: f64 = 0.6;
/// Least time between two changes of codec: each costs a key frame.
const CODEC_PAUSE: Duration = Duration::from_secs(5);
/// The cap falls by at most this part in a step.
const DOWN_STEP: f64 = 0.15;
/// And a step takes this long.
const STEP: Duration = Duration::from_millis(500);
/// After a miss the publisher's own settings hold for this long.
const HOLD: Duration = Duration::from_secs(30);
/// Misses in a row that count.
const MISSES: u32 = 2;
/// SSIM that may be lost against the publisher's own encode.
const SSIM_DROP: f32 = 0.005;
/// Part of a known capacity that video may fill.
const CAPACITY_SHARE: f64 = 0.85;
/// Scales and frame rates tried in turn, from untouched to the least.
const SCALES: [f32; 5] = [1.0, 1.5, 2.0, 3.0, 4.0];
const RATES: [u32; 4] = [30, 20, 15, 8];
/// Frames a second below which a screen is no longer followed.
const SCREEN_FPS: [u32; 4] = [30, 15, 8, 5];
/// Layers at most.
const LAYERS_MAX: u8 = 3;
/// Least cap, where the path carries it and the publisher sends as much.
const LEAST: Bitrate = Bitrate::kbps(60);

/// What the publisher sends when nobody steers it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VideoSource {
    /// Its codec.
    pub codec: VideoCodec,
    /// Its cap, or what it was measured to send.
    pub bitrate: Bitrate,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Frames a second.
    pub fps: u32,
    /// What it shows.
    pub content: VideoContent,
}

impl VideoSource {
    /// What a stock sender with a camera makes of such pictures.
    pub fn stock(codec: VideoCodec, width: u32, height: u32, fps: u32) -> Self {
        Self {
            codec,
            bitrate: reference::stock(width, height, fps),
            width,
            height,
            fps,
            content: VideoContent::Camera,
        }
    }
}

/// Quality as last measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VideoQuality {
    /// SSIM of luma now.
    pub ssim: f32,
    /// The same that the publisher's own settings would have, where known.
    pub baseline: Option<f32>,
    /// Rate at which it was measured.
    pub rate: Bitrate,
}

/// What a publisher and its receivers are like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VideoSituation {
    /// What it sends by itself.
    pub source: VideoSource,
    /// 95th percentile of the time one frame takes to encode, in the order of [`VideoCodec::ALL`]; `None` where it
    /// cannot encode that at all, zero where it was never tried.
    pub encoders: [Option<Duration>; VideoCodec::ALL.len()],
    /// Codecs that every receiver decodes, in the same order.
    pub decoders: [bool; VideoCodec::ALL.len()],
    /// The path that is the bottleneck.
    pub network: Network,
    /// Different sizes that receivers show.
    pub sizes: u8,
    /// Quality as last measured.
    pub quality: Option<VideoQuality>,
}

/// Decides for one publisher, with memory for its hysteresis. Ask every half second.
#[derive(Clone, Debug)]
pub struct VideoPilot {
    decision: Option<VideoDecision>,
    codec_since: Option<Instant>,
    stepped: Option<Instant>,
    misses: u32,
    held_until: Option<Instant>,
}

impl Default for VideoPilot {
    fn default() -> Self {
        Self::new()
    }
}

impl VideoPilot {
    /// Nothing was decided yet.
    pub fn new() -> Self {
        Self {
            decision: None,
            codec_since: None,
            stepped: None,
            misses: 0,
            held_until: None,
        }
    }

    /// The decision in force.
    pub fn decision(&self) -> Option<VideoDecision> {
        self.decision
    }

    /// What to do about a publisher of whom nothing is remembered.
    pub fn advise(now: Instant, policy: &Policy, situation: &VideoSituation) -> VideoDecision {
        Self::new().decide(now, policy, situation)
    }

    /// Decides anew; `Some` when the publisher has to be told.
    pub fn review(
        &mut self,
        now: Instant,
        policy: &Policy,
        situation: &VideoSituation,
    ) -> Option<VideoDecision> {
        let next = self.decide(now, policy, situation);
        if self.decision == Some(next) {
            return None;
        }
        let before = self
            .decision
            .map_or(situation.source.codec, |decision| decision.codec);
        if before != next.codec {
            self.codec_since = Some(now);
        }
        self.decision = Some(next);
        Some(next)
    }

    fn decide(&mut self, now: Instant, policy: &Policy, situation: &VideoSituation) -> VideoDecision {
        if !policy.active {
            self.misses = 0;
            let reason = if policy.opt_out {
                Reason::OptOut
            } else {
                Reason::Disabled
            };
            return own(situation, Some(reason));
        }
        let floor = policy.floor.value();
        let missed = situation
            .quality
            .is_some_and(|quality| quality.ssim < wanted(&quality, floor) - SSIM_DROP);
        let steered = self.decision.is_some_and(|decision| decision.reason.is_none());
        self.misses = if missed && steered { self.misses + 1 } else { 0 };
        if self.misses >= MISSES {
            self.misses = 0;
            self.held_until = Some(now + HOLD);
        }
        if self.held_until.is_some_and(|until| now < until) {
            return own(situation, Some(Reason::Quality));
        }
        self.held_until = None;
        let codec = self.codec(now, situation);
        let network = if policy.predictive {
            situation.network.ahead()
        } else {
            situation.network
        };
        let room = network
            .capacity
            .map(|rate| Bitrate::bps((rate.as_bps() as f64 * CAPACITY_SHARE) as u64));
        let content = if policy.perceptual {
            situation.source.content
        } else {
            VideoContent::Camera
        };
        let need = self
            .need(codec, situation, floor)
            .max(LEAST)
            .min(situation.source.bitrate);
        let shape = shape(
            codec,
            situation,
            content,
            floor,
            room.map_or(need, |room| room.min(need)),
        );
        let max_bitrate = self.paced(now, need, room);
        VideoDecision {
            codec,
            max_bitrate,
            scale: shape.0,
            max_fps: shape.1,
            layers: situation.sizes.clamp(1, LAYERS_MAX),
            reason: room.filter(|room| *room < need).map(|_| Reason::UnstableNetwork),
        }
    }

    /// The newest codec that is encoded in time and decoded everywhere; the one in use while a change is too soon.
    fn codec(&self, now: Instant, situation: &VideoSituation) -> VideoCodec {
        let frame = 1.0 / f64::from(situation.source.fps.max(1));
        let usable = |codec: VideoCodec| {
            let index = VideoCodec::ALL.iter().position(|one| *one == codec).unwrap_or(0);
            let in_time =
                situation.encoders[index].is_some_and(|p95| p95.as_secs_f64() <= ENCODE_SHARE * frame);
            in_time && situation.decoders[index]
        };
        let source = situation.source.codec;
        let best = [VideoCodec::Av1, VideoCodec::Vp9]
            .into_iter()
            .filter(|codec| *codec > source)
            .find(|codec| usable(*codec))
            .unwrap_or(source);
        let current = self.decision.map_or(source, |decision| decision.codec);
        let soon = self
            .codec_since
            .is_some_and(|at| now.saturating_duration_since(at) < CODEC_PAUSE);
        // A codec that somebody cannot decode is left whatever its age.
        let works = current == source
            || situation.decoders[VideoCodec::ALL
                .iter()
                .position(|one| *one == current)
                .unwrap_or(0)];
        if soon && works { current } else { best }
    }

    /// Bits for the floor: from the last measurement, where it is of the codec in use, else from the curve.
    fn need(&self, codec: VideoCodec, situation: &VideoSituation, floor: f32) -> Bitrate {
        let source = &situation.source;
        let same = self.decision.is_some_and(|decision| decision.codec == codec);
        match situation.quality.filter(|_| same) {
            Some(quality) => model::anchored(quality.rate, quality.ssim, wanted(&quality, floor)),
            None => {
                let pixels = f64::from(source.width) * f64::from(source.height);
                model::prior(codec, pixels, f64::from(source.fps), f64::from(floor))
            }
        }
    }

    /// Up at once, down by a step at a time, and never more than the path carries.
    fn paced(&mut self, now: Instant, need: Bitrate, room: Option<Bitrate>) -> Bitrate {
        let before = self
            .decision
            .filter(|decision| {
                decision
                    .reason
                    .is_none_or(|reason| reason == Reason::UnstableNetwork)
            })
            .map(|decision| decision.max_bitrate);
        let wished = match before {
            Some(before) if need < before => {
                let due = self
                    .stepped
                    .is_none_or(|at| now.saturating_duration_since(at) >= STEP);
                if due {
                    self.stepped = Some(now);
                    need.max(Bitrate::bps(
                        (before.as_bps() as f64 * (1.0 - DOWN_STEP)).ceil() as u64
                    ))
                } else {
                    before
                }
            }
            _ => need,
        };
        room.map_or(wished, |room| wished.min(room))
    }
}

/// SSIM to reach: the floor, and not much under what the publisher's own encode has.
fn wanted(quality: &VideoQuality, floor: f32) -> f32 {
    let beside = quality.baseline.map_or(0.0, |baseline| baseline - SSIM_DROP);
    floor.max(beside)
}

fn own(situation: &VideoSituation, reason: Option<Reason>) -> VideoDecision {
    let source = &situation.source;
    VideoDecision {
        codec: source.codec,
        max_bitrate: source.bitrate,
        scale: 1.0,
        max_fps: source.fps,
        layers: LAYERS_MAX,
        reason,
    }
}

/// Scale and frame rate for so many bits: people give up size first, screens give up frames first.
fn shape(
    codec: VideoCodec,
    situation: &VideoSituation,
    content: VideoContent,
    floor: f32,
    room: Bitrate,
) -> (f32, u32) {
    let source = &situation.source;
    let fits = |scale: f32, fps: u32| {
        let pixels = f64::from(source.width) * f64::from(source.height) / f64::from(scale * scale);
        model::prior(codec, pixels, f64::from(fps), f64::from(floor)) <= room
    };
    // What was measured may need less than the curve says; the whole picture is kept as long as its need is met.
    let steps: Vec<(f32, u32)> = match content {
        VideoContent::Camera => {
            let sizes = SCALES.map(|scale| (scale, source.fps));
            let slower = RATES.map(|fps| (SCALES[SCALES.len() - 1], fps.min(source.fps)));
            sizes.into_iter().chain(slower).collect()
        }
        VideoContent::Screen => {
            let slower = SCREEN_FPS.map(|fps| (1.0, fps.min(source.fps)));
            let smaller = SCALES[..3]
                .iter()
                .map(|scale| (*scale, SCREEN_FPS[SCREEN_FPS.len() - 1].min(source.fps)));
            slower.into_iter().chain(smaller).collect()
        }
    };
    let last = steps[steps.len() - 1];
    steps
        .into_iter()
        .find(|(scale, fps)| fits(*scale, *fps))
        .unwrap_or(last)
}
