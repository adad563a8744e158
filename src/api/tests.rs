//! The own API over a store in memory, its follower and its index: what every request gets.

use super::*;
use crate::authn::providers::Providers;
use crate::{
    authn::{TokenText, passwords::Passwords, throttle},
    clusters::Registry,
    config::{ExternalUrl, Sessions, live::Live},
    objects::{
        Binding, BindingSpec, Cluster, ClusterPrivate, Group, GroupSpec, Kind, Member, RoleScope,
        RoleSpec, Stored, Subject, SubjectKind, Token, TokenKind, TokenPrivate, User,
        rules::PolicyRule,
    },
    status::clock,
    store::{Txn, seal::Keyring},
};
use http_body_util::BodyExt;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

mod authority;
mod bindings;
mod clusters;
mod crud;
mod discovery;
mod groups;
mod guards;
mod reads;
mod roles;
mod tables;
mod tokens;
mod unlock;
mod users;

/// Waits of tests: far above what anything takes here.
const SOON: Duration = Duration::from_secs(10);
const SESSIONS: Sessions = Sessions {
    lifetime: Duration::from_hours(16),
    max_age: Duration::from_hours(7 * 24),
    browser_idle: Duration::from_hours(1),
    browser_max_age: Duration::from_hours(12),
};
const BASE: &str = "/apis/palisade.dev/v1alpha1";

struct World {
    api: Api,
    store: Store,
    following: tokio::task::JoinHandle<()>,
    _stop: DropGuard,
    _folder: tempfile::TempDir,
}

/// What a request got: the code, and the JSON.
type Got = (u16, Value);

impl World {
    /// A gateway with one admin, `root`, and a user `jane`.
    async fn new() -> Self {
        let world = Self::empty().await;
        let root = world.put_user("root", "u-root").await;
        world.put_user("jane", "u-jane").await;
        let binding = BindingSpec {
            role: "admin".to_owned(),
            subject: Subject {
                kind: SubjectKind::User,
                name: "root".to_owned(),
                uid: root,
            },
            ..BindingSpec::default()
        };
        world.put(Binding::new("root", binding), "b-root").await;
        world
    }

    async fn empty() -> Self {
        let store = Store::memory();
        let index = Arc::new(Index::new());
        let folder = tempfile::tempdir().unwrap();
        let keyring = Arc::new(Keyring::generate(&folder.path().join("keys")).unwrap());
        let reach = dial::Reach::Clusters;
        let built_in = vec![
            built_in("admin", RoleScope::Global),
            built_in("viewer", RoleScope::Cluster),
        ];
        let specs = built_in
            .iter()
            .map(|r| (r.metadata.name.clone(), r.spec.clone()));
        // What everyone holds stands beside what there is to see.
        let everyones = authz::built_in_roles().remove("authenticated").unwrap();
        let specs = specs.chain([("authenticated".to_owned(), everyones)]);
        let authz = Arc::new(Authz::new(specs.collect()));
        let registry = Registry::new(Arc::clone(&authz), keyring.clone(), reach, Arc::default());
        let registry = Arc::new(registry);
        let follower = Follower::new(store.clone());
        let stop = CancellationToken::new();
        let sinks = (
            Arc::clone(&index),
            Arc::clone(&registry),
            Arc::clone(&authz),
        );
        let following = follow(&follower, sinks, stop.clone());
        follower.wait_for(0, SOON).await.unwrap();
        let login = login::Login {
            throttle: throttle(),
            keyring: Arc::clone(&keyring),
            logins: Arc::default(),
            grants: Arc::default(),
            external_url: Live::fixed(ExternalUrl::parse("https://gate.example").unwrap()),
            providers: no_providers(&index),
            store: store.clone(),
            follower: follower.clone(),
            index: Arc::clone(&index),
            passwords: Passwords::new(2, 8).unwrap(),
            sessions: Live::fixed(SESSIONS),
            base_domain: Live::fixed(None),
        };
        let clusters = Clusters::new(registry, store.clone(), follower.clone(), keyring, LIFE);
        let api = Api::new(Parts {
            store: store.clone(),
            follower,
            index,
            login: Arc::new(login),
            built_in,
            authz,
            clusters: Arc::new(clusters),
            tasks: TaskTracker::new(),
            reloads: Arc::new(reloads::Status::new(Arc::default())),
            limits: Live::fixed(Limits {
                token_life: Duration::from_hours(90 * 24),
                token_max_life: Duration::from_hours(366 * 24),
                body_bytes: 1024 * 1024,
                reach,
            }),
        });
        let world = Self {
            api,
            store,
            following,
            _stop: stop.drop_guard(),
            _folder: folder,
        };
        world.know_session();
        world
    }

    /// Writes an object past the API.
    async fn put<K: Kind>(&self, object: K, uid: &str) {
        self.put_with(object, uid, K::Private::default()).await;
    }

    async fn put_with<K: Kind>(&self, mut object: K, uid: &str, private: K::Private) {
        object.meta_mut().uid = uid.to_owned();
        object.meta_mut().creation_timestamp = Some(clock::whole_seconds(clock::now()));
        let key = K::key(&object.meta().name);
        let txn = Txn::new().put(key, Stored::new(object, private).encode());
        let revision = self.store.txn(txn).await.unwrap();
        self.api.follower.wait_for(revision, SOON).await.unwrap();
    }

    async fn put_user(&self, name: &str, uid: &str) -> String {
        let user = User::new(name, crate::objects::UserSpec::default());
        // Of no password: nobody logs in as them here.
        let private = crate::objects::UserPrivate {
            password: Some("$argon2id$".to_owned()),
            ..Default::default()
        };
        self.put_with(user, uid, private).await;
        uid.to_owned()
    }

    /// The session of all callers, and its user, as this replica knows them: nobody authenticates here, but writes ask
    /// whether the session still stands. The store does not have them, so that no list shows them.
    fn know_session(&self) {
        let keeper = User::new("keeper", crate::objects::UserSpec::default());
        self.know(keeper, "u-keeper", crate::objects::UserPrivate::default());
        let spec = crate::objects::TokenSpec {
            user: Member {
                name: "keeper".to_owned(),
                uid: "u-keeper".to_owned(),
            },
            kind: TokenKind::Ses,
            expires_at: Some(in_hours(16)),
            ..Default::default()
        };
        let private = crate::objects::TokenPrivate {
            sha256: "00".repeat(32),
            ..Default::default()
        };
        let token = crate::objects::Token::new(SESSION, spec);
        self.know(token, "t-session", private);
    }

    fn know<K: Kind>(&self, mut object: K, uid: &str, private: K::Private) {
        object.meta_mut().uid = uid.to_owned();
        let key = K::key(&object.meta().name);
        let known = crate::store::KeyValue {
            key,
            value: Stored::new(object, private).encode().into(),
            create_revision: 1,
            mod_revision: 1,
            version: 1,
        };
        let put = crate::store::follow::Change::Put(known);
        self.api.index.apply(&put).unwrap();
    }

    /// Gives a user a role of scope global, past the API.
    async fn give(&self, name: &str, uid: &str, role: &str, rules: Vec<PolicyRule>) {
        let spec = RoleSpec {
            scope: RoleScope::Global,
            rules,
            ..RoleSpec::default()
        };
        self.put(Role::new(role, spec), &format!("r-{role}")).await;
        let binding = BindingSpec {
            role: role.to_owned(),
            subject: Subject {
                kind: SubjectKind::User,
                name: name.to_owned(),
                uid: uid.to_owned(),
            },
            ..BindingSpec::default()
        };
        let given = format!("{role}-{name}");
        self.put(Binding::new(&given, binding), &format!("b-{given}"))
            .await;
    }

    async fn ask(&self, caller: &Caller, method: &str, path: &str, body: &Value) -> Got {
        let bytes = match body {
            Value::Null => Vec::new(),
            Value::String(raw) => raw.clone().into_bytes(),
            Value::Object(_) | Value::Array(_) | Value::Bool(_) | Value::Number(_) => {
                serde_json::to_vec(body).unwrap()
            }
        };
        let path = if path.starts_with("/apis") || path.starts_with("/v") || path.starts_with("/o")
        {
            path.to_owned()
        } else {
            format!("{BASE}/{path}")
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(Full::new(Bytes::from(bytes)))
            .unwrap();
        self.send(caller, request).await
    }

    async fn send(&self, caller: &Caller, request: Request<Full<Bytes>>) -> Got {
        match self.api.handle(caller, request).await {
            Ok(response) => {
                let code = response.status().as_u16();
                let bytes = response.into_body().collect().await.unwrap().to_bytes();
                (code, serde_json::from_slice(&bytes).unwrap())
            }
            Err(error) => {
                let status = error.status();
                (status.code, serde_json::to_value(status).unwrap())
            }
        }
    }

    /// As `root`, an admin.
    async fn root(&self, method: &str, path: &str, body: Value) -> Got {
        self.ask(&caller("root", "u-root", Reach::All), method, path, &body)
            .await
    }

    /// As `jane`, who holds no role.
    async fn jane(&self, method: &str, path: &str, body: Value) -> Got {
        self.ask(&caller("jane", "u-jane", Reach::Own), method, path, &body)
            .await
    }

    /// A token past the API.
    async fn put_token(&self, user: (&str, &str), kind: TokenKind, end: Timestamp) -> String {
        let text = TokenText::generate(kind).unwrap();
        let spec = crate::objects::TokenSpec {
            user: Member {
                name: user.0.to_owned(),
                uid: user.1.to_owned(),
            },
            kind,
            expires_at: Some(end),
            ..Default::default()
        };
        let name = text.id().to_string();
        let private = TokenPrivate {
            sha256: text.sha256_hex(),
            ..TokenPrivate::default()
        };
        self.put_with(Token::new(&name, spec), &format!("t-{name}"), private)
            .await;
        name
    }
}

fn follow(
    follower: &Follower,
    sinks: (Arc<Index>, Arc<Registry>, Arc<Authz>),
    stop: CancellationToken,
) -> tokio::task::JoinHandle<()> {
    let run = follower.clone().run(
        move |batch| {
            sinks.0.apply_batch(&batch);
            sinks.1.apply(&batch);
            sinks.2.apply(&batch);
            sinks.2.people_changed(&batch, &sinks.0);
        },
        stop,
    );
    tokio::spawn(run)
}

/// Of the gateway's tokens at a cluster.
const LIFE: Duration = Duration::from_hours(1);

fn no_providers(index: &Arc<Index>) -> Arc<Providers> {
    Arc::new(Providers::new(Arc::clone(index)))
}

fn throttle() -> throttle::Throttle {
    let pace = |tries| throttle::Pace {
        tries,
        interval: Duration::from_mins(5),
    };
    let settings = throttle::Settings {
        account: pace(10),
        source: Some(pace(100)),
    };
    throttle::Throttle::new(Live::fixed(settings), 1)
}

fn built_in(name: &str, scope: RoleScope) -> Role {
    let rule = PolicyRule {
        verbs: vec!["*".to_owned()],
        api_groups: vec!["*".to_owned()],
        resources: vec!["*".to_owned()],
        ..PolicyRule::default()
    };
    let spec = RoleSpec {
        scope,
        rules: vec![rule],
        ..RoleSpec::default()
    };
    Role::new(name, spec)
}

/// The session of all callers here.
const SESSION: &str = "abcdefgh01234567";

/// A caller with a session.
fn caller(handle: &str, uid: &str, reach: Reach) -> Caller {
    Caller {
        user_uid: uid.into(),
        handle: handle.into(),
        groups: Box::default(),
        acting: None,
        token_id: SESSION.into(),
        token_kind: TokenKind::Ses,
        token_clusters: None,
        token_expires_at: in_hours(16),
        reach,
    }
}

fn in_hours(hours: i64) -> Timestamp {
    clock::whole_seconds(clock::now() + hours.hours())
}

fn message(got: &Got) -> &str {
    got.1["message"].as_str().unwrap_or_default()
}

/// Fields of the causes of a 422.
fn fields(got: &Got) -> Vec<&str> {
    let causes = got.1["details"]["causes"].as_array();
    causes
        .into_iter()
        .flatten()
        .filter_map(|cause| cause["field"].as_str())
        .collect()
}

fn names(got: &Got) -> Vec<&str> {
    let items = got.1["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap())
        .collect()
}

fn group(name: &str, members: &[&str]) -> Value {
    let members: Vec<Value> = members.iter().map(|name| json!({"name": name})).collect();
    json!({"metadata": {"name": name}, "spec": {"members": members}})
}

fn binding(name: &str, role: &str, user: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"role": role, "subject": {"kind": "User", "name": user}},
    })
}

fn cluster(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"server": format!("https://{name}.example:6443")}})
}
