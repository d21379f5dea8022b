//! One track's stream to the core.

use std::sync::Arc;
use std::time::{Duration, Instant};

use auralink_engine::{Coded, InFrame, InKind, Outcome, StreamId};
use auralink_quality::Content;
use auralink_types::{Mos, Reason, Rung};
use auralink_wire::proto::v1::{self, compress_stream_request, compress_stream_response};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::Shared;
use crate::grpc::stubs::aic_compression_client::AicCompressionClient;

/// Time for a stream to stand.
const OPEN_WITHIN: Duration = Duration::from_secs(2);

/// What media has for a track.
pub(super) enum Input {
    Frame(InFrame),
    Rungs(Vec<Rung>),
}

/// One track.
pub(super) struct Track {
    pub(super) stream: StreamId,
    /// Unique among all tracks of all media servers.
    pub(super) name: String,
    pub(super) channel: Channel,
    /// Cancelled when the link is given up.
    pub(super) down: CancellationToken,
    pub(super) shared: Arc<Shared>,
}

impl Track {
    /// Runs until media closes the track, the core ends it, or the link is gone.
    pub(super) async fn run(self, rungs: Vec<Rung>, inputs: mpsc::Receiver<Input>) {
        let result = tokio::select! {
            () = self.down.cancelled() => Err(Status::unavailable("the link is gone")),
            result = self.relay(&rungs, inputs) => result,
        };
        if let Err(status) = result {
            let reason = match status.code() {
                Code::ResourceExhausted => Reason::Overload,
                _ => Reason::CoreUnreachable,
            };
            tracing::debug!(stream = self.stream.0, %status, "stream of the AI core ended");
            self.shared.doubt.notify_one();
            let stream = self.stream;
            self.shared.tell(Outcome::Failed { stream, reason });
        }
    }

    async fn relay(&self, rungs: &[Rung], inputs: mpsc::Receiver<Input>) -> Result<(), Status> {
        let open = message(compress_stream_request::Message::Open(v1::OpenCompression {
            session: Some(v1::SessionKey {
                call_id: self.name.clone(),
                track_id: self.name.clone(),
                tenant_id: String::new(),
            }),
            choice: Some(v1::open_compression::Choice::Fixed(rungs.into())),
            omit_original: true,
        }));
        let requests = tokio_stream::once(open).chain(ReceiverStream::new(inputs).filter_map(request));
        let mut client = AicCompressionClient::new(self.channel.clone());
        let opening = tokio::time::timeout(OPEN_WITHIN, client.compress_stream(requests));
        let mut answers = match opening.await {
            Ok(opened) => opened?.into_inner(),
            Err(_) => return Err(Status::deadline_exceeded("the stream did not open in time")),
        };
        while let Some(answer) = answers.message().await? {
            if let Some(compress_stream_response::Message::Result(result)) = answer.message {
                self.handle_result(result)?;
            }
        }
        Ok(())
    }

    fn handle_result(&self, result: v1::FrameResult) -> Result<(), Status> {
        if !result.coded {
            // The tap has the original and a deadline of its own.
            return Ok(());
        }
        let stream = self.stream;
        for packet in result.packets {
            let packet = coded(packet)
                .ok_or_else(|| Status::internal("the core sent a packet that cannot be read"))?;
            self.shared.tell(Outcome::Coded { stream, packet });
        }
        let compute = Duration::from_micros(result.compute_us);
        self.shared.tell(Outcome::Took { stream, compute });
        Ok(())
    }
}

fn message(message: compress_stream_request::Message) -> v1::CompressStreamRequest {
    v1::CompressStreamRequest {
        message: Some(message),
    }
}

/// The message for an input; none for a frame whose time is over before it could be sent.
fn request(input: Input) -> Option<v1::CompressStreamRequest> {
    Some(message(match input {
        Input::Frame(frame) => {
            let left = frame.deadline.checked_duration_since(Instant::now())?;
            let codec = match frame.kind {
                InKind::Opus => v1::Codec::Opus,
                InKind::Aic => v1::Codec::AicSpeech,
            };
            compress_stream_request::Message::Frame(v1::MediaFrame {
                codec: codec as i32,
                payload: prost::bytes::Bytes::copy_from_slice(&frame.payload),
                timestamp: frame.timestamp,
                format: None,
                // Up to the next millisecond, within what the core accepts.
                max_latency_ms: (left.as_micros() as u64).div_ceil(1_000).clamp(1, 200) as u32,
            })
        }
        Input::Rungs(rungs) => compress_stream_request::Message::Change(v1::ChangeCompression {
            change: Some(v1::change_compression::Change::Fixed(rungs.as_slice().into())),
        }),
    }))
}

fn coded(packet: v1::CodedPacket) -> Option<Coded> {
    Some(Coded {
        rung: Rung::try_from(packet.rung?).ok()?,
        timestamp: packet.timestamp,
        samples: packet.duration,
        payload: Arc::from(&packet.payload[..]),
        quality: packet.quality.map(|quality| Mos::new(quality.mos as f32)),
        // The service does not say; its estimate of quality has to do.
        content: Content::Unknown,
    })
}
