//! PostgreSQL: roles and row level security, a pool, the schema.
//!
//! The login role owns the tables and sees no row of them. Every transaction takes one of three roles, of a user, of an
//! operator or of the server, and with it the policies of that role.
//!
//! Whatever is asked of the database is asked within a transaction, and whatever is set is set for its length: a pooler
//! may lend the next transaction another session.

mod connect;
pub(crate) mod metrics;
mod partitions;

use std::time::Duration;

use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Postgres, Transaction};

use connect::connect;
pub(crate) use connect::options;

use crate::database::Who;
use crate::error::StoreError;
use crate::schema::{self, Pending};

/// Longest wait for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// Roles that transactions take. Cluster-wide, so that they are shared by all databases of the cluster.
const ROLES: [&str; 3] = ["auralink_user", "auralink_operator", "auralink_service"];

/// Whom a transaction acts for and what a statement of it may cost before the database ends it, so that no lock and no
/// slow query holds a caller for ever.
const BEGUN: &str = "SELECT set_config('role', $1, true), set_config('app.tenant_id', $2, true), \
     set_config('app.user_id', $3, true), set_config('statement_timeout', '30s', true), \
     set_config('lock_timeout', '5s', true), set_config('idle_in_transaction_session_timeout', '60s', true)";

#[derive(Clone, Debug)]
pub(crate) struct PostgresPool {
    pub(crate) pool: PgPool,
    /// Whether statements that come often are kept for the next time.
    pub(crate) keeps_statements: bool,
}

impl PostgresPool {
    /// Connects, makes the roles that are missing, and brings the schema up to date.
    pub(crate) async fn open(url: &str, connections: u32) -> Result<Self, StoreError> {
        let (mut connection, way) = connect(url).await?;
        let mut tx = connection.begin().await?;
        ensure_roles(&mut tx).await?;
        tx.commit().await?;
        migrate(&mut connection).await?;
        connection.close().await?;
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(way.options);
        let opened = Self {
            pool,
            keeps_statements: way.keeps_statements,
        };
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
        self.start(&mut tx, role, tenant, user).await?;
        Ok(tx)
    }

    /// A transaction of the login role itself, which owns the tables.
    async fn begin_as_owner(&self) -> Result<Transaction<'static, Postgres>, StoreError> {
        let mut tx = self.pool.begin().await?;
        self.start(&mut tx, "none", "", "").await?;
        Ok(tx)
    }

    async fn start(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        role: &str,
        tenant: &str,
        user: &str,
    ) -> Result<(), StoreError> {
        let begun = sqlx::query(BEGUN).persistent(self.keeps_statements);
        let begun = begun.bind(role).bind(tenant).bind(user);
        begun.execute(&mut **tx).await?;
        Ok(())
    }
}

/// All migrations or none, under a lock that goes with the transaction: servers may start at once.
async fn migrate(connection: &mut PgConnection) -> Result<(), StoreError> {
    let mut tx = connection.begin().await?;
    sqlx::raw_sql("SELECT pg_advisory_xact_lock(hashtextextended('migrations', 0))")
        .execute(&mut *tx)
        .await?;
    let mut migrator = schema::postgres();
    // Its own lock would be the session's.
    migrator.set_locking(false);
    forget_statements(&mut tx).await?;
    migrator.run_direct(None, &mut *tx, false).await?;
    forget_statements(&mut tx).await?;
    tx.commit().await?;
    Ok(())
}

/// Migrations that the database lacks; it is left as it is.
pub(crate) async fn pending(url: &str) -> Result<Vec<Pending>, StoreError> {
    let (mut connection, _) = connect(url).await?;
    let mut tx = connection.begin().await?;
    forget_statements(&mut tx).await?;
    Ok(schema::pending_in(&schema::postgres(), &mut *tx).await?)
}

/// The migrator gives names to its statements, and the session may be one that a pooler lent others before.
async fn forget_statements(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::raw_sql("DEALLOCATE ALL").execute(connection).await?;
    Ok(())
}

/// Makes the roles and lets the login role take them. Where a DBA has made them already, nothing is changed.
async fn ensure_roles(connection: &mut PgConnection) -> Result<(), StoreError> {
    for role in ROLES {
        let known: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)")
            .persistent(false)
            .bind(role)
            .fetch_one(&mut *connection)
            .await?;
        if !known {
            // Another server may make it at the same moment.
            let sql = format!(
                "DO $$ BEGIN CREATE ROLE {role} NOLOGIN; \
                 EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
            );
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&mut *connection)
                .await?;
        }
        let member: bool = sqlx::query_scalar("SELECT pg_has_role(current_user, $1, 'MEMBER')")
            .persistent(false)
            .bind(role)
            .fetch_one(&mut *connection)
            .await?;
        if !member {
            let sql = format!(
                "DO $$ BEGIN GRANT {role} TO CURRENT_USER; EXCEPTION WHEN unique_violation THEN NULL; END $$"
            );
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&mut *connection)
                .await?;
        }
    }
    let inherits: bool = sqlx::query_scalar(
        "SELECT pg_has_role(current_user, 'auralink_service', 'USAGE') \
         AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)",
    )
    .persistent(false)
    .fetch_one(&mut *connection)
    .await?;
    if inherits {
        tracing::warn!("the login role inherits from auralink_service; make it NOINHERIT (docs/store.md)");
    }
    Ok(())
}
