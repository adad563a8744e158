//! The way to a cluster: where it is, how it is dialled, and what goes over the connection.
//!
//! `dial` guards every connection that the gateway opens to a cluster (P11 of the attack list);
//! `endpoint` says where a cluster is and with which credential it is spoken to.

pub mod dial;
pub mod endpoint;
