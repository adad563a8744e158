//! What changes in a directory, or happens to it, after a login.

use super::{
    samba::{PASSWORD, Samba},
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

// L4
#[test]
fn who_is_disabled_locked_expired_or_removed_in_the_directory_is_out() {
    let world = World::start();
    for name in ["leaver1", "leaver2", "leaver3", "leaver4", "alice"] {
        world.login("corp", name, PASSWORD).ok();
        works(&world.palisade("corp", name, &["whoami"]));
    }
    let change = |name: &str, what: &str| {
        let dn = Samba::dn(name);
        world
            .ad
            .modify(&format!("dn: {dn}\nchangetype: modify\n{what}\n"));
    };
    change(
        "leaver1",
        "replace: userAccountControl\nuserAccountControl: 514",
    );
    change(
        "leaver2",
        "replace: accountExpires\naccountExpires: 116444736000000001",
    );
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
    for name in ["leaver1", "leaver2", "leaver3"] {
        is_refused(&world, "corp", name, "disabled, locked or expired");
    }
    is_refused(&world, "corp", "leaver4", "may not log in here any more");
    // Whoever is open again is in again, with the session that they had.
    change(
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
    is_refused(&world, "corp", "alice", "may not log in here any more");
    change("add");
    let back =
        eventually(|| (world.palisade("corp", "alice", &["whoami"]).code == Some(0)).then_some(()));
    assert!(back.is_some());
    providers_come_and_go(&world);
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
    world.gateway.restart(|text| format!("{text}{providers}"));
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
        let began = Instant::now();
        world.login("people", "alice", PASSWORD).ok();
        let took = began.elapsed();
        // Two connections of one second each and their answers of two, at the very most, before the next server.
        assert!(took < Duration::from_secs(12), "{mood:?}: {took:?}");
        assert_eq!(world.whoami("people", "alice").0, "alice", "{mood:?}");
    }
}
