//! Who does not get in, and what they are told.

use super::{samba::PASSWORD, world::World};
use crate::testkit::{client, process::eventually};
use bytes::Bytes;
use http_body_util::Full;
use std::time::{Duration, Instant};

/// A login by hand: what is answered, and when.
async fn ask(world: &World, provider: &str, name: &str, password: &str) -> (u16, String, Duration) {
    let body = serde_json::json!({"provider": provider, "username": name, "password": password});
    let request = http::Request::post(format!("{}/v1/login/password", world.gateway.url))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body.to_string())))
        .expect("a request");
    let asked = Instant::now();
    let answer = client::h2_past(&world.gateway.ca_pem(), request).await;
    (answer.status.as_u16(), answer.message(), asked.elapsed())
}

const WRONG: &str = "wrong user name or password";

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_told_one_thing_after_one_time() {
    let world = tokio::task::spawn_blocking(World::start)
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
            let (code, message, _) = ask(&world, provider, "zoe", password).await;
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
            let (code, message, _) = ask(&world, provider, name, PASSWORD).await;
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
        let (code, message, _) = ask(&world, provider, name, PASSWORD).await;
        assert_eq!((code, message.as_str()), (401, WRONG), "{name}");
        let logged = eventually(|| world.gateway.log().contains(said).then_some(()));
        assert!(logged.is_some(), "{name}: {}", world.gateway.log());
    }
    // The right password of somebody who is not listed, or cannot have a name here: they may know.
    let (code, message, _) = ask(&world, "corp", "zoe", PASSWORD).await;
    assert_eq!(code, 403, "{message}");
    assert!(message.contains("may not log in here"), "{message}");
    let (code, message, _) = ask(&world, "corp", "ümit", PASSWORD).await;
    assert_eq!(code, 403, "{message}");
    assert!(
        message.contains("cannot be the name of a user here"),
        "{message}"
    );
    assert_eq!(ask(&world, "nowhere", "alice", PASSWORD).await.0, 400);

    one_time_for_known_and_unknown(&world).await;
    one_account_for_all_spellings(&world).await;
    let ended = tokio::task::spawn_blocking(move || refused_by_name(&world)).await;
    ended.expect("it ends");
}

// G5: known or not, wrong is told after the same time.
async fn one_time_for_known_and_unknown(world: &World) {
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..6 {
        for (times, name) in times.iter_mut().zip(["leaver3", "nobody-at-all"]) {
            let name = if name == "leaver3" {
                name.to_owned()
            } else {
                format!("{name}{round}")
            };
            let (code, message, took) = ask(world, "corp", &name, "correct horse no").await;
            assert_eq!((code, message.as_str()), (401, WRONG));
            times.push(took);
        }
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    let [known, unknown] = &mut times;
    let (known, unknown) = (median(known), median(unknown));
    assert!(known >= Duration::from_millis(300) && unknown >= Duration::from_millis(300));
    let apart = known.abs_diff(unknown);
    assert!(
        apart < Duration::from_millis(60),
        "{known:?} and {unknown:?}"
    );
}

// G6, L3: tries of all spellings are tries of one account.
async fn one_account_for_all_spellings(world: &World) {
    let spellings = [
        "leaver4",
        "LEAVER4",
        "CORP\\leaver4",
        "leaver4@corp.example.test",
    ];
    let mut codes = Vec::new();
    for round in 0..12 {
        let (code, _, _) = ask(world, "corp", spellings[round % 4], "correct horse no").await;
        codes.push(code);
    }
    assert_eq!(
        codes.iter().filter(|code| **code == 401).count(),
        10,
        "{codes:?}"
    );
    assert_eq!(codes[11], 429);
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
