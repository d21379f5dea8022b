//! `auralink migrate`: brings a database up to date, or says what it lacks.

use anyhow::{Context as _, bail};
use auralink_store::{Pending, Store, without_password};
use clap::Args;

/// Bring a database up to date.
#[derive(Args, Clone, Debug)]
pub struct MigrateCommand {
    /// A file, a `sqlite:` URL or a `postgres:` URL
    #[arg(long, value_name = "URL")]
    database: String,
    /// Change nothing; fail when something is missing
    #[arg(long)]
    check: bool,
}

/// Says what it does, migration by migration.
pub async fn run(command: MigrateCommand) -> anyhow::Result<()> {
    let shown = without_password(&command.database);
    let pending = Store::pending(&command.database)
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
    let store = Store::open(&command.database)
        .await
        .with_context(|| format!("database: cannot migrate {shown}"))?;
    store.close().await;
    println!("{shown} is up to date now");
    Ok(())
}
