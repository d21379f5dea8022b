//! How somebody tells the process to end.

use tokio::signal::unix::{SignalKind, signal};

/// Ends with SIGTERM or SIGINT.
pub async fn ended() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(())
}
