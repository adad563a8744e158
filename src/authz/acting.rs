//! Acting as somebody else (`kubectl --as`): who may, as whom, and the proof of it.
//!
//! Guarantees: the right is asked exactly as an API server asks it, verb `impersonate` on `users`, `groups`,
//! `authentication.k8s.io` `uids` and `userextras/<key>`, with the value as the name, one decision for each,
//! of the person whose token it is, at the place where the request goes (H12). All of them come before
//! anybody is looked up: to whom the policy gives no right on a name, a user that exists and one that does
//! not are the same refusal.
//!
//! What an attacker would try: a name that a cluster gives a meaning (`system:…`, `palisade:…`: refused by
//! its form, H1, H10), somebody else's uid beside a name that they may use (refused), one of the gateway's
//! own extras (refused), a token of another cluster (its scope is asked first).
//!
//! Left to others: reading the headers (`request`), what somebody may do once they act ([`super::Authz`]).

use super::{Attributes, Authz, AuthzError, Place, Purpose, Who, authorize::denied};
use crate::{
    authn::{Authn, AuthnError, Identity, Slot, Unknowable, UserEntry},
    request::{Impersonation, impersonation::Extra},
    status::clock,
};
use http::HeaderValue;
use std::sync::Arc;

/// What the keys of the gateway's own extras start with.
const OWN_EXTRAS: &str = "palisade.dev/";
/// API group of `uids` and `userextras`.
const AUTHENTICATION: &str = "authentication.k8s.io";

/// Whose request it is, and whose rights it has. Made by [`Authz::act`] alone.
///
/// ```compile_fail
/// # use palisade::{authn::Identity, authz::Actor};
/// // The fields are private: nobody but the authoriser lets one act as another.
/// fn forge(caller: Identity, other: Actor) -> Actor {
///     Actor { caller, ..other }
/// }
/// ```
#[derive(Clone)]
pub struct Actor {
    caller: Identity,
    assumed: Option<Arc<Assumed>>,
}

/// Somebody whom a request acts as.
pub struct Assumed {
    user: Arc<UserEntry>,
    groups: Arc<[Box<str>]>,
    extras: Vec<Extra>,
}

impl Assumed {
    /// Their handle.
    pub fn handle(&self) -> &str {
        &self.user.handle
    }

    /// Their uid.
    pub fn uid(&self) -> &str {
        &self.user.uid
    }

    /// The groups, if they are the user's own: the ones that were asked for are this request's alone.
    fn shared_groups(&self) -> Option<&Arc<[Box<str>]>> {
        Arc::ptr_eq(&self.groups, &self.user.groups).then_some(&self.groups)
    }

    /// Uids of the groups that count: their own, or the ones that were asked for instead.
    pub fn groups(&self) -> &[Box<str>] {
        &self.groups
    }

    /// What was asked for besides.
    pub fn extras(&self) -> &[Extra] {
        &self.extras
    }
}

impl Actor {
    fn own(caller: Identity) -> Self {
        Self {
            caller,
            assumed: None,
        }
    }

    /// Who sent the request, and with which token.
    pub fn caller(&self) -> &Identity {
        &self.caller
    }

    /// Whom they act as, if not as themselves.
    pub fn assumed(&self) -> Option<&Arc<Assumed>> {
        self.assumed.as_ref()
    }

    /// Handle of the one whose rights count.
    pub fn handle(&self) -> &str {
        match &self.assumed {
            Some(assumed) => assumed.handle(),
            None => self.caller.handle(),
        }
    }

    /// Uid of the one whose rights count.
    pub fn user_uid(&self) -> &str {
        match &self.assumed {
            Some(assumed) => assumed.uid(),
            None => self.caller.user_uid(),
        }
    }

    /// The name under which a cluster with this prefix sees them; `None` if no header can hold it.
    pub fn sent_name(&self, prefix: &str) -> Option<HeaderValue> {
        self.user().sent_name(prefix)
    }

    /// Their uid as a header's value; `None` if no header can hold it.
    pub fn sent_uid(&self) -> Option<HeaderValue> {
        self.user().sent_uid()
    }

    fn user(&self) -> &UserEntry {
        match &self.assumed {
            Some(assumed) => &assumed.user,
            None => self.caller.user(),
        }
    }

    /// Uids of the groups whose rights count.
    pub fn groups(&self) -> &[Box<str>] {
        match &self.assumed {
            Some(assumed) => assumed.groups(),
            None => self.caller.groups(),
        }
    }

    /// As the policy asks for them.
    pub(super) fn who(&self) -> Who<'_> {
        Who {
            user: self.user_uid(),
            groups: self.groups(),
            shared: match &self.assumed {
                Some(assumed) => assumed.shared_groups(),
                None => Some(&self.caller.user().groups),
            },
        }
    }
}

/// Why nobody acts as somebody else, beyond a right that is missing ([`AuthzError::Denied`]).
#[derive(Debug, thiserror::Error)]
pub enum ActingError {
    /// `system:serviceaccount:…`
    #[error("{0:?} is a service account: --as takes the handle of a user of this gateway")]
    ServiceAccount(String),
    /// `system:…`
    #[error(
        "{0:?} is a name that Kubernetes keeps for itself: --as takes the handle of a user of this gateway, --as-group the name of one of its groups"
    )]
    System(String),
    /// `palisade:…`
    #[error(
        "{0:?} is a name that clusters see: --as takes the handle of a user of this gateway, --as-group the name of one of its groups"
    )]
    ClusterSide(String),
    /// `palisade.dev/…`
    #[error("the extra {0:?} is written by the gateway, and by nobody else")]
    OwnExtra(String),
    /// Told to whoever may act as that name.
    #[error("there is no user {0:?} to act as")]
    NoUser(String),
    /// Told to whoever may act in a group of that name.
    #[error("there is no group {0:?} to act in")]
    NoGroup(String),
    /// Nobody acts as them either.
    #[error("user {0:?} is disabled, and so nobody can act as them")]
    Disabled(String),
    /// A uid of somebody else, or of nobody.
    #[error("user {0:?} has another uid than the one to act with (--as-uid)")]
    WrongUid(String),
    /// 503: their record cannot be read.
    #[error("cannot tell who {0:?} is")]
    Unknown(String, #[source] Unknowable),
}

impl Authz {
    /// Lets a caller act as whom they ask for. The only maker of an [`Actor`].
    ///
    /// # Errors
    /// [`AuthzError`]: the request must be answered 403 (503 if it could not be told).
    pub fn act(
        &self,
        caller: Identity,
        wanted: Option<Impersonation>,
        purpose: &Purpose,
        people: &Authn,
    ) -> Result<Actor, AuthzError> {
        let Some(wanted) = wanted else {
            return Ok(Actor::own(caller));
        };
        check_form(&wanted)?;
        self.may_act(&caller, &wanted, purpose)?;
        let assumed = resolve(wanted, people)?;
        Ok(Actor {
            caller,
            assumed: Some(Arc::new(assumed)),
        })
    }

    /// Asks the policy for each of the rights, in upstream's order.
    fn may_act(
        &self,
        caller: &Identity,
        wanted: &Impersonation,
        purpose: &Purpose,
    ) -> Result<(), AuthzError> {
        let place = match purpose {
            Purpose::Cluster(target) => {
                super::authorize::within_scope(caller, &target.name)?;
                Place::Cluster(&target.name)
            }
            Purpose::Own if caller.token_clusters().is_some() => {
                return Err(AuthzError::TokenNotForOwn);
            }
            Purpose::Own => Place::Global,
        };
        let who = Who {
            user: caller.user_uid(),
            groups: caller.groups(),
            shared: Some(&caller.user().groups),
        };
        let policy = self.policy();
        let now = clock::now();
        for attrs in rights(wanted) {
            if policy.decide(&who, place, &attrs, now).allowed() {
                continue;
            }
            // An extra's value is nobody's business but the caller's: not in a message, not in a log.
            let shown = match attrs.resource {
                "userextras" => Attributes { name: "", ..attrs },
                _ => attrs,
            };
            return Err(match place {
                Place::Cluster(cluster) if !policy.holds_any(&who, cluster, now) => {
                    AuthzError::no_grant(caller.handle(), cluster)
                }
                Place::Cluster(cluster) => denied(
                    caller.handle(),
                    &shown,
                    &format!("no role of yours on cluster {cluster:?} allows it"),
                ),
                // Nobody goes to a project: its roles let nobody act as anybody.
                Place::Global | Place::Project(_) => denied(
                    caller.handle(),
                    &shown,
                    "no role of yours on the gateway's own API allows it",
                ),
            });
        }
        Ok(())
    }
}

/// What must be allowed, all of it (`buildImpersonationRequests` upstream).
fn rights(wanted: &Impersonation) -> impl Iterator<Item = Attributes<'_>> {
    let of = |group, resource, name| Attributes {
        name,
        ..Attributes::of_resource("impersonate", group, resource)
    };
    let user = std::iter::once(of("", "users", &*wanted.user));
    let groups = wanted.groups.iter().map(move |name| of("", "groups", name));
    let extras = wanted.extras.iter().map(move |extra| Attributes {
        subresource: &extra.key,
        ..of(AUTHENTICATION, "userextras", &extra.value)
    });
    let uid = wanted
        .uid
        .iter()
        .map(move |uid| of(AUTHENTICATION, "uids", uid));
    user.chain(groups).chain(extras).chain(uid)
}

/// Names that no user or group of the gateway can have say so to everybody: it shows by the name alone.
fn check_form(wanted: &Impersonation) -> Result<(), ActingError> {
    for name in std::iter::once(&wanted.user).chain(&wanted.groups) {
        let shown = || name.to_string();
        if name.starts_with("system:serviceaccount:") {
            return Err(ActingError::ServiceAccount(shown()));
        }
        if name.starts_with("system:") {
            return Err(ActingError::System(shown()));
        }
        if name.starts_with("palisade:") {
            return Err(ActingError::ClusterSide(shown()));
        }
    }
    for Extra { key, .. } in &wanted.extras {
        // In any case: what reads an audit log may fold it.
        let start = key.get(..OWN_EXTRAS.len());
        if start.is_some_and(|start| start.eq_ignore_ascii_case(OWN_EXTRAS)) {
            return Err(ActingError::OwnExtra(key.to_string()));
        }
    }
    Ok(())
}

/// The people behind the names. Only for somebody who may act as them.
fn resolve(wanted: Impersonation, people: &Authn) -> Result<Assumed, ActingError> {
    let Impersonation {
        user: name,
        groups,
        uid,
        extras,
    } = wanted;
    let name = name.into_string();
    let user = match people.user(&name) {
        Some(Slot::Known(user)) => user,
        Some(Slot::Unreadable) => {
            return Err(ActingError::Unknown(name, Unknowable::Unreadable));
        }
        None => return Err(ActingError::NoUser(name)),
    };
    match user.judge(clock::now()) {
        Ok(()) => {}
        Err(AuthnError::Unavailable(why)) => return Err(ActingError::Unknown(name, why)),
        Err(AuthnError::Refused(_) | AuthnError::Ambiguous(_)) => {
            return Err(ActingError::Disabled(name));
        }
    }
    if uid.is_some_and(|uid| *uid != *user.uid) {
        return Err(ActingError::WrongUid(name));
    }
    let groups = if groups.is_empty() {
        Arc::clone(&user.groups)
    } else {
        let uid = |group: Box<str>| match people.group_uid(&group) {
            Some(uid) => Ok(uid),
            None => Err(ActingError::NoGroup(group.into_string())),
        };
        groups.into_iter().map(uid).collect::<Result<_, _>>()?
    };
    Ok(Assumed {
        user,
        groups,
        extras,
    })
}
