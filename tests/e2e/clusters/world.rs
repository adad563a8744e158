//! A gateway's clusters, and one real cluster.

use crate::testkit::cluster::LocalCluster;
use palisade::{
    authz::Authz,
    cli::{http::HttpClient, operator::Operator},
    clusters::{
        Clusters, HandedOver, IMPERSONATOR, RECONCILER, Registry, SyncReport,
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
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

/// Longest wait for something that a loop of the gateway does.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A gateway's clusters without the rest of the gateway, and one real cluster.
pub(super) struct World {
    pub(super) local: LocalCluster,
    pub(super) operator: HttpClient,
    pub(super) clusters: Arc<Clusters>,
    pub(super) store: Store,
    pub(super) keyring: Arc<Keyring>,
    pub(super) life: Duration,
    pub(super) stop: CancellationToken,
    pub(super) work: JoinSet<()>,
}

impl World {
    pub(super) async fn new(life: Duration) -> Self {
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
    pub(super) fn keep(&mut self) {
        let settings = keeper::Settings {
            health_interval: Live::fixed(Duration::from_millis(200)),
            write_pace: Live::fixed(Duration::from_millis(50)),
        };
        let (clusters, stop) = (Arc::clone(&self.clusters), self.stop.clone());
        self.work.spawn(keeper::run(clusters, settings, stop));
    }

    /// The gateway ends.
    pub(super) async fn end(&mut self) {
        self.stop.cancel();
        while self.work.join_next().await.is_some() {}
    }

    /// Another gateway has the store's clusters before it. Nobody looks after them yet.
    pub(super) fn again(&mut self) {
        self.stop = CancellationToken::new();
        let tasks = (&mut self.work, &self.stop);
        self.clusters = look(&self.store, &self.keyring, self.life, tasks);
    }

    pub(super) fn object(&self) -> Cluster {
        let spec = ClusterSpec {
            server: self.local.server.clone(),
            ca: self.local.ca_pem.clone(),
            ..ClusterSpec::default()
        };
        let mut cluster = Cluster::new("prod", spec);
        "uid-1".clone_into(&mut cluster.metadata.uid);
        cluster
    }

    pub(super) async fn put(&self, cluster: Cluster, credential: Option<String>) {
        let key = Cluster::key(&cluster.metadata.name);
        let value = Stored::new(cluster, ClusterPrivate { credential }).encode();
        self.store
            .txn(Txn::new().put(key, value))
            .await
            .expect("the store takes it");
    }

    pub(super) async fn stored(&self) -> Stored<Cluster> {
        let key = Cluster::key("prod");
        let kv = self.store.get(&key).await.expect("the store answers");
        let kv = kv.expect("the cluster is registered");
        Stored::decode(&key, &kv.value, kv.mod_revision).expect("it can be read")
    }

    /// The operator's part: apply everything, get tokens, hand them over.
    pub(super) async fn connect(&self) -> SyncReport {
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

    pub(super) async fn mint(&self, account: &str) -> Zeroizing<String> {
        let minted = kube::mint(self.operator.client(), account, 600).await;
        minted
            .unwrap_or_else(|error| panic!("{account}: {}", error.chain()))
            .token
    }

    /// The token that the gateway holds of an account.
    pub(super) async fn held(&self, account: &str) -> Zeroizing<String> {
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

    pub(super) fn speak(&self, token: &str) -> Client {
        let target: Target = target(&self.object(), Reach::ClustersAndLoopback).expect("a target");
        let authorization = endpoint::bearer(token).expect("a token");
        Client::new(Arc::new(target), Some(authorization))
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.operator.client().get(path).await
    }

    pub(super) async fn until_health(&self, health: Health) -> String {
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

    pub(super) async fn put_role(&self, name: &str, spec: RoleSpec) {
        let stored = Stored::new(Role::new(name, spec), <Role as Kind>::Private::default());
        let txn = Txn::new().put(Role::key(name), stored.encode());
        self.store.txn(txn).await.expect("written");
    }

    pub(super) async fn until(&self, what: &str, mut reached: impl AsyncFnMut() -> bool) {
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
    pub(super) async fn until_sent(&self, role: &str, sent: bool) {
        let entry = self.clusters.registry().entry("prod").expect("registered");
        let groups = entry.standing().groups();
        self.until("the group is sent or not", async || {
            groups.known().of_role(role).is_some() == sent
        })
        .await;
    }

    pub(super) async fn until_in_step(&self) {
        self.until("in step", async || {
            let entry = self.clusters.registry().entry("prod").expect("registered");
            entry.standing().view().status.state == Step::InStep
        })
        .await;
    }

    pub(super) async fn until_stored(&self, roles: &[&str]) {
        self.until("the known roles are written down", async || {
            self.stored().await.object.status.synced_roles == roles
        })
        .await;
    }
}

/// The clusters of a store, as long as it is not told to stop.
pub(super) fn look(
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

pub(super) fn rule(verbs: &[&str], resources: &[&str]) -> PolicyRule {
    let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
    PolicyRule {
        verbs: owned(verbs),
        api_groups: owned(&[""]),
        resources: owned(resources),
        ..PolicyRule::default()
    }
}

pub(super) fn role(rules: Vec<PolicyRule>) -> RoleSpec {
    RoleSpec {
        scope: RoleScope::Cluster,
        rules,
        ..RoleSpec::default()
    }
}

pub(super) fn viewer() -> RoleSpec {
    role(vec![rule(&["get", "list"], &["pods", "nodes"])])
}

pub(super) const LIFE: Duration = Duration::from_hours(24);
