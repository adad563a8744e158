//! The file: made whole or not at all, opened by one gateway, refused when it is not what it should be.
//!
//! The worst that an identity store can do is to open *empty* where something was: the first stranger
//! would set it up anew. So a new store is built under another name and renamed when it is complete, an
//! existing file is never created over (also one of zero bytes), and a write-ahead log without its main
//! file is refused.

use super::super::model::Revision;
use rusqlite::{Connection, OpenFlags};
use std::{
    ffi::OsString,
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

/// Layout of the tables below; a file with a higher one is refused.
const SCHEMA: i64 = 1;
/// `PRAGMA application_id`: tells our file from any other program's database ("PLSD").
const APPLICATION_ID: i32 = 0x504c_5344;
/// Only the owner reads a file of hashes and sealed credentials. SQLite gives `-wal` and `-shm` the same.
pub(super) const MODE: u32 = 0o600;
/// Wait for SQLite's own locks, which only a support person's `sqlite3` shell could hold.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// The write-ahead log shrinks to this after a checkpoint, should it ever have grown beyond.
const WAL_BYTES: i64 = 64 << 20;

const TABLES: &str = "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE kv (
        key TEXT PRIMARY KEY,
        value BLOB NOT NULL,
        create_rev INTEGER NOT NULL,
        mod_rev INTEGER NOT NULL,
        version INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE log (
        rev INTEGER NOT NULL,
        sub INTEGER NOT NULL,
        key TEXT NOT NULL,
        value BLOB,
        create_rev INTEGER NOT NULL,
        version INTEGER NOT NULL,
        PRIMARY KEY (rev, sub)
    ) WITHOUT ROWID;
    INSERT INTO meta VALUES ('revision', 0), ('compacted', 0);
";

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{} is open in another palisade process; one store file serves one gateway", path.display())]
    InUse {
        /// The store.
        path: PathBuf,
    },
    /// The file system refuses.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// A verb.
        doing: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// It is there, but it is not a whole store.
    #[error(
        "{} is damaged: {what}. It was left as it is; restore it from a backup, or move it away to begin anew",
        path.display()
    )]
    Damaged {
        /// The store.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// It is some other program's database.
    #[error("{} is a database, but not palisade's", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A newer gateway wrote it.
    #[error(
        "{} has store layout {found}, newer than {SCHEMA}: run the newer palisade",
        path.display()
    )]
    Newer {
        /// The store.
        path: PathBuf,
        /// Its layout.
        found: i64,
    },
}

/// An open store, before its writer runs.
pub(super) struct Opened {
    /// The writing connection. Stands before the lock: fields drop in order.
    pub(super) connection: Connection,
    pub(super) revision: Revision,
    /// Held for as long as the connection lives.
    pub(super) lock: File,
}

pub(super) fn open(path: &Path) -> Result<Opened, OpenError> {
    let lock = lock(path)?;
    let exists = |path: &Path| {
        path.try_exists()
            .map_err(io_error(path, "look for the store"))
    };
    if !exists(path)? {
        if exists(&beside(path, "-wal"))? {
            return Err(damaged(
                path,
                "its main file is gone, its log (-wal) is there",
            ));
        }
        create(path)?;
    }
    restrict(path)?;
    let length = fs::metadata(path).map_err(io_error(path, "look at"))?.len();
    if length == 0 {
        return Err(damaged(path, "it has no content"));
    }
    let connection = connect(path).map_err(|error| unreadable(path, &error))?;
    let revision = check(path, &connection)?;
    Ok(Opened {
        connection,
        revision,
        lock,
    })
}

/// A connection that cannot write.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(LOCK_WAIT)?;
    Ok(connection)
}

/// The lock is on a file of its own: SQLite's locks on the database would shut out our own readers.
pub(super) fn lock(path: &Path) -> Result<File, OpenError> {
    let name = beside(path, ".lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(MODE)
        .open(&name)
        .map_err(io_error(&name, "make the lock file"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(io_error(&name, "lock")(source)),
    }
}

/// Builds an empty store and gives it its name last, so that a crash leaves none or a whole one.
fn create(path: &Path) -> Result<(), OpenError> {
    let draft = beside(path, ".new");
    for leftover in [draft.clone(), beside(&draft, "-journal")] {
        match fs::remove_file(&leftover) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_error(&leftover, "remove")(error)),
        }
    }
    let file = File::options()
        .create_new(true)
        .write(true)
        .mode(MODE)
        .open(&draft)
        .map_err(io_error(&draft, "make"))?;
    fill(&draft).map_err(|error| unreadable(&draft, &error))?;
    file.sync_all().map_err(io_error(&draft, "write"))?;
    fs::rename(&draft, path).map_err(io_error(&draft, "rename"))?;
    sync_folder(path)
}

/// Brings a name to the disk.
pub(super) fn sync_folder(path: &Path) -> Result<(), OpenError> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        Some(_) | None => Path::new("."),
    };
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(io_error(folder, "write"))
}

fn fill(draft: &Path) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(draft, flags)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    let tables = connection.transaction()?;
    tables.execute_batch(TABLES)?;
    tables.execute("INSERT INTO meta VALUES ('schema', ?1)", [SCHEMA])?;
    tables.commit()?;
    connection.close().map_err(|(_, error)| error)
}

/// A file that others may read is narrowed: whoever reads it can try passwords at leisure.
fn restrict(path: &Path) -> Result<(), OpenError> {
    let mode = fs::metadata(path)
        .map_err(io_error(path, "look at"))?
        .permissions()
        .mode();
    if mode & 0o777 & !MODE == 0 {
        return Ok(());
    }
    tracing::warn!(store = %path.display(), "the store was open to others; its mode is now 0600");
    fs::set_permissions(path, fs::Permissions::from_mode(MODE))
        .map_err(io_error(path, "set the mode of"))
}

/// The writing connection: each commit is on the disk before anybody hears of it.
fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(LOCK_WAIT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(connection)
}

/// A store that is to be served: whole, and written durably.
fn check(path: &Path, connection: &Connection) -> Result<Revision, OpenError> {
    let revision = whole(path, connection, Depth::Quick)?;
    let durability = super::writer::durability(connection).map_err(|e| unreadable(path, &e))?;
    if !durability.is_full() {
        return Err(damaged(path, "it cannot be written durably (WAL, FULL)"));
    }
    Ok(revision)
}

/// How much of a file is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// Whose it is, and its layout.
    Header,
    /// Every page, once: a second for a million objects (600 MB, in the page cache).
    Quick,
    /// Every page and every order of keys.
    All,
}

/// Whether it is a whole store of this layout or an older one; its revision.
pub(super) fn whole(
    path: &Path,
    connection: &Connection,
    depth: Depth,
) -> Result<Revision, OpenError> {
    let number = |sql: &str| {
        connection
            .query_row(sql, [], |row| row.get::<_, i64>(0))
            .map_err(|error| unreadable(path, &error))
    };
    if number("PRAGMA application_id")? != i64::from(APPLICATION_ID) {
        return Err(OpenError::Foreign {
            path: path.to_owned(),
        });
    }
    let found = number("SELECT value FROM meta WHERE name = 'schema'")?;
    if found > SCHEMA {
        return Err(OpenError::Newer {
            path: path.to_owned(),
            found,
        });
    }
    let pragma = match depth {
        Depth::Header => None,
        Depth::Quick => Some("PRAGMA quick_check(1)"),
        Depth::All => Some("PRAGMA integrity_check(1)"),
    };
    if let Some(pragma) = pragma {
        let verdict: String = connection
            .query_row(pragma, [], |row| row.get(0))
            .map_err(|error| unreadable(path, &error))?;
        if verdict != "ok" {
            return Err(damaged(path, &verdict));
        }
    }
    let revision = number("SELECT value FROM meta WHERE name = 'revision'")?;
    let logged = number("SELECT ifnull(max(rev), 0) FROM log")?;
    if revision < logged {
        return Err(damaged(path, "its log is ahead of its revision"));
    }
    Ok(revision.cast_unsigned())
}

pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

pub(super) fn io_error(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io {
        path,
        doing,
        source,
    }
}

pub(super) fn damaged(path: &Path, what: &str) -> OpenError {
    OpenError::Damaged {
        path: path.to_owned(),
        what: what.to_owned(),
    }
}

pub(super) fn unreadable(path: &Path, error: &rusqlite::Error) -> OpenError {
    damaged(path, &error.to_string())
}
