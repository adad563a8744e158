//! What the gateway keeps in a cluster, against a real API server: hand-over, rules, sync, renewal,
//! clean-up.

#![expect(clippy::panic, clippy::unwrap_used, reason = "tests")]

use crate::testkit::cluster::LocalCluster;
use palisade::{
    authz::Authz,
    cli::{http::HttpClient, operator::Operator},
    clusters::{
        ClusterError, Clusters, HandedOver, IMPERSONATOR, NotReady, RECONCILER, Registry,
        SyncReport, cleanup,
        client::{Client, ClientError},
        credential, keeper, kube,
        registry::target,
    },
    config::live::Live,
    objects::{
        Cluster, ClusterPrivate, ClusterSpec, Health, Kind, Role, RoleScope, RoleSpec, Step,
        Stored, rules::PolicyRule,
    },
    proxy::{
        dial::Reach,
        endpoint::{self, Target},
    },
    store::{Store, Txn, follow::Follower, seal::Keyring},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

mod older;

/// Longest wait for something that a loop of the gateway does.
const PATIENCE: Duration = Duration::from_secs(30);

/// A gateway's clusters without the rest of the gateway, and one real cluster.
struct World {
    local: LocalCluster,
    operator: HttpClient,
    clusters: Arc<Clusters>,
    store: Store,
    keyring: Arc<Keyring>,
    life: Duration,
    stop: CancellationToken,
    work: JoinSet<()>,
}

impl World {
    async fn new(life: Duration) -> Self {
        let local = tokio::task::spawn_blocking(LocalCluster::start)
            .await
            .expect("a cluster");
        let operator = Operator::read(&local.admin_kubeconfig, None)
            .await
            .expect("the admin's kubeconfig");
        let operator = operator.client().expect("a client");
        let folder = tempfile::tempdir().expect("a folder");
        let keyring = Keyring::generate(&folder.path().join("keys")).expect("keys");
        let keyring = Arc::new(keyring);
        let store = Store::memory();
        let (mut work, stop) = (JoinSet::new(), CancellationToken::new());
        let clusters = look(&store, &keyring, life, (&mut work, &stop));
        let mut world = Self {
            local,
            operator,
            clusters,
            store,
            keyring,
            life,
            stop,
            work,
        };
        world.keep();
        world.put(world.object(), None).await;
        world
    }

    /// From now on somebody looks after the clusters.
    fn keep(&mut self) {
        let settings = keeper::Settings {
            health_interval: Live::fixed(Duration::from_millis(200)),
            write_pace: Live::fixed(Duration::from_millis(50)),
        };
        let (clusters, stop) = (Arc::clone(&self.clusters), self.stop.clone());
        self.work.spawn(keeper::run(clusters, settings, stop));
    }

    /// The gateway ends.
    async fn end(&mut self) {
        self.stop.cancel();
        while self.work.join_next().await.is_some() {}
    }

    /// Another gateway has the store's clusters before it. Nobody looks after them yet.
    fn again(&mut self) {
        self.stop = CancellationToken::new();
        let tasks = (&mut self.work, &self.stop);
        self.clusters = look(&self.store, &self.keyring, self.life, tasks);
    }

    fn object(&self) -> Cluster {
        let spec = ClusterSpec {
            server: self.local.server.clone(),
            ca: self.local.ca_pem.clone(),
            ..ClusterSpec::default()
        };
        let mut cluster = Cluster::new("prod", spec);
        "uid-1".clone_into(&mut cluster.metadata.uid);
        cluster
    }

    async fn put(&self, cluster: Cluster, credential: Option<String>) {
        let key = Cluster::key(&cluster.metadata.name);
        let value = Stored::new(cluster, ClusterPrivate { credential }).encode();
        self.store
            .txn(Txn::new().put(key, value))
            .await
            .expect("the store takes it");
    }

    async fn stored(&self) -> Stored<Cluster> {
        let key = Cluster::key("prod");
        let kv = self.store.get(&key).await.expect("the store answers");
        let kv = kv.expect("the cluster is registered");
        Stored::decode(&key, &kv.value, kv.mod_revision).expect("it can be read")
    }

    /// The operator's part: apply everything, get tokens, hand them over.
    async fn connect(&self) -> SyncReport {
        for object in self.clusters.manifest("prod").expect("a manifest") {
            kube::apply(self.operator.client(), &object)
                .await
                .unwrap_or_else(|error| panic!("{object}: {}", error.chain()));
        }
        let tokens = HandedOver {
            reconciler: self.mint(RECONCILER).await,
            impersonator: Some(self.mint(IMPERSONATOR).await),
        };
        let report = self.clusters.hand_over("prod", tokens).await;
        report.expect("the credential is taken")
    }

    async fn mint(&self, account: &str) -> Zeroizing<String> {
        let minted = kube::mint(self.operator.client(), account, 600).await;
        minted
            .unwrap_or_else(|error| panic!("{account}: {}", error.chain()))
            .token
    }

    /// The token that the gateway holds of an account.
    async fn held(&self, account: &str) -> Zeroizing<String> {
        let stored = self.stored().await;
        let sealed = stored.private.credential.expect("a credential");
        let credential = credential::open(&self.keyring, &stored.object, &sealed);
        let credential = credential.expect("it opens");
        if account == IMPERSONATOR {
            credential.impersonator.token
        } else {
            credential.reconciler.token
        }
    }

    fn speak(&self, token: &str) -> Client {
        let target: Target = target(&self.object(), Reach::ClustersAndLoopback).expect("a target");
        let authorization = endpoint::bearer(token).expect("a token");
        Client::new(Arc::new(target), Some(authorization))
    }

    async fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.operator.client().get(path).await
    }

    async fn until_health(&self, health: Health) -> String {
        let registry = self.clusters.registry();
        let reached = async {
            loop {
                if let Some(report) = registry.report("prod")
                    && report.health == health
                {
                    return report;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let report = tokio::time::timeout(PATIENCE, reached).await;
        let now = registry.report("prod");
        let report = report.unwrap_or_else(|_| panic!("not {health:?} but {now:?}"));
        format!("{} {}", report.version, report.message)
    }
}

/// The clusters of a store, as long as it is not told to stop.
fn look(
    store: &Store,
    keyring: &Arc<Keyring>,
    life: Duration,
    (work, stop): (&mut JoinSet<()>, &CancellationToken),
) -> Arc<Clusters> {
    let follower = Follower::new(store.clone());
    let roles = BTreeMap::from([("viewer".to_owned(), viewer())]);
    let authz = Arc::new(Authz::new(roles));
    let registry = Arc::new(Registry::new(
        Arc::clone(&authz),
        Arc::clone(keyring),
        Reach::ClustersAndLoopback,
        Arc::default(),
    ));
    let sink = Arc::clone(&registry);
    let follow = follower.clone();
    let take = move |batch| {
        sink.apply(&batch);
        authz.apply(&batch);
    };
    work.spawn(follow.run(take, stop.clone()));
    let keyring = Arc::clone(keyring);
    Arc::new(Clusters::new(
        registry,
        store.clone(),
        follower,
        keyring,
        life,
    ))
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn rule(verbs: &[&str], resources: &[&str]) -> PolicyRule {
    let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
    PolicyRule {
        verbs: owned(verbs),
        api_groups: owned(&[""]),
        resources: owned(resources),
        ..PolicyRule::default()
    }
}

fn role(rules: Vec<PolicyRule>) -> RoleSpec {
    RoleSpec {
        scope: RoleScope::Cluster,
        rules,
        ..RoleSpec::default()
    }
}

fn viewer() -> RoleSpec {
    role(vec![rule(&["get", "list"], &["pods", "nodes"])])
}

const LIFE: Duration = Duration::from_hours(24);

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_was_handed_over_gets_ready_and_its_accounts_can_do_no_more_than_they_must()
{
    let world = World::new(LIFE).await;
    world.until_health(Health::Pending).await;
    let pending = world.clusters.registry().upstream("prod").err();
    assert_eq!(pending, Some(NotReady::Pending("prod".to_owned())));
    let report = world.connect().await;
    assert_eq!(report.roles, ["viewer"]);
    let about = world.until_health(Health::Ready).await;
    assert!(about.starts_with("v1."), "{about}");
    world.until_stored(&["viewer"]).await;

    impersonator_rules(&world).await;
    reconciler_rules(&world).await;
    wrong_tokens_are_refused(&world).await;
}

/// What the account on the data path may and may not do, as the cluster judges it.
async fn impersonator_rules(world: &World) {
    let token = world.held(IMPERSONATOR).await;
    let client = world.speak(&token);
    for path in [
        "/api/v1/secrets",
        "/api/v1/pods",
        "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    ] {
        let refused = client.get::<Value>(path).await.unwrap_err();
        assert_eq!(
            refused.code().map(|code| code.as_u16()),
            Some(403),
            "{path}"
        );
    }
    let table: [(&str, &[&str], bool); 9] = [
        (
            "palisade:jane",
            &["--as-group=palisade:cluster:viewer"],
            true,
        ),
        ("palisade:jane", &["--as-uid=u-1"], true),
        (
            "palisade:jane",
            &["--as-user-extra=palisade.dev/token-id=t"],
            true,
        ),
        ("palisade:jane", &["--as-group=system:masters"], false),
        (
            "palisade:jane",
            &["--as-group=palisade:cluster:other"],
            false,
        ),
        ("palisade:jane", &["--as-group=system:nodes"], false),
        // `kubectl --as-user-extra` through the gateway: which keys a person may set is its policy's affair.
        ("palisade:jane", &["--as-user-extra=other.dev/key=t"], true),
        ("system:serviceaccount:kube-system:default", &[], false),
        (
            "system:serviceaccount:palisade-system:reconciler",
            &[],
            false,
        ),
    ];
    for (user, more, allowed) in table {
        let output = kubectl_as(world, &token, user, more);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            output.status.success(),
            allowed,
            "{user} {more:?}: {stderr}"
        );
        if !allowed {
            // kubectl's own words for a 403 to `auth whoami`.
            assert!(
                stderr.contains("do not have permission"),
                "{user} {more:?}: {stderr}"
            );
        }
    }
}

/// `kubectl auth whoami` with the gateway's token, as somebody.
fn kubectl_as(world: &World, token: &str, user: &str, more: &[&str]) -> std::process::Output {
    let mut command = world.local.kubectl();
    let kubeconfig = world
        .local
        .admin_kubeconfig
        .with_file_name("bare.kubeconfig");
    let ca = world
        .local
        .admin_kubeconfig
        .with_file_name("ca-for-test.pem");
    std::fs::write(&ca, &world.local.ca_pem).expect("the CA is written");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {
            "server": world.local.server, "certificate-authority": ca}}],
        "users": [{"name": "u", "user": {"token": token}}],
    });
    std::fs::write(&kubeconfig, config.to_string()).expect("the kubeconfig is written");
    command.arg("--kubeconfig").arg(&kubeconfig);
    command.args(["auth", "whoami", "--as", user]).args(more);
    command.output().expect("kubectl runs")
}

/// What the account that writes may and may not do.
async fn reconciler_rules(world: &World) {
    let client = world.speak(&world.held(RECONCILER).await);
    for path in [
        "/api/v1/secrets",
        "/api/v1/namespaces/palisade-system/secrets",
        "/api/v1/pods",
    ] {
        let refused = client.get::<Value>(path).await.unwrap_err();
        assert_eq!(
            refused.code().map(|code| code.as_u16()),
            Some(403),
            "{path}"
        );
    }
    // Nobody else's role, not even to read more than its rules, and nobody else's token.
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let mine = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "mine"},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}],
    });
    let refused = client
        .post::<_, Value>(&format!("{rbac}/clusterroles"), &mine)
        .await;
    assert_eq!(
        refused.unwrap_err().code().map(|code| code.as_u16()),
        Some(403)
    );
    let refused = client.delete(&format!("{rbac}/clusterroles/view")).await;
    assert_eq!(
        refused.unwrap_err().code().map(|code| code.as_u16()),
        Some(403)
    );
    let tokens = "/api/v1/namespaces/kube-system/serviceaccounts/default/token";
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"expirationSeconds": 600}});
    let refused = client.post::<_, Value>(tokens, &request).await;
    assert_eq!(
        refused.unwrap_err().code().map(|code| code.as_u16()),
        Some(403)
    );
}

/// A token is taken only if the cluster says that it is of the right account.
async fn wrong_tokens_are_refused(world: &World) {
    let swapped = HandedOver {
        reconciler: world.mint(IMPERSONATOR).await,
        impersonator: None,
    };
    let refused = world.clusters.hand_over("prod", swapped).await.unwrap_err();
    assert!(
        matches!(refused, ClusterError::WrongAccount { .. }),
        "{refused}"
    );
    let invented = HandedOver {
        reconciler: Zeroizing::new("invented".to_owned()),
        impersonator: None,
    };
    let refused = world
        .clusters
        .hand_over("prod", invented)
        .await
        .unwrap_err();
    assert!(matches!(refused, ClusterError::Token { .. }), "{refused}");
}

const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";

// CVE-2026-44947: what is taken out of a role, and a role that is taken away, go from the cluster too.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_comes_shrinks_or_goes_does_so_on_the_cluster() {
    let world = World::new(LIFE).await;
    world.connect().await;
    let token = world.held(IMPERSONATOR).await;
    let as_runner = ["--as-group=palisade:cluster:runner"];
    let may_act = || kubectl_as(&world, &token, "palisade:jane", &as_runner);
    assert!(!may_act().status.success());

    let rules = [
        rule(&["create", "impersonate"], &["pods/exec"]),
        rule(&["get"], &["pods"]),
    ];
    world.put_role("runner", role(rules.to_vec())).await;
    world.until_sent("runner", true).await;
    // The gateway sends a group only when the cluster's authoriser takes it: at the first try.
    let output = may_act();
    assert!(output.status.success(), "{output:?}");
    let path = format!("{ROLES}/palisade:cluster:runner");
    let written = world.get(&path).await.expect("it is there");
    let verbs = |written: &Value| {
        let rules = written["rules"].as_array().expect("rules").clone();
        rules
            .into_iter()
            .map(|rule| rule["verbs"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        verbs(&written),
        [json!(["create"]), json!(["get"])],
        "no impersonate"
    );
    world.until_stored(&["runner", "viewer"]).await;

    world
        .put_role("runner", role(vec![rule(&["get"], &["pods"])]))
        .await;
    world
        .until("the role shrinks", async || {
            verbs(&world.get(&path).await.expect("it is there")) == [json!(["get"])]
        })
        .await;

    world
        .store
        .txn(Txn::new().delete(Role::key("runner")))
        .await
        .expect("deleted");
    world.until_sent("runner", false).await;
    world.until_in_step().await;
    let gone = world.get(&path).await.unwrap_err();
    assert_eq!(gone.code().map(|code| code.as_u16()), Some(404));
    world
        .until("the group is refused", async || !may_act().status.success())
        .await;
    let own = world.get(&format!("{ROLES}/palisade:reconciler")).await;
    let own = own.expect("it is there").to_string();
    assert!(
        !own.contains("palisade:cluster:runner"),
        "narrowed again: {own}"
    );
    let report = world.clusters.sync("prod").await.expect("a sync");
    assert_eq!(
        (report.roles, report.behind),
        (vec!["viewer".to_owned()], 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_put_back_and_what_is_not_ours_is_left_alone() {
    let world = World::new(LIFE).await;
    world.connect().await;
    let admin = world.operator.client();
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    let path = format!("{ROLES}/palisade:cluster:viewer");
    let right = world.get(&path).await.expect("it is there");
    let standing = Arc::clone(world.clusters.registry().entry("prod").unwrap().standing());

    let label = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "me"}}});
    let more = json!({"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]});
    let aggregated = json!({"aggregationRule": {"clusterRoleSelectors": [
        {"matchLabels": {"a": "b"}}]}});
    for (number, change) in (1..).zip([more, label, aggregated]) {
        let body = admin.write(&change).expect("a body");
        let merge = Some(("application/merge-patch+json", body));
        let sent = admin.send(http::Method::PATCH, &path, merge).await;
        sent.expect("the admin may");
        world
            .until("it is put back", async || {
                let now = world.get(&path).await.expect("it is there");
                now["rules"] == right["rules"]
                    && now["metadata"]["labels"] == right["metadata"]["labels"]
                    && now.get("aggregationRule").is_none()
            })
            .await;
        world
            .until("it is counted", async || {
                standing
                    .tally
                    .drift
                    .load(std::sync::atomic::Ordering::Relaxed)
                    == number
            })
            .await;
    }
    admin.delete(&path).await.expect("deleted");
    world
        .until("it is made again", async || world.get(&path).await.is_ok())
        .await;

    // A binding of somebody else to a group of ours, and one under a name of ours.
    for (name, stays) in [("mine", true), ("palisade:cluster:mine", false)] {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                "name": "cluster-admin"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group",
                "name": "palisade:cluster:viewer"}],
        });
        admin
            .post::<_, Value>(bindings, &binding)
            .await
            .expect("made");
        let path = format!("{bindings}/{name}");
        if stays {
            let told = standing.view();
            world
                .until("it is told", async || {
                    standing.view().status.foreign_bindings == ["ClusterRoleBinding mine"]
                })
                .await;
            assert!(told.status.foreign <= 1);
        } else {
            world
                .until("it is taken away", async || world.get(&path).await.is_err())
                .await;
        }
    }
    world.until_in_step().await;
    assert!(world.get(&format!("{bindings}/mine")).await.is_ok());
}

impl World {
    async fn put_role(&self, name: &str, spec: RoleSpec) {
        let stored = Stored::new(Role::new(name, spec), <Role as Kind>::Private::default());
        let txn = Txn::new().put(Role::key(name), stored.encode());
        self.store.txn(txn).await.expect("written");
    }

    async fn until(&self, what: &str, mut reached: impl AsyncFnMut() -> bool) {
        let end = tokio::time::Instant::now() + PATIENCE;
        while !reached().await {
            let view = self
                .clusters
                .registry()
                .entry("prod")
                .map(|it| it.standing().view());
            assert!(tokio::time::Instant::now() < end, "{what}: {view:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Whether the data path sends the group of a role.
    async fn until_sent(&self, role: &str, sent: bool) {
        let entry = self.clusters.registry().entry("prod").expect("registered");
        let groups = entry.standing().groups();
        self.until("the group is sent or not", async || {
            groups.known().of_role(role).is_some() == sent
        })
        .await;
    }

    async fn until_in_step(&self) {
        self.until("in step", async || {
            let entry = self.clusters.registry().entry("prod").expect("registered");
            entry.standing().view().status.state == Step::InStep
        })
        .await;
    }

    async fn until_stored(&self, roles: &[&str]) {
        self.until("the known roles are written down", async || {
            self.stored().await.object.status.synced_roles == roles
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_renewed_in_time_and_the_data_path_takes_the_new_one() {
    let world = World::new(Duration::from_secs(3)).await;
    world.connect().await;
    let first = world.held(IMPERSONATOR).await;
    let target = {
        let upstream = world
            .clusters
            .registry()
            .upstream("prod")
            .expect("a data path");
        Arc::clone(upstream.endpoint().target())
    };
    let renewed = async {
        while *world.held(IMPERSONATOR).await == *first {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, renewed)
        .await
        .expect("renewed");
    let token = world.held(IMPERSONATOR).await;
    let bearer = endpoint::bearer(&token).expect("a token");
    let seen = async {
        loop {
            let upstream = world
                .clusters
                .registry()
                .upstream("prod")
                .expect("a data path");
            let endpoint = upstream.endpoint();
            if endpoint.authorization() == bearer {
                assert!(
                    Arc::ptr_eq(endpoint.target(), &target),
                    "connections live on"
                );
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, seen)
        .await
        .expect("taken over");
    let who = kube::who_am_i(&world.speak(&token))
        .await
        .expect("it is good");
    assert_eq!(who, "system:serviceaccount:palisade-system:impersonator");
    world.until_health(Health::Ready).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_goes_away_is_known_to_be_down() {
    let mut world = World::new(LIFE).await;
    world.connect().await;
    world.until_health(Health::Ready).await;
    let upstream = world
        .clusters
        .registry()
        .upstream("prod")
        .expect("a data path");
    assert!(upstream.state().down().is_none());
    let local = std::mem::replace(
        &mut world.local,
        tokio::task::spawn_blocking(LocalCluster::start)
            .await
            .expect("another"),
    );
    tokio::task::spawn_blocking(move || drop(local))
        .await
        .expect("stopped");
    let about = world.until_health(Health::Down).await;
    assert!(about.starts_with("v1."), "the version stays known: {about}");
    assert!(about.contains("127.0.0.1"), "{about}");
    assert!(upstream.state().down().is_some());
}

async fn ours(world: &World) -> Vec<String> {
    let mut names = Vec::new();
    for resource in [
        "clusterroles",
        "clusterrolebindings",
        "roles",
        "rolebindings",
    ] {
        let path = format!("/apis/rbac.authorization.k8s.io/v1/{resource}");
        let list = world.get(&path).await.expect("a list");
        for item in list["items"].as_array().expect("items") {
            let name = item["metadata"]["name"].as_str().expect("a name");
            if name.starts_with("palisade:") {
                names.push(format!("{resource}/{name}"));
            }
        }
    }
    names
}

async fn until_namespace_is_gone(world: &World) {
    let gone = async {
        while world
            .get("/api/v1/namespaces/palisade-system")
            .await
            .is_ok()
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone)
        .await
        .expect("the namespace goes");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reconciler_takes_everything_away_and_hangs_its_own_role_on_its_binding() {
    let world = World::new(LIFE).await;
    world.connect().await;
    world.until_health(Health::Ready).await;
    assert_eq!(ours(&world).await.len(), 8);
    let done = world.clusters.clean_up("prod").await.expect("cleaned up");
    assert_eq!((done.left, done.removed.len()), (0, 5), "{done:?}");
    until_namespace_is_gone(&world).await;
    // The one that cannot delete itself: bound to nobody, and owned by the binding that is gone, so the
    // garbage collector of a whole cluster takes it (this control plane has none).
    let left: Vec<String> = ours(&world).await;
    let left: Vec<&String> = left
        .iter()
        .filter(|name| !name.starts_with("role"))
        .collect();
    assert_eq!(left, ["clusterroles/palisade:reconciler"]);
    let path = "/apis/rbac.authorization.k8s.io/v1/clusterroles/palisade:reconciler";
    let role = world.get(path).await.expect("it is there");
    assert_eq!(
        role["metadata"]["ownerReferences"][0]["kind"],
        "ClusterRoleBinding"
    );
    world.until_health(Health::Pending).await;
    assert!(world.stored().await.private.credential.is_none());
    assert!(world.stored().await.object.status.synced_roles.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_takes_everything_away() {
    let world = World::new(LIFE).await;
    world.connect().await;
    let removed = cleanup::clean_up_as_operator(world.operator.client()).await;
    removed.expect("cleaned up");
    until_namespace_is_gone(&world).await;
    assert_eq!(ours(&world).await, Vec::<String>::new());
    // The gateway's tokens are worth nothing from here on.
    world.until_health(Health::Refused).await;
    let refused = world.clusters.registry().upstream("prod").err();
    assert_eq!(refused, Some(NotReady::Refused("prod".to_owned())));
}
