//! Aggregated ClusterRoles.
//!
//! An API server's authoriser reads `rules` alone; a controller fills the rules of a role that has an
//! `aggregationRule` from the roles that its selectors choose. What a server printed is therefore taken
//! as it stands, even if the rules are empty: that is what this server judges by. What people wrote by
//! hand has not been through the controller, and gets here what the controller would write
//! (`pkg/controller/clusterroleaggregation`: roles by name, equal rules once, whatever stood there is
//! replaced).
//!
//! What could go wrong: a chain (`view` into `edit` into `admin`). The controller works until nothing
//! changes; so does this, and rules are only ever added, from a finite set, so it ends.

use super::{Report, documents::Document};
use crate::{authz::source::RawSource, config::yaml::Node, objects::rules::PolicyRule};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// `aggregationRule`.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Aggregation {
    cluster_role_selectors: Option<Vec<Selector>>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Selector {
    match_labels: Option<BTreeMap<String, String>>,
    match_expressions: Option<Vec<Requirement>>,
}

#[derive(Clone, Deserialize)]
struct Requirement {
    key: String,
    operator: String,
    values: Option<Vec<String>>,
}

impl Selector {
    /// `metav1.LabelSelectorAsSelector`: an empty selector chooses everything.
    fn chooses(&self, labels: &BTreeMap<String, String>) -> bool {
        let equal = self.match_labels.iter().flatten();
        let required = self.match_expressions.iter().flatten();
        equal
            .into_iter()
            .all(|(key, value)| labels.get(key) == Some(value))
            && required.into_iter().all(|one| one.holds(labels))
    }
}

impl Requirement {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        let among = |value: &String| self.values.iter().flatten().any(|one| one == value);
        match self.operator.as_str() {
            "In" => value.is_some_and(among),
            "NotIn" => !value.is_some_and(among),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            // The API server refuses to store any other.
            _ => false,
        }
    }
}

/// What aggregation needs of a ClusterRole.
pub(super) struct Written {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) aggregation: Option<Aggregation>,
}

/// The ClusterRoles of a folder, as far as aggregation needs them.
#[derive(Default)]
pub(super) struct Aggregated {
    labels: BTreeMap<String, BTreeMap<String, String>>,
    by_hand: Vec<(String, Aggregation)>,
    printed_empty: Vec<Document>,
}

impl Aggregated {
    pub(super) fn add(&mut self, document: &Document, name: String, written: Written) {
        if let Some(aggregation) = written.aggregation {
            if printed_by_server(&document.node) {
                let rules = document.node.get("rules");
                if rules.is_none_or(|rules| rules.value == crate::config::yaml::Value::Null) {
                    self.printed_empty.push(document.clone());
                }
            } else {
                self.by_hand.push((name.clone(), aggregation));
            }
        }
        self.labels.insert(name, written.labels);
    }

    /// Fills the rules of the roles that were written by hand.
    pub(super) fn fill(&self, raw: &mut RawSource, report: &mut Report) {
        for document in &self.printed_empty {
            let message = "the server that printed this role has no controller that fills it: it grants nothing there";
            let mistake = document.mistake("aggregationRule", message);
            report.warning(&document.file, mistake);
        }
        let chosen: Vec<(&String, Vec<&String>)> = self
            .by_hand
            .iter()
            .map(|(name, aggregation)| (name, self.chosen_by(name, aggregation)))
            .collect();
        for (name, _) in &chosen {
            if let Some(role) = raw.cluster_roles.get_mut(*name) {
                role.object.rules.clear();
                role.origin.rules = [].into();
            }
        }
        let mut changed = true;
        while changed {
            changed = false;
            for (name, parts) in &chosen {
                let rules = union(raw, parts);
                if let Some(role) = raw.cluster_roles.get_mut(*name)
                    && role.object.rules.len() < rules.len()
                {
                    role.object.rules = rules;
                    changed = true;
                }
            }
        }
    }

    fn chosen_by(&self, name: &str, aggregation: &Aggregation) -> Vec<&String> {
        let selectors = aggregation.cluster_role_selectors.iter().flatten();
        self.labels
            .iter()
            .filter(|(other, _)| other.as_str() != name)
            .filter(|(_, labels)| selectors.clone().any(|one| one.chooses(labels)))
            .map(|(other, _)| other)
            .collect()
    }
}

fn union(raw: &RawSource, parts: &[&String]) -> Vec<PolicyRule> {
    let mut seen = BTreeSet::new();
    parts
        .iter()
        .filter_map(|part| raw.cluster_roles.get(*part))
        .flat_map(|role| &role.object.rules)
        .filter(|rule| seen.insert(format!("{rule:?}")))
        .cloned()
        .collect()
}

/// A server gives every object a uid; nobody writes one by hand.
fn printed_by_server(node: &Node) -> bool {
    node.get("metadata")
        .is_some_and(|metadata| metadata.get("uid").is_some())
}
