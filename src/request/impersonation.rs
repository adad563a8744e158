//! What the `Impersonate-*` headers ask for (`kubectl --as`), read as an API server reads them.
//!
//! Guarantees: every header whose name starts with `impersonate` is either read here or refuses the request;
//! none is passed over, also none that Kubernetes invents later (H2, H3). A key of
//! `Impersonate-Extra-<key>` is what `k8s.io/apiserver` makes of it: lower-case first, then percent-decoded,
//! and kept as it stands if that fails (H9).
//!
//! What an attacker would try: a thousand groups, each of which somebody has to judge (H11: bounded before
//! anything is judged), a value that is one thing here and another behind a hop that trims blanks (refused).
//!
//! Left to others: whether the caller may (`authz`).

use http::{HeaderMap, HeaderName, HeaderValue};
use std::fmt;

/// What every header of impersonation starts with.
const PREFIX: &str = "impersonate";
/// Groups of one request. A person holds a handful; each costs a decision here and a header on the way.
pub const MAX_GROUPS: usize = 32;
/// Values of extras of one request, over all keys; the same.
pub const MAX_EXTRAS: usize = 32;
/// Bytes of one name, uid, key or value. Handles and groups have 63, uids 36; scopes are longer.
pub const MAX_BYTES: usize = 512;
/// Bytes of a header's name that a message shows.
const SHOWN: usize = 80;

/// Why such headers are refused, whoever sends them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImpersonationError {
    /// A header that this gateway gives no meaning.
    #[error(
        "the header {0} is not known to this gateway, and without it the request would mean something else"
    )]
    Unknown(Shown),
    /// Group, uid or extra alone.
    #[error("requested a group, uid or extra without impersonating a user")]
    NoUser,
    /// Twice, where one is meant.
    #[error("the header {0} was sent twice")]
    Twice(Shown),
    /// Empty where a name must be, an extra without a key.
    #[error("the header {0} says nothing")]
    Empty(Shown),
    /// Not UTF-8, or with blanks at an end, which are lost on the way over HTTP/1.1.
    #[error("the header {0} must be UTF-8 without blanks at its ends")]
    Text(Shown),
    /// Longer than [`MAX_BYTES`].
    #[error("the header {0} is longer than {MAX_BYTES} bytes")]
    TooLong(Shown),
    /// More than [`MAX_GROUPS`].
    #[error("more than {MAX_GROUPS} groups to act in (--as-group)")]
    TooManyGroups,
    /// More than [`MAX_EXTRAS`].
    #[error("more than {MAX_EXTRAS} values of extras to act with (--as-user-extra)")]
    TooManyExtras,
    /// On a path where nobody can be acted as.
    #[error("nobody logs in as somebody else: leave the Impersonate headers out")]
    NotHere,
}

/// A header's name in a message: strangers choose it, and logs hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown(Box<str>);

impl From<&HeaderName> for Shown {
    fn from(name: &HeaderName) -> Self {
        // Header names are ASCII.
        Self(name.as_str().get(..SHOWN).unwrap_or(name.as_str()).into())
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// As whom a request asks to be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Impersonation {
    /// `Impersonate-User`
    pub user: Box<str>,
    /// `Impersonate-Group`, in order. Empty: the user's own.
    pub groups: Vec<Box<str>>,
    /// `Impersonate-Uid`
    pub uid: Option<Box<str>>,
    /// `Impersonate-Extra-…`
    pub extras: Vec<Extra>,
}

/// One value of one extra.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extra {
    /// The header as it came: what a cluster decodes to the same key.
    pub header: HeaderName,
    /// The key that an API server makes of it.
    pub key: Box<str>,
    /// May be empty.
    pub value: Box<str>,
}

impl Impersonation {
    /// Reads all headers; `None` if none is about impersonation, which is nearly every request.
    ///
    /// # Errors
    /// [`ImpersonationError`]: the message must be answered 400 (403 for too many).
    pub fn read(headers: &HeaderMap) -> Result<Option<Self>, ImpersonationError> {
        if !headers.keys().any(|name| name.as_str().starts_with(PREFIX)) {
            return Ok(None);
        }
        let mut user = None;
        let mut uid = None;
        let mut groups = Vec::new();
        let mut extras = Vec::new();
        for (name, value) in headers {
            let Some(rest) = name.as_str().strip_prefix(PREFIX) else {
                continue;
            };
            match rest {
                "-user" => once(&mut user, name, value)?,
                "-uid" => once(&mut uid, name, value)?,
                "-group" if groups.len() == MAX_GROUPS => {
                    return Err(ImpersonationError::TooManyGroups);
                }
                "-group" => groups.push(named(name, value)?),
                other => match other.strip_prefix("-extra-") {
                    Some(_) if extras.len() == MAX_EXTRAS => {
                        return Err(ImpersonationError::TooManyExtras);
                    }
                    Some(key) => extras.push(extra(name, key, value)?),
                    None => return Err(ImpersonationError::Unknown(name.into())),
                },
            }
        }
        let user = user.ok_or(ImpersonationError::NoUser)?;
        Ok(Some(Self {
            user,
            groups,
            uid,
            extras,
        }))
    }
}

fn once(
    slot: &mut Option<Box<str>>,
    name: &HeaderName,
    value: &HeaderValue,
) -> Result<(), ImpersonationError> {
    match slot.replace(named(name, value)?) {
        Some(_) => Err(ImpersonationError::Twice(name.into())),
        None => Ok(()),
    }
}

/// Upstream takes an empty user or uid for none at all; whoever sends one meant something else.
fn named(name: &HeaderName, value: &HeaderValue) -> Result<Box<str>, ImpersonationError> {
    match text(name, value)? {
        "" => Err(ImpersonationError::Empty(name.into())),
        text => Ok(text.into()),
    }
}

fn extra(name: &HeaderName, key: &str, value: &HeaderValue) -> Result<Extra, ImpersonationError> {
    if key.is_empty() {
        return Err(ImpersonationError::Empty(name.into()));
    }
    if key.len() > MAX_BYTES {
        return Err(ImpersonationError::TooLong(name.into()));
    }
    Ok(Extra {
        header: name.clone(),
        key: key_of(key).ok_or_else(|| ImpersonationError::Text(name.into()))?,
        value: text(name, value)?.into(),
    })
}

fn text<'v>(name: &HeaderName, value: &'v HeaderValue) -> Result<&'v str, ImpersonationError> {
    if value.len() > MAX_BYTES {
        return Err(ImpersonationError::TooLong(name.into()));
    }
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) if text.trim_ascii().len() == text.len() => Ok(text),
        Ok(_) | Err(_) => Err(ImpersonationError::Text(name.into())),
    }
}

/// Go's `url.PathUnescape`, with the text itself if that fails (`unescapeExtraKey` upstream). Header names
/// are lower-case already. `None`: the key is not UTF-8, and every reader would make another thing of it.
fn key_of(encoded: &str) -> Option<Box<str>> {
    match unescape(encoded.as_bytes()) {
        Some(bytes) => String::from_utf8(bytes).ok().map(String::into_boxed_str),
        None => Some(encoded.into()),
    }
}

/// `None` if a `%` is not followed by two hex digits.
fn unescape(encoded: &[u8]) -> Option<Vec<u8>> {
    let hex = |byte: &u8| char::from(*byte).to_digit(16);
    let mut out = Vec::with_capacity(encoded.len());
    let mut rest = encoded.iter();
    while let Some(&byte) = rest.next() {
        if byte == b'%' {
            let code = hex(rest.next()?)? * 16 + hex(rest.next()?)?;
            out.push(u8::try_from(code).ok()?);
        } else {
            out.push(byte);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Option<Impersonation>, ImpersonationError> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        Impersonation::read(&headers)
    }

    fn name(text: &'static str) -> Shown {
        Shown(text.into())
    }

    #[test]
    fn all_four_are_read() {
        let read = read(&[
            ("accept", "*/*"),
            ("Impersonate-User", "jane"),
            ("Impersonate-Group", "devs"),
            ("Impersonate-Group", "a,b"),
            ("Impersonate-Uid", "1-2"),
            ("Impersonate-Extra-Scopes", "View"),
            ("Impersonate-Extra-Scopes", ""),
        ]);
        let read = read.unwrap().unwrap();
        assert_eq!(&*read.user, "jane");
        // A comma is part of the name.
        assert_eq!(read.groups, ["devs".into(), "a,b".into()]);
        assert_eq!(read.uid.as_deref(), Some("1-2"));
        let extras: Vec<_> = read.extras.iter().map(|e| (&*e.key, &*e.value)).collect();
        assert_eq!(extras, [("scopes", "View"), ("scopes", "")]);
    }

    #[test]
    fn a_request_that_asks_for_nothing_costs_no_memory() {
        let mut headers = HeaderMap::new();
        headers.insert("accept", HeaderValue::from_static("*/*"));
        let counted = allocation_counter::measure(|| {
            assert_eq!(Impersonation::read(&headers), Ok(None));
        });
        assert_eq!(counted.count_total, 0);
    }

    #[test]
    fn other_headers_ask_for_nothing() {
        assert_eq!(read(&[("accept", "*/*"), ("x-impersonate", "a")]), Ok(None));
    }

    // H9: the table of upstream's own tests (impersonation_test.go), and what clients escape.
    #[test]
    fn keys_are_decoded_as_upstream_decodes_them() {
        for (encoded, key) in [
            ("scopes", "scopes"),
            ("Scopes", "scopes"),
            (
                "example.com%2Fescaped%e1%9b%84scopes",
                "example.com/escaped\u{16c4}scopes",
            ),
            ("almost%zzpercent%xxencoded", "almost%zzpercent%xxencoded"),
            ("Almost%ZZ", "almost%zz"),
            ("%41bc", "Abc"),
            ("a+b", "a+b"),
            ("a%2", "a%2"),
            ("a%", "a%"),
            ("a%25b", "a%b"),
            ("%c3%a9", "\u{e9}"),
        ] {
            let header = format!("Impersonate-Extra-{encoded}");
            let read = read(&[("impersonate-user", "jane"), (&header, "v")]);
            assert_eq!(&*read.unwrap().unwrap().extras[0].key, key, "{encoded}");
        }
    }

    #[test]
    fn what_cannot_be_obeyed_is_refused() {
        use ImpersonationError as E;
        let jane = ("impersonate-user", "jane");
        let long = "x".repeat(MAX_BYTES + 1);
        let table: [(&[(&str, &str)], E); 13] = [
            // H3, H6: a header of tomorrow, and one spelt oddly.
            (
                &[jane, ("Impersonate-Foo", "x")],
                E::Unknown(name("impersonate-foo")),
            ),
            (
                &[("Impersonate_User", "x")],
                E::Unknown(name("impersonate_user")),
            ),
            (
                &[jane, ("Impersonate-Extra", "x")],
                E::Unknown(name("impersonate-extra")),
            ),
            (&[("Impersonate-Group", "x")], E::NoUser),
            (&[("Impersonate-Uid", "x")], E::NoUser),
            (&[("Impersonate-Extra-A", "x")], E::NoUser),
            // H7.
            (&[jane, jane], E::Twice(name("impersonate-user"))),
            (
                &[("Impersonate-User", "")],
                E::Empty(name("impersonate-user")),
            ),
            (
                &[jane, ("Impersonate-Group", "")],
                E::Empty(name("impersonate-group")),
            ),
            (
                &[jane, ("Impersonate-Extra-", "x")],
                E::Empty(name("impersonate-extra-")),
            ),
            (
                &[jane, ("Impersonate-Extra-A", " x")],
                E::Text(name("impersonate-extra-a")),
            ),
            (
                &[jane, ("Impersonate-Extra-%ff", "x")],
                E::Text(name("impersonate-extra-%ff")),
            ),
            (
                &[jane, ("Impersonate-Group", &long)],
                E::TooLong(name("impersonate-group")),
            ),
        ];
        for (pairs, error) in table {
            assert_eq!(read(pairs), Err(error), "{pairs:?}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(
            "impersonate-user",
            HeaderValue::from_bytes(b"\xff").unwrap(),
        );
        assert_eq!(
            Impersonation::read(&headers),
            Err(E::Text(name("impersonate-user")))
        );
    }

    // H11.
    #[test]
    fn groups_and_extras_are_bounded() {
        for (header, most, error) in [
            (
                "impersonate-group",
                MAX_GROUPS,
                ImpersonationError::TooManyGroups,
            ),
            (
                "impersonate-extra-a",
                MAX_EXTRAS,
                ImpersonationError::TooManyExtras,
            ),
        ] {
            let mut pairs = vec![("impersonate-user", "jane")];
            pairs.extend(std::iter::repeat_n((header, "x"), most));
            assert!(read(&pairs).is_ok());
            pairs.push((header, "x"));
            assert_eq!(read(&pairs), Err(error));
        }
    }
}
