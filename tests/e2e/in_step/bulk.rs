//! A cluster with many namespaces that comes under projects at once.

use super::{World, names};
use crate::testkit::process::eventually;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    env,
    time::{Duration, Instant},
};

/// So many namespaces if nobody says otherwise. `PALISADE_NAMESPACES=2000` takes five minutes at twenty writes a second.
const NAMESPACES: usize = 60;
/// Roles of scope project that come with the program.
const ROLES: usize = 3;

#[expect(
    clippy::disallowed_methods,
    reason = "how large it is, is whoever runs the test to say"
)]
fn namespaces() -> usize {
    let given = env::var("PALISADE_NAMESPACES").ok();
    given.map_or(NAMESPACES, |text| text.parse().expect("a number"))
}

#[test]
fn many_namespaces_come_into_step() {
    let world = World::new();
    let count = namespaces();
    let all: Vec<String> = (0..count).map(|number| format!("bulk-{number}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    for some in all.chunks(500) {
        world.create(&names(some));
    }
    let before = requests(&world);
    world.admin(&[
        "project",
        "add",
        "bulk",
        "--cluster",
        "local",
        "-n",
        "bulk-*",
    ]);
    let begun = Instant::now();
    world.member("mia", "bulk", &[]);
    // Somebody waits for this one, and not behind all others.
    world.namespaces(&["bulk-new"]);
    let made = Instant::now();
    let reached = eventually(|| {
        let got = world.kubectl("mia", &["get", "pods", "-n", "bulk-new"]);
        (got.code == Some(0)).then(|| made.elapsed())
    });
    let reached = reached.unwrap_or_else(|| panic!("{:#}", world.sync()));
    let wanted = (count + 1) * ROLES;
    // Half as fast as the pace is still right.
    let patience =
        Duration::from_millis(100) * u32::try_from(wanted).expect("few") + Duration::from_mins(1);
    let took = loop {
        let in_step = eventually(|| (world.sync()["state"] == "InStep").then_some(()));
        if in_step.is_some() {
            break begun.elapsed();
        }
        assert!(begun.elapsed() < patience, "{:#}", world.sync());
    };
    let listed = world.direct(&["get", "rolebindings", "-A", "-o", "name"]);
    let bound = listed
        .lines()
        .filter(|name| name.contains("palisade:project:"));
    assert_eq!(bound.count(), wanted);
    let mut made = requests(&world);
    for (what, number) in before {
        made.entry(what).and_modify(|all| *all -= number);
    }
    println!(
        "{count} namespaces with {ROLES} roles: {wanted} bindings in step after {:.1} s; the namespace that was made \
         meanwhile was reached after {reached:?}; requests by verb and resource: {made:?}",
        took.as_secs_f64()
    );
    // One write for each binding, one for the shard with the project's groups and one for who holds it.
    assert_eq!(made["patch rolebindings"], wanted, "{made:?}");
    let others: usize = made.values().sum::<usize>() - wanted;
    assert!(others < 20, "{made:?}");
    // The pace: a second has no more than twenty.
    let least = Duration::from_millis(50) * u32::try_from(wanted - 20).expect("few");
    assert!(took > least, "{took:?}");
}

/// Requests of the account that writes, by verb and resource.
fn requests(world: &World) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    for event in world.local.audit_events() {
        let who = event["user"]["username"].as_str().unwrap_or_default();
        if who.ends_with(":palisade-system:reconciler") && event["stage"] == "ResponseComplete" {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let what = text(&event["verb"]) + " " + &text(&event["objectRef"]["resource"]);
            *all.entry(what).or_insert(0) += 1;
        }
    }
    all
}
