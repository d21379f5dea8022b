//! `auralink migrate`: brings a database up to date, or says what it lacks.

use anyhow::{Context as _, bail};
use auralink_store::{Pending, Store, check_url, without_password};
use auralink_types::FieldError;
use clap::Args;

use crate::config::DatabaseOptions;

/// Bring a database up to date.
#[derive(Args, Clone, Debug)]
pub struct MigrateCommand {
    #[command(flatten)]
    database: DatabaseOptions,
    /// Change nothing; fail when something is missing
    #[arg(long)]
    check: bool,
}

/// Says what it does, migration by migration.
pub async fn run(command: MigrateCommand) -> anyhow::Result<()> {
    let Some(url) = command.database.url()? else {
        return Err(FieldError::new(
            "database",
            "which one? Name it with --database or --database-file",
        )
        .into());
    };
    check_url(&url)?;
    let shown = without_password(&url);
    let pending = Store::pending(&url)
        .await
        .with_context(|| format!("database: cannot look into {shown}"))?;
    if pending.is_empty() {
        println!("{shown} is up to date");
        return Ok(());
    }
    for Pending { version, name } in &pending {
        println!("{version:>4}  {name}");
    }
    if command.check {
        bail!("database: {shown} lacks {} migrations", pending.len());
    }
    let store = Store::open(&url)
        .await
        .with_context(|| format!("database: cannot migrate {shown}"))?;
    store.close().await;
    println!("{shown} is up to date now");
    Ok(())
}
