//! A first connection, and how all others have to be made: directly, or through a pooler such as PgBouncer.

use std::str::FromStr as _;

use auralink_types::FieldError;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

use crate::error::StoreError;

/// A setting that nobody else makes.
const PROBE: &str = "auralink.probe";

/// What a pooler says to a start-up option that it doesn't know: `protocol_violation`.
const REFUSED: &str = "08P01";

/// How a URL is understood.
pub(crate) fn options(url: &str) -> Result<PgConnectOptions, FieldError> {
    let read = PgConnectOptions::from_str(url).map_err(|error| {
        let cause = match &error {
            sqlx::Error::Configuration(cause) => cause.to_string(),
            other => other.to_string(),
        };
        FieldError::new("database", format!("is no URL of PostgreSQL: {cause}"))
    })?;
    // A pooler refuses start-up options that it does not know, and values travel as they are, not as text.
    Ok(read.application_name("auralink").extra_float_digits(None))
}

/// How the database is reached.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) options: PgConnectOptions,
    /// Whether a statement may have a name, by which later transactions find it. A pooler may lend each transaction
    /// another session, where they would look in vain.
    pub(super) keeps_statements: bool,
}

/// Connects.
pub(super) async fn connect(url: &str) -> Result<(PgConnection, Way), StoreError> {
    let options = options(url)?;
    let direct = directly(&options).await?;
    let keeps_statements = direct.is_some();
    let connection = match direct {
        Some(connection) => connection,
        None => {
            tracing::info!("a pooler stands before the database: statements are not kept");
            PgConnection::connect_with(&options).await?
        }
    };
    let way = Way {
        options,
        keeps_statements,
    };
    Ok((connection, way))
}

/// A connection to the database itself; nothing where something stands between. Such a thing either refuses options at
/// the start of a session or, if it is told to ignore them, doesn't pass them on.
async fn directly(options: &PgConnectOptions) -> Result<Option<PgConnection>, StoreError> {
    let asked = uuid::Uuid::new_v4().simple().to_string();
    let probe = options.clone().options([(PROBE, &asked)]);
    let mut connection = match PgConnection::connect_with(&probe).await {
        Ok(connection) => connection,
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(REFUSED) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // By the simple protocol, which needs no statement.
    let row = sqlx::raw_sql(AssertSqlSafe(format!("SELECT current_setting('{PROBE}', true)")))
        .fetch_one(&mut connection)
        .await?;
    let found: Option<String> = row.try_get(0)?;
    if found == Some(asked) {
        return Ok(Some(connection));
    }
    connection.close().await?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Cluster;

    #[tokio::test]
    async fn a_database_that_is_reached_directly_is_known_as_such() {
        let Some(cluster) = Cluster::shared() else { return };
        let url = cluster.bare_database().await.unwrap();
        let found = directly(&options(&url).unwrap()).await.unwrap();
        found.expect("nothing stands between").close().await.unwrap();
    }
}
