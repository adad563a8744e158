//! Who may do what: the meaning of a request, and the decision on it.
//!
//! Guarantees: [`request_info`] reads a target exactly as a Kubernetes API server does, and refuses what two
//! readers could read differently, so that what is authorised is what the cluster will do. [`policy`] and
//! [`raw`] decide by `rbac/v1` rules with exactly their meaning upstream; nothing here ever denies by rule,
//! no match is a deny.
//!
//! What could go wrong: a rule that matches more than upstream's (a privilege), a path that means something
//! else to the cluster (a bypass), a covering check taken for a matching check (an escalation). Hence plain
//! matching ([`rules`]) is the reference, the compiled table is tested against it, and covering ([`covers`])
//! is an algorithm of its own.
//!
//! Left to others: who the caller is (`authn`), which bytes go out (`proxy`).

mod acting;
pub mod attributes;
mod authorize;
mod bits;
pub mod covers;
pub mod describe;
pub mod explain;
pub mod files;
pub mod folder;
mod layers;
mod permit;
#[cfg(test)]
mod plain;
pub mod policy;
pub mod question;
pub mod raw;
pub mod request_info;
pub mod rules;
mod shards;
pub mod source;
mod table;

pub use acting::{ActingError, Actor, Assumed};
pub use attributes::Attributes;
pub use authorize::Authz;
pub use files::built_in_roles;
pub use folder::{FolderView, PolicyFolder, project_uid};
pub use permit::{Asked, AuthzError, OwnPermit, Pace, Permit, Permitted, Purpose, Reach};
pub use policy::{Change, Decision, Place, Policy, Who};
pub use raw::{RawDecision, RawPolicy};
pub use request_info::{Refusal, RequestInfo};
