//! Versioned migrations, built into the program.

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

const MIGRATIONS: [(i64, &str, &str); 1] = [(
    1,
    "first tables",
    include_str!("../../../migrations/sqlite/0001_first_tables.sql"),
)];

/// Every migration in order. One that was applied and has changed since is refused by its checksum.
pub(crate) fn migrator() -> Migrator {
    let migrations = MIGRATIONS.map(|(version, name, sql)| {
        Migration::new(
            version,
            name.into(),
            MigrationType::Simple,
            sql.into_sql_str(),
            false,
        )
    });
    Migrator::with_migrations(migrations.to_vec())
}
