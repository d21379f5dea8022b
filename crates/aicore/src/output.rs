//! Sound to packets of one rung, with an eye on their quality.

use std::sync::Arc;

use auralink_codec as codec;
use auralink_engine::Coded;
use auralink_quality::Content;
use auralink_types::{PacketTime, Reason, Rung};

use crate::coder::{Coder, LeanCoder, deserves_full_band};
use crate::effort::Effort;
use crate::input::{FRAME_TICKS, PAUSE_FILL, Sound, TICKS, WIDE};
use crate::watch::{Hearing, Watch};

/// Samples of a frame.
const FRAME: usize = codec::FRAME_SAMPLES;
/// Samples of the longest packet, 120 ms.
const SAMPLES_MAX: usize = 6 * FRAME;
/// An Opus packet of 20 ms with nothing in it: the decoder goes on with the noise that it knows (RFC 6716 section 2.1.9,
/// RFC 7587 section 3.1.3).
const OPUS_PAUSE: [u8; 1] = [0x48];

/// What listeners have been told of a pause of the publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pause {
    None,
    /// It begins after what is pending.
    Due,
    Said,
}

/// One rung of one track.
pub(crate) struct Output {
    pub(crate) rung: Rung,
    coder: Coder,
    packet: PacketTime,
    /// Sound not yet in a packet, at 16 kHz and, for a wide coder, at 48 kHz.
    pending: Vec<f32>,
    pending_wide: Vec<f32>,
    pending_from: u64,
    pause: Pause,
    /// Frames of `pending` that the coder has taken already.
    taken: usize,
    /// A frame of the neural coder's is to be coded in this pass.
    ready: bool,
    /// The packet in hand is listened to.
    listens: bool,
    heard: Vec<f32>,
    watch: Watch,
    content: Content,
    effort: Effort,
}

impl Output {
    /// The output of a rung; `None` for [`Rung::Original`], which needs none.
    pub(crate) fn new(rung: Rung, model: Option<&Arc<codec::Model>>) -> Result<Option<Self>, Reason> {
        let (Some(coder), Some(packet)) = (Coder::new(rung, model)?, rung.packet()) else {
            return Ok(None);
        };
        Ok(Some(Self {
            rung,
            watch: Watch::new(coder.estimator()),
            coder,
            packet,
            pending: Vec::with_capacity(SAMPLES_MAX * 3),
            pending_wide: Vec::new(),
            pending_from: 0,
            pause: Pause::None,
            taken: 0,
            ready: false,
            listens: false,
            heard: vec![0.0; SAMPLES_MAX],
            content: Content::Unknown,
            effort: Effort::full(),
        }))
    }

    /// Whether sound at 48 kHz is wanted.
    pub(crate) fn is_wide(&self) -> bool {
        matches!(self.rung, Rung::Lean(lean) if deserves_full_band(lean))
    }

    /// How little the coder would have to change to go on as that rung: lower is nearer, `None` is another coder.
    pub(crate) fn distance(&self, rung: Rung) -> Option<u64> {
        match (self.rung, rung) {
            (Rung::Lean(is), Rung::Lean(other)) => (deserves_full_band(is) == deserves_full_band(other))
                .then(|| is.bitrate.as_bps().abs_diff(other.bitrate.as_bps())),
            (Rung::Enhanced(is), Rung::Enhanced(other)) => {
                Some(is.bitrate.as_bps().abs_diff(other.bitrate.as_bps()))
            }
            (Rung::Neural(is), Rung::Neural(other)) => {
                Some(is.rate.bitrate().as_bps().abs_diff(other.rate.bitrate().as_bps()))
            }
            _ => None,
        }
    }

    /// Goes on as another rung of the family with the next packet; what is pending stays.
    pub(crate) fn become_rung(&mut self, rung: Rung) -> Result<(), Reason> {
        if self.distance(rung).is_none_or(|distance| distance > 0) {
            self.watch.forget();
        }
        self.coder.become_rung(rung)?;
        self.packet = rung.packet().unwrap_or(self.packet);
        self.rung = rung;
        Ok(())
    }

    /// Forgets what is pending: its originals go out.
    pub(crate) fn skip(&mut self) {
        self.pending.clear();
        self.pending_wide.clear();
        self.taken = 0;
    }

    /// Takes sound that follows what is pending, or starts anew.
    pub(crate) fn push(&mut self, sound: &Sound<'_>, content: Content, effort: Effort) -> Result<(), Reason> {
        self.effort = effort;
        self.content = content;
        let changed = self.fit(sound)?;
        match &mut self.coder {
            Coder::Lean(coder) => coder.set_effort(effort)?,
            Coder::Neural(coder) => coder.set_effort(effort),
        }
        if sound.fresh || changed {
            self.skip();
        }
        // The voice may come back before the end of what a pause was filled up with.
        let filled = match std::mem::replace(&mut self.pause, Pause::None) {
            Pause::None => 0,
            Pause::Due | Pause::Said => self.pending_from.saturating_sub(sound.timestamp) / TICKS,
        };
        let filled = (filled as usize).min(sound.pcm.len());
        if self.pending.is_empty() {
            self.pending_from = sound.timestamp + filled as u64 * TICKS;
        }
        self.pending.extend_from_slice(&sound.pcm[filled..]);
        if let Some(wide) = sound.wide {
            self.pending_wide.extend_from_slice(&wide[filled * WIDE..]);
        }
        if sound.pauses {
            self.pause();
        }
        Ok(())
    }

    /// Nothing more will come for a while: Opus packets are filled up with the background's noise and say so. A listener
    /// of the neural codec gets the publisher's own description of it, and no more of what is pending.
    fn pause(&mut self) {
        if matches!(self.coder, Coder::Neural(_)) {
            return self.skip();
        }
        let packet = self.packet.frames() * FRAME;
        let sent = self.pending.len().saturating_sub(PAUSE_FILL);
        self.pending.truncate(sent.next_multiple_of(packet));
        self.pause = Pause::Due;
    }

    /// Gives the packets that are complete. Then, of the neural coder, whether a frame is there to be coded: by
    /// [`Self::encode`], [`Self::monitor`] and [`Self::note_frame`].
    pub(crate) fn advance(&mut self, out: &mut Vec<Coded>) -> Result<bool, Reason> {
        loop {
            // A packet that was to be longer is as long as what the coder has taken.
            let frames = self.packet.frames().max(self.taken);
            let samples = frames * FRAME;
            let neural = matches!(self.coder, Coder::Neural(_));
            if neural && self.taken < frames {
                self.ready = self.pending.len() >= (self.taken + 1) * FRAME;
                if self.ready && self.taken == 0 {
                    self.begin()?;
                }
                return Ok(self.ready);
            }
            if self.pending.len() < samples {
                if self.pause == Pause::Due {
                    out.push(self.say_pause());
                }
                return Ok(false);
            }
            if !neural {
                self.begin()?;
            }
            let payload = self.code(samples)?;
            if self.listens {
                let (reference, heard) = (&self.pending[..samples], &self.heard[..samples]);
                if heard.iter().any(|sample| !sample.is_finite()) {
                    return Err(Reason::ModelFailure);
                }
                self.watch.push(reference, heard, frames as u32);
            }
            out.push(Coded {
                rung: self.rung,
                timestamp: self.pending_from,
                samples: samples as u64 * TICKS,
                payload,
                quality: self.watch.quality(),
                content: self.content,
            });
            self.pending.drain(..samples);
            let coded = (samples * WIDE).min(self.pending_wide.len());
            self.pending_wide.drain(..coded);
            self.pending_from += samples as u64 * TICKS;
            self.taken = 0;
        }
    }

    fn say_pause(&mut self) -> Coded {
        self.pause = Pause::Said;
        let timestamp = self.pending_from;
        self.pending_from += FRAME_TICKS;
        Coded {
            rung: self.rung,
            timestamp,
            samples: FRAME_TICKS,
            payload: Arc::from(OPUS_PAUSE),
            quality: self.watch.quality(),
            content: self.content,
        }
    }

    /// The coding of the frame that is there.
    pub(crate) fn encode(&mut self) -> Option<codec::EncodeJob<'_>> {
        match &mut self.coder {
            Coder::Neural(coder) if self.ready => {
                Some(coder.encode(&self.pending[self.taken * FRAME..][..FRAME]))
            }
            _ => None,
        }
    }

    /// What is heard of the frame that was coded, where that is listened to.
    pub(crate) fn monitor(&mut self) -> Option<codec::DecodeJob<'_>> {
        match &mut self.coder {
            Coder::Neural(coder) if self.ready && self.listens => {
                Some(coder.monitor(&mut self.heard[self.taken * FRAME..][..FRAME]))
            }
            _ => None,
        }
    }

    /// The frame was coded.
    pub(crate) fn note_frame(&mut self) -> Result<(), Reason> {
        if let Coder::Neural(coder) = &mut self.coder
            && self.ready
        {
            coder.push()?;
            self.taken += 1;
            self.ready = false;
        }
        Ok(())
    }

    /// A packet begins.
    fn begin(&mut self) -> Result<(), Reason> {
        let hearing = self.watch.begin(self.effort.listens);
        self.listens = hearing != Hearing::Rest;
        if hearing == Hearing::Again {
            self.coder.hear_again()?;
        }
        match &mut self.coder {
            Coder::Neural(coder) => coder.begin(self.pending_from),
            Coder::Lean(_) => Ok(()),
        }
    }

    /// A wide coder is made anew when the publisher's codec begins or ceases to give 48 kHz; whether it was.
    fn fit(&mut self, sound: &Sound<'_>) -> Result<bool, Reason> {
        let wide = self.is_wide() && sound.wide.is_some();
        match &mut self.coder {
            Coder::Lean(coder) if coder.wide != wide => {
                *coder = LeanCoder::new(coder.lean, wide, coder.receiver)?;
                self.watch = Watch::new(self.coder.estimator());
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn code(&mut self, samples: usize) -> Result<Arc<[u8]>, Reason> {
        let heard = self.listens.then_some(&mut self.heard[..samples]);
        match &mut self.coder {
            Coder::Lean(coder) if coder.wide => coder.code(&self.pending_wide[..samples * WIDE], heard),
            Coder::Lean(coder) => coder.code(&self.pending[..samples], heard),
            Coder::Neural(coder) => coder.finish(),
        }
    }
}
