//! The server around the service: its socket, its certificates, its end.

use std::net::SocketAddr;
use std::time::Duration;

use auralink_wire::proto::DESCRIPTORS;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::server::HealthReporter;

use super::service::Service;
use super::stubs::aic_compression_server::AicCompressionServer;
use crate::admission::{Admission, Limits};
use crate::core::Workers;
use crate::tls::{TlsFileError, TlsFiles};

/// Largest message that the transport takes; what is larger than a picture may be is refused by name below it.
const MESSAGE_MAX: usize = 8 * 1024 * 1024;
/// Bytes of one stream, and of one connection, that may be under way.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// Streams on one connection: more than sessions are admitted.
const STREAMS_MAX: u32 = 4_096;
/// A connection whose other end is gone without a word is noticed after both.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEPALIVE_WITHIN: Duration = Duration::from_secs(5);
/// Time for a TLS handshake.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);
/// How often a draining server looks whether its sessions have ended.
const DRAIN_STEP: Duration = Duration::from_millis(20);
/// Time for the last answers to leave once the grace is over.
const FAREWELL: Duration = Duration::from_millis(500);

/// Who may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Security {
    /// Everybody on this machine, unencrypted; only on loopback, for development.
    Loopback,
    /// Whoever has a certificate of the authority.
    Mutual(TlsFiles),
}

/// What the server is told.
#[derive(Clone, Debug, PartialEq)]
pub struct GrpcConfig {
    /// Its address; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Who may call.
    pub security: Security,
    /// How much is admitted.
    pub limits: Limits,
}

/// Why it did not start.
#[derive(Debug, thiserror::Error)]
pub enum GrpcStartError {
    /// The address.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// Unencrypted, and not on loopback.
    #[error("without certificates gRPC is served on loopback only, not on {0}")]
    Exposed(SocketAddr),
    /// A certificate file.
    #[error(transparent)]
    File(#[from] TlsFileError),
    /// What the files hold.
    #[error("the certificates cannot be used: {0}")]
    Certificates(#[source] tonic::transport::Error),
    /// The descriptors built in.
    #[error("reflection cannot be served: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// A running server.
pub struct GrpcServer {
    local: SocketAddr,
    admission: Admission,
    health: HealthReporter,
    over: CancellationToken,
    stop: CancellationToken,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl GrpcServer {
    /// Binds the socket and serves on the workers until [`Self::shutdown`].
    pub async fn start(config: &GrpcConfig, workers: &Workers) -> Result<Self, GrpcStartError> {
        if config.security == Security::Loopback && !config.listen.ip().is_loopback() {
            return Err(GrpcStartError::Exposed(config.listen));
        }
        let failed = |source| GrpcStartError::Bind {
            address: config.listen,
            source,
        };
        let mut builder = Server::builder()
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_streams(STREAMS_MAX)
            .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
            .http2_keepalive_timeout(Some(KEEPALIVE_WITHIN));
        if let Security::Mutual(files) = &config.security {
            let tls = files.server()?.timeout(HANDSHAKE_WITHIN);
            builder = builder.tls_config(tls).map_err(GrpcStartError::Certificates)?;
        }
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;

        let admission = Admission::new(config.limits);
        let (over, stop) = (CancellationToken::new(), CancellationToken::new());
        let service = Service::new(workers.pool.clone(), admission.clone(), over.clone());
        let service = AicCompressionServer::new(service).max_decoding_message_size(MESSAGE_MAX);
        let (health, health_service) = tonic_health::server::health_reporter();
        health.set_serving::<AicCompressionServer<Service>>().await;
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let router = builder
            .add_service(service)
            .add_service(health_service)
            .add_service(reflection().build_v1()?)
            // What grpcio and older tools ask for.
            .add_service(reflection().build_v1alpha()?);
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let stopped = stop.clone().cancelled_owned();
        let serving = tokio::spawn(router.serve_with_incoming_shutdown(incoming, stopped));
        Ok(Self {
            local,
            admission,
            health,
            over,
            stop,
            serving,
        })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Sessions running, and sessions refused so far.
    pub fn sessions(&self) -> (usize, u64) {
        self.admission.counts()
    }

    /// Leaves: nobody is admitted any more and health says so, running sessions may finish within the grace, then
    /// they end with `UNAVAILABLE`.
    pub async fn shutdown(mut self, grace: Duration) {
        self.admission.drain();
        self.health
            .set_not_serving::<AicCompressionServer<Service>>()
            .await;
        self.health
            .set_service_status("", tonic_health::ServingStatus::NotServing)
            .await;
        let drained = async {
            while self.admission.counts().0 > 0 {
                tokio::time::sleep(DRAIN_STEP).await;
            }
        };
        if tokio::time::timeout(grace, drained).await.is_err() {
            let (left, _) = self.admission.counts();
            tracing::warn!(sessions = left, "grace is over; sessions are ended");
        }
        self.over.cancel();
        self.stop.cancel();
        if tokio::time::timeout(FAREWELL, &mut self.serving).await.is_err() {
            self.serving.abort();
        }
    }
}

impl Drop for GrpcServer {
    fn drop(&mut self) {
        self.over.cancel();
        self.stop.cancel();
    }
}
