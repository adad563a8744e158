//! A directory of tests: a server on loopback that answers what is asked as a test has it, and notes it.

use crate::config::{
    self, Access, AccessMode, DirectoryKind, GroupLookup, Host, Ldap as Settings, Transport,
};
use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

pub(crate) const BIND: u8 = 0x60;
pub(crate) const SEARCH: u8 = 0x63;
/// What the account that searches is called, and its password: no log may hold that.
pub(crate) const GATE: &str = "cn=gate";
pub(crate) const SECRET: &str = "correct horse gate";

pub(crate) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x82][..], &length, content].concat()
}

/// A result of this operation, with this code.
pub(crate) fn result(tag: u8, code: u8) -> Vec<u8> {
    tlv(tag, &[0x0a, 1, code, 4, 0, 4, 0])
}

/// The end of a bind.
pub(crate) fn bound(code: u8) -> Vec<Vec<u8>> {
    vec![result(0x61, code)]
}

/// What a search finds, and its end.
pub(crate) fn found(entries: impl IntoIterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
    entries.into_iter().chain([result(0x65, 0)]).collect()
}

/// A search that comes to nothing.
pub(crate) fn given_up(code: u8) -> Vec<Vec<u8>> {
    vec![result(0x65, code)]
}

/// What a search finds, as a message has it.
pub(crate) fn entry(dn: &[u8], values: &[(&str, &str)]) -> Vec<u8> {
    let attributes = values.iter().flat_map(|(name, value)| {
        let values = tlv(0x31, &tlv(4, value.as_bytes()));
        tlv(0x30, &[tlv(4, name.as_bytes()), values].concat())
    });
    let attributes: Vec<u8> = attributes.collect();
    tlv(0x64, &[tlv(4, dn), tlv(0x30, &attributes)].concat())
}

/// What was asked, by the tag of the operation.
pub(crate) type Asked = Arc<Mutex<Vec<(u8, String)>>>;

/// The server.
pub(crate) struct Server {
    pub(crate) host: Host,
    asked: Asked,
}

impl Server {
    /// One that answers an operation, by its tag and its bytes as far as they are text, with these messages; with none
    /// it is silent.
    pub(crate) async fn start(
        answer: impl Fn(u8, &str) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = Host {
            name: "127.0.0.1".to_owned(),
            port: listener.local_addr().unwrap().port(),
        };
        let asked = Asked::default();
        let (answer, noted) = (Arc::new(answer), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, asked) = (Arc::clone(&answer), Arc::clone(&noted));
                tokio::spawn(async move { serve(stream, &*answer, &asked).await });
            }
        });
        Self { host, asked }
    }

    /// How often it was asked for this with this text in it.
    pub(crate) fn count(&self, operation: u8, text: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        let asked = asked.iter();
        asked
            .filter(|(tag, it)| *tag == operation && it.contains(text))
            .count()
    }
}

/// The head of a value: where its content begins, and how long it is; none: it is not whole.
fn head(bytes: &[u8]) -> Option<(usize, usize)> {
    match bytes.get(1)? {
        short @ ..=0x7f => Some((2, usize::from(*short))),
        size => {
            let size = usize::from(size & 0x7f);
            let bytes = bytes.get(2..2 + size)?.iter();
            let length = bytes.fold(0, |sum, byte| (sum << 8) | usize::from(*byte));
            Some((2 + size, length))
        }
    }
}

async fn serve(
    mut stream: TcpStream,
    answer: &(dyn Fn(u8, &str) -> Vec<Vec<u8>> + Send + Sync),
    asked: &Mutex<Vec<(u8, String)>>,
) {
    let mut got = Vec::new();
    while let Ok(1..) = stream.read_buf(&mut got).await {
        while let Some((head, length)) = head(&got)
            && got.len() >= head + length
        {
            let message: Vec<u8> = got.drain(..head + length).skip(head).collect();
            let (number, operation) = message.split_at(2 + usize::from(message[1]));
            let text = String::from_utf8_lossy(operation).into_owned();
            let answers = answer(operation[0], &text);
            asked.lock().unwrap().push((operation[0], text));
            for answer in answers {
                let whole = tlv(0x30, &[number, &answer].concat());
                if stream.write_all(&whole).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Settings for these servers, in the clear, with files in a folder.
pub(crate) fn settings(folder: &Path, hosts: &[Host]) -> Settings {
    let secret = folder.join("secret");
    std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
    Settings {
        directory: DirectoryKind::Openldap,
        hosts: hosts.to_vec(),
        srv_domain: None,
        name_server: None,
        transport: Transport::DangerPlaintext,
        ca_file: None,
        bind_dn: GATE.to_owned(),
        bind_password_file: secret,
        base_dn: "dc=a".to_owned(),
        user_base_dn: "dc=a".to_owned(),
        group_base_dn: "dc=a".to_owned(),
        login_filter: None,
        handle_attribute: "uid".to_owned(),
        group_lookup: GroupLookup::Search,
        connect_timeout: Duration::from_secs(20),
        timeout: Duration::from_secs(20),
    }
}

/// A provider whose accounts may all log in.
pub(crate) fn provider(ldap: Settings) -> config::Provider {
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
        source: config::Source::Ldap(ldap),
    }
}
