//! What a client sends and nobody reads: a request may be refused before its body was looked at. What is left of it must
//! not be taken for the next request, and an answer must not be lost because the connection is reset on unread bytes.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// Bytes of a body read for nobody, so that the connection can be used again: as much as a request to REST may have.
const DRAIN_MAX: usize = 64 << 10;
/// Time for them: what was sent with the head is here by then.
const DRAIN_WITHIN: Duration = Duration::from_millis(100);
/// Time that a client gets to read an answer while it still sends.
const LINGER: Duration = Duration::from_secs(5);

/// What is left of one request's body once nobody holds it any more.
#[derive(Clone, Default)]
pub struct Unread(Arc<Mutex<Option<Left>>>);

struct Left {
    body: Incoming,
    /// Somebody has begun to read.
    begun: bool,
}

impl Unread {
    /// The body, which leaves its rest here when it is dropped.
    pub fn watch(&self, body: Incoming) -> Watched {
        Watched {
            left: Some(Left { body, begun: false }),
            unread: self.clone(),
        }
    }

    /// Reads the rest away, if that is soon done. `false` when the connection is of no use any more. `waits`: the client
    /// sends its body only when it is told to go on, and to read would be to tell it.
    pub async fn drain(&self, waits: bool) -> bool {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        match left {
            None => true,
            Some(left) if waits && !left.begun => false,
            Some(mut left) => matches!(
                tokio::time::timeout(DRAIN_WITHIN, read_away(&mut left.body)).await,
                Ok(true)
            ),
        }
    }
}

/// Whether the body ended, in time and in bounds.
async fn read_away(body: &mut Incoming) -> bool {
    let mut room = DRAIN_MAX;
    loop {
        match std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
            None => return true,
            Some(Err(_)) => return false,
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                match room.checked_sub(length) {
                    Some(less) => room = less,
                    None => return false,
                }
            }
        }
    }
}

/// A request's body as its reader has it.
pub struct Watched {
    left: Option<Left>,
    unread: Unread,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(left) = &mut self.left else {
            return Poll::Ready(None);
        };
        left.begun = true;
        Pin::new(&mut left.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.left.as_ref().is_none_or(|left| left.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.left
            .as_ref()
            .map_or_else(SizeHint::default, |left| left.body.size_hint())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(left) = self.left.take().filter(|left| !left.body.is_end_stream()) {
            *self.unread.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(left);
        }
    }
}

/// A connection that, once told so, is closed for writing first and read away for a while: closed at once with bytes
/// unread it would be reset, and the answer lost with it.
pub struct Lingering<S> {
    stream: S,
    lingers: Arc<AtomicBool>,
    over: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + Unpin> Lingering<S> {
    /// The connection, and the switch that makes it linger.
    pub fn new(stream: S) -> (Self, Arc<AtomicBool>) {
        let lingers = Arc::new(AtomicBool::new(false));
        let lingering = Self {
            stream,
            lingers: Arc::clone(&lingers),
            over: None,
        };
        (lingering, lingers)
    }

    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let over = self
            .over
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        if over.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut scratch = [0; 8 << 10];
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(());
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.over.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        }
        if self.lingers.load(Ordering::Relaxed) {
            ready!(self.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}
