//! One decompression session: coded frames in, PCM out, holes made up for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use auralink_engine::{Refused, StreamId};
use auralink_types::{FieldError, Reason};
use auralink_wire::proto::v1::{self, decompress_stream_request, decompress_stream_response};
use auralink_wire::proto::{AudioCoding, AudioFrame, Decoding, Frame, PcmOutput, within};
use tonic::Status;

use super::relay::Session;
use super::{results, status};
use crate::input::Source;
use crate::listener::{Listener, Report};
use crate::pool::{Handle, Pool};
use crate::stream::{self, Work};

/// Time a frame has where it names none.
const LATENCY: Duration = Duration::from_millis(20);

struct Waiting {
    timestamp: u64,
    due: Instant,
    ticket: u64,
    result: Option<v1::DecompressResult>,
}

/// The session.
pub(super) struct Decompression {
    handle: Handle,
    output: PcmOutput,
    waiting: VecDeque<Waiting>,
    submitted: u64,
    reported: u64,
}

impl Decompression {
    /// Opens the session; the workers may refuse it.
    pub(super) fn open(
        pool: &Arc<Pool>,
        listener: Arc<dyn Listener>,
        decoding: &Decoding,
    ) -> Result<(Self, v1::Opened), Refused> {
        let handle = pool.open(Work::Decode(decoding.output), listener)?;
        let opened = v1::Opened {
            session_id: handle.id.0.to_string(),
            model_id: pool.model().map_or(0, |model| model.id().0).into(),
            decision: None,
        };
        let session = Self {
            handle,
            output: decoding.output,
            waiting: VecDeque::new(),
            submitted: 0,
            reported: 0,
        };
        Ok((session, opened))
    }
}

/// A frame that can be decompressed, for a worker.
pub(super) fn coded(frame: v1::MediaFrame, now: Instant) -> Result<stream::Frame, FieldError> {
    let (audio, source) = match Frame::try_from(frame)? {
        Frame::Audio(
            audio @ AudioFrame {
                coding: AudioCoding::Opus,
                ..
            },
        ) => (audio, Source::Opus),
        Frame::Audio(
            audio @ AudioFrame {
                coding: AudioCoding::Aic,
                ..
            },
        ) => (audio, Source::Aic),
        _ => {
            return Err(FieldError::new("codec", "must be Opus or AIC speech"));
        }
    };
    Ok(stream::Frame {
        source,
        timestamp: audio.timestamp,
        payload: Arc::from(&audio.payload[..]),
        deadline: now + audio.max_latency.unwrap_or(LATENCY),
    })
}

fn without(timestamp: u64, reason: Reason) -> v1::DecompressResult {
    v1::DecompressResult {
        timestamp,
        reason: v1::Reason::from(reason) as i32,
        ..Default::default()
    }
}

/// What a worker made of a frame.
pub(super) fn result(timestamp: u64, done: stream::Done, output: PcmOutput) -> v1::DecompressResult {
    match done.sound {
        Some(sound) => v1::DecompressResult {
            timestamp,
            concealed: sound.made_up,
            frame: Some(results::sound(sound, output)),
            reason: 0,
        },
        None => without(timestamp, done.skipped.unwrap_or(Reason::BadInput)),
    }
}

impl Session for Decompression {
    type In = v1::DecompressStreamRequest;
    type Out = v1::DecompressStreamResponse;

    fn handle_message(&mut self, now: Instant, message: Self::In) -> Result<(), Status> {
        let frame = match message.message {
            Some(decompress_stream_request::Message::Frame(frame)) => frame,
            Some(decompress_stream_request::Message::Open(_)) => {
                let problem = "must be the first message and only that";
                return Err(status::invalid(&FieldError::new("open", problem)));
            }
            None => return Err(status::invalid(&FieldError::new("message", "must be given"))),
        };
        let frame = coded(frame, now).map_err(|error| status::invalid_within("frame", error))?;
        let mut waiting = Waiting {
            timestamp: frame.timestamp,
            due: frame.deadline,
            ticket: self.submitted,
            result: None,
        };
        match self.handle.submit(frame) {
            Ok(()) => self.submitted += 1,
            Err(refused) => waiting.result = Some(without(waiting.timestamp, refused.reason())),
        }
        self.waiting.push_back(waiting);
        Ok(())
    }

    fn handle_report(&mut self, _: Instant, _: StreamId, report: Report) -> Result<(), Status> {
        match report {
            Report::Done { done, .. } => {
                let ticket = self.reported;
                self.reported += 1;
                let output = self.output;
                let waiting = self
                    .waiting
                    .iter_mut()
                    .find(|waiting| waiting.ticket == ticket && waiting.result.is_none());
                if let Some(waiting) = waiting {
                    waiting.result = Some(result(waiting.timestamp, done, output));
                }
                Ok(())
            }
            Report::Failed(reason) => {
                for waiting in &mut self.waiting {
                    waiting
                        .result
                        .get_or_insert_with(|| without(waiting.timestamp, reason));
                }
                Err(Status::unavailable(format!(
                    "the session is lost ({reason}); open it again"
                )))
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        for waiting in &mut self.waiting {
            if waiting.due <= now {
                waiting
                    .result
                    .get_or_insert_with(|| without(waiting.timestamp, Reason::Late));
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let open = self.waiting.iter().filter(|waiting| waiting.result.is_none());
        open.map(|waiting| waiting.due).min()
    }

    fn poll_output(&mut self) -> Option<Self::Out> {
        self.waiting.front()?.result.as_ref()?;
        let result = self.waiting.pop_front()?.result?;
        Some(v1::DecompressStreamResponse {
            message: Some(decompress_stream_response::Message::Result(result)),
        })
    }

    fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

/// The first message of a stream, which must open it.
pub(super) fn opening(message: Option<v1::DecompressStreamRequest>) -> Result<Decoding, FieldError> {
    match message.and_then(|message| message.message) {
        Some(decompress_stream_request::Message::Open(open)) => {
            Decoding::try_from(open).map_err(|error| within("open", error))
        }
        _ => Err(FieldError::new("open", "must be the first message")),
    }
}
