//! One track at the core: decoded once, and coded for every rung wanted or handed out as PCM.

use std::sync::Arc;
use std::time::Instant;

use auralink_codec::Model;
use auralink_engine::Coded;
use auralink_quality::{Content, ContentDetector};
use auralink_types::{Reason, Rung};
use auralink_wire::proto::PcmOutput;

use crate::effort::Effort;
use crate::input::{Decoded, Input, Source};
use crate::output::Output;
use crate::pcm::PcmOut;

/// What a stream is for.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// Coding for these rungs.
    Code(Vec<Rung>),
    /// Decoding to PCM.
    Decode(PcmOutput),
}

/// One frame on its way to a worker.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) source: Source,
    /// 48 kHz.
    pub(crate) timestamp: u64,
    pub(crate) payload: Arc<[u8]>,
    /// After this instant the outcome is useless.
    pub(crate) deadline: Instant,
}

/// What became of one frame.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// Packets completed.
    pub(crate) coded: Vec<Coded>,
    /// Sound decoded.
    pub(crate) sound: Option<Sound>,
    /// Why nothing will come of it.
    pub(crate) skipped: Option<Reason>,
}

/// Sound decoded, as bytes.
#[derive(Debug)]
pub(crate) struct Sound {
    pub(crate) timestamp: u64,
    pub(crate) pcm: Vec<u8>,
    /// Ticks at the start that were made up.
    pub(crate) made_up: u64,
}

enum Sink {
    Coders(Vec<Output>),
    Pcm(Box<PcmOut>),
}

pub(crate) struct Stream {
    input: Input,
    sink: Sink,
    model: Option<Arc<Model>>,
    detector: ContentDetector,
}

impl Stream {
    pub(crate) fn new(work: &Work, model: Option<Arc<Model>>) -> Result<Self, Reason> {
        let input = Input::new(model.as_ref()).map_err(|_| Reason::ModelFailure)?;
        let sink = match work {
            Work::Code(_) => Sink::Coders(Vec::new()),
            Work::Decode(output) => Sink::Pcm(Box::new(PcmOut::new(*output)?)),
        };
        let mut stream = Self {
            input,
            sink,
            model,
            detector: ContentDetector::new(),
        };
        if let Work::Code(rungs) = work {
            stream.set_rungs(rungs)?;
        }
        Ok(stream)
    }

    /// Coders of rungs that stay keep their state. One that nobody needs as it is goes on as a new rung of its
    /// family, at its next packet, so that its listener hears no seam.
    pub(crate) fn set_rungs(&mut self, rungs: &[Rung]) -> Result<(), Reason> {
        let Sink::Coders(outputs) = &mut self.sink else {
            return Ok(());
        };
        let (mut kept, mut spare): (Vec<Output>, Vec<Output>) = std::mem::take(outputs)
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
        *outputs = kept;
        Ok(())
    }

    /// Decodes one packet. Its sound is pending with the outputs then, or converted. A packet that cannot be read is
    /// skipped: the next one finds a hole, which is concealed.
    pub(crate) fn take(&mut self, frame: &Frame, effort: Effort) -> Result<Done, Reason> {
        let mut done = Done::default();
        match self.input.decode(frame.source, frame.timestamp, &frame.payload) {
            Decoded::Sound(sound) => match &mut self.sink {
                Sink::Coders(outputs) => {
                    let unsure = self.detector.content() == Content::Unknown;
                    let content = if (effort.listens || unsure) && !sound.pauses {
                        self.detector.push(sound.pcm)
                    } else {
                        self.detector.content()
                    };
                    for output in outputs {
                        output.push(&sound, content, effort)?;
                    }
                }
                Sink::Pcm(out) => match out.convert(sound.without_fill()) {
                    Ok(pcm) => {
                        done.sound = Some(Sound {
                            timestamp: sound.timestamp,
                            pcm,
                            made_up: sound.made_up,
                        });
                    }
                    Err(reason) => done.skipped = Some(reason),
                },
            },
            Decoded::Old | Decoded::Bad => done.skipped = Some(Reason::BadInput),
        }
        Ok(done)
    }

    /// Its coders.
    pub(crate) fn outputs(&mut self) -> &mut [Output] {
        match &mut self.sink {
            Sink::Coders(outputs) => outputs,
            Sink::Pcm(_) => &mut [],
        }
    }

    /// Decodes one packet for the decoder's memory alone; what was pending with it is given up.
    pub(crate) fn handle_late(&mut self, frame: &Frame) -> Done {
        let _ = self.input.decode(frame.source, frame.timestamp, &frame.payload);
        self.outputs().iter_mut().for_each(Output::skip);
        Done {
            skipped: Some(Reason::Late),
            ..Done::default()
        }
    }
}
