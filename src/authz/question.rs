//! A question put to a policy without a gateway: who, what, where. Cases, `policy explain` and its batch
//! all ask in this form.
//!
//! What could go wrong: a question that is answered for another place than was meant. A cluster that is
//! named outright makes the target that cluster's own; else the target is one of the gateway, and
//! `/k8s/clusters/<name>/…` leads to a cluster.

use super::Attributes;
use serde::Deserialize;
use std::fmt;

/// Where a cluster's paths begin on the gateway.
const CLUSTERS: &str = "/k8s/clusters/";

/// Who asks, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// May be empty if there are groups.
    pub user: String,
    /// As given; nothing is added (`system:authenticated` neither).
    pub groups: Vec<String>,
}

/// Who asks for what, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Who asks.
    pub subject: Subject,
    /// The cluster asked about, if it was named outright; empty counts as not named.
    pub cluster: Option<String>,
    /// For what.
    pub asked: Asked,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// An HTTP request.
    Request {
        /// As on the wire, upper-case.
        method: String,
        /// The raw path with its query.
        target: String,
    },
    /// Attributes, as an access review has them.
    Attributes(AskedAttributes),
}

/// The attributes of an access review, flat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AskedAttributes {
    /// `get`, `list`, …
    #[serde(default)]
    pub verb: String,
    /// Set: the question is about this path, and about no resource.
    #[serde(default)]
    pub path: Option<String>,
    /// Empty: the core group.
    #[serde(default)]
    pub group: String,
    /// Not looked at.
    #[serde(default)]
    pub version: String,
    /// `pods`
    #[serde(default)]
    pub resource: String,
    /// `log`
    #[serde(default)]
    pub subresource: String,
    /// Empty: no name.
    #[serde(default)]
    pub name: String,
    /// Empty: all namespaces, or none.
    #[serde(default)]
    pub namespace: String,
    /// Not looked at; RBAC judges no selectors.
    #[serde(default)]
    pub field_selector: String,
    /// Not looked at; RBAC judges no selectors.
    #[serde(default)]
    pub label_selector: String,
}

impl AskedAttributes {
    /// In the form that rules are matched against.
    pub fn attributes(&self) -> Attributes<'_> {
        match &self.path {
            Some(path) => Attributes::of_path(&self.verb, path),
            None => Attributes {
                is_resource: true,
                verb: &self.verb,
                api_group: &self.group,
                api_version: &self.version,
                namespace: &self.namespace,
                resource: &self.resource,
                subresource: &self.subresource,
                name: &self.name,
                path: "",
            },
        }
    }

    fn has_resource_part(&self) -> bool {
        [
            &self.group,
            &self.version,
            &self.resource,
            &self.subresource,
            &self.name,
            &self.namespace,
        ]
        .into_iter()
        .any(|part| !part.is_empty())
    }
}

impl fmt::Display for AskedAttributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&super::describe::request(&self.attributes()))
    }
}

impl Question {
    /// `METHOD TARGET`, as in a case file.
    pub fn of_line(line: &str, subject: Subject, cluster: Option<String>) -> Result<Self, String> {
        let (method, target) = line
            .split_once(' ')
            .ok_or_else(|| format!("{line:?} is not METHOD, a space, and the path"))?;
        Self::of_request(method, target, subject, cluster)
    }

    /// A method and a target.
    pub fn of_request(
        method: &str,
        target: &str,
        subject: Subject,
        cluster: Option<String>,
    ) -> Result<Self, String> {
        if method.is_empty() {
            return Err("the method is empty".to_owned());
        }
        Ok(Self {
            subject,
            cluster,
            asked: Asked::Request {
                method: method.to_owned(),
                target: target.to_owned(),
            },
        })
    }

    /// Attributes, as in a case file.
    pub fn of_attributes(
        asked: AskedAttributes,
        subject: Subject,
        cluster: Option<String>,
    ) -> Result<Self, String> {
        if asked.path.is_some() && asked.has_resource_part() {
            return Err("attributes have a path or speak of a resource, not both".to_owned());
        }
        if asked.path.is_none() && asked.resource.is_empty() {
            return Err("attributes need a path or a resource".to_owned());
        }
        Ok(Self {
            subject,
            cluster,
            asked: Asked::Attributes(asked),
        })
    }

    /// The method; empty for attributes.
    pub fn method(&self) -> &str {
        match &self.asked {
            Asked::Request { method, .. } => method,
            Asked::Attributes(_) => "",
        }
    }

    /// The raw target; empty for attributes.
    pub fn target(&self) -> &str {
        match &self.asked {
            Asked::Request { target, .. } => target,
            Asked::Attributes(_) => "",
        }
    }

    /// The cluster that is asked about, and the target as that cluster sees it. No cluster: the gateway's
    /// own API.
    pub fn place(&self) -> (Option<&str>, &str) {
        let target = self.target();
        if let Some(cluster) = self.cluster.as_deref().filter(|name| !name.is_empty()) {
            return (Some(cluster), target);
        }
        let Some(rest) = target.strip_prefix(CLUSTERS) else {
            return (None, target);
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (name, inner) = rest.split_at(end);
        (Some(name), inner)
    }
}

/// `spec` of a SubjectAccessReview. Keys that the API server does not know are passed over, as there.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReviewSpec {
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    groups: Option<Vec<String>>,
    #[serde(default)]
    resource_attributes: Option<ReviewResource>,
    #[serde(default)]
    non_resource_attributes: Option<ReviewPath>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ReviewResource {
    namespace: Option<String>,
    verb: Option<String>,
    group: Option<String>,
    version: Option<String>,
    resource: Option<String>,
    subresource: Option<String>,
    name: Option<String>,
    field_selector: Option<ReviewSelector>,
    label_selector: Option<ReviewSelector>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ReviewSelector {
    raw_selector: Option<String>,
    requirements: Option<Vec<serde_json::Value>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ReviewPath {
    path: Option<String>,
    verb: Option<String>,
}

impl ReviewSpec {
    /// The question that the review puts; refused where the API server answers 422
    /// (`pkg/apis/authorization/validation`).
    pub fn question(self, cluster: Option<String>) -> Result<Question, String> {
        let subject = Subject {
            user: self.user.unwrap_or_default(),
            groups: self.groups.unwrap_or_default(),
        };
        if subject.user.is_empty() && subject.groups.is_empty() {
            return Err("spec.user: at least one of user or group must be specified".to_owned());
        }
        let asked = match (self.resource_attributes, self.non_resource_attributes) {
            (Some(resource), None) => resource.asked()?,
            (None, Some(path)) => AskedAttributes {
                verb: path.verb.unwrap_or_default(),
                path: Some(path.path.unwrap_or_default()),
                ..AskedAttributes::default()
            },
            (Some(_), Some(_)) => {
                return Err("spec.nonResourceAttributes: cannot be specified in combination with resourceAttributes".to_owned());
            }
            (None, None) => {
                return Err("spec.resourceAttributes: exactly one of nonResourceAttributes or resourceAttributes must be specified".to_owned());
            }
        };
        Ok(Question {
            subject,
            cluster,
            asked: Asked::Attributes(asked),
        })
    }
}

impl ReviewResource {
    fn asked(self) -> Result<AskedAttributes, String> {
        Ok(AskedAttributes {
            verb: self.verb.unwrap_or_default(),
            path: None,
            group: self.group.unwrap_or_default(),
            version: self.version.unwrap_or_default(),
            resource: self.resource.unwrap_or_default(),
            subresource: self.subresource.unwrap_or_default(),
            name: self.name.unwrap_or_default(),
            namespace: self.namespace.unwrap_or_default(),
            field_selector: raw_selector(self.field_selector, "fieldSelector")?,
            label_selector: raw_selector(self.label_selector, "labelSelector")?,
        })
    }
}

fn raw_selector(selector: Option<ReviewSelector>, key: &str) -> Result<String, String> {
    let Some(selector) = selector else {
        return Ok(String::new());
    };
    let raw = selector.raw_selector.unwrap_or_default();
    let has_requirements = selector.requirements.is_some_and(|list| !list.is_empty());
    match (raw.is_empty(), has_requirements) {
        (false, true) => Err(format!(
            "spec.resourceAttributes.{key}.rawSelector: may not specified at the same time as requirements"
        )),
        (true, false) => Err(format!(
            "spec.resourceAttributes.{key}.requirements: when {key} is specified, requirements or rawSelector is required"
        )),
        (false, false) | (true, true) => Ok(raw),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(line: &str, cluster: Option<&str>) -> Question {
        let subject = Subject {
            user: "jane".to_owned(),
            groups: Vec::new(),
        };
        Question::of_line(line, subject, cluster.map(str::to_owned)).unwrap()
    }

    #[test]
    fn a_gateway_path_leads_to_its_cluster() {
        for (line, cluster, expected) in [
            ("GET /api/v1/pods", None, (None, "/api/v1/pods")),
            (
                "GET /k8s/clusters/a/api/v1/pods?x=1",
                None,
                (Some("a"), "/api/v1/pods?x=1"),
            ),
            ("GET /k8s/clusters/a", None, (Some("a"), "")),
            ("GET /k8s/clusters/a?x", None, (Some("a"), "?x")),
            (
                "GET /k8s/clusters/a/x",
                Some("b"),
                (Some("b"), "/k8s/clusters/a/x"),
            ),
            ("GET /api", Some("b"), (Some("b"), "/api")),
            ("GET /k8s/clusters/a/x", Some(""), (Some("a"), "/x")),
        ] {
            assert_eq!(asks(line, cluster).place(), expected, "{line}");
        }
    }

    #[test]
    fn reviews_that_the_api_server_refuses_are_refused() {
        for bad in [
            r"{}",
            r#"{"user":"a"}"#,
            r#"{"resourceAttributes":{"verb":"get"}}"#,
            r#"{"user":"a","resourceAttributes":{},"nonResourceAttributes":{}}"#,
            r#"{"user":"a","resourceAttributes":{"fieldSelector":{}}}"#,
            r#"{"user":"a","resourceAttributes":{"labelSelector":{"rawSelector":"a","requirements":[{}]}}}"#,
        ] {
            let spec: ReviewSpec = serde_json::from_str(bad).unwrap();
            assert!(spec.question(None).is_err(), "{bad}");
        }
        let good = r#"{"groups":["g"],"uid":"1","extra":{"a":["b"]},"resourceAttributes":{"verb":"get","resource":"pods","unknown":1}}"#;
        let spec: ReviewSpec = serde_json::from_str(good).unwrap();
        assert!(spec.question(None).is_ok());
    }
}
