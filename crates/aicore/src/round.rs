//! One round of a worker: a frame of each of several streams, whose neural parts are coded together.

use std::sync::Arc;

use auralink_codec::{Batch, Model};
use auralink_engine::StreamId;
use auralink_types::Reason;

use crate::listener::Listener;
use crate::output::Output;
use crate::stream::{Done, Stream};

/// Frames of a round at most: the first of them waits for the last, about 3 ms.
const FRAMES: usize = 32;

/// A stream and who hears of it.
pub(crate) struct Seat {
    pub(crate) stream: Stream,
    pub(crate) listener: Arc<dyn Listener>,
    /// How many the worker had opened before.
    pub(crate) number: u64,
}

/// A stream in the round and what has become of its frame so far.
struct Guest {
    id: StreamId,
    seat: Box<Seat>,
    done: Result<Done, Reason>,
}

impl Guest {
    /// Lets each output do something; the first trouble is the stream's end.
    fn each(&mut self, mut step: impl FnMut(&mut Output, &mut Done) -> Result<bool, Reason>) -> bool {
        let mut any = false;
        for output in self.seat.stream.outputs() {
            let Ok(done) = &mut self.done else {
                return false;
            };
            match step(output, done) {
                Ok(more) => any |= more,
                Err(reason) => self.done = Err(reason),
            }
        }
        any && self.done.is_ok()
    }
}

/// The streams of a round, with the buffers to code them together.
pub(crate) struct Round {
    guests: Vec<Guest>,
    batch: Option<Batch>,
}

impl Round {
    pub(crate) fn new(model: Option<Arc<Model>>) -> Self {
        Self {
            guests: Vec::with_capacity(FRAMES),
            batch: model.map(Batch::new),
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.guests.len() >= FRAMES
    }

    pub(crate) fn has(&self, id: StreamId) -> bool {
        self.guests.iter().any(|guest| guest.id == id)
    }

    /// A stream that has taken its frame.
    pub(crate) fn push(&mut self, id: StreamId, seat: Box<Seat>, done: Result<Done, Reason>) {
        self.guests.push(Guest { id, seat, done });
    }

    /// Codes whatever is complete.
    pub(crate) fn code(&mut self) {
        // A packet of several frames takes several passes, and each of them one frame of every stream.
        while self.next_frames() {
            let Some(batch) = &mut self.batch else {
                return;
            };
            let mut jobs: Vec<_> = outputs(&mut self.guests).filter_map(Output::encode).collect();
            batch.encode(&mut jobs);
            let mut jobs: Vec<_> = outputs(&mut self.guests).filter_map(Output::monitor).collect();
            let heard = batch.decode(&mut jobs).map_err(|_| Reason::ModelFailure);
            for guest in &mut self.guests {
                guest.each(|output, _| {
                    heard?;
                    output.note_frame().map(|()| false)
                });
            }
        }
    }

    /// Lets complete packets out; whether any stream has a neural frame to code.
    fn next_frames(&mut self) -> bool {
        let mut any = false;
        for guest in &mut self.guests {
            any |= guest.each(|output, done| output.advance(&mut done.coded));
        }
        any
    }

    /// Empties the round.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (StreamId, Box<Seat>, Result<Done, Reason>)> {
        self.guests
            .drain(..)
            .map(|guest| (guest.id, guest.seat, guest.done))
    }
}

/// The outputs of all streams that are well.
fn outputs(guests: &mut [Guest]) -> impl Iterator<Item = &mut Output> {
    guests
        .iter_mut()
        .filter(|guest| guest.done.is_ok())
        .flat_map(|guest| guest.seat.stream.outputs())
}
