//! What the gateway does with a small GET before a byte goes to the cluster: each step by itself, and all of
//! them in memory, with requests that go round ten thousand tokens, as cold as they would be.

#![expect(clippy::unwrap_used, reason = "a benchmark fails loudly")]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::{HeaderValue, Request};
use palisade::{
    authn::{Authn, Credential, Identity, Index, TokenText, WebSocket},
    authz::{Asked, Authz, Permit, Permitted, Purpose, RequestInfo, built_in_roles},
    objects::{
        Binding, BindingSpec, Cluster, ClusterPrivate, ClusterSpec, Kind, Member, Nothing, Stored,
        Subject, SubjectKind, Token, TokenKind, TokenPrivate, TokenSpec, User, UserPrivate,
        UserSpec, grant_group::GrantGroup,
    },
    proxy::{Facts, Groups, Hop, Outbound},
    request::{Head, RequestId, Router, Target},
    status::clock,
    store::{
        KeyValue,
        follow::{Batch, Change},
    },
};
use std::{hint::black_box, sync::Arc, time::Duration};

const USERS: usize = 1_000;
const TOKENS: usize = 10_000;
const TARGET: &str = "/k8s/clusters/prod/api/v1/namespaces/default/pods/web-7d4b9c6f5-x2x9k";

/// A gateway's memory, and texts of all its tokens.
struct World {
    router: Router,
    authn: Authn,
    authz: Authz,
    facts: Facts,
    tokens: Vec<String>,
}

fn put<K: Kind>(object: K, private: K::Private) -> Change {
    let key = K::key(&object.meta().name);
    Change::Put(KeyValue {
        value: Stored::new(object, private).encode().into(),
        key,
        create_revision: 1,
        mod_revision: 1,
        version: 1,
    })
}

fn world() -> World {
    let mut changes = vec![put(
        Cluster::new("prod", ClusterSpec::default()),
        ClusterPrivate::default(),
    )];
    let uid = |user: usize| format!("0190c2a4-7b1e-7000-8000-{user:012}");
    for user in 0..USERS {
        let mut object = User::new(format!("user{user}"), UserSpec::default());
        object.metadata.uid = uid(user);
        changes.push(put(object, UserPrivate::default()));
        let spec = BindingSpec {
            role: "cluster-viewer".to_owned(),
            subject: Subject {
                kind: SubjectKind::User,
                name: format!("user{user}"),
                uid: uid(user),
            },
            all_clusters: true,
            ..BindingSpec::default()
        };
        let binding = Binding::new(format!("b{user}"), spec);
        changes.push(put(binding, Nothing::default()));
    }
    let mut tokens = Vec::new();
    for number in 0..TOKENS {
        let text = TokenText::generate(TokenKind::Pat).unwrap();
        let user = number % USERS;
        let spec = TokenSpec {
            user: Member {
                name: format!("user{user}"),
                uid: uid(user),
            },
            expires_at: Some("2099-01-01T00:00:00Z".parse().unwrap()),
            ..TokenSpec::default()
        };
        let private = TokenPrivate {
            sha256: text.sha256_hex(),
            ..TokenPrivate::default()
        };
        changes.push(put(Token::new(text.id().as_str(), spec), private));
        tokens.push(format!("Bearer {}", text.expose()));
    }
    let batch = Batch {
        changes,
        revision: 1,
        complete: true,
    };
    let authz = Authz::new(built_in_roles());
    authz.apply(&batch);
    let index = Arc::new(Index::new());
    index.apply_batch(&batch);
    World {
        router: Router::new(None),
        authn: Authn::new(index),
        authz,
        facts: Facts {
            user_prefix: "palisade:".into(),
            groups: Arc::new(Groups::remembered(
                ["cluster-viewer", "basic"].map(|role| GrantGroup::Cluster { role }.to_string()),
            )),
            ..Facts::default()
        },
        tokens,
    }
}

impl World {
    fn request(&self, number: usize) -> Request<()> {
        Request::get(TARGET)
            .header("host", "gate.example.com")
            .header("accept", "application/json, */*")
            .header("accept-encoding", "gzip")
            .header(
                "user-agent",
                "kube-controller-manager/v1.36.3 (linux/amd64)",
            )
            .header("authorization", self.tokens.get(number % TOKENS).unwrap())
            .body(())
            .unwrap()
    }

    fn head(&self, number: usize) -> Head {
        Head::split(self.request(number)).unwrap().0
    }

    fn identity(&self, head: &Head) -> Identity {
        let credential = Credential::extract(head.headers(), WebSocket::No).unwrap();
        self.authn.authenticate(&credential, clock::now()).unwrap()
    }

    fn permit(&self, head: &Head, identity: Identity) -> Permit {
        let Target::Cluster(cluster) = self.router.route(head) else {
            unreachable!()
        };
        let purpose = Purpose::Cluster(cluster);
        let rest = purpose.rest(head);
        let info = RequestInfo::parse(head.method().as_str(), &rest, false).unwrap();
        let actor = self
            .authz
            .act(identity, None, &purpose, &self.authn)
            .unwrap();
        let asked = Asked {
            info,
            follows: false,
            purpose,
        };
        match self.authz.authorize(actor, asked).unwrap() {
            Permitted::Cluster(permit) => permit,
            Permitted::Own(_) => unreachable!(),
        }
    }

    fn outbound(&self, head: Head, permit: Permit) -> Box<Outbound> {
        let hop = Hop {
            id: RequestId::new().header_value(),
            peer: HeaderValue::from_static("10.1.2.3"),
            trace: None,
        };
        Outbound::build(head, permit, &self.facts, hop).unwrap()
    }
}

fn steps(c: &mut Criterion) {
    let world = world();
    let mut turn = 0_usize;
    let mut next = || {
        turn = turn.wrapping_add(7919);
        turn
    };
    let mut group = c.benchmark_group("request");
    group.bench_function("token/parse", |b| {
        b.iter(|| {
            let text = world.tokens.get(next() % TOKENS).unwrap();
            TokenText::parse(black_box(text.trim_start_matches("Bearer ")))
        });
    });
    group.bench_function("head", |b| {
        b.iter_batched(|| world.request(next()), Head::split, BatchSize::SmallInput);
    });
    group.bench_function("identity", |b| {
        b.iter_batched(
            || world.head(next()),
            |head| (world.identity(&head), head),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("info", |b| {
        let rest = TARGET.trim_start_matches("/k8s/clusters/prod");
        b.iter(|| RequestInfo::parse("GET", black_box(rest), false).is_ok());
    });
    group.bench_function("permit", |b| {
        b.iter_batched(
            || {
                let head = world.head(next());
                (world.identity(&head), head)
            },
            |(identity, head)| (world.permit(&head, identity), head),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("outbound", |b| {
        b.iter_batched(
            || {
                let head = world.head(next());
                let permit = world.permit(&head, world.identity(&head));
                (head, permit)
            },
            |(head, permit)| world.outbound(head, permit),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("whole", |b| {
        b.iter_batched(
            || world.request(next()),
            |request| {
                let (head, ()) = Head::split(request).unwrap();
                let permit = world.permit(&head, world.identity(&head));
                world.outbound(head, permit)
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(50);
    targets = steps
}
criterion_main!(benches);
