//! What the aggregation controller would write into `rules`
//! (`pkg/controller/clusterroleaggregation`): for each selector the selected roles by name, their rules
//! once each, never the role's own; again and again until nothing changes, since aggregated roles can be
//! selected too.
//!
//! A role that comes with rules is taken as it is: a controller has filled it already.

use super::objects::{ClusterRole, LabelSelector, Requirement};
use crate::authz::request_info::{is_label_key, is_label_value};
use crate::objects::rules::PolicyRule;
use std::collections::BTreeMap;

type Labels = BTreeMap<String, String>;

/// A role to be filled; `selectors` is `None` when one of them is malformed.
struct Aggregated {
    name: String,
    selectors: Vec<LabelSelector>,
}

/// The rules of every role, and what is wrong with selectors.
pub(super) fn fill(roles: Vec<ClusterRole>) -> (BTreeMap<String, Vec<PolicyRule>>, Vec<String>) {
    let mut labels: BTreeMap<String, Labels> = BTreeMap::new();
    let mut filled: BTreeMap<String, Vec<PolicyRule>> = BTreeMap::new();
    let mut aggregated: BTreeMap<String, Aggregated> = BTreeMap::new();
    let mut mistakes = Vec::new();
    for role in roles {
        let name = role.metadata.name;
        // A later object of the same name replaces all of an earlier one.
        aggregated.remove(&name);
        if let Some(rule) = role.aggregation_rule.filter(|_| role.rules.is_empty()) {
            match rule.cluster_role_selectors.iter().find_map(malformed) {
                Some(reason) => mistakes.push(format!("ClusterRole {name:?}: {reason}")),
                None => drop(aggregated.insert(
                    name.clone(),
                    Aggregated {
                        name: name.clone(),
                        selectors: rule.cluster_role_selectors,
                    },
                )),
            }
        }
        labels.insert(name.clone(), role.metadata.labels);
        filled.insert(name, role.rules.into_iter().map(PolicyRule::from).collect());
    }
    // Rules travel one step a round, and no chain is longer than there are roles to fill.
    for _ in 0..=aggregated.len() {
        let mut changed = false;
        for role in aggregated.values() {
            let union = union_of(role, &labels, &filled);
            if filled.get(&role.name) != Some(&union) {
                filled.insert(role.name.clone(), union);
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    (filled, mistakes)
}

fn union_of(
    role: &Aggregated,
    labels: &BTreeMap<String, Labels>,
    rules: &BTreeMap<String, Vec<PolicyRule>>,
) -> Vec<PolicyRule> {
    let mut union: Vec<PolicyRule> = Vec::new();
    for selector in &role.selectors {
        let selected = labels
            .iter()
            .filter(|(name, carried)| **name != role.name && selects(selector, carried))
            .filter_map(|(name, _)| rules.get(name));
        for rule in selected.flatten() {
            if !union.contains(rule) {
                union.push(rule.clone());
            }
        }
    }
    union
}

fn selects(selector: &LabelSelector, carried: &Labels) -> bool {
    selector
        .match_labels
        .iter()
        .all(|(key, value)| carried.get(key) == Some(value))
        && selector
            .match_expressions
            .iter()
            .all(|requirement| holds(requirement, carried))
}

fn holds(requirement: &Requirement, carried: &Labels) -> bool {
    let value = carried.get(&requirement.key);
    let listed = value.is_some_and(|value| requirement.values.contains(value));
    match requirement.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

/// Why upstream could not make a selector of it (`LabelSelectorAsSelector`).
fn malformed(selector: &LabelSelector) -> Option<String> {
    let pairs = &selector.match_labels;
    let labels = pairs
        .iter()
        .find(|(key, value)| !is_label_key(key) || !is_label_value(value))
        .map(|(key, value)| format!("{key:?}: {value:?} is no label"));
    labels.or_else(|| {
        selector.match_expressions.iter().find_map(|requirement| {
            let Requirement {
                key,
                operator,
                values,
            } = requirement;
            let fits = match operator.as_str() {
                "In" | "NotIn" => !values.is_empty(),
                "Exists" | "DoesNotExist" => values.is_empty(),
                _ => {
                    return Some(format!(
                        "{operator:?} is not a valid label selector operator"
                    ));
                }
            };
            let valid =
                fits && is_label_key(key) && values.iter().all(|value| is_label_value(value));
            (!valid).then(|| format!("the requirement {key:?} {operator} {values:?} is not valid"))
        })
    })
}
