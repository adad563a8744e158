//! The queries. Each runs inside a transaction of its caller, so that all it reads is of one revision.

use super::super::{
    hub::Page,
    model::{Event, EventKind, KeyValue, Listing, MAX_TXN_OPS, Revision, prefix_end},
};
use rusqlite::{Connection, OptionalExtension, Row, types::Value};

/// Log entries read at once by a watch that catches up. More than one transaction can write, so that a
/// page always holds a whole revision.
const REPLAY_PAGE: usize = MAX_TXN_OPS * 4;

pub(super) fn revision(connection: &Connection) -> rusqlite::Result<Revision> {
    meta(connection, "revision")
}

pub(super) fn meta(connection: &Connection, name: &str) -> rusqlite::Result<Revision> {
    connection
        .prepare_cached("SELECT value FROM meta WHERE name = ?1")?
        .query_row([name], |row| unsigned(row, 0))
}

pub(super) fn get(connection: &Connection, key: &str) -> rusqlite::Result<Option<KeyValue>> {
    connection
        .prepare_cached("SELECT key, value, create_rev, mod_rev, version FROM kv WHERE key = ?1")?
        .query_row([key], key_value)
        .optional()
}

pub(super) fn list(
    connection: &Connection,
    prefix: &str,
    limit: usize,
    after: Option<&str>,
) -> rusqlite::Result<Listing> {
    let revision = revision(connection)?;
    // The next possible key after `after` is the one with a zero byte more.
    let start = match after {
        Some(after) if after >= prefix => format!("{after}\0"),
        Some(_) | None => prefix.to_owned(),
    };
    let take = i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX);
    let mut items = connection
        .prepare_cached(
            "SELECT key, value, create_rev, mod_rev, version FROM kv
             WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT ?3",
        )?
        .query_map((start, upper_bound(prefix), take), key_value)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let more = items.len() > limit;
    items.truncate(limit);
    Ok(Listing {
        items,
        revision,
        more,
    })
}

/// The log after `after`, up to `until`, or a part of it that ends with a whole revision. `None` if it no
/// longer reaches back to `after`.
pub(super) fn replay(
    connection: &Connection,
    prefix: &str,
    after: Revision,
    until: Revision,
) -> rusqlite::Result<Option<Page>> {
    if after < meta(connection, "compacted")? {
        return Ok(None);
    }
    let mut events = connection
        .prepare_cached(
            "SELECT rev, key, value, create_rev, version FROM log
             WHERE rev > ?1 AND rev <= ?2 AND key >= ?3 AND key < ?4 ORDER BY rev, sub LIMIT ?5",
        )?
        .query_map(
            (
                after.cast_signed(),
                until.cast_signed(),
                prefix,
                upper_bound(prefix),
                i64::try_from(REPLAY_PAGE).unwrap_or(i64::MAX),
            ),
            event,
        )?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut through = until;
    if events.len() == REPLAY_PAGE
        && let Some(cut) = events.last().map(|event| event.revision)
    {
        // The page is full: its last revision may go on in the next one.
        events.retain(|event| event.revision < cut);
        through = cut - 1;
    }
    Ok(Some(Page { events, through }))
}

/// SQLite orders every BLOB after every TEXT: an empty one is the bound that all keys are under.
fn upper_bound(prefix: &str) -> Value {
    prefix_end(prefix).map_or_else(|| Value::Blob(Vec::new()), Value::Text)
}

fn key_value(row: &Row<'_>) -> rusqlite::Result<KeyValue> {
    Ok(KeyValue {
        key: row.get(0)?,
        value: row.get::<_, Vec<u8>>(1)?.into(),
        create_revision: unsigned(row, 2)?,
        mod_revision: unsigned(row, 3)?,
        version: unsigned(row, 4)?,
    })
}

fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    let revision = unsigned(row, 0)?;
    let key: String = row.get(1)?;
    let kind = match row.get::<_, Option<Vec<u8>>>(2)? {
        None => EventKind::Delete,
        Some(value) => EventKind::Put(KeyValue {
            key: key.clone(),
            value: value.into(),
            create_revision: unsigned(row, 3)?,
            mod_revision: revision,
            version: unsigned(row, 4)?,
        }),
    };
    Ok(Event {
        revision,
        key,
        kind,
        last: false,
    })
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.cast_unsigned())
}
