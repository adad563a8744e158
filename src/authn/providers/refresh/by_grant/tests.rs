//! Reading accounts again by what their logins left, at an issuer whose refresh tokens count once.

use super::*;
use crate::{
    authn::{Index, providers::Providers},
    config::{self, Access, AccessMode, Client, Link, SigningAlgorithm},
    objects::Member,
    store::{Store, Txn, seal::Keyring},
};
use jiff::SignedDuration;
use serde_json::json;
use std::sync::{Mutex, MutexGuard};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

const SUBJECT: &str = "5f1c";
/// How old the issuer's last word is: a minute older than it may be.
const AGE: SignedDuration = SignedDuration::from_mins(6);

#[derive(Default)]
struct State {
    url: String,
    /// The token that counts.
    good: String,
    /// Refresh tokens that were asked with, in their order.
    asked: Vec<String>,
    /// What it says in place of tokens.
    refusal: Option<(u16, &'static str)>,
    silent_of_groups: bool,
    /// It gives no other token in place of the one that it was asked with.
    keeps_tokens: bool,
    /// It takes the token, and breaks the connection off.
    breaks_off: bool,
    /// Where it says that its tokens are given.
    token_endpoint: Option<String>,
}

mod claims;
mod store;

/// An issuer that ends the login of whoever brings a token twice.
struct Issuer {
    state: Arc<Mutex<State>>,
    /// Answers of the token endpoint that it may give.
    turns: Arc<Semaphore>,
}

impl Issuer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State {
            url,
            good: "r0".to_owned(),
            ..State::default()
        }));
        let turns = Arc::new(Semaphore::new(1_000));
        let (own, own_turns) = (Arc::clone(&state), Arc::clone(&turns));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&own), Arc::clone(&own_turns)));
            }
        });
        Self { state, turns }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    async fn until_asked(&self, times: usize) {
        while self.state().asked.len() < times {
            tokio::task::yield_now().await;
        }
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>, turns: Arc<Semaphore>) {
    let mut got = Vec::new();
    while let Ok(1..) = stream.read_buf(&mut got).await {
        let text = String::from_utf8_lossy(&got).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let mut lines = head.lines();
        let path = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
        let length = lines.find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().unwrap())
        });
        if body.len() < length.unwrap_or(0) {
            continue;
        }
        let (status, said) = state.lock().unwrap().answer(&path, body);
        if path == "/token" {
            turns.acquire().await.unwrap().forget();
            if state.lock().unwrap().breaks_off {
                return;
            }
        }
        let said = said.to_string();
        let answer = format!(
            "HTTP/1.1 {status} Said\r\ncontent-length: {}\r\n\r\n{said}",
            said.len()
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        got.clear();
    }
}

impl State {
    fn answer(&mut self, path: &str, body: &str) -> (u16, serde_json::Value) {
        let url = &self.url;
        let token_endpoint = format!("{url}/token");
        let token_endpoint = self.token_endpoint.as_ref().unwrap_or(&token_endpoint);
        match path {
            "/.well-known/openid-configuration" => (
                200,
                json!({
                    "issuer": url, "jwks_uri": format!("{url}/jwks"),
                    "authorization_endpoint": format!("{url}/authorize"),
                    "token_endpoint": token_endpoint,
                    "userinfo_endpoint": format!("{url}/userinfo"),
                }),
            ),
            "/token" => {
                let mut pairs = url::form_urlencoded::parse(body.as_bytes());
                let token = pairs.find(|(name, _)| name == "refresh_token").unwrap().1;
                self.asked.push(token.to_string());
                if let Some((status, error)) = self.refusal {
                    return (status, json!({"error": error}));
                }
                if token != *self.good {
                    self.good.clear();
                    return (400, json!({"error": "invalid_grant"}));
                }
                if self.keeps_tokens {
                    return (200, json!({"access_token": "a", "token_type": "Bearer"}));
                }
                self.good = format!("r{}", self.asked.len());
                let tokens = json!({
                    "access_token": "a", "token_type": "Bearer", "refresh_token": self.good,
                });
                (200, tokens)
            }
            "/userinfo" if self.silent_of_groups => (200, json!({"sub": SUBJECT})),
            "/userinfo" => (
                200,
                json!({"sub": SUBJECT, "preferred_username": "jane", "groups": ["ops"]}),
            ),
            other => panic!("{other}"),
        }
    }
}

/// Somebody who has logged in at an issuer, and a gateway of possibly several replicas.
struct World {
    issuer: Issuer,
    config: config::Provider,
    keyring: Arc<Keyring>,
    store: Store,
    key: String,
    id: Box<str>,
    _folder: tempfile::TempDir,
}

/// One of the replicas.
struct Replica {
    refresher: Refresher,
    provider: Arc<Provider>,
}

impl World {
    /// The issuer was asked for the last time [`AGE`] ago.
    async fn new() -> Self {
        let issuer = Issuer::start().await;
        let url = issuer.state().url.clone();
        let folder = tempfile::tempdir().unwrap();
        let keyring = Arc::new(Keyring::generate(&folder.path().join("keys")).unwrap());
        let id = crate::authn::providers::oidc::account_id(&url, SUBJECT);
        let world = Self {
            config: provider(url),
            key: record_key("sso", &id),
            store: Store::memory(),
            issuer,
            keyring,
            id,
            _folder: folder,
        };
        let user = Member {
            name: "sso:jane".to_owned(),
            uid: "uid-jane".to_owned(),
        };
        let record = Record::new(user, "jane", Vec::new(), clock::now() - AGE);
        let sealed = world.seal("r0");
        world.put(record.granted(Some(sealed))).await;
        world
    }

    fn seal(&self, token: &str) -> String {
        let grant: Grant = serde_json::from_value(json!(token)).unwrap();
        let provider = Provider::new("sso", &self.config);
        grant.seal(&self.keyring, &self.key, &provider).unwrap()
    }

    fn replica(&self) -> Replica {
        let index = Arc::new(Index::new());
        let providers = Arc::new(Providers::new(Arc::clone(&index)));
        providers.replace(&[("sso".to_owned(), self.config.clone())].into());
        Replica {
            provider: providers.get("sso").unwrap(),
            refresher: Refresher {
                providers,
                index,
                store: self.store.clone(),
                keyring: Arc::clone(&self.keyring),
                ends: Arc::default(),
                unsaved: Arc::default(),
                claims: Arc::default(),
            },
        }
    }

    async fn put(&self, record: Record) {
        let txn = Txn::new().put(self.key.clone(), record.encode());
        self.store.txn(txn).await.unwrap();
    }

    async fn record(&self) -> (Record, u64) {
        let kv = self.store.get(&self.key).await.unwrap().unwrap();
        let record = Record::decode(&self.key, &kv.value).unwrap();
        (record, kv.mod_revision)
    }

    /// The token that is at rest.
    async fn grant(&self) -> String {
        let sealed = self.record().await.0.grant.unwrap();
        let grant = Grant::open(
            &self.keyring,
            &sealed,
            &self.key,
            &Provider::new("sso", &self.config),
        )
        .unwrap();
        grant.expose().to_owned()
    }

    /// The account as a replica knows it now that has heard of everything.
    async fn account(&self, of: &Replica) -> Arc<Account> {
        let (record, revision) = self.record().await;
        let accounts = of.refresher.index.accounts();
        accounts.account(("sso", &self.id), record, revision, None)
    }

    /// A replica, and the account as it knows it.
    async fn reader(&self) -> (Replica, Arc<Account>) {
        let replica = self.replica();
        let account = self.account(&replica).await;
        (replica, account)
    }

    /// Holds that a replica which is to read the account asks nobody, and ends the login.
    async fn ends_unasked(&self) {
        let (replica, account) = self.reader().await;
        assert!(replica.read(&account).await);
        assert!(self.issuer.state().asked.is_empty());
        let (record, _) = self.record().await;
        assert_eq!((record.standing, record.grant), (Standing::Ended, None));
    }
}

impl Replica {
    async fn read(&self, account: &Arc<Account>) -> bool {
        let accounts = [Arc::clone(account)];
        let end = CancellationToken::new();
        let refresher = &self.refresher;
        Box::pin(refresher.read_each(&self.provider, &accounts, &end)).await
    }
}

fn provider(issuer: String) -> config::Provider {
    let oidc = config::Oidc {
        issuer,
        client: Client {
            id: "palisade".to_owned(),
            secret_file: None,
        },
        scopes: Vec::new(),
        prompt: None,
        handle_claim: "preferred_username".to_owned(),
        display_name_claim: "name".to_owned(),
        groups_claim: Some("groups".to_owned()),
        userinfo: true,
        algorithms: vec![SigningAlgorithm::Es256],
        link: Link {
            ca_file: None,
            connect_timeout: Duration::from_secs(20),
            timeout: Duration::from_secs(20),
            danger_plain_http: true,
        },
    };
    config::Provider {
        display_name: String::new(),
        primary: false,
        disabled: false,
        access: Access {
            mode: AccessMode::DangerAnyone,
            users: Vec::new(),
            groups: Vec::new(),
        },
        refresh_interval: Duration::from_mins(5),
        refresh_max_age: Duration::from_hours(1),
        source: config::Source::Oidc(oidc),
    }
}

/// What was said then.
fn as_of(mut record: Record, checked_at: Timestamp) -> Record {
    record.checked_at = checked_at;
    record
}

fn asked(tokens: &[&str]) -> Vec<String> {
    tokens.iter().map(ToString::to_string).collect()
}

// L4: requests that found an account old have it read once, however often it was wanted meanwhile.
#[tokio::test]
async fn one_word_is_enough_for_all_that_were_wanted_before_it() {
    let world = World::new().await;
    let (replica, account) = world.reader().await;
    // As it stood in the queue, before the first word was heard of, and as it is known after it.
    for _ in 0..20 {
        assert!(replica.read(&account).await);
    }
    assert_eq!(world.issuer.state().asked, asked(&["r0"]));
    assert_eq!(world.grant().await, "r1");
    let later = world.account(&replica).await;
    assert!(replica.read(&later).await);
    assert_eq!(world.issuer.state().asked, asked(&["r0"]));
    // Nor where another replica has heard it.
    let other = world.replica();
    let theirs = other.refresher.index.accounts();
    let record = account.record.clone();
    let theirs = theirs.account(("sso", &world.id), record, 1, None);
    assert!(other.read(&theirs).await);
    assert_eq!(world.issuer.state().asked, asked(&["r0"]));
}

// L4: what a replica has heard and not written, as nothing was new, is as young as what is written.
#[tokio::test]
async fn a_word_that_was_heard_again_is_young() {
    let world = World::new().await;
    let (_replica, account) = world.reader().await;
    let (known, _) = world.record().await;
    let now = clock::now();
    assert!(!is_young(&account, &known, now));
    account.confirm(now);
    assert!(is_young(&account, &known, now));
    // Of what somebody else has written meanwhile nothing was heard.
    assert!(!is_young(&account, &known.with_password(7), now));
}

// L4: the old token is of no use any more once the new one was given.
#[tokio::test]
async fn a_new_token_is_kept_where_somebody_else_has_written_the_record_meanwhile() {
    let world = World::new().await;
    let (replica, account) = world.reader().await;
    for (login, kept) in [(None, "r1"), (Some("of-a-login"), "of-a-login")] {
        world.issuer.turns.forget_permits(1_000);
        let before = world.issuer.state().asked.len();
        let meanwhile = async {
            world.issuer.until_asked(before + 1).await;
            let (record, _) = world.record().await;
            let grant = login.map(|text| world.seal(text));
            let grant = grant.or_else(|| record.grant.clone());
            world.put(record.with_password(7).granted(grant)).await;
            world.issuer.turns.add_permits(1_000);
        };
        let (read, ()) = tokio::join!(replica.read(&account), meanwhile);
        assert!(read);
        let (record, _) = world.record().await;
        assert_eq!(
            (world.grant().await.as_str(), record.password_epoch),
            (kept, 7)
        );
        // The word was not written: the next round asks again.
        world.put(record.with_password(0)).await;
    }
}

// L4: also where nothing else of the answer can be used.
#[tokio::test]
async fn a_new_token_is_kept_whatever_else_went_wrong() {
    for somebody_writes in [false, true] {
        let world = World::new().await;
        world.issuer.state().silent_of_groups = true;
        let (replica, account) = world.reader().await;
        world.issuer.turns.forget_permits(1_000);
        let meanwhile = async {
            world.issuer.until_asked(1).await;
            let (record, _) = world.record().await;
            if somebody_writes {
                world.put(record.with_password(7)).await;
            }
            world.issuer.turns.add_permits(1_000);
        };
        let (read, ()) = tokio::join!(replica.read(&account), meanwhile);
        assert!(read);
        assert!(!account.may_be_read(), "it could not be read");
        assert_eq!(world.grant().await, "r1");
        let (record, _) = world.record().await;
        assert_eq!(record.password_epoch, u64::from(somebody_writes) * 7);
        assert_eq!((record.asked_at, record.groups), (None, Vec::new()));
    }
}

#[tokio::test]
async fn who_must_log_in_anew_at_the_issuer_must_do_so_here() {
    for error in [
        "invalid_grant",
        "interaction_required",
        "login_required",
        "consent_required",
    ] {
        let world = World::new().await;
        world.issuer.state().refusal = Some((400, error));
        let (replica, account) = world.reader().await;
        assert!(replica.read(&account).await, "{error}");
        let (record, _) = world.record().await;
        assert_eq!(
            (record.standing, record.grant),
            (Standing::Ended, None),
            "{error}"
        );
    }
    let world = World::new().await;
    world.issuer.state().refusal = Some((400, "temporarily_unavailable"));
    let (replica, account) = world.reader().await;
    assert!(replica.read(&account).await);
    assert_eq!(world.record().await.0.standing, Standing::Active);
}

// L6: a provider of the same name that is somewhere else from now on is sent nothing of its predecessor's.
#[tokio::test]
async fn a_token_goes_to_whom_it_came_from_and_for_the_same_client_alone() {
    for change in [
        |oidc: &mut config::Oidc| oidc.client.id = "another".to_owned(),
        |oidc: &mut config::Oidc| oidc.issuer += "/other",
    ] {
        let mut world = World::new().await;
        let config::Source::Oidc(oidc) = &mut world.config.source else {
            panic!("it is an OpenID provider");
        };
        change(oidc);
        world.ends_unasked().await;
    }
}

// A token of GitHub's is as good after the stop as before.
#[tokio::test]
async fn a_stop_waits_for_no_answer_that_cannot_bring_a_new_token() {
    let mut world = World::new().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let config::Source::Oidc(oidc) = &world.config.source else {
        panic!("it is an OpenID provider");
    };
    world.config.source = config::Source::Github(config::Github {
        url: url.clone(),
        api_url: url,
        client: oidc.client.clone(),
        organizations: Vec::new(),
        device_flow: false,
        link: oidc.link.clone(),
    });
    let (record, _) = world.record().await;
    let sealed = world.seal("gho");
    world.put(record.granted(Some(sealed))).await;
    let (replica, account) = world.reader().await;
    let end = CancellationToken::new();
    let running = tokio::spawn(replica.refresher.clone().run(end.clone()));
    assert!(account.judge(clock::now()).is_ok());
    let asked = silent.accept().await.unwrap();
    end.cancel();
    // An answer would have twenty seconds.
    let ended = tokio::time::timeout(Duration::from_secs(5), running).await;
    ended.unwrap().unwrap();
    drop(asked);
}
