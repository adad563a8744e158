use super::super::super::{Store, Txn, WatchError};
use super::*;

/// A store with this many keys, each of a kilobyte.
async fn filled(path: &Path, keys: usize) -> Store {
    let store = Store::open_sqlite(path).unwrap();
    for key in 0..keys {
        put(&store, &format!("/k/{key:05}")).await;
    }
    store
}

async fn put(store: &Store, key: &str) -> Revision {
    let txn = Txn::new().put(key, vec![b'x'; 1024]);
    store.txn(txn).await.unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_writes_shows_one_revision_and_all_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = filled(&path, 2_000).await;
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            for n in 0.. {
                let txn = Txn::new()
                    .put(format!("/left/{n}"), "1")
                    .put(format!("/right/{n}"), "1");
                if store.txn(txn).await.is_err() {
                    return n;
                }
            }
            0
        }
    });
    for n in 0..5 {
        let before = store.revision().await.unwrap();
        let to = folder.path().join(format!("backup-{n}"));
        let (from, there) = (path.clone(), to.clone());
        let mut told = Vec::new();
        let (facts, told) = tokio::task::spawn_blocking(move || {
            let facts = backup(&from, &there, |progress| told.push(progress));
            (facts.unwrap(), told)
        })
        .await
        .unwrap();
        assert!(facts.revision >= before);
        assert_eq!(mode(&to), 0o600);
        let last = told.last().unwrap();
        assert!(last.done == last.of && last.of > 2_000 * 1024, "{last:?}");
        assert_eq!(check(&to).unwrap(), facts);
        // Whole revisions alone: as many lefts as rights.
        let copy = Store::open_sqlite(&to).unwrap();
        let sides = ["/left/", "/right/"].map(|side| copy.list(side, usize::MAX, None));
        let [left, right] = sides;
        let (left, right) = (left.await.unwrap(), right.await.unwrap());
        assert_eq!(left.items.len(), right.items.len());
        assert_eq!(facts.revision, 2_000 + left.items.len() as u64);
        copy.close().await;
    }
    store.close().await;
    assert!(writer.await.unwrap() > 0, "it wrote meanwhile");
}

#[tokio::test]
async fn a_backup_takes_no_other_files_place_and_refuses_what_is_no_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = filled(&path, 1).await;
    let to = folder.path().join("backup");
    fs::write(&to, "mine").unwrap();
    let told = |from: &Path, to: &Path| backup(from, to, |_| ()).unwrap_err().to_string();
    assert!(told(&path, &to).contains("is there already"));
    assert_eq!(fs::read(&to).unwrap(), b"mine");
    let to = folder.path().join("other");
    assert!(told(&folder.path().join("nothing"), &to).contains("there is no "));
    let text = folder.path().join("text");
    fs::write(
        &text,
        "no database at all, and long enough to be looked at".repeat(99),
    )
    .unwrap();
    assert!(told(&text, &to).contains("is damaged"));
    let foreign = folder.path().join("foreign");
    let connection = Connection::open(&foreign).unwrap();
    connection.execute_batch("CREATE TABLE t (a)").unwrap();
    drop(connection);
    assert!(told(&foreign, &to).contains("not palisade's"));
    assert!(!to.exists() && !beside(&to, ".partial").exists());
    // A killed backup's left-over is no obstacle, a running one is.
    fs::write(beside(&to, ".partial"), "half").unwrap();
    let running = Draft::begin(beside(&to, ".partial")).unwrap();
    assert!(told(&path, &to).contains("is under way"));
    drop(running);
    fs::set_permissions(beside(&to, ".partial"), Permissions::from_mode(0o666)).unwrap();
    backup(&path, &to, |_| ()).unwrap();
    assert_eq!(mode(&to), 0o600, "whatever the left-over's was");
    store.close().await;
}

// Somebody else can write to the backup folder, and knows the name.
#[tokio::test]
async fn a_backup_follows_no_link_and_empties_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = filled(&path, 1).await;
    let mine = folder.path().join("mine");
    for linked in [
        std::os::unix::fs::symlink as fn(PathBuf, PathBuf) -> io::Result<()>,
        fs::hard_link,
    ] {
        fs::write(&mine, "keep this").unwrap();
        let to = folder.path().join("backup");
        linked(mine.clone(), beside(&to, ".partial")).unwrap();
        assert!(backup(&path, &to, |_| ()).is_err());
        assert_eq!(fs::read(&mine).unwrap(), b"keep this");
        assert!(!to.exists());
        fs::remove_file(beside(&to, ".partial")).unwrap();
    }
    store.close().await;
}

#[tokio::test]
async fn a_name_that_was_taken_meanwhile_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = filled(&path, 1).await;
    let to = folder.path().join("backup");
    let meanwhile = |_| fs::write(&to, "mine").unwrap();
    let refused = backup(&path, &to, meanwhile).unwrap_err();
    assert!(matches!(refused, CopyError::Exists(_)), "{refused}");
    assert_eq!(fs::read(&to).unwrap(), b"mine");
    assert!(!beside(&to, ".partial").exists());
    store.close().await;
}

#[tokio::test]
async fn a_restored_store_gives_no_revision_twice_and_old_watches_list_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = filled(&path, 3).await;
    let saved = folder.path().join("backup");
    let facts = backup(&path, &saved, |_| ()).unwrap();
    let lost = put(&store, "/k/lost").await;
    // While it is open in a gateway nothing happens.
    let refused = Restore::begin(&saved, &path, |_| ()).err().unwrap();
    assert!(
        refused.to_string().contains("open in another palisade"),
        "{refused}"
    );
    store.close().await;
    drop(store);

    let aside = folder.path().join("aside");
    let restore = Restore::begin(&saved, &path, |_| ()).unwrap();
    assert_eq!(
        (restore.facts, restore.old.unwrap().revision),
        (facts, lost)
    );
    let revision = restore.finish(&aside).unwrap();
    assert_eq!(revision, lost + AHEAD);
    assert_eq!(mode(&path), 0o600);

    let store = Store::open_sqlite(&path).unwrap();
    assert_eq!(store.revision().await.unwrap(), revision);
    assert!(store.get("/k/lost").await.unwrap().is_none());
    let kept = store.get("/k/00002").await.unwrap().unwrap();
    assert_eq!(kept.mod_revision, 3, "what was not changed is as it was");
    for after in [0, facts.revision, lost] {
        let watch = store.watch("/k/", after).await;
        assert!(
            matches!(watch.err(), Some(WatchError::Compacted)),
            "{after}"
        );
    }
    assert!(store.watch("/k/", revision).await.is_ok());
    assert_eq!(put(&store, "/k/lost").await, revision + 1);
    store.close().await;
    let old = Store::open_sqlite(&aside).unwrap();
    assert!(
        old.get("/k/lost").await.unwrap().is_some(),
        "nothing was lost"
    );
    old.close().await;
}

#[tokio::test]
async fn a_damaged_store_and_a_missing_one_are_restored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = filled(&path, 50).await;
    let saved = folder.path().join("backup");
    backup(&path, &saved, |_| ()).unwrap();
    store.close().await;
    drop(store);
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096..12_288].fill(0xff);
    fs::write(&path, &bytes).unwrap();
    fs::write(beside(&path, "-wal"), "what was left").unwrap();
    let restore = Restore::begin(&saved, &path, |_| ()).unwrap();
    assert!(restore.old.is_none() && restore.old_is_damaged);
    let aside = folder.path().join("aside");
    restore.finish(&aside).unwrap();
    assert_eq!(fs::read(&aside).unwrap(), bytes);
    assert!(beside(&aside, "-wal").exists());
    let store = Store::open_sqlite(&path).unwrap();
    assert_eq!(store.list("/k/", 100, None).await.unwrap().items.len(), 50);
    store.close().await;
    drop(store);

    let elsewhere = folder.path().join("new.db");
    let restore = Restore::begin(&saved, &elsewhere, |_| ()).unwrap();
    assert!(restore.old.is_none() && !restore.old_is_damaged);
    assert_eq!(restore.finish(&aside).unwrap(), 50 + AHEAD);
    // A backup that is damaged itself changes nothing.
    fs::write(&saved, &bytes).unwrap();
    let before = fs::read(&elsewhere).unwrap();
    let refused = Restore::begin(&saved, &elsewhere, |_| ()).err().unwrap();
    assert!(refused.to_string().contains("is damaged"), "{refused}");
    assert_eq!(fs::read(&elsewhere).unwrap(), before);
    assert!(!beside(&elsewhere, ".restoring").exists());
}
