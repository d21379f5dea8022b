//! As much of Janus' API as the video room needs, over one WebSocket.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest as _};

/// The one room.
pub const ROOM: u64 = 1;

/// Requests that wait to be sent.
const WAITING: usize = 1024;

/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(15);

/// A session of the API.
#[derive(Clone)]
pub struct Api {
    requests: mpsc::Sender<(Value, oneshot::Sender<Value>)>,
    session: u64,
}

impl Api {
    /// Opens the WebSocket and a session.
    pub async fn open(url: &str) -> Result<Self> {
        let mut request = url.into_client_request()?;
        request
            .headers_mut()
            .insert("Sec-WebSocket-Protocol", "janus-protocol".parse()?);
        let (socket, _) = tokio_tungstenite::connect_async(request).await?;
        let (requests, asked) = mpsc::channel(WAITING);
        tokio::spawn(converse(socket, asked));
        let mut api = Self { requests, session: 0 };
        let created = api.ask(json!({ "janus": "create" })).await?;
        api.session = created["data"]["id"].as_u64().context("a session has no id")?;
        Ok(api)
    }

    /// Makes the room, in which as many may publish.
    pub async fn make_room(&self, publishers: usize) -> Result<()> {
        let handle = self.attach().await?;
        let room = json!({
            "request": "create", "room": ROOM, "publishers": publishers, "bitrate": 0,
            "audiocodec": "opus", "videocodec": "vp8", "audiolevel_event": false,
        });
        self.tell(handle, room, None).await?;
        Ok(())
    }

    /// A handle on the video room.
    pub async fn attach(&self) -> Result<u64> {
        let attached = self
            .ask(json!({ "janus": "attach", "plugin": "janus.plugin.videoroom", "session_id": self.session }))
            .await?;
        attached["data"]["id"].as_u64().context("a handle has no id")
    }

    /// Says something to the video room; its answer, with a description where it has one.
    pub async fn tell(&self, handle: u64, body: Value, description: Option<Value>) -> Result<Value> {
        let mut message = json!({
            "janus": "message", "session_id": self.session, "handle_id": handle, "body": body,
        });
        if let Some(description) = description {
            message["jsep"] = description;
        }
        let answer = self.ask(message).await?;
        let data = &answer["plugindata"]["data"];
        if let Some(problem) = data["error"].as_str() {
            bail!("janus refuses {body}: {problem}");
        }
        Ok(answer)
    }

    async fn ask(&self, request: Value) -> Result<Value> {
        let (told, answer) = oneshot::channel();
        self.requests
            .send((request, told))
            .await
            .ok()
            .context("janus has hung up")?;
        let answer = tokio::time::timeout(ANSWER, answer)
            .await
            .context("janus does not answer")?;
        let answer = answer.context("janus has hung up")?;
        if answer["janus"] == "error" {
            bail!("janus: {}", answer["error"]["reason"]);
        }
        Ok(answer)
    }
}

/// Keeps the WebSocket: each answer goes to whoever asked, and what nobody asked for to nobody.
async fn converse<S>(mut socket: S, mut asked: mpsc::Receiver<(Value, oneshot::Sender<Value>)>)
where
    S: futures_util::Sink<Message>
        + futures_util::Stream<Item = Result<Message, tokio_tungstenite::tungstenite::Error>>
        + Unpin,
{
    let mut waiting: HashMap<String, oneshot::Sender<Value>> = HashMap::new();
    let mut next = 0u64;
    loop {
        tokio::select! {
            request = asked.recv() => {
                let Some((mut request, told)) = request else { return };
                next += 1;
                request["transaction"] = next.to_string().into();
                waiting.insert(next.to_string(), told);
                if socket.send(Message::text(request.to_string())).await.is_err() {
                    return;
                }
            }
            message = socket.next() => {
                let Some(Ok(message)) = message else { return };
                let Ok(text) = message.to_text() else { continue };
                let Ok(answer) = serde_json::from_str::<Value>(text) else { continue };
                // The answer proper comes after that.
                if answer["janus"] == "ack" {
                    continue;
                }
                if let Some(told) = answer["transaction"].as_str().and_then(|name| waiting.remove(name)) {
                    // Whoever asked may have given up.
                    let _ = told.send(answer);
                }
            }
        }
    }
}
