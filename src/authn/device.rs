//! What a client keeps of a login, to be known at the next one: a proof that this user's password was right
//! there once.
//!
//! It opens nothing. It only says that its holder is no stranger to the account, so that wrong passwords of
//! strangers do not keep them out (`throttle`). It is sealed under the gateway's keys for one user's uid, so
//! nothing has to be stored, every replica reads it, and it is worth nothing for another account. A text
//! that does not open is no proof and no error: whoever sends one is a stranger.

use super::NoRandomness;
use crate::store::seal::{Keyring, SealError, associated};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How long a proof is good: who logs in once in half a year stays known.
const LIFE: SignedDuration = SignedDuration::from_hours(180 * 24);
/// Bytes of a text: far above what is made here, far below what would be work to open.
const MAX_TEXT: usize = 512;
/// Names the purpose, so that no other sealed text is taken for a proof.
const PURPOSE: &str = "login device";

/// Tells the devices of one user apart.
pub(super) type DeviceId = [u8; 16];

/// A client that has logged in before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// The same at every login of the device.
    pub(super) id: DeviceId,
    /// Whether the proof was given for the password of today.
    pub(super) fresh: bool,
}

#[derive(Serialize, Deserialize)]
struct Proof {
    id: DeviceId,
    /// Of the password ([`super::UserEntry::password_epoch`]).
    epoch: u64,
    /// Seconds since 1970.
    until: i64,
}

/// Why no proof can be given.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// No random bytes.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// The keys do not seal.
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl Device {
    /// Reads a proof for the user with this uid, whose password has this epoch now.
    pub fn open(
        keyring: &Keyring,
        text: &str,
        user: &str,
        epoch: u64,
        now: Timestamp,
    ) -> Option<Self> {
        if text.len() > MAX_TEXT {
            return None;
        }
        let plain = keyring.open(text, &place(user)).ok()?;
        let proof: Proof = serde_json::from_slice(&plain).ok()?;
        (now.as_second() < proof.until).then_some(Self {
            id: proof.id,
            fresh: proof.epoch == epoch,
        })
    }

    /// A proof for a user who has just logged in; `known` keeps its id.
    pub fn seal(
        keyring: &Keyring,
        known: Option<Self>,
        user: &str,
        epoch: u64,
        now: Timestamp,
    ) -> Result<String, DeviceError> {
        let id = known.map_or_else(random, |known| Ok(known.id))?;
        let until = now
            .saturating_add(LIFE)
            .map_or(i64::MAX, Timestamp::as_second);
        // Numbers: this cannot fail.
        let plain = serde_json::to_vec(&Proof { id, epoch, until }).unwrap_or_default();
        Ok(keyring.seal(&plain, &place(user))?)
    }
}

fn random() -> Result<DeviceId, NoRandomness> {
    let mut id = DeviceId::default();
    aws_lc_rs::rand::fill(&mut id).map_err(|_| NoRandomness)?;
    Ok(id)
}

fn place(user: &str) -> Vec<u8> {
    associated(&[PURPOSE, user])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring() -> Keyring {
        let folder = tempfile::tempdir().unwrap();
        Keyring::generate(&folder.path().join("keys")).unwrap()
    }

    fn now() -> Timestamp {
        "2026-11-22T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_proof_is_good_for_its_user_and_keeps_its_id() {
        let keys = keyring();
        let text = Device::seal(&keys, None, "uid-1", 3, now()).unwrap();
        let device = Device::open(&keys, &text, "uid-1", 3, now()).unwrap();
        assert!(device.fresh);
        let again = Device::seal(&keys, Some(device), "uid-1", 4, now()).unwrap();
        let again = Device::open(&keys, &again, "uid-1", 4, now()).unwrap();
        assert_eq!(again, device);
        let other = Device::seal(&keys, None, "uid-1", 3, now()).unwrap();
        let other = Device::open(&keys, &other, "uid-1", 3, now()).unwrap();
        assert_ne!(other.id, device.id, "two devices");
    }

    #[test]
    fn what_is_not_a_proof_for_this_user_is_none() {
        let keys = keyring();
        let text = Device::seal(&keys, None, "uid-1", 3, now()).unwrap();
        let open = |text: &str, user, at| Device::open(&keys, text, user, 3, at);
        assert!(open(&text, "uid-2", now()).is_none(), "another user");
        let later = now() + LIFE;
        assert!(open(&text, "uid-1", later).is_none(), "too old");
        let mut changed = text.clone().into_bytes();
        *changed.last_mut().unwrap() ^= 1;
        let changed = String::from_utf8(changed).unwrap();
        for odd in ["", "v1", "v1..", "v1.0.x", &changed, &"x".repeat(100_000)] {
            assert!(open(odd, "uid-1", now()).is_none(), "{odd:.20}");
        }
        let foreign = Device::seal(&keyring(), None, "uid-1", 3, now()).unwrap();
        assert!(open(&foreign, "uid-1", now()).is_none(), "another gateway");
        // A text that was sealed for something else, with the very content of a proof.
        let proof = keys.open(&text, &place("uid-1")).unwrap();
        let credential = keys.seal(&proof, &associated(&["uid-1"])).unwrap();
        assert!(open(&credential, "uid-1", now()).is_none());
    }

    #[test]
    fn a_proof_from_before_a_change_of_the_password_is_old() {
        let keys = keyring();
        let text = Device::seal(&keys, None, "uid-1", 3, now()).unwrap();
        let device = Device::open(&keys, &text, "uid-1", 4, now()).unwrap();
        assert!(!device.fresh);
    }
}
