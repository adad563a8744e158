//! What changes in a directory, or happens to it, after a login.

use super::{
    samba::{PASSWORD, Samba},
    slapd::{self, Slapd},
    world::World,
};
use crate::testkit::{
    chaos::{Chaos, Mood},
    process::{Ran, eventually},
};
use std::time::{Duration, Instant};

/// Whether a person's session is refused, with these words, within the patience of tests: far below the interval
/// (5 s) and the look (5 s) that the configuration states, on a busy machine.
#[track_caller]
fn is_refused(world: &World, provider: &str, name: &str, words: &str) {
    let ran = eventually(|| {
        let ran = world.palisade(provider, name, &["whoami"]);
        (ran.code != Some(0)).then_some(ran)
    });
    let ran = ran.unwrap_or_else(|| panic!("{name} stays in"));
    assert!(ran.stderr.contains(words), "{name}: {ran}");
}

#[track_caller]
fn works(ran: &Ran) {
    assert_eq!(ran.code, Some(0), "{ran}");
}

const CLOSED: &str = "disabled, locked or expired";
const CHANGED: &str = "ended by a change of the password";
const MUST_CHANGE: &str = "your password must be changed";
const NOT_LISTED: &str = "may not log in here any more";

/// Who is refused after what is done to them in Active Directory, and what they are told.
const OF_CORP: [(&str, &str, &str); 7] = [
    (
        "leaver1",
        "replace: userAccountControl\nuserAccountControl: 514",
        CLOSED,
    ),
    (
        "leaver2",
        "replace: accountExpires\naccountExpires: 116444736000000001",
        CLOSED,
    ),
    ("leaver3", "", CLOSED),
    ("leaver4", "", NOT_LISTED),
    ("leaver5", "", CLOSED),
    ("leaver6", "replace: pwdLastSet\npwdLastSet: 0", MUST_CHANGE),
    ("leaver7", "", CHANGED),
];
/// The same in OpenLDAP.
const OF_PEOPLE: [(&str, &str, &str); 5] = [
    ("leaver1", "", CLOSED),
    (
        "leaver2",
        "replace: userPassword\nuserPassword: correct horse other",
        CHANGED,
    ),
    ("leaver3", "replace: pwdReset\npwdReset: TRUE", MUST_CHANGE),
    (
        "leaver4",
        "replace: pwdEndTime\npwdEndTime: 20200101000000Z",
        CLOSED,
    ),
    // login_filter does not find them any more.
    ("leaver5", "replace: title\ntitle: left", CLOSED),
];
/// What the documentation says: the interval and some seconds, which are a look (5 s) and the machine's.
pub(super) const STATED: Duration = Duration::from_secs(5 + 5 + 10);

// L4
#[test]
fn who_is_disabled_locked_expired_or_removed_in_the_directory_is_out() {
    let world = World::start();
    let all = OF_CORP.map(|(name, ..)| ("corp", name)).into_iter();
    let all = all.chain(OF_PEOPLE.map(|(name, ..)| ("people-tls", name)));
    let mut tokens = Vec::new();
    for (provider, name) in all {
        world.login(provider, name, PASSWORD).ok();
        let made = world.palisade(provider, name, &["token", "create"]).ok();
        works(&world.with_token(&made, &["whoami"]));
        tokens.push(made);
    }
    world.login("corp", "alice", PASSWORD).ok();
    let changed = Instant::now();
    change_all(&world);
    for (name, _, words) in OF_CORP {
        is_refused(&world, "corp", name, words);
    }
    for (name, _, words) in OF_PEOPLE {
        is_refused(&world, "people-tls", name, words);
    }
    assert!(changed.elapsed() < STATED, "{:?}", changed.elapsed());
    // Their tokens too, but for those whose password was changed.
    let said = OF_CORP.iter().chain(&OF_PEOPLE);
    for ((name, _, words), token) in said.zip(&tokens) {
        let ran = world.with_token(token, &["whoami"]);
        if *words == CHANGED {
            works(&ran);
        } else {
            assert!(
                ran.code != Some(0) && ran.stderr.contains(words),
                "{name}: {ran}"
            );
        }
    }
    the_lock_of_a_policy_ends(&world);
    who_comes_back_is_in_again(&world);
    providers_come_and_go(&world);
}

/// A change of an account in Active Directory.
fn change(world: &World, name: &str, what: &str) {
    let dn = Samba::dn(name);
    world
        .ad
        .modify(&format!("dn: {dn}\nchangetype: modify\n{what}\n"));
}

fn change_all(world: &World) {
    for (name, what, _) in OF_CORP {
        if !what.is_empty() {
            change(world, name, what);
        }
    }
    world.ad.modify(&format!(
        "dn: {}\nchangetype: delete\n",
        Samba::dn("leaver3")
    ));
    // Out of the group that may log in.
    let staff = format!("dn: {}\nchangetype: modify\n", Samba::dn("staff"));
    world.ad.modify(&format!(
        "{staff}delete: member\nmember: {}\n",
        Samba::dn("leaver4")
    ));
    world.ad.lock("leaver5");
    let password = Samba::password("Another horse 2");
    change(
        world,
        "leaver7",
        &format!("replace: unicodePwd\nunicodePwd:: {password}"),
    );
    for (name, what, _) in OF_PEOPLE {
        let dn = Slapd::dn(name);
        if !what.is_empty() {
            world.modify_people(&format!("dn: {dn}\nchangetype: modify\n{what}\n"));
        }
    }
    for server in [&world.people, &world.twin] {
        server.lock("leaver1");
    }
    // From here on a password that an administrator sets must be changed: that of leaver2 was set before.
    let policy = format!("dn: {}\nchangetype: modify\n", slapd::POLICY);
    world.modify_people(&format!(
        "{policy}replace: pwdMustChange\npwdMustChange: TRUE\n"
    ));
}

fn who_comes_back_is_in_again(world: &World) {
    // Whoever is open again is in again, with the session that they had.
    change(
        world,
        "leaver1",
        "replace: userAccountControl\nuserAccountControl: 512",
    );
    let back = eventually(|| {
        let ran = world.palisade("corp", "leaver1", &["whoami"]);
        (ran.code == Some(0)).then_some(())
    });
    assert!(back.is_some(), "who is open again is not in");

    // A group more, a group less: by way of another group.
    let has = |wanted: bool| {
        eventually(|| {
            let (_, groups) = world.whoami("corp", "alice");
            let has = groups.contains(&"corp:Ops (EU) night".to_owned());
            (has == wanted).then_some(())
        })
    };
    assert!(has(true).is_some());
    let ops = Samba::dn("Ops (EU)\\, night");
    let change = |verb: &str| {
        let developers = Samba::dn("developers");
        let ldif = format!("dn: {ops}\nchangetype: modify\n{verb}: member\nmember: {developers}\n");
        world.ad.modify(&ldif);
    };
    change("delete");
    is_refused(world, "corp", "alice", "may not log in here any more");
    change("add");
    let back =
        eventually(|| (world.palisade("corp", "alice", &["whoami"]).code == Some(0)).then_some(()));
    assert!(back.is_some());
}

/// Locked for as long as the policy says, and then not.
fn the_lock_of_a_policy_ends(world: &World) {
    let policy = format!("dn: {}\nchangetype: modify\n", slapd::POLICY);
    world.modify_people(&format!(
        "{policy}replace: pwdLockoutDuration\npwdLockoutDuration: 1\n"
    ));
    let back = eventually(|| {
        let ran = world.palisade("people-tls", "leaver1", &["whoami"]);
        (ran.code == Some(0)).then_some(())
    });
    assert!(back.is_some(), "a lock that is over goes on");
}

/// GHSA-c45c-39f6-6gw9: what was logged in at a provider ends with it, without a restart.
fn providers_come_and_go(world: &World) {
    world.login("corp-tls", "alice", PASSWORD).ok();
    world.edit_config(|text| text.replace("  corp-tls:\n", "  corp-tls:\n    disabled: true\n"));
    is_refused(world, "corp-tls", "alice", "may not log in here any more");
    let said = world
        .login("corp-tls", "alice", PASSWORD)
        .refused(&["no provider"]);
    assert!(said.contains("corp"), "{said}");
    works(&world.palisade("corp", "alice", &["whoami"]));
    // Nobody is listed any more but one.
    world.edit_config(|text| text.replace("groups: [staff], users: [many]", "users: [many]"));
    is_refused(world, "corp", "alice", "may not log in here any more");
    // A mistake changes nothing.
    world.edit_config(|text| text.replace("users: [many]", "users: []"));
    let told = eventually(|| {
        world
            .gateway
            .log()
            .contains("nobody is listed")
            .then_some(())
    });
    assert!(told.is_some());
}

#[test]
fn a_directory_that_is_down_keeps_its_word_for_a_while_and_then_nobody_can_tell() {
    let mut world = World::start();
    world.login("people", "alice", PASSWORD).ok();
    let both = world.whoami("people", "alice").1;
    assert!(both.contains(&"people:developers".to_owned()), "{both:?}");
    // One of two is killed: logins go on.
    world.people.kill();
    world.login("people", "alice", PASSWORD).ok();
    world.login("people-tls", "jmueller", PASSWORD).ok();
    works(&world.palisade("people", "alice", &["whoami"]));
    // Both: the session goes on with what was said last, a login does not.
    world.twin.kill();
    works(&world.palisade("people", "alice", &["whoami"]));
    assert_eq!(
        world.whoami("people", "alice").1,
        both,
        "could-not-tell is not: no groups"
    );
    world
        .login("people", "alice", PASSWORD)
        .refused(&["the directory does not answer"]);
    // After the set age: 503, and not a refusal.
    is_refused(&world, "people", "alice", "cannot tell who you are");
    works(&world.palisade("local", "admin", &["whoami"]));
    // A restart meanwhile forgets nothing and lets nobody in.
    let providers = world.providers();
    world.gateway.restart(|text| format!("{text}{providers}"));
    is_refused(&world, "people", "alice", "cannot tell who you are");
    world.twin.serve();
    let back = eventually(|| {
        (world.palisade("people", "alice", &["whoami"]).code == Some(0)).then_some(())
    });
    assert!(back.is_some(), "it is back: {}", world.gateway.log());
    assert_eq!(world.whoami("people", "alice").1, both);
}

#[test]
fn slow_cut_and_half_open_connections_hold_nobody_up_for_long() {
    let mut world = World::start();
    let chaos = Chaos::before((world.people.address, 636).into(), world.people.address);
    // The first of its servers is behind the proxy.
    let behind = format!("hosts: [{}, {}]", chaos.address, world.twin.address);
    let direct = format!("hosts: [{}, {}]", world.people.address, world.twin.address);
    let providers = world.providers().replacen(&direct, &behind, 1);
    for mood in [
        Mood::Slow,
        // In the handshake, in the bind, in an answer.
        Mood::Cut(10),
        Mood::Cut(3_000),
        Mood::Hang(10),
        Mood::Hang(3_000),
        Mood::Calm,
    ] {
        chaos.set(mood);
        // One that has not passed over that server yet.
        world.gateway.restart(|text| format!("{text}{providers}"));
        let (began, before) = (Instant::now(), chaos.connections());
        world.login("people", "alice", PASSWORD).ok();
        let took = began.elapsed();
        assert!(
            chaos.connections() > before,
            "{mood:?}: nothing was dialled"
        );
        // Two connections of one second each and their answers of two, at the very most, before the next server.
        assert!(took < Duration::from_secs(12), "{mood:?}: {took:?}");
        assert_eq!(world.whoami("people", "alice").0, "alice", "{mood:?}");
    }
}
