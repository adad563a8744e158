//! The one thread that writes.
//!
//! It takes all transactions that wait, up to a bound, applies them in order inside one SQLite
//! transaction, commits once (one fsync for all of them), publishes the events and answers. A failed
//! compare answers a conflict and changes nothing for the others.
//!
//! What could go wrong: a commit that fails half-way. Before COMMIT nothing was written, and that is what
//! the callers hear. When COMMIT itself fails nobody knows what a crash would leave, so they hear
//! "uncertain", and the next attempt starts from the revision that the file has.

use super::{
    super::{
        hub::Hub,
        model::{Event, EventKind, KeyValue, LogBounds, Op, Revision, StoreError, Txn, mark_last},
    },
    file::Opened,
    read,
};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use std::{fs::File, io, sync::Arc};
use tokio::sync::{mpsc, oneshot};

/// Transactions in one commit. Beyond this the fsync costs nothing more to share, and the first of the
/// batch waits for the last.
const BATCH: usize = 128;

/// What the handles ask of the writer.
pub(super) enum Request {
    Txn {
        txn: Txn,
        answer: oneshot::Sender<Result<Revision, StoreError>>,
    },
    Compact {
        revision: Revision,
        answer: oneshot::Sender<Result<(), StoreError>>,
    },
    Durability {
        answer: oneshot::Sender<Result<Durability, StoreError>>,
    },
    Stop {
        answer: oneshot::Sender<()>,
    },
}

/// How the writing connection writes, in its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durability {
    /// `PRAGMA journal_mode`.
    pub journal_mode: String,
    /// `PRAGMA synchronous`: 0 off, 1 normal, 2 full, 3 extra.
    pub synchronous: i64,
}

impl Durability {
    /// Whether a commit is on the disk when it is acknowledged.
    pub fn is_full(&self) -> bool {
        self.journal_mode == "wal" && self.synchronous == 2
    }
}

pub(super) fn durability(connection: &Connection) -> rusqlite::Result<Durability> {
    Ok(Durability {
        journal_mode: connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?,
        synchronous: connection.query_row("PRAGMA synchronous", [], |row| row.get(0))?,
    })
}

/// A failure, by whether the commit was begun.
enum Failure {
    Before(rusqlite::Error),
    Committing(rusqlite::Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Before(error)
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Before(error) => Self::Unavailable(Arc::new(error)),
            Failure::Committing(error) => Self::Uncertain(Arc::new(error)),
        }
    }
}

type Waiting = (Txn, oneshot::Sender<Result<Revision, StoreError>>);

/// What a commit did.
struct Done {
    answers: Vec<Result<Revision, StoreError>>,
    published: Vec<(Revision, Vec<Event>)>,
    log: LogBounds,
}

pub(super) struct Writer {
    /// Stands before the lock: fields drop in order.
    connection: Connection,
    #[expect(
        dead_code,
        reason = "held, never used: dropping it lets the next gateway in"
    )]
    lock: File,
    requests: mpsc::Receiver<Request>,
    hub: Arc<Hub>,
    /// The last revision that was published.
    revision: Revision,
    bounds: LogBounds,
    /// What the log holds.
    log: LogBounds,
}

impl Writer {
    pub(super) fn spawn(
        opened: Opened,
        requests: mpsc::Receiver<Request>,
        hub: Arc<Hub>,
        bounds: LogBounds,
    ) -> io::Result<()> {
        let log = log_size(&opened.connection).map_err(io::Error::other)?;
        let writer = Self {
            connection: opened.connection,
            lock: opened.lock,
            requests,
            hub,
            revision: opened.revision,
            bounds,
            log,
        };
        std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run())?;
        Ok(())
    }

    fn run(mut self) {
        let stopped = self.serve();
        self.hub.close();
        self.requests.close();
        while let Ok(request) = self.requests.try_recv() {
            refuse(request);
        }
        drop(self);
        if let Some(answer) = stopped {
            // An error says that whoever asked has gone.
            let _ = answer.send(());
        }
    }

    /// Until somebody says stop, or nobody has a handle any more.
    fn serve(&mut self) -> Option<oneshot::Sender<()>> {
        while let Some(request) = self.requests.blocking_recv() {
            let mut batch = Vec::new();
            let mut next = Some(request);
            while let Some(Request::Txn { txn, answer }) = next {
                batch.push((txn, answer));
                if batch.len() == BATCH {
                    next = None;
                    break;
                }
                next = self.requests.try_recv().ok();
            }
            if !batch.is_empty() {
                self.write(batch);
            }
            // An error of `send` says that whoever asked has gone.
            match next {
                Some(Request::Compact { revision, answer }) => {
                    let _ = answer.send(self.compact(revision));
                }
                Some(Request::Durability { answer }) => {
                    let found = durability(&self.connection).map_err(Failure::Before);
                    let _ = answer.send(found.map_err(StoreError::from));
                }
                Some(Request::Stop { answer }) => return Some(answer),
                Some(Request::Txn { .. }) | None => {}
            }
        }
        None
    }

    fn write(&mut self, batch: Vec<Waiting>) {
        match self.commit(&batch) {
            Ok(done) => {
                self.log = done.log;
                for (revision, events) in done.published {
                    self.revision = revision;
                    self.hub.publish(revision, events);
                }
                for ((_, answer), outcome) in batch.into_iter().zip(done.answers) {
                    let _ = answer.send(outcome);
                }
            }
            Err(failure) => {
                let error = StoreError::from(failure);
                tracing::error!(error = ?error, "the store could not commit");
                for (_, answer) in batch {
                    let _ = answer.send(Err(error.clone()));
                }
            }
        }
    }

    fn commit(&mut self, batch: &[Waiting]) -> Result<Done, Failure> {
        let tx = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut revision = read::revision(&tx)?;
        let mut done = Done {
            answers: Vec::with_capacity(batch.len()),
            published: Vec::new(),
            log: self.log,
        };
        if revision != self.revision {
            // A commit that was answered as uncertain counted after all: its watchers must hear of it.
            done.published = missed(&tx, self.revision, revision)?;
            done.log = log_size(&tx)?;
        }
        for (txn, _) in batch {
            if let Some(key) = conflict(&tx, txn)? {
                done.answers.push(Err(StoreError::Conflict { key }));
                continue;
            }
            let events = apply(&tx, txn, revision + 1)?;
            if !events.is_empty() {
                revision += 1;
                done.log.events += events.len();
                done.log.bytes += events.iter().map(Event::bytes).sum::<usize>();
                done.published.push((revision, events));
            }
            done.answers.push(Ok(revision));
        }
        if done.published.is_empty() {
            // Nothing changed: no commit, no fsync.
            return Ok(done);
        }
        set_meta(&tx, "revision", revision)?;
        if self.bounds.exceeded(done.log) {
            done.log = trim(&tx, self.bounds, done.log)?;
        }
        tx.commit().map_err(Failure::Committing)?;
        Ok(done)
    }

    fn compact(&mut self, revision: Revision) -> Result<(), StoreError> {
        if revision > self.revision {
            return Err(StoreError::Invalid("compaction of the future"));
        }
        let mut attempt = || {
            let tx = self
                .connection
                .transaction_with_behavior(TransactionBehavior::Immediate)?;
            cut(&tx, revision)?;
            let log = log_size(&tx)?;
            tx.commit().map_err(Failure::Committing)?;
            Ok::<_, Failure>(log)
        };
        self.log = attempt()?;
        Ok(())
    }
}

fn refuse(request: Request) {
    // An error of `send` says that whoever asked has gone.
    match request {
        Request::Txn { answer, .. } => drop(answer.send(Err(StoreError::Closed))),
        Request::Compact { answer, .. } => drop(answer.send(Err(StoreError::Closed))),
        Request::Durability { answer } => drop(answer.send(Err(StoreError::Closed))),
        Request::Stop { answer } => drop(answer.send(())),
    }
}

/// The first key whose compare fails.
fn conflict(tx: &Transaction<'_>, txn: &Txn) -> rusqlite::Result<Option<String>> {
    let mut statement = tx.prepare_cached("SELECT mod_rev FROM kv WHERE key = ?1")?;
    for compare in &txn.compares {
        let found: Option<i64> = statement
            .query_row([&compare.key], |row| row.get(0))
            .optional()?;
        if found.unwrap_or(0) != compare.mod_revision.cast_signed() {
            return Ok(Some(compare.key.clone()));
        }
    }
    Ok(None)
}

/// Writes the keys and the log; the events that this gives, none if nothing changed.
fn apply(tx: &Transaction<'_>, txn: &Txn, revision: Revision) -> rusqlite::Result<Vec<Event>> {
    let mut events = Vec::with_capacity(txn.ops.len());
    for op in &txn.ops {
        let kind = match op {
            Op::Put { key, value } => EventKind::Put(put(tx, key, value.clone(), revision)?),
            Op::Delete { key } => {
                let mut statement = tx.prepare_cached("DELETE FROM kv WHERE key = ?1")?;
                if statement.execute([key])? == 0 {
                    continue;
                }
                EventKind::Delete
            }
        };
        let event = Event {
            revision,
            key: op.key().to_owned(),
            kind,
            last: false,
        };
        record(tx, events.len(), &event)?;
        events.push(event);
    }
    mark_last(&mut events);
    Ok(events)
}

fn put(
    tx: &Transaction<'_>,
    key: &str,
    value: bytes::Bytes,
    revision: Revision,
) -> rusqlite::Result<KeyValue> {
    let (create_revision, version) = tx
        .prepare_cached(
            "INSERT INTO kv (key, value, create_rev, mod_rev, version) VALUES (?1, ?2, ?3, ?3, 1)
             ON CONFLICT (key) DO UPDATE
             SET value = excluded.value, mod_rev = excluded.mod_rev, version = version + 1
             RETURNING create_rev, version",
        )?
        .query_row((key, &*value, revision.cast_signed()), |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
        })?;
    Ok(KeyValue {
        key: key.to_owned(),
        value,
        create_revision: create_revision.cast_unsigned(),
        mod_revision: revision,
        version: version.cast_unsigned(),
    })
}

fn record(tx: &Transaction<'_>, sub: usize, event: &Event) -> rusqlite::Result<()> {
    let (value, created, version) = match &event.kind {
        EventKind::Put(kv) => (Some(&*kv.value), kv.create_revision, kv.version),
        EventKind::Delete => (None, 0, 0),
    };
    tx.prepare_cached(
        "INSERT INTO log (rev, sub, key, value, create_rev, version) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute((
        event.revision.cast_signed(),
        i64::try_from(sub).unwrap_or(i64::MAX),
        &event.key,
        value,
        created.cast_signed(),
        version.cast_signed(),
    ))?;
    Ok(())
}

fn set_meta(tx: &Transaction<'_>, name: &str, value: Revision) -> rusqlite::Result<()> {
    tx.prepare_cached("UPDATE meta SET value = ?2 WHERE name = ?1")?
        .execute((name, value.cast_signed()))?;
    Ok(())
}

/// Cuts the oldest revisions until the log is within its bounds.
fn trim(
    tx: &Transaction<'_>,
    bounds: LogBounds,
    mut used: LogBounds,
) -> rusqlite::Result<LogBounds> {
    let mut through = 0;
    {
        let mut statement = tx.prepare_cached(
            "SELECT rev, count(*), sum(length(CAST(key AS BLOB)) + ifnull(length(value), 0))
             FROM log GROUP BY rev ORDER BY rev",
        )?;
        let mut rows = statement.query([])?;
        while !bounds.holds(used)
            && let Some(row) = rows.next()?
        {
            through = row.get::<_, i64>(0)?.cast_unsigned();
            used.events = used.events.saturating_sub(size(row, 1)?);
            used.bytes = used.bytes.saturating_sub(size(row, 2)?);
        }
    }
    cut(tx, through)?;
    Ok(used)
}

fn cut(tx: &Transaction<'_>, through: Revision) -> rusqlite::Result<()> {
    tx.prepare_cached("DELETE FROM log WHERE rev <= ?1")?
        .execute([through.cast_signed()])?;
    let compacted = read::meta(tx, "compacted")?;
    set_meta(tx, "compacted", compacted.max(through))
}

fn log_size(connection: &Connection) -> rusqlite::Result<LogBounds> {
    connection.query_row(
        "SELECT count(*), ifnull(sum(length(CAST(key AS BLOB)) + ifnull(length(value), 0)), 0) FROM log",
        [],
        |row| {
            Ok(LogBounds {
                events: size(row, 0)?,
                bytes: size(row, 1)?,
            })
        },
    )
}

fn size(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<usize> {
    Ok(usize::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}

/// The committed transactions that were never published.
fn missed(
    tx: &Transaction<'_>,
    mut after: Revision,
    until: Revision,
) -> rusqlite::Result<Vec<(Revision, Vec<Event>)>> {
    let mut found: Vec<(Revision, Vec<Event>)> = Vec::new();
    while after < until {
        let Some(page) = read::replay(tx, "", after, until)? else {
            break;
        };
        after = page.through;
        for event in page.events {
            match found.last_mut() {
                Some((revision, events)) if *revision == event.revision => events.push(event),
                Some(_) | None => found.push((event.revision, vec![event])),
            }
        }
    }
    for (_, events) in &mut found {
        mark_last(events);
    }
    Ok(found)
}
