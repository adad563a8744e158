//! Registered clusters: what the gateway holds of them, whether they answer, and what it keeps there.
//!
//! The gateway never holds an operator's credential. It holds two tokens of accounts of its own, sealed in
//! the store and in memory while it runs: `impersonator` carries users' requests, `reconciler` renews both
//! and keeps the grant groups' roles and bindings in step with policy (`manifest` says exactly what it may,
//! `reconcile` does it). A cluster without them is *pending*.

pub mod cleanup;
pub mod client;
pub mod credential;
pub mod health;
pub mod keeper;
pub mod kube;
pub mod manifest;
pub mod object;
pub mod reconcile;
pub mod registry;
pub mod service;
pub mod standing;

pub use registry::{NotReady, Registry};
pub use service::{CleanUp, ClusterError, Clusters, HandedOver, SyncReport};

/// Namespace of the two accounts.
pub const NAMESPACE: &str = "palisade-system";
/// The account on the data path.
pub const IMPERSONATOR: &str = "impersonator";
/// The account that renews and writes.
pub const RECONCILER: &str = "reconciler";
/// What names of cluster-wide objects of ours start with.
pub const PREFIX: &str = "palisade:";
/// Label of every object of ours.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The label's value, and the field manager of server-side apply.
pub const MANAGER: &str = "palisade";
