//! What the server asks of a publisher, and how a client says what it can do.

use serde::{Deserialize, Serialize};

use crate::ids::TrackId;
use crate::rung::{Lean, Neural, Rung};

/// Topic of the data packet (LiveKit `UserPacket` on the reliable channel) that carries a [`PublisherHint`] as
/// JSON from the server to an AIC client.
pub const HINT_TOPIC: &str = "aic.hint";

/// Keys of the attributes in which a client says what it can do begin with this; they need no grant.
pub const AIC_ATTRIBUTES: &str = "aic.";

/// Topic of the data packet that carries a [`PublisherReport`] as JSON from an AIC client to the server, which passes it
/// on to nobody.
pub const REPORT_TOPIC: &str = "aic.report";

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

/// A wish of the server about one published track. Stock clients get it through the answer SDP (RED off, `ptime`,
/// `b=TIAS`), AIC clients on the data channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PublisherHint {
    /// The published track.
    pub track: TrackId,
    /// What to send.
    pub source: SourceCodec,
}

/// What an AIC client says about its own coding of one published track, about once a second. Readers pass over fields they
/// don't know and take those that are missing as not told, so both ends may be of different age.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PublisherReport {
    /// The published track.
    pub track: TrackId,
    /// Median time that coding 20 ms of audio took since the last report, microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coding_p50_us: Option<u32>,
    /// 99th percentile of the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coding_p99_us: Option<u32>,
    /// Payload rate at which its own Opus encoder coded the same talk, tried out beside the one in use, bits per second;
    /// redundancy and headers left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_bps: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_another_age_is_read_as_far_as_it_is_known() {
        let newer = r#"{"track":"TR_1","coding_p50_us":300,"battery":0.5}"#;
        let report: PublisherReport = serde_json::from_str(newer).unwrap();
        assert_eq!(
            (report.coding_p50_us, report.coding_p99_us, report.own_bps),
            (Some(300), None, None)
        );
        let wrong = r#"{"track":"TR_1","coding_p50_us":-1}"#;
        assert!(serde_json::from_str::<PublisherReport>(wrong).is_err());
    }
}
