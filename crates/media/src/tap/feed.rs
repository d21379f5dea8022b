//! The stream of a track at the core: what it codes, and how far it has been fed.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use auralink_engine::{Coded, InFrame, Processor, Refused, StreamId};
use auralink_types::Rung;

use super::original::Earlier;
use super::shelf::SLACK;

/// Frames whose time of arrival is remembered.
const TAKEN_MAX: usize = 32;

#[derive(Default)]
pub(super) struct Feed {
    stream: Option<StreamId>,
    rungs: Vec<Rung>,
    /// End of the audio handed over.
    fed: u64,
    /// End and arrival of the frames fed last.
    taken: VecDeque<(u64, Instant)>,
}

impl Feed {
    pub(super) fn stream(&self) -> Option<StreamId> {
        self.stream
    }

    /// Makes the core code these and nothing else.
    pub(super) fn set_rungs(&mut self, rungs: Vec<Rung>, core: &mut dyn Processor) -> Result<(), Refused> {
        match self.stream {
            Some(_) if rungs == self.rungs => return Ok(()),
            Some(stream) => core.set_rungs(stream, &rungs)?,
            None => {
                self.stream = Some(core.open(&rungs)?);
                self.fed = 0;
            }
        }
        self.rungs = rungs;
        Ok(())
    }

    /// Whether that was lost, came along with the packet at `before`, and is as good as new.
    pub(super) fn lacks(&self, earlier: &Earlier, before: u64) -> bool {
        self.fed > 0 && earlier.at >= self.fed && earlier.at + earlier.ticks <= before
    }

    /// Hands so many ticks over; nothing where they were handed over before, or there is no stream.
    pub(super) fn submit(
        &mut self,
        now: Instant,
        frame: InFrame,
        ticks: u64,
        core: &mut dyn Processor,
    ) -> Result<(), Refused> {
        let end = frame.timestamp + ticks;
        let Some(stream) = self.stream.filter(|_| frame.timestamp >= self.fed) else {
            return Ok(());
        };
        core.submit(stream, frame)?;
        self.fed = end;
        if self.taken.len() == TAKEN_MAX {
            self.taken.pop_front();
        }
        self.taken.push_back((end, now));
        Ok(())
    }

    /// Whether a packet met its deadline.
    pub(super) fn is_timely(&self, now: Instant, packet: &Coded, max_latency: Duration) -> bool {
        let end = packet.timestamp + packet.samples;
        let complete = self.taken.iter().find(|(fed, _)| *fed >= end);
        complete.is_none_or(|(_, taken)| now.saturating_duration_since(*taken) <= max_latency + SLACK)
    }

    /// The core has no such stream any more.
    pub(super) fn forget(&mut self) {
        self.stream = None;
        self.rungs.clear();
        self.taken.clear();
    }

    /// Ends the stream.
    pub(super) fn close(&mut self, core: &mut dyn Processor) {
        if let Some(stream) = self.stream {
            core.close(stream);
        }
        self.forget();
    }
}
