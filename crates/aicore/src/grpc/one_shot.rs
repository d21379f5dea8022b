//! One frame by itself: a stream that lives for a single frame.

use std::sync::Arc;
use std::time::{Duration, Instant};

use auralink_types::{FieldError, Neural, PacketTime, Reason, Rung};
use auralink_wire::proto::{Choice, PcmOutput, v1};
use tokio::sync::Semaphore;
use tonic::Status;

use super::post::Post;
use super::{audio, decompress, results, status};
use crate::advice::{self, AudioNow};
use crate::listener::Report;
use crate::pool::Pool;
use crate::stream::{Done, Frame, Work};

/// Single frames in work at once; the next one comes back unchanged.
const AT_ONCE: usize = 32;

/// Codes and decodes single frames.
pub(super) struct OneShot {
    pool: Arc<Pool>,
    post: Arc<Post>,
    room: Semaphore,
}

impl OneShot {
    pub(super) fn new(pool: Arc<Pool>, post: Arc<Post>) -> Self {
        Self {
            pool,
            post,
            room: Semaphore::new(AT_ONCE),
        }
    }

    /// Codes a frame, or decides about a picture.
    pub(super) async fn compress(
        &self,
        request: v1::CompressFrameRequest,
    ) -> Result<v1::FrameResult, Status> {
        let now = Instant::now();
        let missing = |field: &str| status::invalid(&FieldError::new(field, "must be given"));
        let frame = request.frame.ok_or_else(|| missing("frame"))?;
        let choice = request.choice.ok_or_else(|| missing("choice"))?;
        let choice = Choice::try_from(choice).map_err(|error| status::invalid(&error))?;
        let parsed = auralink_wire::proto::Frame::try_from(frame.clone())
            .map_err(|error| status::invalid_within("frame", error))?;
        let (policy, network) = match &choice {
            Choice::Fixed(_) => (advice::default_policy(), None),
            Choice::Governed(governed) => (governed.config.policy(), governed.network),
        };
        let audio = match parsed {
            auralink_wire::proto::Frame::Audio(audio) => audio,
            auralink_wire::proto::Frame::Video(picture) => {
                let capacity = network.and_then(|report| report.capacity);
                return Ok(results::picture(now, &policy, capacity, &picture, Some(frame)));
            }
        };
        let (packet, stereo) = audio::shape(&audio);
        let packet = packet.ok_or_else(|| {
            let problem = "must hold 20, 40, 60, 80, 100 or 120 ms";
            status::invalid(&FieldError::new("frame.payload", problem))
        })?;
        let (rung, reason, decision) = match &choice {
            Choice::Fixed(rungs) => (rungs.first().copied().unwrap_or_default(), None, None),
            Choice::Governed(governed) => {
                let model = self.pool.model().map(|model| model.id().0);
                let neural = model.is_some_and(|model| governed.models.contains(&model));
                let source = AudioNow {
                    wire: governed.original,
                    packet,
                    stereo,
                };
                let advice = advice::audio(now, &policy, network, neural, &source);
                (
                    advice.choice.rung,
                    advice.choice.reason,
                    Some(results::decision(advice.choice)),
                )
            }
        };
        let rung = alone(rung, packet);
        let timestamp = audio.timestamp;
        let mut result = if rung == Rung::Original {
            results::unchanged(timestamp, reason, Some(frame))
        } else {
            let deadline = now + audio.max_latency.unwrap_or(policy.max_latency);
            match self
                .work(Work::Code(vec![rung]), audio::frame(&audio, deadline))
                .await
            {
                Ok((done, compute)) if !done.coded.is_empty() => v1::FrameResult {
                    timestamp,
                    coded: true,
                    packets: done.coded.iter().map(results::packet).collect(),
                    compute_us: u64::try_from(compute.as_micros()).unwrap_or(u64::MAX),
                    ..Default::default()
                },
                Ok((done, _)) => {
                    let reason = done.skipped.unwrap_or(Reason::BadInput);
                    results::unchanged(timestamp, Some(reason), Some(frame))
                }
                Err(reason) => results::unchanged(timestamp, Some(reason), Some(frame)),
            }
        };
        result.decision = decision.or_else(|| {
            Some(v1::Decision {
                rung: Some(rung.into()),
                reason: result.reason,
                expected_quality_score: 0.0,
            })
        });
        Ok(result)
    }

    /// Decodes a frame.
    pub(super) async fn decompress(
        &self,
        request: v1::DecompressFrameRequest,
    ) -> Result<v1::DecompressFrameResponse, Status> {
        let now = Instant::now();
        let missing = |field: &str| status::invalid(&FieldError::new(field, "must be given"));
        let frame = request.frame.ok_or_else(|| missing("frame"))?;
        let output = request.output.ok_or_else(|| missing("output"))?;
        let output = PcmOutput::try_from(output).map_err(|error| status::invalid_within("output", error))?;
        let frame = decompress::coded(frame, now).map_err(|error| status::invalid_within("frame", error))?;
        let timestamp = frame.timestamp;
        let (done, _) = self
            .work(Work::Decode(output), frame)
            .await
            .map_err(|reason| match reason {
                Reason::Late => Status::deadline_exceeded("the frame was late"),
                other => Status::unavailable(format!("the frame was not decoded: {other}")),
            })?;
        match decompress::result(timestamp, done, output).frame {
            Some(frame) => Ok(v1::DecompressFrameResponse { frame: Some(frame) }),
            None => Err(status::invalid(&FieldError::new(
                "frame.payload",
                "cannot be decoded",
            ))),
        }
    }

    async fn work(&self, work: Work, frame: Frame) -> Result<(Done, Duration), Reason> {
        let _room = self.room.try_acquire().map_err(|_| Reason::Overload)?;
        let (listener, mut arriving) = self.post.reports();
        let deadline = frame.deadline;
        let handle = self
            .pool
            .open(work, listener)
            .map_err(|refused| refused.reason())?;
        handle.submit(frame).map_err(|refused| refused.reason())?;
        match tokio::time::timeout_at(deadline.into(), arriving.recv()).await {
            Ok(Some((_, Report::Done { done, compute }))) => Ok((done, compute)),
            Ok(Some((_, Report::Failed(reason)))) => Err(reason),
            Ok(None) => Err(Reason::CoreUnreachable),
            Err(_) => Err(Reason::Late),
        }
    }
}

/// The rung with the packet time that one frame fills; there are no earlier frames to copy.
fn alone(rung: Rung, packet: PacketTime) -> Rung {
    match rung.with_packet(packet) {
        Rung::Neural(neural) => Rung::Neural(Neural { copies: 0, ..neural }),
        rung => rung,
    }
}
