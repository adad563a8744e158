//! Who calls, and how far they reach.

use crate::objects::TokenKind;
use jiff::Timestamp;

/// How far a caller reaches with this very request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The policy allows the request at global scope: it goes for every object.
    All,
    /// The policy does not: only what everybody who is logged in may do with what is theirs.
    Own,
}

/// The identity of a request to the own API, and its reach. Made by the gateway from the permit.
pub struct Caller {
    /// Uid of the user.
    pub user_uid: Box<str>,
    /// Their handle.
    pub handle: Box<str>,
    /// Uids of their groups.
    pub groups: Box<[Box<str>]>,
    /// Id of the token that the request carried.
    pub token_id: Box<str>,
    /// `pat` or `ses`.
    pub token_kind: TokenKind,
    /// Clusters that the token is good for; `None`: all.
    pub token_clusters: Option<Box<[Box<str>]>>,
    /// The end of the token's life.
    pub token_expires_at: Timestamp,
    /// How far this request reaches.
    pub reach: Reach,
}
