//! Fills a store as large as asked, without a gateway: users, tokens, bindings, groups and clusters as the gateway
//! itself would write them.
//!
//! Every user holds a role on every cluster, so that each token may be used anywhere; further bindings are on one
//! cluster each. The *heavy* user has as many bindings as asked, the *crowd* user is in as many groups, each of
//! which has a binding. Beside the store: `tokens` and `strangers` (a line each; strangers' tokens are of the right
//! form and in no store), `admin`, `heavy` and `crowd` (one token each).

use anyhow::{Context as _, Result};
use futures_util::future::try_join_all;
use jiff::Timestamp;
use palisade::{
    authn::TokenText,
    clusters::credential::{self, ClusterCredential, HeldToken},
    config,
    objects::{
        Binding, BindingSpec, Cluster, ClusterPrivate, ClusterSpec, Group, GroupSpec, Kind, Member,
        Nothing, Role, RoleScope, RoleSpec, Stored, Subject, SubjectKind, Token, TokenKind,
        TokenPrivate, TokenSpec, User, UserPrivate, UserSpec, rules::PolicyRule,
    },
    serve::state::State,
    store::{MAX_TXN_OPS, Store, Txn, seal::Keyring},
};
use std::{fs, path::PathBuf};
use zeroize::Zeroizing;

/// Arguments of `seed`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the store and the lists of tokens go
    folder: PathBuf,
    /// The authority of both upstreams
    #[arg(long)]
    ca: PathBuf,
    /// Port of the upstream with HTTP/1.1: even clusters
    #[arg(long)]
    h1: u16,
    /// Port of the upstream with HTTP/2: odd clusters
    #[arg(long)]
    h2: u16,
    #[arg(long)]
    users: usize,
    #[arg(long)]
    tokens: usize,
    #[arg(long)]
    bindings: usize,
    #[arg(long)]
    clusters: usize,
    /// Bindings and groups of the heavy user
    #[arg(long)]
    heavy: usize,
}

/// Roles that bindings name; as many as an install of some size has.
const ROLES: usize = 20;
/// Tokens of strangers; more than a cache of refusals would hold by accident.
const STRANGERS: usize = 20_000;
/// Transactions in flight: the store writes them with one fsync.
const BATCH: usize = 64;

pub(crate) fn run(args: &Args) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(fill(args))
}

async fn fill(args: &Args) -> Result<()> {
    let state = State::open(&config::State {
        store: args.folder.join("state.db"),
        key_file: args.folder.join("keys"),
    })
    .await?;
    let mut writer = Writer {
        store: state.store.clone(),
        txn: Txn::new(),
        waiting: Vec::new(),
    };
    for number in 0..ROLES {
        writer.put(role(number), Nothing::default()).await?;
    }
    let ca = fs::read_to_string(&args.ca)?;
    for number in 0..args.clusters {
        let port = if number % 2 == 0 { args.h1 } else { args.h2 };
        let (cluster, private) = cluster(number, port, &ca, &state.keyring)?;
        writer.put(cluster, private).await?;
    }
    for number in 0..args.users {
        writer
            .put(user(&format!("user{number}")), password())
            .await?;
    }
    let mut texts = String::new();
    for number in 0..args.tokens {
        let text = writer
            .token(&format!("user{}", number % args.users))
            .await?;
        texts.push_str(&text);
        texts.push('\n');
    }
    for number in 0..args.bindings {
        let handle = format!("user{}", number % args.users);
        let everywhere = number < args.users;
        let spec = binding(&handle, number, everywhere, args.clusters);
        let binding = Binding::new(format!("b{number}"), spec);
        writer.put(binding, Nothing::default()).await?;
    }
    heavy(&mut writer, args).await?;
    writer.flush().await?;
    state.store.close().await;
    fs::write(args.folder.join("tokens"), texts)?;
    fs::write(args.folder.join("strangers"), strangers()?)?;
    for name in ["heavy", "crowd"] {
        fs::rename(
            args.folder.join(format!("{name}.new")),
            args.folder.join(name),
        )?;
    }
    // Last: what says that everything is there.
    fs::rename(args.folder.join("admin.new"), args.folder.join("admin"))?;
    Ok(())
}

/// The admin, the heavy user and the crowd user, with what they have many of.
async fn heavy(writer: &mut Writer, args: &Args) -> Result<()> {
    for (name, role) in [("admin", "admin"), ("heavy", "bench0"), ("crowd", "bench0")] {
        writer.put(user(name), password()).await?;
        let spec = BindingSpec {
            role: role.to_owned(),
            subject: subject(SubjectKind::User, name),
            all_clusters: name != "admin",
            ..BindingSpec::default()
        };
        let binding = Binding::new(format!("of-{name}"), spec);
        writer.put(binding, Nothing::default()).await?;
        let text = writer.token(name).await?;
        fs::write(args.folder.join(format!("{name}.new")), text)?;
    }
    for number in 0..args.heavy {
        let spec = binding("heavy", number, false, args.clusters);
        let held = Binding::new(format!("heavy{number}"), spec);
        writer.put(held, Nothing::default()).await?;
        let group = GroupSpec {
            members: vec![member("crowd")],
            ..GroupSpec::default()
        };
        writer
            .put(Group::new(format!("g{number}"), group), Nothing::default())
            .await?;
        let spec = BindingSpec {
            subject: Subject {
                kind: SubjectKind::Group,
                name: format!("g{number}"),
                uid: uid("group", &format!("g{number}")),
            },
            ..binding("", number, false, args.clusters)
        };
        let held = Binding::new(format!("crowd{number}"), spec);
        writer.put(held, Nothing::default()).await?;
    }
    Ok(())
}

/// Tokens that are in no store.
fn strangers() -> Result<String> {
    let mut texts = String::new();
    for _ in 0..STRANGERS {
        texts.push_str(TokenText::generate(TokenKind::Pat)?.expose());
        texts.push('\n');
    }
    Ok(texts)
}

struct Writer {
    store: Store,
    txn: Txn,
    waiting: Vec<Txn>,
}

impl Writer {
    async fn put<K: Kind>(&mut self, mut object: K, private: K::Private) -> Result<()> {
        let name = object.meta().name.clone();
        let meta = object.meta_mut();
        if meta.uid.is_empty() {
            // The uid is the name with a mark, so that no list of uids is held here.
            meta.uid = uid(K::SINGULAR, &name);
        }
        meta.creation_timestamp = Timestamp::from_second(1_760_000_000).ok();
        let txn = std::mem::take(&mut self.txn);
        self.txn = txn.put(K::key(&name), Stored::new(object, private).encode());
        if self.txn.ops.len() == MAX_TXN_OPS {
            self.waiting.push(std::mem::take(&mut self.txn));
        }
        if self.waiting.len() == BATCH {
            self.write().await?;
        }
        Ok(())
    }

    async fn token(&mut self, handle: &str) -> Result<String> {
        let text = TokenText::generate(TokenKind::Pat)?;
        let spec = TokenSpec {
            user: member(handle),
            display_name: "bench".to_owned(),
            expires_at: Some("2099-01-01T00:00:00Z".parse()?),
            ..TokenSpec::default()
        };
        let private = TokenPrivate {
            sha256: text.sha256_hex(),
            ..TokenPrivate::default()
        };
        self.put(Token::new(text.id().as_str(), spec), private)
            .await?;
        Ok(text.expose().to_owned())
    }

    async fn write(&mut self) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        let store = &self.store;
        try_join_all(waiting.into_iter().map(|txn| store.txn(txn))).await?;
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        self.waiting.push(std::mem::take(&mut self.txn));
        self.write().await
    }
}

fn uid(kind: &str, name: &str) -> String {
    // The length of a real one.
    format!("{kind}-{name:-<30}")
}

fn member(handle: &str) -> Member {
    Member {
        name: handle.to_owned(),
        uid: uid("user", handle),
    }
}

fn subject(kind: SubjectKind, name: &str) -> Subject {
    Subject {
        kind,
        name: name.to_owned(),
        uid: uid("user", name),
    }
}

fn user(handle: &str) -> User {
    User::new(handle, UserSpec::default())
}

fn password() -> UserPrivate {
    UserPrivate {
        // Nobody logs in.
        password: Some("$argon2id$".to_owned()),
        ..UserPrivate::default()
    }
}

fn binding(handle: &str, number: usize, everywhere: bool, clusters: usize) -> BindingSpec {
    let one = format!("c{}", number % clusters);
    BindingSpec {
        role: format!("bench{}", number % ROLES),
        subject: subject(SubjectKind::User, handle),
        all_clusters: everywhere,
        clusters: if everywhere { Vec::new() } else { vec![one] },
        ..BindingSpec::default()
    }
}

/// What a member of a team may: reading, and the streams.
fn role(number: usize) -> Role {
    let strings = |list: &[&str]| list.iter().map(ToString::to_string).collect();
    let rule = |groups: &[&str], resources: &[&str], verbs: &[&str]| PolicyRule {
        api_groups: strings(groups),
        resources: strings(resources),
        verbs: strings(verbs),
        ..PolicyRule::default()
    };
    let spec = RoleSpec {
        scope: RoleScope::Cluster,
        rules: vec![
            rule(&["apps", "batch"], &["*"], &["get", "list", "watch"]),
            rule(&[""], &["pods", "configmaps"], &["get", "list", "watch"]),
            rule(
                &[""],
                &["pods/exec", "pods/portforward"],
                &["get", "create"],
            ),
        ],
        ..RoleSpec::default()
    };
    Role::new(format!("bench{number}"), spec)
}

fn cluster(
    number: usize,
    port: u16,
    ca: &str,
    keyring: &Keyring,
) -> Result<(Cluster, ClusterPrivate)> {
    let name = format!("c{number}");
    let spec = ClusterSpec {
        server: format!("https://localhost:{port}"),
        ca: ca.to_owned(),
        ..ClusterSpec::default()
    };
    let mut cluster = Cluster::new(name.as_str(), spec);
    cluster.metadata.uid = uid("cluster", &name);
    cluster.status.synced_roles = (0..ROLES).map(|role| format!("bench{role}")).collect();
    // As long as the API server's own (about 900 bytes).
    let held = |name: &str| HeldToken {
        token: Zeroizing::new(format!("{name}.{}", "x".repeat(900))),
        issued_at: Timestamp::now(),
        expires_at: Timestamp::MAX,
    };
    let held = ClusterCredential {
        impersonator: held("impersonator"),
        reconciler: held("reconciler"),
    };
    let sealed = credential::seal(keyring, &cluster, &held).context("sealing")?;
    let private = ClusterPrivate {
        credential: Some(sealed),
    };
    Ok((cluster, private))
}
