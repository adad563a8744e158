//! A cluster that was away.

use super::World;
use crate::testkit::process::eventually;

#[test]
fn a_cluster_whose_api_server_was_stopped_catches_up() {
    let world = World::new();
    world.namespaces(&["shop", "shop-eu"]);
    world.admin(&["project", "add", "shop", "--cluster", "local", "-n", "shop"]);
    world.member("mia", "shop", &[]);
    world.until_in_step();
    world.kubectl("mia", &["get", "pods", "-n", "shop"]).ok();

    world.local.stop_api_server();
    let away = eventually(|| {
        let shown = world.sync();
        (shown["state"] == "Unknown").then_some(shown)
    });
    let away = away.unwrap_or_else(|| panic!("{:#}", world.sync()));
    let why = away["message"].as_str().unwrap_or_default();
    assert!(why.starts_with("cannot read "), "{away:#}");
    // Meanwhile policy changes in every way.
    world.admin(&["project", "add-namespace", "shop", "shop-eu"]);
    world.admin(&[
        "project",
        "add",
        "store",
        "--cluster",
        "local",
        "-n",
        "store",
    ]);
    world.admin(&["project", "remove-namespace", "shop", "shop"]);

    world.local.start_api_server();
    world.until_in_step();
    let group = world.group("shop", "project-member");
    assert!(world.cluster_lets(&group, "get", "pods", "shop-eu"));
    assert!(!world.cluster_lets(&group, "get", "pods", "shop"));
    let reached = eventually(|| {
        let got = world.kubectl("mia", &["get", "pods", "-n", "shop-eu"]);
        (got.code == Some(0)).then_some(())
    });
    assert!(reached.is_some(), "{:#}", world.sync());
    world
        .kubectl("mia", &["get", "pods", "-n", "shop"])
        .refused(&["orbidden"]);
    // And it goes on: what comes now is heard of.
    world.namespaces(&["store"]);
    let store = world.group("store", "project-viewer");
    let bound = eventually(|| {
        world
            .cluster_lets(&store, "get", "pods", "store")
            .then_some(())
    });
    assert!(bound.is_some(), "{:#}", world.sync());
}
