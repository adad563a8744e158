//! Policy from files: what a change of them means for kubectl, and what a mistake in them does not.

use super::world::{MEMBER, NOBODY, World, newest};
use crate::testkit::process::{eventually, run};
use std::{fs, process::Command};

/// A role of the folder's own, bound to the person who holds nothing else.
const TEAM: &str = "\
apiVersion: palisade.dev/v1alpha1
kind: Role
metadata: {name: map-reader}
spec:
  scope: cluster
  rules:
  - {apiGroups: [''], resources: [configmaps], verbs: [get, list]}
---
apiVersion: palisade.dev/v1alpha1
kind: Binding
metadata: {name: zoe-reads}
spec:
  role: map-reader
  subject: {kind: User, name: zoe}
  clusters: [local]
";

#[test]
fn a_folder_counts_by_itself_and_a_mistake_in_it_keeps_the_old_one() {
    let mut world = World::new(&[]);
    let folder = world.gateway.state_dir().join("policies");
    fs::create_dir(&folder).expect("a folder");
    let file = folder.join("team.yaml");
    fs::write(&file, "# nothing yet\n").expect("it can be written");
    world
        .gateway
        .restart(|config| format!("{config}policies: policies\n"));
    let config = world.cluster_config(NOBODY, "local", "folder");
    let kubectl = |resource: &str| -> Command {
        let mut command = crate::testkit::gateway::kubectl(&newest(), &config);
        command.args(["get", resource]);
        command
    };
    run(&kubectl("configmaps")).refused(&["Forbidden"]);

    // Written, and taken by itself; the cluster is told of the role.
    fs::write(&file, TEAM).expect("it can be written");
    let taken = |generation: u32| {
        let line = format!("taken=\"policy\" generation={generation}");
        let seen = || world.gateway.log().contains(&line).then_some(());
        assert!(eventually(seen).is_some(), "{}", world.gateway.log());
    };
    taken(2);
    world.admin(&["cluster", "sync", "local"]);
    run(&kubectl("configmaps")).ok();
    run(&kubectl("secrets")).refused(&["Forbidden"]);
    let roles = world.admin(&["role", "list"]);
    let line = roles.lines().find(|line| line.starts_with("map-reader "));
    let line = line.unwrap_or_else(|| panic!("{roles}"));
    assert!(line.contains("team.yaml:1"), "{line}");
    let status = world.admin(&["policy", "status"]);
    assert!(
        status.starts_with("counts:    1 role(s), 0 project(s), 1 binding(s), since "),
        "{status}"
    );
    let bound = world.palisade("admin", &["unbind", "zoe-reads"]);
    bound.refused(&["stands in the gateway's policy folder, at team.yaml:9"]);

    // A mistake: the old policy stands, and people are told where it is.
    fs::write(&file, TEAM.replace("role: map-reader", "role: map-raeder")).expect("it is written");
    let refused = || {
        let ready = world.gateway.admin_get("/readyz?verbose")?;
        ready.contains("[!]policy: ").then_some(ready)
    };
    let ready = eventually(refused).unwrap_or_else(|| panic!("{}", world.gateway.log()));
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    run(&kubectl("configmaps")).ok();
    let status = world.palisade("admin", &["policy", "status"]);
    assert!(
        status
            .stdout
            .contains("team.yaml:13:3: spec.role: there is no role \"map-raeder\""),
        "{status}"
    );
    status.refused(&["was not taken"]);
    world
        .palisade(MEMBER, &["policy", "status"])
        .refused(&["forbidden"]);

    // Mended, without the binding.
    let (role, _) = TEAM.split_once("---").expect("two documents");
    fs::write(&file, role).expect("it can be written");
    taken(3);
    run(&kubectl("configmaps")).refused(&["Forbidden"]);
}
