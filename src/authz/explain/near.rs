//! Near misses: the rules that would have to change least.

use super::grant::{Bar, Grant, Named, ShownRule};
use crate::{
    authz::{Attributes, describe, rules},
    objects::rules::PolicyRule,
};
use serde::Serialize;
// Writing to a String cannot fail: the results below are dropped.
use std::fmt::Write as _;

/// More than three hints are not read.
const MOST: usize = 3;
/// What is further away says nothing about the request.
const FARTHEST: usize = 2;
/// To make somebody a subject is more than to add a word to a rule.
const OTHER_SUBJECT: usize = 2;

/// What keeps a rule from the one who asks, as opposed to from the request.
const BARS: [&str; 4] = ["subject", "namespace", "cluster", "expired"];

/// A rule that nearly allows the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NearMiss {
    /// The sentence.
    pub text: String,
    /// What stands in the way: `verb`, `apiGroup`, `resource`, `resourceName`, `path`, `cluster`,
    /// `namespace`, `subject`, `expired`.
    pub missing: Vec<&'static str>,
    /// `null`: held without a binding.
    pub binding: Option<Named>,
    /// To whom the binding gives the role.
    pub subject: String,
    /// The role that is bound.
    pub role: Named,
    /// From the role that is bound to the one that has the rule, if they are two.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub via: Vec<String>,
    /// The rule.
    pub rule: ShownRule,
}

/// What a rule lacks, and how to say it.
struct Lack {
    missing: Vec<&'static str>,
    text: String,
}

/// The nearest, all equally near: first those that reach the one who asks, else in the order in which they
/// were found.
pub(super) fn nearest(grants: &[Grant<'_>], attrs: &Attributes<'_>) -> Vec<NearMiss> {
    let mut best = FARTHEST;
    let mut found: Vec<(usize, NearMiss)> = Vec::new();
    for grant in grants {
        let Some((distance, miss)) = miss(grant, attrs) else {
            continue;
        };
        if distance > best || found.iter().any(|(_, other)| other.text == miss.text) {
            continue;
        }
        best = distance;
        found.push((distance, miss));
    }
    found.retain(|(distance, _)| *distance == best);
    found.sort_by_key(|(_, miss)| miss.missing.iter().any(|part| BARS.contains(part)));
    found.into_iter().map(|(_, miss)| miss).take(MOST).collect()
}

fn miss(grant: &Grant<'_>, attrs: &Attributes<'_>) -> Option<(usize, NearMiss)> {
    let lack = lack(grant.rule, attrs)?;
    let mut distance = lack.missing.len();
    let mut missing = lack.missing;
    let mut text = format!("{} {}", grant.chain(), lack.text);
    match &grant.bar {
        None => {}
        Some(Bar::Elsewhere) => return None,
        Some(Bar::Subject) => {
            distance += OTHER_SUBJECT;
            missing.push("subject");
            let _ = write!(text, ", to {} alone", grant.subject);
        }
        Some(Bar::Place(part, place)) => {
            distance += 1;
            missing.push(part);
            let _ = write!(text, ", {place}");
        }
        Some(Bar::Expired(end)) => {
            distance += 1;
            missing.push("expired");
            let _ = write!(text, ", but has expired at {end}");
        }
    }
    if distance > FARTHEST {
        return None;
    }
    let miss = NearMiss {
        text,
        missing,
        binding: grant.binding.clone(),
        subject: grant.subject.clone(),
        role: grant.role.clone(),
        via: grant.via.clone(),
        rule: grant.shown_rule(),
    };
    Some((distance, miss))
}

/// What of the rule does not fit; `None`: the rule is about something else.
fn lack(rule: &PolicyRule, attrs: &Attributes<'_>) -> Option<Lack> {
    let fits = rules::compare(rule, attrs);
    if !attrs.is_resource {
        return lack_of_path(rule, attrs, fits);
    }
    if rule.resources.is_empty() {
        return None;
    }
    let main = |entry: &String| entry.split('/').next() == Some(attrs.resource);
    let related = rule.resources.iter().any(main);
    let in_reach = fits.target && fits.group;
    if !related && !in_reach {
        return None;
    }
    let mut missing = Vec::new();
    let mut not = Vec::new();
    if !fits.verb {
        missing.push("verb");
        not.push(attrs.verb.to_owned());
    }
    if !fits.target {
        missing.push("resource");
        not.push(format!("on {}", attrs.combined_resource()));
    }
    if !fits.group {
        missing.push("apiGroup");
        not.push(format!(
            "in API group {}",
            describe::api_group(attrs.api_group)
        ));
    }
    if !fits.name {
        missing.push("resourceName");
        not.push(if attrs.name.is_empty() {
            "without a name".to_owned()
        } else {
            format!("for {:?}", attrs.name)
        });
    }
    Some(Lack {
        text: said(&describe::rule_for(rule, attrs), &not),
        missing,
    })
}

fn lack_of_path(rule: &PolicyRule, attrs: &Attributes<'_>, fits: rules::Match) -> Option<Lack> {
    let mut missing = Vec::new();
    let mut not = Vec::new();
    if !fits.verb {
        missing.push("verb");
        not.push(attrs.verb.to_owned());
    }
    if !fits.target {
        let first = |path: &str| {
            path.trim_matches(['/', '*'])
                .split('/')
                .next()
                .map(str::to_owned)
        };
        let wanted = first(attrs.path).filter(|segment| !segment.is_empty())?;
        let beside = |entry: &String| first(entry).is_some_and(|segment| segment == wanted);
        if !rule.non_resource_urls.iter().any(beside) {
            return None;
        }
        missing.push("path");
        not.push(format!("on {}", attrs.path));
    }
    Some(Lack {
        text: said(&describe::rule_for(rule, attrs), &not),
        missing,
    })
}

fn said(allows: &str, not: &[String]) -> String {
    if not.is_empty() {
        format!("allows {allows}")
    } else {
        format!("allows {allows}, but not {}", not.join(" "))
    }
}
