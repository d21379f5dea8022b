//! Moments at which the machine itself stood still: a thread that wants to wake every few milliseconds notes when it
//! could not. A gap in the audio at such a moment is not the server's doing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often the thread wants to wake.
const EVERY: Duration = Duration::from_millis(5);

/// Oversleeping by more than this is a stall.
const STALL: Duration = Duration::from_millis(40);

/// Stalls kept; a machine with more is no place for measurements anyway.
const MAX_STALLS: usize = 10_000;

/// How long after a stall a gap may still come from it: buffers run dry with a delay.
const AFTERMATH: Duration = Duration::from_millis(600);

/// One stall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// When it began.
    pub from: Instant,
    /// How long it took.
    pub length: Duration,
}

/// Watches until it is dropped.
pub struct StallWatch {
    stalls: Arc<Mutex<Vec<Stall>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl StallWatch {
    /// Begins to watch.
    pub fn start() -> Self {
        let stalls = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (seen, ended) = (stalls.clone(), stop.clone());
        let thread = thread::spawn(move || {
            let mut last = Instant::now();
            while !ended.load(Ordering::Relaxed) {
                thread::sleep(EVERY);
                let now = Instant::now();
                let length = now - last;
                if length > EVERY + STALL
                    && let Ok(mut seen) = seen.lock()
                    && seen.len() < MAX_STALLS
                {
                    seen.push(Stall { from: last, length });
                }
                last = now;
            }
        });
        Self {
            stalls,
            stop,
            thread: Some(thread),
        }
    }

    /// What was seen so far.
    pub fn stalls(&self) -> Vec<Stall> {
        self.stalls
            .lock()
            .map(|stalls| stalls.clone())
            .unwrap_or_default()
    }
}

impl Drop for StallWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Whether a gap that began at that moment can come from one of the stalls.
pub fn explains(stalls: &[Stall], gap_from: Instant, gap: Duration) -> bool {
    stalls.iter().any(|stall| {
        let begins_before_gap_ends = stall.from <= gap_from + gap;
        begins_before_gap_ends && gap_from <= stall.from + stall.length + AFTERMATH
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_excused_by_a_stall_around_it_and_by_no_other() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let stalls = [Stall {
            from: at(5_000),
            length: Duration::from_millis(100),
        }];
        let gap = Duration::from_millis(80);
        assert!(explains(&stalls, at(5_050), gap));
        assert!(explains(&stalls, at(5_500), gap));
        assert!(explains(&stalls, at(4_950), gap));
        assert!(!explains(&stalls, at(4_000), gap));
        assert!(!explains(&stalls, at(6_000), gap));
        assert!(!explains(&[], at(5_050), gap));
    }
}
