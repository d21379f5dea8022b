//! A participant's WebSocket, kept by a task of its own: the thread of the crowd waits for nobody.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use auralink_client::JoinError;
use auralink_client::signal::{Announcement, Signal};
use livekit_protocol as proto;
use proto::signal_request::Message as Request;
use proto::signal_response::Message as Response;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// Messages that wait, either way; a server that says more has to wait, and a participant who says more has failed.
const WAITING: usize = 256;

/// How often the server is told that somebody is there.
const PING: Duration = Duration::from_secs(5);

/// What came of the WebSocket.
pub enum Said {
    /// The server said something.
    Message(Box<Response>),
    /// It hung up.
    Closed,
    /// Nothing can be said any more.
    Failed(JoinError),
}

/// Both ends of the task.
pub struct Signalling {
    inbox: mpsc::Receiver<Said>,
    outbox: mpsc::Sender<Request>,
}

impl Signalling {
    /// Opens it.
    pub fn open(
        runtime: &Handle,
        url: String,
        authorities: Option<PathBuf>,
        token: String,
        announcement: Announcement,
    ) -> Self {
        let (told, inbox) = mpsc::channel(WAITING);
        let (outbox, asked) = mpsc::channel(WAITING);
        runtime.spawn(async move {
            let said = match Signal::open(&url, authorities.as_deref(), &token, announcement).await {
                Ok(signal) => converse(signal, &told, asked).await,
                Err(error) => Some(Said::Failed(error)),
            };
            if let Some(said) = said {
                // The participant may have gone.
                let _ = told.send(said).await;
            }
        });
        Self { inbox, outbox }
    }

    /// What the server said, if anything.
    pub fn poll(&mut self) -> Option<Said> {
        self.inbox.try_recv().ok()
    }

    /// Says something.
    pub fn say(&self, request: Request) -> Result<(), JoinError> {
        let failed = |_| JoinError::Signal("the server takes no more messages".to_owned());
        self.outbox.try_send(request).map_err(failed)
    }
}

/// Until either side has had enough; what there is to tell of it.
async fn converse(
    mut signal: Signal,
    told: &mpsc::Sender<Said>,
    mut asked: mpsc::Receiver<Request>,
) -> Option<Said> {
    let mut ping = tokio::time::interval(PING);
    loop {
        let (request, last) = tokio::select! {
            message = signal.next() => match message {
                Ok(Some(message)) => {
                    told.send(Said::Message(Box::new(message))).await.ok()?;
                    continue;
                }
                Ok(None) => return Some(Said::Closed),
                Err(error) => return Some(Said::Failed(error)),
            },
            request = asked.recv() => {
                let request = request?;
                let last = matches!(request, Request::Leave(_));
                (request, last)
            }
            _ = ping.tick() => {
                let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                let timestamp = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
                (Request::PingReq(proto::Ping { timestamp, rtt: 0 }), false)
            }
        };
        if let Err(error) = signal.send(request).await {
            return Some(Said::Failed(error));
        }
        if last {
            signal.close().await;
            return None;
        }
    }
}
