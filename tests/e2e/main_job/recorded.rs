//! The lines that a person's kubectl leaves in the gateway's audit log.

use super::world::{NOBODY, OPERATORS, OWNER, RECORDED, World, newest};
use crate::testkit::process::{Running, eventually, run};
use serde_json::Value;

/// The values that differ from run to run.
const CHANGING: &[&str] = &[
    "/auditID",
    "/requestReceivedTimestamp",
    "/stageTimestamp",
    "/user/uid",
    "/user/extra/palisade.dev~1token-id/0",
    "/impersonatedUser/uid",
    "/userAgent",
    "/annotations/palisade.dev~1duration-seconds",
    "/annotations/palisade.dev~1bytes-sent",
    "/annotations/palisade.dev~1bytes-received",
];

fn masked(mut event: Value) -> Value {
    for place in CHANGING {
        if let Some(value) = event.pointer_mut(place) {
            let text = value.as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{place} says something");
            *value = "<masked>".into();
        }
    }
    if let Some(notes) = event["annotations"].as_object_mut() {
        // A watch is over when its time is: the client and the cluster see that at the same moment.
        notes.remove("palisade.dev/cut");
    }
    let uri = event["requestURI"].as_str().expect("a path");
    if let Some((before, after)) = uri.split_once("resourceVersion=") {
        let after = after.trim_start_matches(|letter: char| letter.is_ascii_digit());
        event["requestURI"] = format!("{before}resourceVersion=<masked>{after}").into();
    }
    event
}

/// Whether somebody did this on the cluster as themselves, or somebody else as them; discovery comes in any
/// order and is left out.
fn is_of(event: &Value, person: &str) -> bool {
    let names = ["/user/username", "/impersonatedUser/username"];
    let is_person = |place: &&str| event.pointer(place).is_some_and(|found| found == person);
    let on_cluster = event["annotations"]["palisade.dev/cluster"] == "local";
    names.iter().any(is_person) && on_cluster && event.get("objectRef").is_some()
}

/// What is to be recorded.
fn act(world: &World) {
    let rita = |arguments: &[&str]| run(world.kubectl(RECORDED, &newest()).args(arguments));
    let olga = |arguments: &[&str]| run(world.kubectl(OWNER, &newest()).args(arguments));

    rita(&["get", "pods", "-l", "app=shell", "-o", "name"]).ok();
    rita(&["get", "pod", "shell", "-o", "name"]).ok();
    rita(&["get", "secrets"]).refused(&["cannot list resource \"secrets\""]);
    rita(&["get", "configmap", "nothing"]).refused(&["NotFound"]);
    let literal = "--from-literal=key=planted-value";
    rita(&["create", "configmap", "recorded", literal]).ok();
    let patch = [
        "patch",
        "configmap",
        "recorded",
        "-p",
        "{\"data\":{\"key\":\"planted-value\"}}",
    ];
    rita(&patch).ok();
    rita(&["delete", "configmap", "recorded", "--wait=false"]).ok();
    rita(&["logs", "brief"]).ok();
    let exec = rita(&[
        "exec",
        "shell",
        "--",
        "sh",
        "-c",
        "echo planted-value; exit 7",
    ]);
    assert_eq!(exec.code, Some(7), "{exec}");
    let mut watch = world.kubectl(RECORDED, &newest());
    watch.args([
        "get",
        "pods",
        "-l",
        "app=brief",
        "-o",
        "name",
        "--watch-only",
        "--request-timeout=1s",
    ]);
    let mut watch = Running::start(watch);
    watch.wait();
    let asrita = format!("--as={RECORDED}");
    olga(&[&asrita, "get", "pods", "-l", "app=shell", "-o", "name"]).ok();
    let group = format!("--as-group={OPERATORS}");
    olga(&[&asrita, &group, "get", "pod", "shell", "-o", "name"]).ok();
    olga(&[&asrita, "get", "secrets"]).refused(&["cannot list resource \"secrets\""]);
    let aszoe = format!("--as={NOBODY}");
    // Without discovery, which is refused already.
    let pods = "/api/v1/namespaces/default/pods";
    rita(&[&aszoe, "get", "--raw", pods]).refused(&["forbidden"]);
}

// O1: what kubectl does, and what was refused, is in the log, with the one who acted; of commands and values
// nothing is.
#[test]
fn what_a_kubectl_does_is_in_the_audit_log() {
    let world = World::shared();
    world.add_person(RECORDED);
    let bind = [
        "bind",
        "cluster-member",
        "--user",
        RECORDED,
        "--cluster",
        "local",
    ];
    world.admin(&bind);
    world.gateway.kubeconfig(RECORDED, "plugin.yaml", &[]);
    act(&world);
    // Each request above has its end, and what stays open a start.
    let lines = eventually(|| {
        let events = world.recorded();
        let lines: Vec<Value> = events
            .into_iter()
            .filter(|event| is_of(event, RECORDED))
            .collect();
        let last = |event: &Value| event.to_string().contains(NOBODY);
        lines.iter().any(last).then_some(lines)
    });
    let mut lines = lines.expect("the last of them is there");
    // In the order in which they were asked for: the end of what is cut off may come after the next begins.
    lines.sort_by_key(|event| {
        let received = event["requestReceivedTimestamp"].to_string();
        (received, event["stage"] == "ResponseComplete")
    });
    let all = serde_json::to_string(&lines).expect("JSON");
    assert!(!all.contains("planted-value"), "{all}");
    let lines: Vec<String> = lines
        .into_iter()
        .map(|event| masked(event).to_string())
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
    world.check_audit();
}
