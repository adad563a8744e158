//! What happens in one moment, on several replicas or to what is just looked at.

use super::*;

// G4: also in the moment between the look at that session and the write.
#[tokio::test]
async fn what_becomes_of_a_session_while_its_yes_is_redeemed_is_looked_at_again() {
    for ended in [true, false] {
        let world = World::new().await;
        let login = &world.login;
        let jane = world.browser("jane").await;
        let asked = world.device(Answer::Yes(by(&jane)), in_seconds(60)).await;
        let (grant, session) = (device_key(&locator()), Token::key(jane.token_id().as_str()));
        let yes = login.look_at(&by(&jane)).await.unwrap().unwrap();
        let kept = login.store.get(&session).await.unwrap().unwrap();
        let change = if ended {
            Txn::new().delete(session)
        } else {
            // A page was asked for, and the session lasts longer.
            Txn::new().put(session, kept.value)
        };
        login.store.txn(change).await.unwrap();
        let revision = login.grants.find(&grant).unwrap().revision;
        let wanted = Wanted {
            kind: TokenKind::Ses,
            client: "desk".to_owned(),
            from: here(),
        };
        let given = login.give((&grant, revision), &yes, &wanted).await;
        assert!(given.unwrap().is_none(), "ended: {ended}");
        let all = login.index.tokens_of("jane", jane.user_uid());
        assert!(all.iter().all(|it| it.kind == TokenKind::Web));
        if ended {
            assert_eq!(refusal(world.poll(&asked).await), Refusal::Denied);
        } else {
            assert!(world.poll(&asked).await.unwrap().is_ok());
        }
    }
}

// A page is asked for in the moment between the look at the session and the write, and in the next such moment too.
#[tokio::test]
async fn a_session_that_is_used_all_the_while_is_one_that_gives() {
    for (moments, gives) in [(super::ATTEMPTS - 1, true), (super::ATTEMPTS, false)] {
        let world = World::new().await;
        let login = &world.login;
        let jane = world.browser("jane").await;
        let asked = world.device(Answer::Yes(by(&jane)), in_seconds(60)).await;
        let session = Token::key(jane.token_id().as_str());
        let kept = login.store.get(&session).await.unwrap().unwrap();
        let Store::Memory(memory) = &login.store else {
            panic!("it is in memory");
        };
        let (mut left, used) = (moments, Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&used);
        memory.before_writes(move |compares| {
            let is_of_it = compares.iter().any(|it| it.key == session);
            let now = is_of_it && left > 0;
            left -= usize::from(now);
            count.fetch_add(usize::from(now), Ordering::Relaxed);
            now.then(|| Txn::new().put(&*session, kept.value.clone()))
        });
        let done = world.poll(&asked).await;
        assert_eq!(used.load(Ordering::Relaxed), moments);
        if gives {
            assert!(done.unwrap().is_ok());
        } else {
            // Not without end; and the yes is still there.
            assert!(matches!(done, Err(LoginError::Conflict)));
            let grant = device_key(&locator());
            assert!(login.store.get(&grant).await.unwrap().is_some());
        }
    }
}

#[tokio::test]
async fn what_happens_to_terminals_is_counted_once() {
    let world = World::new().await;
    let login = &world.login;
    let jane = world.browser("jane").await;
    let mut begun = Vec::new();
    for _ in 0..6 {
        begun.push(login.begin_device("desk", here()).await.unwrap());
    }
    for one in &begun[..2] {
        let allowed = login.allow_device(&one.user_code, &jane).await;
        assert_eq!(allowed.unwrap(), Answered::Done);
    }
    let refused = login.refuse_device(&begun[2].user_code).await;
    assert_eq!(refused.unwrap(), Answered::Done);
    // Too late, and no answer.
    let late = login.allow_device(&begun[2].user_code, &jane).await;
    assert_eq!(late.unwrap(), Answered::Gone);
    assert!(world.poll(&begun[0].device_code).await.unwrap().is_ok());
    let gone = &begun[3].device_code;
    assert_eq!(login.withdraw_device(gone, here()).await.unwrap(), Ok(()));
    login.ask_for_code();
    login.refuse_code();
    let codes = [world.code(&jane).await, world.code(&jane).await].map(Result::unwrap);
    assert!(world.fetch(&codes[0]).await.unwrap().is_ok());
    login.spend_state("a state", here()).await.unwrap();
    // Two replicas sweep.
    let other = behind(&login.store).await;
    login.applied(login.store.revision().await.unwrap()).await;
    let later = in_seconds(3600);
    sweep_once(&login.grants, &login.store, later).await;
    sweep_once(&other, &login.store, later).await;
    let left = login.store.list(PREFIX, 100, None).await.unwrap();
    assert!(left.items.is_empty(), "{:?}", left.items);
    let counted = |way| {
        let all = [
            Step::Begun,
            Step::Given,
            Step::Refused,
            Step::Fetched,
            Step::Expired,
        ];
        all.map(|step| login.grants.counted(way, step))
    };
    // One that was let in did not come, two had no answer.
    assert_eq!(counted(Way::Device), [6, 2, 1, 1, 3]);
    assert_eq!(counted(Way::Browser), [1, 2, 1, 1, 1]);
    for way in [Way::Device, Way::Browser] {
        assert_eq!(other.counted(way, Step::Expired), 0);
    }
}

/// What another replica remembers that has heard of nothing since.
async fn behind(store: &Store) -> Arc<Grants> {
    let grants = Grants::default();
    let all = store.list(PREFIX, 1000, None).await.unwrap();
    grants.apply_batch(&Batch {
        changes: all.items.into_iter().map(Change::Put).collect(),
        revision: all.revision,
        complete: true,
    });
    Arc::new(grants)
}

// G4: of two who answer at the same moment, each on a replica that has not heard of the other, one has answered.
#[tokio::test]
async fn the_first_answer_counts() {
    for yes_is_first in [true, false] {
        let mut world = World::new().await;
        let jane = world.browser("jane").await;
        let asked = world.device(Answer::None, in_seconds(60)).await;
        let other = behind(&world.login.store).await;
        for is_yes in [yes_is_first, !yes_is_first] {
            let answered = if is_yes {
                world.login.allow_device(USER_CODE_OF_IT, &jane).await
            } else {
                world.login.refuse_device(USER_CODE_OF_IT).await
            };
            let expected = if is_yes == yes_is_first {
                Answered::Done
            } else {
                Answered::Gone
            };
            assert_eq!(answered.unwrap(), expected);
            world.login.grants = Arc::clone(&other);
        }
        world.login.grants = Arc::default();
        let polled = world.poll(&asked).await.unwrap();
        assert_eq!(polled.is_ok(), yes_is_first);
    }
}

#[tokio::test]
async fn a_login_is_taken_back_and_counted_once_whatever_the_replica_has_heard() {
    let mut world = World::new().await;
    let jane = world.browser("jane").await;
    let key = device_key(&locator());
    // Answered meanwhile: it is taken back all the same.
    let asked = world.device(Answer::None, in_seconds(60)).await;
    let other = behind(&world.login.store).await;
    let yes = world.login.allow_device(USER_CODE_OF_IT, &jane).await;
    assert_eq!(yes.unwrap(), Answered::Done);
    let first = std::mem::replace(&mut world.login.grants, Arc::clone(&other));
    let told = world.login.withdraw_device(&asked, here()).await;
    assert_eq!(told.unwrap(), Ok(()));
    assert!(world.login.store.get(&key).await.unwrap().is_none());
    assert_eq!(other.counted(Way::Device, Step::Withdrawn), 1);
    // Gone meanwhile: nothing is, and nothing is counted.
    let told = world.login.withdraw_device(&asked, here()).await;
    assert_eq!(told.unwrap(), Ok(()));
    assert_eq!(other.counted(Way::Device, Step::Withdrawn), 1);
    assert_eq!(first.counted(Way::Device, Step::Withdrawn), 0);
}

// Where another replica was quicker with some, the rest of what has ended is still taken away.
#[tokio::test]
async fn replicas_sweep_in_one_order() {
    let store = Store::memory();
    let keys: Vec<String> = (0..250).map(|i| state_key(&i.to_string())).collect();
    for key in &keys {
        let state = record(What::State, in_seconds(0));
        store
            .txn(Txn::new().put(&**key, state.encode()))
            .await
            .unwrap();
    }
    let grants = behind(&store).await;
    let mut quicker = keys.clone();
    quicker.sort_unstable();
    for key in &quicker[..100] {
        store.txn(Txn::new().delete(&**key)).await.unwrap();
    }
    sweep_once(&grants, &store, in_seconds(1)).await;
    let left = store.list(PREFIX, 1000, None).await.unwrap();
    assert!(left.items.is_empty(), "{}", left.items.len());
}

// A replica that has not heard of a grant yet asks the store, and not without end.
#[tokio::test]
async fn what_this_replica_does_not_remember_is_read_from_the_store() {
    let mut world = World::new().await;
    let jane = world.browser("jane").await;
    let code = world.code(&jane).await.unwrap();
    let asked = world.device(Answer::None, in_seconds(60)).await;
    world.login.grants = Arc::new(Grants::default());
    assert_eq!(refusal(world.poll(&asked).await), Refusal::Pending);
    assert!(world.fetch(&code).await.unwrap().is_ok());
    let nobodys = format!("{}{}", "0".repeat(32), secret());
    let mut refusals = Vec::new();
    for _ in 0..80 {
        refusals.push(refusal(world.poll(&nobodys).await));
    }
    assert_eq!(refusals[..60], [Refusal::Expired; 60]);
    assert!(matches!(refusals[79], Refusal::TooOften(_)));
    // Of a code nothing is said either that was not looked at.
    let outcome = refusal(world.fetch(&"x".repeat(CHALLENGE)).await);
    assert!(matches!(outcome, Refusal::TooOften(_)), "{outcome:?}");
}
