//! What a decision is about: the attributes of one request, or of one access review.

use crate::objects::{Binding, GROUP, Kind as _};

/// Well-known resources that are in no namespace, `namespaces` aside: a request for one of them by name is in it.
pub(super) const IN_NO_NAMESPACE: [&str; 12] = [
    "apiservices",
    "certificatesigningrequests",
    "clusterrolebindings",
    "clusterroles",
    "customresourcedefinitions",
    "mutatingwebhookconfigurations",
    "nodes",
    "persistentvolumes",
    "priorityclasses",
    "storageclasses",
    "validatingadmissionpolicies",
    "validatingwebhookconfigurations",
];

/// The attributes that rules are matched against (`authorizer.Attributes` upstream).
///
/// Made from a [`super::RequestInfo`], or by hand from the spec of an access review, where a subresource
/// may hold slashes and a resource may be `*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attributes<'a> {
    /// Resource request, or a plain path.
    pub is_resource: bool,
    /// `get`, `list`, …; for a plain path the method in lower case. Empty: matches `*` alone.
    pub verb: &'a str,
    /// Empty: the core group.
    pub api_group: &'a str,
    /// Not matched by any rule; kept for messages.
    pub api_version: &'a str,
    /// Empty: no namespace.
    pub namespace: &'a str,
    /// `pods`
    pub resource: &'a str,
    /// `log`, or empty.
    pub subresource: &'a str,
    /// Empty: no name.
    pub name: &'a str,
    /// Decoded path; matched only for plain paths.
    pub path: &'a str,
}

impl<'a> Attributes<'a> {
    /// Attributes of a plain path.
    pub fn of_path(verb: &'a str, path: &'a str) -> Self {
        Self {
            verb,
            path,
            ..Self::default()
        }
    }

    /// Attributes of a resource request; namespace, name and subresource are for the caller to add.
    pub fn of_resource(verb: &'a str, api_group: &'a str, resource: &'a str) -> Self {
        Self {
            is_resource: true,
            verb,
            api_group,
            resource,
            ..Self::default()
        }
    }

    /// The same request with another verb.
    #[must_use]
    pub fn with_verb(self, verb: &'a str) -> Self {
        Self { verb, ..self }
    }

    /// Whether it asks for all namespaces at once: the same request in one of them may be another matter.
    pub fn is_over_namespaces(&self) -> bool {
        self.is_resource
            && self.namespace.is_empty()
            && self.resource != "namespaces"
            && !IN_NO_NAMESPACE.contains(&self.resource)
    }

    /// Whether it is about who holds what on the gateway. A role of scope project that allows this counts on the
    /// gateway's own API too, for the bindings of its project alone: whoever holds it manages the project's members.
    pub fn is_about_bindings(&self) -> bool {
        self.is_resource
            && self.api_group == GROUP
            && self.resource == Binding::PLURAL
            && self.subresource.is_empty()
    }

    /// `pods/log`, or `pods` without a subresource: what rules name.
    pub fn combined_resource(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.to_owned()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }
}
