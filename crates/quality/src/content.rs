//! What is being said, sung, played or just noise: a speech codec carries only speech.

use std::collections::VecDeque;

use crate::network::Network;
use crate::spectrum::WINDOW;
use crate::texture::{FIGURES, Texture};

mod weights {
    include!("content_weights.rs");
}
use weights::{HIDDEN, HIDDEN_BIAS, MEAN, OUT, OUT_BIAS, SCALE};

const CLASSES: usize = 4;
const NETWORK: Network<FIGURES, { HIDDEN_BIAS.len() }, CLASSES> = Network {
    mean: MEAN,
    scale: SCALE,
    hidden: HIDDEN,
    hidden_bias: HIDDEN_BIAS,
    out: OUT,
    out_bias: OUT_BIAS,
};

/// Samples between windows: 16 ms.
const HOP: usize = WINDOW / 2;
/// Windows between judgements: 0.26 s.
const STEP: usize = 16;
/// Part of a new judgement in the running one, which thus remembers about a second.
const BLEND: f32 = 0.25;
/// The belief in speech under which it is left, and over which it is returned to: apart, so that nothing flaps.
const LEAVE: f32 = 0.15;
const RETURN: f32 = 0.8;
/// Judgements before speech may be left for the first time: the first ones are made from little.
const PATIENCE: u32 = 2;

/// What a stretch of sound is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Content {
    /// Too little was heard.
    #[default]
    Unknown,
    /// One person talking, in whatever surroundings.
    Speech,
    /// Music or singing.
    Music,
    /// No voice to speak of.
    Noise,
    /// Several people at once.
    Crosstalk,
}

impl Content {
    /// Every judgement, in the order of the network's outputs.
    const JUDGED: [Self; CLASSES] = [Self::Speech, Self::Music, Self::Noise, Self::Crosstalk];

    /// Whether a speech codec may carry it; what is not known yet may be.
    pub fn suits_speech_codec(self) -> bool {
        matches!(self, Self::Unknown | Self::Speech)
    }

    /// Name for labels and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Speech => "speech",
            Self::Music => "music",
            Self::Noise => "noise",
            Self::Crosstalk => "crosstalk",
        }
    }
}

/// Listens to 16 kHz sound and says what it is, with hysteresis. Pauses change nothing. No allocation after warm-up.
///
/// ```
/// use auralink_quality::{Content, ContentDetector};
///
/// let mut detector = ContentDetector::new();
/// assert_eq!(detector.push(&[0.0; 320]), Content::Unknown);
/// ```
pub struct ContentDetector {
    texture: Texture,
    pending: VecDeque<f32>,
    window: [f32; WINDOW],
    until_judged: usize,
    belief: Option<[f32; CLASSES]>,
    judgements: u32,
    content: Content,
}

impl Default for ContentDetector {
    fn default() -> Self {
        Self::new()
    }
}

impl ContentDetector {
    /// One that has heard nothing.
    pub fn new() -> Self {
        Self {
            texture: Texture::new(),
            pending: VecDeque::with_capacity(2 * WINDOW),
            window: [0.0; WINDOW],
            until_judged: STEP,
            belief: None,
            judgements: 0,
            content: Content::Unknown,
        }
    }

    /// Takes any number of samples and answers what the sound is now. Samples that are not finite count as silence.
    pub fn push(&mut self, pcm: &[f32]) -> Content {
        for &sample in pcm {
            let sample = if sample.is_finite() {
                sample.clamp(-4.0, 4.0)
            } else {
                0.0
            };
            self.pending.push_back(sample);
            if self.pending.len() == WINDOW {
                for (slot, sample) in self.window.iter_mut().zip(&self.pending) {
                    *slot = *sample;
                }
                self.pending.drain(..HOP);
                self.texture.push(&self.window);
                self.until_judged -= 1;
                if self.until_judged == 0 {
                    self.until_judged = STEP;
                    self.judge();
                }
            }
        }
        self.content
    }

    /// What the sound is, as of the last push.
    pub fn content(&self) -> Content {
        self.content
    }

    /// What the judgement is made from; `None` while there is too little, or only quiet. For fitting.
    pub fn figures(&self) -> Option<[f32; FIGURES]> {
        self.texture.figures()
    }

    fn judge(&mut self) {
        let Some(figures) = self.texture.figures() else {
            return;
        };
        let judged = softmax(NETWORK.apply(&figures));
        let belief = match self.belief {
            None => judged,
            Some(before) => std::array::from_fn(|n| before[n] + BLEND * (judged[n] - before[n])),
        };
        self.belief = Some(belief);
        let speech = belief[0];
        let patient = self.judgements >= PATIENCE;
        self.judgements = self.judgements.saturating_add(1);
        let other = Content::JUDGED
            .into_iter()
            .zip(belief)
            .skip(1)
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .map_or(Content::Noise, |(content, _)| content);
        self.content = match self.content {
            Content::Unknown | Content::Speech if patient && speech < LEAVE => other,
            Content::Unknown | Content::Speech => Content::Speech,
            _ if speech > RETURN => Content::Speech,
            _ => other,
        };
    }
}

fn softmax(logits: [f32; CLASSES]) -> [f32; CLASSES] {
    let highest = logits.into_iter().fold(f32::MIN, f32::max);
    let powers = logits.map(|logit| (logit - highest).exp());
    let sum: f32 = powers.iter().sum();
    powers.map(|power| power / sum)
}
