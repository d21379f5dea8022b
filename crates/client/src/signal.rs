//! LiveKit signalling, version 1: one WebSocket, one protobuf message per frame.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use futures_util::{SinkExt, StreamExt};
use livekit_protocol as proto;
use prost::Message as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{self, protocol::WebSocketConfig};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream};
use url::Url;

use crate::error::JoinError;
use crate::trust;

/// Protocol version announced: what current stock SDKs announce.
const PROTOCOL: i32 = 17;

/// Largest signalling message accepted, as the Go server has it.
const MAX_MESSAGE: usize = 2 << 20;

/// How long the WebSocket may take to open.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);

/// How long the refusal text may take to fetch.
const VALIDATE_TIMEOUT: Duration = Duration::from_secs(3);

/// Longest refusal text kept, in bytes.
const MAX_TEXT: usize = 4096;

/// What a join request says about the client.
#[derive(Clone, Debug, Default)]
pub struct Announcement {
    /// Participant attributes.
    pub attributes: HashMap<String, String>,
    /// Whether the server subscribes the client to every track by itself.
    pub auto_subscribe: bool,
    /// The first offer, if it rides along.
    pub offer: Option<proto::SessionDescription>,
}

/// An open signalling connection.
pub struct Signal {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Signal {
    /// Opens the WebSocket and sends the join request with it; `authorities` is a PEM file trusted for `wss`.
    pub async fn open(
        url: &str,
        authorities: Option<&Path>,
        token: &str,
        announcement: Announcement,
    ) -> Result<Self, JoinError> {
        let base = parse(url)?;
        let target = join_url(&base, token, announcement);
        let config = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE));
        let connector = match base.scheme() {
            "wss" => Connector::Rustls(trust::tls(authorities)?),
            _ => Connector::Plain,
        };
        let opening = tokio_tungstenite::connect_async_tls_with_config(
            target.as_str(),
            Some(config),
            true,
            Some(connector),
        );
        let opened = tokio::time::timeout(OPEN_TIMEOUT, opening).await;
        match opened {
            Err(_) => Err(JoinError::Timeout {
                what: "the WebSocket",
                seconds: OPEN_TIMEOUT.as_secs(),
            }),
            Ok(Ok((socket, _))) => Ok(Self { socket }),
            Ok(Err(tungstenite::Error::Http(response))) => {
                let status = response.status().as_u16();
                let body = response.body().clone().unwrap_or_default();
                let mut text = clip(&body);
                if text.is_empty() {
                    text = validate(&base, token).await.unwrap_or_default();
                }
                Err(JoinError::Refused { status, text })
            }
            Ok(Err(error)) => Err(JoinError::Signal(error.to_string())),
        }
    }

    /// Sends one message.
    pub async fn send(&mut self, message: proto::signal_request::Message) -> Result<(), JoinError> {
        let request = proto::SignalRequest {
            message: Some(message),
        };
        let frame = tungstenite::Message::Binary(request.encode_to_vec().into());
        self.socket
            .send(frame)
            .await
            .map_err(|error| JoinError::Signal(error.to_string()))
    }

    /// The next message; `None` when the server closed. Kinds this client does not know are passed over.
    pub async fn next(&mut self) -> Result<Option<proto::signal_response::Message>, JoinError> {
        loop {
            match self.socket.next().await {
                None | Some(Ok(tungstenite::Message::Close(_))) => return Ok(None),
                Some(Ok(tungstenite::Message::Binary(bytes))) => {
                    let response = proto::SignalResponse::decode(bytes)
                        .map_err(|error| JoinError::Protocol(error.to_string()))?;
                    if let Some(message) = response.message {
                        return Ok(Some(message));
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(JoinError::Signal(error.to_string())),
            }
        }
    }

    /// Says goodbye on the WebSocket level.
    pub async fn close(&mut self) {
        // A socket that is gone already is closed as well.
        let _ = self.socket.close(None).await;
    }
}

fn parse(url: &str) -> Result<Url, JoinError> {
    let refuse = |problem: String| JoinError::Url {
        url: url.to_owned(),
        problem,
    };
    let mut base = Url::parse(url).map_err(|error| refuse(error.to_string()))?;
    let scheme = match base.scheme() {
        "ws" | "http" => "ws",
        "wss" | "https" => "wss",
        other => {
            return Err(refuse(format!(
                "the scheme {other} is none of ws, wss, http, https"
            )));
        }
    };
    if base.set_scheme(scheme).is_err() || base.host_str().is_none_or(str::is_empty) {
        return Err(refuse("there is no host in it".to_owned()));
    }
    Ok(base)
}

fn join_url(base: &Url, token: &str, announcement: Announcement) -> Url {
    let request = proto::JoinRequest {
        client_info: Some(proto::ClientInfo {
            sdk: proto::client_info::Sdk::Rust as i32,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: PROTOCOL,
            os: std::env::consts::OS.to_owned(),
            ..Default::default()
        }),
        connection_settings: Some(proto::ConnectionSettings {
            auto_subscribe: announcement.auto_subscribe,
            ..Default::default()
        }),
        participant_attributes: announcement.attributes,
        publisher_offer: announcement.offer,
        ..Default::default()
    };
    let wrapped = proto::WrappedJoinRequest {
        compression: proto::wrapped_join_request::Compression::None as i32,
        join_request: request.encode_to_vec(),
    };
    let text = base64::engine::general_purpose::URL_SAFE.encode(wrapped.encode_to_vec());
    let mut url = base.clone();
    url.set_path(&format!("{}/rtc/v1", base.path().trim_end_matches('/')));
    url.query_pairs_mut()
        .append_pair("access_token", token)
        .append_pair("join_request", &text);
    url
}

fn clip(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(MAX_TEXT)]);
    text.trim().to_owned()
}

/// Asks for the reason of a refusal, as stock clients do. Plain HTTP only.
async fn validate(base: &Url, token: &str) -> Option<String> {
    if base.scheme() != "ws" {
        return None;
    }
    let host = base.host_str()?;
    let port = base.port_or_known_default()?;
    let path = format!("{}/rtc/v1/validate", base.path().trim_end_matches('/'));
    let head = format!(
        "GET {path}?access_token={token} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
    );
    let fetch = async {
        let mut stream = TcpStream::connect((host.trim_matches(['[', ']']), port))
            .await
            .ok()?;
        stream.write_all(head.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream
            .take(2 * MAX_TEXT as u64)
            .read_to_end(&mut answer)
            .await
            .ok()?;
        let text = String::from_utf8_lossy(&answer);
        let (_, body) = text.split_once("\r\n\r\n")?;
        Some(clip(body.as_bytes()))
    };
    tokio::time::timeout(VALIDATE_TIMEOUT, fetch).await.ok()?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_an_address_leads_to_the_same_path() {
        for url in ["ws://host:7880", "http://host:7880/", "ws://host:7880"] {
            let target = join_url(&parse(url).unwrap(), "tok", Announcement::default());
            assert!(
                target
                    .as_str()
                    .starts_with("ws://host:7880/rtc/v1?access_token=tok&join_request=")
            );
        }
        let nested = join_url(
            &parse("https://host/base/").unwrap(),
            "t",
            Announcement::default(),
        );
        assert!(nested.as_str().starts_with("wss://host/base/rtc/v1?"));
    }

    #[test]
    fn an_address_that_cannot_be_joined_is_refused_with_the_address() {
        for url in ["", "host", "ftp://host", "ws://"] {
            let error = parse(url).unwrap_err();
            assert!(
                matches!(&error, JoinError::Url { url: given, .. } if given == url),
                "{error}"
            );
        }
    }

    #[test]
    fn the_join_request_reads_back_as_it_was_written() {
        let announcement = Announcement {
            attributes: HashMap::from([("aic.models".to_owned(), "0001".to_owned())]),
            auto_subscribe: true,
            offer: Some(proto::SessionDescription {
                sdp: "v=0".into(),
                id: 1,
                ..Default::default()
            }),
        };
        let url = join_url(&parse("ws://h").unwrap(), "t", announcement);
        let (_, text) = url
            .query_pairs()
            .find(|(name, _)| name == "join_request")
            .unwrap();
        let bytes = base64::engine::general_purpose::URL_SAFE
            .decode(text.as_bytes())
            .unwrap();
        let wrapped = proto::WrappedJoinRequest::decode(&bytes[..]).unwrap();
        let request = proto::JoinRequest::decode(&wrapped.join_request[..]).unwrap();
        assert_eq!(request.participant_attributes["aic.models"], "0001");
        assert_eq!(request.publisher_offer.unwrap().id, 1);
    }
}
