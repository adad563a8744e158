//! The first admin: made on the gateway's host, straight in the store, while no gateway runs.
//!
//! What could go wrong: whoever can write the store's file can make an admin this way. That person can
//! write anything there anyway; so it is a matter of file permissions, and is not offered over the network.
//! A second admin made unnoticed: refused while one exists, unless it is asked for by name (`--reset`).

use crate::{
    api::tombstone,
    authn::passwords::{PasswordError, Passwords, RuleError, check_rules},
    objects::{
        Binding, BindingSpec, Group, Kind, Member, NameError, Principal, Stored, Subject,
        SubjectKind, User, UserPrivate, UserSpec, check_handle,
    },
    status::clock,
    store::{Revision, Store, StoreError, Txn},
};
use aws_lc_rs::rand;
use zeroize::Zeroizing;

/// The global role whose holders are admins (policies/default.yaml).
const ADMIN_ROLE: &str = "admin";
/// The cluster role that the development admin holds everywhere.
const OWNER_ROLE: &str = "cluster-owner";
/// Letters of a generated password: 24 of 32 are 120 bits.
const PASSWORD_LETTERS: usize = 24;
/// Without those that look alike (0 O, 1 l I).
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// What an admin shall hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grants {
    /// The gateway's own API.
    Admin,
    /// That, and every cluster (`--dev`).
    AdminAndClusters,
}

/// Whether an existing admin is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Yes.
    Refuse,
    /// No: a user of the name gets the new password and is enabled, its sessions end.
    Reset,
}

/// Why there is no new admin.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// There is one.
    #[error(
        "an admin exists already: {handle}. To set a new password for it on this host: palisade admin init --username {handle} --reset"
    )]
    Exists {
        /// Whose.
        handle: String,
    },
    /// The name is somebody's who is no admin.
    #[error(
        "the user {0:?} exists and is no admin. To make it one, with a new password: palisade admin init --username {0} --reset"
    )]
    Taken(String),
    /// Not a name that a user can have.
    #[error("{name:?} is no user name: it {source}")]
    Name {
        /// The name.
        name: String,
        /// Why.
        source: NameError,
    },
    /// Handles are not given again.
    #[error(
        "a removed user had the name {0:?}, and names are not given again: choose another with --username"
    )]
    Removed(String),
    /// A machine user has no password.
    #[error("{0:?} is a machine user, which has tokens only")]
    Machine(String),
    /// The password's rules.
    #[error("this password is not taken: {0}")]
    Rule(#[from] RuleError),
    /// Hashing.
    #[error("the password cannot be hashed")]
    Hash(#[from] PasswordError),
    /// The store.
    #[error("the store does not take it")]
    Store(#[from] StoreError),
    /// What the store has cannot be read.
    #[error("a stored object cannot be read")]
    Stored(#[from] crate::objects::DecodeError),
    /// No randomness.
    #[error("the system gives no random numbers")]
    NoRandomness,
}

/// A new password that is easy to type and that nobody guesses: four groups of six letters.
pub fn generate_password() -> Result<Zeroizing<String>, AdminError> {
    let mut bytes = Zeroizing::new([0; PASSWORD_LETTERS]);
    rand::fill(bytes.as_mut_slice()).map_err(|_| AdminError::NoRandomness)?;
    let mut text = Zeroizing::new(String::with_capacity(PASSWORD_LETTERS + 3));
    for (index, byte) in bytes.iter().enumerate() {
        if index > 0 && index % 6 == 0 {
            text.push('-');
        }
        // 256 is a multiple of 32: every letter is equally likely.
        let letter = ALPHABET.get(usize::from(byte % 32)).copied();
        text.push(char::from(letter.unwrap_or(b'a')));
    }
    Ok(text)
}

/// The handle of some user who is not disabled and holds the admin role, by themselves or in a group, if
/// there is one.
pub async fn find_admin(store: &Store) -> Result<Option<String>, AdminError> {
    let now = clock::now();
    let mut scan = store.scan(&Binding::prefix()).await?;
    while let Some(page) = scan.next().await {
        for item in page? {
            let binding = decode::<Binding>(&item)?.object.spec;
            let counts =
                binding.role == ADMIN_ROLE && binding.expires_at.is_none_or(|end| end > now);
            if !counts {
                continue;
            }
            for member in people(store, &binding.subject).await? {
                let Some(item) = store.get(&User::key(&member.name)).await? else {
                    continue;
                };
                let user = decode::<User>(&item)?.object;
                if user.metadata.uid == member.uid && !user.spec.disabled {
                    return Ok(Some(user.metadata.name));
                }
            }
        }
    }
    Ok(None)
}

/// Who a subject is: the user, or the members of the group.
async fn people(store: &Store, subject: &Subject) -> Result<Vec<Member>, AdminError> {
    if subject.kind == SubjectKind::User {
        return Ok(vec![Member {
            name: subject.name.clone(),
            uid: subject.uid.clone(),
        }]);
    }
    let Some(item) = store.get(&Group::key(&subject.name)).await? else {
        return Ok(Vec::new());
    };
    let group = decode::<Group>(&item)?.object;
    let same = group.metadata.uid == subject.uid;
    Ok(if same { group.spec.members } else { Vec::new() })
}

/// Whether there is no user at all: a store that was made just now.
pub async fn is_first_start(store: &Store) -> Result<bool, AdminError> {
    Ok(store.list(&User::prefix(), 1, None).await?.items.is_empty())
}

/// Makes `handle` an admin with this password.
pub async fn make_admin(
    store: &Store,
    handle: &str,
    password: Zeroizing<String>,
    grants: Grants,
    existing: Existing,
) -> Result<(), AdminError> {
    check_handle(handle).map_err(|source| AdminError::Name {
        name: handle.to_owned(),
        source,
    })?;
    check_rules(handle, &password)?;
    if existing == Existing::Refuse
        && let Some(handle) = find_admin(store).await?
    {
        return Err(AdminError::Exists { handle });
    }
    let key = User::key(handle);
    let found = store.get(&key).await?;
    let revision = found.as_ref().map_or(0, |item| item.mod_revision);
    let mut user = match &found {
        Some(_) if existing == Existing::Refuse => {
            return Err(AdminError::Taken(handle.to_owned()));
        }
        Some(item) => decode::<User>(item)?,
        None if store.get(&tombstone(handle)).await?.is_some() => {
            return Err(AdminError::Removed(handle.to_owned()));
        }
        None => new_user(handle),
    };
    if user.object.spec.machine {
        return Err(AdminError::Machine(handle.to_owned()));
    }
    user.object.spec.disabled = false;
    user.object.status.has_password = true;
    user.private = UserPrivate {
        password: Some(hash(password).await?),
        // Ends the sessions of the old password.
        password_epoch: user.private.password_epoch + 1,
        ..user.private
    };
    let uid = user.object.metadata.uid.clone();
    let mut txn = Txn::new().when(&key, revision).put(&key, user.encode());
    for (role, all_clusters) in match grants {
        Grants::Admin => &[(ADMIN_ROLE, false)][..],
        Grants::AdminAndClusters => &[(ADMIN_ROLE, false), (OWNER_ROLE, true)][..],
    } {
        txn = put_binding(store, txn, handle, &uid, (role, *all_clusters)).await?;
    }
    store.txn(txn).await?;
    Ok(())
}

fn new_user(handle: &str) -> Stored<User> {
    let mut user = User::new(handle, UserSpec::default());
    user.metadata.uid = uuid::Uuid::new_v4().to_string();
    user.metadata.creation_timestamp = Some(clock::whole_seconds(clock::now()));
    user.spec.principals = vec![Principal {
        provider: "local".to_owned(),
        id: user.metadata.uid.clone(),
    }];
    Stored::new(user, UserPrivate::default())
}

async fn hash(password: Zeroizing<String>) -> Result<String, AdminError> {
    let hash = Passwords::new(1, 0)?.hash(password).await?;
    Ok(hash.to_string())
}

/// Adds a binding to the write, unless the very one is there.
async fn put_binding(
    store: &Store,
    txn: Txn,
    handle: &str,
    uid: &str,
    (role, all_clusters): (&str, bool),
) -> Result<Txn, AdminError> {
    // Handles may hold dots and underscores, names of bindings may not; the uid tells namesakes apart.
    let name = format!("{role}-{uid}");
    let key = Binding::key(&name);
    let found = store.get(&key).await?;
    let revision: Revision = found.as_ref().map_or(0, |item| item.mod_revision);
    let spec = BindingSpec {
        role: role.to_owned(),
        subject: Subject {
            kind: SubjectKind::User,
            name: handle.to_owned(),
            uid: uid.to_owned(),
        },
        all_clusters,
        ..BindingSpec::default()
    };
    let mut binding = if let Some(item) = found {
        decode::<Binding>(&item)?.object
    } else {
        let mut binding = Binding::new(&name, BindingSpec::default());
        binding.metadata.uid = uuid::Uuid::new_v4().to_string();
        binding.metadata.creation_timestamp = Some(clock::whole_seconds(clock::now()));
        binding
    };
    if binding.spec == spec {
        return Ok(txn);
    }
    binding.spec = spec;
    let value = Stored::new(binding, <Binding as Kind>::Private::default()).encode();
    Ok(txn.when(&key, revision).put(&key, value))
}

fn decode<K: Kind>(
    item: &crate::store::KeyValue,
) -> Result<Stored<K>, crate::objects::DecodeError> {
    Stored::decode(&item.key, &item.value, item.mod_revision)
}

#[cfg(test)]
mod tests;
