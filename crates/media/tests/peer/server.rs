//! A server on loopback, and the addresses of its doors.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use auralink_media::{Ai, MediaConfig, MediaServer};
use auralink_token::{Claims, KeyRing};
use base64::Engine as _;
use livekit_protocol as proto;
use prost::Message as _;

use super::Shape;

pub struct Server {
    pub media: MediaServer,
    pub http: SocketAddr,
    pub keys: Arc<KeyRing>,
}

pub async fn serve() -> Server {
    serve_with(Ai::none()).await
}

/// A server with an AI core. `AURALINK_SPLIT_AT` lets every test here be one of rooms on several shards.
pub async fn serve_with(ai: Ai) -> Server {
    let split_at = std::env::var("AURALINK_SPLIT_AT").map_or(0, |number| number.parse().unwrap());
    serve_split(ai, split_at).await
}

/// A server on which a room goes on on the other shard from so many people on.
pub async fn serve_split(ai: Ai, split_at: usize) -> Server {
    let keys = Arc::new(KeyRing::new([("devkey", "secret"), ("other", "another secret")]));
    let config = MediaConfig {
        split_at,
        ..MediaConfig::loopback(keys.clone())
    };
    let media = MediaServer::start_with(config, ai).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = listener.local_addr().unwrap();
    let routes = media.router();
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    Server { media, http, keys }
}

impl Server {
    pub fn token(&self, claims: &Claims) -> String {
        self.keys
            .mint("devkey", claims, Duration::from_secs(60), SystemTime::now())
            .unwrap()
    }

    /// Where a client of signalling v1 joins.
    pub fn url(&self, token: &str, request: proto::JoinRequest) -> String {
        let wrapped = proto::WrappedJoinRequest {
            compression: 0,
            join_request: request.encode_to_vec(),
        };
        let request = base64::engine::general_purpose::URL_SAFE.encode(wrapped.encode_to_vec());
        format!(
            "ws://{}/rtc/v1?access_token={token}&join_request={}",
            self.http,
            request.replace('=', "%3D")
        )
    }

    /// Where a client of that shape joins, or comes back.
    pub fn door(&self, shape: Shape, token: &str, request: proto::JoinRequest) -> String {
        match shape {
            Shape::One => self.url(token, request),
            Shape::Two => format!(
                "ws://{}/rtc?access_token={token}&auto_subscribe=1&protocol=16&reconnect={}&sid={}",
                self.http,
                u8::from(request.reconnect),
                request.participant_sid
            ),
        }
    }
}
