//! One published track at the core: decoded once, coded for every rung wanted.

use std::sync::Arc;

use auralink_codec::Model;
use auralink_engine::{Coded, InFrame};
use auralink_types::{Reason, Rung};

use crate::input::{Decoded, Input};
use crate::output::Output;

pub(crate) struct Stream {
    input: Input,
    outputs: Vec<Output>,
    model: Option<Arc<Model>>,
}

impl Stream {
    pub(crate) fn new(rungs: &[Rung], model: Option<Arc<Model>>) -> Result<Self, Reason> {
        let input = Input::new(model.as_ref()).map_err(|_| Reason::ModelFailure)?;
        let mut stream = Self {
            input,
            outputs: Vec::new(),
            model,
        };
        stream.set_rungs(rungs)?;
        Ok(stream)
    }

    /// Coders of rungs that stay keep their state. One that nobody needs as it is goes on as a new rung of its
    /// family, at its next packet, so that its listener hears no seam.
    pub(crate) fn set_rungs(&mut self, rungs: &[Rung]) -> Result<(), Reason> {
        let (mut kept, mut spare): (Vec<Output>, Vec<Output>) = std::mem::take(&mut self.outputs)
            .into_iter()
            .partition(|output| rungs.contains(&output.rung));
        for &rung in rungs {
            if kept.iter().any(|output| output.rung == rung) {
                continue;
            }
            let nearest = (0..spare.len())
                .filter_map(|at| Some((spare[at].distance(rung)?, at)))
                .min();
            match nearest {
                Some((_, at)) => {
                    let mut output = spare.swap_remove(at);
                    output.become_rung(rung)?;
                    kept.push(output);
                }
                None => kept.extend(Output::new(rung, self.model.as_ref())?),
            }
        }
        self.input
            .set_wide(kept.iter().any(Output::is_wide))
            .map_err(|_| Reason::ModelFailure)?;
        self.outputs = kept;
        Ok(())
    }

    /// Decodes one packet and codes what is complete. A packet that cannot be read is skipped: the next one finds
    /// a hole, which is concealed.
    pub(crate) fn handle_frame(&mut self, frame: &InFrame, out: &mut Vec<Coded>) -> Result<(), Reason> {
        match self.input.decode(frame.kind, frame.timestamp, &frame.payload) {
            Decoded::Sound(sound) => {
                for output in &mut self.outputs {
                    output.push(&sound, out)?;
                }
                Ok(())
            }
            Decoded::Old | Decoded::Bad => Ok(()),
        }
    }
}
