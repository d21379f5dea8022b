//! What a stream's owner hears of its work.

use std::time::Duration;

use auralink_engine::StreamId;
use auralink_types::Reason;

use crate::stream::Done;

/// One thing that the owner hears.
#[derive(Debug)]
pub(crate) enum Report {
    /// Exactly one for each frame taken, in order.
    Done {
        /// What became of it.
        done: Done,
        /// Time all work on it took.
        compute: Duration,
    },
    /// The stream is gone.
    Failed(Reason),
}

/// A stream's owner, as the workers see it. Called from a worker's thread, or from the watching one; must not block.
pub(crate) trait Listener: Send + Sync {
    /// What became of a frame, or of the stream.
    fn report(&self, stream: StreamId, report: Report);

    /// All that there is to report at the moment was reported.
    fn wake(&self);

    /// The stream's last report.
    fn fail(&self, stream: StreamId, reason: Reason) {
        self.report(stream, Report::Failed(reason));
        self.wake();
    }
}
