//! What is done with clusters: handing over credentials, renewing them, asking for a sync, cleaning up.
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
    cleanup::{self, StepError},
    client::{Client, ClientError},
    credential::{self, ClusterCredential, HeldToken},
    kube, manifest,
    object::Object,
    registry::{Entry, NotReady, Registry},
    standing::View,
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
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;
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

/// How long a sync waits for a cluster that says why it cannot be read.
const READ_LIMIT: Duration = Duration::from_secs(5);
/// How long a sync waits for the loop: less than its client does. What is not done then goes on by itself.
const SYNC_LIMIT: Duration = Duration::from_secs(30);

/// What a sync found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncReport {
    /// The cluster roles whose grant groups the cluster knows.
    pub roles: Vec<String>,
    /// How many objects still differ from policy.
    #[serde(default)]
    pub behind: usize,
    /// Some of them.
    #[serde(default)]
    pub waiting: Vec<String>,
    /// The loop is still at work on them.
    #[serde(default)]
    pub unfinished: bool,
}

/// What a clean-up did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CleanUp {
    /// The last objects, which were removed by name.
    #[serde(default)]
    pub removed: Vec<String>,
    /// How many objects are still to be removed: the same call goes on.
    #[serde(default)]
    pub left: usize,
    /// Some of those that cannot be removed, with the reason, if that is all that is left.
    #[serde(default)]
    pub stuck: Vec<String>,
}

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
    /// The loop could not read it.
    #[error("cluster {cluster:?} could not be read: {why}")]
    NotRead {
        /// Its name.
        cluster: String,
        /// Why, as far as it is known.
        why: String,
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

fn not_read(cluster: &str, view: &View) -> ClusterError {
    let why = match view.status.message.as_str() {
        "" => format!("not within {} s", SYNC_LIMIT.as_secs()),
        why => why.to_owned(),
    };
    let cluster = cluster.to_owned();
    ClusterError::NotRead { cluster, why }
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
            Self::Step(_) | Self::Ended { .. } | Self::NotRead { .. } => (502, None),
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
        Ok(manifest::wanted(&self.registry.roles()))
    }

    /// Takes a credential over: checks whose it is, mints the gateway's own, stores them, and waits for the
    /// loop to bring the cluster in step.
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
        let sealed = credential::seal(&self.keyring, &stored.object, &credential)?;
        self.write(stored, revision, |stored| {
            stored.private.credential = Some(sealed);
            stored.object.status.cleaning_since = None;
        })
        .await?;
        self.sync(name).await
    }

    /// Has the loop look at a whole cluster, and waits until it has done what it can.
    pub async fn sync(&self, name: &str) -> Result<SyncReport, ClusterError> {
        let entry = self.entry(name)?;
        if entry.upstream().is_none() {
            return Err(NotReady::Pending(name.to_owned()).into());
        }
        let standing = entry.standing();
        let asked = standing.ask();
        let read = standing.until(|view| view.answered >= asked);
        if timeout(READ_LIMIT, read).await.is_err() && !standing.view().status.message.is_empty() {
            return Err(not_read(name, &standing.view()));
        }
        let done = standing.until(|view| view.answered >= asked && view.settled);
        let unfinished = timeout(SYNC_LIMIT, done).await.is_err();
        let view = standing.view();
        if view.answered < asked {
            return Err(not_read(name, &view));
        }
        Ok(SyncReport {
            roles: standing.roles(),
            behind: view.status.behind,
            waiting: view.status.waiting,
            unfinished,
        })
    }

    /// Writes down which roles a cluster knows, and that its accounts' rules are those of today.
    pub(super) async fn note_roles(
        &self,
        name: &str,
        uid: &str,
        roles: &[String],
    ) -> Result<(), ClusterError> {
        let note = |stored: &mut Stored<Cluster>| {
            stored.object.status.synced_roles = roles.to_vec();
            stored.object.status.synced_version = manifest::VERSION;
            stored.object.status.synced_at = Some(clock::whole_seconds(clock::now()));
        };
        self.rewrite(name, uid, note).await
    }

    /// Takes everything of ours away from a cluster; its registration stays, and loses its credential.
    ///
    /// The loop does the most of it, at its own pace. If that takes longer than a client waits, the answer
    /// says what is left, and the same call goes on.
    pub async fn clean_up(&self, name: &str) -> Result<CleanUp, ClusterError> {
        let entry = self.entry(name)?;
        let uid = &entry.cluster.metadata.uid;
        if entry.cluster.status.cleaning_since.is_none() {
            let begin = |stored: &mut Stored<Cluster>| {
                stored.object.status.cleaning_since = Some(clock::whole_seconds(clock::now()));
            };
            self.rewrite(name, uid, begin).await?;
        }
        let report = self.sync(name).await?;
        if report.behind > 0 {
            return Ok(CleanUp {
                left: report.behind,
                stuck: if report.unfinished {
                    Vec::new()
                } else {
                    report.waiting
                },
                ..CleanUp::default()
            });
        }
        let removed = cleanup::clean_up(&reconciler_of(&entry, name)?).await?;
        let forget = |stored: &mut Stored<Cluster>| {
            stored.private.credential = None;
            let status = &mut stored.object.status;
            status.synced_roles.clear();
            status.synced_version = 0;
            status.synced_at = None;
            status.cleaning_since = None;
        };
        self.rewrite(name, uid, forget).await?;
        Ok(CleanUp {
            removed,
            ..CleanUp::default()
        })
    }

    /// Changes a cluster's object, however often somebody else does meanwhile.
    async fn rewrite(
        &self,
        name: &str,
        uid: &str,
        change: impl Fn(&mut Stored<Cluster>),
    ) -> Result<(), ClusterError> {
        for _ in 0..TRIES {
            let (stored, revision) = self.load(name).await?;
            if stored.object.metadata.uid != uid {
                return Err(ClusterError::NotFound(name.to_owned()));
            }
            match self.write(stored, revision, &change).await {
                Err(ClusterError::Conflict(_)) => {}
                other => return other,
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
    let minted = cleanup::patiently(|| kube::mint(reconciler, account, seconds)).await;
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

fn reconciler_of(entry: &Entry, name: &str) -> Result<Client, ClusterError> {
    let pending = || NotReady::Pending(name.to_owned());
    let upstream = entry.upstream().ok_or_else(pending)?;
    let credential = entry.credential.as_ref().ok_or_else(pending)?;
    let target = upstream.endpoint().target();
    speak(target, &credential.reconciler.token)
}

pub(super) fn speak(target: &Arc<Target>, token: &str) -> Result<Client, ClusterError> {
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
