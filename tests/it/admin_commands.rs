//! `palisade user`, `group`, `role`, `bind`, `unbind`, `bindings`: the real program against a gateway.

use crate::testkit::gate::Gate;
use palisade::objects::{
    Binding, BindingSpec, Cluster, ClusterPrivate, ClusterSpec, Nothing, Subject,
};
use std::{path::PathBuf, process::Stdio};
use tokio::{io::AsyncWriteExt as _, process::Command};

/// An administrator at a terminal.
pub(crate) struct Desk {
    pub(crate) gate: Gate,
    token: String,
    pub(crate) folder: tempfile::TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    pub(crate) fn line(&self, start: &str) -> &str {
        let mut lines = self.out.lines();
        lines
            .find(|line| line.starts_with(start))
            .unwrap_or_else(|| panic!("no {start}: {self:?}"))
    }
}

impl Desk {
    pub(crate) async fn new() -> Self {
        let gate = Gate::start().await;
        let token = gate.user("root").await;
        let subject = Subject {
            name: "root".to_owned(),
            uid: gate.uid("root").await,
            ..Subject::default()
        };
        let spec = BindingSpec {
            role: "admin".to_owned(),
            subject,
            ..BindingSpec::default()
        };
        gate.put(Binding::new("root-admin", spec), Nothing::default())
            .await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), &gate.ca_pem).unwrap();
        Self {
            gate,
            token,
            folder,
        }
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    pub(crate) async fn run_as(&self, token: &str, line: &str, input: &str) -> Ended {
        let mut child = Command::new(env!("CARGO_BIN_EXE_palisade"))
            .args(line.split(' '))
            .env_clear()
            .env("PALISADE_SERVER", &self.gate.url)
            .env("PALISADE_CA", self.ca())
            .envs((!token.is_empty()).then_some(("PALISADE_TOKEN", token)))
            .env("PALISADE_CONFIG_DIR", self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A command that reads nothing may have ended already.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = child.wait_with_output().await.unwrap();
        Ended {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs a command that must succeed.
    pub(crate) async fn ok(&self, line: &str) -> Ended {
        let ended = self.run_as(&self.token, line, "").await;
        assert_eq!(ended.code, Some(0), "{line}: {ended:?}");
        ended
    }

    /// Runs a command that must fail with a sentence that holds `why`.
    pub(crate) async fn refused(&self, line: &str, why: &str) {
        let ended = self.run_as(&self.token, line, "").await;
        assert_eq!(ended.code, Some(1), "{line}: {ended:?}");
        assert!(
            ended.err.starts_with("error: ") && ended.err.contains(why),
            "{line}: {ended:?}"
        );
        assert_eq!(
            ended.out, "",
            "{line}: what failed prints nothing to standard output"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_made_with_a_password_that_is_shown_once() {
    let desk = Desk::new().await;
    let made = desk.ok("user add alice --display-name Alice").await;
    let password = made.line("password: ").trim_start_matches("password: ");
    assert_eq!(password.len(), 23);
    assert!(made.err.contains("not shown again"));
    let stored = desk.gate.get::<palisade::objects::User>("alice").await;
    assert!(stored.object.status.has_password);
    assert!(stored.private.password.unwrap().starts_with("$argon2id$"));

    desk.refused("user add alice", "\"alice\" already exists")
        .await;
    desk.refused("user add system-x", "reserved").await;
    desk.refused("user add a/b", "must be 1 to 63 of").await;
    desk.refused("user show nobody", "\"nobody\" not found")
        .await;
    desk.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_from_standard_input_is_checked_before_anything_is_made() {
    let desk = Desk::new().await;
    let add = "user add bob --password-stdin";
    let short = desk.run_as(&desk.token, add, "short\n").await;
    assert_eq!(short.code, Some(1), "{short:?}");
    assert!(short.err.contains("at least 12 characters"), "{short:?}");
    desk.refused("user show bob", "not found").await;
    let made = desk
        .run_as(&desk.token, add, "correct horse battery\n")
        .await;
    assert_eq!(
        (made.code, made.out.as_str()),
        (Some(0), "user bob made\n"),
        "{made:?}"
    );
    desk.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_user_has_no_password() {
    let desk = Desk::new().await;
    desk.ok("user add ci --machine").await;
    let wide = desk.ok("user list -o wide").await;
    assert!(wide.line("ci ").contains("Machine"));
    assert!(wide.line("ci ").contains("<none>"));
    desk.refused("user password ci --generate", "machine user")
        .await;
    desk.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ones_own_password_takes_the_current_one_and_ends_ones_sessions() {
    let desk = Desk::new().await;
    let set = "user password --password-stdin";
    let made = desk.ok("user add alice").await;
    let password = made.line("password: ").trim_start_matches("password: ");
    let token = desk
        .gate
        .token("alice", &[], jiff::SignedDuration::from_hours(1))
        .await;
    let wrong = desk
        .run_as(
            &token,
            set,
            "not the current one\nstaple anvil rain barrel\n",
        )
        .await;
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.err.contains("current password is wrong"), "{wrong:?}");
    let input = format!("{password}\nstaple anvil rain barrel\n");
    let right = desk.run_as(&token, set, &input).await;
    assert_eq!(right.code, Some(0), "{right:?}");
    // Somebody else's: an admin's right alone, and without the current one.
    let other = desk
        .run_as(&token, "user password root --generate", "")
        .await;
    assert_eq!(other.code, Some(1), "{other:?}");
    assert!(other.err.contains("forbidden"), "{other:?}");
    desk.ok("user password alice --generate").await;
    desk.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_user_is_refused_from_the_next_command_on() {
    let desk = Desk::new().await;
    let token = desk.gate.user("carol").await;
    assert_eq!(desk.run_as(&token, "whoami", "").await.code, Some(0));
    assert_eq!(
        desk.ok("user disable carol").await.out,
        "user carol is disabled\n"
    );
    assert_eq!(
        desk.ok("user disable carol").await.out,
        "user carol is already disabled\n"
    );
    let refused = desk.run_as(&token, "whoami", "").await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("run palisade login"), "{refused:?}");
    desk.ok("user enable carol").await;
    assert_eq!(desk.run_as(&token, "whoami", "").await.code, Some(0));
    desk.refused("user disable root", "nobody would be left")
        .await;
    desk.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_user_is_gone_with_everything_and_for_ever() {
    let desk = Desk::new().await;
    desk.gate.user("dave").await;
    desk.ok("bind admin --user dave --name dave-admin").await;
    desk.refused("user remove dave", "say --yes").await;
    desk.refused("user remove nobody --yes", "not found").await;
    desk.ok("user remove dave --yes").await;
    desk.refused("user show dave", "not found").await;
    desk.refused("user add dave", "not given again").await;
    assert_eq!(desk.ok("bindings --user dave").await.out, "");
    desk.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_gains_and_loses_members() {
    let desk = Desk::new().await;
    for user in ["alice", "bob"] {
        desk.gate.user(user).await;
    }
    desk.refused(
        "group add web --member nobody",
        "spec.members[0].name: Not found",
    )
    .await;
    desk.ok("group add web --member alice").await;
    assert_eq!(
        desk.ok("group add-member web bob alice").await.out,
        "now in group web: bob, alice\n"
    );
    assert_eq!(
        desk.ok("group add-member web bob").await.out,
        "already in group web: bob\n"
    );
    let shown = desk.ok("group show web").await;
    assert!(shown.out.contains("- name: alice") && shown.out.contains("- name: bob"));
    assert_eq!(
        desk.ok("group remove-member web alice").await.out,
        "now not in group web: alice\n"
    );
    let members = &desk
        .gate
        .get::<palisade::objects::Group>("web")
        .await
        .object
        .spec
        .members;
    assert_eq!(members.len(), 1);
    assert_eq!(
        desk.ok("group list -o name").await.out,
        "group.palisade.dev/web\n"
    );
    desk.ok("group remove web").await;
    desk.refused("group show web", "not found").await;
    desk.gate.stop().await;
}

impl Desk {
    /// Alice, who is in `web`, and two clusters with the label `env`.
    async fn with_clusters() -> Self {
        let desk = Self::new().await;
        desk.gate.user("alice").await;
        desk.gate.group("web", &["alice"]).await;
        for env in ["prod", "dev"] {
            let mut cluster = Cluster::new(env, ClusterSpec::default());
            let labels = &mut cluster.metadata.labels;
            labels.insert("env".to_owned(), env.to_owned());
            desk.gate.put(cluster, ClusterPrivate::default()).await;
        }
        desk
    }

    /// Names of the bindings that a command lists.
    async fn bindings(&self, options: &str) -> Vec<String> {
        let listed = self.ok(&format!("bindings -o name{options}")).await;
        let names = listed.out.lines();
        names
            .map(|line| line.rsplit('/').next().unwrap().to_owned())
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_is_bound_listed_and_taken_back() {
    let desk = Desk::with_clusters().await;
    desk.ok("bind cluster-viewer --group web --all-clusters --name all")
        .await;
    desk.ok("bind cluster-member --user alice -c dev --expires 8h --name dev")
        .await;
    desk.ok("bind cluster-owner --user alice -l env=prod --name prod")
        .await;
    assert_eq!(
        desk.bindings("").await,
        ["all", "dev", "prod", "root-admin"]
    );
    assert_eq!(desk.bindings(" --user alice").await, ["dev", "prod"]);
    assert_eq!(desk.bindings(" --group web").await, ["all"]);
    assert_eq!(desk.bindings(" --cluster prod").await, ["all", "prod"]);
    assert_eq!(desk.bindings(" --cluster dev -u alice").await, ["dev"]);
    assert!(desk.ok("bindings").await.line("prod ").contains("env=prod"));
    let removed = desk.ok("unbind all dev").await;
    assert_eq!(removed.out, "binding all removed\nbinding dev removed\n");
    assert_eq!(desk.bindings("").await, ["prod", "root-admin"]);
    let made = desk.ok("bind cluster-viewer --user alice -c dev").await;
    assert!(
        made.out.starts_with("binding cluster-viewer-alice-"),
        "{made:?}"
    );
    assert!(
        made.out.ends_with(": alice holds cluster-viewer on dev\n"),
        "{made:?}"
    );
    desk.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binding_that_means_nothing_is_refused_with_the_reason() {
    let desk = Desk::with_clusters().await;
    for (line, why) in [
        ("bind cluster-viewer --user alice", "say where"),
        (
            "bind cluster-viewer --user alice -c nope",
            "Not found: \"nope\"",
        ),
        ("bind nope --user alice", "spec.role: Not found"),
        (
            "bind cluster-viewer --user nobody --all-clusters",
            "Not found",
        ),
        ("bind admin --user alice --all-clusters", "not to clusters"),
        ("bindings --cluster nope", "not found"),
        ("unbind nope", "not found"),
        ("unbind root-admin", "nobody would be left"),
    ] {
        desk.refused(line, why).await;
    }
    assert_eq!(desk.bindings("").await, ["root-admin"]);
    desk.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_shown_with_their_rules() {
    let desk = Desk::new().await;
    let roles = desk.ok("role list").await;
    for role in ["admin", "cluster-owner", "cluster-member", "cluster-viewer"] {
        assert!(!roles.line(&format!("{role} ")).is_empty());
    }
    let role = desk.ok("role show cluster-viewer -o json").await;
    let role: serde_json::Value = serde_json::from_str(&role.out).unwrap();
    assert_eq!(role["kind"], "Role");
    assert!(
        role["spec"]["rules"]
            .as_array()
            .is_some_and(|rules| !rules.is_empty())
    );
    desk.refused("role show nope", "not found").await;
    desk.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_is_no_admin_is_told_so() {
    let desk = Desk::new().await;
    let token = desk.gate.user("erin").await;
    for line in [
        "user list",
        "user add x --machine",
        "group add x",
        "bind admin --user erin",
        "unbind root-admin",
        "user disable root",
        "user remove root --yes",
    ] {
        let refused = desk.run_as(&token, line, "").await;
        assert_eq!(refused.code, Some(1), "{line}: {refused:?}");
        assert!(refused.err.contains("forbidden"), "{line}: {refused:?}");
    }
    let nobody = desk.run_as("pal_pat_nonsense", "user list", "").await;
    assert!(nobody.err.contains("run palisade login"), "{nobody:?}");
    desk.gate.stop().await;
}
