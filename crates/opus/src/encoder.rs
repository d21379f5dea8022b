use std::ffi::c_int;
use std::ptr::NonNull;

use opusic_sys::OpusEncoder;

use crate::config::{EncoderConfig, check_bitrate, check_loss};
use crate::error::{OpusError, check};

/// One Opus encoder.
pub struct Encoder {
    handle: NonNull<OpusEncoder>,
    /// Samples of one packet, all channels together.
    packet_pcm: usize,
    packet_samples: c_int,
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
        let samples = config.packet_samples();
        let mut encoder = Self {
            handle,
            packet_pcm: samples * usize::from(config.channels),
            packet_samples: samples as c_int,
        };
        check("opus_encoder_create", code)?;
        encoder.set("vbr", opusic_sys::OPUS_SET_VBR_REQUEST, config.vbr.into())?;
        encoder.set("vbr_constraint", opusic_sys::OPUS_SET_VBR_CONSTRAINT_REQUEST, 1)?;
        encoder.set(
            "bitrate",
            opusic_sys::OPUS_SET_BITRATE_REQUEST,
            config.bitrate as c_int,
        )?;
        encoder.set(
            "complexity",
            opusic_sys::OPUS_SET_COMPLEXITY_REQUEST,
            config.complexity.into(),
        )?;
        encoder.set(
            "signal",
            opusic_sys::OPUS_SET_SIGNAL_REQUEST,
            config.signal.code(),
        )?;
        encoder.set("dtx", opusic_sys::OPUS_SET_DTX_REQUEST, config.dtx.into())?;
        encoder.set(
            "inband_fec",
            opusic_sys::OPUS_SET_INBAND_FEC_REQUEST,
            config.inband_fec.into(),
        )?;
        encoder.set_expected_loss(config.expected_loss_percent)?;
        let bandwidth = config
            .bandwidth
            .map_or(opusic_sys::OPUS_AUTO, |bandwidth| bandwidth.code());
        encoder.set("bandwidth", opusic_sys::OPUS_SET_BANDWIDTH_REQUEST, bandwidth)?;
        Ok(encoder)
    }

    /// Encodes exactly one packet of interleaved samples in -1..1 and returns its length; 1 or 2 bytes mean
    /// silence under DTX that need not be sent.
    pub fn encode(&mut self, pcm: &[f32], out: &mut [u8]) -> Result<usize, OpusError> {
        if pcm.len() != self.packet_pcm {
            return Err(OpusError::PcmLength {
                got: pcm.len(),
                expected: self.packet_pcm,
            });
        }
        let room = i32::try_from(out.len()).unwrap_or(i32::MAX);
        // SAFETY: the handle is live and exclusively borrowed; `pcm` holds packet_samples × channels floats as
        // checked above and is only read; `out` is writable for `room` ≤ out.len() bytes.
        let len = unsafe {
            opusic_sys::opus_encode_float(
                self.handle.as_ptr(),
                pcm.as_ptr(),
                self.packet_samples,
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
