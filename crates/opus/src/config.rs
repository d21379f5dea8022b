use std::ffi::c_int;

use crate::error::OpusError;

/// What the encoder takes its input for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signal {
    /// The encoder decides.
    #[default]
    Auto,
    /// Bias towards the speech coder.
    Voice,
    /// Bias towards the transform coder.
    Music,
}

/// Intent of the encoder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Application {
    /// Speech; the only one with in-band redundancy and long SILK frames.
    #[default]
    Voip,
    /// Music and mixed content.
    Audio,
}

/// Audio bandwidth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bandwidth {
    /// 4 kHz.
    Narrow,
    /// 6 kHz.
    Medium,
    /// 8 kHz.
    Wide,
    /// 12 kHz.
    SuperWide,
    /// 20 kHz.
    Full,
}

/// From this rate on the lean rung may spend bits on what lies above 8 kHz. libopus by itself would from 14 kbps on,
/// where they are missing in the speech bands; at 20 kbps those keep what 16 kbps of wide band have.
pub const FULL_BAND_FROM: u32 = 20_000;

/// Loss that an encoder with copies prepares for; more makes each copy dearer.
const COPIES_LOSS_PERCENT: u8 = 10;

/// Settings of an encoder; sample rate, channels and application are fixed for its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncoderConfig {
    /// Input rate in Hz: 8000, 12000, 16000, 24000 or 48000.
    pub sample_rate: u32,
    /// 1 or 2.
    pub channels: u8,
    /// Target rate in bits per second, 500 to 512000.
    pub bitrate: u32,
    /// Audio per packet in milliseconds: 20, 40, 60, 80, 100 or 120.
    pub packet_ms: u32,
    /// 0 to 10; CPU against quality.
    pub complexity: u8,
    /// Variable rate, constrained to the target over a packet or two; otherwise constant.
    pub vbr: bool,
    /// Send next to nothing in silence.
    pub dtx: bool,
    /// Carry a low-rate copy of the previous frame (LBRR) when loss is expected.
    pub inband_fec: bool,
    /// Loss the encoder prepares for, 0 to 100 %.
    pub expected_loss_percent: u8,
    /// What the input is.
    pub signal: Signal,
    /// Intent.
    pub application: Application,
    /// Fixed bandwidth; `None` lets the encoder choose (narrow band below about 9 kbps).
    pub bandwidth: Option<Bandwidth>,
}

impl EncoderConfig {
    /// The lean rung on 16 kHz mono speech: wide band, constrained VBR, complexity 10.
    pub fn lean(bitrate: u32, packet_ms: u32) -> Self {
        Self {
            sample_rate: 16_000,
            channels: 1,
            bitrate,
            packet_ms,
            complexity: 10,
            vbr: true,
            dtx: false,
            inband_fec: false,
            expected_loss_percent: 0,
            signal: Signal::Voice,
            application: Application::Voip,
            bandwidth: Some(Bandwidth::Wide),
        }
    }

    /// The lean rung on 48 kHz mono: the same up to [`FULL_BAND_FROM`], from there on as wide as the sound is.
    pub fn lean_48k(bitrate: u32, packet_ms: u32) -> Self {
        let wide = Self::lean(bitrate, packet_ms);
        Self {
            sample_rate: 48_000,
            bandwidth: wide.bandwidth.filter(|_| bitrate < FULL_BAND_FROM),
            ..wide
        }
    }

    /// The same with a copy of the packet before in each packet (LBRR): wide band, because only packets of one frame carry
    /// one for all of it.
    pub fn with_copies(self) -> Self {
        Self {
            inband_fec: true,
            expected_loss_percent: COPIES_LOSS_PERCENT,
            bandwidth: Some(Bandwidth::Wide),
            ..self
        }
    }

    /// Samples per channel in one packet.
    pub fn packet_samples(&self) -> usize {
        (self.sample_rate as usize / 1000) * self.packet_ms as usize
    }

    pub(crate) fn validate(&self) -> Result<(), OpusError> {
        check_rate_and_channels(self.sample_rate, self.channels)?;
        check_bitrate(self.bitrate)?;
        check_loss(self.expected_loss_percent)?;
        if !matches!(self.packet_ms, 20 | 40 | 60 | 80 | 100 | 120) {
            return Err(OpusError::Config {
                field: "packet_ms",
                value: self.packet_ms.into(),
                expected: "20, 40, 60, 80, 100 or 120",
            });
        }
        if self.complexity > 10 {
            return Err(OpusError::Config {
                field: "complexity",
                value: self.complexity.into(),
                expected: "0 to 10",
            });
        }
        Ok(())
    }
}

pub(crate) fn check_rate_and_channels(sample_rate: u32, channels: u8) -> Result<(), OpusError> {
    if !matches!(sample_rate, 8_000 | 12_000 | 16_000 | 24_000 | 48_000) {
        return Err(OpusError::Config {
            field: "sample_rate",
            value: sample_rate.into(),
            expected: "8000, 12000, 16000, 24000 or 48000",
        });
    }
    if !matches!(channels, 1 | 2) {
        return Err(OpusError::Config {
            field: "channels",
            value: channels.into(),
            expected: "1 or 2",
        });
    }
    Ok(())
}

pub(crate) fn check_bitrate(bitrate: u32) -> Result<(), OpusError> {
    if !(500..=512_000).contains(&bitrate) {
        return Err(OpusError::Config {
            field: "bitrate",
            value: bitrate.into(),
            expected: "500 to 512000",
        });
    }
    Ok(())
}

pub(crate) fn check_loss(percent: u8) -> Result<(), OpusError> {
    if percent > 100 {
        return Err(OpusError::Config {
            field: "expected_loss_percent",
            value: percent.into(),
            expected: "0 to 100",
        });
    }
    Ok(())
}

impl Signal {
    pub(crate) fn code(self) -> c_int {
        match self {
            Self::Auto => opusic_sys::OPUS_AUTO,
            Self::Voice => opusic_sys::OPUS_SIGNAL_VOICE,
            Self::Music => opusic_sys::OPUS_SIGNAL_MUSIC,
        }
    }
}

impl Application {
    pub(crate) fn code(self) -> c_int {
        match self {
            Self::Voip => opusic_sys::OPUS_APPLICATION_VOIP,
            Self::Audio => opusic_sys::OPUS_APPLICATION_AUDIO,
        }
    }
}

impl Bandwidth {
    pub(crate) fn code(self) -> c_int {
        match self {
            Self::Narrow => opusic_sys::OPUS_BANDWIDTH_NARROWBAND,
            Self::Medium => opusic_sys::OPUS_BANDWIDTH_MEDIUMBAND,
            Self::Wide => opusic_sys::OPUS_BANDWIDTH_WIDEBAND,
            Self::SuperWide => opusic_sys::OPUS_BANDWIDTH_SUPERWIDEBAND,
            Self::Full => opusic_sys::OPUS_BANDWIDTH_FULLBAND,
        }
    }
}
