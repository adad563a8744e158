//! The gateway's own API with every kubectl of this machine: what an administrator does by hand, and what
//! somebody without a role sees of it.

use crate::testkit::{
    cluster::kubectls,
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

    // It waits until the object is gone.
    kubectl.says(&["delete", "group", &group, "--timeout=20s"]);
    kubectl.says(&["delete", "-f", &file, "--ignore-not-found", "--timeout=20s"]);
    let again = kubectl.complains(&["create", "-f", &file]);
    assert!(again.contains("handles are not given again"), "{again}");
}

fn is_told_what_is_wrong(kubectl: &Kubectl<'_>) {
    let version = &kubectl.version;
    let unknown = "apiVersion: palisade.dev/v1alpha1\nkind: User\nmetadata: {name: x}\nspec: {disable: true}\n";
    let file = kubectl.file("unknown.yaml", unknown);
    let said = kubectl.complains(&["create", "-f", &file]);
    assert!(
        said.contains("unknown field \"spec.disable\""),
        "{version}: {said}"
    );
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
