//! The media path's promise: no allocation once a stream has been made.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use auralink_codec::{
    Batch, DecodeJob, Decoder, EncodeJob, Encoder, FRAME_SAMPLES, LEVELS_MAX, Model, NOISE_CODES, Received,
};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting touches only a thread-local `Cell`, whose
// constant initialiser does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|n| n.set(n.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_running_stream_never_allocates() -> Result<(), Box<dyn std::error::Error>> {
    let model = Model::builtin()?;
    let (mut encoder, mut decoder) = (Encoder::new(model.clone()), Decoder::new(model));
    let (mut codes, mut pcm) = ([0u16; LEVELS_MAX], [0.1f32; FRAME_SAMPLES]);
    encoder.set_dtx(true);
    encoder.encode(&pcm, &mut codes);
    decoder.decode(&codes, &mut pcm)?;
    let before = ALLOCATIONS.with(Cell::get);
    assert!(before > 0, "the counter counts");
    for _ in 0..20 {
        encoder.encode(&pcm, &mut codes);
        decoder.decode(&codes, &mut pcm)?;
        decoder.decode_noise(&[500; NOISE_CODES], &mut pcm)?;
        decoder.conceal(&mut pcm);
    }
    encoder.reset();
    decoder.reset();
    assert_eq!(ALLOCATIONS.with(Cell::get), before);
    Ok(())
}

#[test]
fn a_batch_never_allocates() -> Result<(), Box<dyn std::error::Error>> {
    let model = Model::builtin()?;
    let mut batch = Batch::new(model.clone());
    let [mut a, mut b] = std::array::from_fn(|_| Encoder::new(model.clone()));
    let [mut c, mut d] = std::array::from_fn(|_| Decoder::new(model.clone()));
    let (mut codes, mut pcm) = ([[0u16; LEVELS_MAX]; 2], [[0.1f32; FRAME_SAMPLES]; 2]);
    let before = ALLOCATIONS.with(Cell::get);
    for _ in 0..5 {
        let [first, second] = &mut codes;
        batch.encode(&mut [
            EncodeJob {
                encoder: &mut a,
                pcm: &pcm[0],
                codes: first,
            },
            EncodeJob {
                encoder: &mut b,
                pcm: &pcm[1],
                codes: second,
            },
        ]);
        let [left, right] = &mut pcm;
        batch
            .decode(&mut [
                DecodeJob {
                    decoder: &mut c,
                    received: Received::Codes(&codes[0]),
                    pcm: left,
                },
                DecodeJob {
                    decoder: &mut d,
                    received: Received::Nothing,
                    pcm: right,
                },
            ])
            .map_err(|(_, error)| error)?;
    }
    assert_eq!(ALLOCATIONS.with(Cell::get), before);
    Ok(())
}
