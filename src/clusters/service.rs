//! What is done with clusters: handing over credentials, renewing them, syncing roles, cleaning up.
//!
//! Every write of a cluster's object is one compare-and-swap on the value that was read before, so that
//! several replicas, or an update by a person, never overwrite each other.
//!
//! What an attacker would try: to hand over a token of another account, which the gateway would then use
//! with more rights than it should have (the cluster is asked who each token is), or to hand over one
//! that somebody else keeps a copy of (both tokens are minted anew at once, with the reconciler's; the
//! ones that were handed over are never stored).

use super::{
    IMPERSONATOR, NAMESPACE, RECONCILER,
    client::{Client, ClientError},
    credential::{self, ClusterCredential, HeldToken},
    kube, manifest,
    object::Object,
    registry::{Entry, NotReady, Registry},
    sync::{self, StepError, SyncReport},
};
use crate::{
    objects::{Cluster, Kind, Stored, check_label},
    proxy::endpoint::{self, EndpointError, Target},
    status::{Reason, Status, clock},
    store::{
        Revision, Store, StoreError, Txn,
        follow::Follower,
        seal::{Keyring, SealError},
    },
};
use jiff::Timestamp;
use std::{sync::Arc, time::Duration};
use zeroize::Zeroizing;

/// How long a new token shall live. A gateway that is away for longer than a third of it may find its
/// tokens expired, and an operator has to hand over new ones: a week's holiday must not do that. The
/// cluster may give less.
pub const TOKEN_LIFE: Duration = Duration::from_hours(14 * 24);
/// The shortest life that TokenRequest takes.
const SHORTEST_LIFE: Duration = Duration::from_mins(10);
/// Wait for this replica to see its own write, so that the next request meets it.
const VISIBLE: Duration = Duration::from_secs(5);
/// Tries of a compare-and-swap against writers that came in between.
const TRIES: usize = 5;

/// The tokens that an operator hands over.
pub struct HandedOver {
    /// Of the reconciler; it mints what the gateway keeps.
    pub reconciler: Zeroizing<String>,
    /// Of the impersonator, if one was made: only checked.
    pub impersonator: Option<Zeroizing<String>>,
}

/// Why something could not be done with a cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No such cluster.
    #[error("clusters.palisade.dev {0:?} not found")]
    NotFound(String),
    /// Not a name that a cluster can have.
    #[error("{0:?} is no name for a cluster")]
    Name(String),
    /// No credential.
    #[error("cluster {0}")]
    NotReady(#[from] NotReady),
    /// The registration's URL, CA or server name, or a token's alphabet.
    #[error("{0}")]
    Endpoint(#[from] EndpointError),
    /// The cluster says that a token is somebody else's.
    #[error(
        "the {account} token must be of {expected:?}; the cluster says that it is of {found:?}"
    )]
    WrongAccount {
        /// Which of the two.
        account: &'static str,
        /// Its user name.
        expected: String,
        /// What the cluster says.
        found: String,
    },
    /// The cluster did not take a handed-over token.
    #[error("the {account} token was not taken by the cluster: {}", source.chain())]
    Token {
        /// Which of the two.
        account: &'static str,
        /// What the cluster says.
        source: ClientError,
    },
    /// A step on the cluster failed.
    #[error("{}", .0.chain())]
    Step(#[from] StepError),
    /// A new token that is of no use.
    #[error(
        "the cluster gave a token of the account {account} that ended at {at}: compare its clock with the gateway's"
    )]
    Ended {
        /// Whose.
        account: String,
        /// When.
        at: Timestamp,
    },
    /// Somebody else wrote the object in between.
    #[error("cluster {0:?} was changed in between; try again")]
    Conflict(String),
    /// The store.
    #[error("the store does not answer")]
    Store(#[source] StoreError),
    /// The keys.
    #[error("the credential cannot be sealed")]
    Seal(#[from] SealError),
    /// The stored object.
    #[error("the stored registration cannot be read")]
    Stored,
}

impl ClusterError {
    /// What a client of the own API reads.
    pub fn status(&self) -> Status {
        let (code, reason) = match self {
            Self::NotFound(_) => (404, Some(Reason::NotFound)),
            Self::Conflict(_) => (409, Some(Reason::Conflict)),
            Self::Name(_) | Self::Endpoint(_) | Self::WrongAccount { .. } | Self::Token { .. } => {
                (422, Some(Reason::Invalid))
            }
            Self::NotReady(_) | Self::Store(_) => (503, Some(Reason::ServiceUnavailable)),
            // 502 has no reason of its own upstream.
            Self::Step(_) | Self::Ended { .. } => (502, None),
            Self::Seal(_) | Self::Stored => (500, Some(Reason::InternalError)),
        };
        Status::failure(code, reason, self.to_string())
    }
}

/// The gateway's hands on its clusters.
pub struct Clusters {
    registry: Arc<Registry>,
    store: Store,
    follower: Follower,
    keyring: Arc<Keyring>,
    life: Duration,
}

impl Clusters {
    /// `life` is how long new tokens shall live ([`TOKEN_LIFE`]).
    pub fn new(
        registry: Arc<Registry>,
        store: Store,
        follower: Follower,
        keyring: Arc<Keyring>,
        life: Duration,
    ) -> Self {
        Self {
            registry,
            store,
            follower,
            keyring,
            life,
        }
    }

    /// The clusters by name.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// How long new tokens shall live.
    pub(super) fn life(&self) -> Duration {
        self.life
    }

    /// What an operator applies to a cluster, registered or not: the same for every one.
    pub fn manifest(&self, name: &str) -> Result<Vec<Object>, ClusterError> {
        check_label(name).map_err(|_| ClusterError::Name(name.to_owned()))?;
        Ok(manifest::wanted(&manifest::cluster_roles(
            &self.registry.roles(),
        )))
    }

    /// Takes a credential over: checks whose it is, mints the gateway's own, syncs the roles, stores.
    pub async fn hand_over(
        &self,
        name: &str,
        tokens: HandedOver,
    ) -> Result<SyncReport, ClusterError> {
        let (stored, revision) = self.load(name).await?;
        let target = Arc::new(self.registry.target(&stored.object)?);
        let reconciler = speak(&target, &tokens.reconciler)?;
        check_account(&reconciler, RECONCILER).await?;
        if let Some(token) = &tokens.impersonator {
            check_account(&speak(&target, token)?, IMPERSONATOR).await?;
        }
        let credential = self.mint(&reconciler).await?;
        let report = self.bring_roles(&reconciler).await?;
        let sealed = credential::seal(&self.keyring, &stored.object, &credential)?;
        self.write(stored, revision, |stored| {
            stored.private.credential = Some(sealed);
            note_sync(stored, &report);
        })
        .await?;
        Ok(report)
    }

    /// Brings the roles of today to a cluster.
    pub async fn sync(&self, name: &str) -> Result<SyncReport, ClusterError> {
        let entry = self.entry(name)?;
        let report = self.bring_roles(&reconciler_of(&entry, name)?).await?;
        for _ in 0..TRIES {
            let (stored, revision) = self.load(name).await?;
            if stored.object.metadata.uid != entry.cluster.metadata.uid {
                return Err(ClusterError::NotFound(name.to_owned()));
            }
            match self
                .write(stored, revision, |stored| note_sync(stored, &report))
                .await
            {
                Err(ClusterError::Conflict(_)) => {}
                Ok(()) => return Ok(report),
                Err(error) => return Err(error),
            }
        }
        Err(ClusterError::Conflict(name.to_owned()))
    }

    /// Takes everything of ours away from a cluster; its registration stays, and loses its credential.
    pub async fn clean_up(&self, name: &str) -> Result<Vec<String>, ClusterError> {
        let entry = self.entry(name)?;
        let removed = sync::clean_up(&reconciler_of(&entry, name)?).await?;
        for _ in 0..TRIES {
            let (stored, revision) = self.load(name).await?;
            if stored.object.metadata.uid != entry.cluster.metadata.uid {
                return Err(ClusterError::NotFound(name.to_owned()));
            }
            let forget = |stored: &mut Stored<Cluster>| {
                stored.private.credential = None;
                stored.object.status.synced_roles.clear();
                stored.object.status.synced_version = 0;
                stored.object.status.synced_at = None;
            };
            match self.write(stored, revision, forget).await {
                Err(ClusterError::Conflict(_)) => {}
                Ok(()) => return Ok(removed),
                Err(error) => return Err(error),
            }
        }
        Err(ClusterError::Conflict(name.to_owned()))
    }

    /// Renews both tokens; `false` if another replica, or a person, was there first.
    pub(super) async fn renew(&self, entry: &Entry) -> Result<bool, ClusterError> {
        let name = &entry.cluster.metadata.name;
        let credential = self.mint(&reconciler_of(entry, name)?).await?;
        self.keep(entry, &credential).await
    }

    /// Seals a cluster's credential with the first key, as it is: the cluster need not answer for that.
    /// `false` as for [`Clusters::renew`].
    pub(super) async fn seal_anew(&self, entry: &Entry) -> Result<bool, ClusterError> {
        match &entry.credential {
            Some(credential) => self.keep(entry, credential).await,
            None => Ok(false),
        }
    }

    /// Stores a credential for the very registration that `entry` is.
    async fn keep(
        &self,
        entry: &Entry,
        credential: &ClusterCredential,
    ) -> Result<bool, ClusterError> {
        let (stored, revision) = self.load(&entry.cluster.metadata.name).await?;
        if revision != entry.revision {
            return Ok(false);
        }
        let sealed = credential::seal(&self.keyring, &stored.object, credential)?;
        let put = self.write(stored, revision, |stored| {
            stored.private.credential = Some(sealed);
        });
        match put.await {
            Ok(()) => Ok(true),
            Err(ClusterError::Conflict(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn bring_roles(&self, reconciler: &Client) -> Result<SyncReport, ClusterError> {
        let roles = manifest::cluster_roles(&self.registry.roles());
        Ok(sync::sync(reconciler, &roles).await?)
    }

    async fn mint(&self, reconciler: &Client) -> Result<ClusterCredential, ClusterError> {
        let seconds = self.life.max(SHORTEST_LIFE).as_secs();
        Ok(ClusterCredential {
            impersonator: mint_one(reconciler, IMPERSONATOR, seconds).await?,
            reconciler: mint_one(reconciler, RECONCILER, seconds).await?,
        })
    }

    fn entry(&self, name: &str) -> Result<Arc<Entry>, ClusterError> {
        self.registry
            .entry(name)
            .ok_or_else(|| ClusterError::NotFound(name.to_owned()))
    }

    async fn load(&self, name: &str) -> Result<(Stored<Cluster>, Revision), ClusterError> {
        let missing = || ClusterError::NotFound(name.to_owned());
        check_label(name).map_err(|_| missing())?;
        let found = self.store.get(&Cluster::key(name)).await;
        let kv = found.map_err(ClusterError::Store)?.ok_or_else(missing)?;
        let stored = Stored::decode(&kv.key, &kv.value, kv.mod_revision)
            .map_err(|_| ClusterError::Stored)?;
        Ok((stored, kv.mod_revision))
    }

    async fn write(
        &self,
        mut stored: Stored<Cluster>,
        revision: Revision,
        change: impl FnOnce(&mut Stored<Cluster>),
    ) -> Result<(), ClusterError> {
        change(&mut stored);
        let name = &stored.object.metadata.name;
        let key = Cluster::key(name);
        let txn = Txn::new().when(&key, revision).put(&key, stored.encode());
        match self.store.txn(txn).await {
            Ok(written) => {
                // The write counts either way; a replica that lags meets it a moment later.
                let _ = self.follower.wait_for(written, VISIBLE).await;
                Ok(())
            }
            Err(StoreError::Conflict { .. }) => Err(ClusterError::Conflict(name.clone())),
            Err(error) => Err(ClusterError::Store(error)),
        }
    }
}

async fn mint_one(
    reconciler: &Client,
    account: &str,
    seconds: u64,
) -> Result<HeldToken, ClusterError> {
    let issued_at = clock::now();
    // Right after an operator's apply the rule for it may not have been heard of.
    let minted = sync::patiently(|| kube::mint(reconciler, account, seconds)).await;
    let minted = minted.map_err(|source| StepError {
        step: format!("get a token of the account {account}"),
        source,
    })?;
    if minted.expires_at <= clock::now() {
        return Err(ClusterError::Ended {
            account: account.to_owned(),
            at: minted.expires_at,
        });
    }
    Ok(HeldToken {
        token: minted.token,
        issued_at,
        expires_at: minted.expires_at,
    })
}

fn note_sync(stored: &mut Stored<Cluster>, report: &SyncReport) {
    stored.object.status.synced_roles.clone_from(&report.roles);
    stored.object.status.synced_version = manifest::VERSION;
    stored.object.status.synced_at = Some(clock::whole_seconds(clock::now()));
}

fn reconciler_of(entry: &Entry, name: &str) -> Result<Client, ClusterError> {
    let pending = || NotReady::Pending(name.to_owned());
    let upstream = entry.upstream().ok_or_else(pending)?;
    let credential = entry.credential.as_ref().ok_or_else(pending)?;
    let target = upstream.endpoint().target();
    speak(target, &credential.reconciler.token)
}

fn speak(target: &Arc<Target>, token: &str) -> Result<Client, ClusterError> {
    let authorization = endpoint::bearer(token)?;
    Ok(Client::new(Arc::clone(target), Some(authorization)))
}

async fn check_account(client: &Client, account: &'static str) -> Result<(), ClusterError> {
    let expected = format!("system:serviceaccount:{NAMESPACE}:{account}");
    match kube::who_am_i(client).await {
        Ok(found) if found == expected => Ok(()),
        Ok(found) => Err(ClusterError::WrongAccount {
            account,
            expected,
            found,
        }),
        Err(source) => Err(ClusterError::Token { account, source }),
    }
}
