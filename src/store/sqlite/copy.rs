//! Whole copies of a store's file: backups, and putting one back.
//!
//! A copy is made from one read transaction, so it shows one revision, however much is written meanwhile;
//! the gateway that has the store open goes on writing (WAL: readers stop nobody). It grows under another
//! name and gets its own when it is whole, checked and on the disk: a copy that is killed leaves no file
//! that looks like one.
//!
//! What could go wrong when one is put back: a gateway that has the store open (the lock), a moment without
//! a store, in which a start would make an empty one (the new file takes the old one's name in one rename,
//! and the old one has another name by then), a write-ahead log of the old file that is taken for the new
//! one's (it is emptied first), a revision that was given before for something else (see [`AHEAD`]).

use super::{
    super::model::Revision,
    file::{self, OpenError, beside, io_error},
};
use rusqlite::{
    Connection, OpenFlags,
    backup::{Backup, StepResult},
};
use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};
use std::{
    fs::{self, File, Permissions, TryLockError},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// How far the revision of a store that was put back is ahead of the copy's and of the replaced store's.
/// Clients may have seen revisions that the copy never had; none of those may be given again for something
/// else. etcd's `--bump-revision` suggests the same number: at a thousand writes a second it covers eleven
/// days after the backup.
pub const AHEAD: Revision = 1_000_000_000;
/// Pages copied between two words on the progress: four megabytes.
const STEP_PAGES: i32 = 1_000;

/// Why a copy was not made, or not put back.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The store, or the backup, cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is no such file.
    #[error("there is no {}", .0.display())]
    Absent(PathBuf),
    /// A copy never takes the place of something else.
    #[error("{} is there already: a backup takes no other file's place", .0.display())]
    Exists(PathBuf),
    /// Something that was not made here is in the way.
    #[error(
        "{} is in the way: it is no file of this user alone; take it away", .0.display()
    )]
    NotOurs(PathBuf),
    /// Two at once.
    #[error("another backup to {} is under way", .0.display())]
    UnderWay(PathBuf),
    /// SQLite.
    #[error("cannot copy {} to {}: {source}", from.display(), to.display())]
    Copy {
        /// What was read.
        from: PathBuf,
        /// What was written.
        to: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// Somebody reads the old store at this moment.
    #[error("somebody still reads {}: try again when a backup of it is done", .0.display())]
    Read(PathBuf),
}

/// What a store's file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Of its last write.
    pub revision: Revision,
    /// Number of keys.
    pub keys: u64,
    /// Length of the file.
    pub bytes: u64,
}

/// How far a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that are copied.
    pub done: u64,
    /// Bytes in all.
    pub of: u64,
}

/// Reads a store's file whole and says what is in it. It may be open in a gateway.
pub fn check(path: &Path) -> Result<Facts, CopyError> {
    let connection = reader(path)?;
    facts(path, &connection)
}

/// Copies the store to a new file.
pub fn backup(store: &Path, to: &Path, progress: impl FnMut(Progress)) -> Result<Facts, CopyError> {
    let exists = to.try_exists().map_err(io_error(to, "look for"))?;
    if exists {
        return Err(CopyError::Exists(to.to_owned()));
    }
    let draft = Draft::begin(beside(to, ".partial"))?;
    let facts = draft.fill(store, progress)?;
    draft.name_new(to)?;
    Ok(facts)
}

/// A store's place, held against every gateway, and a checked copy of a backup beside it.
pub struct Restore {
    store: PathBuf,
    draft: Draft,
    /// What the backup holds.
    pub facts: Facts,
    /// What is there now and can be read.
    pub old: Option<Facts>,
    /// Whether there is something now that cannot be read.
    pub old_is_damaged: bool,
    /// Held until the end.
    _lock: File,
}

impl Restore {
    /// Copies the backup beside the store. Nothing that is there is touched.
    pub fn begin(
        backup: &Path,
        store: &Path,
        progress: impl FnMut(Progress),
    ) -> Result<Self, CopyError> {
        let lock = file::lock(store)?;
        let (old, old_is_damaged) = match check(store) {
            Ok(facts) => (Some(facts), false),
            Err(CopyError::Absent(_)) => (None, false),
            Err(_) => (None, true),
        };
        let draft = Draft::begin(beside(store, ".restoring"))?;
        let facts = draft.fill(backup, progress)?;
        Ok(Self {
            store: store.to_owned(),
            draft,
            facts,
            old,
            old_is_damaged,
            _lock: lock,
        })
    }

    /// The copy, to be looked into and changed as a store before it counts. It must be closed again.
    pub fn copy(&self) -> &Path {
        &self.draft.path
    }

    /// Puts the copy in the store's place; the old store, if there is one, gets the name `aside`. Gives the
    /// revision from which the store goes on.
    pub fn finish(self, aside: &Path) -> Result<Revision, CopyError> {
        let seen = self.old.map_or(0, |old| old.revision);
        let revision = raise(&self.draft.path, seen)?;
        // What the look into the copy left: its log is in the file by now.
        let _ = fs::remove_file(beside(&self.draft.path, ".lock"));
        if self.old.is_some() || self.old_is_damaged {
            self.put_aside(aside)?;
        }
        self.draft.name(&self.store)?;
        Ok(revision)
    }

    /// Gives the old store a second name, and takes its log away from under its first one.
    fn put_aside(&self, aside: &Path) -> Result<(), CopyError> {
        let wal = beside(&self.store, "-wal");
        if self.old.is_some() {
            empty_wal(&self.store)?;
            if fs::metadata(&wal).is_ok_and(|found| found.len() > 0) {
                return Err(CopyError::Read(self.store.clone()));
            }
        }
        fs::hard_link(&self.store, aside)
            .or_else(|error| {
                if error.kind() == io::ErrorKind::AlreadyExists {
                    return Err(error);
                }
                copy_new(&self.store, aside)
            })
            .map_err(io_error(aside, "put the old store aside as"))?;
        // Of a damaged store: nobody can tell what it is worth, so it is kept.
        for suffix in ["-wal", "-shm"] {
            let there = beside(&self.store, suffix);
            match fs::rename(&there, beside(aside, suffix)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(io_error(&there, "put aside")(error).into()),
            }
        }
        Ok(file::sync_folder(&self.store)?)
    }
}

/// A file that grows under a name of its own.
struct Draft {
    path: PathBuf,
    /// Locked, so that two do not write into it.
    file: File,
}

impl Draft {
    /// Takes the name; what a killed copy left there goes.
    fn begin(path: PathBuf) -> Result<Self, CopyError> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(file::MODE)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(&path)
            .map_err(io_error(&path, "make"))?;
        // Whoever can write to the folder may have put something there: it would be emptied, and what is
        // written be theirs to read.
        let found = file.metadata().map_err(io_error(&path, "look at"))?;
        let own = found.uid() == rustix::process::geteuid().as_raw();
        if !(found.is_file() && found.nlink() == 1 && own) {
            return Err(CopyError::NotOurs(path));
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(CopyError::UnderWay(path)),
            Err(TryLockError::Error(source)) => return Err(io_error(&path, "lock")(source).into()),
        }
        file.set_permissions(Permissions::from_mode(file::MODE))
            .map_err(io_error(&path, "protect"))?;
        file.set_len(0).map_err(io_error(&path, "empty"))?;
        for suffix in ["-wal", "-shm", "-journal"] {
            // None, but for a copy that was killed.
            let _ = fs::remove_file(beside(&path, suffix));
        }
        Ok(Self { path, file })
    }

    /// Copies a store into it, as of one revision, and checks it.
    fn fill(&self, from: &Path, progress: impl FnMut(Progress)) -> Result<Facts, CopyError> {
        let filled = self.try_fill(from, progress);
        if filled.is_err() {
            let _ = fs::remove_file(&self.path);
        }
        filled
    }

    fn try_fill(
        &self,
        from: &Path,
        mut progress: impl FnMut(Progress),
    ) -> Result<Facts, CopyError> {
        let source = reader(from)?;
        let failed = |source| CopyError::Copy {
            from: from.to_owned(),
            to: self.path.clone(),
            source,
        };
        // The transaction holds one revision: a backup that sees writes begins again, without end.
        let snapshot = source.unchecked_transaction().map_err(failed)?;
        let before = file::whole(from, &snapshot, file::Depth::Header)?;
        let page: i64 = snapshot
            .query_row("PRAGMA page_size", [], |row| row.get(0))
            .map_err(failed)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut copy = Connection::open_with_flags(&self.path, flags).map_err(failed)?;
        {
            let backup = Backup::new(&snapshot, &mut copy).map_err(failed)?;
            loop {
                let step = backup.step(STEP_PAGES).map_err(failed)?;
                let at = backup.progress();
                let bytes = |pages: i32| i64::from(pages).saturating_mul(page).unsigned_abs();
                progress(Progress {
                    done: bytes(at.pagecount.saturating_sub(at.remaining)),
                    of: bytes(at.pagecount),
                });
                match step {
                    StepResult::Done => break,
                    StepResult::More => {}
                    // Nobody else has the copy, and readers of a WAL wait for nobody.
                    StepResult::Busy | StepResult::Locked | _ => {
                        let what = "another process has the copy open while it is made";
                        return Err(file::damaged(&self.path, what).into());
                    }
                }
            }
        }
        // One file, without a log beside it.
        let mode: String = copy
            .query_row("PRAGMA journal_mode=DELETE", [], |row| row.get(0))
            .map_err(failed)?;
        if mode != "delete" {
            let what = "the copy could not be made one file, without a log beside it";
            return Err(file::damaged(&self.path, what).into());
        }
        let found = facts(&self.path, &copy)?;
        if found.revision != before {
            let what = "the copy has another revision than what was copied";
            return Err(file::damaged(&self.path, what).into());
        }
        copy.close().map_err(|(_, error)| failed(error))?;
        Ok(found)
    }

    /// Gives it its name, when it is on the disk.
    fn name(self, to: &Path) -> Result<(), CopyError> {
        self.file
            .sync_all()
            .map_err(io_error(&self.path, "write"))?;
        fs::rename(&self.path, to).map_err(io_error(to, "name"))?;
        Ok(file::sync_folder(to)?)
    }

    /// The same, and takes the place of nothing.
    fn name_new(self, to: &Path) -> Result<(), CopyError> {
        self.file
            .sync_all()
            .map_err(io_error(&self.path, "write"))?;
        let named = renameat_with(CWD, &self.path, CWD, to, RenameFlags::NOREPLACE);
        match named.map_err(io::Error::from) {
            Ok(()) => Ok(file::sync_folder(to)?),
            Err(error) => {
                let _ = fs::remove_file(&self.path);
                if error.kind() == io::ErrorKind::AlreadyExists {
                    return Err(CopyError::Exists(to.to_owned()));
                }
                Err(io_error(to, "name")(error).into())
            }
        }
    }
}

/// Where links cannot be made. Never into a file that is there: it may be an older store that is kept.
fn copy_new(from: &Path, to: &Path) -> io::Result<()> {
    let mut to = File::options()
        .create_new(true)
        .write(true)
        .mode(file::MODE)
        .open(to)?;
    io::copy(&mut File::open(from)?, &mut to)?;
    to.sync_all()
}

fn reader(path: &Path) -> Result<Connection, CopyError> {
    let found = fs::metadata(path);
    match found {
        Ok(found) if found.len() == 0 => {
            return Err(file::damaged(path, "it has no content").into());
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(CopyError::Absent(path.to_owned()));
        }
        Err(error) => return Err(io_error(path, "look at")(error).into()),
    }
    file::open_reader(path).map_err(|error| file::unreadable(path, &error).into())
}

fn facts(path: &Path, connection: &Connection) -> Result<Facts, CopyError> {
    let revision = file::whole(path, connection, file::Depth::All)?;
    let keys: i64 = connection
        .query_row("SELECT count(*) FROM kv", [], |row| row.get(0))
        .map_err(|error| file::unreadable(path, &error))?;
    let bytes = fs::metadata(path).map_err(io_error(path, "look at"))?.len();
    Ok(Facts {
        revision,
        keys: keys.unsigned_abs(),
        bytes,
    })
}

/// Sets the revision far ahead of its own and of `seen`, and forgets the log: a watch from before must list
/// again, as after any compaction.
fn raise(path: &Path, seen: Revision) -> Result<Revision, CopyError> {
    let attempt = || -> rusqlite::Result<Revision> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags)?;
        let tx = connection.transaction()?;
        let own: i64 = tx.query_row(
            "SELECT value FROM meta WHERE name = 'revision'",
            [],
            |row| row.get(0),
        )?;
        let revision = own.cast_unsigned().max(seen).saturating_add(AHEAD);
        tx.execute("DELETE FROM log", [])?;
        tx.execute(
            "UPDATE meta SET value = ?1 WHERE name IN ('revision', 'compacted')",
            [revision.cast_signed()],
        )?;
        tx.commit()?;
        // A look into the copy as a store has left it in WAL mode.
        connection.query_row("PRAGMA journal_mode=DELETE", [], |_| Ok(()))?;
        connection.close().map_err(|(_, error)| error)?;
        Ok(revision)
    };
    attempt().map_err(|error| file::unreadable(path, &error).into())
}

/// Brings what is in the log into the file.
fn empty_wal(path: &Path) -> Result<(), CopyError> {
    let attempt = || -> rusqlite::Result<()> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        connection.close().map_err(|(_, error)| error)
    };
    attempt().map_err(|error| file::unreadable(path, &error).into())
}

#[cfg(test)]
mod tests;
