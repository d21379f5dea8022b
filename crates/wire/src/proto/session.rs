//! Sessions: what opens one and what changes it.

use auralink_types::{AicConfig, Bitrate, FieldError, Rung};

use super::v1::{self, change_compression, compress_frame_request, open_compression};
use super::{NetworkReport, PcmSample, enums, frame, needed, within};

/// Longest id of a call, track or tenant, bytes.
pub const KEY_MAX: usize = 128;
/// Most rungs of one session.
pub const FIXED_RUNGS_MAX: usize = 4;
/// Most models that receivers may list.
const MODELS_MAX: usize = 64;

/// Whose track it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionKey {
    /// On whose behalf the peer calls; may be empty.
    pub tenant: String,
    /// The call.
    pub call: String,
    /// The track within it.
    pub track: String,
}

/// Everything the core needs to choose by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Governed {
    /// The user's wishes.
    pub config: AicConfig,
    /// What the path to the receivers is like, where known.
    pub network: Option<NetworkReport>,
    /// Models that every receiver decodes.
    pub models: Vec<u16>,
    /// What the sender spends on the wire, where known.
    pub original: Option<Bitrate>,
}

/// Who chooses the rungs.
#[derive(Clone, Debug, PartialEq)]
pub enum Choice {
    /// The caller.
    Fixed(Vec<Rung>),
    /// The core.
    Governed(Box<Governed>),
}

/// A session to be opened.
#[derive(Clone, Debug, PartialEq)]
pub struct Opening {
    /// Whose it is.
    pub key: SessionKey,
    /// Who chooses.
    pub choice: Choice,
    /// Frames that were not coded need not come back.
    pub omit_original: bool,
}

/// A change of a running session.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Other rungs.
    Fixed(Vec<Rung>),
    /// Other wishes.
    Config(Box<AicConfig>),
    /// A report.
    Network(NetworkReport),
}

/// PCM that a caller wants; one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PcmOutput {
    /// How a sample is written.
    pub sample: PcmSample,
    /// 16000 or 48000.
    pub rate: u32,
}

/// A decoding session to be opened.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoding {
    /// Whose it is.
    pub key: SessionKey,
    /// What is wanted.
    pub output: PcmOutput,
}

impl TryFrom<v1::SessionKey> for SessionKey {
    type Error = FieldError;

    fn try_from(key: v1::SessionKey) -> Result<Self, FieldError> {
        let bounded = |field: &str, text: &str, least: usize| {
            if text.len() < least || text.len() > KEY_MAX || text.chars().any(char::is_control) {
                let problem = format!("must be {least} to {KEY_MAX} bytes without control characters");
                return Err(FieldError::new(field, problem));
            }
            Ok(())
        };
        bounded("call_id", &key.call_id, 1)?;
        bounded("track_id", &key.track_id, 1)?;
        bounded("tenant_id", &key.tenant_id, 0)?;
        Ok(Self {
            tenant: key.tenant_id,
            call: key.call_id,
            track: key.track_id,
        })
    }
}

impl TryFrom<v1::FixedRungs> for Vec<Rung> {
    type Error = FieldError;

    fn try_from(fixed: v1::FixedRungs) -> Result<Self, FieldError> {
        let count = fixed.rungs.len();
        if !(1..=FIXED_RUNGS_MAX).contains(&count) {
            let problem = format!("must be 1 to {FIXED_RUNGS_MAX}, got {count}");
            return Err(FieldError::new("rungs", problem));
        }
        let mut rungs = Self::with_capacity(count);
        for (n, rung) in fixed.rungs.into_iter().enumerate() {
            let field = format!("rungs[{n}]");
            let rung = Rung::try_from(rung).map_err(|error| within(&field, error))?;
            if rung == Rung::Original || rungs.contains(&rung) {
                return Err(FieldError::new(
                    field,
                    "must be different from the others and not original",
                ));
            }
            rungs.push(rung);
        }
        Ok(rungs)
    }
}

impl From<&[Rung]> for v1::FixedRungs {
    fn from(rungs: &[Rung]) -> Self {
        Self {
            rungs: rungs.iter().map(|rung| v1::Rung::from(*rung)).collect(),
        }
    }
}

impl TryFrom<v1::Governed> for Governed {
    type Error = FieldError;

    fn try_from(governed: v1::Governed) -> Result<Self, FieldError> {
        let wishes = governed.configuration.unwrap_or_default();
        Ok(Self {
            config: AicConfig::try_from(wishes).map_err(|error| within("configuration", error))?,
            network: network(governed.network)?,
            models: models(governed.receivers)?,
            original: Some(governed.original_wire_bps)
                .filter(|rate| *rate > 0)
                .map(Bitrate::bps),
        })
    }
}

/// A report, where there is one.
pub(super) fn network(sample: Option<v1::NetworkSample>) -> Result<Option<NetworkReport>, FieldError> {
    sample
        .map(|sample| NetworkReport::try_from(sample).map_err(|error| within("network", error)))
        .transpose()
}

/// Models that every receiver decodes.
pub(super) fn models(receivers: Option<v1::Receivers>) -> Result<Vec<u16>, FieldError> {
    let listed = receivers.unwrap_or_default().models;
    if listed.len() > MODELS_MAX {
        let problem = format!("must be at most {MODELS_MAX}, got {}", listed.len());
        return Err(FieldError::new("receivers.models", problem));
    }
    let model = |(n, id): (usize, u32)| {
        u16::try_from(id).map_err(|_| {
            FieldError::new(
                format!("receivers.models[{n}]"),
                format!("must be 0 to 65535, got {id}"),
            )
        })
    };
    listed.into_iter().enumerate().map(model).collect()
}

impl TryFrom<v1::OpenCompression> for Opening {
    type Error = FieldError;

    fn try_from(open: v1::OpenCompression) -> Result<Self, FieldError> {
        let key = needed(open.session, "session")?;
        let choice = match needed(open.choice, "choice")? {
            open_compression::Choice::Fixed(fixed) => {
                Choice::Fixed(Vec::try_from(fixed).map_err(|error| within("fixed", error))?)
            }
            open_compression::Choice::Governed(governed) => Choice::Governed(Box::new(
                Governed::try_from(governed).map_err(|error| within("governed", error))?,
            )),
        };
        Ok(Self {
            key: SessionKey::try_from(key).map_err(|error| within("session", error))?,
            choice,
            omit_original: open.omit_original,
        })
    }
}

impl TryFrom<compress_frame_request::Choice> for Choice {
    type Error = FieldError;

    fn try_from(choice: compress_frame_request::Choice) -> Result<Self, FieldError> {
        Ok(match choice {
            compress_frame_request::Choice::Rung(rung) => {
                Self::Fixed(vec![Rung::try_from(rung).map_err(|error| within("rung", error))?])
            }
            compress_frame_request::Choice::Governed(governed) => Self::Governed(Box::new(
                Governed::try_from(governed).map_err(|error| within("governed", error))?,
            )),
        })
    }
}

impl TryFrom<v1::ChangeCompression> for Change {
    type Error = FieldError;

    fn try_from(change: v1::ChangeCompression) -> Result<Self, FieldError> {
        Ok(match needed(change.change, "change")? {
            change_compression::Change::Fixed(fixed) => {
                Self::Fixed(Vec::try_from(fixed).map_err(|error| within("fixed", error))?)
            }
            change_compression::Change::Configuration(wishes) => Self::Config(Box::new(
                AicConfig::try_from(wishes).map_err(|error| within("configuration", error))?,
            )),
            change_compression::Change::Network(sample) => {
                Self::Network(NetworkReport::try_from(sample).map_err(|error| within("network", error))?)
            }
        })
    }
}

impl TryFrom<v1::PcmOutput> for PcmOutput {
    type Error = FieldError;

    fn try_from(output: v1::PcmOutput) -> Result<Self, FieldError> {
        let sample = match enums::codec(output.codec)? {
            v1::Codec::PcmS16le => PcmSample::S16,
            v1::Codec::PcmF32le => PcmSample::F32,
            other => {
                let problem = format!("must be PCM, got {}", other.as_str_name());
                return Err(FieldError::new("codec", problem));
            }
        };
        Ok(Self {
            sample,
            rate: frame::rate("sample_rate", output.sample_rate)?,
        })
    }
}

impl TryFrom<v1::OpenDecompression> for Decoding {
    type Error = FieldError;

    fn try_from(open: v1::OpenDecompression) -> Result<Self, FieldError> {
        let key = needed(open.session, "session")?;
        let output = needed(open.output, "output")?;
        Ok(Self {
            key: SessionKey::try_from(key).map_err(|error| within("session", error))?,
            output: PcmOutput::try_from(output).map_err(|error| within("output", error))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> v1::SessionKey {
        v1::SessionKey {
            call_id: "call".into(),
            track_id: "mic".into(),
            tenant_id: String::new(),
        }
    }

    fn lean(bitrate_bps: u32) -> v1::Rung {
        v1::Rung {
            rung: Some(v1::rung::Rung::Lean(v1::LeanRung {
                bitrate_bps,
                packet_ms: 20,
                fec: false,
            })),
        }
    }

    fn open(rungs: Vec<v1::Rung>) -> v1::OpenCompression {
        v1::OpenCompression {
            session: Some(key()),
            choice: Some(open_compression::Choice::Fixed(v1::FixedRungs { rungs })),
            omit_original: false,
        }
    }

    #[test]
    fn an_opening_that_says_too_little_or_too_much_is_refused_by_the_path_of_its_field() {
        let refused = |open: v1::OpenCompression| Opening::try_from(open).unwrap_err().field;
        Opening::try_from(open(vec![lean(12_000)])).unwrap();
        assert_eq!(refused(v1::OpenCompression::default()), "session");
        assert_eq!(refused(open(vec![])), "fixed.rungs");
        assert_eq!(refused(open(vec![lean(12_000); 5])), "fixed.rungs");
        assert_eq!(refused(open(vec![lean(12_000); 2])), "fixed.rungs[1]");
        assert_eq!(refused(open(vec![lean(1)])), "fixed.rungs[0].lean.bitrate_bps");
        assert_eq!(
            refused(open(vec![v1::Rung::from(Rung::Original)])),
            "fixed.rungs[0]"
        );
        let choice = None;
        assert_eq!(
            refused(v1::OpenCompression {
                choice,
                ..open(vec![])
            }),
            "choice"
        );
        for (call_id, field) in [
            (String::new(), "session.call_id"),
            ("x".repeat(129), "session.call_id"),
        ] {
            let session = Some(v1::SessionKey { call_id, ..key() });
            assert_eq!(
                refused(v1::OpenCompression {
                    session,
                    ..open(vec![lean(12_000)])
                }),
                field
            );
        }
    }

    #[test]
    fn a_governed_session_is_checked_in_depth() {
        let refused = |governed: v1::Governed| Governed::try_from(governed).unwrap_err().field;
        let governed = v1::Governed {
            configuration: Some(v1::Configuration {
                min_quality_score: Some(2.0),
                ..Default::default()
            }),
            ..Default::default()
        };
        assert_eq!(refused(governed), "configuration.min_quality_score");
        let governed = v1::Governed {
            receivers: Some(v1::Receivers {
                models: vec![1, 70_000],
            }),
            ..Default::default()
        };
        assert_eq!(refused(governed), "receivers.models[1]");
        let governed = v1::Governed {
            network: Some(v1::NetworkSample {
                loss: 3.0,
                ..Default::default()
            }),
            ..Default::default()
        };
        assert_eq!(refused(governed), "network.loss");
    }
}
