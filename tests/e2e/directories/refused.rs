//! Who does not get in, and what they are told.

use super::{samba::PASSWORD, world::World};
use crate::testkit::{client, gateway::GatewayProcess, process::eventually};
use bytes::Bytes;
use http_body_util::Full;
use std::time::{Duration, Instant};

/// A login by hand: what is answered, and when.
pub(super) async fn ask(
    gateway: &GatewayProcess,
    provider: &str,
    name: &str,
    password: &str,
) -> (u16, String, Duration) {
    let body = serde_json::json!({"provider": provider, "username": name, "password": password});
    let request = http::Request::post(format!("{}/v1/login/password", gateway.url))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body.to_string())))
        .expect("a request");
    let asked = Instant::now();
    let answer = client::h2_past(&gateway.ca_pem(), request).await;
    let took = asked.elapsed();
    let code = answer.status.as_u16();
    let message = if code < 300 {
        String::new()
    } else {
        answer.message()
    };
    (code, message, took)
}

const WRONG: &str = "wrong user name or password";

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_told_one_thing_after_one_time() {
    let mut world = tokio::task::spawn_blocking(World::start)
        .await
        .expect("a world");
    // L1: no directory is asked with what it takes for nobody's password.
    for provider in ["corp", "corp-tls", "people", "people-tls"] {
        for password in [
            "",
            " ",
            "\t",
            "\0",
            "\0correct horse",
            "correct horse Pass 1\0",
        ] {
            let (code, message, _) = ask(&world.gateway, provider, "zoe", password).await;
            assert_eq!(
                (code, message.as_str()),
                (401, WRONG),
                "{provider} {password:?}"
            );
        }
        // L2
        for name in [
            "*",
            "zo*",
            "*)(uid=*",
            "zoe)(objectClass=*",
            "zoe\0",
            "\\2a",
            "",
            "zoe\u{200b}",
        ] {
            let (code, message, _) = ask(&world.gateway, provider, name, PASSWORD).await;
            assert_eq!(
                (code, message.as_str()),
                (401, WRONG),
                "{provider} {name:?}"
            );
        }
    }
    // The right password of an account that must not log in is no better than a wrong one (L4).
    for (provider, name, said) in [
        ("corp", "bob", "the account is disabled in the directory"),
        ("corp", "carol", "the account is locked in the directory"),
        ("corp", "dave", "the account has expired in the directory"),
        (
            "people",
            "dave",
            "disabled, locked or expired in the directory",
        ),
    ] {
        let (code, message, _) = ask(&world.gateway, provider, name, PASSWORD).await;
        assert_eq!((code, message.as_str()), (401, WRONG), "{name}");
        let logged = eventually(|| world.gateway.log().contains(said).then_some(()));
        assert!(logged.is_some(), "{name}: {}", world.gateway.log());
    }
    // The right password of somebody who is not listed, or cannot have a name here: they may know.
    let (code, message, _) = ask(&world.gateway, "corp", "zoe", PASSWORD).await;
    assert_eq!(code, 403, "{message}");
    assert!(message.contains("may not log in here"), "{message}");
    let (code, message, _) = ask(&world.gateway, "corp", "ümit", PASSWORD).await;
    assert_eq!(code, 403, "{message}");
    assert!(
        message.contains("cannot be the name of a user here"),
        "{message}"
    );
    assert_eq!(
        ask(&world.gateway, "nowhere", "alice", PASSWORD).await.0,
        400
    );

    one_time_for_known_and_unknown(&mut world).await;
    Box::pin(one_account_for_all_spellings(&world)).await;
    let ended = tokio::task::spawn_blocking(move || refused_by_name(&world)).await;
    ended.expect("it ends");
}

/// Wrong passwords of each of two names, taken in turn, and how many are tried at the same time: a few, for which no
/// directory here is too slow.
const TRIES: usize = 40;
const AT_ONCE: usize = 4;

// G5: known or not, wrong is told after the same time, as far as so many tries can tell. The throttle gives a stranger
// ten.
async fn one_time_for_known_and_unknown(world: &mut World) {
    let providers = world.providers();
    let login = "login: {account_tries: 1000, source_tries: 1000}\n";
    let edit = |text: &str| format!("{text}{providers}{login}");
    tokio::task::block_in_place(|| world.gateway.restart(edit));
    for (provider, known) in [("corp", "leaver3"), ("people", "zoe")] {
        let mut said = Vec::new();
        // A machine that is busy for a while slows one of the two by chance; a difference that is there stays.
        while said.len() < 3 {
            let [known, unknown] = times(world, provider, [known, "nobody-at-all"]).await;
            assert!(known.iter().chain(&unknown).all(|time| *time >= 0.3));
            let (apart, chance) = separation(&known, &unknown);
            if apart < chance {
                break;
            }
            said.push((apart, chance));
        }
        assert!(said.len() < 3, "{provider}: {said:?}");
    }
    tokio::task::block_in_place(|| world.gateway.restart(|text| format!("{text}{providers}")));
}

/// In seconds, sorted.
async fn times(world: &World, provider: &str, names: [&str; 2]) -> [Vec<f64>; 2] {
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..TRIES / AT_ONCE {
        // Who comes first changes.
        let of = |at: usize| (round + at) % 2;
        let asked = (0..2 * AT_ONCE)
            .map(|at| ask(&world.gateway, provider, names[of(at)], "correct horse no"));
        let answers = futures_util::future::join_all(asked).await;
        for (at, (code, message, took)) in answers.into_iter().enumerate() {
            assert_eq!((code, message.as_str()), (401, WRONG));
            times[of(at)].push(took.as_secs_f64());
        }
    }
    times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times
    })
}

/// The two-sample Kolmogorov–Smirnov statistic, and what equal distributions exceed once in ten thousand times.
fn separation(one: &[f64], other: &[f64]) -> (f64, f64) {
    #[expect(clippy::cast_precision_loss, reason = "some tens of samples")]
    let share = |sorted: &[f64], at: f64| {
        sorted.partition_point(|&time| time <= at) as f64 / sorted.len() as f64
    };
    let points = one.iter().chain(other);
    let statistic = points
        .map(|&at| (share(one, at) - share(other, at)).abs())
        .fold(0.0, f64::max);
    #[expect(clippy::cast_precision_loss, reason = "some tens of samples")]
    let (n, m) = (one.len() as f64, other.len() as f64);
    let once_in_ten_thousand = (-(0.5e-4_f64).ln() / 2.0).sqrt();
    (statistic, once_in_ten_thousand * ((n + m) / (n * m)).sqrt())
}

// G5, G6, L3: tries of all spellings are tries of one name, whether or not it is anybody's.
async fn one_account_for_all_spellings(world: &World) {
    let codes = async |provider: &str, name: &str| {
        let upper = name.to_uppercase();
        let spellings = if provider == "corp" {
            vec![
                name.to_owned(),
                upper,
                format!("CORP\\{name}"),
                format!("{name}@corp.example.test"),
                format!("OTHER\\{name}"),
            ]
        } else {
            vec![name.to_owned(), upper, format!(" {name}")]
        };
        let mut codes = Vec::new();
        for spelling in spellings.iter().cycle().take(15) {
            codes.push(
                ask(&world.gateway, provider, spelling, "correct horse no")
                    .await
                    .0,
            );
        }
        codes
    };
    for (provider, known) in [("corp", "leaver4"), ("people", "zoe")] {
        let (known, unknown) = tokio::join!(codes(provider, known), codes(provider, "nobody"));
        assert_eq!(known, unknown, "{provider}");
        assert_eq!(known, [vec![401; 10], vec![429; 5]].concat(), "{provider}");
    }
}

/// L6: a name that somebody had opens nothing to who has it next.
fn refused_by_name(world: &World) {
    // A local user has the name already that the primary provider's account would get.
    world.admin(&["user", "add", "leaver2", "--machine"]);
    world
        .login("people", "leaver2", PASSWORD)
        .refused(&["\"leaver2\" belongs to another user here"]);
    world.login("people", "leaver1", PASSWORD).ok();
    let uid = |ran: String| {
        let user: serde_json::Value = serde_json::from_str(&ran).expect("JSON");
        user["metadata"]["uid"].as_str().expect("a uid").to_owned()
    };
    let first = uid(world.admin(&["user", "show", "leaver1", "-o", "json"]));
    // The account is removed in the directory, and somebody else gets its name.
    let dn = format!("cn=leaver1,ou=people,{}", super::slapd::BASE);
    for server in [&world.people, &world.twin] {
        server.modify(&format!("dn: {dn}\nchangetype: delete\n"));
        server.modify(&format!(
            "dn: {dn}\nchangetype: add\nobjectClass: inetOrgPerson\nsn: X\ncn: leaver1\nuid: leaver1\n\
             userPassword: {PASSWORD}\n"
        ));
        let group = format!("cn=staff,ou=groups,{}", super::slapd::BASE);
        server.modify(&format!("dn: {group}\nchangetype: modify\ndelete: member\nmember: {dn}\n-\nadd: member\nmember: {dn}\n"));
    }
    let refused = eventually(|| {
        let ran = world.palisade("people", "leaver1", &["whoami"]);
        (ran.code != Some(0)).then_some(ran)
    });
    assert!(refused.is_some(), "the account that is gone stays in");
    world
        .login("people", "leaver1", PASSWORD)
        .refused(&["\"leaver1\" belongs to another user here"]);
    assert_eq!(
        uid(world.admin(&["user", "show", "leaver1", "-o", "json"])),
        first
    );
    // Removed here too: the name is still nobody's.
    world.admin(&["user", "remove", "leaver1", "--yes"]);
    world
        .login("people", "leaver1", PASSWORD)
        .refused(&["belonged to a user who was removed here"]);
    // A password of a directory's user is not ours to set.
    world.login("corp", "alice", PASSWORD).ok();
    let mut command = world.gateway.cli(&super::world::home("local", "admin"));
    command.args(["user", "password", "corp:alice", "--password-stdin"]);
    let ran = crate::testkit::process::run_with(&command, "correct horse another one");
    ran.refused(&["logs in at a provider"]);
    world
        .login("local", "corp:alice", PASSWORD)
        .refused(&[WRONG]);
}
