use std::ffi::c_int;
use std::ptr::NonNull;

use opusic_sys::OpusDecoder;

use crate::config::check_rate_and_channels;
use crate::dred::Dred;
use crate::error::{OpusError, check};
use crate::packet::{MAX_PACKET_MS, packet_samples};

/// One Opus decoder. Samples may exceed ±1 slightly, as Opus leaves clipping to its user.
pub struct Decoder {
    handle: NonNull<OpusDecoder>,
    sample_rate: u32,
    channels: usize,
}

// SAFETY: as for the encoder: one heap block owned by this value alone, no thread affinity, and every call that
// touches it takes `&mut self`.
unsafe impl Send for Decoder {}

impl Decoder {
    /// Makes a decoder. Complexity 0 to 10: deep concealment from 5, LACE at 6, NoLACE from 7.
    pub fn new(sample_rate: u32, channels: u8, complexity: u8) -> Result<Self, OpusError> {
        check_rate_and_channels(sample_rate, channels)?;
        if complexity > 10 {
            return Err(OpusError::Config {
                field: "complexity",
                value: complexity.into(),
                expected: "0 to 10",
            });
        }
        let mut code: c_int = 0;
        // SAFETY: plain validated values; `code` outlives the call.
        let handle =
            unsafe { opusic_sys::opus_decoder_create(sample_rate as i32, channels.into(), &mut code) };
        let handle = NonNull::new(handle).ok_or(OpusError::Library {
            call: "opus_decoder_create",
            code,
        })?;
        let decoder = Self {
            handle,
            sample_rate,
            channels: channels.into(),
        };
        check("opus_decoder_create", code)?;
        // SAFETY: the handle is live; the request takes one opus_int32 by value.
        let code = unsafe {
            opusic_sys::opus_decoder_ctl(
                decoder.handle.as_ptr(),
                opusic_sys::OPUS_SET_COMPLEXITY_REQUEST,
                c_int::from(complexity),
            )
        };
        check("complexity", code)?;
        Ok(decoder)
    }

    /// Decodes one packet into interleaved samples and returns the samples per channel.
    pub fn decode(&mut self, packet: &[u8], pcm: &mut [f32]) -> Result<usize, OpusError> {
        let samples = packet_samples(packet, self.sample_rate)?;
        self.run("opus_decode_float", Some(packet), samples, pcm, false)
    }

    /// Recovers the last `samples_per_channel` before `packet` from its low-rate copy (LBRR), or conceals them
    /// where it has none. `packet` itself must still be decoded afterwards.
    pub fn decode_fec(
        &mut self,
        packet: &[u8],
        samples_per_channel: usize,
        pcm: &mut [f32],
    ) -> Result<usize, OpusError> {
        packet_samples(packet, self.sample_rate)?;
        self.check_gap(samples_per_channel)?;
        self.run(
            "opus_decode_float (fec)",
            Some(packet),
            samples_per_channel,
            pcm,
            true,
        )
    }

    /// Makes `samples_per_channel` of lost sound that began `before` samples ahead of the packet whose redundancy was
    /// read. Conceals it where that packet carried none.
    pub fn decode_dred(
        &mut self,
        dred: &Dred,
        before: usize,
        samples_per_channel: usize,
        pcm: &mut [f32],
    ) -> Result<usize, OpusError> {
        if !dred.filled {
            return self.conceal(samples_per_channel, pcm);
        }
        self.check_gap(samples_per_channel)?;
        let needed = samples_per_channel * self.channels;
        if pcm.len() < needed {
            return Err(OpusError::OutputTooSmall {
                got: pcm.len(),
                needed,
            });
        }
        let before = before.min(self.sample_rate as usize) as i32;
        // SAFETY: both handles are live, the decoder exclusively borrowed; the redundancy is only read; `pcm` is
        // writable for samples × channels floats as checked above, and libopus writes at most that.
        let got = unsafe {
            opusic_sys::opus_decoder_dred_decode_float(
                self.handle.as_ptr(),
                dred.state.as_ptr(),
                before,
                pcm.as_mut_ptr(),
                samples_per_channel as c_int,
            )
        };
        check("opus_decoder_dred_decode_float", got)
    }

    /// Makes up for a lost packet of that length.
    pub fn conceal(&mut self, samples_per_channel: usize, pcm: &mut [f32]) -> Result<usize, OpusError> {
        self.check_gap(samples_per_channel)?;
        self.run("opus_decode_float (loss)", None, samples_per_channel, pcm, false)
    }

    /// Forgets all signal history; settings stay.
    pub fn reset(&mut self) -> Result<(), OpusError> {
        // SAFETY: the handle is live and exclusively borrowed; OPUS_RESET_STATE takes no argument.
        let code =
            unsafe { opusic_sys::opus_decoder_ctl(self.handle.as_ptr(), opusic_sys::OPUS_RESET_STATE) };
        check("reset", code).map(drop)
    }

    fn check_gap(&self, samples: usize) -> Result<(), OpusError> {
        let step = self.sample_rate as usize / 400;
        let most = self.sample_rate as usize / 1000 * MAX_PACKET_MS as usize;
        if samples == 0 || !samples.is_multiple_of(step) || samples > most {
            return Err(OpusError::ConcealLength {
                samples,
                sample_rate: self.sample_rate,
            });
        }
        Ok(())
    }

    fn run(
        &mut self,
        call: &'static str,
        packet: Option<&[u8]>,
        samples: usize,
        pcm: &mut [f32],
        fec: bool,
    ) -> Result<usize, OpusError> {
        let needed = samples * self.channels;
        if pcm.len() < needed {
            return Err(OpusError::OutputTooSmall {
                got: pcm.len(),
                needed,
            });
        }
        let (data, len) = match packet {
            Some(packet) => match i32::try_from(packet.len()) {
                Ok(len) => (packet.as_ptr(), len),
                Err(_) => {
                    return Err(OpusError::InvalidPacket {
                        len: packet.len(),
                        why: "longer than 2 GiB",
                    });
                }
            },
            None => (std::ptr::null(), 0),
        };
        // SAFETY: the handle is live and exclusively borrowed; `data` is null (loss) or readable for `len`
        // bytes; `pcm` is writable for samples × channels floats as checked above, and libopus writes at most
        // frame_size × channels; samples ≤ 5760 by packet_samples and check_gap, so the cast is exact.
        let got = unsafe {
            opusic_sys::opus_decode_float(
                self.handle.as_ptr(),
                data,
                len,
                pcm.as_mut_ptr(),
                samples as c_int,
                fec.into(),
            )
        };
        check(call, got)
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: the handle came from opus_decoder_create and is destroyed once, here.
        unsafe { opusic_sys::opus_decoder_destroy(self.handle.as_ptr()) }
    }
}
