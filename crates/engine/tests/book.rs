//! What a change of the policy book costs, by the number of users in it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::{Duration, Instant};

use auralink_engine::{BOOK_CAPACITY, PolicyBook};
use auralink_types::{AicConfig, UserKey};

thread_local! {
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting touches only a thread-local `Cell`, whose
// constant initialiser does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.with(|bytes| bytes.set(bytes.get() + layout.size()));
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

fn user(n: usize) -> UserKey {
    UserKey::new("one", format!("user-{n}"))
}

/// What was allocated meanwhile, and how long it took.
fn cost(work: impl FnOnce()) -> (usize, Duration) {
    let (before, start) = (BYTES.with(Cell::get), Instant::now());
    work();
    (BYTES.with(Cell::get) - before, start.elapsed())
}

#[test]
fn a_change_copies_a_hundredth_of_a_large_book_at_most() {
    let filled = |users| {
        let book = PolicyBook::new();
        let all = (0..users).map(|n| (user(n), AicConfig::default()));
        book.set_all(all).unwrap();
        book
    };
    let one = |book: &PolicyBook| cost(|| book.set(user(7), AicConfig::default()).unwrap()).0;
    let (whole, _) = cost(|| drop(filled(100_000)));
    let (empty, large) = (one(&filled(0)), one(&filled(100_000)));
    assert!(large < whole / 100, "{large} of {whole} bytes");
    assert!(empty < large, "the counter counts");
}

#[test]
#[ignore = "a measurement, printed"]
fn what_a_change_costs_in_a_full_book() {
    let book = PolicyBook::new();
    let (bytes, time) = cost(|| {
        let all = (0..BOOK_CAPACITY).map(|n| (user(n), AicConfig::default()));
        book.set_all(all).unwrap();
    });
    println!("filling: {} MB allocated in {time:.1?}", bytes >> 20);
    let mut sets: Vec<_> = (0..101)
        .map(|n| {
            let (key, config) = (user(n * 7_919), AicConfig::default());
            cost(|| book.set(key, config).unwrap())
        })
        .collect();
    sets.sort_by_key(|(_, time)| *time);
    println!(
        "one set: {} KB, median {:.1?}, longest {:.1?}",
        sets[50].0 >> 10,
        sets[50].1,
        sets[100].1
    );
    let users: Vec<_> = (0..100_000).map(|n| user(n * 9)).collect();
    let round = || {
        cost(|| {
            for user in &users {
                std::hint::black_box(book.get(user));
            }
        })
    };
    let best = (0..5).map(|_| round().1).min().unwrap_or_default();
    println!("one get: {:.0?}", best / 100_000);
}
