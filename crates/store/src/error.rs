//! What can go wrong between a question and its rows.

use auralink_types::FieldError;

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
        use sqlx::error::ErrorKind;
        match &error {
            sqlx::Error::PoolTimedOut => Self::Busy,
            sqlx::Error::Database(database) => {
                // The low byte of SQLite's extended code is its primary one: 5 is BUSY, 6 is LOCKED.
                let code = database.code().and_then(|code| code.parse::<u32>().ok());
                match (database.kind(), code.map(|code| code & 0xff)) {
                    (_, Some(5 | 6)) => Self::Busy,
                    (
                        ErrorKind::UniqueViolation
                        | ErrorKind::ForeignKeyViolation
                        | ErrorKind::NotNullViolation
                        | ErrorKind::CheckViolation,
                        _,
                    )
                    // 19 is CONSTRAINT (a trigger's refusal among them), 20 MISMATCH, 18 TOOBIG.
                    | (_, Some(18..=20)) => Self::Refused(error),
                    _ => Self::Unavailable(error),
                }
            }
            _ => Self::Unavailable(error),
        }
    }
}
