//! The proof that one request may go on, and the only place that makes one.
//!
//! What could go wrong: a permit made without a decision (the fields are private, the constructor is
//! [`super::Authz::authorize`]), a stranger who learns which clusters exist (an unknown cluster and one on which
//! the caller holds nothing are the same error), a token used beyond its scope (asked before the policy).

use super::{
    ActingError, Actor, RequestInfo,
    policy::{Grants, HeldGrant},
};
use crate::{
    request::{ClusterTarget, Head},
    status::Details,
};
use std::{borrow::Cow, sync::Arc};

/// Grants that one request carries: an API server spends about 8 µs on each group. More is refused, never cut (H8).
pub(super) const MOST_GRANTS: usize = 128;

/// How far a permit for the gateway's own API reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// A global role allows it: everybody's objects.
    All,
    /// Only what everyone who is logged in may: one's own objects.
    Own,
}

/// Why a request may not go on.
#[derive(Debug, thiserror::Error)]
pub enum AuthzError {
    /// No such cluster, or nothing held on it: the same to a stranger.
    #[error("user {user:?} holds no role on cluster {cluster:?}, or there is no such cluster")]
    NoGrant {
        /// Handle.
        user: String,
        /// As it was asked for.
        cluster: String,
    },
    /// No role that the user holds there allows it.
    #[error("{message}")]
    Denied {
        /// Kubernetes' own words (`responsewriters/errors.go`), with the gateway's reason.
        message: String,
        /// What it is about.
        details: Box<Details>,
    },
    /// More roles than a request can carry.
    #[error(
        "user {user:?} holds more than {MOST_GRANTS} roles on cluster {cluster:?} that would go with this request, and so many cannot be sent; a request in one namespace carries those of its project alone"
    )]
    TooManyGrants {
        /// Handle.
        user: String,
        /// As it was asked for.
        cluster: String,
    },
    /// The token is good for other clusters only (P12).
    #[error("this token is not valid for cluster {cluster:?}")]
    TokenScope {
        /// As it was asked for.
        cluster: String,
    },
    /// A cluster-scoped token on the gateway's own API.
    #[error("this token is valid for clusters only, not for the gateway's own API")]
    TokenNotForOwn,
    /// Nobody acts so (H1).
    #[error(transparent)]
    Acting(#[from] ActingError),
}

impl AuthzError {
    pub(super) fn no_grant(user: &str, cluster: &str) -> Self {
        Self::NoGrant {
            user: user.to_owned(),
            cluster: cluster.to_owned(),
        }
    }
}

/// The proof that a request may go to a cluster.
///
/// ```compile_fail
/// # use palisade::authz::Permit;
/// // The fields are private: nobody but the authoriser makes one.
/// fn forge(permit: Permit) -> Permit {
///     Permit { cut: 0, ..permit }
/// }
/// ```
pub struct Permit {
    actor: Actor,
    cluster: Box<str>,
    cut: usize,
    grants: Grants,
    allowed_by: Arc<str>,
    shape: Shape,
}

/// What kind of answer a request will have; decides which connections it shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Ends by itself within a minute.
    Short,
    /// May be long and large: a plain log, a proxied application.
    Bulk,
    /// Stays open and trickles: a watch, a followed log.
    Trickle,
}

/// How a permitted request travels.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) pace: Pace,
    pub(super) proxied: bool,
    pub(super) command: bool,
}

impl Permit {
    pub(super) fn new(
        actor: Actor,
        cluster: Box<str>,
        cut: usize,
        grants: Grants,
        allowed_by: Arc<str>,
        shape: Shape,
    ) -> Self {
        Self {
            actor,
            cluster,
            cut,
            grants,
            allowed_by,
            shape,
        }
    }

    /// Whose request it is, and whose rights it has.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Where it may go.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Bytes of the raw target that come before the cluster's own.
    pub fn cut(&self) -> usize {
        self.cut
    }

    /// What the one whose rights count holds there, and in the project of the request's namespace: what grant groups
    /// are made of. At most `MOST_GRANTS`.
    pub fn grants(&self) -> &[HeldGrant] {
        &self.grants
    }

    /// Name of the role that allowed the request; others that the user holds may do so too.
    pub fn allowed_by(&self) -> &Arc<str> {
        &self.allowed_by
    }

    /// What kind of answer it will have.
    pub fn pace(&self) -> Pace {
        self.shape.pace
    }

    /// Whether it goes to an application under a `proxy` subresource.
    pub fn is_proxied(&self) -> bool {
        self.shape.proxied
    }

    /// Whether it runs a command in a Pod, or joins one (exec, attach): such a stream tells how it ended.
    pub fn is_command(&self) -> bool {
        self.shape.command
    }
}

/// The proof that a request may go to the gateway's own API.
pub struct OwnPermit {
    actor: Actor,
    reach: Reach,
    allowed_by: Arc<str>,
}

impl OwnPermit {
    pub(super) fn new(actor: Actor, reach: Reach, allowed_by: Arc<str>) -> Self {
        Self {
            actor,
            reach,
            allowed_by,
        }
    }

    /// Whose request it is, and whose rights it has.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// How far it reaches.
    pub fn reach(&self) -> Reach {
        self.reach
    }

    /// Name of the role that allowed the request.
    pub fn allowed_by(&self) -> &Arc<str> {
        &self.allowed_by
    }
}

/// Where a request wants to go, once login and the front page are out of the way.
#[derive(Clone, Debug)]
pub enum Purpose {
    /// To a cluster, which may not exist.
    Cluster(ClusterTarget),
    /// To the gateway's own API.
    Own,
}

impl Purpose {
    /// The target as the addressee sees it.
    pub fn rest<'h>(&self, head: &'h Head) -> Cow<'h, str> {
        match self {
            Self::Cluster(cluster) => cluster.rest(head),
            Self::Own => Cow::Borrowed(head.raw_target()),
        }
    }
}

/// What is asked: where to, and what for.
pub struct Asked<'h> {
    /// Where to.
    pub purpose: Purpose,
    /// What the addressee will make of it.
    pub info: RequestInfo<'h>,
    /// Whether the query has `follow`, of logs: such an answer trickles.
    pub follows: bool,
}

/// A permit, by where the request goes.
pub enum Permitted {
    /// To a cluster.
    Cluster(Permit),
    /// To the gateway's own API.
    Own(OwnPermit),
}
