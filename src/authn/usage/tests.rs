//! Tests of last use: what is written, how much of it, and beside other replicas.

use super::*;
use crate::{
    authn::{Slot, TokenText},
    objects::{Kind as _, Member, Stored, Token, TokenKind, TokenPrivate, TokenSpec},
    store::{
        KeyValue,
        follow::{Batch, Change, ROOT},
    },
};

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(minute * 60 + 59).unwrap()
}

fn minute(minute: i64) -> Timestamp {
    Timestamp::from_second(minute * 60).unwrap()
}

/// A gateway's memory that is as the store is.
struct Replica {
    index: Arc<Index>,
    store: Store,
}

impl Replica {
    async fn of(store: &Store) -> Self {
        let replica = Self {
            index: Arc::new(Index::new()),
            store: store.clone(),
        };
        replica.look().await;
        replica
    }

    async fn look(&self) {
        let items = self.keys(ROOT).await;
        let changes = items.into_iter().map(Change::Put).collect();
        self.index.apply_batch(&Batch {
            changes,
            complete: true,
            revision: 0,
        });
    }

    async fn keys(&self, prefix: &str) -> Vec<KeyValue> {
        let listing = self.store.list(prefix, 10_000, None).await.unwrap();
        assert!(!listing.more);
        listing.items
    }

    async fn make(&self) -> TokenId {
        let id = TokenText::generate(TokenKind::Pat).unwrap().id();
        self.write(id, 1).await;
        id
    }

    async fn write(&self, id: TokenId, end: i64) {
        let spec = TokenSpec {
            user: Member {
                name: "jane".to_owned(),
                uid: "1".to_owned(),
            },
            expires_at: Some(minute(end)),
            ..TokenSpec::default()
        };
        let private = TokenPrivate {
            sha256: "0".repeat(64),
            ..TokenPrivate::default()
        };
        let value = Stored::new(Token::new(id.as_str(), spec), private).encode();
        let key = Token::key(id.as_str());
        self.store.txn(Txn::new().put(key, value)).await.unwrap();
        self.look().await;
    }

    fn touch(&self, id: TokenId, minute: i64) {
        self.index.token(id, |slot| match slot.unwrap() {
            Slot::Known(token) => token.last_use.touch(at(minute)),
            Slot::Unreadable => panic!("it can be read"),
        });
    }

    fn last(&self, id: TokenId) -> Option<Timestamp> {
        self.index.last_use(id)
    }

    async fn save(&self) {
        save(&self.index, &self.store).await;
        self.look().await;
    }
}

#[tokio::test]
async fn the_latest_minute_counts_whoever_saw_it_and_outlives_the_process() {
    let store = Store::memory();
    let one = Replica::of(&store).await;
    let (used, unused) = (one.make().await, one.make().await);
    let other = Replica::of(&store).await;
    assert_eq!(one.last(used), None);
    one.touch(used, 100);
    one.touch(used, 90);
    assert_eq!(one.last(used), Some(minute(100)), "a clock that goes back");
    other.touch(used, 120);
    other.save().await;
    one.save().await;
    other.look().await;
    let third = Replica::of(&store).await;
    for replica in [&one, &other, &third] {
        assert_eq!(replica.last(used), Some(minute(120)));
        assert_eq!(replica.last(unused), None);
    }
}

#[tokio::test]
async fn a_use_that_is_not_written_yet_stays_when_the_token_is_written_anew() {
    let store = Store::memory();
    let one = Replica::of(&store).await;
    let id = one.make().await;
    one.touch(id, 100);
    one.write(id, 2).await;
    assert_eq!(one.last(id), Some(minute(100)));
    one.save().await;
    assert_eq!(Replica::of(&store).await.last(id), Some(minute(100)));
}

#[tokio::test]
async fn writes_are_bounded_by_the_keys_and_made_for_what_is_new_alone() {
    let store = Store::memory();
    let one = Replica::of(&store).await;
    let mut ids = Vec::new();
    for _ in 0..300 {
        ids.push(one.make().await);
    }
    let revision = async || store.list(ROOT, 1, None).await.unwrap().revision;
    let before = revision().await;
    for id in &ids {
        one.touch(*id, 100);
    }
    one.save().await;
    let written = revision().await - before;
    let keys = one.keys(PREFIX).await.len();
    assert!(keys > SHARDS / 2 && keys <= SHARDS, "{keys}");
    assert_eq!(written, keys as u64);
    let before = revision().await;
    for id in &ids {
        one.touch(*id, 100);
    }
    one.save().await;
    assert_eq!(revision().await, before, "nothing new, nothing written");
}

#[tokio::test]
async fn uses_of_tokens_that_are_gone_go_with_the_next_write() {
    let store = Store::memory();
    let one = Replica::of(&store).await;
    let (gone, stays) = (one.make().await, one.make().await);
    let file = key(stays);
    let left = serde_json::json!({gone.as_str(): 7, "not a token": 8});
    let put = Txn::new().put(&*file, serde_json::to_vec(&left).unwrap());
    store.txn(put).await.unwrap();
    let delete = Txn::new().delete(Token::key(gone.as_str()));
    store.txn(delete).await.unwrap();
    let one = Replica::of(&store).await;
    one.touch(stays, 100);
    one.save().await;
    let value = store.get(&file).await.unwrap().unwrap().value;
    let uses = read(&value).unwrap();
    assert_eq!(uses, Uses::from([(stays.to_string(), 100)]));
}

#[tokio::test]
async fn what_a_newer_build_wrote_is_left_alone() {
    let store = Store::memory();
    let one = Replica::of(&store).await;
    let id = one.make().await;
    let newer = br#"{"form": "new"}"#.to_vec();
    store
        .txn(Txn::new().put(key(id), newer.clone()))
        .await
        .unwrap();
    one.look().await;
    one.touch(id, 100);
    one.save().await;
    let value = store.get(&key(id)).await.unwrap().unwrap().value;
    assert_eq!(value, newer);
    assert_eq!(one.last(id), Some(minute(100)), "it counts here");
    // Nor does it hold up what comes after it.
    let mut others = Vec::new();
    for _ in 0..100 {
        others.push(one.make().await);
    }
    others.retain(|other| key(*other) != key(id));
    for other in &others {
        one.touch(*other, 100);
    }
    one.save().await;
    let anew = Replica::of(&store).await;
    assert!(
        others
            .iter()
            .all(|other| anew.last(*other) == Some(minute(100)))
    );
}

#[test]
fn of_too_many_the_newest_are_kept() {
    let many = u32::try_from(MAX_TOKENS + 10).unwrap();
    let mut all: Uses = (0..many).map(|n| (format!("{n:016}"), n)).collect();
    keep_newest(&mut all);
    assert_eq!(all.len(), MAX_TOKENS);
    assert!(all.values().all(|minute| *minute >= 10));
    // Also if all were used in one minute: a value that is too large would never be written.
    let mut all: Uses = (0..many).map(|n| (format!("{n:016}"), u32::MAX)).collect();
    keep_newest(&mut all);
    assert_eq!(all.len(), MAX_TOKENS);
    assert!(serde_json::to_vec(&all).unwrap().len() < crate::store::MAX_TXN_BYTES);
}
