//! Objects: read, watched, written, waited for and deleted, with the oldest and the newest kubectl.

use super::world::{MEMBER, OPERATOR, VIEWER, World, newest, oldest_and_newest, with_each};
use crate::testkit::{
    cluster::kubectls,
    process::{Running, run, run_with},
};
use std::fs;

fn config_map(name: &str, step: &str) -> String {
    format!(
        r#"{{"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {{"name": "{name}", "labels": {{"row": "{name}"}}}}, "data": {{"step": "{step}"}}}}"#
    )
}

/// A name of this version's own.
fn named(base: &str, version: &str) -> String {
    format!("{base}-{}", version.replace('.', "-"))
}

#[test]
fn objects_are_made_changed_watched_and_deleted() {
    let world = World::shared();
    with_each(&oldest_and_newest(), |version, program| {
        let mia = || world.kubectl(MEMBER, program);
        let vic = || world.kubectl_static(VIEWER, program);
        let name = named("row", version);
        let step = "jsonpath={.data.step}{\"\\n\"}";
        let mut watch = vic();
        watch.args([
            "get",
            "configmaps",
            "-w",
            "-l",
            &format!("row={name}"),
            "-o",
            step,
        ]);
        let watching = Running::start(watch);

        let file = world.gateway.home(MEMBER).join(format!("{name}.json"));
        fs::write(&file, config_map(&name, "one")).expect("it can be written");
        let create = || run(mia().args(["create", "-f"]).arg(&file));
        assert_eq!(create().ok(), format!("configmap/{name} created\n"));
        watching.line("one");
        create().refused(&[
            "AlreadyExists",
            &format!("configmaps \"{name}\" already exists"),
        ]);

        let applied = run_with(mia().args(["apply", "-f", "-"]), &config_map(&name, "two")).ok();
        assert_eq!(applied, format!("configmap/{name} configured\n"));
        watching.line("two");
        let server_side = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        run_with(mia().args(server_side), &config_map(&name, "three")).ok();
        watching.line("three");
        let managers = [
            "get",
            "configmap",
            &name,
            "--show-managed-fields",
            "-o",
            "jsonpath={.metadata.managedFields[*].operation}",
        ];
        let managers = run(vic().args(managers)).ok();
        assert!(managers.contains("Apply"), "{version}: {managers}");

        let patch = [
            "patch",
            "configmap",
            &name,
            "-p",
            "{\"data\":{\"step\":\"four\"}}",
        ];
        run(mia().args(patch)).ok();
        watching.line("four");
        let four = format!("configmap/{name}");
        let wait = [
            "wait",
            "--for=jsonpath={.data.step}=four",
            "--timeout=30s",
            &four,
        ];
        run(vic().args(wait)).ok();
        let dry = ["delete", "--dry-run=server", "configmap", &name];
        run(mia().args(dry)).ok();

        let mut gone = vic();
        gone.args(["wait", "--for=delete", "--timeout=30s", &four]);
        let mut gone = Running::start(gone);
        run(mia().args(["delete", "configmap", &name])).ok();
        assert_eq!(gone.wait(), Some(0), "{version}: {}", gone.stderr());
        run(vic().args(["get", "configmap", &name])).refused(&["NotFound"]);
    });
    assert!(world.check_audit() > 0);
}

#[test]
fn a_member_runs_what_others_deployed() {
    let world = World::shared();
    with_each(&oldest_and_newest(), |version, program| {
        let gus = || world.kubectl(OPERATOR, program);
        let operator = || world.local.kubectl();
        let deployment = named("idle", version);
        run(operator().args([
            "create",
            "deployment",
            &deployment,
            "--image=none",
            "--replicas=0",
        ]))
        .ok();
        run(gus().args(["scale", "deployment", &deployment, "--replicas=3"])).ok();
        let replicas = [
            "get",
            "deployment",
            &deployment,
            "-o",
            "jsonpath={.spec.replicas}",
        ];
        assert_eq!(run(gus().args(replicas)).ok(), "3", "{version}");

        let pod = named("victim", version);
        run(operator()
            .args(["run", &pod, "--image=none", "--grace-period=1"])
            .arg("--restart=Never"))
        .ok();
        let ready = [
            "wait",
            "--for=condition=Ready",
            "--timeout=60s",
            "pod",
            &pod,
        ];
        run(gus().args(ready)).ok();
        let described = run(gus().args(["describe", "pod", &pod])).ok();
        assert!(described.contains("Status:"), "{version}: {described}");
        run(gus().args(["delete", "pod", &pod, "--grace-period=1", "--timeout=60s"])).ok();
        run(gus().args(["get", "pod", &pod])).refused(&["NotFound"]);
    });
    world.check_audit();
}

#[test]
fn the_cluster_says_who_one_is_and_what_one_may() {
    let world = World::shared();
    with_each(&oldest_and_newest(), |version, program| {
        let can = |person, question: &[&str]| {
            let ran = run(world
                .kubectl(person, program)
                .args(["auth", "can-i"])
                .args(question));
            let answer = ran.stdout.trim().to_owned();
            assert_eq!(
                ran.code,
                Some(i32::from(answer != "yes")),
                "{version}: {ran}"
            );
            answer
        };
        assert_eq!(can(MEMBER, &["list", "pods", "-A"]), "yes");
        assert_eq!(
            can(MEMBER, &["create", "pods", "--subresource=exec"]),
            "yes"
        );
        assert_eq!(can(MEMBER, &["create", "pods"]), "no");
        assert_eq!(
            can(MEMBER, &["get", "secrets", "-n", "palisade-system"]),
            "no"
        );
        assert_eq!(can(VIEWER, &["get", "pods", "--subresource=log"]), "yes");
        assert_eq!(can(VIEWER, &["create", "pods", "--subresource=exec"]), "no");
        let table = run(world
            .kubectl(VIEWER, program)
            .args(["auth", "can-i", "--list"]))
        .ok();
        assert!(
            table.contains("pods/log") && !table.contains("pods/exec"),
            "{version}: {table}"
        );
    });
    // kubectl 1.27 asks for a version of the review that the API server no longer has.
    let mut reviewers = kubectls();
    reviewers.retain(|(version, _)| version != "1.27");
    with_each(&reviewers, |version, program| {
        let who = run(world
            .kubectl(MEMBER, program)
            .args(["auth", "whoami", "-o", "json"]))
        .ok();
        let who: serde_json::Value = serde_json::from_str(&who).expect("JSON");
        let info = &who["status"]["userInfo"];
        assert_eq!(info["username"], "palisade:mia", "{version}: {who}");
        let groups = serde_json::json!(["palisade:cluster:cluster-member", "system:authenticated"]);
        assert_eq!(info["groups"], groups, "{version}: {who}");
    });
    world.check_audit();
}

#[test]
fn a_large_list_and_a_large_object_pass() {
    let world = World::shared();
    let mia = || world.kubectl(MEMBER, &newest());
    let file = world.gateway.home(MEMBER).join("large.txt");
    // Just below what a ConfigMap may hold.
    fs::write(&file, "0123456789abcdef".repeat(64_000)).expect("it can be written");
    let from = format!("--from-file=text={}", file.display());
    run(mia().args(["create", "configmap", "large", &from])).ok();
    let length = [
        "get",
        "configmap",
        "large",
        "-o",
        "go-template={{len .data.text}}",
    ];
    assert_eq!(run(mia().args(length)).ok(), "1024000");
    run(mia().args(["delete", "configmap", "large"])).ok();
    world.check_audit();
}
