//! kill -9 in a loop: what was acknowledged is there, whole, once, and in order.
//!
//! The test starts itself as the process to be killed: with [`STORE`] set it opens that store and writes
//! until it dies, saying on stderr what was acknowledged. The parent kills it at moments that its output
//! gives (no timer), opens the store itself and looks. It proves the process's death, not the machine's.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, also in the functions beside it"
)]

use palisade::store::{EventKind, Revision, Store, Txn};
use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
};

/// Names the store to write to; its presence makes the test the writer.
const STORE: &str = "PALISADE_CRASH_TEST_STORE";
/// Kills of a writer that has acknowledged something.
const KILLS: usize = 50;
/// Kills of one that is just opening the store, also while it is being made.
const EARLY_KILLS: usize = 10;
/// Acknowledged writes before each kill: 50 × 41 is more than 2,000.
const ACKNOWLEDGED: usize = 41;
/// Writers at once in the child, so that the store's thread commits batches.
const WRITERS: usize = 16;
/// Each write is a pair of keys under these.
const PAIR: [&str; 2] = ["/palisade/crash/left/", "/palisade/crash/right/"];

#[test]
fn kill_nine_loses_nothing_that_was_acknowledged() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    #[expect(
        clippy::disallowed_methods,
        reason = "how the parent talks to the child"
    )]
    let child = std::env::var_os(STORE);
    match child {
        Some(path) => runtime.block_on(write_until_killed(Path::new(&path))),
        None => runtime.block_on(kill_and_look()),
    }
}

async fn kill_and_look() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mut acknowledged = BTreeMap::new();
    let mut seen = 0;
    for _ in 0..EARLY_KILLS {
        kill_after(&path, 0, &mut acknowledged);
        seen = look(&path, seen, &acknowledged).await;
    }
    for kill in 0..KILLS {
        let before = acknowledged.len();
        kill_after(&path, ACKNOWLEDGED + kill % 7, &mut acknowledged);
        assert!(acknowledged.len() >= before + ACKNOWLEDGED);
        seen = look(&path, seen, &acknowledged).await;
    }
    assert!(acknowledged.len() >= 2000, "{}", acknowledged.len());
}

/// Runs a writer until it has said `count` times that a write was acknowledged, kills it, and adds all that
/// it said.
fn kill_after(path: &Path, count: usize, acknowledged: &mut BTreeMap<String, Revision>) {
    let mut child = spawn(path);
    let mut said = BufReader::new(child.stderr.take().unwrap());
    assert_eq!(line(&mut said).as_deref(), Some("opening"));
    for _ in 0..count {
        note(&line(&mut said).unwrap(), acknowledged);
    }
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert!(!status.success(), "killed, not ended: {status}");
    // What it could still say before it died counts too.
    while let Some(more) = line(&mut said) {
        note(&more, acknowledged);
    }
}

fn spawn(path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "crash::kill_nine_loses_nothing_that_was_acknowledged",
            "--nocapture",
        ])
        .env(STORE, path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The next whole line; one that the kill cut off is none.
fn line(said: &mut BufReader<ChildStderr>) -> Option<String> {
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    line.strip_suffix('\n').map(str::to_owned)
}

fn note(line: &str, acknowledged: &mut BTreeMap<String, Revision>) {
    let (id, revision) = line
        .split_once(' ')
        .unwrap_or_else(|| panic!("the writer said: {line}"));
    let known = acknowledged.insert(id.to_owned(), revision.parse().unwrap());
    assert_eq!(known, None, "{id} was acknowledged twice");
}

/// Opens the store after a kill; `seen` is its revision after the kill before.
async fn look(path: &Path, seen: Revision, acknowledged: &BTreeMap<String, Revision>) -> Revision {
    let store = Store::open_sqlite(path).unwrap();
    let listing = store
        .list("/palisade/crash/", usize::MAX, None)
        .await
        .unwrap();
    let latest = acknowledged.values().max().copied().unwrap_or(0);
    assert!(
        listing.revision >= seen.max(latest),
        "the revision went back"
    );
    let found: BTreeMap<&str, Revision> = listing
        .items
        .iter()
        .map(|kv| (kv.key.as_str(), kv.mod_revision))
        .collect();
    for (id, revision) in acknowledged {
        for side in PAIR {
            let at = found.get(format!("{side}{id}").as_str());
            assert_eq!(at, Some(revision), "{side}{id} was acknowledged");
        }
    }
    assert_eq!(
        replay(&store, seen, listing.revision).await,
        since(&found, seen)
    );
    store.close().await;
    listing.revision
}

/// What a list shows to have been written after `seen`.
fn since(found: &BTreeMap<&str, Revision>, seen: Revision) -> BTreeMap<String, Revision> {
    let new = found.iter().filter(|(_, revision)| **revision > seen);
    new.map(|(key, revision)| ((*key).to_owned(), *revision))
        .collect()
}

/// What a watch shows to have been written after `seen`: every revision once, each a whole pair.
async fn replay(store: &Store, seen: Revision, until: Revision) -> BTreeMap<String, Revision> {
    let mut watch = store.watch("/palisade/crash/", seen).await.unwrap();
    let mut shown = BTreeMap::new();
    for revision in seen + 1..=until {
        let mut ids = Vec::new();
        for (place, side) in PAIR.iter().enumerate() {
            let event = watch.next().await.unwrap().unwrap();
            assert_eq!(event.revision, revision, "a revision is missing or torn");
            assert_eq!(event.last, place + 1 == PAIR.len());
            let EventKind::Put(kv) = event.kind else {
                panic!("nothing was deleted: {}", event.key);
            };
            let id = event.key.strip_prefix(side).unwrap();
            assert_eq!(*kv.value, *value(id));
            ids.push(id.to_owned());
            shown.insert(event.key, revision);
        }
        assert!(ids.first() == ids.last(), "half of {ids:?}");
    }
    shown
}

fn value(id: &str) -> Vec<u8> {
    format!("{{\"id\":\"{id}\",\"pad\":\"{}\"}}", "x".repeat(400)).into_bytes()
}

async fn write_until_killed(path: &Path) {
    say("opening");
    let store = Store::open_sqlite(path).unwrap();
    let process = std::process::id();
    let start = store.revision().await.unwrap();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write(store.clone(), format!("{process}-{start}-{writer}"))))
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

async fn write(store: Store, name: String) {
    // The parent kills after a few dozen; the end is there in case it dies first.
    for round in 0..10_000 {
        let id = format!("{name}-{round}");
        let txn = PAIR.iter().fold(Txn::new(), |txn, side| {
            let key = format!("{side}{id}");
            txn.when(key.clone(), 0).put(key, value(&id))
        });
        let revision = store.txn(txn).await.unwrap();
        say(&format!("{id} {revision}"));
    }
}

/// One write of one line; a parent that is gone ends the child.
fn say(line: &str) {
    std::io::stderr()
        .write_all(format!("{line}\n").as_bytes())
        .unwrap();
}
