//! The door for a tenant's own servers: LiveKit's RoomService over Twirp. Tokens are checked here; what is asked goes to the
//! room as a [`Verb`](crate::verb::Verb).

mod asked;
mod body;
mod error;
mod fields;
mod room_service;

pub use asked::read_any;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use auralink_token::{KeyRing, Verified};
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;

use crate::config::RoomRules;
use crate::server::Shards;
use crate::signal::admit;

use body::Encoding;
use error::{Code, Error};

/// Largest body of a request.
const MAX_BODY: usize = 2 << 20;

/// Within which a body has to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// LiveKit's other services, and what of this server's is missing for them.
const MISSING: [(&str, &str); 8] = [
    ("livekit.Egress", "egress (recording and streaming out)"),
    ("livekit.Ingress", "ingress (RTMP, WHIP and files coming in)"),
    ("livekit.SIP", "SIP (telephony)"),
    ("livekit.AgentDispatchService", "agent dispatch"),
    ("livekit.AgentSimulation", "simulation of agents"),
    ("livekit.CloudAgent", "hosting of agents"),
    ("livekit.Connector", "connectors to other networks"),
    ("livekit.PhoneNumberService", "phone numbers"),
];

/// The door.
#[derive(Clone)]
pub struct Twirp {
    keys: Arc<KeyRing>,
    shards: Shards,
    rules: RoomRules,
}

/// A request that has passed the door's first checks.
struct Request {
    method: String,
    encoding: Encoding,
    body: Bytes,
    token: Verified,
}

impl Twirp {
    /// A door to the rooms of these shards.
    pub fn new(keys: Arc<KeyRing>, shards: Shards, rules: RoomRules) -> Self {
        Self { keys, shards, rules }
    }

    /// The routes.
    pub fn router(self) -> Router {
        Router::new()
            .route("/twirp/{*path}", any(answer))
            .with_state(self)
    }

    async fn respond(
        &self,
        path: &str,
        (method, uri, headers): (Method, Uri, HeaderMap),
        body: Body,
    ) -> Result<Response, Error> {
        let no_route = |msg: String| {
            let mut error = Error::new(Code::BadRoute, msg);
            let route = format!("{method} {}", uri.path());
            error.meta.insert("twirp_invalid_route", route);
            error
        };
        if method != Method::POST {
            let msg = format!("unsupported method \"{method}\" (only POST is allowed)");
            return Err(no_route(msg));
        }
        let no_handler = || no_route(format!("no handler for path \"{}\"", uri.path()));
        let (service, name) = path.rsplit_once('/').ok_or_else(no_handler)?;
        let missing = MISSING.iter().find(|(known, _)| *known == service);
        if service != room_service::NAME && missing.is_none() {
            return Err(no_handler());
        }
        let encoding = Encoding::of(&headers).ok_or_else(|| {
            let said = headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes());
            let said = String::from_utf8_lossy(said.unwrap_or_default()).into_owned();
            no_route(format!("unexpected Content-Type: {said:?}"))
        })?;
        let token = self.verify(uri.query().unwrap_or_default(), &headers)?;
        if let Some((_, what)) = missing {
            let msg = format!("this server has no {what} yet, so it can't do {service}/{name}");
            return Err(Error::new(Code::Unimplemented, msg));
        }
        let request = Request {
            method: name.into(),
            encoding,
            body: read(body).await?,
            token,
        };
        self.room_service(request).await?.ok_or_else(no_handler)
    }

    fn verify(&self, query: &str, headers: &HeaderMap) -> Result<Verified, Error> {
        let refused = |text: String| Error::new(Code::Unauthenticated, text);
        let token = admit::token(query, headers).ok_or_else(|| refused(admit::NO_TOKEN.into()))?;
        let verified = self.keys.verify(&token, SystemTime::now());
        verified.map_err(|error| refused(error.to_string()))
    }
}

async fn answer(
    State(twirp): State<Twirp>,
    Path(path): Path<String>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let answer = twirp.respond(&path, (method, uri, headers), body).await;
    answer.unwrap_or_else(|error| {
        tracing::debug!(%path, code = ?error.code, %error, "request refused");
        error.into_response()
    })
}

async fn read(body: Body) -> Result<Bytes, Error> {
    let read = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY));
    let late = || Error::new(Code::DeadlineExceeded, "the body did not come in time");
    let unread = |_| {
        Error::new(
            Code::Malformed,
            format!("the body was cut off, or has over {MAX_BODY} bytes"),
        )
    };
    read.await.map_err(|_| late())?.map_err(unread)
}
