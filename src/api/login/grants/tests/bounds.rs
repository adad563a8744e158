//! How many grants there may be, and how fast.

use super::*;

// CVE-2024-58259: strangers who fill the place for terminals keep nobody from logging in by a browser.
#[tokio::test]
async fn what_strangers_begin_takes_no_room_from_people() {
    let world = World::new().await;
    let jane = world.browser("jane").await;
    let asks = What::Device {
        secret: String::new(),
        answer: Answer::None,
    };
    let asks = record(asks, in_seconds(600));
    world.login.grants.fill(10_000, &asks);
    let begun = world.login.begin_device("one more", here()).await;
    let refused = begun.err().unwrap();
    assert!(matches!(refused, LoginError::TooManyGrants(Kind::Device)));
    let code = world.code(&jane).await.unwrap();
    assert!(world.fetch(&code).await.unwrap().is_ok());
    let spent = world.login.spend_state("a state", here()).await;
    assert_eq!(spent.unwrap(), Spent::Now);
    assert!(world.login.grants.find(&state_key("other")).is_none());
}

// CVE-2024-58259: each kind has a bound, and what is over and not swept yet takes no room.
#[tokio::test]
async fn there_is_room_for_so_many_grants_of_each_kind() {
    for is_over in [true, false] {
        let end = in_seconds(if is_over { 0 } else { 600 });
        let world = World::new().await;
        let browser = world.browser("jane").await;
        let asks = What::Device {
            secret: String::new(),
            answer: Answer::None,
        };
        let code = What::Code {
            challenge: String::new(),
            redirect_uri: String::new(),
            by: by(&browser),
        };
        let grants = &world.login.grants;
        for (count, what) in [(10_000, asks), (10_000, code), (50_000, What::State)] {
            grants.fill(count, &record(what, end));
        }
        let begun = world.login.begin_device("one more", here()).await;
        let given = world.code(&browser).await;
        let spent = world.login.spend_state("a state", here()).await;
        for error in [begun.err(), given.err(), spent.err()] {
            let is_full = matches!(error, Some(LoginError::TooManyGrants(_)));
            assert_eq!(is_full, !is_over, "{error:?}");
        }
        // One that is taken away leaves its place.
        world.end(&device_key("7"));
        assert!(world.login.begin_device("one more", here()).await.is_ok());
    }
}

#[tokio::test]
async fn a_person_has_so_many_codes_and_others_have_theirs() {
    let world = World::new().await;
    world.user("john", UserSpec::default()).await;
    let (jane, john) = (world.browser("jane").await, world.browser("john").await);
    for _ in 0..10 {
        assert!(world.code(&jane).await.is_ok());
    }
    let refused = world.code(&jane).await.err().unwrap();
    assert_eq!(refused.status().code, 429, "{refused}");
    assert!(world.code(&john).await.is_ok());
}

// With `login.source_tries: 0` there are bounds still.
#[tokio::test]
async fn where_sources_are_not_told_apart_everybody_has_one_bound() {
    let mut world = World::new().await;
    let account = Pace {
        tries: 10,
        interval: Duration::from_mins(5),
    };
    let settings = Settings {
        account,
        source: None,
    };
    world.login.throttle = Throttle::new(Live::fixed(settings), 1);
    let login = &world.login;
    let peer = |i: usize| {
        let [.., a, b] = i.to_be_bytes();
        IpAddr::from([198, 51, a, b])
    };
    let tries = 0..1_500_usize;
    let begun = tries
        .clone()
        .filter(|&i| login.admit_device(peer(i)).is_ok());
    assert!((1_000..1_400).contains(&begun.count()));
    let left = tries
        .clone()
        .filter(|&i| login.admit_leave(peer(i)).is_ok());
    assert!((1_000..1_400).contains(&left.count()));
    let mut last = None;
    for i in 0..2_000 {
        let code = format!("{i:0>43}");
        let outcome = login.fetch_code((&code, VERIFIER, CALLBACK), peer(i)).await;
        last = Some(refusal(outcome));
        if matches!(last, Some(Refusal::TooOften(_))) {
            assert!(i >= 600, "{i}");
            break;
        }
    }
    assert!(matches!(last, Some(Refusal::TooOften(_))), "{last:?}");
}

// An office is not locked out by its own logins, nor by one kind of them from the other.
#[test]
fn each_kind_of_begin_has_a_bound_of_its_own_and_a_proof_gives_back() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = runtime.block_on(World::new());
    let login = &world.login;
    for _ in 0..50 {
        assert!(login.admit_leave(here()).is_ok());
        assert!(login.admit_arrival(here()).is_ok());
    }
    assert!(login.admit_leave(here()).is_err());
    assert!(login.admit_arrival(here()).is_err());
    login.forgive_browser(here());
    assert!(login.admit_leave(here()).is_ok());
    assert!(login.admit_arrival(here()).is_ok());
    for _ in 0..50 {
        assert!(login.admit_device(here()).is_ok());
    }
    assert!(login.admit_device(here()).is_err());
    runtime.block_on(async {
        let jane = world.browser("jane").await;
        let asked = world.device(Answer::Yes(by(&jane)), in_seconds(60)).await;
        // From wherever it is by then: whoever began is given theirs back.
        let moved = IpAddr::from([198, 51, 100, 7]);
        let done = world.login.poll_device(&asked, moved).await;
        assert!(done.unwrap().is_ok());
    });
    assert!(login.admit_device(here()).is_ok());
    assert!(login.admit_device(here()).is_err());
}
