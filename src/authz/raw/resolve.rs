//! The slow path: upstream's own loop over the bindings, for the reason in upstream's own words.
//!
//! Bindings are visited by name (upstream: in the order of its cache), so the grant named is one of those
//! that allow, always the same.

use super::{ClusterRoleBinding, MASTERS, RawDecision, RawPolicy, RoleBinding, RoleRef, Subject};
use crate::authz::policy::Who;
use crate::authz::{Attributes, rules};
use crate::objects::rules::PolicyRule;

/// A decision with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict<'p> {
    /// What [`RawPolicy::decide`] says too.
    pub decision: RawDecision,
    /// The binding that allows, and its role.
    pub grant: Option<Grant<'p>>,
    /// Roles that bindings of this user name and that cannot be had.
    pub errors: Vec<String>,
}

/// A binding that applies to the user, and the subject of it that is the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant<'p> {
    /// Empty: a ClusterRoleBinding.
    pub namespace: &'p str,
    /// Name of the binding.
    pub binding: &'p str,
    /// The role it names.
    pub role: &'p RoleRef,
    /// The subject that applies.
    pub subject: &'p Subject,
    /// The role's rule that matches; `None` while none is known to.
    pub rule: Option<&'p PolicyRule>,
}

impl RawPolicy {
    /// Decides like [`RawPolicy::decide`], and says why.
    pub fn explain(&self, who: &Who<'_>, attrs: &Attributes<'_>) -> Verdict<'_> {
        let mut verdict = Verdict {
            decision: RawDecision::NoOpinion,
            grant: None,
            errors: Vec::new(),
        };
        if who.groups.iter().any(|group| **group == *MASTERS) {
            verdict.decision = RawDecision::AllowMasters;
            return verdict;
        }
        for grant in self.applying(who, attrs.namespace) {
            match self.rules_for(&grant) {
                Err(error) => verdict.errors.push(error),
                Ok(found) => {
                    if let Some(rule) = found.iter().find(|rule| rules::allows(rule, attrs)) {
                        verdict.decision = RawDecision::Allow;
                        verdict.grant = Some(Grant {
                            rule: Some(rule),
                            ..grant
                        });
                        return verdict;
                    }
                }
            }
        }
        verdict
    }

    /// The bindings that apply to the user in a namespace (`""`: cluster-wide only), in upstream's order.
    pub fn applying(&self, who: &Who<'_>, namespace: &str) -> Vec<Grant<'_>> {
        let cluster_wide = self
            .cluster_bindings
            .values()
            .filter_map(|binding| cluster_grant(binding, who));
        let namespaced = self
            .bindings
            .get(namespace)
            .filter(|_| !namespace.is_empty())
            .into_iter()
            .flat_map(|bindings| bindings.values())
            .filter_map(|binding| namespace_grant(binding, who));
        cluster_wide.chain(namespaced).collect()
    }

    /// The rules of a grant's role, or upstream's words for why there are none.
    pub fn rules_for(&self, grant: &Grant<'_>) -> Result<&[PolicyRule], String> {
        let kind = &grant.role.kind;
        let Some((kind, namespace, name)) = grant.role.key(grant.namespace) else {
            return Err(format!("unsupported role reference kind: {kind:?}"));
        };
        self.rules_of(kind, &namespace, &name).ok_or_else(|| {
            let resource = kind.to_ascii_lowercase();
            format!("{resource}.rbac.authorization.k8s.io {name:?} not found")
        })
    }
}

impl Verdict<'_> {
    /// Upstream's reason: what an access review's status shows.
    pub fn reason(&self) -> String {
        match (&self.grant, self.errors.as_slice()) {
            _ if self.decision == RawDecision::AllowMasters => {
                format!("a member of {MASTERS} is allowed everything, before RBAC is asked")
            }
            (Some(grant), _) => format!("RBAC: allowed by {}", grant.describe()),
            (None, []) => String::new(),
            (None, [error]) => format!("RBAC: {error}"),
            (None, errors) => {
                let mut once: Vec<&str> = Vec::new();
                for error in errors {
                    if !once.contains(&error.as_str()) {
                        once.push(error);
                    }
                }
                match once.as_slice() {
                    [error] => format!("RBAC: {error}"),
                    many => format!("RBAC: [{}]", many.join(", ")),
                }
            }
        }
    }
}

impl Grant<'_> {
    /// `ClusterRoleBinding "b" of ClusterRole "r" to User "u"`
    pub fn describe(&self) -> String {
        let binding = if self.namespace.is_empty() {
            format!("ClusterRoleBinding {:?}", self.binding)
        } else {
            format!("RoleBinding \"{}/{}\"", self.binding, self.namespace)
        };
        let Subject {
            kind,
            name,
            namespace,
        } = self.subject;
        let subject = if kind == "ServiceAccount" {
            let namespace = if namespace.is_empty() {
                self.namespace
            } else {
                namespace
            };
            format!("{kind} \"{name}/{namespace}\"")
        } else {
            format!("{kind} {name:?}")
        };
        let role = self.role;
        format!("{binding} of {} {:?} to {subject}", role.kind, role.name)
    }
}

fn cluster_grant<'p>(binding: &'p ClusterRoleBinding, who: &Who<'_>) -> Option<Grant<'p>> {
    let subject = first_applying(&binding.subjects, who, "")?;
    Some(Grant {
        namespace: "",
        binding: &binding.metadata.name,
        role: &binding.role_ref,
        subject,
        rule: None,
    })
}

fn namespace_grant<'p>(binding: &'p RoleBinding, who: &Who<'_>) -> Option<Grant<'p>> {
    let namespace = binding.metadata.namespace_or_default();
    let subject = first_applying(&binding.subjects, who, namespace)?;
    Some(Grant {
        namespace,
        binding: &binding.metadata.name,
        role: &binding.role_ref,
        subject,
        rule: None,
    })
}

fn first_applying<'p>(
    subjects: &'p [Subject],
    who: &Who<'_>,
    namespace: &str,
) -> Option<&'p Subject> {
    subjects.iter().find(|subject| match subject.kind.as_str() {
        "User" => subject.name == who.user,
        "Group" => who.groups.iter().any(|group| **group == *subject.name),
        "ServiceAccount" => subject
            .account(namespace)
            .is_some_and(|account| account == who.user),
        _ => false,
    })
}
