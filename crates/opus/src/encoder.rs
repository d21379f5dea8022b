use std::ffi::c_int;
use std::ptr::NonNull;

use opusic_sys::OpusEncoder;

use crate::config::{EncoderConfig, check_bitrate, check_loss};
use crate::error::{OpusError, check};

/// One Opus encoder.
pub struct Encoder {
    handle: NonNull<OpusEncoder>,
    config: EncoderConfig,
}

// SAFETY: the state behind the handle is one heap block without thread affinity or shared globals (libopus keeps
// none that are mutable), owned by this value alone; every call that touches it takes `&mut self`.
unsafe impl Send for Encoder {}

impl Encoder {
    /// Makes an encoder, or says which setting is wrong.
    pub fn new(config: &EncoderConfig) -> Result<Self, OpusError> {
        config.validate()?;
        let mut code: c_int = 0;
        // SAFETY: all arguments are plain values validated above; `code` outlives the call.
        let handle = unsafe {
            opusic_sys::opus_encoder_create(
                config.sample_rate as i32,
                config.channels.into(),
                config.application.code(),
                &mut code,
            )
        };
        let handle = NonNull::new(handle).ok_or(OpusError::Library {
            call: "opus_encoder_create",
            code,
        })?;
        let mut encoder = Self {
            handle,
            config: config.clone(),
        };
        check("opus_encoder_create", code)?;
        encoder.apply()?;
        Ok(encoder)
    }

    /// Goes on with other settings from the next packet on. Signal history stays, so the decoder hears no seam;
    /// sample rate, channels and intent are fixed for the encoder's life.
    pub fn configure(&mut self, config: &EncoderConfig) -> Result<(), OpusError> {
        config.validate()?;
        let fixed = |field, value: u64, expected| OpusError::Config {
            field,
            value,
            expected,
        };
        if config.sample_rate != self.config.sample_rate {
            return Err(fixed(
                "sample_rate",
                config.sample_rate.into(),
                "that of the encoder",
            ));
        }
        if config.channels != self.config.channels {
            return Err(fixed("channels", config.channels.into(), "those of the encoder"));
        }
        if config.application != self.config.application {
            let code = config.application.code().unsigned_abs();
            return Err(fixed("application", code.into(), "that of the encoder"));
        }
        self.config = config.clone();
        self.apply()
    }

    fn apply(&mut self) -> Result<(), OpusError> {
        let config = self.config.clone();
        self.set("vbr", opusic_sys::OPUS_SET_VBR_REQUEST, config.vbr.into())?;
        self.set("vbr_constraint", opusic_sys::OPUS_SET_VBR_CONSTRAINT_REQUEST, 1)?;
        self.set_bitrate(config.bitrate)?;
        self.set(
            "complexity",
            opusic_sys::OPUS_SET_COMPLEXITY_REQUEST,
            config.complexity.into(),
        )?;
        self.set(
            "signal",
            opusic_sys::OPUS_SET_SIGNAL_REQUEST,
            config.signal.code(),
        )?;
        self.set("dtx", opusic_sys::OPUS_SET_DTX_REQUEST, config.dtx.into())?;
        self.set(
            "inband_fec",
            opusic_sys::OPUS_SET_INBAND_FEC_REQUEST,
            config.inband_fec.into(),
        )?;
        self.set_expected_loss(config.expected_loss_percent)?;
        let bandwidth = config
            .bandwidth
            .map_or(opusic_sys::OPUS_AUTO, |bandwidth| bandwidth.code());
        self.set("bandwidth", opusic_sys::OPUS_SET_BANDWIDTH_REQUEST, bandwidth)
    }

    /// Encodes exactly one packet of interleaved samples in -1..1 and returns its length; 1 or 2 bytes mean
    /// silence under DTX that need not be sent.
    pub fn encode(&mut self, pcm: &[f32], out: &mut [u8]) -> Result<usize, OpusError> {
        let samples = self.config.packet_samples();
        let expected = samples * usize::from(self.config.channels);
        if pcm.len() != expected {
            return Err(OpusError::PcmLength {
                got: pcm.len(),
                expected,
            });
        }
        let room = i32::try_from(out.len()).unwrap_or(i32::MAX);
        // SAFETY: the handle is live and exclusively borrowed; `pcm` holds samples × channels floats as checked
        // above (at most 5760 × 2, so the cast is exact) and is only read; `out` is writable for `room` ≤ out.len() bytes.
        let len = unsafe {
            opusic_sys::opus_encode_float(
                self.handle.as_ptr(),
                pcm.as_ptr(),
                samples as c_int,
                out.as_mut_ptr(),
                room,
            )
        };
        check("opus_encode_float", len)
    }

    /// Changes the target rate from the next packet on.
    pub fn set_bitrate(&mut self, bitrate: u32) -> Result<(), OpusError> {
        check_bitrate(bitrate)?;
        self.set("bitrate", opusic_sys::OPUS_SET_BITRATE_REQUEST, bitrate as c_int)
    }

    /// Changes the loss that in-band redundancy prepares for, 0 to 100 %.
    pub fn set_expected_loss(&mut self, percent: u8) -> Result<(), OpusError> {
        check_loss(percent)?;
        self.set(
            "expected_loss_percent",
            opusic_sys::OPUS_SET_PACKET_LOSS_PERC_REQUEST,
            percent.into(),
        )
    }

    /// Carries up to so many 10 ms steps of earlier speech (DRED) in each packet, 0 to 104; 0 switches it off. Nothing
    /// is carried unless loss is expected and the rate leaves room.
    pub fn set_dred(&mut self, steps: u8) -> Result<(), OpusError> {
        if steps > 104 {
            return Err(OpusError::Config {
                field: "dred steps",
                value: steps.into(),
                expected: "0 to 104",
            });
        }
        self.set("dred", opusic_sys::OPUS_SET_DRED_DURATION_REQUEST, steps.into())
    }

    /// Samples per channel by which the output lags the input, as the encoder states it.
    pub fn lookahead(&mut self) -> Result<usize, OpusError> {
        let mut samples: i32 = 0;
        // SAFETY: the handle is live; OPUS_GET_LOOKAHEAD writes one opus_int32 through the pointer, which
        // outlives the call.
        let code = unsafe {
            opusic_sys::opus_encoder_ctl(
                self.handle.as_ptr(),
                opusic_sys::OPUS_GET_LOOKAHEAD_REQUEST,
                &mut samples as *mut i32,
            )
        };
        check("lookahead", code)?;
        check("lookahead", samples)
    }

    /// Forgets all signal history; settings stay.
    pub fn reset(&mut self) -> Result<(), OpusError> {
        // SAFETY: the handle is live and exclusively borrowed; OPUS_RESET_STATE takes no argument.
        let code =
            unsafe { opusic_sys::opus_encoder_ctl(self.handle.as_ptr(), opusic_sys::OPUS_RESET_STATE) };
        check("reset", code).map(drop)
    }

    fn set(&mut self, call: &'static str, request: c_int, value: c_int) -> Result<(), OpusError> {
        // SAFETY: the handle is live and exclusively borrowed; every request passed here is an OPUS_SET_* that
        // takes one opus_int32 (= c_int) by value.
        let code = unsafe { opusic_sys::opus_encoder_ctl(self.handle.as_ptr(), request, value) };
        check(call, code).map(drop)
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: the handle came from opus_encoder_create and is destroyed once, here.
        unsafe { opusic_sys::opus_encoder_destroy(self.handle.as_ptr()) }
    }
}
