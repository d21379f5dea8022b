//! The AI core of a server: in this process, with the gRPC service on its workers, or elsewhere.

use std::sync::Arc;

use anyhow::Context as _;
use auralink_aicore::{CoreFaults, GrpcConfig, GrpcServer, Limits, LocalCore, RemoteCore, Security, Workers};
use auralink_media::OpenCore;

use super::GRACE;
use crate::config::{GrpcSettings, ServeConfig};
use crate::core::describe;

/// The AI core.
pub struct Core {
    /// How shards reach it.
    pub open: OpenCore,
    /// Its workers, where they are in this process.
    pub workers: Option<Workers>,
    grpc: Option<(GrpcServer, Security)>,
}

impl Core {
    /// Starts what of it runs in this process.
    pub async fn start(config: &ServeConfig) -> anyhow::Result<Self> {
        if let Some(core) = config.core.clone() {
            // Connections are kept by this runtime, not by a shard's.
            let runtime = tokio::runtime::Handle::current();
            let open: OpenCore = Arc::new(move |wake| {
                let _here = runtime.enter();
                Ok(Box::new(RemoteCore::connect(&core, wake)?))
            });
            return Ok(Self {
                open,
                workers: None,
                grpc: None,
            });
        }
        let workers = Workers::start(threads(config));
        let grpc = match &config.grpc {
            Some(settings) => Some(grpc(settings, &workers).await?),
            None => None,
        };
        let shared = workers.clone();
        Ok(Self {
            open: Arc::new(move |wake| Ok(Box::new(LocalCore::on(&shared, wake)))),
            workers: Some(workers),
            grpc,
        })
    }

    /// Where faults are put into it.
    pub fn faults(&self) -> CoreFaults {
        self.workers.as_ref().map(Workers::faults).unwrap_or_default()
    }

    /// Where it is, if others can reach it or it is elsewhere.
    pub fn line(&self, config: &ServeConfig) -> Option<String> {
        match (&self.grpc, &config.core) {
            (Some((server, security)), _) => Some(format!("  grpc      {}", describe(server, security))),
            (None, Some(core)) => Some(format!("  AI core   at {}", core.url)),
            (None, None) => None,
        }
    }

    /// Says goodbye to those who came by gRPC.
    pub async fn close(self) {
        if let Some((server, _)) = self.grpc {
            server.shutdown(GRACE).await;
        }
    }
}

async fn grpc(settings: &GrpcSettings, workers: &Workers) -> anyhow::Result<(GrpcServer, Security)> {
    let config = GrpcConfig {
        listen: settings.listen,
        security: settings.security()?,
        limits: Limits::default(),
    };
    let server = GrpcServer::start(&config, workers).await.context("grpc")?;
    Ok((server, config.security))
}

/// Worker threads: one core is left to media.
fn threads(config: &ServeConfig) -> usize {
    match config.ai_workers {
        0 => std::thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).max(1)),
        wanted => wanted,
    }
}
