//! Rounds of refreshing, against directories that answer some of it.

use super::{
    super::{
        fake::{SEARCH, Server, bound, entry, provider, result, settings},
        record_key,
    },
    *,
};
use crate::{
    authn::TokenText,
    config,
    objects::{Kind as _, Member, Stored, Token, TokenPrivate, TokenSpec},
    store::follow::Change,
};
use jiff::SignedDuration;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Seconds since the accounts were read.
const OLD: i64 = 1_000;

fn id(number: usize) -> String {
    format!("00000000-0000-0000-0000-{number:012}")
}

struct World {
    refresher: Refresher,
    provider: Arc<Provider>,
    _folder: tempfile::TempDir,
}

impl World {
    /// A provider whose directory answers searches like this.
    async fn new(answer: impl Fn(&str) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Self {
        let server = Server::start(move |operation, text| match operation {
            SEARCH => answer(text),
            _ => bound(0),
        })
        .await;
        let folder = tempfile::tempdir().unwrap();
        let ldap = settings(folder.path(), &[server.host]);
        let index = Arc::new(Index::new());
        Self {
            refresher: Refresher {
                providers: Arc::new(Providers::new(Arc::clone(&index))),
                index,
                store: Store::memory(),
                keyring: Arc::new(Keyring::generate(&folder.path().join("keys")).unwrap()),
                ends: Arc::default(),
                unsaved: Arc::default(),
                claims: Arc::default(),
            },
            provider: Arc::new(Provider::new("corp", &provider(ldap))),
            _folder: folder,
        }
    }

    async fn read_all(&self, accounts: &[Arc<Account>]) -> bool {
        let directory = self.provider.directory().unwrap();
        let all = self.refresher.read_all(&self.provider, directory, accounts);
        all.await
    }

    fn account(&self, provider: &str, number: usize) -> Arc<Account> {
        let user = Member {
            name: format!("{provider}:u{number}"),
            uid: String::new(),
        };
        let at = clock::now() - SignedDuration::from_secs(OLD);
        let record = Record::new(user, &format!("u{number}"), Vec::new(), at);
        let accounts = self.refresher.index.accounts();
        accounts.account((provider, &id(number)), record, 1, None)
    }

    fn accounts(&self, count: usize) -> Vec<Arc<Account>> {
        (0..count)
            .map(|number| self.account("corp", number))
            .collect()
    }
}

fn was_read(account: &Account) -> bool {
    account.age(clock::now()).as_secs() < OLD.unsigned_abs() / 2
}

/// All accounts that a search asks for by their ids; without any it asks for groups.
fn asked(search: &str) -> Vec<usize> {
    let parts = search.split("00000000-0000-0000-0000-").skip(1);
    parts.map(|part| part[..12].parse().unwrap()).collect()
}

#[tokio::test]
async fn an_account_that_cannot_be_read_fails_alone() {
    const NO_ID: usize = 3;
    const ODD_DN: usize = 60;
    const SIZE_LIMIT: usize = 61;
    const ODD_GROUP: usize = 62;
    let world = World::new(|search| {
        let accounts = asked(search);
        let mut answers = Vec::new();
        for number in &accounts {
            let (id, uid) = (id(*number), format!("u{number}"));
            let dn = format!("uid={uid},dc=a").into_bytes();
            answers.push(match *number {
                NO_ID => entry(&dn, &[("uid", &uid)]),
                ODD_DN => entry(b"\xff", &[("entryUUID", &id), ("uid", &uid)]),
                _ => entry(&dn, &[("entryUUID", &id), ("uid", &uid)]),
            });
        }
        let is_of = |number: usize| search.contains(&format!("uid=u{number},dc=a"));
        if is_of(ODD_GROUP) {
            answers.push(entry(b"cn=g", &[("entryUUID", &id(7))]));
        }
        answers.push(result(0x65, if is_of(SIZE_LIMIT) { 4 } else { 0 }));
        answers
    })
    .await;
    let accounts = world.accounts(BATCH * 2 + 20);
    assert!(world.read_all(&accounts).await);
    let odd = [NO_ID, ODD_DN, SIZE_LIMIT, ODD_GROUP];
    for (number, account) in accounts.iter().enumerate() {
        let is_odd = odd.contains(&number);
        assert_eq!(was_read(account), !is_odd, "{number}");
        // It is not tried with every request.
        assert_eq!(account.may_be_read(), !is_odd, "{number}");
    }
    let failed = world.refresher.ends.at(RefreshEnd::Failed).unwrap();
    assert_eq!(failed.get(), 4);
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_asked_for_one_batch() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let world = World::new(move |_| {
        count.fetch_add(1, Relaxed);
        // insufficientAccessRights
        vec![result(0x65, 50)]
    })
    .await;
    let accounts = world.accounts(BATCH * 3);
    assert!(!world.read_all(&accounts).await);
    assert_eq!(asked.load(Relaxed), 1);
    assert!(
        accounts
            .iter()
            .all(|account| account.may_be_read() && !was_read(account))
    );
}

#[tokio::test]
async fn where_no_account_can_be_read_the_round_ends_and_the_next_begins_behind_it() {
    let world = World::new(|search| {
        let found = asked(search).into_iter();
        let mut answers: Vec<_> = found.map(|_| entry(b"uid=x,dc=a", &[])).collect();
        answers.push(result(0x65, 0));
        answers
    })
    .await;
    let accounts = world.accounts(MAX_ALONE + BATCH);
    assert!(!world.read_all(&accounts).await);
    let (tried, left) = accounts.split_at(MAX_ALONE);
    assert!(tried.iter().all(|account| !account.may_be_read()));
    assert!(left.iter().all(|account| account.may_be_read()));
}

#[tokio::test]
async fn a_turn_that_panics_is_over_and_the_next_one_comes_after_a_pause() {
    let world = World::new(|_| Vec::new()).await;
    tokio::time::pause();
    let running = Arc::new(Running::default());
    let turn = || {
        running
            .turn(Arc::clone(&world.provider), world.accounts(1))
            .ok()
    };
    let first = turn().unwrap();
    assert!(turn().is_none(), "it is being asked");
    let lost = tokio::spawn(async move {
        let _turn = first;
        panic!("as a library might");
    });
    assert!(lost.await.is_err());
    assert!(turn().is_none(), "it has just failed");
    tokio::time::advance(PAUSE).await;
    turn().unwrap().end(true);
    assert!(
        turn().is_some(),
        "who answers is asked as often as there is need"
    );
}

#[tokio::test(start_paused = true)]
async fn accounts_that_requests_want_again_and_again_do_not_put_off_the_look() {
    let world = World::new(|_| Vec::new()).await;
    let (index, refresher) = (&world.refresher.index, &world.refresher);
    let all = [("corp".to_owned(), world.provider.config.clone())];
    refresher.providers.replace(&all.into_iter().collect());
    let mut wanted = index.accounts().take_queue().unwrap();
    let account = world.account("corp", 1);
    let requests = async {
        loop {
            account.answered();
            assert!(account.judge(clock::now()).is_ok());
            sleep(LOOK / 10).await;
        }
    };
    // A look finds nothing here; what requests want is never nothing.
    let looks = async {
        let mut look = interval_at(Instant::now() + LOOK, LOOK);
        while !refresher.next(&mut wanted, &mut look).await.is_empty() {}
    };
    tokio::select! {
        looked = tokio::time::timeout(LOOK * 3, looks) => looked.expect("it looks"),
        () = requests => unreachable!(),
    }
}

impl World {
    /// Writes it, and has the index know of it.
    async fn put(&self, key: &str, value: Vec<u8>) {
        let store = &self.refresher.store;
        store.txn(Txn::new().put(key, value)).await.unwrap();
        let kv = store.get(key).await.unwrap().unwrap();
        self.refresher.index.apply(&Change::Put(kv)).unwrap();
    }

    async fn grant(&self, number: usize) -> Option<String> {
        let key = record_key("corp", &id(number));
        let kv = self.refresher.store.get(&key).await.unwrap().unwrap();
        Record::decode(&key, &kv.value).unwrap().grant
    }
}

// O6
#[tokio::test]
async fn what_no_session_needs_any_more_is_kept_for_a_day() {
    let world = World::new(|_| Vec::new()).await;
    let now = clock::now();
    let days = |count: i64| now - SignedDuration::from_hours(24 * count);
    for (number, read) in [(1, days(2)), (2, days(2)), (3, days(0))] {
        let user = Member {
            name: format!("corp:u{number}"),
            uid: format!("uid-{number}"),
        };
        let record = Record::new(user.clone(), "u", Vec::new(), read);
        let record = record.granted(Some("v1.sealed".to_owned()));
        let key = record_key("corp", &id(number));
        world.put(&key, record.encode()).await;
        if number == 1 {
            let spec = TokenSpec {
                user,
                expires_at: Some(now + SignedDuration::from_hours(1)),
                ..TokenSpec::default()
            };
            let text = TokenText::generate(spec.kind).unwrap();
            let token = Token::new(text.id().as_str(), spec);
            let private = TokenPrivate {
                sha256: text.sha256_hex(),
                ..TokenPrivate::default()
            };
            let key = Token::key(text.id().as_str());
            world.put(&key, Stored::new(token, private).encode()).await;
        }
    }
    world.refresher.sweep(now).await;
    assert!(world.grant(1).await.is_some(), "a token needs it");
    assert_eq!(world.grant(2).await, None);
    assert!(
        world.grant(3).await.is_some(),
        "its session may be under way"
    );
}

// L4: whoever the filter for logins does not find any more has no session to go on with.
#[tokio::test]
async fn who_could_not_log_in_any_more_is_gone() {
    let mut world = World::new(|search| {
        let dn = b"uid=u1,dc=a";
        let found = entry(dn, &[("entryUUID", &id(1)), ("uid", "u1")]);
        // The filter of whoever may log in, with a name that is there and is not asked for.
        let filtered =
            search.contains("employeeType\u{4}\u{6}person") && !search.contains("{login}");
        assert!(asked(search).is_empty() || filtered, "{search:?}");
        let left = asked(search).contains(&2);
        let found = (!asked(search).is_empty() && !left).then_some(found);
        found.into_iter().chain([result(0x65, 0)]).collect()
    })
    .await;
    let config::Source::Ldap(mut ldap) = world.provider.config.source.clone() else {
        panic!("it is a directory");
    };
    ldap.login_filter = Some("(&(employeeType=person)(uid={login}))".to_owned());
    world.provider = Arc::new(Provider::new("corp", &provider(ldap)));
    for (number, expected) in [(1, Standing::Active), (2, Standing::Gone)] {
        let account = world.account("corp", number);
        let user = account.record.user.clone();
        let value = account.record.encode();
        let key = record_key("corp", &account.id);
        let store = &world.refresher.store;
        store.txn(Txn::new().put(key.clone(), value)).await.unwrap();
        let revision = store.get(&key).await.unwrap().unwrap().mod_revision;
        let record = account.record.clone();
        let accounts = world.refresher.index.accounts();
        let account = accounts.account(("corp", &account.id), record, revision, None);
        assert!(world.read_all(&[account]).await);
        let kv = store.get(&key).await.unwrap().unwrap();
        let record = Record::decode(&key, &kv.value).unwrap();
        assert_eq!((record.standing, record.user), (expected, user));
    }
}

#[tokio::test]
async fn no_account_is_due_before_half_of_its_interval_however_short_that_is() {
    let world = World::new(|_| Vec::new()).await;
    for seconds in [5, 6, 10, 300] {
        let mut config = world.provider.config.clone();
        config.refresh_interval = Duration::from_secs(seconds);
        let all = [("corp".to_owned(), config)].into();
        world.refresher.providers.replace(&all);
        for number in 0..50 {
            let account = world.account("corp", number);
            let said = account.record.checked_at;
            let at = |seconds: u64| said + SignedDuration::from_secs(seconds.cast_signed());
            assert!(!is_due(&account, at(seconds.div_ceil(2) - 1)), "{seconds}");
            assert!(is_due(&account, at(seconds)), "{seconds}");
        }
    }
}
