//! Which replica asks, and when another one may.

use super::*;
use crate::authn::providers::refresh::claim::TIME_TO_SAVE;

/// Lets time pass, with nothing under way.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

fn ago(seconds: i64) -> Timestamp {
    clock::now() - SignedDuration::from_secs(seconds)
}

// L4: an issuer takes a token that comes twice for a stolen one, and ends the login.
#[tokio::test]
async fn of_two_replicas_one_sends_the_token() {
    let world = World::new().await;
    let (one, two) = (world.replica(), world.replica());
    let (of_one, of_two) = (world.account(&one).await, world.account(&two).await);
    let (first, second) = tokio::join!(one.read(&of_one), two.read(&of_two));
    assert!(first && second);
    assert_eq!(world.issuer.state().asked, asked(&["r0"]));
    assert_eq!(world.grant().await, "r1");
    let (record, _) = world.record().await;
    assert_eq!((record.asked_at, record.standing), (None, Standing::Active));
    assert!(of_one.may_be_read() != of_two.may_be_read(), "one waits");
}

#[tokio::test]
async fn a_replica_that_stopped_while_it_asked_keeps_the_others_off_for_a_while_only() {
    let world = World::new().await;
    let (record, _) = world.record().await;
    let replica = world.replica();
    // Each of five questions has twenty seconds.
    for seconds in [25, 95] {
        world.put(record.clone().asked(ago(seconds))).await;
        let account = world.account(&replica).await;
        assert!(replica.read(&account).await);
        assert!(world.issuer.state().asked.is_empty());
        assert!(!account.may_be_read(), "it is not tried with every request");
    }
    // Also by a clock that was ahead.
    for (at, token, new) in [(ago(101), "r0", "r1"), (ago(-3600), "r1", "r2")] {
        let (record, _) = world.record().await;
        world.put(as_of(record, ago(360)).asked(at)).await;
        let account = world.account(&replica).await;
        let before = world.issuer.state().asked.len();
        for _ in 0..2 {
            assert!(replica.read(&account).await);
            let asked = world.issuer.state().asked.len();
            assert_eq!(asked, before, "who has a new token may write it first");
            assert!(!account.may_be_read(), "it is not tried with every request");
        }
        pass(TIME_TO_SAVE).await;
        assert!(replica.read(&account).await);
        assert_eq!(world.issuer.state().asked.last().unwrap(), token);
        assert_eq!(
            world.grant().await,
            new,
            "also where nothing else has changed"
        );
        assert_eq!(world.record().await.0.asked_at, None);
    }
}

// L4: two that find the same claim old.
#[tokio::test]
async fn one_replica_takes_a_claim_over() {
    let world = World::new().await;
    let (record, _) = world.record().await;
    world.put(record.asked(ago(101))).await;
    let (one, two) = (world.replica(), world.replica());
    let (of_one, of_two) = (world.account(&one).await, world.account(&two).await);
    tokio::join!(one.read(&of_one), two.read(&of_two));
    pass(TIME_TO_SAVE).await;
    tokio::join!(one.read(&of_one), two.read(&of_two));
    assert_eq!(world.issuer.state().asked, asked(&["r0"]));
    assert_eq!(world.grant().await, "r1");
}

// L4, T10: the other one comes first when the store is back, and the claim of the one that has the token is old.
#[tokio::test]
async fn a_new_token_that_waits_at_one_replica_is_written_before_another_asks() {
    let world = World::new().await;
    let (record, _) = world.record().await;
    world.put(record.asked(ago(101))).await;
    let (holder, other) = (world.replica(), world.replica());
    let account = world.account(&other).await;
    world.has_rotated(&holder).await;
    assert!(other.read(&account).await);
    world.fail_writes([]);
    assert!(other.read(&account).await);
    assert!(world.issuer.state().asked.is_empty());
    holder.refresher.save_all().await;
    assert_eq!(world.grant().await, "rotated");
    // Then nobody is waited for.
    assert!(other.read(&account).await);
    assert_eq!(world.issuer.state().asked, asked(&["rotated"]));
    assert_eq!(world.grant().await, "r1");
}

/// What goes wrong, and whether it is certain that the token was not taken.
type Case = (&'static str, fn(&mut State), bool);

// L4: a claim is for as long as nobody knows what became of the token, and no longer.
#[tokio::test]
async fn an_account_that_could_not_be_read_is_held_while_its_token_may_be_spent() {
    let cases: [Case; 8] = [
        (
            "refused",
            |it| it.refusal = Some((400, "temporarily_unavailable")),
            true,
        ),
        (
            "too often",
            |it| it.refusal = Some((429, "slow_down")),
            true,
        ),
        ("not there", |it| it.token_endpoint = Some(closed()), true),
        (
            "no new token",
            |it| (it.keeps_tokens, it.silent_of_groups) = (true, true),
            true,
        ),
        (
            "its fault",
            |it| it.refusal = Some((500, "server_error")),
            false,
        ),
        ("before it", |it| it.refusal = Some((502, "")), false),
        (
            "away",
            |it| it.refusal = Some((503, "temporarily_unavailable")),
            false,
        ),
        ("broken off", |it| it.breaks_off = true, false),
    ];
    for (told, happens, is_certain) in cases {
        let world = World::new().await;
        let (one, two) = (world.replica(), world.replica());
        let (of_one, of_two) = (world.account(&one).await, world.account(&two).await);
        happens(&mut world.issuer.state());
        one.read(&of_one).await;
        assert!(!of_one.may_be_read(), "{told}");
        let (record, _) = world.record().await;
        assert_eq!(record.asked_at.is_none(), is_certain, "{told}");
        assert_eq!(
            (record.standing, world.groups().await),
            (Standing::Active, 0)
        );
        assert_eq!(world.grant().await, "r0", "{told}");
        {
            let mut state = world.issuer.state();
            (state.refusal, state.breaks_off, state.token_endpoint) = (None, false, None);
            (state.keeps_tokens, state.silent_of_groups) = (false, false);
            state.asked.clear();
            "r0".clone_into(&mut state.good);
        }
        assert!(two.read(&of_two).await, "{told}");
        let all = asked(&["r0"]);
        assert_eq!(
            world.issuer.state().asked,
            all[..usize::from(is_certain)],
            "{told}"
        );
    }
}

/// An address where nobody listens.
fn closed() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}/token", listener.local_addr().unwrap())
}

// L4: who does not even take the connection was told nothing.
#[tokio::test]
async fn an_account_is_not_held_by_an_issuer_that_takes_no_connection() {
    let mut world = World::new().await;
    let config::Source::Oidc(oidc) = &mut world.config.source else {
        panic!("it is an OpenID provider");
    };
    oidc.link.connect_timeout = Duration::from_millis(300);
    // Its kernel takes the connection, and nobody begins with TLS.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    world.issuer.state().token_endpoint = Some(format!("https://{address}/token"));
    let (replica, account) = world.reader().await;
    assert!(!replica.read(&account).await);
    assert_eq!(world.record().await.0.asked_at, None);
    assert_eq!(world.grant().await, "r0");
}
