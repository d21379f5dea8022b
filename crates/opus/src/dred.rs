use std::ptr::NonNull;

use opusic_sys::{OpusDRED, OpusDREDDecoder};

use crate::error::{OpusError, check};
use crate::packet::packet_samples;

/// Reads deep redundancy (DRED): a low-rate copy of up to a second of earlier speech inside a packet.
///
/// [`read`](Self::read) a packet that follows a gap, then let
/// [`Decoder::decode_dred`](crate::Decoder::decode_dred) make the lost sound from it.
pub struct Dred {
    parser: NonNull<OpusDREDDecoder>,
    pub(crate) state: NonNull<OpusDRED>,
    /// Whether the state holds anything: libopus leaves it uninitialised before the first packet.
    pub(crate) filled: bool,
}

// SAFETY: two heap blocks owned by this value alone, without thread affinity; what writes them takes `&mut self`.
unsafe impl Send for Dred {}

impl Dred {
    /// Room for one packet's redundancy.
    pub fn new() -> Result<Self, OpusError> {
        let mut code = 0;
        // SAFETY: `code` outlives the call.
        let parser = unsafe { opusic_sys::opus_dred_decoder_create(&mut code) };
        let call = "opus_dred_decoder_create";
        let parser = NonNull::new(parser).ok_or(OpusError::Library { call, code })?;
        // SAFETY: `code` outlives the call.
        let state = unsafe { opusic_sys::opus_dred_alloc(&mut code) };
        let call = "opus_dred_alloc";
        let Some(state) = NonNull::new(state) else {
            // SAFETY: made above, used nowhere else.
            unsafe { opusic_sys::opus_dred_decoder_destroy(parser.as_ptr()) };
            return Err(OpusError::Library { call, code });
        };
        Ok(Self {
            parser,
            state,
            filled: false,
        })
    }

    /// Reads what a packet carries of at most `samples` (at `sample_rate`) before it; returns for how many samples
    /// before the packet there is something, 0 when it carries none.
    pub fn read(&mut self, packet: &[u8], samples: usize, sample_rate: u32) -> Result<usize, OpusError> {
        packet_samples(packet, sample_rate)?;
        let len = i32::try_from(packet.len()).map_err(|_| OpusError::InvalidPacket {
            len: packet.len(),
            why: "longer than 2 GiB",
        })?;
        let wanted = samples.min(sample_rate as usize) as i32;
        let mut end = 0;
        // SAFETY: both handles are live and exclusively borrowed; `packet` is readable for `len` bytes; `end`
        // outlives the call.
        let code = unsafe {
            opusic_sys::opus_dred_parse(
                self.parser.as_ptr(),
                self.state.as_ptr(),
                packet.as_ptr(),
                len,
                wanted,
                sample_rate as i32,
                &mut end,
                0,
            )
        };
        let covered = check("opus_dred_parse", code);
        self.filled = covered.as_ref().is_ok_and(|&samples| samples > 0);
        covered
    }
}

impl Drop for Dred {
    fn drop(&mut self) {
        // SAFETY: both came from their create functions and are destroyed once, here.
        unsafe {
            opusic_sys::opus_dred_free(self.state.as_ptr());
            opusic_sys::opus_dred_decoder_destroy(self.parser.as_ptr());
        }
    }
}
