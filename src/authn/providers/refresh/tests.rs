//! Rounds of refreshing, against directories that answer some of it.

use super::{super::ldap::tests::settings, *};
use crate::{
    authn::TokenText,
    config::{self, Access, AccessMode, Host, Transport},
    objects::{Kind as _, Member, Stored, Token, TokenPrivate, TokenSpec},
    store::follow::Change,
};
use jiff::SignedDuration;
use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Seconds since the accounts were read.
const OLD: i64 = 1_000;

fn id(number: usize) -> String {
    format!("00000000-0000-0000-0000-{number:012}")
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x82][..], &length, content].concat()
}

fn result(tag: u8, code: u8) -> Vec<u8> {
    tlv(tag, &[0x0a, 1, code, 4, 0, 4, 0])
}

/// What a search finds, as a message has it.
fn entry(dn: &[u8], values: &[(&str, &str)]) -> Vec<u8> {
    let attributes = values.iter().flat_map(|(name, value)| {
        let values = tlv(0x31, &tlv(4, value.as_bytes()));
        tlv(0x30, &[tlv(4, name.as_bytes()), values].concat())
    });
    let attributes: Vec<u8> = attributes.collect();
    tlv(0x64, &[tlv(4, dn), tlv(0x30, &attributes)].concat())
}

/// Answers searches by what is written in them.
async fn serve(mut stream: TcpStream, answer: impl Fn(&str) -> Vec<Vec<u8>>) {
    let mut got = Vec::new();
    while let Ok(1..) = stream.read_buf(&mut got).await {
        loop {
            let (head, length) = match got.get(1) {
                Some(short @ ..=0x7f) => (2, usize::from(*short)),
                Some(size) if got.len() > 2 + usize::from(size & 0x7f) => {
                    let size = usize::from(size & 0x7f);
                    let bytes = got[2..2 + size].iter();
                    (
                        2 + size,
                        bytes.fold(0, |sum, byte| (sum << 8) | usize::from(*byte)),
                    )
                }
                _ => break,
            };
            if got.len() < head + length {
                break;
            }
            let message: Vec<u8> = got.drain(..head + length).skip(head).collect();
            let (number, operation) = message.split_at(2 + usize::from(message[1]));
            let answers = match operation[0] {
                0x60 => vec![result(0x61, 0)],
                0x63 => answer(&String::from_utf8_lossy(operation)),
                _ => continue,
            };
            for answer in answers {
                let whole = tlv(0x30, &[number, &answer].concat());
                stream.write_all(&whole).await.unwrap();
            }
        }
    }
}

fn provider(ldap: config::Ldap) -> config::Provider {
    config::Provider {
        display_name: String::new(),
        primary: false,
        disabled: false,
        access: Access {
            mode: AccessMode::DangerAnyone,
            users: Vec::new(),
            groups: Vec::new(),
        },
        refresh_interval: time::Duration::from_mins(5),
        refresh_max_age: time::Duration::from_hours(1),
        source: config::Source::Ldap(ldap),
    }
}

struct World {
    refresher: Refresher,
    provider: Arc<Provider>,
    _folder: tempfile::TempDir,
}

impl World {
    /// A provider whose directory answers searches like this.
    async fn new(answer: impl Fn(&str) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answer = Arc::clone(&answer);
                tokio::spawn(async move { serve(stream, &*answer).await });
            }
        });
        let folder = tempfile::tempdir().unwrap();
        let mut ldap = settings(folder.path(), Transport::DangerPlaintext, &[]);
        ldap.timeout = time::Duration::from_secs(20);
        ldap.connect_timeout = ldap.timeout;
        ldap.hosts = vec![Host {
            name: "127.0.0.1".to_owned(),
            port,
        }];
        let index = Arc::new(Index::new());
        Self {
            refresher: Refresher {
                providers: Arc::new(Providers::new(Arc::clone(&index))),
                index,
                store: Store::memory(),
                keyring: Arc::new(Keyring::generate(&folder.path().join("keys")).unwrap()),
                ends: Arc::default(),
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
        let key = super::super::record_key("corp", &id(number));
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
        let key = super::super::record_key("corp", &id(number));
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
