//! What the gateway holds of a cluster: two tokens, sealed in the store.
//!
//! The sealed text is bound to the object's key, its uid and the server's URL: moved to another cluster's
//! object, or left behind when the URL changes, it does not open. In memory the texts are wiped when they
//! are dropped.

use crate::{
    objects::{Cluster, ClusterSpec, Kind},
    store::seal::{Keyring, SealError, associated},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use zeroize::Zeroizing;

/// A token of one of the two accounts.
#[derive(Clone)]
pub struct HeldToken {
    /// The secret text.
    pub token: Zeroizing<String>,
    /// When it was asked for.
    pub issued_at: Timestamp,
    /// When the cluster stops taking it.
    pub expires_at: Timestamp,
}

/// The two tokens. No `Debug`.
#[derive(Clone)]
pub struct ClusterCredential {
    /// Carries users' requests.
    pub impersonator: HeldToken,
    /// Renews both, and writes roles.
    pub reconciler: HeldToken,
}

impl ClusterCredential {
    /// When both should be renewed: at two thirds of the life of the one that ends first, and no later
    /// than two thirds of `life`, whatever the cluster made of that wish.
    pub fn renew_at(&self, life: Duration) -> Timestamp {
        let due = |held: &HeldToken| {
            let given = held.expires_at.duration_since(held.issued_at);
            let wished = SignedDuration::try_from(life).unwrap_or(SignedDuration::MAX);
            let share = given.min(wished).saturating_mul(2) / 3;
            held.issued_at.checked_add(share).unwrap_or(Timestamp::MAX)
        };
        due(&self.impersonator).min(due(&self.reconciler))
    }
}

/// Why a sealed credential cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// Another key, another place, or damaged.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// It opens, and holds something else.
    #[error("the sealed credential holds something else")]
    Shape,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    impersonator: WireToken,
    reconciler: WireToken,
}

#[derive(Serialize, Deserialize)]
struct WireToken {
    token: Zeroized,
    issued_at: Timestamp,
    expires_at: Timestamp,
}

/// A text that is wiped when it is dropped, for serde.
struct Zeroized(Zeroizing<String>);

impl Serialize for Zeroized {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Zeroized {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

impl From<&HeldToken> for WireToken {
    fn from(held: &HeldToken) -> Self {
        Self {
            token: Zeroized(held.token.clone()),
            issued_at: held.issued_at,
            expires_at: held.expires_at,
        }
    }
}

impl From<WireToken> for HeldToken {
    fn from(wire: WireToken) -> Self {
        Self {
            token: wire.token.0,
            issued_at: wire.issued_at,
            expires_at: wire.expires_at,
        }
    }
}

/// Seals a credential for the cluster object that will hold it.
pub fn seal(
    keyring: &Keyring,
    cluster: &Cluster,
    credential: &ClusterCredential,
) -> Result<String, SealError> {
    let wire = Wire {
        impersonator: (&credential.impersonator).into(),
        reconciler: (&credential.reconciler).into(),
    };
    // Strings and times: serialising them cannot fail; what came out empty would not open again.
    let plain = Zeroizing::new(serde_json::to_vec(&wire).unwrap_or_default());
    keyring.seal(&plain, &place(cluster))
}

/// Opens what [`seal`] made, if it still stands where it was made for.
pub fn open(
    keyring: &Keyring,
    cluster: &Cluster,
    sealed: &str,
) -> Result<ClusterCredential, CredentialError> {
    let plain = keyring.open(sealed, &place(cluster))?;
    let wire: Wire = serde_json::from_slice(&plain).map_err(|_| CredentialError::Shape)?;
    Ok(ClusterCredential {
        impersonator: wire.impersonator.into(),
        reconciler: wire.reconciler.into(),
    })
}

/// Whether an update of a cluster drops its credential: what was trusted with it is no longer the same.
pub fn must_drop(old: &ClusterSpec, new: &ClusterSpec) -> bool {
    old.server != new.server || old.ca != new.ca || old.tls_server_name != new.tls_server_name
}

fn place(cluster: &Cluster) -> Vec<u8> {
    associated(&[
        &Cluster::key(&cluster.metadata.name),
        &cluster.metadata.uid,
        &cluster.spec.server,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(token: &str, seconds: i64) -> HeldToken {
        HeldToken {
            token: Zeroizing::new(token.to_owned()),
            issued_at: Timestamp::UNIX_EPOCH,
            expires_at: Timestamp::from_second(seconds).unwrap(),
        }
    }

    fn some() -> ClusterCredential {
        ClusterCredential {
            impersonator: held("imp", 900),
            reconciler: held("rec", 1200),
        }
    }

    fn cluster(name: &str, uid: &str, server: &str) -> Cluster {
        let spec = ClusterSpec {
            server: server.to_owned(),
            ..ClusterSpec::default()
        };
        let mut cluster = Cluster::new(name, spec);
        uid.clone_into(&mut cluster.metadata.uid);
        cluster
    }

    #[test]
    fn a_sealed_credential_opens_only_where_it_was_made_for() {
        let folder = tempfile::tempdir().unwrap();
        let keyring = Keyring::generate(&folder.path().join("keys")).unwrap();
        let here = cluster("a", "u-1", "https://a:6443");
        let sealed = seal(&keyring, &here, &some()).unwrap();
        assert!(!sealed.contains("imp"));
        let opened = open(&keyring, &here, &sealed).unwrap();
        assert_eq!(*opened.impersonator.token, "imp");
        assert_eq!(*opened.reconciler.token, "rec");
        for elsewhere in [
            cluster("b", "u-1", "https://a:6443"),
            cluster("a", "u-2", "https://a:6443"),
            cluster("a", "u-1", "https://b:6443"),
        ] {
            assert!(open(&keyring, &elsewhere, &sealed).is_err());
        }
    }

    #[test]
    fn renewal_is_due_at_two_thirds_of_the_shortest_life() {
        let at = |life| some().renew_at(Duration::from_secs(life)).as_second();
        assert_eq!(at(3600), 600);
        assert_eq!(at(3), 2);
    }

    #[test]
    fn a_change_of_what_is_trusted_drops_the_credential() {
        let old = cluster("a", "u", "https://a:6443").spec;
        assert!(!must_drop(&old, &old.clone()));
        let changed = |change: fn(&mut ClusterSpec)| {
            let mut new = old.clone();
            change(&mut new);
            must_drop(&old, &new)
        };
        assert!(changed(|new| new.server = "https://b:6443".to_owned()));
        assert!(changed(|new| new.ca = "x".to_owned()));
        assert!(changed(|new| new.tls_server_name = "x".to_owned()));
        assert!(!changed(|new| new.user_prefix = "x:".to_owned()));
    }
}
