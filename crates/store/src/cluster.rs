//! A PostgreSQL of one's own, for tests and benchmarks: a cluster in a temporary folder, reached by a Unix socket,
//! gone when the process that asked for it is gone, however it went.
//!
//! PostgreSQL refuses to run as root; asked by root, it runs as the system's `postgres` user.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::error::StoreError;
use crate::store::Store;

/// Where Debian keeps each version's programs.
const DEBIAN: &str = "/usr/lib/postgresql";

/// Who owns the databases: a login role with no right to look past row level security.
pub const OWNER: &str = "auralink_owner";

/// A database that has been migrated, of which each test gets a copy.
const TEMPLATE: &str = "auralink_template";

/// Longest wait for the server to answer, in steps of [`STEP`].
const STEPS: u32 = 300;
const STEP: Duration = Duration::from_millis(100);

/// Runs beside the process that asked: starts the server, obeys, says each word back once it is done, and cleans up
/// when its input ends.
const KEEPER: &str = r#"
start() { "$1/postgres" -D "$2/data" -k "$2" -c listen_addresses= -c max_connections=200 $3 >>"$2/log" 2>&1 </dev/null & pid=$!; }
start "$@"
while read -r word; do
    case $word in
        kill) kill -QUIT "$pid"; wait "$pid" ;;
        start) start "$@" ;;
    esac
    echo "$word"
done
kill -QUIT "$pid" 2>/dev/null; wait "$pid"; rm -rf "$2"
"#;

/// Whether what is written survives a loss of power. Tests don't care, benchmarks do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// As PostgreSQL is delivered.
    Full,
    /// Nothing waits for the disk.
    None,
}

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    folder: PathBuf,
    keeper: Mutex<Child>,
    template: tokio::sync::OnceCell<()>,
    databases: AtomicU32,
}

impl Cluster {
    /// The one of this process, started when first asked for; `None`, said loudly, where PostgreSQL isn't installed.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
        let start = || match Self::start(Durability::None) {
            Ok(cluster) => Some(cluster),
            Err(error) => {
                eprintln!("SKIPPED on PostgreSQL, which could not be started: {error}");
                None
            }
        };
        SHARED.get_or_init(start).as_ref()
    }

    /// Starts a cluster.
    pub fn start(durability: Durability) -> io::Result<Self> {
        let programs = programs()?;
        // Short: the path of a socket has at most 107 bytes.
        let folder = std::env::temp_dir().join(format!("auralink-pg-{}", uuid::Uuid::new_v4().simple()));
        fs::create_dir(&folder)?;
        // Who reaches the socket is let in.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
        let user = unprivileged(&folder)?;
        let quiet = |command: &mut Command| {
            if let Some((uid, gid)) = user {
                command.uid(uid).gid(gid);
            }
            command.current_dir("/").stdout(Stdio::null());
        };
        let mut initdb = Command::new(programs.join("initdb"));
        quiet(&mut initdb);
        let made = initdb
            .arg("-D")
            .arg(folder.join("data"))
            .args([
                "-A",
                "trust",
                "-U",
                "postgres",
                "-N",
                "--locale=C",
                "--encoding=UTF8",
            ])
            .stderr(Stdio::piped())
            .output()?;
        if !made.status.success() {
            let _ = fs::remove_dir_all(&folder);
            return Err(io::Error::other(
                String::from_utf8_lossy(&made.stderr).into_owned(),
            ));
        }
        let options = match durability {
            Durability::Full => "",
            Durability::None => "-c fsync=off -c synchronous_commit=off -c full_page_writes=off",
        };
        let mut keeper = Command::new("sh");
        quiet(&mut keeper);
        let keeper = keeper
            .args(["-c", KEEPER, "keeper"])
            .arg(programs)
            .arg(&folder)
            .arg(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self {
            folder,
            keeper: Mutex::new(keeper),
            template: tokio::sync::OnceCell::new(),
            databases: AtomicU32::new(0),
        })
    }

    /// URL of a database, as a role.
    pub fn url(&self, role: &str, database: &str) -> String {
        let socket = self.folder.display().to_string().replace('/', "%2F");
        format!("postgres://{role}@{socket}/{database}")
    }

    /// URL of an empty, migrated database, as its owner.
    pub async fn fresh_database(&self) -> Result<String, StoreError> {
        self.template.get_or_try_init(|| self.make_template()).await?;
        self.create(Some(TEMPLATE)).await
    }

    /// URL of a database without anything in it, as its owner.
    pub async fn bare_database(&self) -> Result<String, StoreError> {
        self.template.get_or_try_init(|| self.make_template()).await?;
        self.create(None).await
    }

    /// Everything that the server has on disk.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the server's log is.
    pub fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// The server dies at once, as by a loss of power; it and every process of its is gone when this returns.
    pub fn kill(&self) -> io::Result<()> {
        self.tell("kill\n")
    }

    /// It comes back.
    pub fn restart(&self) -> io::Result<()> {
        self.tell("start\n")
    }

    /// Waits until the server answers.
    pub async fn answers(&self) -> Result<(), StoreError> {
        self.connect().await.map(drop)
    }

    fn tell(&self, word: &str) -> io::Result<()> {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        let Child {
            stdin: Some(input),
            stdout: Some(output),
            ..
        } = &mut *keeper
        else {
            return Err(io::Error::other("no keeper"));
        };
        input.write_all(word.as_bytes())?;
        input.flush()?;
        output.read_exact(&mut vec![0; word.len()])
    }

    async fn connect(&self) -> Result<PgConnection, StoreError> {
        let url = self.url("postgres", "postgres");
        let mut tries = 0;
        loop {
            match PgConnection::connect(&url).await {
                Ok(connection) => return Ok(connection),
                Err(error) if tries == STEPS => return Err(error.into()),
                Err(_) => {
                    tries += 1;
                    tokio::time::sleep(STEP).await;
                }
            }
        }
    }

    async fn make_template(&self) -> Result<(), StoreError> {
        let mut connection = self.connect().await?;
        for sql in [
            format!("CREATE ROLE {OWNER} LOGIN NOINHERIT CREATEROLE"),
            format!("CREATE DATABASE {TEMPLATE} OWNER {OWNER}"),
        ] {
            sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await?;
        }
        self.let_create(TEMPLATE).await?;
        // A copy is refused while anybody is connected to the original.
        Store::open(&self.url(OWNER, TEMPLATE)).await?.close().await;
        Ok(())
    }

    async fn create(&self, template: Option<&str>) -> Result<String, StoreError> {
        let name = format!("auralink_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let template = template.map_or(String::new(), |template| format!(" TEMPLATE {template}"));
        let mut connection = self.connect().await?;
        let sql = format!("CREATE DATABASE {name} OWNER {OWNER}{template}");
        sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await?;
        self.let_create(&name).await?;
        Ok(self.url(OWNER, &name))
    }

    /// As docs/store.md has it for a login role that inherits nothing.
    async fn let_create(&self, database: &str) -> Result<(), StoreError> {
        let mut connection = PgConnection::connect(&self.url("postgres", database)).await?;
        let sql = format!("GRANT CREATE ON SCHEMA public TO {OWNER} WITH GRANT OPTION");
        sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await?;
        connection.close().await?;
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        // The end of its input is the keeper's sign.
        drop(keeper.stdin.take());
        let _ = keeper.wait();
    }
}

/// The newest version that is installed.
fn programs() -> io::Result<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(DEBIAN)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(_, path)| path.join("initdb").exists() && path.join("postgres").exists())
        .collect();
    versions.sort();
    if let Some((_, path)) = versions.pop() {
        return Ok(path);
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths)
        .find(|path| path.join("initdb").exists() && path.join("postgres").exists())
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                "PostgreSQL is not installed (Debian: postgresql)",
            )
        })
}

/// Whom to run as, when this process runs as root: the owner of what it has just made says so.
fn unprivileged(folder: &Path) -> io::Result<Option<(u32, u32)>> {
    if fs::metadata(folder)?.uid() != 0 {
        return Ok(None);
    }
    let passwd = fs::read_to_string("/etc/passwd")?;
    let entry = passwd.lines().find(|line| line.starts_with("postgres:"));
    let ids = entry.and_then(|line| {
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    let (uid, gid) = ids.ok_or_else(|| io::Error::other("root, and there is no user postgres to run as"))?;
    chown(folder, Some(uid), Some(gid))?;
    Ok(Some((uid, gid)))
}
