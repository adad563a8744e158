//! Who is asking: credential → identity.
//!
//! Guarantees: an [`Identity`] is made here alone, from a token that is whole (shape and CRC), known,
//! unexpired, and whose user exists under the same uid and is not disabled. The look-up reads in-memory
//! maps: no lock, no await, no store.
//!
//! What an attacker would try: two credentials in one request, so that the gateway and somebody behind
//! it read different ones (400); near-miss spellings of `Bearer` (401); tokens of a removed person whose
//! handle was given to another (the uid must match); floods of invented tokens (the CRC is checked before
//! any map is read, and nothing is remembered about a token that is not known); telling users apart by the
//! time or the text of a failed login ([`passwords`]); trying passwords by the million, or trying so many
//! that the person is kept out ([`throttle`]).
//!
//! Left to others: what an identity may do (`authz`), and taking the credential out of what is sent on
//! (`proxy`).

mod credential;
mod device;
mod identity;
mod index;
pub mod passwords;
pub mod providers;
pub mod throttle;
mod token;
pub mod usage;

pub use credential::{BEARER_PROTOCOL_PREFIX, Credential, WebSocket};
pub use device::{Device, DeviceError};
pub use identity::{Authn, AuthnError, Identity, Refusal, Unknowable};
pub use index::{GroupNames, Index, Slot, TokenEntry, TokenFacts, UserEntry};
pub use token::{
    Malformed, NoRandomness, PREFIX as TOKEN_PREFIX, ParsedToken, TokenId, TokenText, random_id,
};

#[cfg(test)]
mod tests;
