//! An explanation as a person reads it.

use super::{Explanation, NearMiss, Reason, Verdict, grant::Named};
use crate::{
    authz::{Attributes, describe},
    objects::rules::PolicyRule,
};
use std::fmt::Write as _;

/// Reasons that are shown; who holds a right eight times knows enough after three.
const MOST_REASONS: usize = 3;

/// The whole explanation. `asked` is the request as it was typed, if it was.
pub fn show(answer: &Explanation, asked: Option<&str>) -> String {
    let mut text = String::new();
    row(&mut text, "who", &who(answer));
    if let Some(asked) = asked {
        row(&mut text, "request", asked);
    }
    if answer.decision != Verdict::Refuse {
        row(&mut text, "asks to", &asks(answer));
    }
    row(&mut text, "where", &place(answer));
    row(&mut text, "decision", answer.decision.word());
    chain(&mut text, answer);
    text
}

/// What stands behind the decision: the part that a failed case shows too.
pub fn chain(text: &mut String, answer: &Explanation) {
    if let Some(refusal) = &answer.refusal {
        put(
            text,
            &format!("refused ({}): {}\n", refusal.code, refusal.message),
        );
    }
    if !answer.reasons.is_empty() {
        put(text, "because\n");
    }
    let attrs = answer.attributes.matched();
    let mut blocks: Vec<String> = answer
        .reasons
        .iter()
        .map(|reason| because(reason, &attrs))
        .collect();
    // One rule may allow both the verb and the extra one.
    blocks.dedup();
    for block in blocks.iter().take(MOST_REASONS) {
        put(text, block);
    }
    if blocks.len() > MOST_REASONS {
        let more = blocks.len() - MOST_REASONS;
        put(text, &format!("  and {more} more (-o json shows all)\n"));
    }
    if answer.decision == Verdict::Deny {
        put(
            text,
            "no rule of any binding that reaches this user allows it\n",
        );
    }
    if !answer.near_misses.is_empty() {
        put(text, "nearest\n");
    }
    for miss in &answer.near_misses {
        put(text, &near(miss));
    }
    if let Some(rule) = &answer.smallest_grant {
        put(
            text,
            &format!("smallest rule that would allow it\n  {}\n", flow(rule)),
        );
    }
    for note in &answer.notes {
        put(text, &format!("note: {note}\n"));
    }
}

fn row(text: &mut String, key: &str, value: &str) {
    put(text, &format!("{key:<9} {value}\n"));
}

fn put(text: &mut String, more: &str) {
    text.push_str(more);
}

fn who(answer: &Explanation) -> String {
    let mut who = if answer.user.is_empty() {
        "nobody by name".to_owned()
    } else {
        format!("user {}", shown(&answer.user))
    };
    if !answer.groups.is_empty() {
        let groups: Vec<String> = answer.groups.iter().map(|group| shown(group)).collect();
        // Writing to a String cannot fail.
        let _ = write!(who, ", in groups {}", groups.join(", "));
    }
    who
}

/// A name as it is, or quoted if it could be taken for something else.
fn shown(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_.:@/+".contains(c);
    if !name.is_empty() && name.chars().all(plain) {
        name.to_owned()
    } else {
        format!("{name:?}")
    }
}

fn asks(answer: &Explanation) -> String {
    let mut asks = describe::request(&answer.attributes.matched());
    if !answer.extra_verb.is_empty() {
        let _ = write!(asks, ", for which {} is needed as well", answer.extra_verb);
    }
    for (key, selector) in [
        ("fieldSelector", &answer.attributes.field_selector),
        ("labelSelector", &answer.attributes.label_selector),
    ] {
        if !selector.is_empty() {
            let _ = write!(asks, ", {key} {selector:?}");
        }
    }
    asks
}

fn place(answer: &Explanation) -> String {
    match (answer.policy, answer.cluster.as_str()) {
        ("cluster-rbac", _) => "the cluster of the RBAC manifests".to_owned(),
        (_, "") => "the gateway's own API".to_owned(),
        (_, cluster) => format!("cluster {}", shown(cluster)),
    }
}

fn because(reason: &Reason, attrs: &Attributes<'_>) -> String {
    let mut text = String::new();
    match (&reason.binding, &reason.role) {
        (Some(binding), Some(role)) => {
            let _ = writeln!(
                text,
                "  {} {} ({}) gives {} to {}",
                kind_word(binding),
                full_name(binding),
                binding.spot,
                role_words(role),
                reason.subject
            );
        }
        (None, Some(role)) => {
            let _ = writeln!(text, "  {} holds {}", reason.subject, role_words(role));
        }
        (_, None) => {
            let _ = writeln!(text, "  {}", reason.text);
        }
    }
    if !reason.via.is_empty() {
        let _ = writeln!(text, "    which inherits: {}", reason.via.join(" → "));
    }
    if let Some(rule) = &reason.rule {
        let _ = writeln!(
            text,
            "    rule {} ({}): {}",
            rule.index + 1,
            rule.spot,
            describe::rule_for(&rule.rule, attrs)
        );
    }
    text
}

fn near(miss: &NearMiss) -> String {
    let mut text = format!("  {}\n", miss.text);
    if !miss.via.is_empty() {
        let _ = writeln!(text, "    which inherits: {}", miss.via.join(" → "));
    }
    let _ = write!(
        text,
        "    rule {} ({})",
        miss.rule.index + 1,
        miss.rule.spot
    );
    match &miss.binding {
        Some(binding) => {
            let _ = writeln!(text, ", bound at {} to {}", binding.spot, miss.subject);
        }
        None => text.push('\n'),
    }
    text
}

fn role_words(role: &Named) -> String {
    format!("{} {} ({})", kind_word(role), full_name(role), role.spot)
}

fn full_name(named: &Named) -> String {
    if named.namespace.is_empty() {
        format!("{:?}", named.name)
    } else {
        format!("{:?} in namespace {:?}", named.name, named.namespace)
    }
}

/// A rule in one line of YAML, to be copied into a role.
fn flow(rule: &PolicyRule) -> String {
    let list = |entries: &[String]| {
        let quoted: Vec<String> = entries.iter().map(|entry| scalar(entry)).collect();
        format!("[{}]", quoted.join(", "))
    };
    let mut parts = Vec::new();
    if !rule.api_groups.is_empty() {
        parts.push(format!("apiGroups: {}", list(&rule.api_groups)));
    }
    if !rule.resources.is_empty() {
        parts.push(format!("resources: {}", list(&rule.resources)));
    }
    if !rule.resource_names.is_empty() {
        parts.push(format!("resourceNames: {}", list(&rule.resource_names)));
    }
    if !rule.non_resource_urls.is_empty() {
        parts.push(format!(
            "nonResourceURLs: {}",
            list(&rule.non_resource_urls)
        ));
    }
    parts.push(format!("verbs: {}", list(&rule.verbs)));
    format!("- {{{}}}", parts.join(", "))
}

fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let starts_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    if starts_plain && text.chars().all(plain) && !matches!(text, "true" | "false" | "null") {
        text.to_owned()
    } else {
        // A JSON string is a YAML string.
        serde_json::Value::from(text).to_string()
    }
}

/// Our own kinds as words of a sentence; those of Kubernetes keep their spelling.
fn kind_word(named: &Named) -> &'static str {
    match named.kind {
        "Binding" => "binding",
        "Role" if named.namespace.is_empty() => "role",
        other => other,
    }
}
