//! The stored kinds: what the gateway knows, in the shape in which its own API shows it.
//!
//! Each kind is a Kubernetes-shaped object (`apiVersion`, `kind`, `metadata`, `spec`, `status`) and a
//! *private* part that no API answer can hold, because it is another type: password hashes, token
//! hashes and sealed cluster credentials live there. Both are one value under one key, so that no crash
//! leaves an object without its secret or a secret without its object.
//!
//! What could go wrong: a newer gateway writes a shape that this one reads wrongly (every value carries a
//! schema version, and a newer one is refused), or a name that means something to a path parser or a
//! header (names are DNS labels, checked where an object is made).

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;

pub mod grant_group;
mod kinds;
mod names;
pub mod namespaces;
pub mod rules;
mod sync;

pub use kinds::{
    Binding, BindingSpec, Cluster, ClusterPrivate, ClusterSpec, ClusterStatus, Group, GroupSpec,
    Health, LOCAL, Member, Nothing, Principal, Project, ProjectSpec, Role, RoleScope, RoleSpec,
    Subject, SubjectKind, Token, TokenKind, TokenPrivate, TokenSpec, TokenStatus, USER_PREFIX,
    User, UserPrivate, UserSpec, UserStatus, VouchedSource,
};
pub use names::{NameError, check_handle, check_label};
pub use sync::{Step, SyncStatus};

/// API group of the gateway's own kinds.
pub const GROUP: &str = "palisade.dev";
/// Version of the gateway's own kinds.
pub const VERSION: &str = "v1alpha1";
/// `group/version`.
pub const API_VERSION: &str = "palisade.dev/v1alpha1";
/// Schema version that this build writes; a value with a higher one is refused.
pub const SCHEMA: u32 = 1;

/// Prefix of the keys that say which names removed objects of this kind had: such a name is nobody's any
/// more, or at least not what it was.
pub fn tombstones(plural: &str) -> String {
    format!("/palisade/tombstones/{plural}/")
}

/// `metav1.ObjectMeta`, as far as the gateway's kinds have it (they are all cluster-scoped).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Meta {
    /// A DNS label, unique within the kind.
    #[serde(default)]
    pub name: String,
    /// Given by the gateway once; never used again for another object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Revision of the last write, as decimal text; empty in the store itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    /// RFC 3339, whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<jiff::Timestamp>,
    /// Selected on by bindings (clusters) and by list requests.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Free text of users and tools.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Written by kubectl and other clients; taken and dropped.
    #[serde(default, skip_serializing)]
    pub managed_fields: Option<serde_json::Value>,
    /// Taken and dropped (`metav1.ObjectMeta`).
    #[serde(default, skip_serializing)]
    pub generation: Option<i64>,
    /// Taken and dropped (`metav1.ObjectMeta`).
    #[serde(default, skip_serializing)]
    pub self_link: Option<String>,
}

/// One kind of the gateway's own API.
pub trait Kind: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// `User`
    const KIND: &'static str;
    /// `users`: the resource, and the folder of its keys.
    const PLURAL: &'static str;
    /// `user`
    const SINGULAR: &'static str;
    /// Short names of the resource in discovery.
    const SHORT: &'static [&'static str];
    /// What is stored beside the object and never shown.
    type Private: Clone + Default + Serialize + DeserializeOwned + Send + Sync + 'static;

    /// The object's metadata.
    fn meta(&self) -> &Meta;
    /// The object's metadata, to be filled by the gateway.
    fn meta_mut(&mut self) -> &mut Meta;
    /// Fills `apiVersion` and `kind`, which a request may leave out.
    fn fill_type(&mut self);

    /// Key of the object called `name`.
    fn key(name: &str) -> String {
        format!("{}{name}", Self::prefix())
    }
    /// Prefix of all keys of this kind, with a slash at its end.
    fn prefix() -> String {
        format!("/palisade/{}/", Self::PLURAL)
    }
}

/// What a key's value holds: the schema version, the object, and what no answer may show.
///
/// No `Debug`: it holds secrets.
#[derive(Clone, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Stored<K: Kind> {
    /// [`SCHEMA`] at the time of writing.
    pub schema: u32,
    /// The object as the API shows it, without `resourceVersion`.
    pub object: K,
    /// Hashes and sealed credentials.
    #[serde(default)]
    pub private: K::Private,
}

/// Why a stored value cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// A newer gateway wrote it.
    #[error(
        "the value of {key} has schema version {found}, newer than {SCHEMA}: run the newer palisade"
    )]
    Newer {
        /// The store's key.
        key: String,
        /// Its schema version.
        found: u32,
    },
    /// It is not what this build writes.
    #[error("the value of {key} cannot be read: {source}")]
    Broken {
        /// The store's key.
        key: String,
        /// What serde says.
        source: serde_json::Error,
    },
}

impl<K: Kind> Stored<K> {
    /// A new value of this build's schema.
    pub fn new(object: K, private: K::Private) -> Self {
        Self {
            schema: SCHEMA,
            object,
            private,
        }
    }

    /// Bytes for the store; `resourceVersion` is left out, the store's own revision says it.
    pub fn encode(&self) -> Vec<u8> {
        let mut copy = self.clone();
        copy.object.meta_mut().resource_version.clear();
        // Kinds hold strings, numbers, lists and string-keyed maps: serialising them cannot fail.
        serde_json::to_vec(&copy).unwrap_or_default()
    }

    /// Reads a store value and fills `resourceVersion` from the store's revision.
    pub fn decode(key: &str, value: &[u8], mod_revision: u64) -> Result<Self, DecodeError> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let broken = |source| DecodeError::Broken {
            key: key.to_owned(),
            source,
        };
        let Version { schema } = serde_json::from_slice(value).map_err(broken)?;
        if schema > SCHEMA {
            return Err(DecodeError::Newer {
                key: key.to_owned(),
                found: schema,
            });
        }
        let mut stored: Self = serde_json::from_slice(value).map_err(broken)?;
        stored.object.meta_mut().resource_version = mod_revision.to_string();
        Ok(stored)
    }
}
