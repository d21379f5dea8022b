//! One compression session: every frame is answered, in order, coded or as it was.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use auralink_engine::{Refused, StreamId};
use auralink_types::{AicConfig, FieldError, Reason, Rung};
use auralink_wire::proto::v1::{self, compress_stream_request, compress_stream_response};
use auralink_wire::proto::{AudioFrame, Change, Choice, Frame, Opening, VideoFrame, within};
use tonic::Status;

use super::relay::Session;
use super::{audio, results, status};
use crate::advice;
use crate::governor::Governor;
use crate::listener::{Listener, Report};
use crate::pool::{Handle, Pool};
use crate::stream::{self, Work};

/// A frame on its way.
struct Waiting {
    timestamp: u64,
    due: Instant,
    /// Kept to be given back; not where the caller has kept it.
    original: Option<v1::MediaFrame>,
    /// Number of its report; none when it did not go to a worker.
    ticket: Option<u64>,
    result: Option<v1::FrameResult>,
    decision: Option<v1::Decision>,
}

enum Chooser {
    Caller,
    Core(Box<Governor>),
}

/// The session.
pub(super) struct Compression {
    pool: Arc<Pool>,
    listener: Arc<dyn Listener>,
    handle: Option<Handle>,
    rungs: Vec<Rung>,
    chooser: Chooser,
    omit_original: bool,
    latency: Duration,
    waiting: VecDeque<Waiting>,
    /// Tickets given and reports seen.
    submitted: u64,
    reported: u64,
    /// Timestamp of the last frame that was answered unchanged although a worker has it: packets that cover it are
    /// not for anybody.
    spoiled: Option<u64>,
}

impl Compression {
    /// Opens the session; the workers may refuse it.
    pub(super) fn open(
        now: Instant,
        pool: Arc<Pool>,
        listener: Arc<dyn Listener>,
        opening: &Opening,
    ) -> Result<(Self, v1::Opened), Refused> {
        let model = pool.model().map(|model| model.id().0);
        let mut session = Self {
            pool,
            listener,
            handle: None,
            rungs: Vec::new(),
            chooser: Chooser::Caller,
            omit_original: opening.omit_original,
            latency: AicConfig::default().policy().max_latency,
            waiting: VecDeque::new(),
            submitted: 0,
            reported: 0,
            spoiled: None,
        };
        let mut decision = None;
        match &opening.choice {
            Choice::Fixed(rungs) => session.supply(rungs.clone())?,
            Choice::Governed(governed) => {
                let mut governor = Governor::new(now, governed, model);
                session.latency = governor.max_latency();
                decision = governor.news().map(results::decision);
                let wanted: Vec<Rung> = governor.wanted().into_iter().collect();
                session.chooser = Chooser::Core(Box::new(governor));
                if !wanted.is_empty() {
                    session.supply(wanted)?;
                }
            }
        }
        let session_id = session
            .handle
            .as_ref()
            .map_or_else(|| "original".to_owned(), |handle| handle.id.0.to_string());
        let opened = v1::Opened {
            session_id,
            model_id: model.unwrap_or(0).into(),
            decision,
        };
        Ok((session, opened))
    }

    /// Makes a worker code these rungs, at least one.
    fn supply(&mut self, rungs: Vec<Rung>) -> Result<(), Refused> {
        if rungs == self.rungs {
            return Ok(());
        }
        if let Some(handle) = &self.handle {
            handle.set_rungs(&rungs)?;
        } else {
            let work = Work::Code(rungs.clone());
            self.handle = Some(self.pool.open(work, self.listener.clone())?);
            // Reports of an earlier stream are told apart by its id.
            self.reported = self.submitted;
        }
        self.rungs = rungs;
        Ok(())
    }

    fn handle_frame(&mut self, now: Instant, frame: v1::MediaFrame) -> Result<(), Status> {
        let timestamp = frame.timestamp;
        let original = (!self.omit_original).then(|| frame.clone());
        let parsed = Frame::try_from(frame).map_err(|error| status::invalid_within("frame", error))?;
        let mut waiting = Waiting {
            timestamp,
            due: now,
            original,
            ticket: None,
            result: None,
            decision: None,
        };
        match parsed {
            Frame::Video(picture) => {
                waiting.result = Some(self.picture(now, &picture, waiting.original.take()))
            }
            Frame::Audio(audio) => {
                waiting.due = now + audio.max_latency.unwrap_or(self.latency);
                if let Err(reason) = self.submit(now, audio, &mut waiting) {
                    let original = waiting.original.take();
                    waiting.result = Some(results::unchanged(timestamp, Some(reason), original));
                }
            }
        }
        self.waiting.push_back(waiting);
        Ok(())
    }

    fn submit(&mut self, now: Instant, audio: AudioFrame, waiting: &mut Waiting) -> Result<(), Reason> {
        if let Chooser::Core(governor) = &mut self.chooser {
            let (packet, stereo) = audio::shape(&audio);
            governor.note_source(now, packet, stereo);
            governor.handle_timeout(now);
            waiting.decision = governor.news().map(results::decision);
            let wanted: Vec<Rung> = governor.wanted().into_iter().collect();
            let reason = governor.choice().reason.unwrap_or(Reason::Disabled);
            if wanted.is_empty() {
                self.drop_stream(reason);
                return Err(reason);
            }
            if let Err(refused) = self.supply(wanted) {
                return Err(self.bad(now, refused));
            }
        }
        let frame = audio::frame(&audio, waiting.due);
        let sent = self
            .handle
            .as_ref()
            .map_or(Err(Refused::UnknownStream), |handle| handle.submit(frame));
        if let Err(refused) = sent {
            return Err(self.bad(now, refused));
        }
        waiting.ticket = Some(self.submitted);
        self.submitted += 1;
        Ok(())
    }

    fn bad(&mut self, now: Instant, refused: Refused) -> Reason {
        let reason = refused.reason();
        if let Chooser::Core(governor) = &mut self.chooser {
            match refused {
                Refused::Full => governor.handle_bad(now, reason),
                Refused::Unreachable | Refused::UnknownStream => {
                    governor.handle_dead(now, reason);
                    self.drop_stream(reason);
                }
            }
        }
        reason
    }

    /// Leaves the worker: everything that waits for it comes back.
    fn drop_stream(&mut self, reason: Reason) {
        for waiting in &mut self.waiting {
            if waiting.result.is_none() {
                let original = waiting.original.take();
                waiting.result = Some(results::unchanged(waiting.timestamp, Some(reason), original));
            }
        }
        self.handle = None;
        self.rungs.clear();
    }

    /// A picture: unchanged, with what its sender should do.
    fn picture(
        &self,
        now: Instant,
        picture: &VideoFrame,
        original: Option<v1::MediaFrame>,
    ) -> v1::FrameResult {
        let policy = match &self.chooser {
            Chooser::Core(governor) => governor.policy().clone(),
            Chooser::Caller => advice::default_policy(),
        };
        let capacity = match &self.chooser {
            Chooser::Core(governor) => governor.capacity(),
            Chooser::Caller => None,
        };
        results::picture(now, &policy, capacity, picture, original)
    }

    fn handle_done(&mut self, now: Instant, mut done: stream::Done, compute: Duration) {
        let ticket = self.reported;
        self.reported += 1;
        let Some(waiting) = self
            .waiting
            .iter_mut()
            .find(|waiting| waiting.ticket == Some(ticket) && waiting.result.is_none())
        else {
            // It was answered when its time was over.
            return;
        };
        let spoiled = self.spoiled;
        let before = done.coded.len();
        done.coded
            .retain(|packet| spoiled.is_none_or(|at| packet.timestamp > at));
        let torn = done.coded.is_empty() && before > 0;
        let mut trial = None;
        if let Chooser::Core(governor) = &mut self.chooser {
            for packet in &done.coded {
                governor.handle_coded(now, packet);
            }
            let choice = governor.choice();
            trial = (choice.rung == Rung::Original).then(|| choice.reason.unwrap_or(Reason::Probation));
        }
        let reason = trial.or(torn.then_some(Reason::Late)).or(done.skipped);
        if trial.is_some() || torn || done.skipped == Some(Reason::Late) {
            self.spoiled = Some(waiting.timestamp);
        }
        let mut result = match reason {
            Some(reason) => results::unchanged(waiting.timestamp, Some(reason), waiting.original.take()),
            None => v1::FrameResult {
                timestamp: waiting.timestamp,
                coded: true,
                packets: done.coded.iter().map(results::packet).collect(),
                ..Default::default()
            },
        };
        result.compute_us = u64::try_from(compute.as_micros()).unwrap_or(u64::MAX);
        waiting.result = Some(result);
    }

    /// The stream is gone: everything that waits comes back.
    fn handle_failed(&mut self, now: Instant, reason: Reason) -> Result<(), Status> {
        self.drop_stream(reason);
        match &mut self.chooser {
            Chooser::Core(governor) => {
                governor.handle_dead(now, reason);
                Ok(())
            }
            Chooser::Caller => Err(Status::unavailable(format!(
                "the session is lost ({reason}); open it again"
            ))),
        }
    }

    fn handle_change(&mut self, now: Instant, change: v1::ChangeCompression) -> Result<(), Status> {
        let change = Change::try_from(change).map_err(|error| status::invalid_within("change", error))?;
        let misplaced = |field: &str| {
            let problem = "does not fit who chooses in this session";
            Err(status::invalid(&FieldError::new(
                format!("change.{field}"),
                problem,
            )))
        };
        match (change, &mut self.chooser) {
            (Change::Fixed(rungs), Chooser::Caller) => {
                self.supply(rungs).map_err(status::refused)?;
            }
            (Change::Config(config), Chooser::Core(governor)) => {
                governor.set_config(now, &config);
                self.latency = governor.max_latency();
            }
            (Change::Network(report), Chooser::Core(governor)) => governor.handle_report(now, report),
            (Change::Fixed(_), Chooser::Core(_)) => return misplaced("fixed"),
            (Change::Config(_), Chooser::Caller) => return misplaced("configuration"),
            (Change::Network(_), Chooser::Caller) => return misplaced("network"),
        }
        Ok(())
    }
}

impl Session for Compression {
    type In = v1::CompressStreamRequest;
    type Out = v1::CompressStreamResponse;

    fn handle_message(&mut self, now: Instant, message: Self::In) -> Result<(), Status> {
        match message.message {
            Some(compress_stream_request::Message::Frame(frame)) => self.handle_frame(now, frame),
            Some(compress_stream_request::Message::Change(change)) => self.handle_change(now, change),
            Some(compress_stream_request::Message::Open(_)) => Err(status::invalid(&FieldError::new(
                "open",
                "must be the first message and only that",
            ))),
            None => Err(status::invalid(&FieldError::new("message", "must be given"))),
        }
    }

    fn handle_report(&mut self, now: Instant, stream: StreamId, report: Report) -> Result<(), Status> {
        if self.handle.as_ref().is_none_or(|handle| handle.id != stream) {
            return Ok(());
        }
        match report {
            Report::Done { done, compute } => {
                self.handle_done(now, done, compute);
                Ok(())
            }
            Report::Failed(reason) => self.handle_failed(now, reason),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        for waiting in &mut self.waiting {
            if waiting.result.is_some() || waiting.due > now {
                continue;
            }
            let original = waiting.original.take();
            waiting.result = Some(results::unchanged(
                waiting.timestamp,
                Some(Reason::Late),
                original,
            ));
            self.spoiled = Some(waiting.timestamp);
            if let Chooser::Core(governor) = &mut self.chooser {
                governor.handle_bad(now, Reason::Late);
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let open = self.waiting.iter().filter(|waiting| waiting.result.is_none());
        open.map(|waiting| waiting.due).min()
    }

    fn poll_output(&mut self) -> Option<Self::Out> {
        self.waiting.front()?.result.as_ref()?;
        let waiting = self.waiting.pop_front()?;
        let mut result = waiting.result?;
        result.decision = result.decision.or(waiting.decision);
        Some(v1::CompressStreamResponse {
            message: Some(compress_stream_response::Message::Result(result)),
        })
    }

    fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

/// The first message of a stream, which must open it.
pub(super) fn opening(message: Option<v1::CompressStreamRequest>) -> Result<Opening, FieldError> {
    match message.and_then(|message| message.message) {
        Some(compress_stream_request::Message::Open(open)) => {
            Opening::try_from(open).map_err(|error| within("open", error))
        }
        _ => Err(FieldError::new("open", "must be the first message")),
    }
}
