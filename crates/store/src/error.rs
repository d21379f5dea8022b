//! What can go wrong between a question and its rows.

use auralink_types::FieldError;
use sqlx::postgres::PgDatabaseError;

/// Why the store did not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else holds the database; trying again later may help.
    #[error("database is busy")]
    Busy,
    /// The database is away, full or broken.
    #[error("database unavailable: {0}")]
    Unavailable(#[source] sqlx::Error),
    /// The schema could not be brought up to date; it was left as it is.
    #[error("migration failed: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A value breaks a rule of the schema.
    #[error("row refused: {0}")]
    Refused(#[source] sqlx::Error),
    /// A stored value that no version of this program wrote.
    #[error("{column} holds {value:?}, which has no meaning")]
    Corrupt {
        /// The column.
        column: &'static str,
        /// What it holds.
        value: String,
    },
    /// A change that is out of bounds.
    #[error(transparent)]
    Invalid(#[from] FieldError),
    /// The actor may not touch that user's rows.
    #[error("not allowed for user {subject:?}")]
    Forbidden {
        /// Whose rows.
        subject: String,
    },
    /// What belongs to a tenant as a whole is for its operators.
    #[error("only an operator may do this")]
    OperatorOnly,
    /// The row has changed since the caller read it.
    #[error("changed meanwhile: it is at version {current}")]
    Stale {
        /// Its version now; 0 when there is none.
        current: u64,
    },
    /// There is no such thing, or it isn't the actor's to see.
    #[error("no such {what}")]
    Missing {
        /// What was looked for.
        what: &'static str,
    },
    /// Another has that name.
    #[error("{what} is taken")]
    Taken {
        /// What must be unique.
        what: &'static str,
    },
    /// A bound is reached.
    #[error("no more than {most} {what}")]
    Full {
        /// What there are too many of.
        what: &'static str,
        /// The bound.
        most: usize,
    },
    /// An operator tried to lift a user's own veto.
    #[error("only the user can take back an opt-out")]
    Veto,
}

impl StoreError {
    /// Whether the same request may succeed later without anybody changing it.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Busy | Self::Unavailable(_))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::PoolTimedOut => Self::Busy,
            sqlx::Error::Database(database) => {
                let code = database.code().unwrap_or_default();
                let kind = if database.try_downcast_ref::<PgDatabaseError>().is_some() {
                    of_postgres(&code)
                } else {
                    of_sqlite(&code)
                };
                match kind {
                    Kind::Busy => Self::Busy,
                    Kind::Refused => Self::Refused(error),
                    Kind::Away => Self::Unavailable(error),
                }
            }
            // A value that the wire cannot carry.
            sqlx::Error::Encode(_) => Self::Refused(error),
            _ => Self::Unavailable(error),
        }
    }
}

enum Kind {
    Busy,
    Refused,
    Away,
}

/// The low byte of SQLite's extended code is its primary one.
fn of_sqlite(code: &str) -> Kind {
    match code.parse::<u32>().map(|code| code & 0xff) {
        // BUSY and LOCKED.
        Ok(5 | 6) => Kind::Busy,
        // TOOBIG, CONSTRAINT (a trigger's refusal among them) and MISMATCH.
        Ok(18..=20) => Kind::Refused,
        _ => Kind::Away,
    }
}

/// The first two characters of a SQLSTATE are its class (PostgreSQL manual, appendix A).
fn of_postgres(code: &str) -> Kind {
    match code {
        // A lock that was not to be had, a serialisation failure, a deadlock.
        "55P03" | "40001" | "40P01" => Kind::Busy,
        // Insufficient privilege: a row that row level security does not let in.
        "42501" => Kind::Refused,
        // Data exceptions and constraints.
        _ if code.starts_with("22") || code.starts_with("23") => Kind::Refused,
        _ => Kind::Away,
    }
}
