//! Acting as others: every kubectl's `--as` and its like, to a real API server.
//!
//! The owner acts, and the audit log says as whom and by whom ([`World::check_audit`]).

use super::world::{
    FORMER, MEMBER, OPERATORS, OWNER, VIEWER, World, at_least, newest, oldest_and_newest, with_each,
};
use crate::testkit::{
    cluster::kubectls,
    process::{PATIENCE, Running, run},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::Command,
};

const REVIEWS: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

impl World {
    /// The owner's kubectl with these arguments, as somebody.
    fn acting(&self, program: &Path, user: &str, arguments: &[&str]) -> Command {
        let mut command = self.kubectl(OWNER, program);
        command.arg(format!("--as={user}")).args(arguments);
        command
    }

    fn uid(&self, person: &str) -> String {
        let user = self.admin(&["user", "show", person, "-o", "json"]);
        let user: Value = serde_json::from_str(&user).expect("JSON");
        user["metadata"]["uid"].as_str().expect("a uid").to_owned()
    }
}

#[test]
fn every_kubectl_acts_as_another_with_the_others_rights() {
    let world = World::shared();
    with_each(&kubectls(), |version, program| {
        let act = |user: &str, arguments: &[&str]| run(&world.acting(program, user, arguments));
        // The owner's own, and not the member's.
        run(world.kubectl(OWNER, program).args(["get", "secrets"])).ok();
        let said = act(MEMBER, &["get", "secrets"]).refused(&[
            "User \"mia\" cannot list resource \"secrets\"",
            "no role of \"mia\" on cluster \"local\" allows it",
        ]);
        assert!(!said.contains("olga"), "{version}: {said}");
        let pods = act(VIEWER, &["get", "pods", "shell", "-o", "name"]).ok();
        assert_eq!(pods, "pod/shell\n", "{version}");

        let map = format!("acting-{}", version.replace('.', "-"));
        act(MEMBER, &["create", "configmap", &map, "--from-literal=a=b"]).ok();
        act(VIEWER, &["delete", "configmap", &map])
            .refused(&["User \"vic\" cannot delete resource \"configmaps\""]);
        act(MEMBER, &["delete", "configmap", &map]).ok();

        assert_eq!(
            act(VIEWER, &["auth", "can-i", "list", "pods"]).ok(),
            "yes\n"
        );
        let no = act(VIEWER, &["auth", "can-i", "list", "secrets"]);
        assert_eq!(no.stdout, "no\n", "{version}: {no}");
        if at_least(version, 28) {
            let who = act(MEMBER, &["auth", "whoami", "-o", "json"]).ok();
            let who: Value = serde_json::from_str(&who).expect("JSON");
            let who = &who["status"]["userInfo"];
            assert_eq!(who["username"], "palisade:mia", "{version}");
            assert_eq!(who["extra"]["palisade.dev/acting-user"], json!([OWNER]));
        }
    });
    world.check_audit();
}

#[test]
fn every_kubectl_acts_as_another_in_streams() {
    let world = World::shared();
    with_each(&kubectls(), |version, program| {
        for way in super::streams::ways(version) {
            let exec = |user: &str| {
                let script = ["exec", "shell", "--", "sh", "-c", "echo out; exit 7"];
                let mut command = world.acting(program, user, &script);
                super::streams::set(&mut command, way);
                run(&command)
            };
            let ran = exec(MEMBER);
            assert_eq!(ran.code, Some(7), "{version} {way:?}: {ran}");
            assert_eq!(ran.stdout, "out\n", "{version} {way:?}: {ran}");
            exec(VIEWER).refused(&["User \"vic\" cannot create resource \"pods/exec\""]);
        }
        let logs = ["logs", "-f", "ticker", "--tail=1"];
        let following = Running::start(world.acting(program, VIEWER, &logs));
        following.line("tick ");
        following.line("tick ");

        let map = format!("watched-{}", version.replace('.', "-"));
        let select = format!("--field-selector=metadata.name={map}");
        let watch = ["get", "configmaps", "-w", "-o", "name", &select];
        let watching = Running::start(world.acting(program, VIEWER, &watch));
        let create = ["create", "configmap", map.as_str()];
        run(&world.acting(program, MEMBER, &create)).ok();
        watching.line(&map);
        run(&world.acting(program, MEMBER, &["delete", "configmap", &map])).ok();

        let forward = ["port-forward", "pod/web", ":8080"];
        let forward = Running::start(world.acting(program, MEMBER, &forward));
        let line = forward.line("Forwarding from 127.0.0.1:");
        let address = line.split_whitespace().nth(2).expect("an address");
        let hello = super::streams::http(address, "GET", &[]);
        assert!(hello.ends_with(b"hello from web\n"), "{version}");
    });
    world.check_audit();
}

#[test]
fn every_kubectl_acts_in_a_group_and_with_a_uid() {
    let world = World::shared();
    let uid = world.uid(VIEWER);
    with_each(&kubectls(), |version, program| {
        let act = |more: &[&str], arguments: &[&str]| {
            run(world.acting(program, VIEWER, more).args(arguments))
        };
        let group = format!("--as-group={OPERATORS}");
        // What vic may not, the group may.
        let out = act(&[&group], &["exec", "shell", "--", "echo", "in"]).ok();
        assert_eq!(out, "in\n", "{version}");
        act(&["--as-group=nowhere"], &["get", "pods"])
            .refused(&["there is no group \"nowhere\" to act in"]);
        act(&[&format!("--as-uid={uid}")], &["get", "pods"]).ok();
        act(&["--as-uid=1234"], &["get", "pods"])
            .refused(&["user \"vic\" has another uid than the one to act with (--as-uid)"]);
    });
    world.check_audit();
}

/// Arguments of the owner's kubectl, and what the refusal says.
const REFUSED: &[(&[&str], &str)] = &[
    (&["--as=ghost"], "there is no user \"ghost\" to act as"),
    (
        &["--as=palisade:mia"],
        "\"palisade:mia\" is a name that clusters see",
    ),
    (
        &["--as=system:admin"],
        "\"system:admin\" is a name that Kubernetes keeps for itself",
    ),
    (
        &["--as=system:serviceaccount:palisade-system:reconciler"],
        "is a service account: --as takes the handle of a user of this gateway",
    ),
    (
        &["--as=mia", "--as-group=system:masters"],
        "\"system:masters\" is a name that Kubernetes keeps for itself",
    ),
    (
        &["--as=mia", "--as-group=palisade:cluster:cluster-owner"],
        "\"palisade:cluster:cluster-owner\" is a name that clusters see",
    ),
    (
        &["--as=zoe"],
        "user \"zoe\" holds no role on cluster \"local\", or there is no such cluster",
    ),
];

#[test]
fn a_refused_as_says_why_and_names_the_missing_right() {
    let world = World::shared();
    with_each(&oldest_and_newest(), |_, program| {
        for (arguments, wanted) in REFUSED {
            let mut command = world.kubectl(OWNER, program);
            command.args(*arguments).args(["get", "pods"]);
            run(&command).refused(&[wanted]);
        }
        // H11.
        let mut command = world.acting(program, MEMBER, &["get", "pods"]);
        command.args((0..1000).map(|number| format!("--as-group=g{number}")));
        run(&command).refused(&["more than 32 groups to act in"]);
        // Whether or not there is such a user, to whoever may not.
        for name in [VIEWER, "ghost"] {
            let mut command = world.kubectl(MEMBER, program);
            command.args(["get", "pods", "--as", name]);
            run(&command).refused(&[&format!(
                "users \"{name}\" is forbidden: User \"mia\" cannot impersonate resource \"users\" in API group \"\" \
                 at the cluster scope: no role of yours on cluster \"local\" allows it"
            )]);
        }
    });
    world.check_audit();
}

#[test]
fn on_the_own_api_only_an_admin_acts_as_others() {
    let world = World::shared();
    let file = world.gateway.kubeconfig("admin", "acting.yaml", &[]);
    let own = |arguments: &[&str]| {
        let mut command = crate::testkit::gateway::kubectl(&newest(), &file);
        command.args(["--context", "palisade"]).args(arguments);
        run(&command)
    };
    let who = own(&["auth", "whoami", "--as=mia", "-o", "json"]).ok();
    let who: Value = serde_json::from_str(&who).expect("JSON");
    let who = &who["status"]["userInfo"];
    assert_eq!(who["username"], MEMBER);
    assert_eq!(who["extra"]["palisade.dev/acting-user"], json!(["admin"]));
    own(&["get", "users"]).ok();
    own(&["get", "users", "--as=mia"]).refused(&["User \"mia\" cannot list resource \"users\""]);

    let mut owner = world.kubectl(OWNER, &newest());
    owner.args(["--context", "palisade", "auth", "whoami", "--as=mia"]);
    run(&owner).refused(&[]);
}

/// `kubectl proxy`, which sends on what a client says of impersonation, byte for byte.
fn proxy(mut kubectl: Command) -> (Running, String) {
    kubectl.args(["proxy", "--port=0", "--append-server-path"]);
    let proxy = Running::start(kubectl);
    let line = proxy.line("Starting to serve on ");
    let (_, address) = line.split_once(" on ").expect("an address");
    let address = address.to_owned();
    (proxy, address)
}

/// The extras that the API server takes a user for who asks with these headers, less the gateway's own.
fn extras(address: &str, user: &str, headers: &[(String, String)]) -> BTreeMap<String, Value> {
    let body = r#"{"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}"#;
    let mut request = format!(
        "POST {REVIEWS} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nImpersonate-User: {user}\r\n",
        body.len()
    );
    for (name, value) in headers {
        request = request + name + ": " + value + "\r\n";
    }
    request = request + "\r\n" + body;
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    stream.write_all(request.as_bytes()).expect("it is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
    assert!(head.contains(" 201 "), "{headers:?}: {answer}");
    let review: Value = serde_json::from_str(body).expect("JSON");
    let info = &review["status"]["userInfo"];
    assert_eq!(info["username"], "palisade:mia", "{review}");
    let extras = info["extra"].as_object().cloned().unwrap_or_default();
    extras
        .into_iter()
        .filter(|(key, _)| !key.starts_with("palisade.dev/"))
        .collect()
}

/// Keys of characters that a header's name may hold, escapes among them, whole and broken ones.
fn some_keys() -> Vec<String> {
    const PARTS: &[&str] = &[
        "a",
        "Z",
        "0",
        ".",
        "-",
        "_",
        "%2f",
        "%2F",
        "%41",
        "%c3%a9",
        "%C3%A9",
        "%e1%9b%84",
        "%25",
        "%",
        "%zz",
        "%4",
        "scopes",
        "example.com",
        "!",
        "#",
        "$",
        "&",
        "'",
        "*",
        "+",
        "^",
        "`",
        "|",
        "~",
        "%20",
        "%3a",
        "%00",
    ];
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = |bound: usize| {
        // xorshift64: all that is asked of it is variety.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(bound).expect("small")).expect("small")
    };
    (0..200)
        .map(|_| {
            let parts = 1 + next(5);
            (0..parts).map(|_| PARTS[next(PARTS.len())]).collect()
        })
        .collect()
}

// H9: what goes through the gateway arrives as what goes to the API server straight.
#[test]
fn extras_arrive_as_they_would_without_the_gateway() {
    let world = World::shared();
    let (_direct, direct) = proxy(world.local.kubectl());
    let (_gateway, gateway) = proxy(world.kubectl(OWNER, &newest()));
    let header = |key: &str, value: &str| (format!("Impersonate-Extra-{key}"), value.to_owned());
    let mut rows: Vec<Vec<(String, String)>> = vec![
        vec![header("scopes", "view")],
        vec![header("Scopes", "View"), header("Scopes", "a, b; c")],
        vec![header("example.com%2Fkey", "x/y%2fz")],
        vec![header("example.com%2fescaped%e1%9b%84scopes", "käse ᛄ")],
        vec![header("almost%zzpercent%xxencoded", "100%")],
        vec![header("empty", "")],
        vec![header("%55pper", "UPPER")],
    ];
    rows.extend(some_keys().iter().map(|key| vec![header(key, "v")]));
    let mut decoded = 0;
    for row in &rows {
        let wanted = extras(&direct, "palisade:mia", row);
        assert_eq!(extras(&gateway, "mia", row), wanted, "{row:?}");
        let raw = row[0].0["Impersonate-Extra-".len()..].to_ascii_lowercase();
        decoded += usize::from(!wanted.contains_key(&raw));
    }
    assert!(
        decoded > 50,
        "{decoded} keys were other than they were sent"
    );
    world.check_audit();
}

#[test]
fn the_newest_kubectl_sets_an_extra() {
    let world = World::shared();
    let extra = ["--as-user-extra=example.com/Scopes=View", "auth", "whoami"];
    let mut command = world.acting(&newest(), MEMBER, &extra);
    command.args(["-o", "json"]);
    let who: Value = serde_json::from_str(&run(&command).ok()).expect("JSON");
    let extra = &who["status"]["userInfo"]["extra"];
    // client-go does not escape upper case, and the API server folds it.
    assert_eq!(extra["example.com/scopes"], json!(["View"]), "{who}");
    let mut own = world.acting(&newest(), MEMBER, &["get", "pods"]);
    own.arg("--as-user-extra=palisade.dev/acting-user=mia");
    run(&own).refused(&["the extra \"palisade.dev/acting-user\" is written by the gateway"]);
    world.check_audit();
}

#[test]
fn the_gateways_log_names_both() {
    let world = World::shared();
    run(&world.acting(&newest(), MEMBER, &["get", "pods", "web"])).ok();
    let log = world.gateway.log();
    let line = log.lines().find(|line| {
        line.contains(" acts_as=\"mia\"") && line.contains("/namespaces/default/pods/web")
    });
    let line = line.unwrap_or_else(|| panic!("no such line: {log}"));
    assert!(line.contains(" user=\"olga\""), "{line}");
}

#[test]
fn disabling_the_other_ends_acting_as_them() {
    let world = World::shared();
    world.add_person(FORMER);
    world.admin(&[
        "bind",
        "cluster-viewer",
        "--user",
        FORMER,
        "--cluster",
        "local",
    ]);
    let get = || run(&world.acting(&newest(), FORMER, &["get", "pods"]));
    get().ok();
    world.admin(&["user", "disable", FORMER]);
    get().refused(&["user \"paul\" is disabled, and so nobody can act as them"]);
    world.check_audit();
}
