//! Drives one session: messages in, reports of the worker in, time; messages out. The session itself is sans-IO.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use auralink_engine::StreamId;
use tokio::sync::mpsc;
use tokio::time::Sleep;
use tokio_stream::Stream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{Status, Streaming};

use super::status;
use crate::admission::Ticket;
use crate::listener::Report;

/// Reports that may wait for their session: more than frames may.
pub(super) const REPORTS: usize = 2 * WAITING_MAX;
/// Frames of one session that may wait for their answer; past it nothing more is read from the caller.
pub(super) const WAITING_MAX: usize = 64;

/// A session's logic.
pub(super) trait Session: Send + Unpin + 'static {
    type In: Send + 'static;
    type Out: Send + 'static;

    fn handle_message(&mut self, now: Instant, message: Self::In) -> Result<(), Status>;
    fn handle_report(&mut self, now: Instant, stream: StreamId, report: Report) -> Result<(), Status>;
    fn handle_timeout(&mut self, now: Instant);
    fn poll_timeout(&self) -> Option<Instant>;
    fn poll_output(&mut self) -> Option<Self::Out>;
    /// Frames that wait for their answer.
    fn waiting(&self) -> usize;
}

/// The response stream of a session.
pub(super) struct Relay<S: Session> {
    session: S,
    inbound: Option<Streaming<S::In>>,
    reports: mpsc::Receiver<(StreamId, Report)>,
    first: VecDeque<S::Out>,
    timer: Pin<Box<Sleep>>,
    timer_at: Option<Instant>,
    deadline: Option<Pin<Box<Sleep>>>,
    over: Pin<Box<WaitForCancellationFutureOwned>>,
    /// How the stream ends once everything is out.
    end: Option<Result<(), Status>>,
    _ticket: Ticket,
}

/// What a session lives by.
pub(super) struct Life {
    pub(super) ticket: Ticket,
    /// The caller's deadline for the whole call.
    pub(super) timeout: Option<Duration>,
    /// Cancelled when the server's grace is over.
    pub(super) over: CancellationToken,
}

impl<S: Session> Relay<S> {
    pub(super) fn new(
        session: S,
        inbound: Streaming<S::In>,
        reports: mpsc::Receiver<(StreamId, Report)>,
        first: S::Out,
        life: Life,
    ) -> Self {
        Self {
            session,
            inbound: Some(inbound),
            reports,
            first: VecDeque::from([first]),
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            timer_at: None,
            deadline: life.timeout.map(|timeout| Box::pin(tokio::time::sleep(timeout))),
            over: Box::pin(life.over.cancelled_owned()),
            end: None,
            _ticket: life.ticket,
        }
    }

    /// Takes in one thing that has happened, if anything has.
    fn take(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(Status::deadline_exceeded("the caller's deadline has passed")));
        }
        if self.over.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(Status::unavailable(
                "the core has left; open the session elsewhere",
            )));
        }
        if let Poll::Ready(Some((stream, report))) = self.reports.poll_recv(cx) {
            return Poll::Ready(self.session.handle_report(Instant::now(), stream, report));
        }
        if self.session.waiting() < WAITING_MAX
            && let Some(inbound) = &mut self.inbound
        {
            match Pin::new(inbound).poll_next(cx) {
                Poll::Ready(Some(Ok(message))) => {
                    return Poll::Ready(self.session.handle_message(Instant::now(), message));
                }
                Poll::Ready(Some(Err(failed))) => return Poll::Ready(Err(status::unreadable(failed))),
                Poll::Ready(None) => self.inbound = None,
                Poll::Pending => {}
            }
        }
        if self.inbound.is_none() && self.session.waiting() == 0 {
            self.end = Some(Ok(()));
            return Poll::Ready(Ok(()));
        }
        self.wait(cx)
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        let Some(at) = self.session.poll_timeout() else {
            return Poll::Pending;
        };
        if self.timer_at != Some(at) {
            self.timer_at = Some(at);
            self.timer.as_mut().reset(at.into());
        }
        ready!(self.timer.as_mut().poll(cx));
        self.timer_at = None;
        self.session.handle_timeout(Instant::now());
        Poll::Ready(Ok(()))
    }
}

impl<S: Session> Stream for Relay<S>
where
    S::Out: Unpin,
{
    type Item = Result<S::Out, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            let output = this.first.pop_front().or_else(|| this.session.poll_output());
            if let Some(output) = output {
                return Poll::Ready(Some(Ok(output)));
            }
            match this.end.take() {
                Some(Ok(())) => {
                    this.end = Some(Ok(()));
                    return Poll::Ready(None);
                }
                Some(Err(status)) => {
                    this.end = Some(Ok(()));
                    return Poll::Ready(Some(Err(status)));
                }
                None => {}
            }
            // What is answered already goes out before the stream ends.
            if let Err(status) = ready!(this.take(cx)) {
                this.inbound = None;
                this.end = Some(Err(status));
            }
        }
    }
}
