//! One rule as somebody holds it, or nearly holds it: the common form of both kinds of policy.

use crate::{
    authz::{Attributes, describe, rules, source::Spot},
    objects::rules::PolicyRule,
};
use serde::Serialize;

/// A rule, and how it reaches the one who asks.
pub(super) struct Grant<'a> {
    /// `None`: held without a binding.
    pub(super) binding: Option<Named>,
    /// `group "devs"`, `everyone who is logged in`.
    pub(super) subject: String,
    /// The role that is bound.
    pub(super) role: Named,
    /// From the role that is bound to the one that has the rule, if they are two.
    pub(super) via: Vec<String>,
    pub(super) rule: &'a PolicyRule,
    pub(super) index: usize,
    pub(super) spot: Spot,
    /// Why it does not reach the one who asks.
    pub(super) bar: Option<Bar>,
    pub(super) words: Words,
}

/// What keeps a grant from the one who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bar {
    /// Its subject is somebody else.
    Subject,
    /// Its subject is somebody else and it is for another place, or its role is of another scope: too far
    /// to tell of.
    Elsewhere,
    /// It is for another place: what of the place is missing, and a text that says which it is for.
    Place(&'static str, String),
    /// It has expired; the text says when.
    Expired(String),
}

/// In whose words a reason is put.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Words {
    Ours,
    /// Those of the API server's own answer.
    Kubernetes,
}

/// A named object and where it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Named {
    /// `Binding`, `Role`, `ClusterRoleBinding`, …
    pub kind: &'static str,
    /// The object's name.
    pub name: String,
    /// Empty: none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Where it is written.
    #[serde(flatten)]
    pub spot: Spot,
}

/// Why a request is allowed: binding → role → rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The sentence.
    pub text: String,
    /// `null`: held without a binding.
    pub binding: Option<Named>,
    /// To whom the binding gives the role.
    pub subject: String,
    /// The role that is bound; `null` if none is asked for.
    pub role: Option<Named>,
    /// From the role that is bound to the one that has the rule, if they are two.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub via: Vec<String>,
    /// The rule that matches.
    pub rule: Option<ShownRule>,
}

/// A rule and where it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShownRule {
    /// Its number among the role's rules, from 0.
    pub index: usize,
    /// Where it is written.
    #[serde(flatten)]
    pub spot: Spot,
    /// What it says.
    #[serde(flatten)]
    pub rule: PolicyRule,
}

impl Grant<'_> {
    pub(super) fn applies(&self) -> bool {
        self.bar.is_none()
    }

    pub(super) fn allows(&self, attrs: &Attributes<'_>) -> bool {
        rules::allows(self.rule, attrs)
    }

    pub(super) fn shown_rule(&self) -> ShownRule {
        ShownRule {
            index: self.index,
            spot: self.spot.clone(),
            rule: self.rule.clone(),
        }
    }

    pub(super) fn reason(&self, attrs: &Attributes<'_>) -> Reason {
        Reason {
            text: match self.words {
                Words::Ours => self.our_words(attrs),
                Words::Kubernetes => self.kubernetes_words(),
            },
            binding: self.binding.clone(),
            subject: self.subject.clone(),
            role: Some(self.role.clone()),
            via: self.via.clone(),
            rule: Some(self.shown_rule()),
        }
    }

    fn our_words(&self, attrs: &Attributes<'_>) -> String {
        let request = describe::request(attrs);
        let Some(binding) = &self.binding else {
            return format!(
                "{request} is allowed by role {:?}, which {} holds",
                self.role.name, self.subject
            );
        };
        format!(
            "{request} is allowed by binding {:?} of role {:?} to {}",
            binding.name, self.role.name, self.subject
        )
    }

    /// `pkg/registry/rbac/validation/rule.go`, `clusterRoleBindingDescriber` and its neighbour.
    fn kubernetes_words(&self) -> String {
        let Some(binding) = &self.binding else {
            return String::new();
        };
        let name = if binding.namespace.is_empty() {
            binding.name.clone()
        } else {
            format!("{}/{}", binding.name, binding.namespace)
        };
        format!(
            "RBAC: allowed by {} {name:?} of {} {:?} to {}",
            binding.kind, self.role.kind, self.role.name, self.subject
        )
    }

    /// `role "r" of binding "b"`.
    pub(super) fn chain(&self) -> String {
        match &self.binding {
            Some(binding) => format!("role {:?} of binding {:?}", self.role.name, binding.name),
            None => format!("role {:?}, which {} holds,", self.role.name, self.subject),
        }
    }
}
