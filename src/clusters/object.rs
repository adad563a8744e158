//! The few kinds of Kubernetes objects that Palisade keeps in a cluster, and their paths.
//!
//! An [`Object`] can only be one of six kinds with a name of ours, in our namespace or in none. So a
//! command that applies what a gateway sent it with an operator's credential cannot be made to write
//! anything else, and names never bend a path.

use super::{NAMESPACE, PREFIX};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A kind that may be written to a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectKind {
    /// `v1`
    Namespace,
    /// `v1`
    ServiceAccount,
    /// `rbac.authorization.k8s.io/v1`
    ClusterRole,
    /// `rbac.authorization.k8s.io/v1`
    ClusterRoleBinding,
    /// `rbac.authorization.k8s.io/v1`
    Role,
    /// `rbac.authorization.k8s.io/v1`
    RoleBinding,
}

impl ObjectKind {
    /// All of them, in the order in which they are applied.
    pub const ALL: [Self; 6] = [
        Self::Namespace,
        Self::ServiceAccount,
        Self::ClusterRole,
        Self::ClusterRoleBinding,
        Self::Role,
        Self::RoleBinding,
    ];

    /// As it stands in `kind`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::ServiceAccount => "ServiceAccount",
            Self::ClusterRole => "ClusterRole",
            Self::ClusterRoleBinding => "ClusterRoleBinding",
            Self::Role => "Role",
            Self::RoleBinding => "RoleBinding",
        }
    }

    /// As it stands in `apiVersion`.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::Namespace | Self::ServiceAccount => "v1",
            Self::ClusterRole | Self::ClusterRoleBinding | Self::Role | Self::RoleBinding => {
                "rbac.authorization.k8s.io/v1"
            }
        }
    }

    /// Path of all objects of the kind (in our namespace, if it is namespaced).
    pub fn collection(self) -> String {
        let rbac = "/apis/rbac.authorization.k8s.io/v1";
        match self {
            Self::Namespace => "/api/v1/namespaces".to_owned(),
            Self::ServiceAccount => format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts"),
            Self::ClusterRole => format!("{rbac}/clusterroles"),
            Self::ClusterRoleBinding => format!("{rbac}/clusterrolebindings"),
            Self::Role => format!("{rbac}/namespaces/{NAMESPACE}/roles"),
            Self::RoleBinding => format!("{rbac}/namespaces/{NAMESPACE}/rolebindings"),
        }
    }

    fn namespaced(self) -> bool {
        match self {
            Self::ServiceAccount | Self::Role | Self::RoleBinding => true,
            Self::Namespace | Self::ClusterRole | Self::ClusterRoleBinding => false,
        }
    }
}

impl std::fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// One object of ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub struct Object {
    kind: ObjectKind,
    name: String,
    body: Value,
}

/// Why an object is none of ours.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOurs {
    /// `apiVersion` and `kind` are not in the list.
    #[error("{0:?} is no kind of object that Palisade keeps in a cluster")]
    Kind(String),
    /// Neither the namespace nor a name with our prefix, or in another namespace.
    #[error("{0:?} is no name of an object that Palisade keeps in a cluster")]
    Name(String),
}

impl Object {
    /// Adds `apiVersion`, `kind`, name, namespace and the label to `fields`.
    pub fn new(kind: ObjectKind, name: &str, fields: Value) -> Self {
        let mut metadata = serde_json::json!({
            "name": name,
            "labels": { super::MANAGED_BY: super::MANAGER },
        });
        if kind.namespaced()
            && let Some(metadata) = metadata.as_object_mut()
        {
            metadata.insert("namespace".to_owned(), NAMESPACE.into());
        }
        let mut body = serde_json::json!({
            "apiVersion": kind.api_version(),
            "kind": kind.name(),
            "metadata": metadata,
        });
        if let (Value::Object(body), Value::Object(fields)) = (&mut body, fields) {
            body.extend(fields);
        }
        Self {
            kind,
            name: name.to_owned(),
            body,
        }
    }

    /// What it is.
    pub fn kind(&self) -> ObjectKind {
        self.kind
    }

    /// `metadata.name`
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole object.
    pub fn body(&self) -> &Value {
        &self.body
    }

    /// Its path on an API server.
    pub fn path(&self) -> String {
        format!("{}/{}", self.kind.collection(), self.name)
    }
}

/// `ClusterRole palisade:impersonator`
impl std::fmt::Display for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Self {
        object.body
    }
}

impl TryFrom<Value> for Object {
    type Error = NotOurs;

    fn try_from(body: Value) -> Result<Self, NotOurs> {
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str);
        let (version, kind) = (text("/apiVersion"), text("/kind"));
        let kind = ObjectKind::ALL
            .into_iter()
            .find(|known| kind == Some(known.name()) && version == Some(known.api_version()))
            .ok_or_else(|| NotOurs::Kind(kind.unwrap_or_default().to_owned()))?;
        let name = text("/metadata/name").unwrap_or_default();
        let namespace = text("/metadata/namespace");
        let named = match kind {
            ObjectKind::Namespace => name == NAMESPACE,
            ObjectKind::ServiceAccount => name == super::IMPERSONATOR || name == super::RECONCILER,
            ObjectKind::ClusterRole
            | ObjectKind::ClusterRoleBinding
            | ObjectKind::Role
            | ObjectKind::RoleBinding => is_ours(name),
        };
        let placed = namespace == kind.namespaced().then_some(NAMESPACE);
        if !named || !placed {
            return Err(NotOurs::Name(name.to_owned()));
        }
        Ok(Self {
            kind,
            name: name.to_owned(),
            body,
        })
    }
}

/// `palisade:` and then what our names are made of; safe in a path.
pub(super) fn is_ours(name: &str) -> bool {
    let good = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b':';
    name.strip_prefix(PREFIX)
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(good))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    // CVE-2026-44939: what a gateway says an operator's command writes, and nothing else.
    #[test]
    fn an_object_that_is_not_ours_is_refused() {
        let rbac = "rbac.authorization.k8s.io/v1";
        let table = [
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "palisade:x"}}),
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}}),
            json!({"apiVersion": rbac, "kind": "ClusterRole", "metadata": {"name": "admin"}}),
            json!({"apiVersion": rbac, "kind": "ClusterRole", "metadata": {"name": "palisade:../x"}}),
            json!({"apiVersion": rbac, "kind": "ClusterRole", "metadata": {"name": "palisade:a?b"}}),
            json!({"apiVersion": rbac, "kind": "ClusterRole", "metadata": {"name": "palisade:"}}),
            json!({"apiVersion": rbac, "kind": "Role",
                   "metadata": {"name": "palisade:x", "namespace": "kube-system"}}),
            json!({"apiVersion": "v1", "kind": "ServiceAccount",
                   "metadata": {"name": "reconciler", "namespace": "default"}}),
            json!({}),
        ];
        for object in table {
            assert!(Object::try_from(object.clone()).is_err(), "{object}");
        }
    }

    #[test]
    fn an_object_of_ours_survives_the_wire() {
        let object = Object::new(ObjectKind::Role, "palisade:x", json!({"rules": []}));
        let wire = serde_json::to_string(&object).unwrap();
        assert_eq!(serde_json::from_str::<Object>(&wire).unwrap(), object);
        assert_eq!(
            object.path(),
            "/apis/rbac.authorization.k8s.io/v1/namespaces/palisade-system/roles/palisade:x"
        );
    }
}
