//! `palisade cluster …` as an operator runs it: against a development gateway and a real API server.

use crate::testkit::{
    cluster::LocalCluster,
    dev::{DevGateway, Person},
};
use serde_json::{Value, json};
use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Longest wait for something that the cluster does by itself.
const PATIENCE: Duration = Duration::from_secs(30);

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

fn stdout(command: &mut Command) -> String {
    let output = command.output().expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    String::from_utf8(output.stdout).expect("it prints text")
}

/// Everything of ours in the cluster, by its administrator.
fn ours(cluster: &LocalCluster) -> Vec<String> {
    let kinds = "clusterroles,clusterrolebindings,namespaces";
    let selector = "app.kubernetes.io/managed-by=palisade";
    let args = ["get", kinds, "-l", selector, "-o", "name"];
    let names = stdout(cluster.kubectl().args(args));
    names.lines().map(str::to_owned).collect()
}

fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !reached() {
        assert!(Instant::now() < end, "{what}");
        std::thread::yield_now();
    }
}

/// A kubeconfig of an account that may do everything, by a token, and the token.
fn operator_kubeconfig(person: &Person<'_>, cluster: &LocalCluster) -> (PathBuf, String) {
    stdout(
        cluster
            .kubectl()
            .args(["create", "serviceaccount", "operator"]),
    );
    stdout(cluster.kubectl().args([
        "create",
        "clusterrolebinding",
        "operator",
        "--clusterrole=cluster-admin",
        "--serviceaccount=default:operator",
    ]));
    let token = stdout(cluster.kubectl().args(["create", "token", "operator"]));
    let token = token.trim().to_owned();
    let path = kubeconfig(person, cluster, &json!({ "token": token }));
    (path, token)
}

fn kubeconfig(person: &Person<'_>, cluster: &LocalCluster, user: &Value) -> PathBuf {
    fs::write(person.path("cluster-ca.pem"), &cluster.ca_pem).expect("the CA is written");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "operator@here",
        "contexts": [{"name": "operator@here", "context": {"cluster": "here", "user": "operator"}}],
        "clusters": [{"name": "here", "cluster": {
            "server": cluster.server, "certificate-authority": "cluster-ca.pem"}}],
        "users": [{"name": "operator", "user": user}],
    });
    let path = person.path("operator.kubeconfig");
    fs::write(&path, config.to_string()).expect("the kubeconfig is written");
    path
}

/// Whether any file below `folder` holds `needle`.
fn holds(folder: &Path, needle: &str) -> bool {
    let entries = fs::read_dir(folder).expect("a folder");
    entries
        .map(|entry| entry.expect("an entry").path())
        .any(|path| {
            if path.is_dir() {
                return holds(&path, needle);
            }
            let bytes = fs::read(&path).unwrap_or_default();
            let needle = needle.as_bytes();
            bytes.windows(needle.len()).any(|window| window == needle)
        })
}

#[test]
fn a_cluster_is_added_with_a_credential_that_stays_with_the_operator() {
    let gateway = DevGateway::start();
    let cluster = LocalCluster::start();
    let admin = gateway.admin();
    let (path, token) = operator_kubeconfig(&admin, &cluster);
    let add = ["cluster", "add", "prod", "--kubeconfig", text(&path)];

    let said = admin.palisade(&add).fails();
    assert!(said.contains("ServiceAccount       impersonator"), "{said}");
    assert!(
        said.contains("palisade:cluster:cluster-owner  (everything)"),
        "{said}"
    );
    assert!(
        said.contains("system:serviceaccount:default:operator"),
        "{said}"
    );
    assert!(said.contains("give --yes"), "{said}");
    assert_eq!(ours(&cluster), Vec::<String>::new());
    assert_eq!(
        admin
            .palisade(&["cluster", "list", "-o", "name"])
            .succeeds(),
        ""
    );

    let with_label: Vec<&str> = add
        .iter()
        .copied()
        .chain(["--yes", "--label", "env=test"])
        .collect();
    let said = admin.palisade(&with_label).succeeds();
    assert!(said.starts_with("cluster prod is ready (v1."), "{said}");
    // Again is safe, and says so.
    let again = admin.palisade(&with_label);
    assert!(
        again.stderr.contains("prod was registered already"),
        "{again:?}"
    );
    again.succeeds();

    let shown = admin
        .palisade(&["cluster", "show", "prod", "-o", "json"])
        .json();
    assert_eq!(shown["status"]["health"], "Ready");
    assert_eq!(shown["metadata"]["labels"]["env"], "test");
    let roles = shown["status"]["syncedRoles"].as_array().expect("roles");
    assert!(roles.contains(&"cluster-viewer".into()), "{roles:?}");
    assert!(
        !shown.to_string().contains("eyJ"),
        "no token is shown: {shown}"
    );
    let synced = admin.palisade(&["cluster", "sync", "--all"]).succeeds();
    assert!(
        synced.contains("prod: knows the roles cluster-member"),
        "{synced}"
    );

    for folder in [&gateway.state_dir(), &admin.path("config")] {
        assert!(
            !holds(folder, &token),
            "the operator's token is below {}",
            folder.display()
        );
    }
    person_uses(&admin);
}

/// The development admin owns every cluster: kubectl works with what `palisade kubeconfig` writes.
fn person_uses(admin: &Person<'_>) {
    let config = admin.path("kubeconfig");
    admin
        .palisade(&["kubeconfig", "--output", text(&config)])
        .succeeds();
    let kubectl = crate::testkit::cluster::kubectls();
    let (_, kubectl) = kubectl.last().expect("a kubectl");
    let mut command = admin.program(text(kubectl), &["get", "namespaces", "-o", "name"]);
    let names = stdout(command.env("KUBECONFIG", &config));
    assert!(names.contains("namespace/palisade-system"), "{names}");
}

#[test]
fn a_cluster_is_added_by_hand_with_one_short_token() {
    let gateway = DevGateway::start();
    let cluster = LocalCluster::start();
    let admin = gateway.admin();
    let manifest = admin
        .palisade(&["cluster", "add", "prod", "--manifest"])
        .succeeds();
    let mut apply = cluster.kubectl();
    let mut apply = apply
        .args(["apply", "--server-side", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("kubectl runs");
    let mut stdin = apply.stdin.take().expect("standard input");
    stdin.write_all(manifest.as_bytes()).expect("it is read");
    drop(stdin);
    assert!(apply.wait().expect("kubectl ends").success(), "{manifest}");

    let token = [
        "-n",
        "palisade-system",
        "create",
        "token",
        "reconciler",
        "--duration=10m",
    ];
    let token = stdout(cluster.kubectl().args(token));
    fs::write(admin.path("token"), &token).expect("the token is written");
    fs::write(admin.path("ca.pem"), &cluster.ca_pem).expect("the CA is written");
    let add = [
        "cluster",
        "add",
        "prod",
        "--server",
        &cluster.server,
        "--ca",
        "ca.pem",
        "--token-file",
        "token",
    ];
    let said = admin.palisade(&add).succeeds();
    assert!(said.starts_with("cluster prod is ready"), "{said}");
    assert!(
        !holds(&gateway.state_dir(), token.trim()),
        "what was handed over is not kept"
    );

    // Another account's token is not taken, and nothing is changed by it.
    let token = stdout(cluster.kubectl().args([
        "create",
        "token",
        "impersonator",
        "-n",
        "palisade-system",
    ]));
    fs::write(admin.path("token"), token).expect("the token is written");
    let said = admin.palisade(&add).fails();
    assert!(said.contains("the reconciler token must be of"), "{said}");
    let shown = admin
        .palisade(&["cluster", "show", "prod", "-o", "json"])
        .json();
    assert_eq!(shown["status"]["health"], "Ready");
}

#[test]
fn a_cluster_is_removed_by_the_gateway_or_by_the_operator() {
    let gateway = DevGateway::start();
    let cluster = LocalCluster::start();
    let admin = gateway.admin();
    let path = cluster.admin_kubeconfig.clone();
    let add = [
        "cluster",
        "add",
        "prod",
        "--yes",
        "--kubeconfig",
        text(&path),
    ];
    admin.palisade(&add).succeeds();
    let said = admin.palisade(&["cluster", "remove", "prod"]).fails();
    assert!(said.contains("give --yes"), "{said}");
    let removed = admin
        .palisade(&["cluster", "remove", "prod", "--yes"])
        .succeeds();
    assert_eq!(removed, "cluster prod removed\n");
    let namespace =
        |cluster: &LocalCluster| ours(cluster).iter().any(|it| it.starts_with("namespace/"));
    until("the namespace goes", || !namespace(&cluster));
    // What the cluster's garbage collector takes; this control plane has none.
    assert_eq!(
        ours(&cluster),
        ["clusterrole.rbac.authorization.k8s.io/palisade:reconciler"]
    );
    let said = admin.palisade(&["cluster", "show", "prod"]).fails();
    assert!(said.contains("not found"), "{said}");

    admin.palisade(&add).succeeds();
    let remove = [
        "cluster",
        "remove",
        "prod",
        "--yes",
        "--kubeconfig",
        text(&path),
    ];
    admin.palisade(&remove).succeeds();
    until("everything goes", || ours(&cluster).is_empty());
}

#[test]
fn who_is_no_admin_makes_nothing_anywhere() {
    let gateway = DevGateway::start();
    let cluster = LocalCluster::start();
    let admin = gateway.admin();
    let jane = gateway.person();
    admin
        .palisade_reads(
            &["user", "add", "jane", "--password-stdin"],
            "correct horse battery\n",
        )
        .succeeds();
    jane.log_in("jane", "correct horse battery").succeeds();
    let path = cluster.admin_kubeconfig.clone();
    let add = [
        "cluster",
        "add",
        "prod",
        "--yes",
        "--kubeconfig",
        text(&path),
    ];
    let said = jane.palisade(&add).fails();
    assert!(
        said.contains("forbidden") || said.contains("role of scope global"),
        "{said}"
    );
    assert_eq!(ours(&cluster), Vec::<String>::new());
}

#[test]
fn a_cluster_that_is_known_to_be_down_is_a_503_at_once() {
    let gateway = DevGateway::start();
    let cluster = LocalCluster::start();
    let admin = gateway.admin();
    let path = cluster.admin_kubeconfig.clone();
    admin
        .palisade(&[
            "cluster",
            "add",
            "prod",
            "--yes",
            "--kubeconfig",
            text(&path),
        ])
        .succeeds();
    let config = admin.path("kubeconfig");
    admin
        .palisade(&["kubeconfig", "--static", "--output", text(&config)])
        .succeeds();
    drop(cluster);
    let shown = || {
        admin
            .palisade(&["cluster", "show", "prod", "-o", "json"])
            .json()
    };
    until("the gateway notices", || {
        shown()["status"]["health"] == "Down"
    });
    let kubectl = crate::testkit::cluster::kubectls();
    let (_, kubectl) = kubectl.last().expect("a kubectl");
    let args = [
        "--kubeconfig",
        text(&config),
        "get",
        "--raw",
        "/k8s/clusters/prod/api/v1/nodes",
    ];
    let start = Instant::now();
    let output = admin
        .program(text(kubectl), &args)
        .output()
        .expect("kubectl runs");
    let took = start.elapsed();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("cannot be reached"), "{stderr}");
    assert!(took < Duration::from_secs(1), "{took:?}");
}
