//! Logins by a code that a person types at the provider (RFC 8628, served by the provider and not by the gateway).
//!
//! The terminal keeps what was begun, sealed ([`Waiting`]): no replica remembers anything, and each can go on. What
//! the person sees is the provider's page, which does not say which machine asks: where that is not switched on
//! nothing begins (G4 of docs/attacks.md).

use super::{
    super::{Provider, Source},
    Arrival, ArrivalError, Failure, LIMIT,
};
use crate::store::seal::{Keyring, SealError};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{net::IpAddr, time::Duration};
use tokio::time::timeout;
use zeroize::Zeroizing;

/// Where such a login is at rest, in place of a record's key.
const PLACE: &str = "device at the provider";

/// A terminal's secret at the provider. Goes to nobody else, but sealed; wiped, and never logged (no `Debug`).
#[derive(Clone, Default)]
pub struct DeviceCode(Zeroizing<String>);

impl DeviceCode {
    /// To be sent to its provider.
    pub(in super::super) fn expose(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for DeviceCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

impl Serialize for DeviceCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// What the provider gives for a login that begins.
pub struct Codes {
    /// For the gateway.
    pub(in super::super) device_code: DeviceCode,
    /// What the person types.
    pub user_code: String,
    /// Where.
    pub verification_uri: String,
    /// How long both are good.
    pub life: Duration,
    /// How often the provider wants to be asked.
    pub interval: Duration,
}

/// A login that waits for its person. Whoever reads it could end it in place of its terminal: it is sealed, and never
/// logged (no `Debug`).
#[derive(Serialize, Deserialize)]
pub struct Waiting {
    device_code: DeviceCode,
    /// What the terminal calls its machine.
    pub client: String,
    /// The address that it began from.
    pub from: IpAddr,
    /// When its time is over.
    pub expires_at: Timestamp,
}

/// What the provider says of a code.
pub enum Polled {
    /// Nobody has typed it yet.
    Pending,
    /// It wants to be asked less often.
    SlowDown,
    /// Its time is over.
    Expired,
    /// It was used, or is none of the provider's.
    Used,
    /// Somebody said no.
    Denied,
    /// Somebody said yes.
    Arrived(Box<Arrival>),
}

impl Waiting {
    /// What a terminal of this name and address waits for.
    pub fn new(codes: &Codes, (client, from): (&str, IpAddr), now: Timestamp) -> Self {
        let life = jiff::SignedDuration::try_from(codes.life).unwrap_or_default();
        Self {
            device_code: codes.device_code.clone(),
            client: client.to_owned(),
            from,
            expires_at: now.saturating_add(life).unwrap_or(now),
        }
    }

    /// For the terminal: it opens for the provider that it came from, while that is the same server and client.
    pub fn seal(&self, keyring: &Keyring, provider: &Provider) -> Result<String, SealError> {
        // Texts and a time: this cannot fail.
        let plain = Zeroizing::new(serde_json::to_vec(self).unwrap_or_default());
        keyring.seal(&plain, &provider.place_of_device())
    }

    /// From the terminal.
    pub fn open(keyring: &Keyring, sealed: &str, provider: &Provider) -> Option<Self> {
        let plain = keyring.open(sealed, &provider.place_of_device()).ok()?;
        serde_json::from_slice(&plain).ok()
    }
}

impl Provider {
    /// Whether a terminal's person may type a code there.
    pub fn has_device_flow(&self) -> bool {
        match &self.source {
            Source::Ldap(_) | Source::Oidc(_) => false,
            Source::Github(github) => github.config().device_flow,
        }
    }

    /// A code for a person to type there. Within [`LIMIT`].
    pub async fn begin_device(&self) -> Result<Codes, Failure> {
        let work = async {
            match &self.source {
                Source::Github(github) if self.has_device_flow() => github.begin_device().await,
                Source::Github(_) | Source::Ldap(_) | Source::Oidc(_) => Err(Failure::NoDeviceFlow),
            }
        };
        let begun = timeout(LIMIT, Box::pin(work)).await;
        begun.unwrap_or(Err(Failure::TooSlow(LIMIT)))
    }

    /// Whether somebody has typed it. Within [`LIMIT`].
    pub async fn poll_device(&self, waiting: &Waiting) -> Result<Polled, ArrivalError> {
        let work = async {
            match &self.source {
                Source::Github(github) if self.has_device_flow() => {
                    github.poll_device(&waiting.device_code).await
                }
                Source::Github(_) | Source::Ldap(_) | Source::Oidc(_) => {
                    Err(Failure::NoDeviceFlow.into())
                }
            }
        };
        let polled = timeout(LIMIT, Box::pin(work)).await;
        polled.unwrap_or(Err(Failure::TooSlow(LIMIT).into()))
    }

    fn place_of_device(&self) -> Vec<u8> {
        self.place(&format!("{PLACE} {}", self.name))
    }
}
