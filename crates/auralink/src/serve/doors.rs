//! Where a server answers HTTP: at one door, and figures at one of their own where they have an address.

use std::sync::Arc;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::GRACE;
use crate::config::ServeConfig;
use crate::http::{self, Limits};
use crate::tls::Certificate;

/// The doors, open.
pub struct Doors {
    front: TcpListener,
    tls: Option<TlsAcceptor>,
    routes: Router,
    figures: Option<(TcpListener, Router)>,
}

impl Doors {
    /// Opens them.
    pub async fn open(
        config: &ServeConfig,
        certificate: Option<Arc<Certificate>>,
        routes: Router,
        figures: Router,
    ) -> anyhow::Result<Self> {
        let (routes, figures) = match config.metrics.listen {
            Some(address) => (
                routes,
                Some((http::bind("metrics.listen", address).await?, figures)),
            ),
            None => (routes.merge(figures), None),
        };
        let tls = certificate.as_ref().map(Certificate::acceptor).transpose()?;
        if let Some(certificate) = certificate {
            tokio::spawn(async move { certificate.watch().await });
        }
        Ok(Self {
            front: http::bind("listen", config.listen).await?,
            tls,
            routes,
            figures,
        })
    }

    /// Where the front door is.
    pub fn line(&self) -> anyhow::Result<String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let address = self.front.local_addr()?;
        Ok(format!("  http      {scheme}://{address} (signalling, REST)"))
    }

    /// Where figures are, if they have a door of their own.
    pub fn figures_line(&self) -> anyhow::Result<Option<String>> {
        let Some((listener, _)) = &self.figures else {
            return Ok(None);
        };
        Ok(Some(format!(
            "  metrics   http://{}/metrics",
            listener.local_addr()?
        )))
    }

    /// Answers until it is told to stop, or nobody can tell it any more.
    pub async fn serve(self, stop: watch::Receiver<()>) {
        let stopping = || {
            let mut stop = stop.clone();
            async move {
                // Sent, or dropped with the server itself: it ends either way.
                let _ = stop.changed().await;
            }
        };
        let front = http::serve(
            self.front,
            self.tls,
            self.routes,
            Limits::default(),
            stopping(),
            GRACE,
        );
        let figures = async {
            if let Some((listener, routes)) = self.figures {
                http::serve(listener, None, routes, Limits::few(), stopping(), GRACE).await;
            }
        };
        tokio::join!(front, figures);
    }
}
