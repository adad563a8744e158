//! Which namespaces a project holds: names, and globs with one `*`.
//!
//! A namespace belongs to at most one project of its cluster, so whether two entries have a namespace in common
//! must be decided, and is decided exactly: [`Pattern::common`] gives a name that both hold.
//!
//! What could go wrong: a glob that reaches where the gateway's own accounts or the control plane live. The
//! [`RESERVED`] namespaces are in no project, whatever a glob says.

use super::names::check_label;
use std::{collections::BTreeMap, fmt};

/// In no project, also not by a glob: whoever makes a Pod in one of them has the cluster or the gateway.
pub const RESERVED: [&str; 4] = [
    "kube-system",
    "kube-public",
    "kube-node-lease",
    "palisade-system",
];
/// Longest name of a namespace (RFC 1123).
const LONGEST: usize = 63;

/// Why an entry is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Neither a name nor a glob.
    #[error(
        "must be a namespace's name (1 to 63 of a-z, 0-9 and '-', a letter or digit at both ends), or a glob: the same with one '*' that stands for any part of a name, also none, and at most 62 beside it"
    )]
    Shape,
    /// One of [`RESERVED`].
    #[error(
        "is in no project: kube-system, kube-public, kube-node-lease and palisade-system belong to the cluster"
    )]
    Reserved,
}

/// One entry of a project's list of namespaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pattern {
    /// One namespace.
    Name(Box<str>),
    /// Every namespace that begins and ends so, and is not reserved.
    Glob {
        /// Before the `*`.
        prefix: Box<str>,
        /// After it.
        suffix: Box<str>,
    },
}

impl Pattern {
    /// Reads an entry.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let Some((prefix, suffix)) = text.split_once('*') else {
            check_label(text).map_err(|_| PatternError::Shape)?;
            if RESERVED.contains(&text) {
                return Err(PatternError::Reserved);
            }
            return Ok(Self::Name(text.into()));
        };
        // With a letter for the star it must be a name: that also keeps a second star out.
        if check_label(&format!("{prefix}x{suffix}")).is_err() {
            return Err(PatternError::Shape);
        }
        Ok(Self::Glob {
            prefix: prefix.into(),
            suffix: suffix.into(),
        })
    }

    /// Whether it holds the namespace.
    pub fn holds(&self, namespace: &str) -> bool {
        match self {
            Self::Name(name) => **name == *namespace,
            Self::Glob { prefix, suffix } => {
                namespace.len() >= prefix.len() + suffix.len()
                    && namespace.starts_with(&**prefix)
                    && namespace.ends_with(&**suffix)
                    && can_be_held(namespace)
            }
        }
    }

    /// A namespace that both hold, if there can be one.
    pub fn common(&self, other: &Self) -> Option<String> {
        match (self, other) {
            (Self::Name(name), other) | (other, Self::Name(name)) => {
                other.holds(name).then(|| name.to_string())
            }
            (
                Self::Glob { prefix, suffix },
                Self::Glob {
                    prefix: other_prefix,
                    suffix: other_suffix,
                },
            ) => common((prefix, suffix), (other_prefix, other_suffix), LONGEST),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Glob { prefix, suffix } => write!(f, "{prefix}*{suffix}"),
        }
    }
}

/// A namespace that two projects hold. `Display` says who and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    /// Names of the two projects.
    pub projects: [String; 2],
    /// The entry of each.
    pub entries: [Pattern; 2],
    /// A namespace that both hold.
    pub namespace: String,
}

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([one, other], [entry, other_entry]) = (&self.projects, &self.entries);
        write!(
            f,
            "the projects {one:?} (by \"{entry}\") and {other:?} (by \"{other_entry}\") both hold the namespace {:?}",
            self.namespace
        )
    }
}

/// Most conflicts that are told at once.
const MOST_SHARED: usize = 50;

/// The namespaces of one cluster that two projects hold: one for each pair of entries, and not all if there are
/// very many. `claims` are names of projects with their entries.
///
/// Names are compared through a map, globs with everything: names may be many, globs are few.
pub fn shared(claims: &[(&str, &Pattern)]) -> Vec<Shared> {
    let mut found = Vec::new();
    let mut names: BTreeMap<&str, (&str, &Pattern)> = BTreeMap::new();
    let mut globs: Vec<(&str, &Pattern)> = Vec::new();
    for &claim in claims {
        if let Pattern::Name(name) = claim.1 {
            match names.get(&**name) {
                Some(before) => found.extend(conflict(*before, claim)),
                None => drop(names.insert(name, claim)),
            }
        } else {
            let others = globs.iter().copied();
            found.extend(others.filter_map(|other| conflict(other, claim)));
            globs.push(claim);
        }
        if found.len() > MOST_SHARED {
            return found;
        }
    }
    for &name in names.values() {
        found.extend(globs.iter().filter_map(|&glob| conflict(name, glob)));
        if found.len() > MOST_SHARED {
            break;
        }
    }
    found
}

/// The same for one entry of each of two projects.
pub fn conflict(one: (&str, &Pattern), other: (&str, &Pattern)) -> Option<Shared> {
    if one.0 == other.0 {
        return None;
    }
    Some(Shared {
        projects: [one.0.to_owned(), other.0.to_owned()],
        entries: [one.1.clone(), other.1.clone()],
        namespace: one.1.common(other.1)?,
    })
}

/// Whether a glob may hold a namespace of this name: no other name is a namespace's.
pub fn can_be_held(namespace: &str) -> bool {
    check_label(namespace).is_ok() && !RESERVED.contains(&namespace)
}

/// A name of at most `longest` bytes that begins with both prefixes and ends with both suffixes, long enough for
/// either pair.
///
/// Of the prefixes one must continue the other, of the suffixes likewise: then the longer of each are what counts.
/// Side by side they nearly always fit. Only if the two are too long together they have to overlap.
fn common(one: (&str, &str), other: (&str, &str), longest: usize) -> Option<String> {
    let prefix = longer(one.0, other.0);
    let suffix = longer(one.1, other.1);
    let fits = |(start, end): (&str, &str)| prefix.starts_with(start) && suffix.ends_with(end);
    if !fits(one) || !fits(other) {
        return None;
    }
    let least = (one.0.len() + one.1.len()).max(other.0.len() + other.1.len());
    let sound = |name: &String| (least..=longest).contains(&name.len()) && can_be_held(name);
    // A letter between them where a name must not begin or end, two where one would make a reserved name.
    let apart = ["", "x", "xx"].map(|between| format!("{prefix}{between}{suffix}"));
    let overlapping = (1..=prefix.len().min(suffix.len())).filter_map(|shared| {
        let (middle, rest) = suffix.split_at_checked(shared)?;
        prefix.ends_with(middle).then(|| format!("{prefix}{rest}"))
    });
    apart.into_iter().chain(overlapping).find(sound)
}

fn longer<'a>(one: &'a str, other: &'a str) -> &'a str {
    if one.len() > other.len() { one } else { other }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    #[test]
    fn entries_are_names_or_globs_with_one_star() {
        for good in [
            "shop",
            "a",
            "shop-*",
            "*-dev",
            "team-*-prod",
            "*",
            "a*b",
            "kube-*",
        ] {
            assert_eq!(pattern(good).to_string(), good);
        }
        let long = "a".repeat(62);
        for bad in [
            "",
            "-",
            "Shop",
            "shop-",
            "-*",
            "*-",
            "**",
            "a*b*",
            "a?",
            "a/b",
            "a.b",
            "[a]*",
            "a *",
            &format!("{long}a*"),
        ] {
            assert_eq!(Pattern::parse(bad), Err(PatternError::Shape), "{bad}");
        }
        assert!(Pattern::parse(&format!("{long}*")).is_ok());
    }

    #[test]
    fn reserved_namespaces_are_in_no_project() {
        for name in RESERVED {
            assert_eq!(Pattern::parse(name), Err(PatternError::Reserved), "{name}");
            for glob in ["*", "kube-*", "*-system", "palisade-*"] {
                assert!(!pattern(glob).holds(name), "{glob} {name}");
            }
        }
        assert!(pattern("kube-*").holds("kube-tools"));
    }

    #[test]
    fn globs_hold_names_of_namespaces_alone() {
        for (glob, name, holds) in [
            ("shop-*", "shop-", false),
            ("shop-*", "shop-a", true),
            ("shop-*", "shop", false),
            ("shop*", "shop", true),
            ("*-dev", "a-dev", true),
            ("*-dev", "-dev", false),
            ("team-*-prod", "team-prod", false),
            ("team-*-prod", "team--prod", true),
            ("team-*-prod", "team-a-b-prod", true),
            ("ab*ba", "aba", false),
            ("shop-*", "shop-A", false),
            ("shop-*", "shop-a.b", false),
            ("shop-*", "shop-ä", false),
            ("*", "", false),
            ("*", "default", true),
        ] {
            assert_eq!(pattern(glob).holds(name), holds, "{glob} {name}");
        }
    }

    #[test]
    fn what_two_entries_have_in_common_is_named() {
        for (one, other, common) in [
            ("shop", "shop", Some("shop")),
            ("shop", "shop-*", None),
            ("shop-*", "*-dev", Some("shop--dev")),
            ("shop-*", "shop-a-*", Some("shop-a-x")),
            ("shop-*", "store-*", None),
            ("*-dev", "*-prod", None),
            ("*", "*", Some("x")),
            ("kube-sys*", "*tem", Some("kube-sysxtem")),
            ("kube-system", "*", None),
        ] {
            let parsed = |text| Pattern::parse(text).ok();
            let found = parsed(one)
                .zip(parsed(other))
                .and_then(|(a, b)| a.common(&b));
            assert_eq!(found.as_deref(), common, "{one} {other}");
        }
        // Too long to stand side by side: they have something in common only if they overlap.
        let glob = |prefix: &str, suffix: &str| Pattern::Glob {
            prefix: prefix.into(),
            suffix: suffix.into(),
        };
        let (b, c) = ("b".repeat(40), "c".repeat(37));
        let one = glob(&format!("{b}aaa"), "");
        let both = one.common(&glob("", &format!("aaa{c}")));
        assert_eq!(both, None, "83 or 80 bytes");
        let both = one.common(&glob("", &format!("aaa{}", "c".repeat(20))));
        assert_eq!(both, Some(format!("{b}aaa{}", "c".repeat(20))));
        assert_eq!(one.common(&glob("", &c)), None);
    }

    /// Every name of at most five of `a`, `b` and `-`.
    fn short_names() -> Vec<String> {
        let mut names = vec![String::new()];
        let mut last = names.clone();
        for _ in 0..5 {
            last = last
                .iter()
                .flat_map(|name| ["a", "b", "-"].map(|letter| format!("{name}{letter}")))
                .collect();
            names.extend(last.clone());
        }
        names.retain(|name| check_label(name).is_ok());
        names
    }

    proptest! {
        /// Whether two globs have a short name in common, against looking at all short names.
        #[test]
        fn common_names_are_found_if_there_are_any(
            one in ("[ab-]{0,4}", "[ab-]{0,4}"),
            other in ("[ab-]{0,4}", "[ab-]{0,4}"),
        ) {
            let glob = |(prefix, suffix): &(String, String)| Pattern::Glob {
                prefix: prefix.as_str().into(),
                suffix: suffix.as_str().into(),
            };
            let (a, b) = (glob(&one), glob(&other));
            let both: Vec<String> = short_names()
                .into_iter()
                .filter(|name| a.holds(name) && b.holds(name))
                .collect();
            let found = common((&one.0, &one.1), (&other.0, &other.1), 5);
            if let Some(name) = &found {
                prop_assert!(a.holds(name) && b.holds(name), "{name}");
            }
            // The letter that is put between the two is one of the alphabet's others: as good as any.
            prop_assert_eq!(found.is_some(), !both.is_empty(), "{:?}", both);
        }
    }
}
