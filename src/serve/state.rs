//! Opening what the gateway remembers: the store, and the keys of the secrets in it.
//!
//! The key file is made only beside an empty store. A store that has something and no key file is a
//! mistake of the operator (a restored backup without its keys, a wrong path): starting with a new key
//! would leave every sealed secret unreadable and hide it.

use crate::{
    authn::providers::{self, Record},
    config,
    objects::{Cluster, DecodeError, Kind, Stored},
    store::{
        OpenError, Store, StoreError,
        seal::{Keyring, SealError},
    },
};
use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Why the state cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The folder of the store cannot be made.
    #[error("cannot make the folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The store file.
    #[error("cannot open the store")]
    Open(#[from] OpenError),
    /// The store does not answer.
    #[error("cannot read the store")]
    Store(#[from] StoreError),
    /// There is a store and no key file.
    #[error(
        "the key file {} is not there, but the store {} is not empty: bring the key file back, its secrets \
         cannot be read without it",
        key_file.display(),
        store.display()
    )]
    KeyFileGone {
        /// Where it should be.
        key_file: PathBuf,
        /// The store.
        store: PathBuf,
    },
    /// The keys are not those of the store, or no keys.
    #[error("cannot use the keys of {}", key_file.display())]
    Keys {
        /// The key file.
        key_file: PathBuf,
        /// Why.
        source: SealError,
    },
    /// A key was taken out too early.
    #[error(
        "the credential of cluster {cluster:?} was sealed with key {key}, which {} no longer has: put that key \
         back below the new one, and take it out when the log says that every credential was sealed anew",
        key_file.display()
    )]
    KeyStillNeeded {
        /// Whose credential; there may be more.
        cluster: String,
        /// The key's id.
        key: String,
        /// Where it should be.
        key_file: PathBuf,
    },
    /// What the store has cannot be read.
    #[error("a stored cluster cannot be read")]
    Stored(#[from] DecodeError),
}

/// An open store with its keys.
pub struct State {
    /// The store.
    pub store: Store,
    /// Its keys, verified against it.
    pub keyring: Arc<Keyring>,
}

impl State {
    /// Opens both; makes both at the first start.
    pub async fn open(config: &config::State) -> Result<Self, StateError> {
        for file in [&config.store, &config.key_file] {
            if let Some(folder) = file.parent() {
                make_folder(folder)?;
            }
        }
        let store = Store::open_sqlite(&config.store)?;
        match open_keys(&store, config).await {
            Ok(keyring) => Ok(Self {
                store,
                keyring: Arc::new(keyring),
            }),
            Err(error) => {
                // Gives the file back at once and not when its threads get to it.
                store.close().await;
                Err(error)
            }
        }
    }
}

/// Whether the configured keys are those of `store`, which is a copy of one: no key is made here.
pub(super) async fn fits(store: &Store, config: &config::State) -> Result<(), StateError> {
    if !config.key_file.exists() {
        return Err(StateError::KeyFileGone {
            key_file: config.key_file.clone(),
            store: config.store.clone(),
        });
    }
    open_keys(store, config).await.map(drop)
}

async fn open_keys(store: &Store, config: &config::State) -> Result<Keyring, StateError> {
    let keys = |source| StateError::Keys {
        key_file: config.key_file.clone(),
        source,
    };
    let keyring = if config.key_file.exists() {
        Keyring::load(&config.key_file).map_err(keys)?
    } else if store.revision().await? == 0 {
        Keyring::generate(&config.key_file).map_err(keys)?
    } else {
        return Err(StateError::KeyFileGone {
            key_file: config.key_file.clone(),
            store: config.store.clone(),
        });
    };
    keyring.verify(store).await.map_err(keys)?;
    check_credentials(store, &keyring, config).await?;
    Ok(keyring)
}

/// Whether there is a key for every credential. The check value alone does not tell: it was sealed anew by
/// the first start with a new key, the credentials are only as the gateway gets to them.
async fn check_credentials(
    store: &Store,
    keyring: &Keyring,
    config: &config::State,
) -> Result<(), StateError> {
    let mut old: usize = 0;
    let mut scan = store.scan(&Cluster::prefix()).await?;
    while let Some(page) = scan.next().await {
        for item in page? {
            let stored = Stored::<Cluster>::decode(&item.key, &item.value, item.mod_revision)?;
            let Some(sealed) = &stored.private.credential else {
                continue;
            };
            if let Err(SealError::UnknownKey { id }) = keyring.has_key_of(sealed) {
                return Err(StateError::KeyStillNeeded {
                    cluster: stored.object.metadata.name,
                    key: id,
                    key_file: config.key_file.clone(),
                });
            }
            old += usize::from(keyring.is_old(sealed));
        }
    }
    tell_grants(store, keyring).await?;
    if old > 0 {
        tracing::info!(
            credentials = old,
            "credentials are sealed with an old key: they are sealed anew now, the old key stays needed until then"
        );
    }
    Ok(())
}

/// Says whether logins depend on an old key, or on one that is gone. Neither stops a start: a login that ends is begun
/// anew.
async fn tell_grants(store: &Store, keyring: &Keyring) -> Result<(), StateError> {
    let (mut old, mut lost): (usize, usize) = (0, 0);
    let mut scan = store.scan(providers::PREFIX).await?;
    while let Some(page) = scan.next().await {
        for item in page? {
            // What cannot be read is told where it is used.
            let record = Record::decode(&item.key, &item.value).ok();
            let Some(sealed) = record.and_then(|record| record.grant) else {
                continue;
            };
            lost += usize::from(keyring.has_key_of(&sealed).is_err());
            old += usize::from(keyring.is_old(&sealed));
        }
    }
    if lost > 0 {
        tracing::warn!(
            logins = lost,
            "the key is gone that these logins' tokens are sealed with: they end, and their people log in anew"
        );
    }
    if old > lost {
        tracing::info!(
            logins = old - lost,
            "the tokens of these logins are sealed with an old key: they are sealed anew as they are used; without \
             that key they would end"
        );
    }
    Ok(())
}

/// Makes a folder that only its owner may enter, if there is none.
pub(super) fn make_folder(path: &Path) -> Result<(), StateError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| StateError::Folder {
            path: path.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn paths(folder: &Path) -> config::State {
        config::State {
            store: folder.join("state/palisade.db"),
            key_file: folder.join("keys/keys"),
        }
    }

    #[tokio::test]
    async fn first_start_makes_both_and_later_ones_open_them() {
        let folder = tempfile::tempdir().unwrap();
        let paths = paths(folder.path());
        let state = State::open(&paths).await.unwrap();
        let mode = fs::metadata(&paths.key_file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let sealed = state.keyring.seal(b"x", b"place").unwrap();
        state.store.close().await;
        drop(state);
        let state = State::open(&paths).await.unwrap();
        assert_eq!(*state.keyring.open(&sealed, b"place").unwrap(), b"x");
    }

    #[tokio::test]
    async fn missing_and_foreign_keys_stop_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let paths = paths(folder.path());
        let state = State::open(&paths).await.unwrap();
        state.store.close().await;
        drop(state);
        fs::remove_file(&paths.key_file).unwrap();
        let error = State::open(&paths).await.err().unwrap();
        assert!(matches!(error, StateError::KeyFileGone { .. }), "{error}");
        Keyring::generate(&paths.key_file).unwrap();
        let error = State::open(&paths).await.err().unwrap();
        assert!(
            matches!(
                &error,
                StateError::Keys {
                    source: SealError::UnknownKey { .. },
                    ..
                }
            ),
            "{error:?}"
        );
    }

    #[tokio::test]
    async fn a_key_that_a_credential_still_needs_stops_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let paths = paths(folder.path());
        let state = State::open(&paths).await.unwrap();
        let private = crate::objects::ClusterPrivate {
            credential: Some(state.keyring.seal(b"x", b"place").unwrap()),
        };
        let cluster = Cluster::new("prod", crate::objects::ClusterSpec::default());
        let value = Stored::new(cluster, private).encode();
        let txn = crate::store::Txn::new().put(Cluster::key("prod"), value);
        state.store.txn(txn).await.unwrap();
        state.store.close().await;
        drop(state);
        let old = fs::read_to_string(&paths.key_file).unwrap();
        fs::remove_file(&paths.key_file).unwrap();
        drop(Keyring::generate(&paths.key_file).unwrap());
        let new = fs::read_to_string(&paths.key_file).unwrap();
        // With both the check value is sealed anew, the credential not yet.
        fs::write(&paths.key_file, format!("{new}{old}")).unwrap();
        let state = State::open(&paths).await.unwrap();
        state.store.close().await;
        drop(state);
        fs::write(&paths.key_file, &new).unwrap();
        let error = State::open(&paths).await.err().unwrap();
        assert!(
            matches!(&error, StateError::KeyStillNeeded { cluster, .. } if cluster == "prod"),
            "{error}"
        );
        fs::write(&paths.key_file, format!("{new}{old}")).unwrap();
        State::open(&paths).await.unwrap();
    }

    #[tokio::test]
    async fn a_store_in_use_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let paths = paths(folder.path());
        let _first = State::open(&paths).await.unwrap();
        let error = State::open(&paths).await.err().unwrap();
        let StateError::Open(source) = error else {
            panic!("{error:?}");
        };
        assert!(
            source
                .to_string()
                .contains("open in another palisade process"),
            "{source}"
        );
    }
}
