//! Workers' reports on their way to the sessions.
//!
//! A worker that woke every session by itself would pay a change of threads for each frame. It lays the reports down
//! here and rings once for all of its round; a task of the server's own carries them to the sessions.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use auralink_engine::StreamId;
use tokio::sync::{Notify, mpsc};

use super::relay::REPORTS;
use crate::listener::{Listener, Report};

type Address = mpsc::Sender<(StreamId, Report)>;

/// The server's post office.
pub(super) struct Post {
    letters: Mutex<Vec<(Address, StreamId, Report)>>,
    /// The bell was rung and nobody has come yet.
    rung: AtomicBool,
    bell: Arc<Notify>,
}

impl Post {
    /// Starts the task that carries; it ends with the post office. Needs a runtime.
    pub(super) fn start() -> Arc<Self> {
        let post = Arc::new(Self {
            letters: Mutex::default(),
            rung: AtomicBool::new(false),
            bell: Arc::default(),
        });
        tokio::spawn(carry(Arc::downgrade(&post), post.bell.clone()));
        post
    }

    /// A listener for worker reports, and where they arrive.
    pub(super) fn reports(self: &Arc<Self>) -> (Arc<dyn Listener>, mpsc::Receiver<(StreamId, Report)>) {
        let (to, arriving) = mpsc::channel(REPORTS);
        let sender = Sender {
            post: self.clone(),
            to,
        };
        (Arc::new(sender), arriving)
    }

    fn take(&self) -> Vec<(Address, StreamId, Report)> {
        // Nothing panics while the lock is held.
        std::mem::take(&mut *self.letters.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        self.bell.notify_one();
    }
}

async fn carry(post: Weak<Post>, bell: Arc<Notify>) {
    loop {
        bell.notified().await;
        let Some(post) = post.upgrade() else {
            return;
        };
        post.rung.store(false, Ordering::Release);
        for (to, stream, report) in post.take() {
            // A session takes no more frames than reports fit; one that is gone needs none.
            let _ = to.try_send((stream, report));
        }
    }
}

struct Sender {
    post: Arc<Post>,
    to: Address,
}

impl Listener for Sender {
    fn report(&self, stream: StreamId, report: Report) {
        let letter = (self.to.clone(), stream, report);
        let letters = self.post.letters.lock();
        letters.unwrap_or_else(PoisonError::into_inner).push(letter);
    }

    fn wake(&self) {
        if !self.post.rung.swap(true, Ordering::AcqRel) {
            self.post.bell.notify_one();
        }
    }
}
