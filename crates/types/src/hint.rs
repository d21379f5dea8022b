//! What the server asks of a publisher, and how a client says what it can do.

use serde::{Deserialize, Serialize};

use crate::ids::TrackId;
use crate::rung::{Lean, Neural, Rung};

/// Topic of the data packet (LiveKit `UserPacket` on the reliable channel) that carries a [`PublisherHint`] as
/// JSON from the server to an AIC client.
pub const HINT_TOPIC: &str = "aic.hint";

/// Keys of the attributes in which a client says what it can do begin with this; they need no grant.
pub const AIC_ATTRIBUTES: &str = "aic.";

/// Participant attribute in which an AIC client lists the models it can decode and encode: 16-bit model ids as
/// four hex digits, separated by commas. Without it the participant is a stock client.
pub const MODELS_ATTRIBUTE: &str = "aic.models";

/// Participant attribute of a client whose Opus decoder enhances what it decodes; its value is [`DECODER_NOLACE`].
pub const DECODER_ATTRIBUTE: &str = "aic.decoder";

/// Value of [`DECODER_ATTRIBUTE`]: libopus with NoLACE (decoder complexity 7 and up).
pub const DECODER_NOLACE: &str = "nolace";

/// What the sender should put into its packets from now on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "codec", rename_all = "lowercase")]
pub enum SourceCodec {
    /// Whatever the client does by itself (its own Opus settings, RED as negotiated).
    Own,
    /// Opus as the lean rung has it, RED off.
    Lean(Lean),
    /// The neural codec.
    Neural(Neural),
}

impl SourceCodec {
    /// The rung this source corresponds to.
    pub const fn rung(self) -> Rung {
        match self {
            Self::Own => Rung::Original,
            Self::Lean(lean) => Rung::Lean(lean),
            Self::Neural(neural) => Rung::Neural(neural),
        }
    }
}

/// A wish of the server about one published track. Stock clients get it through the answer SDP (RED off,
/// `ptime`), AIC clients on the data channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PublisherHint {
    /// The published track.
    pub track: TrackId,
    /// What to send.
    pub source: SourceCodec,
}
