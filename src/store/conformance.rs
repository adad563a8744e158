//! What every back end must do, run against each.

use super::{
    EventKind, MAX_KEY_BYTES, MAX_TXN_BYTES, MAX_TXN_OPS, Memory, Op, Sqlite, Store, StoreError,
    Txn, Watch, WatchError, model::LogBounds,
};
use proptest::prelude::*;
use tempfile::TempDir;

struct Backend {
    name: &'static str,
    store: Store,
    _folder: TempDir,
}

fn backends_keeping(events: usize, bytes: usize) -> Vec<Backend> {
    let bounds = LogBounds { events, bytes };
    let folder = || tempfile::tempdir().unwrap();
    let with_file = folder();
    let file = with_file.path().join("store.db");
    vec![
        Backend {
            name: "memory",
            store: Store::Memory(Memory::with_bounds(bounds)),
            _folder: folder(),
        },
        Backend {
            name: "sqlite",
            store: Store::Sqlite(Sqlite::open_with(&file, bounds).unwrap()),
            _folder: with_file,
        },
    ]
}

fn backends() -> Vec<Backend> {
    backends_keeping(1000, 1 << 20)
}

fn keys(items: &[super::KeyValue]) -> Vec<&str> {
    items.iter().map(|kv| kv.key.as_str()).collect()
}

/// `revision key put|delete last?` of the next events.
async fn take(watch: &mut Watch, count: usize) -> Vec<String> {
    let mut seen = Vec::new();
    for _ in 0..count {
        let event = watch.next().await.unwrap().unwrap();
        let kind = match event.kind {
            EventKind::Put(kv) => format!("put {}", String::from_utf8_lossy(&kv.value)),
            EventKind::Delete => "delete".to_owned(),
        };
        let last = if event.last { " last" } else { "" };
        seen.push(format!("{} {} {kind}{last}", event.revision, event.key));
    }
    seen
}

#[tokio::test]
async fn an_empty_store_has_revision_zero_and_nothing_in_it() {
    for Backend { name, store, .. } in backends() {
        assert_eq!(store.revision().await.unwrap(), 0, "{name}");
        assert_eq!(store.get("a").await.unwrap(), None, "{name}");
        let listing = store.list("", 10, None).await.unwrap();
        assert!(listing.items.is_empty() && !listing.more && listing.revision == 0);
    }
}

#[tokio::test]
async fn a_key_keeps_its_history() {
    for Backend { name, store, .. } in backends() {
        assert_eq!(store.txn(Txn::new().put("a", "1")).await.unwrap(), 1);
        assert_eq!(store.txn(Txn::new().put("b", "1")).await.unwrap(), 2);
        assert_eq!(store.txn(Txn::new().put("a", "2")).await.unwrap(), 3);
        let a = store.get("a").await.unwrap().unwrap();
        assert_eq!(
            (&*a.value, a.create_revision, a.mod_revision, a.version),
            (b"2".as_slice(), 1, 3, 2),
            "{name}"
        );
        store.txn(Txn::new().delete("a")).await.unwrap();
        assert_eq!(store.get("a").await.unwrap(), None);
        store.txn(Txn::new().put("a", "3")).await.unwrap();
        let a = store.get("a").await.unwrap().unwrap();
        assert_eq!(
            (a.create_revision, a.mod_revision, a.version),
            (5, 5, 1),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_failed_compare_writes_nothing() {
    for Backend { name, store, .. } in backends() {
        store.txn(Txn::new().put("a", "1")).await.unwrap();
        let writes = [
            Txn::new().when("a", 0).put("a", "2").put("b", "2"),
            Txn::new().when("a", 7).delete("a"),
            Txn::new().when("c", 1).put("c", "2"),
            Txn::new().when("a", 1).when("c", 1).put("a", "2"),
        ];
        for txn in writes {
            let refused = store.txn(txn).await;
            assert!(
                matches!(refused, Err(StoreError::Conflict { .. })),
                "{name}"
            );
        }
        let listing = store.list("", 10, None).await.unwrap();
        assert_eq!(
            (keys(&listing.items), listing.revision),
            (vec!["a"], 1),
            "{name}"
        );
        let right = Txn::new()
            .when("a", 1)
            .when("b", 0)
            .put("a", "2")
            .put("b", "1");
        assert_eq!(store.txn(right).await.unwrap(), 2, "{name}");
    }
}

#[tokio::test]
async fn of_many_writers_that_expect_the_same_revision_one_wins() {
    for Backend { name, store, .. } in backends() {
        let tries = (0..50).map(|i| {
            let store = store.clone();
            tokio::spawn(async move {
                store
                    .txn(Txn::new().when("a", 0).put("a", format!("{i}")))
                    .await
            })
        });
        let mut won = 0;
        for attempt in tries.collect::<Vec<_>>() {
            match attempt.await.unwrap() {
                Ok(revision) => won += revision,
                Err(error) => assert!(matches!(error, StoreError::Conflict { .. }), "{name}"),
            }
        }
        assert_eq!(won, 1, "{name}");
        assert_eq!(store.get("a").await.unwrap().unwrap().version, 1, "{name}");
    }
}

#[tokio::test]
async fn what_changes_nothing_raises_no_revision() {
    for Backend { name, store, .. } in backends() {
        store.txn(Txn::new().put("a", "1")).await.unwrap();
        assert_eq!(store.txn(Txn::new()).await.unwrap(), 1, "{name}");
        assert_eq!(
            store.txn(Txn::new().delete("b")).await.unwrap(),
            1,
            "{name}"
        );
        assert_eq!(
            store.txn(Txn::new().when("a", 1)).await.unwrap(),
            1,
            "{name}"
        );
        assert_eq!(
            store.txn(Txn::new().put("a", "1")).await.unwrap(),
            2,
            "{name}"
        );
    }
}

#[tokio::test]
async fn what_is_too_large_or_ambiguous_is_refused() {
    let mut many = Txn::new();
    for i in 0..=MAX_TXN_OPS {
        many = many.put(format!("k{i}"), "");
    }
    let refused = [
        many,
        Txn::new().put("a", vec![0; MAX_TXN_BYTES]),
        Txn::new().put("", "1"),
        Txn::new().when("", 0),
        Txn::new().put("k".repeat(MAX_KEY_BYTES + 1), "1"),
        Txn::new().put("a", "1").put("b", "1").delete("a"),
    ];
    for Backend { name, store, .. } in backends() {
        for txn in &refused {
            let answer = store.txn(txn.clone()).await;
            assert!(matches!(answer, Err(StoreError::Invalid(_))), "{name}");
        }
        assert_eq!(store.revision().await.unwrap(), 0, "{name}");
        let largest = Txn::new().put(
            "k".repeat(MAX_KEY_BYTES),
            vec![0; MAX_TXN_BYTES - MAX_KEY_BYTES],
        );
        assert_eq!(store.txn(largest).await.unwrap(), 1, "{name}");
    }
}

#[tokio::test]
async fn a_list_pages_through_one_prefix_in_byte_order() {
    for Backend { name, store, .. } in backends() {
        for key in [
            "/b/2",
            "/a/x",
            "/b/10",
            "/b/1",
            "/b",
            "/b/é",
            "/b0",
            "/b/1\u{0}",
            "/c/1",
        ] {
            store.txn(Txn::new().put(key, "")).await.unwrap();
        }
        let all = ["/b/1", "/b/1\u{0}", "/b/10", "/b/2", "/b/é"];
        let mut paged: Vec<String> = Vec::new();
        loop {
            let after = paged.last().map(String::as_str);
            let page = store.list("/b/", 2, after).await.unwrap();
            assert_eq!(page.revision, 9);
            assert_eq!(
                page.more,
                paged.len() + page.items.len() < all.len(),
                "{name}"
            );
            paged.extend(page.items.into_iter().map(|kv| kv.key));
            if !page.more {
                break;
            }
        }
        assert_eq!(paged, all, "{name}");
        let early = store.list("/b/", 1, Some("/a")).await.unwrap();
        assert_eq!(keys(&early.items), ["/b/1"], "{name}");
        let none = store.list("/b/", 10, Some("/c")).await.unwrap();
        assert!(none.items.is_empty() && !none.more, "{name}");
        let zero = store.list("/b/", 0, None).await.unwrap();
        assert!(zero.items.is_empty() && zero.more, "{name}");
    }
}

#[tokio::test]
async fn a_scan_shows_one_revision_while_others_write() {
    for Backend { name, store, .. } in backends() {
        for chunk in 0..20 {
            let mut txn = Txn::new();
            for i in 0..100 {
                txn = txn.put(format!("k{:04}", chunk * 100 + i), "old");
            }
            store.txn(txn).await.unwrap();
        }
        let mut scan = store.scan("k").await.unwrap();
        assert_eq!(scan.revision, 20, "{name}");
        let mut found = scan.next().await.unwrap().unwrap();
        store
            .txn(Txn::new().put("k1999", "new").delete("k1998"))
            .await
            .unwrap();
        while let Some(page) = scan.next().await {
            found.extend(page.unwrap());
        }
        assert_eq!(found.len(), 2000, "{name}");
        assert!(found.iter().all(|kv| &*kv.value == b"old"), "{name}");
        assert!(found.is_sorted_by(|a, b| a.key < b.key), "{name}");
    }
}

#[tokio::test]
async fn a_watch_replays_the_log_and_goes_on_live_without_a_gap() {
    for Backend { name, store, .. } in backends() {
        store.txn(Txn::new().put("/a/1", "one")).await.unwrap();
        store.txn(Txn::new().put("/b/1", "other")).await.unwrap();
        let both = Txn::new()
            .put("/a/2", "two")
            .delete("/a/1")
            .put("/b/2", "x");
        store.txn(both).await.unwrap();
        let mut watch = store.watch("/a/", 0).await.unwrap();
        let mut late = store.watch("/a/", 1).await.unwrap();
        let mut live = store.watch("/a/", 3).await.unwrap();
        store
            .txn(Txn::new().put("/a/3", "three").put("/b/3", "x"))
            .await
            .unwrap();
        let all = [
            "1 /a/1 put one last",
            "3 /a/2 put two",
            "3 /a/1 delete last",
            "4 /a/3 put three last",
        ];
        assert_eq!(take(&mut watch, 4).await, all, "{name}");
        assert_eq!(take(&mut late, 3).await, all[1..], "{name}");
        assert_eq!(take(&mut live, 1).await, all[3..], "{name}");
    }
}

#[tokio::test]
async fn a_watch_replays_more_than_one_page_of_large_transactions() {
    for Backend { name, store, .. } in backends_keeping(5000, 1 << 20) {
        for round in 0..20 {
            let mut txn = Txn::new();
            for i in 0..MAX_TXN_OPS {
                txn = txn.put(format!("k{i:03}"), format!("{round}"));
            }
            store.txn(txn).await.unwrap();
        }
        let mut watch = store.watch("k", 0).await.unwrap();
        for revision in 1..=20 {
            for i in 0..MAX_TXN_OPS {
                let event = watch.next().await.unwrap().unwrap();
                assert_eq!(
                    (event.revision, event.key),
                    (revision, format!("k{i:03}")),
                    "{name}"
                );
                assert_eq!(event.last, i + 1 == MAX_TXN_OPS, "{name}");
            }
        }
    }
}

#[tokio::test]
async fn a_watch_from_before_the_compaction_is_told_to_list_again() {
    for Backend { name, store, .. } in backends() {
        for i in 0..5 {
            store
                .txn(Txn::new().put("a", format!("{i}")))
                .await
                .unwrap();
        }
        let mut running = store.watch("a", 5).await.unwrap();
        store.compact(3).await.unwrap();
        store.compact(2).await.unwrap();
        for after in [0, 2] {
            let refused = store.watch("a", after).await.err();
            assert!(matches!(refused, Some(WatchError::Compacted)), "{name}");
        }
        let mut watch = store.watch("a", 3).await.unwrap();
        assert_eq!(
            take(&mut watch, 2).await,
            ["4 a put 3 last", "5 a put 4 last"],
            "{name}"
        );
        store.compact(5).await.unwrap();
        store.txn(Txn::new().put("a", "5")).await.unwrap();
        assert_eq!(take(&mut running, 1).await, ["6 a put 5 last"], "{name}");
        assert_eq!(
            &*store.get("a").await.unwrap().unwrap().value,
            b"5",
            "{name}"
        );
        let future = store.compact(9).await;
        assert!(matches!(future, Err(StoreError::Invalid(_))), "{name}");
    }
}

#[tokio::test]
async fn a_watch_from_the_future_is_told_to_list_again() {
    for Backend { name, store, .. } in backends() {
        store.txn(Txn::new().put("a", "1")).await.unwrap();
        let refused = store.watch("a", 2).await.err();
        assert!(matches!(refused, Some(WatchError::Compacted)), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_from_what_a_list_showed_is_never_refused_while_others_write() {
    for Backend { name, store, .. } in backends() {
        // Paced: a writer that never pauses can keep a reader from the memory back end's lock for ever.
        let pace = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
        let writer = tokio::spawn({
            let (store, pace) = (store.clone(), pace.clone());
            async move {
                for i in 0.. {
                    pace.acquire().await.unwrap().forget();
                    store.txn(Txn::new().put("a", format!("{i}"))).await?;
                }
                Ok::<(), StoreError>(())
            }
        });
        for _ in 0..300 {
            // Two writes beside the listing and the watch, and one that surely comes after them.
            pace.add_permits(2);
            let listed = store.list("", 1, None).await.unwrap().revision;
            let mut watch = store.watch("", listed).await.unwrap();
            pace.add_permits(1);
            assert_eq!(
                watch.next().await.unwrap().unwrap().revision,
                listed + 1,
                "{name}"
            );
        }
        store.close().await;
        pace.add_permits(10);
        assert!(writer.await.unwrap().is_err());
    }
}

#[tokio::test]
async fn the_log_is_bounded_by_events_and_by_bytes() {
    for Backend { name, store, .. } in backends_keeping(16, 1 << 20) {
        for i in 0..100 {
            store
                .txn(Txn::new().put("a", format!("{i}")))
                .await
                .unwrap();
        }
        assert!(store.watch("a", 80).await.is_err(), "{name}");
        let mut watch = store.watch("a", 84).await.unwrap();
        assert_eq!(take(&mut watch, 1).await, ["85 a put 84 last"], "{name}");
    }
    for Backend { name, store, .. } in backends_keeping(1000, 10_000) {
        for _ in 0..100 {
            store
                .txn(Txn::new().put("a", vec![b'x'; 999]))
                .await
                .unwrap();
        }
        assert!(store.watch("a", 85).await.is_err(), "{name}");
        assert!(store.watch("a", 91).await.is_ok(), "{name}");
        assert_eq!(
            store.get("a").await.unwrap().unwrap().version,
            100,
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_watcher_that_does_not_read_is_told_that_it_lags() {
    for Backend { name, store, .. } in backends_keeping(10_000, 1 << 20) {
        let mut slow = store.watch("a", 0).await.unwrap();
        let writes = (0..1100).map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.txn(Txn::new().put("a", "")).await })
        });
        for write in writes.collect::<Vec<_>>() {
            write.await.unwrap().unwrap();
        }
        let first = slow.next().await;
        assert!(matches!(first, Some(Err(WatchError::Lagged))), "{name}");
        assert!(slow.next().await.is_none(), "{name}");
    }
}

#[tokio::test]
async fn a_closed_store_refuses_and_ends_its_watches() {
    for Backend { name, store, .. } in backends() {
        store.txn(Txn::new().put("a", "1")).await.unwrap();
        let mut watch = store.watch("a", 1).await.unwrap();
        store.close().await;
        assert!(watch.next().await.is_none(), "{name}");
        let closed = |error| matches!(error, StoreError::Closed);
        assert!(
            store.txn(Txn::new().put("a", "2")).await.is_err_and(closed),
            "{name}"
        );
        assert!(store.get("a").await.is_err_and(closed), "{name}");
        assert!(store.watch("a", 0).await.is_err(), "{name}");
        store.close().await;
    }
}

fn some_txn() -> impl Strategy<Value = Txn> {
    let key = || (0..6u8).prop_map(|i| format!("k{i}"));
    let op = (key(), any::<Option<u8>>()).prop_map(|(key, value)| match value {
        Some(byte) => Op::Put {
            key,
            value: vec![byte].into(),
        },
        None => Op::Delete { key },
    });
    let compares = prop::collection::vec((key(), 0..12u64), 0..2);
    (compares, prop::collection::vec(op, 0..4)).prop_map(|(compares, ops)| {
        let txn = Txn {
            compares: vec![],
            ops,
        };
        compares
            .into_iter()
            .fold(txn, |txn, (key, at)| txn.when(key, at))
    })
}

/// What can be seen of a store.
async fn view(store: &Store) -> (Vec<super::KeyValue>, u64, Vec<super::Event>) {
    let listing = store.list("", 100, None).await.unwrap();
    let mut watch = store.watch("", 0).await.unwrap();
    let mut events: Vec<super::Event> = Vec::new();
    while events.last().map_or(0, |event| event.revision) < listing.revision
        || !events.last().is_none_or(|event| event.last)
    {
        events.push(watch.next().await.unwrap().unwrap());
    }
    (listing.items, listing.revision, events)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_back_ends_cannot_be_told_apart(txns in prop::collection::vec(some_txn(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let [memory, sqlite] = <[Backend; 2]>::try_from(backends()).ok().unwrap();
            for txn in txns {
                let expected = memory.store.txn(txn.clone()).await;
                let found = sqlite.store.txn(txn).await;
                assert_eq!(format!("{expected:?}"), format!("{found:?}"));
            }
            assert_eq!(view(&memory.store).await, view(&sqlite.store).await);
        });
    }
}
