//! The speech codec behind a plain C interface for WebAssembly: numbers in and out, sound and codes through one
//! buffer per stream. `sdk/codec.js` wraps it in classes.
//!
//! Must never know packets or sockets. Plain functions instead of generated bindings keep the module small and the
//! glue readable; every handle is an index into a table, so that a wrong one is an answer and not a crash.
#![deny(unsafe_code)]

use std::cell::RefCell;

use auralink_codec::{Beam, Decoder, Encoder, FRAME_SAMPLES, Frame, LEVELS_MAX, Model, NOISE_CODES};

/// Most streams of a kind at once; a page with more than that has lost count.
const STREAMS_MAX: usize = 64;

/// Answers of functions that can fail.
const BAD_HANDLE: i32 = -1;
const BAD_CODES: i32 = -2;
const NO_MODEL: i32 = -3;
const TOO_MANY: i32 = -4;

enum Stream {
    Encoder(Box<Encoder>),
    Decoder(Box<Decoder>),
}

struct Slot {
    stream: Stream,
    pcm: [f32; FRAME_SAMPLES],
    codes: [u16; LEVELS_MAX],
}

thread_local! {
    static SLOTS: RefCell<Vec<Option<Box<Slot>>>> = const { RefCell::new(Vec::new()) };
}

fn open(stream: impl FnOnce(std::sync::Arc<Model>) -> Stream) -> i32 {
    let Ok(model) = Model::builtin() else {
        return NO_MODEL;
    };
    let slot = Box::new(Slot {
        stream: stream(model),
        pcm: [0.0; FRAME_SAMPLES],
        codes: [0; LEVELS_MAX],
    });
    SLOTS.with_borrow_mut(|slots| {
        let free = slots.iter().position(Option::is_none).unwrap_or(slots.len());
        if free >= STREAMS_MAX {
            return TOO_MANY;
        }
        if free == slots.len() {
            slots.push(None);
        }
        slots[free] = Some(slot);
        free as i32
    })
}

fn with(handle: i32, act: impl FnOnce(&mut Slot) -> i32) -> i32 {
    SLOTS.with_borrow_mut(|slots| {
        let slot = usize::try_from(handle).ok().and_then(|at| slots.get_mut(at));
        slot.and_then(Option::as_mut).map_or(BAD_HANDLE, |slot| act(slot))
    })
}

/// Id of the built-in model on the wire, or a negative number when it does not load.
#[allow(unsafe_code)] // SAFETY: the name is this crate's own and nothing else defines it; so below.
#[unsafe(no_mangle)]
pub extern "C" fn aic_model_id() -> i32 {
    Model::builtin().map_or(NO_MODEL, |model| i32::from(model.id().0))
}

/// A fresh encoder that keeps so many candidates, and looks for pauses when `dtx` is not 0; its handle.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
pub extern "C" fn aic_encoder_new(beam: u32, dtx: u32) -> i32 {
    open(|model| {
        let mut encoder = Encoder::new(model);
        encoder.set_beam(Beam::new(beam as usize));
        encoder.set_dtx(dtx != 0);
        Stream::Encoder(Box::new(encoder))
    })
}

/// A fresh decoder; its handle.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
pub extern "C" fn aic_decoder_new() -> i32 {
    open(|model| Stream::Decoder(Box::new(Decoder::new(model))))
}

/// Gives a stream back.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
pub extern "C" fn aic_free(handle: i32) {
    SLOTS.with_borrow_mut(|slots| {
        if let Some(slot) = usize::try_from(handle).ok().and_then(|at| slots.get_mut(at)) {
            *slot = None;
        }
    });
}

/// Address of the stream's 320 samples (f32); 0 for a wrong handle. Stays until the stream is given back.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
pub extern "C" fn aic_pcm(handle: i32) -> i32 {
    with(handle, |slot| slot.pcm.as_mut_ptr() as usize as i32).max(0)
}

/// Address of the stream's 18 codes (u16); 0 for a wrong handle.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
pub extern "C" fn aic_codes(handle: i32) -> i32 {
    with(handle, |slot| slot.codes.as_mut_ptr() as usize as i32).max(0)
}

/// Codes the samples into so many codes. 0: speech; 1: a pause, four codes of noise are there instead; 2: a pause,
/// nothing need be sent.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
pub extern "C" fn aic_encode(handle: i32, levels: u32) -> i32 {
    with(handle, |slot| {
        let Stream::Encoder(encoder) = &mut slot.stream else {
            return BAD_HANDLE;
        };
        if !(1..=LEVELS_MAX).contains(&(levels as usize)) {
            return BAD_CODES;
        }
        match encoder.encode(&slot.pcm, &mut slot.codes[..levels as usize]) {
            Frame::Speech => 0,
            Frame::Noise(codes) => {
                slot.codes[..NOISE_CODES].copy_from_slice(&codes);
                1
            }
            Frame::Pause => 2,
        }
    })
}

/// Decodes so many codes into the samples; `noise` not 0: they describe noise.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
pub extern "C" fn aic_decode(handle: i32, levels: u32, noise: u32) -> i32 {
    with(handle, |slot| {
        let Stream::Decoder(decoder) = &mut slot.stream else {
            return BAD_HANDLE;
        };
        let Some(codes) = slot.codes.get(..levels as usize) else {
            return BAD_CODES;
        };
        let done = if noise == 0 {
            decoder.decode(codes, &mut slot.pcm)
        } else {
            decoder.decode_noise(codes, &mut slot.pcm)
        };
        done.map_or(BAD_CODES, |()| 0)
    })
}

/// Stands in for a frame that did not come.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
pub extern "C" fn aic_conceal(handle: i32) -> i32 {
    with(handle, |slot| match &mut slot.stream {
        Stream::Decoder(decoder) => {
            decoder.conceal(&mut slot.pcm);
            0
        }
        Stream::Encoder(_) => BAD_HANDLE,
    })
}

/// Forgets a stream's past.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
pub extern "C" fn aic_reset(handle: i32) -> i32 {
    with(handle, |slot| {
        match &mut slot.stream {
            Stream::Encoder(encoder) => encoder.reset(),
            Stream::Decoder(decoder) => decoder.reset(),
        }
        0
    })
}
