//! Versioned migrations, built into the program.

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};

macro_rules! migrations {
    ($folder:literal: $($version:literal $name:literal $file:literal),+ $(,)?) => {
        [$(($version, $name, include_str!(concat!("../../../migrations/", $folder, "/", $file)))),+]
    };
}

/// A migration that a database lacks: its number and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Number, from 1.
    pub version: i64,
    /// What it brings.
    pub name: String,
}

/// SQLite's, in order. One that was applied and has changed since is refused by its checksum.
pub(crate) fn sqlite() -> Migrator {
    migrator(&migrations!("sqlite":
        1 "first tables" "0001_first_tables.sql",
        2 "rollups and outbox" "0002_rollups_and_outbox.sql",
        3 "predictions" "0003_predictions.sql",
        4 "servers and erasures" "0004_servers_and_erasures.sql",
        5 "deliveries by endpoint" "0005_deliveries_by_endpoint.sql",
    ))
}

/// PostgreSQL's, likewise.
pub(crate) fn postgres() -> Migrator {
    migrator(&migrations!("postgres":
        1 "first tables" "0001_first_tables.sql",
        2 "rollups" "0002_rollups.sql",
        3 "predictions" "0003_predictions.sql",
        4 "servers and erasures" "0004_servers_and_erasures.sql",
        5 "deliveries by endpoint" "0005_deliveries_by_endpoint.sql",
    ))
}

fn migrator(migrations: &[(i64, &'static str, &'static str)]) -> Migrator {
    let migration = |(version, name, sql): &(i64, &'static str, &'static str)| {
        Migration::new(
            *version,
            (*name).into(),
            MigrationType::Simple,
            (*sql).into_sql_str(),
            false,
        )
    };
    Migrator::with_migrations(migrations.iter().map(migration).collect())
}

/// What is missing beyond `applied`; an error when a migration was changed, or came from a later program.
pub(crate) fn pending(migrator: &Migrator, applied: &[(i64, Vec<u8>)]) -> Result<Vec<Pending>, MigrateError> {
    for (version, checksum) in applied {
        let ours = migrator.iter().find(|ours| ours.version == *version);
        let ours = ours.ok_or(MigrateError::VersionMissing(*version))?;
        if *ours.checksum != **checksum {
            return Err(MigrateError::VersionMismatch(*version));
        }
    }
    let missing = migrator
        .iter()
        .filter(|ours| applied.iter().all(|(version, _)| *version != ours.version));
    Ok(missing
        .map(|ours| Pending {
            version: ours.version,
            name: ours.description.to_string(),
        })
        .collect())
}

/// Likewise for the database at the other end.
pub(crate) async fn pending_in<C: Migrate>(
    migrator: &Migrator,
    connection: &mut C,
) -> Result<Vec<Pending>, MigrateError> {
    // A database that was never migrated has no such table, and that is all that can be wrong here.
    let applied = connection.list_applied_migrations("_sqlx_migrations").await;
    let applied = match applied {
        Ok(applied) => applied,
        Err(MigrateError::Execute(sqlx::Error::Database(_))) => Vec::new(),
        Err(error) => return Err(error),
    };
    let applied: Vec<_> = applied
        .into_iter()
        .map(|applied| (applied.version, applied.checksum.to_vec()))
        .collect();
    pending(migrator, &applied)
}
