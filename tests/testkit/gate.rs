//! A gateway in this process: the real listener, request path, policy, index and registry, on a store in
//! memory. What an operator would set up by commands is written straight into the store.

use super::{canary, fake_api::FakeApi};
use jiff::{SignedDuration, Timestamp};
use palisade::{
    authn::{
        TokenText,
        providers::{Arrival, Provider, Record, record_key},
    },
    clusters::credential::{self, ClusterCredential, HeldToken},
    objects::{
        Binding, BindingSpec, Cluster, ClusterPrivate, ClusterSpec, Group, GroupSpec, Kind, Member,
        Nothing, Principal, Project, ProjectSpec, Role, RoleScope, RoleSpec, Stored, Subject,
        SubjectKind, Token, TokenKind, TokenPrivate, TokenSpec, User, UserPrivate, UserSpec,
        rules::PolicyRule,
    },
    serve::{
        app::{App, Sockets},
        lifecycle::Drained,
        state::State,
    },
    status::clock,
    store::{Store, Txn, seal::Keyring},
};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use zeroize::Zeroizing;

const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Gate {
    pub(crate) address: SocketAddr,
    /// `https://localhost:PORT`
    pub(crate) url: String,
    pub(crate) ca_pem: String,
    pub(crate) store: Store,
    pub(crate) app: App,
    admin_address: SocketAddr,
    pub(crate) keyring: Arc<Keyring>,
    folder: tempfile::TempDir,
}

impl Gate {
    pub(crate) async fn start() -> Self {
        Self::start_with(None).await
    }

    /// With clusters by host name below `base_domain`.
    pub(crate) async fn start_with(base_domain: Option<&str>) -> Self {
        let base_domain =
            base_domain.map_or(String::new(), |name| format!("base_domain: {name}\n"));
        Self::start_configured(&base_domain).await
    }

    /// With further lines of configuration.
    pub(crate) async fn start_configured(lines: &str) -> Self {
        Self::start_paced(lines, 20).await
    }

    /// With so many writes a second to each cluster.
    pub(crate) async fn start_paced(lines: &str, writes: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keyring = Arc::new(Keyring::generate(&folder.path().join("keys")).unwrap());
        Self::start_in(folder, (lines, writes), (Store::memory(), keyring)).await
    }

    /// Another replica, with the same store and keys, and further lines of configuration.
    pub(crate) async fn replica(&self, lines: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = (self.store.clone(), Arc::clone(&self.keyring));
        Self::start_in(folder, (lines, 20), state).await
    }

    async fn start_in(
        folder: tempfile::TempDir,
        (lines, writes): (&str, u32),
        (store, keyring): (Store, Arc<Keyring>),
    ) -> Self {
        canary::watch_log();
        let (cert, key, ca_pem) = certificate(folder.path());
        let config = format!(
            "{lines}external_url: https://localhost\n\
             tls: {{cert_file: {}, key_file: {}}}\n\
             state: {{store: store, key_file: keys}}\n\
             clusters: {{danger_allow_loopback_clusters: true, writes_per_second: {writes}}}\n\
             audit: {{output: file, path: audit.log}}\n",
            cert.display(),
            key.display()
        );
        std::fs::write(folder.path().join("gate.yaml"), &config).unwrap();
        let config = palisade::config::read(&config, folder.path()).unwrap();
        let any = ([127, 0, 0, 1], 0).into();
        let sockets = Sockets::bind(any, any).await.unwrap();
        let (address, admin_address) = (sockets.address(), sockets.admin_address());
        let state = State {
            store: store.clone(),
            keyring: Arc::clone(&keyring),
        };
        let app = App::start(&config, sockets, state).await.unwrap();
        let url = format!("https://localhost:{}", address.port());
        Self {
            address,
            url,
            ca_pem,
            store,
            app,
            admin_address,
            keyring,
            folder,
        }
    }

    /// Where `gate.yaml`, the configuration, is, with the files `cert.pem` and `key.pem`.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes an object and waits until the gateway has seen it.
    pub(crate) async fn put<K: Kind>(&self, mut object: K, private: K::Private) {
        let name = object.meta().name.clone();
        if object.meta().uid.is_empty() {
            object.meta_mut().uid = uuid::Uuid::new_v4().to_string();
        }
        object.meta_mut().creation_timestamp = Some(clock::whole_seconds(clock::now()));
        let bytes = Stored::new(object, private).encode();
        let revision = self
            .store
            .txn(Txn::new().put(K::key(&name), bytes))
            .await
            .unwrap();
        self.app
            .follower()
            .wait_for(revision, PATIENCE)
            .await
            .unwrap();
    }

    /// Waits until this replica knows all that the store does: what was written by another one, too.
    pub(crate) async fn caught_up(&self) {
        let revision = self.store.revision().await.unwrap();
        let follower = self.app.follower();
        follower.wait_for(revision, PATIENCE).await.unwrap();
    }

    pub(crate) async fn get<K: Kind>(&self, name: &str) -> Stored<K> {
        let kv = self.store.get(&K::key(name)).await.unwrap().unwrap();
        Stored::decode(&kv.key, &kv.value, kv.mod_revision).unwrap()
    }

    pub(crate) async fn delete<K: Kind>(&self, name: &str) {
        let revision = self
            .store
            .txn(Txn::new().delete(K::key(name)))
            .await
            .unwrap();
        self.app
            .follower()
            .wait_for(revision, PATIENCE)
            .await
            .unwrap();
    }

    /// A user with one token, which is returned.
    pub(crate) async fn user(&self, handle: &str) -> String {
        // With a password that nobody knows: people can log in, and only then count as an admin.
        let private = UserPrivate {
            password: Some("$argon2id$".to_owned()),
            ..UserPrivate::default()
        };
        self.put(User::new(handle, UserSpec::default()), private)
            .await;
        self.token(handle, &[], SignedDuration::from_hours(1)).await
    }

    /// A user who logs in with this password.
    pub(crate) async fn person(&self, handle: &str, password: &str) {
        let passwords = palisade::authn::passwords::Passwords::new(1, 8).unwrap();
        let hash = passwords.hash(Zeroizing::new(password.to_owned())).await;
        let private = UserPrivate {
            password: Some(hash.unwrap().to_string()),
            ..UserPrivate::default()
        };
        self.put(User::new(handle, UserSpec::default()), private)
            .await;
    }

    pub(crate) async fn uid(&self, handle: &str) -> String {
        self.get::<User>(handle).await.object.metadata.uid
    }

    /// What a login that has just come back from a provider leaves: its user, what was said of them, and a token, which is
    /// returned.
    pub(crate) async fn arrive(&self, provider: &str, arrival: &Arrival) -> String {
        let handle = format!("{provider}:{}", arrival.handle);
        let spec = UserSpec {
            principals: vec![Principal {
                provider: provider.to_owned(),
                id: arrival.id.to_string(),
            }],
            ..UserSpec::default()
        };
        self.put(User::new(&handle, spec), UserPrivate::default())
            .await;
        let user = Member {
            name: handle.clone(),
            uid: self.uid(&handle).await,
        };
        let key = record_key(provider, &arrival.id);
        let grant = arrival.grant.as_ref();
        let text = std::fs::read_to_string(self.folder().join("gate.yaml")).unwrap();
        let config = palisade::config::read(&text, self.folder()).unwrap();
        let at = Provider::new(provider, &config.providers[provider]);
        let grant = grant.map(|grant| grant.seal(&self.keyring, &key, &at).unwrap());
        let record = Record::new(user, &arrival.name, arrival.groups.clone(), clock::now());
        let bytes = record.granted(grant).encode();
        let revision = self.store.txn(Txn::new().put(key, bytes)).await.unwrap();
        let follower = self.app.follower();
        follower.wait_for(revision, PATIENCE).await.unwrap();
        self.token(&handle, &[], SignedDuration::from_hours(1))
            .await
    }

    /// A further token of a user, for these clusters, with this much life.
    pub(crate) async fn token(
        &self,
        handle: &str,
        clusters: &[&str],
        life: SignedDuration,
    ) -> String {
        let text = TokenText::generate(TokenKind::Pat).unwrap();
        let spec = TokenSpec {
            user: Member {
                name: handle.to_owned(),
                uid: self.uid(handle).await,
            },
            clusters: clusters.iter().map(ToString::to_string).collect(),
            expires_at: Some(clock::now() + life),
            ..TokenSpec::default()
        };
        let private = TokenPrivate {
            sha256: text.sha256_hex(),
            ..TokenPrivate::default()
        };
        self.put(Token::new(text.id().as_str(), spec), private)
            .await;
        text.expose().to_owned()
    }

    pub(crate) async fn group(&self, name: &str, members: &[&str]) {
        let mut spec = GroupSpec::default();
        for member in members {
            let uid = self.uid(member).await;
            spec.members.push(Member {
                name: (*member).to_owned(),
                uid,
            });
        }
        self.put(Group::new(name, spec), Nothing::default()).await;
    }

    /// Registers a fake API server as a cluster that knows the built-in cluster roles.
    pub(crate) async fn cluster(&self, name: &str, fake: &FakeApi) {
        self.cluster_at(name, &fake.server(), &fake.ca_pem).await;
    }

    pub(crate) async fn cluster_at(&self, name: &str, server: &str, ca: &str) {
        let (cluster, private) = registered(&self.keyring, name, server, ca);
        self.put(cluster, private).await;
    }

    /// Says which roles the cluster was told of.
    pub(crate) async fn synced(&self, name: &str, roles: &[String]) {
        let mut stored = self.get::<Cluster>(name).await;
        stored.object.status.synced_roles = roles.to_vec();
        self.put(stored.object, stored.private).await;
    }

    /// Says that the cluster was read and takes these groups: of one that cannot be read by itself.
    pub(crate) fn observed(&self, name: &str, groups: &[&str]) {
        let entry = self.app.registry().entry(name).unwrap();
        entry.standing().groups().observe(groups);
    }

    /// A cluster role that allows everything on pods.
    pub(crate) async fn role(&self, name: &str) {
        self.role_with(name, "pods", &["*"]).await;
    }

    /// A cluster role for one resource of the core group.
    pub(crate) async fn role_with(&self, name: &str, resource: &str, verbs: &[&str]) {
        let rule = PolicyRule {
            verbs: verbs.iter().map(ToString::to_string).collect(),
            api_groups: vec![String::new()],
            resources: vec![resource.to_owned()],
            ..PolicyRule::default()
        };
        self.role_of(name, RoleScope::Cluster, vec![rule]).await;
    }

    pub(crate) async fn role_of(&self, name: &str, scope: RoleScope, rules: Vec<PolicyRule>) {
        let spec = RoleSpec {
            scope,
            rules,
            ..RoleSpec::default()
        };
        self.put(Role::new(name, spec), Nothing::default()).await;
    }

    pub(crate) async fn bind(&self, role: &str, user: &str, cluster: &str) {
        let uid = self.uid(user).await;
        self.bind_subject(
            role,
            Subject {
                kind: SubjectKind::User,
                name: user.to_owned(),
                uid,
            },
            cluster,
        )
        .await;
    }

    pub(crate) async fn bind_group(&self, role: &str, group: &str, cluster: &str) {
        let uid = self.get::<Group>(group).await.object.metadata.uid;
        let subject = Subject {
            kind: SubjectKind::Group,
            name: group.to_owned(),
            uid,
        };
        self.bind_subject(role, subject, cluster).await;
    }

    /// A project of a cluster.
    pub(crate) async fn project(&self, name: &str, cluster: &str, namespaces: &[&str]) {
        let mut project = Project::new(
            name,
            ProjectSpec {
                cluster: cluster.to_owned(),
                namespaces: namespaces.iter().map(ToString::to_string).collect(),
                ..ProjectSpec::default()
            },
        );
        // One that is there stays the same one.
        if let Some(kv) = self.store.get(&Project::key(name)).await.unwrap() {
            let known = Stored::<Project>::decode(&kv.key, &kv.value, kv.mod_revision).unwrap();
            project.metadata.uid = known.object.metadata.uid;
        }
        self.put(project, Nothing::default()).await;
    }

    /// A role of scope project for a user.
    pub(crate) async fn bind_project(&self, role: &str, user: &str, project: &str) {
        let subject = Subject {
            kind: SubjectKind::User,
            name: user.to_owned(),
            uid: self.uid(user).await,
        };
        self.bind_in_project(role, subject, project).await;
    }

    /// The same for a group.
    pub(crate) async fn bind_group_in_project(&self, role: &str, group: &str, project: &str) {
        let subject = Subject {
            kind: SubjectKind::Group,
            name: group.to_owned(),
            uid: self.get::<Group>(group).await.object.metadata.uid,
        };
        self.bind_in_project(role, subject, project).await;
    }

    async fn bind_in_project(&self, role: &str, subject: Subject, project: &str) {
        let name = format!("{role}-{}-{project}", subject.name);
        let spec = BindingSpec {
            role: role.to_owned(),
            subject,
            project: project.to_owned(),
            project_uid: self.get::<Project>(project).await.object.metadata.uid,
            ..BindingSpec::default()
        };
        self.put(Binding::new(name, spec), Nothing::default()).await;
    }

    /// A role of scope global for a user.
    pub(crate) async fn bind_global(&self, role: &str, user: &str) {
        let subject = Subject {
            kind: SubjectKind::User,
            name: user.to_owned(),
            uid: self.uid(user).await,
        };
        let spec = BindingSpec {
            role: role.to_owned(),
            subject,
            ..BindingSpec::default()
        };
        let name = format!("{role}-{user}");
        self.put(Binding::new(name, spec), Nothing::default()).await;
    }

    /// What `/metrics` of the admin listener says.
    pub(crate) async fn metrics(&self) -> String {
        self.admin_get("/metrics").await
    }

    /// What a path of the admin listener says.
    pub(crate) async fn admin_get(&self, path: &str) -> String {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(self.admin_address)
            .await
            .unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn bind_subject(&self, role: &str, subject: Subject, cluster: &str) {
        let name = format!("{role}-{}-{cluster}", subject.name);
        let spec = BindingSpec {
            role: role.to_owned(),
            subject,
            clusters: vec![cluster.to_owned()],
            ..BindingSpec::default()
        };
        self.put(Binding::new(name, spec), Nothing::default()).await;
    }

    /// The audit log.
    pub(crate) fn audit_file(&self) -> std::path::PathBuf {
        self.folder.path().join("audit.log")
    }

    /// The audit events so far, when there are this many.
    pub(crate) async fn events(&self, count: usize) -> Vec<serde_json::Value> {
        let end = std::time::Instant::now() + PATIENCE;
        loop {
            let text = std::fs::read_to_string(self.audit_file()).unwrap_or_default();
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            let events: Vec<_> = whole
                .lines()
                .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
                .collect();
            if events.len() >= count {
                return events;
            }
            assert!(std::time::Instant::now() < end, "{events:#?}");
            tokio::task::yield_now().await;
        }
    }

    /// What the audit log says that people did, and who, when there are this many deeds.
    pub(crate) async fn deeds(&self, count: usize) -> Vec<(String, String)> {
        let text = |value: &serde_json::Value| value.as_str().map(ToOwned::to_owned);
        let mut least = count;
        loop {
            let events = self.events(least).await;
            let deeds = events.iter().filter_map(|event| {
                let deed = text(&event["annotations"]["palisade.dev/event"])?;
                Some((deed, text(&event["user"]["username"])?))
            });
            let deeds: Vec<_> = deeds.collect();
            if deeds.len() >= count {
                return deeds;
            }
            least = events.len() + 1;
        }
    }

    /// What the annotation says of each of these deeds so far.
    pub(crate) async fn annotations(&self, deed: &str, key: &str) -> Vec<Option<String>> {
        let events = self.events(0).await;
        let deeds = events
            .iter()
            .filter(|it| it["annotations"]["palisade.dev/event"] == deed);
        deeds
            .map(|it| it["annotations"][key].as_str().map(ToOwned::to_owned))
            .collect()
    }

    /// Stops, and asserts that nothing is left behind.
    pub(crate) async fn stop(self) {
        let done = self.app.stop(tokio::time::sleep(PATIENCE)).await;
        assert_eq!(done, Drained::Clean, "every connection and stream ends");
        let audit = std::fs::read(self.folder.path().join("audit.log")).unwrap_or_default();
        canary::assert_none(&[("the audit log", &audit)], None, &[]);
        // G8: of this gate, or of another one of the same program.
        assert_eq!(canary::found_in_log(), Vec::<String>::new());
    }
}

/// A cluster as it is stored once it was added: with a sealed credential, knowing the built-in roles.
pub(crate) fn registered(
    keyring: &Keyring,
    name: &str,
    server: &str,
    ca: &str,
) -> (Cluster, ClusterPrivate) {
    let spec = ClusterSpec {
        server: server.to_owned(),
        ca: ca.to_owned(),
        ..ClusterSpec::default()
    };
    let mut cluster = Cluster::new(name, spec);
    cluster.metadata.uid = uuid::Uuid::new_v4().to_string();
    cluster.status.synced_roles = ["cluster-member", "cluster-owner", "cluster-viewer"]
        .map(ToOwned::to_owned)
        .into();
    cluster.status.synced_version = palisade::clusters::manifest::VERSION;
    let held = |token: &str| HeldToken {
        token: Zeroizing::new(token.to_owned()),
        issued_at: clock::now(),
        expires_at: Timestamp::MAX,
    };
    let credential = ClusterCredential {
        impersonator: held("impersonator-token"),
        reconciler: held("reconciler-token"),
    };
    let sealed = credential::seal(keyring, &cluster, &credential).unwrap();
    let private = ClusterPrivate {
        credential: Some(sealed),
    };
    (cluster, private)
}

/// Makes `cert.pem` and `key.pem`; returns their paths, and the certificate, which is its own authority.
pub(crate) fn certificate(folder: &Path) -> (PathBuf, PathBuf, String) {
    let names = vec!["localhost".to_owned(), "*.gate.test".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    (cert, key, made.cert.pem())
}

/// A gate, a fake cluster `fake`, and the token of jane, a cluster-member there.
pub(crate) async fn world() -> (Gate, FakeApi, String) {
    let fake = FakeApi::start(&["h2", "http/1.1"]).await;
    let gate = Gate::start().await;
    gate.cluster("fake", &fake).await;
    let token = gate.user("jane").await;
    gate.bind("cluster-member", "jane", "fake").await;
    (gate, fake, token)
}
