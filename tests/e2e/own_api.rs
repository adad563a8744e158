//! The gateway's own API with every kubectl of this machine: what an administrator does by hand, and what
//! somebody without a role sees of it.

use crate::testkit::{
    cluster::{LocalCluster, kubectls},
    dev::{DevGateway, Ended, Person},
};
use serde_json::Value;
use std::{fs, path::PathBuf};

/// kubectl of one version, as one person, with a discovery cache of its own: another version's would hide
/// what this one asks.
struct Kubectl<'a> {
    person: &'a Person<'a>,
    version: String,
    program: String,
}

impl<'a> Kubectl<'a> {
    fn all(person: &'a Person<'a>) -> Vec<Self> {
        let made = |(version, program): (String, PathBuf)| Self {
            person,
            version,
            program: program.to_str().expect("UTF-8").to_owned(),
        };
        kubectls().into_iter().map(made).collect()
    }

    fn run(&self, args: &[&str]) -> Ended {
        let cache = self.person.path(&format!("cache-{}", self.version));
        let mut command = self.person.program(&self.program, args);
        command
            .arg("--kubeconfig")
            .arg(self.person.path("kubeconfig"));
        command.arg("--cache-dir").arg(cache);
        Ended::of(command.output().expect("kubectl runs"))
    }

    /// Its standard output, if it ended well.
    fn says(&self, args: &[&str]) -> String {
        let ended = self.run(args);
        assert_eq!(
            ended.code,
            Some(0),
            "kubectl {} {args:?}: {ended:?}",
            self.version
        );
        ended.stdout
    }

    fn json(&self, args: &[&str]) -> Value {
        let text = self.says(&[args, &["-o", "json"]].concat());
        serde_json::from_str(&text).expect("it prints JSON")
    }

    /// Its standard error, if it ended with 1.
    fn complains(&self, args: &[&str]) -> String {
        let ended = self.run(args);
        assert_eq!(
            ended.code,
            Some(1),
            "kubectl {} {args:?}: {ended:?}",
            self.version
        );
        ended.stderr
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.person.path(name);
        fs::write(&path, text).expect("it is written");
        path.to_str().expect("UTF-8").to_owned()
    }

    /// A name that no other version uses.
    fn name(&self, base: &str) -> String {
        format!("{base}-{}", self.version.replace('.', "-"))
    }
}

fn with_kubeconfig(person: &Person<'_>) {
    let path = person.path("kubeconfig");
    let args = ["kubeconfig", "--output", path.to_str().expect("UTF-8")];
    person.palisade(&args).succeeds();
}

#[test]
fn an_admin_works_with_every_kubectl() {
    let gateway = DevGateway::start();
    let admin = gateway.admin();
    with_kubeconfig(&admin);
    for kubectl in Kubectl::all(&admin) {
        looks_around(&kubectl);
        keeps_users_and_groups(&kubectl);
        lists(&kubectl);
        is_told_what_is_wrong(&kubectl);
    }
}

fn looks_around(kubectl: &Kubectl<'_>) {
    let version = &kubectl.version;
    let resources = kubectl.says(&["api-resources", "--api-group=palisade.dev", "-o", "name"]);
    for kind in ["bindings", "clusters", "groups", "roles", "tokens", "users"] {
        assert!(
            resources.contains(&format!("{kind}.palisade.dev\n")),
            "{version}: {resources}"
        );
    }
    let roles = kubectl.says(&["get", "roles", "-l", "palisade.dev/builtin=true"]);
    let header = roles.lines().next().expect("a header");
    let words: Vec<&str> = header.split_whitespace().collect();
    assert_eq!(
        words,
        ["NAME", "SCOPE", "RULES", "INHERITS", "ORIGIN", "AGE"],
        "{version}"
    );
    assert!(roles.contains("\ncluster-viewer "), "{version}: {roles}");
    let whoami = kubectl.says(&["auth", "whoami"]);
    assert!(
        whoami.contains("palisade.dev/token-id"),
        "{version}: {whoami}"
    );
    let explained = kubectl.says(&["explain", "binding.spec.subject"]);
    assert!(
        explained.contains("Resolved to a uid once"),
        "{version}: {explained}"
    );
    let explained = kubectl.says(&["explain", "users", "--recursive"]);
    for field in ["displayName\t<string>", "members", "hasPassword\t<boolean>"] {
        let there = explained.contains(field);
        assert_eq!(there, field != "members", "{version} {field}: {explained}");
    }
    for review in ["selfsubjectreviews", "selfsubjectaccessreviews.spec"] {
        kubectl.says(&["explain", review]);
    }
    for (question, answer) in [
        (["create", "users"], "yes"),
        (["delete", "role/admin"], "yes"),
        (["get", "/metrics"], "yes"),
    ] {
        let said = kubectl.says(&["auth", "can-i", question[0], question[1]]);
        assert_eq!(said.trim(), answer, "{version} {question:?}");
    }
    kubectl.complains(&["auth", "can-i", "get", "pods"]);
    let held = kubectl.says(&["auth", "can-i", "--list"]);
    assert!(held.contains("*.palisade.dev"), "{version}: {held}");
}

/// Pages, selectors, and the forms in which people print.
fn lists(kubectl: &Kubectl<'_>) {
    let version = &kubectl.version;
    let group = |half: &str| {
        format!(
            "apiVersion: palisade.dev/v1alpha1\nkind: Group\n\
             metadata: {{generateName: many-, labels: {{half: {half}}}}}\n---\n"
        )
    };
    let objects = group("first").repeat(3) + &group("second").repeat(3);
    let file = kubectl.file("many.yaml", &objects);
    kubectl.says(&["create", "-f", &file]);
    let says = |line: &str| kubectl.says(&line.split(' ').collect::<Vec<_>>());
    let count = |options: &str| {
        let text = says(&format!("get groups --no-headers {options}"));
        text.lines().filter(|line| line.contains("many-")).count()
    };
    for (options, expected) in [
        ("--chunk-size=2", 6),
        ("--chunk-size=0", 6),
        ("-l half=first --chunk-size=1", 3),
        ("-l half,half!=none -o name", 6),
        ("-l half!=first -o wide --sort-by=.metadata.name", 3),
        ("-o custom-columns=NAME:.metadata.name", 6),
        ("--field-selector metadata.name=nobody", 0),
    ] {
        assert_eq!(count(options), expected, "{version} {options}");
    }
    let own = says("get tokens --field-selector spec.user.name=admin -o name");
    assert!(own.starts_with("token.palisade.dev/"), "{version}: {own}");
    let nobodys = says("get tokens --field-selector spec.user.name=nobody -o name");
    assert_eq!(nobodys, "", "{version}");
    let some = kubectl.run(&["get", "role", "admin", "nobody", "basic", "-o", "name"]);
    assert_eq!(some.code, Some(1), "{version}: {some:?}");
    let found = "role.palisade.dev/admin\nrole.palisade.dev/basic\n";
    assert_eq!(some.stdout, found, "{version}");
    let missing = "roles.palisade.dev \"nobody\" not found";
    assert!(some.stderr.contains(missing), "{version}: {some:?}");
    // Tried only, and then done: kubectl lists and deletes one by one.
    says("delete groups -l half --timeout=20s --dry-run=server");
    assert_eq!(count("-l half"), 6, "{version}");
    says("delete groups -l half --timeout=20s");
    assert_eq!(count("-l half"), 0, "{version}");
}

fn keeps_users_and_groups(kubectl: &Kubectl<'_>) {
    let (user, group) = (kubectl.name("jane"), kubectl.name("ops"));
    let objects = format!(
        "apiVersion: palisade.dev/v1alpha1\nkind: User\nmetadata: {{name: {user}}}\nspec: {{displayName: Jane}}\n\
         ---\napiVersion: palisade.dev/v1alpha1\nkind: Group\nmetadata: {{name: {group}}}\n\
         spec: {{members: [{{name: {user}}}]}}\n"
    );
    let file = kubectl.file("objects.yaml", &objects);
    // With its own check of fields, which asks the gateway's OpenAPI document.
    kubectl.says(&["create", "-f", &file]);
    let read = kubectl.says(&["get", "group", &group, "-o", "yaml"]);
    let uid = &kubectl.json(&["get", "user", &user])["metadata"]["uid"];
    assert!(read.contains(uid.as_str().expect("a uid")), "{read}");

    let changed = read.replace("members:", "displayName: Operators\n  members:");
    let file_of_group = kubectl.file("group.yaml", &changed);
    kubectl.says(&["replace", "-f", &file_of_group]);
    let stale = kubectl.complains(&["replace", "-f", &file_of_group]);
    assert!(
        stale.contains("Error from server (Conflict)"),
        "{}: {stale}",
        kubectl.version
    );
    kubectl.says(&["label", "user", &user, "team=a"]);
    kubectl.says(&[
        "patch",
        "user",
        &user,
        "--type=merge",
        "-p",
        "{\"spec\":{\"disabled\":true}}",
    ]);
    let table = kubectl.says(&["get", "users", "-l", "team=a", "--no-headers"]);
    let words: Vec<&str> = table.split_whitespace().collect();
    assert_eq!(
        words.get(..4),
        Some([user.as_str(), "Jane", "Disabled", "Person"].as_slice())
    );
    kubectl.says(&["apply", "-f", &file]);
    assert_eq!(
        kubectl.says(&["diff", "-f", &file]),
        "",
        "{}",
        kubectl.version
    );
    let renamed = objects.replace("Jane", "Jane Doe");
    let renamed = kubectl.file("renamed.yaml", &renamed);
    let diff = kubectl.run(&["diff", "-f", &renamed]);
    assert_eq!(diff.code, Some(1), "{diff:?}");
    assert!(diff.stdout.contains("+  displayName: Jane Doe"), "{diff:?}");
    assert!(!diff.stdout.contains("-  resourceVersion"), "{diff:?}");
    what_is_not_served_is_said(kubectl, &user, &file);

    // It waits until the object is gone.
    kubectl.says(&["delete", "group", &group, "--timeout=20s"]);
    kubectl.says(&["delete", "-f", &file, "--ignore-not-found", "--timeout=20s"]);
    let again = kubectl.complains(&["create", "-f", &file]);
    assert!(again.contains("handles are not given again"), "{again}");
}

/// Watches, and patches of other kinds, are refused in words, and nothing hangs or happens.
fn what_is_not_served_is_said(kubectl: &Kubectl<'_>, user: &str, file: &str) {
    let version = &kubectl.version;
    let before = kubectl.json(&["get", "user", user]);
    for (args, said) in [
        (
            &["get", "users", "-w", "--request-timeout=20s"][..],
            "(MethodNotAllowed)",
        ),
        (
            &[
                "patch",
                "user",
                user,
                "-p",
                "{\"spec\":{\"disabled\":false}}",
            ],
            "strategic-merge-patch",
        ),
        (
            &["patch", "user", user, "--type=json", "-p", "[]"],
            "json-patch",
        ),
        (
            &["apply", "--server-side", "-f", file],
            "Server-side apply not available",
        ),
        (
            &[
                "patch",
                "user",
                user,
                "--type=merge",
                "-p",
                "{\"spec\":{\"nope\":1}}",
            ],
            "\"spec.nope\"",
        ),
        (
            &[
                "patch",
                "user",
                user,
                "--type=merge",
                "-p",
                "{\"metadata\":{\"uid\":\"x\"}}",
            ],
            "metadata.uid",
        ),
    ] {
        let complaint = kubectl.complains(args);
        assert!(complaint.contains(said), "{version} {args:?}: {complaint}");
    }
    assert_eq!(kubectl.json(&["get", "user", user]), before, "{version}");
}

fn is_told_what_is_wrong(kubectl: &Kubectl<'_>) {
    let version = &kubectl.version;
    let unknown = "apiVersion: palisade.dev/v1alpha1\nkind: User\nmetadata: {name: x}\nspec: {disable: true, name: x}\n";
    let file = kubectl.file("unknown.yaml", unknown);
    // Whatever is asked for: a misspelt field is never a default.
    for validate in ["strict", "warn", "ignore"] {
        let validate = format!("--validate={validate}");
        let said = kubectl.complains(&["create", "-f", &file, &validate]);
        for field in ["spec.disable", "spec.name"] {
            let told = said.contains(&format!("unknown field {field:?}"));
            assert!(told, "{version} {validate}: {said}");
        }
    }
    let wrong = "apiVersion: palisade.dev/v1alpha1\nkind: Binding\nmetadata: {name: x}\n\
                 spec: {role: 7, subject: {kind: Robot, name: jane}, expiresAt: tomorrow}\n";
    let file = kubectl.file("types.yaml", wrong);
    let said = kubectl.complains(&["create", "-f", &file, "--validate=false"]);
    for part in [
        "The Binding \"x\" is invalid",
        "spec.role: Invalid value: 7: must be a string",
        "spec.subject.kind: Unsupported value: \"Robot\": supported values: \"User\", \"Group\"",
        "spec.expiresAt: Invalid value: \"tomorrow\"",
    ] {
        assert!(said.contains(part), "{version}: {part}: {said}");
    }
    let wrong = "apiVersion: palisade.dev/v1alpha1\nkind: Binding\nmetadata: {name: Wrong}\n\
                 spec: {role: cluster-viewer, subject: {kind: User, name: nobody}}\n";
    let file = kubectl.file("wrong.yaml", wrong);
    let said = kubectl.complains(&["create", "-f", &file, "--validate=false"]);
    for part in [
        "metadata.name",
        "spec.subject.name: Not found: \"nobody\"",
        "spec.clusters: Required value",
    ] {
        assert!(said.contains(part), "{version}: {part}: {said}");
    }
    let said = kubectl.complains(&["delete", "role", "admin"]);
    assert!(said.contains("it is built in"), "{version}: {said}");
    let said = kubectl.complains(&["delete", "user", "admin"]);
    assert!(
        said.contains("nobody would be left who holds the role"),
        "{version}: {said}"
    );
}

#[test]
fn somebody_without_a_role_sees_what_is_theirs() {
    let gateway = DevGateway::start();
    let admin = gateway.admin();
    let made = ["user", "add", "jane", "--password-stdin"];
    admin
        .palisade_reads(&made, "correct horse battery\n")
        .succeeds();
    let jane = gateway.person();
    jane.log_in("jane", "correct horse battery").succeeds();
    with_kubeconfig(&jane);
    for kubectl in Kubectl::all(&jane) {
        let version = &kubectl.version;
        let whoami = kubectl.says(&["auth", "whoami"]);
        assert!(whoami.contains("jane"), "{version}: {whoami}");
        let token = "apiVersion: palisade.dev/v1alpha1\nkind: Token\nmetadata: {}\nspec: {displayName: laptop}\n";
        let file = kubectl.file("token.yaml", token);
        let text = kubectl.says(&[
            "create",
            "-f",
            &file,
            "-o",
            "jsonpath={.status.token} {.metadata.name}",
        ]);
        let (secret, name) = text.split_once(' ').expect("the token and its name");
        assert!(secret.starts_with(&format!("pal_pat_{name}_")), "{version}");
        let tokens = kubectl.json(&["get", "tokens"]);
        for token in tokens["items"].as_array().expect("a list") {
            assert_eq!(token["spec"]["user"]["name"], "jane", "{version}");
            assert_eq!(token["status"].get("token"), None, "{version}");
        }
        kubectl.says(&["delete", "token", name, "--timeout=20s"]);
        let own = kubectl.says(&["auth", "can-i", "create", "tokens"]);
        assert_eq!(own.trim(), "yes", "{version}");
        let refused = kubectl.run(&["auth", "can-i", "create", "users"]);
        assert_eq!(refused.code, Some(1), "{version}: {refused:?}");
        assert!(
            refused.stdout.starts_with("no - "),
            "{version}: {refused:?}"
        );
        for args in [
            ["get", "users"].as_slice(),
            &["get", "roles"],
            &["get", "user", "jane"],
            &["delete", "user", "admin"],
        ] {
            let said = kubectl.complains(args);
            assert!(
                said.contains("Error from server (Forbidden)"),
                "{version} {args:?}: {said}"
            );
        }
    }
}

#[test]
fn clusters_show_health_version_and_age() {
    let gateway = DevGateway::start();
    let cluster = LocalCluster::start();
    let admin = gateway.admin();
    with_kubeconfig(&admin);
    let path = cluster.admin_kubeconfig.to_str().expect("UTF-8");
    admin
        .palisade(&["cluster", "add", "prod", "--kubeconfig", path, "--yes"])
        .succeeds();
    // Registered, and never connected.
    let idle = "apiVersion: palisade.dev/v1alpha1\nkind: Cluster\nmetadata: {name: idle}\n\
                spec: {server: \"https://127.0.0.1:1\"}\n";
    let file = admin.path("idle.yaml");
    fs::write(&file, idle).expect("it is written");
    for kubectl in Kubectl::all(&admin) {
        let version = &kubectl.version;
        kubectl.says(&["create", "-f", file.to_str().expect("UTF-8")]);
        let table = kubectl.says(&["get", "clusters"]);
        let rows: Vec<Vec<&str>> = table
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(rows[0], ["NAME", "HEALTH", "VERSION", "AGE"], "{version}");
        assert_eq!(
            rows[1][..3],
            ["idle", "Pending", "<none>"],
            "{version}: {table}"
        );
        assert_eq!(rows[2][..2], ["prod", "Ready"], "{version}: {table}");
        assert!(rows[2][2].starts_with("v1."), "{version}: {table}");
        assert!(rows[2][3].ends_with(['s', 'm']), "{version}: {table}");
        let down = [
            "get",
            "clusters",
            "--field-selector",
            "status.health!=Ready",
            "-o",
            "name",
        ];
        assert_eq!(
            kubectl.says(&down),
            "cluster.palisade.dev/idle\n",
            "{version}"
        );
        kubectl.says(&["delete", "cluster", "idle", "--timeout=20s"]);
    }
}
