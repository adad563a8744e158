//! Secrets at rest: AES-256-GCM under a key that is not in the store.
//!
//! A sealed text is `v1.<key id>.<base64url of nonce, ciphertext and tag>`. The key id is the beginning of
//! a hash of the key, so it cannot be set wrongly. Associated data bind a text to its place: a credential
//! copied to another cluster, or kept under a changed server URL, does not open.
//!
//! The key file has one key a line (32 bytes in base64), `#` begins a comment. The first key seals, all
//! open: to change the key, put the new one first and take the old one out once nothing needs it.
//!
//! What could go wrong: a gateway that starts with another key, cannot open what it has, and seals new
//! secrets beside it. [`Keyring::verify`] keeps a check value in the store and stops such a start. Nonces
//! are random, 96 bits: GCM's bound of 2^32 texts a key (NIST SP 800-38D, 8.3) is far away for credentials
//! that are sealed a few times a day, and for the proofs that each login gives (`authn::Device`): at a
//! hundred thousand logins a day, a century.

use super::{Store, StoreError, Txn};
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    digest::{SHA256, digest},
    rand,
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Where the check value lies.
const CHECK_KEY: &str = "/palisade/meta/keycheck";
/// What it says. Not secret: that it opens is the point.
const CHECK_TEXT: &[u8] = b"palisade keycheck";
/// Layout of the check value.
const CHECK_SCHEMA: u32 = 1;
/// Format of a sealed text.
const FORMAT: &str = "v1";
/// AES-256.
const KEY_BYTES: usize = 32;
/// Replicas that start at once may write the check value at once: the second finds the first's.
const CHECK_TRIES: usize = 3;

/// Why a secret cannot be sealed or opened. Says nothing of the secret.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The file system refuses.
    #[error("cannot {doing} the key file {}", path.display())]
    File {
        /// The key file.
        path: PathBuf,
        /// A verb.
        doing: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// A line of the key file is no key.
    #[error(
        "line {line} of the key file {} is not a key: 32 random bytes in base64, as `openssl rand -base64 32` makes them",
        path.display()
    )]
    NotAKey {
        /// The key file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// There is no key in it.
    #[error("the key file {} holds no key", path.display())]
    NoKey {
        /// The key file.
        path: PathBuf,
    },
    /// Sealed under a key that the file does not have.
    #[error("a secret in the store was sealed with key {id}, which is not in the key file")]
    UnknownKey {
        /// The key's id.
        id: String,
    },
    /// Not a sealed text, or not for this place, or changed.
    #[error("a sealed secret does not open: it was changed, or it belongs to another object")]
    DoesNotOpen,
    /// The check value is from a newer gateway.
    #[error("the store's key check is from a newer palisade: run that one")]
    Newer,
    /// The cryptographic library refuses.
    #[error("sealing failed")]
    Crypto,
    /// The store refuses.
    #[error("the store's key check cannot be read or written")]
    Store(#[from] StoreError),
}

struct Key {
    id: String,
    aead: RandomizedNonceKey,
}

/// The keys of a gateway; the first one seals. No `Debug`, no `Clone`.
pub struct Keyring {
    first: Key,
    others: Vec<Key>,
}

#[derive(Serialize, Deserialize)]
struct Check {
    schema: u32,
    sealed: String,
}

impl Keyring {
    /// Reads a key file.
    pub fn load(path: &Path) -> Result<Self, SealError> {
        let file_error = |doing| {
            let path = path.to_owned();
            move |source| SealError::File {
                path,
                doing,
                source,
            }
        };
        let text = Zeroizing::new(fs::read_to_string(path).map_err(file_error("read"))?);
        let mode = fs::metadata(path)
            .map_err(file_error("read"))?
            .permissions();
        if mode.mode() & 0o007 != 0 {
            tracing::warn!(file = %path.display(), "every user of this machine can read the key file");
        }
        let mut keys = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if !line.is_empty() {
                keys.push(Key::decode(line).ok_or(SealError::NotAKey {
                    path: path.to_owned(),
                    line: index + 1,
                })?);
            }
        }
        let mut keys = keys.into_iter();
        let first = keys.next().ok_or(SealError::NoKey {
            path: path.to_owned(),
        })?;
        Ok(Self {
            first,
            others: keys.collect(),
        })
    }

    /// Makes a key file with one new key, mode 0600; never writes over a file. A crash leaves none or a
    /// whole one: what is sealed with a key that is lost is lost.
    pub fn generate(path: &Path) -> Result<Self, SealError> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        rand::fill(bytes.as_mut_slice()).map_err(|_| SealError::Crypto)?;
        let line = Zeroizing::new(format!("{}\n", STANDARD.encode(bytes.as_slice())));
        write_new(path, line.as_bytes()).map_err(|source| SealError::File {
            path: path.to_owned(),
            doing: "make",
            source,
        })?;
        Self::load(path)
    }

    /// Seals `plaintext` for the place that `aad` names ([`associated`]).
    pub fn seal(&self, plaintext: &[u8], aad: &[u8]) -> Result<String, SealError> {
        let mut sealed = Zeroizing::new(plaintext.to_vec());
        let nonce = self
            .first
            .aead
            .seal_in_place_append_tag(Aad::from(aad), &mut *sealed)
            .map_err(|_| SealError::Crypto)?;
        let mut body = nonce.as_ref().to_vec();
        body.extend_from_slice(&sealed);
        let body = URL_SAFE_NO_PAD.encode(body);
        Ok(format!("{FORMAT}.{}.{body}", self.first.id))
    }

    /// Opens a sealed text at the place that it was sealed for.
    pub fn open(&self, sealed: &str, aad: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (key, body) = self.find(sealed)?;
        let bytes = URL_SAFE_NO_PAD
            .decode(body)
            .map_err(|_| SealError::DoesNotOpen)?;
        let (nonce, rest) = bytes
            .split_at_checked(NONCE_LEN)
            .ok_or(SealError::DoesNotOpen)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::DoesNotOpen)?;
        let mut buffer = Zeroizing::new(rest.to_vec());
        let length = key
            .aead
            .open_in_place(nonce, Aad::from(aad), &mut buffer)
            .map_err(|_| SealError::DoesNotOpen)?
            .len();
        buffer.truncate(length);
        Ok(buffer)
    }

    /// Whether the key of this text is here; a start asks it of each sealed text in the store.
    pub fn has_key_of(&self, sealed: &str) -> Result<(), SealError> {
        self.find(sealed).map(|_| ())
    }

    /// Whether a text should be sealed anew, because another key than the first one sealed it.
    pub fn is_old(&self, sealed: &str) -> bool {
        split(sealed).is_ok_and(|(id, _)| id != self.first.id)
    }

    /// Holds the keys against the store's check value, and writes it where there is none or an old one.
    /// An error must stop the start.
    pub async fn verify(&self, store: &Store) -> Result<(), SealError> {
        for _ in 0..CHECK_TRIES {
            let found = store.get(CHECK_KEY).await?;
            let revision = found.as_ref().map_or(0, |kv| kv.mod_revision);
            if let Some(kv) = found {
                let check: Check =
                    serde_json::from_slice(&kv.value).map_err(|_| SealError::DoesNotOpen)?;
                if check.schema > CHECK_SCHEMA {
                    return Err(SealError::Newer);
                }
                if *self.open(&check.sealed, CHECK_KEY.as_bytes())? != CHECK_TEXT {
                    return Err(SealError::DoesNotOpen);
                }
                if !self.is_old(&check.sealed) {
                    return Ok(());
                }
            }
            let check = Check {
                schema: CHECK_SCHEMA,
                sealed: self.seal(CHECK_TEXT, CHECK_KEY.as_bytes())?,
            };
            let value = serde_json::to_vec(&check).map_err(|_| SealError::Crypto)?;
            match store
                .txn(Txn::new().when(CHECK_KEY, revision).put(CHECK_KEY, value))
                .await
            {
                Ok(_) => return Ok(()),
                // Another replica was quicker: look again.
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(SealError::Store(StoreError::Busy))
    }

    fn find<'a>(&self, sealed: &'a str) -> Result<(&Key, &'a str), SealError> {
        let (id, body) = split(sealed)?;
        let mut keys = std::iter::once(&self.first).chain(&self.others);
        let key = keys.find(|key| key.id == id);
        let key = key.ok_or_else(|| SealError::UnknownKey { id: id.to_owned() })?;
        Ok((key, body))
    }
}

impl Key {
    fn decode(line: &str) -> Option<Self> {
        let bytes = Zeroizing::new(STANDARD.decode(line).ok()?);
        if bytes.len() != KEY_BYTES {
            return None;
        }
        let mut named = Zeroizing::new(b"palisade key id".to_vec());
        named.extend_from_slice(&bytes);
        let hash = digest(&SHA256, &named);
        let id = u64::from_be_bytes(*hash.as_ref().first_chunk()?);
        Some(Self {
            id: format!("{id:016x}"),
            aead: RandomizedNonceKey::new(&AES_256_GCM, &bytes).ok()?,
        })
    }
}

/// Writes a draft and gives it its name last; fails if the name is taken.
fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}.new", std::process::id()));
    let draft = PathBuf::from(draft);
    let mut options = fs::File::options();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    let written = file
        .write_all(content)
        .and_then(|()| file.sync_all())
        // Unlike a rename, a link never takes the place of a file.
        .and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft)?;
    written?;
    match path.parent() {
        Some(folder) if folder != Path::new("") => fs::File::open(folder)?.sync_all(),
        Some(_) | None => fs::File::open(".")?.sync_all(),
    }
}

/// Associated data from the parts that name a place, such as object key, uid and server URL. Each part
/// carries its length, so that no two lists of parts give the same bytes.
pub fn associated(parts: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}

/// Key id and body.
fn split(sealed: &str) -> Result<(&str, &str), SealError> {
    let rest = sealed
        .strip_prefix(FORMAT)
        .and_then(|rest| rest.strip_prefix('.'));
    rest.and_then(|rest| rest.split_once('.'))
        .ok_or(SealError::DoesNotOpen)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=";
    const SECOND: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAI=";

    fn keyring(text: &str) -> Result<Keyring, SealError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        fs::write(&path, text).unwrap();
        Keyring::load(&path)
    }

    #[test]
    fn a_text_opens_at_its_own_place_only() {
        let keys = keyring(FIRST).unwrap();
        let place = associated(&["/palisade/clusters/a", "uid", "https://a:6443"]);
        let sealed = keys.seal(b"secret", &place).unwrap();
        assert!(sealed.starts_with(&format!("v1.{}.", keys.first.id)));
        assert!(!sealed.contains("secret"));
        assert_eq!(*keys.open(&sealed, &place).unwrap(), b"secret");
        assert_ne!(
            sealed,
            keys.seal(b"secret", &place).unwrap(),
            "nonces differ"
        );
        let elsewhere = [
            associated(&["/palisade/clusters/b", "uid", "https://a:6443"]),
            associated(&["/palisade/clusters/a", "uid", "https://b:6443"]),
            associated(&["/palisade/clusters/auid", "", "https://a:6443"]),
            Vec::new(),
        ];
        for place in elsewhere {
            assert!(matches!(
                keys.open(&sealed, &place),
                Err(SealError::DoesNotOpen)
            ));
        }
    }

    #[test]
    fn a_changed_text_does_not_open() {
        let keys = keyring(FIRST).unwrap();
        let sealed = keys.seal(b"secret", b"here").unwrap();
        let start = sealed.rfind('.').unwrap() + 1;
        for at in start..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(
                matches!(keys.open(&changed, b"here"), Err(SealError::DoesNotOpen)),
                "{at}"
            );
        }
        for broken in [
            "",
            "v1",
            "v1.",
            "v2.x.y",
            &sealed[..start],
            &sealed[..start + 8],
        ] {
            assert!(keys.open(broken, b"here").is_err(), "{broken}");
        }
    }

    #[test]
    fn the_first_key_seals_and_all_open() {
        let old = keyring(FIRST).unwrap();
        let both = keyring(&format!("# new\n{SECOND}  # since June\n\n{FIRST}\n")).unwrap();
        let new = keyring(SECOND).unwrap();
        let sealed = old.seal(b"secret", b"").unwrap();
        assert_eq!(*both.open(&sealed, b"").unwrap(), b"secret");
        assert!(both.is_old(&sealed) && !old.is_old(&sealed));
        let anew = both.seal(b"secret", b"").unwrap();
        assert_eq!(*new.open(&anew, b"").unwrap(), b"secret");
        let unknown = new.open(&sealed, b"").err().unwrap();
        assert!(unknown.to_string().contains(&old.first.id), "{unknown}");
        assert!(new.has_key_of(&sealed).is_err() && new.has_key_of(&anew).is_ok());
    }

    #[test]
    fn a_bad_key_file_is_refused_with_its_line() {
        let refusal = |text: &str| keyring(text).err().unwrap();
        assert!(matches!(refusal("# none\n\n"), SealError::NoKey { .. }));
        for line in ["c2hvcnQ=", "no base64!", &FIRST[1..]] {
            let error = refusal(&format!("{FIRST}\n{line}\n"));
            assert!(
                matches!(error, SealError::NotAKey { line: 2, .. }),
                "{error}"
            );
            assert!(!error.to_string().contains(line), "a key is never shown");
        }
    }

    #[test]
    fn a_generated_key_file_is_private_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let new = Keyring::generate(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let sealed = new.seal(b"secret", b"").unwrap();
        assert_eq!(
            *Keyring::load(&path).unwrap().open(&sealed, b"").unwrap(),
            b"secret"
        );
        assert!(matches!(
            Keyring::generate(&path),
            Err(SealError::File { .. })
        ));
    }

    #[tokio::test]
    async fn a_start_with_another_key_is_stopped() {
        let store = Store::memory();
        let (old, new) = (keyring(FIRST).unwrap(), keyring(SECOND).unwrap());
        old.verify(&store).await.unwrap();
        old.verify(&store).await.unwrap();
        assert_eq!(store.revision().await.unwrap(), 1);
        assert!(matches!(
            new.verify(&store).await,
            Err(SealError::UnknownKey { .. })
        ));
        // With both keys the start goes on, and from then on the new one suffices.
        let both = keyring(&format!("{SECOND}\n{FIRST}")).unwrap();
        both.verify(&store).await.unwrap();
        new.verify(&store).await.unwrap();
        assert!(old.verify(&store).await.is_err());
    }

    #[tokio::test]
    async fn a_changed_or_newer_check_value_stops_the_start() {
        let keys = keyring(FIRST).unwrap();
        for value in [
            "{}",
            r#"{"schema":1,"sealed":"v1.x.y"}"#,
            r#"{"schema":2,"sealed":""}"#,
        ] {
            let store = Store::memory();
            store.txn(Txn::new().put(CHECK_KEY, value)).await.unwrap();
            assert!(keys.verify(&store).await.is_err(), "{value}");
            assert_eq!(store.revision().await.unwrap(), 1, "{value}");
        }
    }
}
