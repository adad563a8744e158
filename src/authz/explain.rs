//! Why: the slow path over the objects as they are written, with every rule that allows a request, and on
//! a deny those that come closest.
//!
//! Guarantees: the decision here is the one of the compiled table for the same objects (a property test
//! holds it), and each reason names binding, role and rule with the place where they are written.
//!
//! What could go wrong: an explanation that is kinder than the decision. So nothing is judged here in any
//! other way than by [`super::rules::compare`], subject by subject and rule by rule; and nothing is
//! shortened before it is judged.
//!
//! Left to others: who may see an explanation. All of the policy may come to light in it.

use super::{
    Attributes, RequestInfo, describe,
    question::{Asked, Question},
    source::{OwnSource, RawSource},
};
use crate::objects::rules::PolicyRule;
use jiff::Timestamp;
use serde::Serialize;

mod grant;
mod near;
mod own;
mod raw;
pub mod text;

#[cfg(test)]
mod tests;

pub use grant::{Named, Reason};
pub use near::NearMiss;

/// The user groups that an API server lets do everything before any authoriser of rules is asked
/// (`pkg/kubeapiserver/authorizer/reload.go`).
pub const MASTERS: &str = "system:masters";

/// The policy that judges.
#[derive(Clone, Copy, Debug)]
pub enum Judge<'a> {
    /// Our own roles and bindings: what the gateway answers.
    Own(&'a OwnSource),
    /// One cluster's RBAC objects: what its API server answers.
    Cluster(&'a RawSource),
}

/// What comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Some rule matches.
    Allow,
    /// No rule matches.
    Deny,
    /// Answered 400 before anybody is asked.
    Refuse,
}

impl Verdict {
    /// `allow`, `deny`, `refuse`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Refuse => "refuse",
        }
    }
}

/// The attributes of a question, as they are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownAttributes {
    /// Resource request, or a plain path.
    pub is_resource: bool,
    /// `get`, `list`, …
    pub verb: String,
    /// `api`, `apis` or empty.
    pub api_prefix: String,
    /// Empty: the core group.
    pub api_group: String,
    /// `v1`
    pub api_version: String,
    /// Empty: none.
    pub namespace: String,
    /// `pods`
    pub resource: String,
    /// `log`
    pub subresource: String,
    /// Empty: none.
    pub name: String,
    /// The decoded path.
    pub path: String,
    /// Of list, watch and deletecollection.
    pub field_selector: String,
    /// Of list, watch and deletecollection.
    pub label_selector: String,
}

impl ShownAttributes {
    fn matched(&self) -> Attributes<'_> {
        Attributes {
            is_resource: self.is_resource,
            verb: &self.verb,
            api_group: &self.api_group,
            api_version: &self.api_version,
            namespace: &self.namespace,
            resource: &self.resource,
            subresource: &self.subresource,
            name: &self.name,
            path: &self.path,
        }
    }
}

/// Why a target is answered 400.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShownRefusal {
    /// A stable word.
    pub code: String,
    /// A sentence.
    pub message: String,
}

/// The answer to a question, with its reasons: the fields of `-o json`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// What was asked, as it was understood.
    #[serde(flatten)]
    pub attributes: ShownAttributes,
    /// A second verb that had to be allowed as well, or empty.
    pub extra_verb: String,
    /// Who asked.
    pub user: String,
    /// With the groups that a folder's Group objects add.
    pub groups: Vec<String>,
    /// Empty: the gateway's own API, or the one cluster of RBAC manifests.
    pub cluster: String,
    /// `own` or `cluster-rbac`.
    pub policy: &'static str,
    /// `allow`, `deny` or `refuse`.
    pub decision: Verdict,
    /// Every rule that allows it.
    pub reasons: Vec<Reason>,
    /// On a deny, the rules that come closest.
    pub near_misses: Vec<NearMiss>,
    /// On a deny, the one rule that would allow it and nothing else.
    pub smallest_grant: Option<PolicyRule>,
    /// On a broken line of a batch, what is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// On a refuse, why.
    pub refusal: Option<ShownRefusal>,
    /// What else a reader should know.
    pub notes: Vec<String>,
}

/// Answers a question. `now` decides which bindings have expired.
pub fn explain(judge: Judge<'_>, question: &Question, now: Timestamp) -> Explanation {
    let (cluster, target) = match judge {
        Judge::Own(_) => question.place(),
        // The manifests are one cluster's: there is no other place to lead to.
        Judge::Cluster(_) => (None, question.target()),
    };
    let mut answer = Explanation::begin(judge, question, cluster);
    let info;
    match &question.asked {
        Asked::Request { method, .. } => match RequestInfo::parse(method, target, false) {
            Ok(parsed) => info = Some(parsed),
            Err(refusal) => {
                target.clone_into(&mut answer.attributes.path);
                answer.refuse(refusal.code(), &refusal.to_string());
                return answer;
            }
        },
        Asked::Attributes(asked) => {
            info = None;
            answer.attributes = shown_review(asked);
        }
    }
    let mut extra = None;
    if let Some(info) = &info {
        answer.attributes = shown(info);
        extra = info.extra_verb;
    }
    match judge {
        Judge::Own(source) => {
            let found = own::grants(source, question, cluster, now, &mut answer);
            extra.unwrap_or_default().clone_into(&mut answer.extra_verb);
            answer.decide(&found, extra);
            if answer.decision == Verdict::Deny {
                own::say_where(source, &found, now, &mut answer);
            }
        }
        Judge::Cluster(source) => {
            let found = raw::grants(source, question, &mut answer);
            answer.decide(&found, None);
            if let Some(reason) = raw::masters(&question.subject) {
                answer.allow_all(reason);
            }
            if extra.is_some() && answer.decision == Verdict::Allow {
                answer.notes.push(
                    "API servers from 1.35 on ask for create as well when such a GET is upgraded"
                        .to_owned(),
                );
            }
        }
    }
    answer
}

/// An answer for what was no question at all: a broken line of a batch.
pub fn broken(message: &str) -> Explanation {
    let mut answer = Explanation::empty();
    answer.error = Some(message.to_owned());
    answer.refuse("malformed", message);
    answer
}

impl Explanation {
    fn empty() -> Self {
        Self {
            attributes: ShownAttributes::default(),
            extra_verb: String::new(),
            user: String::new(),
            groups: Vec::new(),
            cluster: String::new(),
            policy: "",
            decision: Verdict::Deny,
            reasons: Vec::new(),
            near_misses: Vec::new(),
            smallest_grant: None,
            error: None,
            refusal: None,
            notes: Vec::new(),
        }
    }

    fn begin(judge: Judge<'_>, question: &Question, cluster: Option<&str>) -> Self {
        Self {
            user: question.subject.user.clone(),
            groups: question.subject.groups.clone(),
            cluster: cluster.unwrap_or_default().to_owned(),
            policy: match judge {
                Judge::Own(_) => "own",
                Judge::Cluster(_) => "cluster-rbac",
            },
            ..Self::empty()
        }
    }

    /// All that it says: reasons, near misses, the refusal, notes.
    pub fn said(&self) -> impl Iterator<Item = &str> {
        let reasons = self.reasons.iter().map(|reason| reason.text.as_str());
        let near = self.near_misses.iter().map(|miss| miss.text.as_str());
        let refusal = self
            .refusal
            .iter()
            .flat_map(|refusal| [&*refusal.code, &*refusal.message]);
        let notes = self.notes.iter().map(String::as_str);
        reasons.chain(near).chain(refusal).chain(notes)
    }

    fn refuse(&mut self, code: &str, message: &str) {
        self.decision = Verdict::Refuse;
        self.refusal = Some(ShownRefusal {
            code: code.to_owned(),
            message: message.to_owned(),
        });
    }

    fn allow_all(&mut self, reason: Reason) {
        self.decision = Verdict::Allow;
        self.reasons.insert(0, reason);
        self.near_misses.clear();
        self.smallest_grant = None;
    }

    /// Allowed if some grant that applies allows the request, and some (perhaps another) the extra verb.
    fn decide(&mut self, grants: &[grant::Grant<'_>], extra: Option<&'static str>) {
        let attributes = self.attributes.clone();
        let asked = attributes.matched();
        let mut lacking = Vec::new();
        for check in std::iter::once(asked).chain(extra.map(|verb| asked.with_verb(verb))) {
            let reasons: Vec<Reason> = grants
                .iter()
                .filter(|grant| grant.applies() && grant.allows(&check))
                .map(|grant| grant.reason(&check))
                .collect();
            if reasons.is_empty() {
                lacking.push(check);
            }
            for reason in reasons {
                if !self.reasons.contains(&reason) {
                    self.reasons.push(reason);
                }
            }
        }
        let Some(first) = lacking.first() else {
            self.decision = Verdict::Allow;
            return;
        };
        self.decision = Verdict::Deny;
        self.reasons.clear();
        self.near_misses = near::nearest(grants, first);
        self.smallest_grant = Some(smallest(&lacking));
        if let (Some(verb), true) = (extra, first.verb != asked.verb) {
            let held = describe::request(&asked);
            self.notes.push(format!(
                "{held} is allowed, but a GET of it needs {verb} as well"
            ));
        }
    }
}

/// The one rule that allows what is lacking, and nothing else.
fn smallest(lacking: &[Attributes<'_>]) -> PolicyRule {
    let Some(first) = lacking.first() else {
        return PolicyRule::default();
    };
    let verbs = lacking.iter().map(|check| check.verb.to_owned()).collect();
    if !first.is_resource {
        return PolicyRule {
            verbs,
            non_resource_urls: vec![first.path.to_owned()],
            ..PolicyRule::default()
        };
    }
    PolicyRule {
        verbs,
        api_groups: vec![first.api_group.to_owned()],
        resources: vec![first.combined_resource()],
        resource_names: Some(first.name)
            .filter(|name| !name.is_empty())
            .map(|name| vec![name.to_owned()])
            .unwrap_or_default(),
        ..PolicyRule::default()
    }
}

fn shown(info: &RequestInfo<'_>) -> ShownAttributes {
    ShownAttributes {
        is_resource: info.is_resource,
        verb: info.verb.to_string(),
        api_prefix: info.api_prefix.to_string(),
        api_group: info.api_group.to_string(),
        api_version: info.api_version.to_string(),
        namespace: info.namespace.to_string(),
        resource: info.resource.to_string(),
        subresource: info.subresource.to_string(),
        name: info.name.to_string(),
        path: info.path.to_string(),
        field_selector: info.field_selector.to_string(),
        label_selector: info.label_selector.to_string(),
    }
}

fn shown_review(asked: &super::question::AskedAttributes) -> ShownAttributes {
    let attrs = asked.attributes();
    ShownAttributes {
        is_resource: attrs.is_resource,
        verb: attrs.verb.to_owned(),
        api_prefix: String::new(),
        api_group: attrs.api_group.to_owned(),
        api_version: attrs.api_version.to_owned(),
        namespace: attrs.namespace.to_owned(),
        resource: attrs.resource.to_owned(),
        subresource: attrs.subresource.to_owned(),
        name: attrs.name.to_owned(),
        path: attrs.path.to_owned(),
        field_selector: asked.field_selector.clone(),
        label_selector: asked.label_selector.clone(),
    }
}
