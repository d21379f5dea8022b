//! The one trait through which media sees the AI.

use std::sync::Arc;
use std::time::{Duration, Instant};

use auralink_quality::Content;
use auralink_types::{Mos, Reason, Rung};

/// One published track at the AI core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// Called by the core, from any thread, when [`Processor::poll`] has something new.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Why the core took nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The core is gone.
    #[error("AI core is unreachable")]
    Unreachable,
    /// No room for another stream or frame.
    #[error("AI core is full")]
    Full,
    /// No such stream: never opened, closed, or lost with a worker.
    #[error("AI core does not know the stream")]
    UnknownStream,
}

impl Refused {
    /// The reason to record.
    pub const fn reason(self) -> Reason {
        match self {
            Self::Unreachable | Self::UnknownStream => Reason::CoreUnreachable,
            Self::Full => Reason::Overload,
        }
    }
}

/// What a packet of the publisher holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InKind {
    /// One Opus packet.
    Opus,
    /// One AIC payload.
    Aic,
}

/// One packet of the publisher, unpacked from RED.
#[derive(Clone, Debug)]
pub struct InFrame {
    /// What the payload is.
    pub kind: InKind,
    /// RTP timestamp of its first sample, unwrapped, 48 kHz.
    pub timestamp: u64,
    /// The payload.
    pub payload: Arc<[u8]>,
    /// After this instant the outcome is useless.
    pub deadline: Instant,
}

/// One coded packet.
#[derive(Clone, Debug)]
pub struct Coded {
    /// The rung it was coded for.
    pub rung: Rung,
    /// RTP timestamp of its first sample on the publisher's timeline, 48 kHz.
    pub timestamp: u64,
    /// Samples at 48 kHz that it covers.
    pub samples: u64,
    /// The payload.
    pub payload: Arc<[u8]>,
    /// Estimated quality of this rung on this content so far.
    pub quality: Option<Mos>,
    /// What the source sounds like.
    pub content: Content,
}

/// What the core has to say.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// A packet for a rung.
    Coded {
        /// The stream.
        stream: StreamId,
        /// The packet.
        packet: Coded,
    },
    /// A frame was taken in: how long all work on it took, decoding and every rung together.
    Took {
        /// The stream.
        stream: StreamId,
        /// Time on one core.
        compute: Duration,
    },
    /// The stream failed; it is gone and may be opened again.
    Failed {
        /// The stream.
        stream: StreamId,
        /// Why.
        reason: Reason,
    },
}

impl Outcome {
    /// The stream it is about.
    pub const fn stream(&self) -> StreamId {
        match self {
            Self::Coded { stream, .. } | Self::Took { stream, .. } | Self::Failed { stream, .. } => *stream,
        }
    }
}

/// An AI core, in process or remote. Nothing here blocks.
pub trait Processor: Send {
    /// Opens a stream that will be coded for these rungs.
    fn open(&mut self, rungs: &[Rung]) -> Result<StreamId, Refused>;
    /// Changes the rungs of a stream; those kept are not disturbed.
    fn set_rungs(&mut self, stream: StreamId, rungs: &[Rung]) -> Result<(), Refused>;
    /// Hands over one packet.
    fn submit(&mut self, stream: StreamId, frame: InFrame) -> Result<(), Refused>;
    /// The next outcome, if there is one.
    fn poll(&mut self) -> Option<Outcome>;
    /// Forgets a stream.
    fn close(&mut self, stream: StreamId);
    /// Ids of models the core codes with, best first; empty when it has none.
    fn models(&self) -> Vec<u16>;
    /// The models want an accelerator that is not there: targets are those of a processor.
    fn no_accelerator(&self) -> bool {
        false
    }
}
