//! A store that fails while a token is being changed for another.

use super::*;
use crate::{
    authn::{AuthnError, providers::refresh::LOOK},
    store::StoreError,
};
use std::io;

fn down() -> StoreError {
    StoreError::Unavailable(Arc::new(io::Error::other("no space left")))
}

fn uncertain() -> StoreError {
    StoreError::Uncertain(Arc::new(io::Error::other("the disk said nothing")))
}

fn conflict() -> StoreError {
    StoreError::Conflict {
        key: "the account".to_owned(),
    }
}

impl World {
    pub(super) fn fail_writes(&self, with: impl IntoIterator<Item = StoreError>) {
        let Store::Memory(memory) = &self.store else {
            panic!("it is in memory");
        };
        memory.fail_writes(with);
    }

    /// Reads the account; from the question on, writes fail so.
    async fn read_while(&self, replica: &Replica, failing: Vec<StoreError>) -> bool {
        let account = self.account(replica).await;
        self.issuer.turns.forget_permits(1_000);
        let before = self.issuer.state().asked.len();
        let meanwhile = async {
            self.issuer.until_asked(before + 1).await;
            self.fail_writes(failing);
            self.issuer.turns.add_permits(1_000);
        };
        let (read, ()) = tokio::join!(replica.read(&account), meanwhile);
        read
    }

    /// The issuer has given a token in place of the old one, and the store takes nothing for long.
    pub(super) async fn has_rotated(&self, replica: &Replica) {
        "rotated".clone_into(&mut self.issuer.state().good);
        let old = self.record().await.0.grant.unwrap();
        let new = self.seal("rotated");
        self.fail_writes(vec![down(); 1_000]);
        tokio::time::pause();
        let rotated = Rotated { old, new };
        replica.refresher.keep(&self.key, rotated).await;
        tokio::time::resume();
    }

    /// The same, and the store takes everything again.
    async fn with_a_token_that_waits() -> (Self, Replica) {
        let world = Self::new().await;
        let replica = world.replica();
        world.has_rotated(&replica).await;
        world.fail_writes([]);
        (world, replica)
    }

    pub(super) async fn groups(&self) -> usize {
        self.record().await.0.groups.len()
    }
}

// L4, T10: the new token is written with the second try, or the third; the word that came with it is asked for again.
#[tokio::test]
async fn a_new_token_outlives_a_store_that_fails_for_a_moment() {
    for (failing, groups) in [
        (vec![down()], 0),
        (vec![StoreError::Busy, down()], 0),
        (vec![conflict(), conflict()], 0),
        // Nobody knows, and it was written.
        (vec![uncertain()], 1),
        (vec![down(), uncertain()], 0),
    ] {
        let world = World::new().await;
        let replica = world.replica();
        let told = format!("{failing:?}");
        assert!(world.read_while(&replica, failing).await, "{told}");
        assert_eq!(world.grant().await, "r1", "{told}");
        assert_eq!(world.groups().await, groups, "{told}");
        assert_eq!(world.record().await.0.asked_at, None, "{told}");
        // Written as of six minutes ago, unless all of it was.
        let account = world.account(&replica).await;
        assert!(replica.read(&account).await, "{told}");
        let all = asked(&["r0", "r1"]);
        assert_eq!(world.issuer.state().asked, all[..2 - groups], "{told}");
        assert_eq!(world.groups().await, 1, "{told}");
    }
}

// L4, T10: nobody is asked with the old token, nobody gains a right, and in the end nobody can tell.
#[tokio::test]
async fn a_new_token_outlives_a_store_that_fails_for_long() {
    let world = World::new().await;
    let (replica, account) = world.reader().await;
    world.has_rotated(&replica).await;
    assert!(replica.read(&account).await);
    assert!(world.issuer.state().asked.is_empty());
    assert!(!account.may_be_read(), "it is not tried with every request");
    assert_eq!(
        (world.grant().await, world.groups().await),
        ("r0".to_owned(), 0)
    );
    let judged = account.judge(clock::now() + SignedDuration::from_hours(1));
    assert!(
        matches!(judged, Err(AuthnError::Unavailable(_))),
        "{judged:?}"
    );
    // It takes it again, and nobody asks for the account.
    world.fail_writes([]);
    tokio::time::pause();
    let saving = replica.refresher.keep_saving();
    let saved = async {
        while world.grant().await != "rotated" {
            tokio::time::advance(LOOK).await;
        }
    };
    tokio::select! {
        () = saving => unreachable!(),
        () = saved => {}
    }
    tokio::time::resume();
    assert!(replica.read(&account).await);
    assert_eq!(world.issuer.state().asked, asked(&["rotated"]));
    assert_eq!(
        (world.grant().await, world.groups().await),
        ("r1".to_owned(), 1)
    );
}

// L4: also by who comes first once it takes it again.
#[tokio::test]
async fn a_new_token_that_waits_is_written_before_its_account_is_asked_for() {
    let world = World::new().await;
    let (replica, account) = world.reader().await;
    world.has_rotated(&replica).await;
    world.fail_writes([]);
    assert!(replica.read(&account).await);
    assert_eq!(world.issuer.state().asked, asked(&["rotated"]));
    assert_eq!(
        (world.grant().await, world.groups().await),
        ("r1".to_owned(), 1)
    );
}

// L4: beside all else that a replica does, and as its last deed.
#[tokio::test]
async fn what_waits_is_written_as_time_goes_on_and_at_the_end() {
    for is_at_end in [false, true] {
        let (world, replica) = World::with_a_token_that_waits().await;
        let end = CancellationToken::new();
        tokio::time::pause();
        let running = tokio::spawn(replica.refresher.clone().run(end.clone()));
        // A minute is enough, and not asked for where the end comes first.
        let mut looks = if is_at_end { 0 } else { 12 };
        while looks > 0 && world.grant().await != "rotated" {
            tokio::time::advance(LOOK).await;
            looks -= 1;
        }
        assert_eq!(world.grant().await == "rotated", !is_at_end);
        end.cancel();
        running.await.unwrap();
        tokio::time::resume();
        assert_eq!(world.grant().await, "rotated");
    }
}

// L4: a login has brought another one while the store was away.
#[tokio::test]
async fn a_new_token_that_waits_takes_no_others_place() {
    let (world, replica) = World::with_a_token_that_waits().await;
    let (before, _) = world.record().await;
    let login = world.seal("of-a-login");
    world.put(before.clone().granted(Some(login))).await;
    assert!(replica.refresher.save(&world.key).await);
    assert_eq!(world.grant().await, "of-a-login");
    // With that it is over: also where the record comes to be as it was.
    world.put(before).await;
    assert!(replica.refresher.save(&world.key).await);
    assert_eq!(world.grant().await, "r0");
}

// L4: an upgrade replica by replica, and back: nobody can tell which token such a record holds.
#[tokio::test]
async fn a_new_token_waits_while_its_record_cannot_be_read() {
    let (world, replica) = World::with_a_token_that_waits().await;
    let (before, _) = world.record().await;
    let mut newer: serde_json::Value = serde_json::from_slice(&before.encode()).unwrap();
    newer["schema"] = 99.into();
    for unreadable in [newer.to_string(), "{".to_owned()] {
        let txn = Txn::new().put(world.key.clone(), unreadable);
        world.store.txn(txn).await.unwrap();
        assert!(!replica.refresher.save(&world.key).await);
    }
    world.put(before.clone()).await;
    assert!(replica.refresher.save(&world.key).await);
    assert_eq!(world.grant().await, "rotated");
    // One that is not there has no token.
    world.put(before.clone()).await;
    world.has_rotated(&replica).await;
    world.fail_writes([]);
    let txn = Txn::new().delete(world.key.clone());
    world.store.txn(txn).await.unwrap();
    assert!(replica.refresher.save(&world.key).await);
    world.put(before).await;
    assert!(replica.refresher.save(&world.key).await);
    assert_eq!(world.grant().await, "r0");
}

// L4: before the token is spent the store must have taken that this replica asks.
#[tokio::test]
async fn where_nothing_can_be_written_nobody_is_asked() {
    for failing in [down(), StoreError::Busy, uncertain(), conflict()] {
        let world = World::new().await;
        let (replica, account) = world.reader().await;
        world.fail_writes([failing.clone()]);
        assert!(replica.read(&account).await, "{failing:?}");
        assert!(world.issuer.state().asked.is_empty(), "{failing:?}");
        assert!(!account.may_be_read(), "{failing:?}");
        assert_eq!(world.grant().await, "r0", "{failing:?}");
    }
}

// L6: what lies in one account's record opens in no other's.
#[tokio::test]
async fn a_token_that_was_put_into_another_record_is_sent_to_nobody() {
    let mut world = World::new().await;
    let (mut record, _) = world.record().await;
    "6a2d".clone_into(&mut record.user.uid);
    world.id = crate::authn::providers::oidc::account_id(&world.issuer.state().url, "another");
    world.key = record_key("sso", &world.id);
    world.put(record).await;
    world.ends_unasked().await;
}
