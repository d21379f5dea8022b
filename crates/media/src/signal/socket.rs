//! One signalling socket: frames in, commands out; messages in, frames out.

use std::time::{Duration, SystemTime};

use axum::extract::ws::{Message as Frame, WebSocket};
use futures_util::{SinkExt as _, StreamExt as _};
use livekit_protocol as proto;
use prost::Message as _;
use proto::signal_response::Message;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at, timeout};

use super::admit::Admitted;
use super::{REFRESH_TTL, Signalling, now_ms};
use crate::command::{Command, Join, Topology};
use crate::participant::SocketId;

/// Messages that may wait for a client; one that lets more pile up is cut off.
const QUEUE: usize = 512;

/// How often the socket is pinged, so that proxies keep it open.
const PING_EVERY: Duration = Duration::from_secs(10);

/// How long one frame may take to leave.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// A socket from which nothing has come for so long is dead; clients ping every 5 s.
const SILENCE: Duration = Duration::from_secs(45);

/// How often a fresh token goes out.
const REFRESH_EVERY: Duration = Duration::from_secs(5 * 60);

/// Serves a socket until either side ends it.
pub(super) async fn serve(
    socket: WebSocket,
    id: SocketId,
    admitted: Admitted,
    (topology, request): (Topology, proto::JoinRequest),
    signalling: Signalling,
) {
    let (mut sender, mut receiver) = socket.split();
    let (queue, mut outgoing) = mpsc::channel(QUEUE);
    let Admitted {
        admission,
        mut verified,
    } = admitted;
    let claim = signalling.shards.claim(&admission.place(), &admission.user.user);
    let commands = signalling.shards.with(&claim).clone();
    let join = Join {
        admission,
        topology,
        request,
        socket: id,
        queue,
        claim,
        now_ms: now_ms(),
    };
    if commands.send(Command::Join(Box::new(join))).await.is_err() {
        return;
    }
    let start = Instant::now();
    let mut ping = interval_at(start + PING_EVERY, PING_EVERY);
    let mut refresh = interval_at(start, REFRESH_EVERY);
    let mut heard = start;
    // The answer to the join is the first message a client takes, however long it is in coming.
    let mut greeted = false;
    loop {
        let frame = tokio::select! {
            // Goodbyes must leave before anything else is read.
            biased;
            message = outgoing.recv() => match message {
                Some(message) => {
                    greeted = true;
                    if let Some(Message::RefreshToken(token)) = &message.message
                        && let Ok(fresh) = signalling.keys.verify(token, SystemTime::now())
                    {
                        // Their rights were changed: later tokens are to say the same.
                        verified = fresh;
                    }
                    Frame::Binary(message.encode_to_vec().into())
                }
                None => break,
            },
            frame = receiver.next() => {
                heard = Instant::now();
                match frame {
                    Some(Ok(Frame::Binary(bytes))) => {
                        let Ok(request) = proto::SignalRequest::decode(bytes) else { break };
                        let Some(message) = request.message else { continue };
                        let command = Command::Request(id, Box::new(message), now_ms());
                        if commands.send(command).await.is_err() {
                            break;
                        }
                        continue;
                    }
                    // Text frames would be JSON mode, which no current SDK speaks.
                    Some(Ok(Frame::Close(_)) | Err(_)) | None => break,
                    Some(Ok(_)) => continue,
                }
            }
            _ = ping.tick() => {
                if heard.elapsed() > SILENCE {
                    break;
                }
                Frame::Ping(Vec::new().into())
            }
            _ = refresh.tick(), if greeted => {
                let minted =
                    signalling.keys.mint(&verified.api_key, &verified.claims, REFRESH_TTL, SystemTime::now());
                let Ok(token) = minted else { continue };
                let message = Message::RefreshToken(token);
                Frame::Binary(proto::SignalResponse { message: Some(message) }.encode_to_vec().into())
            }
        };
        if !matches!(timeout(SEND_TIMEOUT, sender.send(frame)).await, Ok(Ok(()))) {
            break;
        }
    }
    // A peer that is gone can't be said goodbye to.
    let _ = timeout(Duration::from_secs(1), sender.close()).await;
    let _ = commands.send(Command::Closed(id)).await;
}
