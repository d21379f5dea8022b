//! PostgreSQL: roles and row level security, a pool, the schema.
//!
//! The login role owns the tables and sees no row of them. Every transaction takes one of three roles, of a user, of an
//! operator or of the server, and with it the policies of that role.

pub(crate) mod metrics;
mod partitions;

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Postgres, Transaction};

use crate::database::Who;
use crate::error::StoreError;
use crate::schema::{self, Pending};

/// Longest wait for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// Roles that transactions take. Cluster-wide, so that they are shared by all databases of the cluster.
const ROLES: [&str; 3] = ["auralink_user", "auralink_operator", "auralink_service"];

/// What a statement may cost before the database ends it, so that no lock and no slow query holds a caller for ever.
const LIMITS: [(&str, &str); 3] = [
    ("statement_timeout", "30s"),
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "60s"),
];

#[derive(Clone, Debug)]
pub(crate) struct PostgresPool {
    pub(crate) pool: PgPool,
}

impl PostgresPool {
    /// Connects, makes the roles that are missing, and brings the schema up to date.
    pub(crate) async fn open(url: &str, connections: u32) -> Result<Self, StoreError> {
        let options = options(url)?;
        let mut connection = PgConnection::connect_with(&options).await?;
        ensure_roles(&mut connection).await?;
        // Under an advisory lock; each migration is one transaction. The lock goes with the connection.
        schema::postgres()
            .run_direct(None, &mut connection, false)
            .await?;
        connection.close().await?;
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(options.options(LIMITS));
        let opened = Self { pool };
        opened
            .make_partitions(std::time::SystemTime::now().into())
            .await?;
        Ok(opened)
    }

    /// A transaction in the role of `who`.
    pub(crate) async fn begin(
        &self,
        begin: &'static str,
        who: Who<'_>,
    ) -> Result<Transaction<'static, Postgres>, StoreError> {
        let mut tx = self.pool.begin_with(begin).await?;
        let (role, tenant, user) = match who {
            Who::User(key) => (ROLES[0], key.tenant.as_str(), key.user.as_str()),
            Who::Operator(key) => (ROLES[1], key.tenant.as_str(), key.user.as_str()),
            Who::Server => (ROLES[2], "", ""),
        };
        sqlx::query(
            "SELECT set_config('role', $1, true), set_config('app.tenant_id', $2, true), \
             set_config('app.user_id', $3, true)",
        )
        .bind(role)
        .bind(tenant)
        .bind(user)
        .execute(&mut *tx)
        .await?;
        Ok(tx)
    }
}

/// Migrations that the database lacks; it is left as it is.
pub(crate) async fn pending(url: &str) -> Result<Vec<Pending>, StoreError> {
    let mut connection = PgConnection::connect_with(&options(url)?).await?;
    Ok(schema::pending_in(&schema::postgres(), &mut connection).await?)
}

fn options(url: &str) -> Result<PgConnectOptions, StoreError> {
    Ok(PgConnectOptions::from_str(url)?.application_name("auralink"))
}

/// Makes the roles and lets the login role take them. Where a DBA has made them already, nothing is changed.
async fn ensure_roles(connection: &mut PgConnection) -> Result<(), StoreError> {
    for role in ROLES {
        let known: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)")
            .bind(role)
            .fetch_one(&mut *connection)
            .await?;
        if !known {
            // Another server may make it at the same moment.
            let sql = format!(
                "DO $$ BEGIN CREATE ROLE {role} NOLOGIN; \
                 EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
            );
            sqlx::query(AssertSqlSafe(sql)).execute(&mut *connection).await?;
        }
        let member: bool = sqlx::query_scalar("SELECT pg_has_role(current_user, $1, 'MEMBER')")
            .bind(role)
            .fetch_one(&mut *connection)
            .await?;
        if !member {
            let sql = format!(
                "DO $$ BEGIN GRANT {role} TO CURRENT_USER; EXCEPTION WHEN unique_violation THEN NULL; END $$"
            );
            sqlx::query(AssertSqlSafe(sql)).execute(&mut *connection).await?;
        }
    }
    let inherits: bool = sqlx::query_scalar(
        "SELECT pg_has_role(current_user, 'auralink_service', 'USAGE') \
         AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)",
    )
    .fetch_one(&mut *connection)
    .await?;
    if inherits {
        tracing::warn!("the login role inherits from auralink_service; make it NOINHERIT (docs/store.md)");
    }
    Ok(())
}
