//! Databases for tests, and a way to look into them past the store.

use auralink_store::cluster::{Cluster, OWNER};
use auralink_store::{Store, Timestamp};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, SqliteConnection};

/// A database of one test.
pub struct Db {
    pub store: Store,
    pub url: String,
    folder: Option<tempfile::TempDir>,
}

impl Db {
    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("aura.db").display());
        Self {
            store: Store::open(&url).await.unwrap(),
            url,
            folder: Some(folder),
        }
    }

    /// `None` where PostgreSQL isn't installed, which the cluster has said by then.
    pub async fn postgres() -> Option<Self> {
        let url = Cluster::shared()?.fresh_database().await.unwrap();
        Some(Self {
            store: Store::open(&url).await.unwrap(),
            url,
            folder: None,
        })
    }

    pub fn is_postgres(&self) -> bool {
        self.folder.is_none()
    }

    /// URL of the database as another role.
    pub fn url_as(&self, role: &str) -> String {
        self.url.replace(&format!("{OWNER}@"), &format!("{role}@"))
    }

    /// A connection that no policy binds.
    pub async fn superuser(&self) -> PgConnection {
        PgConnection::connect(&self.url_as("postgres")).await.unwrap()
    }

    pub async fn file(&self) -> SqliteConnection {
        let path = self.url.strip_prefix("sqlite:").unwrap();
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
        options.connect().await.unwrap()
    }

    /// Every value of a statement with one column of text, past all isolation.
    pub async fn texts(&self, sql: &str) -> Vec<String> {
        let sql = AssertSqlSafe(sql.to_owned());
        if self.is_postgres() {
            let mut connection = self.superuser().await;
            sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
        } else {
            let mut connection = self.file().await;
            sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
        }
    }

    /// The one number of a statement, likewise.
    pub async fn number(&self, sql: &str) -> i64 {
        let texts = self.texts(&format!("SELECT CAST(({sql}) AS TEXT)")).await;
        texts[0].parse().unwrap()
    }

    /// Runs statements past the store.
    pub async fn run(&self, sql: &str) -> Result<(), sqlx::Error> {
        let sql = AssertSqlSafe(sql.to_owned());
        if self.is_postgres() {
            sqlx::raw_sql(sql).execute(&mut self.superuser().await).await?;
        } else {
            sqlx::raw_sql(sql).execute(&mut self.file().await).await?;
        }
        Ok(())
    }

    /// Tables of ours, partitions and the migrations' own left out.
    pub async fn tables(&self) -> Vec<String> {
        self.texts(if self.is_postgres() {
            "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace \
             AND relkind IN ('r', 'p', 'm') AND NOT relispartition AND relname <> '_sqlx_migrations' ORDER BY 1"
        } else {
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' \
             AND name <> '_sqlx_migrations' ORDER BY 1"
        })
        .await
    }

    pub async fn columns(&self, table: &str) -> Vec<String> {
        self.texts(&if self.is_postgres() {
            format!(
                "SELECT attname::text FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0 \
                 AND NOT attisdropped ORDER BY attnum"
            )
        } else {
            format!("SELECT name FROM pragma_table_info('{table}')")
        })
        .await
    }
}

/// Makes of each `async fn name(db: Db)` one test on each database.
macro_rules! both {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::support::Db::sqlite().await).await;
            })+
        }

        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                if let Some(db) = crate::support::Db::postgres().await {
                    super::$name(db).await;
                }
            })+
        }
    };
}
pub(crate) use both;

/// 2026-09-21T14:00:00Z, and so many seconds after it.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros((1_789_999_200 + seconds) * 1_000_000)
}
