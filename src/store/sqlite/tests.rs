//! What only a file can do: live on, be damaged, be somebody else's, be opened twice.

use super::super::{OpenError, Store, Txn};
use rusqlite::Connection;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    (folder, path)
}

async fn filled(path: &Path, keys: usize) {
    let store = Store::open_sqlite(path).unwrap();
    for i in 0..keys {
        let txn = Txn::new().put(format!("k{i:04}"), format!("value {i}").repeat(20));
        store.txn(txn).await.unwrap();
    }
    store.close().await;
}

fn refusal(path: &Path) -> OpenError {
    Store::open_sqlite(path).err().unwrap()
}

#[tokio::test]
async fn the_writing_connection_is_in_wal_mode_and_syncs_each_commit() {
    let (_folder, path) = folder();
    for round in ["new", "reopened"] {
        let Store::Sqlite(sqlite) = Store::open_sqlite(&path).unwrap() else {
            panic!("a file is SQLite's");
        };
        let durability = sqlite.durability().await.unwrap();
        assert_eq!(durability.journal_mode, "wal", "{round}");
        assert_eq!(durability.synchronous, 2, "{round}: FULL is 2");
        assert!(durability.is_full());
        sqlite.close().await;
    }
}

#[tokio::test]
async fn a_reopened_store_has_its_keys_revision_and_log() {
    let (_folder, path) = folder();
    filled(&path, 5).await;
    let store = Store::open_sqlite(&path).unwrap();
    assert_eq!(store.revision().await.unwrap(), 5);
    assert_eq!(store.list("", 10, None).await.unwrap().items.len(), 5);
    let mut watch = store.watch("", 3).await.unwrap();
    for revision in [4, 5] {
        assert_eq!(watch.next().await.unwrap().unwrap().revision, revision);
    }
    assert_eq!(store.txn(Txn::new().delete("k0000")).await.unwrap(), 6);
    assert_eq!(watch.next().await.unwrap().unwrap().revision, 6);
}

#[tokio::test]
async fn compaction_outlives_a_restart() {
    let (_folder, path) = folder();
    filled(&path, 5).await;
    let store = Store::open_sqlite(&path).unwrap();
    store.compact(5).await.unwrap();
    store.close().await;
    let store = Store::open_sqlite(&path).unwrap();
    assert!(store.watch("", 4).await.is_err());
    assert!(store.watch("", 5).await.is_ok());
}

#[tokio::test]
async fn one_file_serves_one_gateway() {
    let (_folder, path) = folder();
    let store = Store::open_sqlite(&path).unwrap();
    let error = refusal(&path);
    assert!(matches!(error, OpenError::InUse { .. }));
    assert!(
        error
            .to_string()
            .contains("open in another palisade process")
    );
    store.close().await;
    Store::open_sqlite(&path).unwrap();
}

#[tokio::test]
async fn only_the_owner_can_read_the_files() {
    let (folder, path) = folder();
    filled(&path, 1).await;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let store = Store::open_sqlite(&path).unwrap();
    store.txn(Txn::new().put("a", "1")).await.unwrap();
    let mut names = Vec::new();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.file_name());
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(
        names,
        ["store.db", "store.db-shm", "store.db-wal", "store.db.lock"]
    );
}

#[tokio::test]
async fn a_newer_store_is_refused_and_left_alone() {
    let (_folder, path) = folder();
    filled(&path, 1).await;
    let connection = Connection::open(&path).unwrap();
    connection
        .execute("UPDATE meta SET value = 2 WHERE name = 'schema'", [])
        .unwrap();
    connection.close().unwrap();
    let error = refusal(&path);
    assert!(matches!(error, OpenError::Newer { found: 2, .. }));
    assert!(error.to_string().ends_with("run the newer palisade"));
    assert!(matches!(refusal(&path), OpenError::Newer { found: 2, .. }));
}

#[tokio::test]
async fn another_programs_database_is_refused() {
    let (_folder, path) = folder();
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch("CREATE TABLE songs (title TEXT)")
        .unwrap();
    connection.close().unwrap();
    assert!(matches!(refusal(&path), OpenError::Foreign { .. }));
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_not_one_byte_of_it_changes() {
    let (_folder, path) = folder();
    filled(&path, 400).await;
    let whole = fs::read(&path).unwrap();
    assert!(whole.len() > 40_000);
    let mut garbled = whole.clone();
    garbled[4096 * 3..4096 * 5].fill(0xa5);
    let cases = [
        ("empty", Vec::new()),
        ("text", b"hello, I am no database\n".repeat(200)),
        ("cut", whole[..whole.len() / 2].to_vec()),
        ("garbled", garbled),
    ];
    for (case, content) in cases {
        fs::write(&path, &content).unwrap();
        let error = refusal(&path);
        assert!(
            matches!(error, OpenError::Damaged { .. }),
            "{case}: {error:?}"
        );
        assert!(
            error.to_string().contains("restore it from a backup"),
            "{case}"
        );
        assert_eq!(fs::read(&path).unwrap(), content, "{case}");
    }
    fs::write(&path, &whole).unwrap();
    Store::open_sqlite(&path).unwrap();
}

#[tokio::test]
async fn a_log_without_its_main_file_is_refused() {
    let (folder, path) = folder();
    filled(&path, 1).await;
    fs::rename(&path, folder.path().join("elsewhere")).unwrap();
    fs::write(folder.path().join("store.db-wal"), "frames").unwrap();
    let error = refusal(&path);
    assert!(error.to_string().contains("its main file is gone"));
    assert!(!path.exists());
}

#[tokio::test]
async fn what_a_crash_left_of_a_creation_is_made_anew() {
    let (folder, path) = folder();
    fs::write(folder.path().join("store.db.new"), "half a file").unwrap();
    let store = Store::open_sqlite(&path).unwrap();
    assert_eq!(store.revision().await.unwrap(), 0);
    assert!(!folder.path().join("store.db.new").exists());
}

#[tokio::test]
async fn a_folder_that_is_missing_is_named() {
    let (folder, _) = folder();
    let error = refusal(&folder.path().join("gone/store.db"));
    assert!(error.to_string().contains("gone/store.db.lock"), "{error}");
}

#[tokio::test]
async fn a_write_that_fails_is_no_success_and_the_store_goes_on() {
    let (_folder, path) = folder();
    let store = Store::open_sqlite(&path).unwrap();
    store.txn(Txn::new().put("a", "1")).await.unwrap();
    // A trigger makes the second of two puts fail, in the middle of a transaction.
    let other = Connection::open(&path).unwrap();
    let trigger = "CREATE TRIGGER stop BEFORE INSERT ON kv WHEN NEW.key = 'bad'
                   BEGIN SELECT RAISE(ABORT, 'no'); END";
    other.execute_batch(trigger).unwrap();
    let failed = store.txn(Txn::new().put("b", "1").put("bad", "1")).await;
    assert!(
        matches!(failed, Err(super::StoreError::Unavailable(_))),
        "{failed:?}"
    );
    assert_eq!(store.get("b").await.unwrap(), None);
    assert_eq!(store.txn(Txn::new().put("c", "1")).await.unwrap(), 2);
    let mut watch = store.watch("", 0).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().key, "a");
    assert_eq!(watch.next().await.unwrap().unwrap().key, "c");
}

/// What a commit leaves whose outcome the writer did not learn, and what readers see of any commit in the
/// moment before it is published.
fn commit_behind_the_writer(path: &Path) {
    let other = Connection::open(path).unwrap();
    other
        .execute_batch(
            "BEGIN;
             INSERT INTO kv VALUES ('a', x'31', 1, 1, 1);
             INSERT INTO log VALUES (1, 0, 'a', x'31', 1, 1);
             UPDATE meta SET value = 1 WHERE name = 'revision';
             COMMIT;",
        )
        .unwrap();
}

#[tokio::test]
async fn a_commit_that_is_not_yet_published_is_not_the_future() {
    let (_folder, path) = folder();
    let store = Store::open_sqlite(&path).unwrap();
    commit_behind_the_writer(&path);
    let listed = store.list("", 10, None).await.unwrap();
    assert_eq!((listed.items.len(), listed.revision), (1, 1));
    let mut watch = store.watch("", 1).await.unwrap();
    store.txn(Txn::new().put("b", "2")).await.unwrap();
    let event = watch.next().await.unwrap().unwrap();
    assert_eq!((event.revision, event.key.as_str()), (2, "b"));
    assert!(store.watch("", 3).await.is_err());
}

#[tokio::test]
async fn a_commit_of_unknown_outcome_reaches_the_watches_once_it_counts() {
    let (_folder, path) = folder();
    let store = Store::open_sqlite(&path).unwrap();
    let mut watch = store.watch("", 0).await.unwrap();
    commit_behind_the_writer(&path);
    let lost = store.txn(Txn::new().when("a", 0).put("a", "2")).await;
    assert!(matches!(lost, Err(super::StoreError::Conflict { .. })));
    assert_eq!(store.txn(Txn::new().put("b", "2")).await.unwrap(), 2);
    for (revision, key) in [(1, "a"), (2, "b")] {
        let event = watch.next().await.unwrap().unwrap();
        assert_eq!(
            (event.revision, event.key.as_str(), event.last),
            (revision, key, true)
        );
    }
}
