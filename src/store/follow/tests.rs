use super::*;
use crate::store::Txn;
use bytes::Bytes;
use std::collections::BTreeMap;

const LIMIT: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Seen {
    keys: BTreeMap<String, String>,
    batches: Vec<(usize, Revision, bool)>,
}

/// A running follower with what its sink has seen.
fn follow(store: &Store) -> (Follower, Arc<Mutex<Seen>>, CancellationToken) {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let (follower, stop) = (Follower::new(store.clone()), CancellationToken::new());
    let sink = {
        let seen = seen.clone();
        move |batch: Batch| {
            let mut seen = seen.lock().unwrap();
            let about = (batch.changes.len(), batch.revision, batch.complete);
            seen.batches.push(about);
            for change in batch.changes {
                match change {
                    Change::Put(kv) => {
                        let value = String::from_utf8_lossy(&kv.value).into_owned();
                        seen.keys.insert(kv.key, value);
                    }
                    Change::Delete { key, .. } => drop(seen.keys.remove(&key)),
                }
            }
        }
    };
    tokio::spawn(follower.clone().run(sink, stop.clone()));
    (follower, seen, stop)
}

async fn put(store: &Store, key: &str, value: &str) -> Revision {
    let txn = Txn::new().put(format!("{ROOT}{key}"), value.to_owned());
    store.txn(txn).await.unwrap()
}

fn stores() -> (tempfile::TempDir, [Store; 2]) {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = Store::open_sqlite(folder.path().join("store.db")).unwrap();
    (folder, [Store::memory(), sqlite])
}

#[tokio::test]
async fn a_follower_sees_what_was_there_and_what_comes() {
    let (_folder, stores) = stores();
    for store in stores {
        put(&store, "a", "1").await;
        store.txn(Txn::new().put("/elsewhere", "x")).await.unwrap();
        let (follower, seen, _) = follow(&store);
        assert_eq!((follower.applied(), follower.age()), (0, None));
        follower.wait_for(0, LIMIT).await.unwrap();
        assert_eq!(follower.applied(), 2);
        assert!(follower.age().unwrap() < LIMIT);
        let txn = Txn::new()
            .put(format!("{ROOT}b"), "2")
            .put(format!("{ROOT}c"), "3")
            .delete(format!("{ROOT}a"));
        let revision = store.txn(txn).await.unwrap();
        follower.wait_for(revision, LIMIT).await.unwrap();
        let seen = seen.lock().unwrap();
        let keys: Vec<&str> = seen.keys.keys().map(String::as_str).collect();
        assert_eq!(keys, ["/palisade/b", "/palisade/c"]);
        // One page, the end of the listing, and then one batch for the whole transaction.
        assert_eq!(seen.batches, [(1, 2, false), (0, 2, true), (3, 3, true)]);
    }
}

#[test]
fn a_listing_that_broke_off_hides_no_deletion_from_the_next() {
    let event = |key: &str, kind| Event {
        key: key.to_owned(),
        kind,
        revision: 1,
        last: true,
    };
    let mut known = Known::default();
    for key in ["a", "b", "c", "d"] {
        known.list(key);
    }
    let put = KeyValue {
        key: "e".to_owned(),
        value: Bytes::new(),
        create_revision: 1,
        mod_revision: 1,
        version: 1,
    };
    known.note(&event("e", EventKind::Put(put)));
    known.note(&event("d", EventKind::Delete));
    // The first shows one key and breaks off, the second shows another and comes to its end.
    known.begin();
    known.list("a");
    known.begin();
    known.list("b");
    known.list("new");
    let mut gone: Vec<String> = known.take_unlisted().collect();
    gone.sort();
    assert_eq!(gone, ["a", "c", "e"]);
    known.begin();
    known.list("b");
    assert_eq!(known.take_unlisted().collect::<Vec<_>>(), ["new"]);
}

#[tokio::test]
async fn a_revision_that_does_not_come_is_an_error_in_time() {
    let store = Store::memory();
    let (follower, ..) = follow(&store);
    let waited = follower.wait_for(9, Duration::from_millis(10)).await;
    assert_eq!(waited, Err(Behind { wanted: 9 }));
}

#[tokio::test]
async fn a_follower_that_lags_lists_again_and_misses_no_deletion() {
    let store = Store::memory();
    for i in 0..50 {
        put(&store, &format!("old/{i}"), "").await;
    }
    let (follower, seen, _) = follow(&store);
    follower.wait_for(50, LIMIT).await.unwrap();
    // The runtime has one thread and the memory store never waits: the follower does not run in between.
    for i in 0..50 {
        let gone = Txn::new().delete(format!("{ROOT}old/{i}"));
        store.txn(gone).await.unwrap();
    }
    let mut last = 0;
    for i in 0..1100 {
        last = put(&store, "new", &format!("{i}")).await;
    }
    follower.wait_for(last, LIMIT).await.unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(
        seen.keys,
        BTreeMap::from([(format!("{ROOT}new"), "1099".to_owned())])
    );
    let listings = seen.batches.iter().filter(|(_, _, complete)| !complete);
    assert_eq!(listings.count(), 2);
    assert_eq!(follower.breaks(), 1);
    assert_eq!(follower.heard(), last);
}

#[tokio::test]
async fn the_age_grows_only_while_the_store_is_silent() {
    let store = Store::memory();
    let follower = Follower::new(store.clone());
    let run = tokio::spawn(follower.clone().run(|_| {}, CancellationToken::new()));
    follower.wait_for(0, LIMIT).await.unwrap();
    let first = *follower.contact();
    let mut ticks = interval(PROBE_EVERY / 10);
    let probed = async {
        while *follower.contact() == first {
            ticks.tick().await;
        }
    };
    timeout(LIMIT, probed)
        .await
        .expect("an idle store is asked and the age stays low");
    store.close().await;
    timeout(LIMIT, run).await.unwrap().unwrap();
    let last = *follower.contact();
    ticks.tick().await;
    assert!(follower.age().unwrap() > Duration::ZERO);
    assert_eq!(*follower.contact(), last);
}

#[tokio::test]
async fn a_stopped_follower_ends() {
    let store = Store::memory();
    let follower = Follower::new(store.clone());
    let stop = CancellationToken::new();
    let run = tokio::spawn(follower.clone().run(|_| {}, stop.clone()));
    follower.wait_for(0, LIMIT).await.unwrap();
    stop.cancel();
    timeout(LIMIT, run).await.unwrap().unwrap();
}
