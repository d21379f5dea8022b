//! The HTTP server: axum's routes on hyper's connections, with limits on time and number that axum's own server lacks.
//!
//! A client that dribbles its request, or opens connections and says nothing, is cut off; one that opens too many
//! waits in the kernel's queue. WebSockets have limits of their own once they are open.

mod unread;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use unread::{Lingering, Unread};

/// How much of the server one client may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time; more wait in the kernel's queue until one ends.
    pub connections: usize,
    /// Time for the head of a request, counted from the connection's start or the last answer: also the time that a
    /// connection may stay idle.
    pub head: Duration,
    /// Time from the head to the head of the answer, the body of the request included.
    pub answer: Duration,
    /// Bytes of a connection's buffer: heads longer than this are refused. A LiveKit client's first offer travels in
    /// the head, which has 32 kB with many tracks.
    pub head_bytes: usize,
}

impl Limits {
    /// For an address where few have business.
    pub fn few() -> Self {
        Self {
            connections: 64,
            ..Self::default()
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            head: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            head_bytes: 128 << 10,
        }
    }
}

/// How long the listener rests after it could not accept: mostly no file descriptor is left, which takes a while.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Listens, or says for which field it cannot.
pub async fn bind(field: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("{field}: cannot bind {address}"))
}

/// Serves until `stop` resolves; then answers under way get `grace` to finish. With `tls` every connection is encrypted.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    routes: Router,
    limits: Limits,
    stop: impl Future<Output = ()>,
    grace: Duration,
) {
    let mut stop = pin!(stop);
    let room = Arc::new(Semaphore::new(limits.connections));
    let (stopping, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            // Never closed.
            let permit = room.clone().acquire_owned().await;
            (permit, listener.accept().await)
        };
        tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next() => {}
            (permit, accepted) = accepted => match accepted {
                Ok((stream, peer)) => {
                    let (routes, stopped, tls) = (routes.clone(), stopped.clone(), tls.clone());
                    // Signalling messages are small and each is waited for.
                    let _ = stream.set_nodelay(true);
                    connections.spawn(async move {
                        let Some(tls) = tls else {
                            connection(stream, peer, routes, limits, stopped).await;
                            return drop(permit);
                        };
                        match tokio::time::timeout(limits.head, tls.accept(stream)).await {
                            Ok(Ok(stream)) => connection(stream, peer, routes, limits, stopped).await,
                            Ok(Err(error)) => tracing::debug!(%peer, %error, "no encryption came about"),
                            Err(_) => tracing::debug!(%peer, "the client was too slow in encrypting"),
                        }
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "no connection could be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    // Nobody may be left to hear it.
    let _ = stopping.send(true);
    let rest = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(grace, rest).await.is_err() {
        tracing::info!(
            open = connections.len(),
            "connections cut at the end of the grace"
        );
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    routes: Router,
    limits: Limits,
    mut stopped: watch::Receiver<bool>,
) {
    let (stream, lingers) = Lingering::new(stream);
    let routes = TowerToHyperService::new(routes);
    let service = service_fn(move |request: Request<Incoming>| {
        let waits = request.headers().contains_key(header::EXPECT);
        let unread = Unread::default();
        let mut request = request.map(|body| unread.watch(body));
        request.extensions_mut().insert(ConnectInfo(peer));
        let answer = hyper::service::Service::call(&routes, request);
        let lingers = Arc::clone(&lingers);
        async move {
            let mut answer = in_time(answer, limits.answer).await;
            if !unread.drain(waits).await {
                let close = HeaderValue::from_static("close");
                answer.headers_mut().insert(header::CONNECTION, close);
                lingers.store(true, Ordering::Relaxed);
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(limits.head_bytes)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut serving = pin!(serving);
    let served = tokio::select! {
        served = serving.as_mut() => served,
        _ = stopped.changed() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        // What a client does to its connection is its own affair.
        tracing::debug!(%peer, %error, "connection ended");
    }
}

async fn in_time(
    answer: impl Future<Output = Result<Response, Infallible>>,
    limit: Duration,
) -> Response<Body> {
    match tokio::time::timeout(limit, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(never)) => match never {},
        Err(_) => (StatusCode::REQUEST_TIMEOUT, "the request took too long\n").into_response(),
    }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
