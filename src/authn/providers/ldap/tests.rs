//! Directories that misbehave: what they get to see, and how long they can hold anybody up.

use super::{
    failure::{BrokenError, ConnectError},
    *,
};
use crate::config::{GroupLookup, Host, Transport};
use hickory_resolver::proto::{
    op::{Message, OpCode},
    rr::{
        RData, Record, RecordType,
        rdata::{A, SRV},
    },
};
use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
};

/// Holds what no log may hold.
const PASSWORD: &str = "correct horse gate";
const BIND_OK: &[u8] = b"\x61\x07\x0a\x01\x00\x04\x00\x04\x00";
const SEARCH_DONE: &[u8] = b"\x65\x07\x0a\x01\x00\x04\x00\x04\x00";
/// An extended response: protocolError.
const NO_STARTTLS: &[u8] = b"\x78\x07\x0a\x01\x02\x04\x00\x04\x00";
const BIND: u8 = 0x60;
const SEARCH: u8 = 0x63;
const EXTENDED: u8 = 0x77;

/// A server on loopback that answers each message by its tag, or not at all.
pub(in crate::authn) struct Fake {
    host: Host,
    /// All that it got.
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Fake {
    async fn start(answer: impl Fn(u8) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = Host {
            name: "127.0.0.1".to_owned(),
            port: listener.local_addr().unwrap().port(),
        };
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, noted) = (Arc::new(answer), Arc::clone(&seen));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, seen) = (Arc::clone(&answer), Arc::clone(&noted));
                tokio::spawn(async move { serve(stream, &*answer, &seen).await });
            }
        });
        Self { host, seen }
    }

    fn saw(&self, text: &str) -> bool {
        let seen = self.seen.lock().unwrap();
        let mut parts = seen.windows(text.len());
        parts.any(|part| part == text.as_bytes())
    }

    fn saw_nothing(&self) -> bool {
        self.seen.lock().unwrap().is_empty()
    }
}

async fn serve(
    mut stream: TcpStream,
    answer: &(dyn Fn(u8) -> Option<Vec<u8>> + Send + Sync),
    seen: &Mutex<Vec<u8>>,
) {
    let mut buffer = vec![0; 4096];
    // Messages of the gateway are short, and each comes in one piece.
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        let message = &buffer[..read];
        seen.lock().unwrap().extend_from_slice(message);
        // 30 len 02 01 id tag: ids and lengths below 128, but for searches, which say theirs in more bytes.
        let content = match message[1] {
            0x81 => 3,
            0x82 => 4,
            0x84 => 6,
            _ => 2,
        };
        let Some(&[2, 1, id, tag]) = message.get(content..content + 4) else {
            continue;
        };
        let Some(answer) = answer(tag) else {
            continue;
        };
        let length = u8::try_from(3 + answer.len()).unwrap();
        let mut whole = vec![0x30, length, 2, 1, id];
        whole.extend(answer);
        if stream.write_all(&whole).await.is_err() {
            return;
        }
    }
}

/// Settings for these servers, with files in a folder.
pub(in crate::authn) fn settings(
    folder: &std::path::Path,
    transport: Transport,
    hosts: &[&Fake],
) -> Settings {
    let secret = folder.join("secret");
    std::fs::write(&secret, format!("{PASSWORD}\n")).unwrap();
    Settings {
        directory: DirectoryKind::Openldap,
        hosts: hosts.iter().map(|fake| fake.host.clone()).collect(),
        srv_domain: None,
        name_server: None,
        transport,
        ca_file: None,
        bind_dn: "cn=gate".to_owned(),
        bind_password_file: secret,
        base_dn: "dc=a".to_owned(),
        user_base_dn: "dc=a".to_owned(),
        group_base_dn: "dc=a".to_owned(),
        login_filter: None,
        handle_attribute: "uid".to_owned(),
        group_lookup: GroupLookup::Search,
        connect_timeout: Duration::from_millis(300),
        timeout: Duration::from_millis(300),
    }
}

async fn find(settings: Settings) -> Result<Option<Found>, Failure> {
    Directory::new(settings).find("jane").await
}

// L5: a directory that does without TLS gets no password, whatever it says.
#[tokio::test]
async fn no_password_is_sent_without_tls() {
    let folder = tempfile::tempdir().unwrap();
    // Takes everything in the clear, and says no to StartTLS.
    let open = |tag| match tag {
        BIND => Some(BIND_OK.to_vec()),
        EXTENDED => Some(NO_STARTTLS.to_vec()),
        _ => Some(SEARCH_DONE.to_vec()),
    };
    for transport in [Transport::Ldaps, Transport::Starttls] {
        let fake = Fake::start(open).await;
        let found = find(settings(folder.path(), transport, &[&fake])).await;
        assert!(matches!(found, Err(Failure::Connect { .. })), "{found:?}");
        assert!(!fake.saw_nothing(), "it was asked for TLS");
        assert!(!fake.saw(PASSWORD) && !fake.saw("cn=gate"), "{transport:?}");
    }
    // The same server with the word that opens it: the test sees passwords where there are any.
    let fake = Fake::start(open).await;
    let found = find(settings(
        folder.path(),
        Transport::DangerPlaintext,
        &[&fake],
    ))
    .await;
    assert!(matches!(found, Ok(None)), "{found:?}");
    assert!(fake.saw(PASSWORD));
}

// L5: a certificate of another authority is no connection.
#[tokio::test]
async fn a_certificate_of_nobody_known_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let own = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let own = own.self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![own.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        acceptor.accept(stream).await.is_ok()
    });
    let fake = Fake::start(|_| None).await;
    let mut settings = settings(folder.path(), Transport::Ldaps, &[&fake]);
    settings.hosts[0].port = port;
    let failure = find(settings).await.unwrap_err();
    assert!(
        failure.chain().contains("UnknownIssuer"),
        "{}",
        failure.chain()
    );
    assert!(!served.await.unwrap(), "the handshake ended without us");
}

// L5: who is sent elsewhere does not go.
#[tokio::test]
async fn referrals_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = Fake::start(|_| Some(BIND_OK.to_vec())).await;
    let url = format!("ldap://{}/dc=a", elsewhere.host);
    let length = |text: &[u8]| u8::try_from(text.len()).unwrap();
    let mut referral = vec![4, length(url.as_bytes())];
    referral.extend(url.as_bytes());
    // resultCode referral, two empty texts, [3] the URLs.
    let mut done = vec![0x0a, 1, 10, 4, 0, 4, 0, 0xa3, length(&referral)];
    done.extend(&referral);
    let mut result = vec![0x65, length(&done)];
    result.extend(&done);
    // A reference to continue at ([APPLICATION 19]) on the way: passed over.
    let mut reference = vec![0x73, length(&referral)];
    reference.extend(&referral);
    let answers = [result, reference];
    for (index, answer) in answers.into_iter().enumerate() {
        let fake = Fake::start(move |tag| match tag {
            BIND => Some(BIND_OK.to_vec()),
            SEARCH => Some(answer.clone()),
            _ => None,
        })
        .await;
        let found = find(settings(
            folder.path(),
            Transport::DangerPlaintext,
            &[&fake],
        ))
        .await;
        match index {
            0 => assert!(
                matches!(found, Err(Failure::Answer { code: 10, .. })),
                "{found:?}"
            ),
            _ => assert!(matches!(found, Err(Failure::Broken { .. })), "{found:?}"),
        }
    }
    assert!(elsewhere.saw_nothing());
}

#[tokio::test]
async fn a_server_that_says_nothing_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let silent = Fake::start(|_| None).await;
    let began = Instant::now();
    let found = find(settings(folder.path(), Transport::Ldaps, &[&silent])).await;
    let Err(Failure::Connect { source, .. }) = found else {
        panic!("{found:?}");
    };
    assert!(matches!(source, ConnectError::Timeout(_)), "{source}");
    assert!(began.elapsed() < Duration::from_secs(5));
    // Silent after the bind: another connection is tried, once.
    let fake = Fake::start(|tag| (tag == BIND).then(|| BIND_OK.to_vec())).await;
    let found = find(settings(
        folder.path(),
        Transport::DangerPlaintext,
        &[&fake],
    ))
    .await;
    let Err(Failure::Broken { source, .. }) = found else {
        panic!("{found:?}");
    };
    assert!(matches!(source, BrokenError::Timeout(_)), "{source}");
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn the_next_server_is_asked_when_one_is_silent_or_breaks_off() {
    let folder = tempfile::tempdir().unwrap();
    let good = Fake::start(|tag| match tag {
        BIND => Some(BIND_OK.to_vec()),
        _ => Some(SEARCH_DONE.to_vec()),
    })
    .await;
    let silent = Fake::start(|tag| (tag == BIND).then(|| BIND_OK.to_vec())).await;
    // What is no LDAP.
    let odd = Fake::start(|_| Some(b"\xff\xff\xff\xff".to_vec())).await;
    for bad in [&silent, &odd] {
        let directory = Directory::new(settings(
            folder.path(),
            Transport::DangerPlaintext,
            &[bad, &good],
        ));
        let found = directory.find("jane").await;
        assert!(matches!(found, Ok(None)), "{found:?}");
        let before = bad.seen.lock().unwrap().len();
        let began = Instant::now();
        assert!(matches!(directory.find("jane").await, Ok(None)));
        assert!(matches!(directory.find("jane").await, Ok(None)));
        assert!(
            began.elapsed() < Duration::from_millis(300),
            "it is passed over"
        );
        assert_eq!(bad.seen.lock().unwrap().len(), before);
    }
}

// The account that searches must not be let in as nobody either (L1).
#[tokio::test]
async fn a_search_account_without_a_password_is_a_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let fake = Fake::start(|_| Some(BIND_OK.to_vec())).await;
    for text in ["", "\n", "  \n", "a\0b"] {
        let settings = settings(folder.path(), Transport::DangerPlaintext, &[&fake]);
        std::fs::write(&settings.bind_password_file, text).unwrap();
        assert!(Directory::check_files(&settings).is_err(), "{text:?}");
        assert!(matches!(find(settings).await, Err(Failure::File { .. })));
    }
    assert!(fake.saw_nothing());
}

#[test]
fn the_domain_of_a_base_is_found() {
    let dn = "OU=A\\,B,dc=corp,DC=example";
    assert_eq!(domain_dn(dn), "dc=corp,DC=example");
    assert_eq!(dns_name(dn), "corp.example");
    assert_eq!(domain_dn("o=x"), "o=x");
}

// L1
#[test]
fn what_a_directory_takes_for_nobody_is_no_password() {
    for text in ["", " ", "\t \n", "\0", "\0secret", "secret\0", "\u{a0}"] {
        assert!(is_no_password(text), "{text:?}");
    }
    for text in ["x", " x ", "密碼"] {
        assert!(!is_no_password(text), "{text:?}");
    }
}

/// A name server that knows these servers of `corp.example`, and that each of them is here.
async fn name_server(servers: Vec<SRV>) -> std::net::SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let asked = Message::from_vec(&buffer[..length]).unwrap();
            let query = asked.queries[0].clone();
            let mut answer = Message::response(asked.metadata.id, OpCode::Query);
            let name = query.name().clone();
            let record = |data| Record::from_rdata(name.clone(), 60, data);
            if query.query_type() == RecordType::SRV {
                answer.add_answers(servers.iter().cloned().map(|srv| record(RData::SRV(srv))));
            } else if query.query_type() == RecordType::A {
                answer.add_answer(record(RData::A(A::new(127, 0, 0, 1))));
            }
            answer.add_query(query);
            socket
                .send_to(&answer.to_vec().unwrap(), from)
                .await
                .unwrap();
        }
    });
    address
}

#[tokio::test]
async fn dns_names_the_servers_and_none_of_another_domain_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let answers = |tag| match tag {
        BIND => Some(BIND_OK.to_vec()),
        _ => Some(SEARCH_DONE.to_vec()),
    };
    let (near, far, foreign) = (
        Fake::start(answers).await,
        Fake::start(answers).await,
        Fake::start(answers).await,
    );
    let srv = |priority, server: &Fake, name: &str| {
        SRV::new(priority, 1, server.host.port, name.parse().unwrap())
    };
    let all = vec![
        srv(20, &far, "dc2.corp.example."),
        srv(10, &near, "DC1.Corp.Example."),
        srv(0, &foreign, "dc1.corp.example.evil.test."),
    ];
    let by_dns = |name_server| Settings {
        hosts: Vec::new(),
        srv_domain: Some("corp.example".to_owned()),
        name_server: Some(name_server),
        ..settings(folder.path(), Transport::DangerPlaintext, &[])
    };
    let found = find(by_dns(name_server(all).await)).await;
    assert!(matches!(found, Ok(None)), "{found:?}");
    assert!(near.saw(PASSWORD) && far.saw_nothing() && foreign.saw_nothing());
    // None that may be asked is no directory, and no "nobody".
    let none = name_server(vec![srv(0, &foreign, "evil.test.")]).await;
    let found = find(by_dns(none)).await;
    assert!(matches!(found, Err(Failure::Dns { .. })), "{found:?}");
    assert!(foreign.saw_nothing());
}
