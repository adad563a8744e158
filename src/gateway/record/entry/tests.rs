//! docs/audit.md is made here: what an event holds, with events as they are written.

use super::*;
use crate::{
    authn::{Authn, Credential, TokenText, WebSocket},
    gateway::answer::Fault,
    objects::{
        Group, GroupSpec, Kind, Member, Nothing, Stored, Token, TokenKind, TokenPrivate, TokenSpec,
        User as UserObject, UserPrivate, UserSpec,
    },
    status::Reason,
    store::{KeyValue, follow::Change},
};
use http::{HeaderMap, header};
use std::fmt::Write as _;

const UID: &str = "5f1c2f0e-7a53-4c1e-9d0b-0d9f3c1f6a11";
const TOKEN_ID: &str = "7gk2m0c9q4x1v8zt";

/// What the store would say: jane, her token, her group.
struct World {
    index: Arc<Index>,
    jane: Identity,
    token_id: String,
}

impl World {
    fn new() -> Self {
        let index = Arc::new(Index::new());
        index.set_loaded();
        let mut user = UserObject::new("jane", UserSpec::default());
        user.metadata.uid = UID.to_owned();
        put(&index, "jane", user, UserPrivate::default());
        let jane = Member {
            name: "jane".to_owned(),
            uid: UID.to_owned(),
        };
        let spec = GroupSpec {
            members: vec![jane.clone()],
            ..GroupSpec::default()
        };
        let mut group = Group::new("developers", spec);
        group.metadata.uid = "a group".to_owned();
        put(&index, "developers", group, Nothing::default());
        let text = TokenText::generate(TokenKind::Pat).unwrap();
        let spec = TokenSpec {
            user: jane,
            expires_at: Some(Timestamp::MAX),
            ..TokenSpec::default()
        };
        let private = TokenPrivate {
            sha256: text.sha256_hex(),
            ..TokenPrivate::default()
        };
        let token_id = text.id().to_string();
        put(&index, &token_id, Token::new(&token_id, spec), private);
        let mut headers = HeaderMap::new();
        let bearer = format!("Bearer {}", text.expose());
        headers.insert(header::AUTHORIZATION, bearer.parse().unwrap());
        let credential = Credential::extract(&headers, WebSocket::No).unwrap();
        let authn = Authn::new(Arc::clone(&index));
        let jane = authn.authenticate(&credential, Timestamp::UNIX_EPOCH);
        Self {
            index,
            jane: jane.ok().unwrap(),
            token_id,
        }
    }

    fn line(&self, entry: &Entry) -> String {
        let mut line = Vec::new();
        entry.write(&self.index, &mut line);
        let line = String::from_utf8(line).unwrap();
        line.replace(&self.token_id, TOKEN_ID)
    }
}

fn put<K: Kind>(index: &Index, name: &str, object: K, private: K::Private) {
    let put = KeyValue {
        key: K::key(name),
        value: Stored::new(object, private).encode().into(),
        create_revision: 1,
        mod_revision: 1,
        version: 1,
    };
    index.apply(&Change::Put(put)).unwrap();
}

/// A list of Pods by jane.
fn list(world: &World) -> Entry {
    let mut words = Words::default();
    for (word, text) in [
        (
            Word::Target,
            "/k8s/clusters/prod/api/v1/namespaces/web/pods?limit=500",
        ),
        (
            Word::Agent,
            "kubectl/v1.36.2 (linux/amd64) kubernetes/5d1f9c3",
        ),
        (Word::Cluster, "prod"),
        (Word::Verb, "list"),
        (Word::Version, "v1"),
        (Word::Resource, "pods"),
        (Word::Namespace, "web"),
    ] {
        words.keep(word, text);
    }
    Entry {
        id: RequestId::from_u128(0x0193_6a52_7c1b_7d3e_9f4a_1b2c_3d4e_5f60),
        stage: Stage::ResponseComplete,
        arrived: "2026-11-26T09:30:00.123456Z".parse().unwrap(),
        at: "2026-11-26T09:30:00.140001Z".parse().unwrap(),
        took: Duration::from_micros(16_545),
        peer: "192.0.2.17".parse().unwrap(),
        method: Method::GET,
        words,
        hidden: 0,
        who: Some(world.jane.clone()),
        login: Seen::default(),
        acts_as: None,
        allowed_by: Some("cluster-viewer".into()),
        code: 200,
        failure: None,
        sent: 48_211,
        received: 0,
        exit: None,
        ended: true,
        left_out: 0,
    }
}

/// The end of an exec.
fn exec(world: &World) -> Entry {
    let mut entry = list(world);
    for (word, text) in [
        (
            Word::Target,
            "/k8s/clusters/prod/api/v1/namespaces/web/pods/shop-0/exec?container=main&stdout=true",
        ),
        (Word::Verb, "get"),
        (Word::Name, "shop-0"),
        (Word::Subresource, "exec"),
    ] {
        entry.words.keep(word, text);
    }
    Entry {
        at: "2026-11-26T09:31:12.500000Z".parse().unwrap(),
        took: Duration::from_millis(72_377),
        hidden: 3,
        allowed_by: Some("cluster-member".into()),
        code: 101,
        sent: 1_932,
        received: 411,
        exit: Some(Exit::Code(7)),
        ..entry
    }
}

/// A refusal by policy.
fn refused(world: &World) -> Entry {
    let mut entry = list(world);
    let target = "/k8s/clusters/prod/api/v1/namespaces/web/secrets";
    entry.words.keep(Word::Target, target);
    entry.words.keep(Word::Resource, "secrets");
    let text = "authorisation: secrets is forbidden: User \"jane\" cannot list resource \"secrets\" in API \
        group \"\" in the namespace \"web\": no role of yours on cluster \"prod\" allows it";
    Entry {
        allowed_by: None,
        code: 403,
        sent: 410,
        failure: Some(Failure {
            kind: FailureKind::Forbidden,
            fault: Fault::Client,
            reason: Some(Reason::Forbidden),
            text: text.to_owned(),
        }),
        ..entry
    }
}

/// A login with a wrong password.
fn login(world: &World) -> Entry {
    let mut words = Words::default();
    words.keep(Word::Target, "/v1/login/password");
    words.keep(Word::Agent, "palisade/0.1.0");
    Entry {
        method: Method::POST,
        words,
        who: None,
        login: Seen {
            deed: Some(Deed::Login),
            tried: Some(Arc::clone(world.jane.user())),
            ..Seen::default()
        },
        allowed_by: None,
        code: 401,
        sent: 142,
        failure: Some(Failure {
            kind: FailureKind::Other,
            fault: Fault::Client,
            reason: Some(Reason::Unauthorized),
            text: "login: login refused: wrong password".to_owned(),
        }),
        ..list(world)
    }
}

/// A request without a credential, after some more.
fn stranger(world: &World) -> Entry {
    Entry {
        who: None,
        allowed_by: None,
        code: 401,
        sent: 129,
        left_out: 412,
        failure: Some(Failure {
            kind: FailureKind::Other,
            fault: Fault::Client,
            reason: Some(Reason::Unauthorized),
            text: "authentication: credential refused: no credential".to_owned(),
        }),
        ..list(world)
    }
}

fn markdown() -> String {
    let world = World::new();
    let mut text = include_str!("preface.md").to_owned();
    text.push_str("\n## Annotations\n\n| annotation | what it says |\n|---|---|\n");
    for note in Note::ALL {
        let _ = writeln!(text, "| `{}` | {} |", note.key(), note.doc());
    }
    text.push_str("\n## Examples\n\nEach is one line in the file.\n");
    for (what, entry) in [
        ("A list of Pods", list(&world)),
        (
            "The end of a command in a Pod, whose arguments are not told",
            exec(&world),
        ),
        ("A refusal", refused(&world)),
        ("A login with a wrong password", login(&world)),
        ("A stranger, after 412 others", stranger(&world)),
    ] {
        let line = pretty(&world.line(&entry));
        let _ = write!(text, "\n{what}:\n\n```json\n{line}\n```\n");
    }
    text
}

/// The line with its top level broken, in the order in which it is written.
fn pretty(line: &str) -> String {
    let (mut text, mut depth, mut quoted, mut escaped) = (String::new(), 0, false, false);
    for c in line.trim_end().chars() {
        if c == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = quoted && c == '\\' && !escaped;
        let breaks =
            !quoted && (depth == 1 && c == ',' || depth == 2 && c == ',' && is_note(&text));
        match c {
            '{' | '[' if !quoted => depth += 1,
            '}' | ']' if !quoted => depth -= 1,
            _ => {}
        }
        if c == '}' && depth == 0 {
            text.push('\n');
        }
        text.push(c);
        if c == '{' && depth == 1 {
            text.push_str("\n  ");
        } else if breaks {
            text.push_str(if depth == 1 { "\n  " } else { "\n    " });
        } else if !quoted && matches!(c, ',' | ':') {
            text.push(' ');
        }
    }
    text
}

/// Whether the text so far is within the annotations, which come last.
fn is_note(text: &str) -> bool {
    text.contains("\"annotations\"")
}

#[test]
fn events_are_as_documented() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/audit.md");
    let made = markdown();
    #[expect(clippy::disallowed_methods, reason = "a test's own switch")]
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == made,
        "docs/audit.md is old: UPDATE_DOCS=1 cargo test events_are_as_documented"
    );
}

#[test]
fn a_line_is_a_line_and_bounded_whatever_a_client_sends() {
    let world = World::new();
    let mut entry = refused(&world);
    let long = "\n\u{2028}\"\\\u{0}€".repeat(20_000);
    for word in [
        Word::Target,
        Word::Agent,
        Word::Cluster,
        Word::Verb,
        Word::Group,
        Word::Version,
        Word::Resource,
        Word::Subresource,
        Word::Namespace,
        Word::Name,
    ] {
        entry.words.keep(word, &long);
    }
    entry.failure.as_mut().unwrap().text = long;
    let line = world.line(&entry);
    assert_eq!(line.find('\n'), Some(line.len() - 1));
    assert!(line.len() < 40_000, "{}", line.len());
    serde_json::from_str::<serde_json::Value>(&line).unwrap();
}
