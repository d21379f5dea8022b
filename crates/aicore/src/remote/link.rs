//! Keeps the connection: makes it, watches it, gives it up, makes it again.

use std::sync::Arc;
use std::time::Duration;

use auralink_wire::proto::v1::{self, health_check_response};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use super::backoff::Backoff;
use super::{Link, Shared};
use crate::grpc::stubs::aic_compression_client::AicCompressionClient;

/// Time for a connection to stand.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// How often the core is asked how it is.
const PROBE_EVERY: Duration = Duration::from_millis(500);
/// Time for that answer. A core that is silent for longer than a call can bear is as good as gone.
const PROBE_WITHIN: Duration = Duration::from_millis(1_000);

/// Settings of every connection.
pub(super) fn tuned(endpoint: Endpoint) -> Endpoint {
    endpoint
        .connect_timeout(CONNECT_WITHIN)
        .tcp_nodelay(true)
        .http2_adaptive_window(false)
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(16 * 1024 * 1024)
}

/// Runs until `end`.
pub(super) async fn keep(endpoint: Endpoint, shared: Arc<Shared>, end: CancellationToken) {
    let mut backoff = Backoff::new();
    let work = async {
        loop {
            match reach(&endpoint).await {
                Ok((channel, models)) => {
                    tracing::info!(core = %endpoint.uri(), "the AI core is there");
                    let down = CancellationToken::new();
                    let link = Link {
                        channel: Some(channel.clone()),
                        models,
                        down: down.clone(),
                    };
                    shared.with_link(|old| *old = link);
                    let why = watch(channel, &shared, &mut backoff).await;
                    shared.with_link(|link| {
                        link.channel = None;
                        link.models.clear();
                    });
                    // Tracks whose stream has not noticed yet.
                    down.cancel();
                    tracing::warn!(core = %endpoint.uri(), %why, "the AI core is gone; its streams go to bypass");
                }
                Err(error) => tracing::debug!(core = %endpoint.uri(), %error, "the AI core is not there"),
            }
            tokio::time::sleep(backoff.next(rand::random())).await;
        }
    };
    tokio::select! {
        () = end.cancelled() => {}
        () = work => {}
    }
    shared.with_link(|link| {
        link.channel = None;
        link.down.cancel();
    });
}

async fn reach(endpoint: &Endpoint) -> Result<(Channel, Vec<u16>), Status> {
    let connecting = tokio::time::timeout(CONNECT_WITHIN, endpoint.connect());
    let channel = match connecting.await {
        Ok(connected) => connected.map_err(|error| Status::unavailable(error.to_string()))?,
        Err(_) => return Err(Status::deadline_exceeded("no connection in time")),
    };
    let health = probe(&channel).await?;
    let models = health.models.iter();
    let models = models.filter_map(|model| u16::try_from(model.model_id).ok());
    Ok((channel, models.collect()))
}

/// Returns when the core is gone, with the reason.
async fn watch(channel: Channel, shared: &Shared, backoff: &mut Backoff) -> Status {
    loop {
        tokio::select! {
            () = tokio::time::sleep(PROBE_EVERY) => {}
            () = shared.doubt.notified() => {}
        }
        if let Err(status) = probe(&channel).await {
            return status;
        }
        backoff.reset();
    }
}

async fn probe(channel: &Channel) -> Result<v1::HealthCheckResponse, Status> {
    let mut client = AicCompressionClient::new(channel.clone());
    let asking = client.health_check(v1::HealthCheckRequest {});
    let answer = match tokio::time::timeout(PROBE_WITHIN, asking).await {
        Ok(answer) => answer?.into_inner(),
        Err(_) => return Err(Status::deadline_exceeded("no answer in time")),
    };
    match answer.status() {
        health_check_response::Status::Serving | health_check_response::Status::Full => Ok(answer),
        // Its streams may finish; new ones need another core, which a balancer may have ready.
        other => Err(Status::unavailable(other.as_str_name())),
    }
}
