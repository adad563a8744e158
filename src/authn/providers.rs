//! Where people log in besides local accounts: providers, and what they last said of an account.
//!
//! A provider knows accounts and groups by immutable ids; the gateway keeps one user for each account that
//! ever logged in, and beside it a [`Record`] of what the provider said last: groups, state, and when. Requests
//! read that in memory ([`Account`]) and never wait for a provider; [`refresh`] asks again, beside them.
//!
//! Guarantees: an account that the provider no longer has, or has disabled, locked or let expire, is refused once
//! that was read; one of a provider that was disabled or taken out of the configuration at once. What could not be
//! read leaves everything as it was until it is too old ([`Rules::max_age`]), and then nobody can tell who this is
//! (503): it is never taken for an account without groups.
//!
//! What an attacker would try: the name of somebody who has left (users are found by the immutable id, and a handle
//! is given once), a group that is called like another one (bindings name ids, with the provider's name in front),
//! a directory under somebody else's control (its ids count for itself alone).
//!
//! Left to others: what is typed at a login and how often (`api::login`, [`super::throttle`]).

mod account;
#[cfg(test)]
pub(crate) mod fake;
mod files;
pub mod github;
mod ids;
pub mod ldap;
mod live;
pub mod oidc;
pub mod redirect;
pub mod refresh;

pub use account::{
    Account, Accounts, GroupRef, PREFIX, Record, Rules, Standing, group_uid, is_group_uid,
    record_key,
};
pub use ids::Ids;
pub use live::{Live, Provider, Providers, Source, check_files, check_files_of};
pub use redirect::{Arrival, ArrivalError, Begun, Callback, Grant, Pending, Polled, Waiting};
