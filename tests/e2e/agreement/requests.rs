//! Generated requests, sent to the server as somebody else: 403 or not is its decision on the request itself,
//! made from method, path and query, where a review has attributes.

use super::{
    objects::{NAMES, NAMESPACES, RESOURCES, SUBRESOURCES},
    random::Random,
    reviews::Review,
};
use serde_json::{Value, json};

/// Forms of one list or watch: each has its own verb or name.
const QUERIES: [&str; 12] = [
    "",
    "?limit=5",
    "?watch=1&timeoutSeconds=1",
    "?watch=true&timeoutSeconds=1&resourceVersion=0",
    "?watch=&timeoutSeconds=1",
    "?watch=0",
    "?watch=FALSE",
    "?watch=false&watch=true",
    "?fieldSelector=metadata.name%3Da",
    "?fieldSelector=metadata.name%3D%3Db&timeoutSeconds=1&watch=yes",
    "?fieldSelector=metadata.name!%3Da",
    "?labelSelector=app%3Dweb&limit=1",
];

/// One request, and who sends it.
pub(super) struct Asked {
    pub(super) method: &'static str,
    pub(super) target: String,
    pub(super) user: String,
    pub(super) groups: Vec<String>,
}

impl Asked {
    /// The line of a batch. An API server adds groups to those that impersonation names.
    pub(super) fn line(&self) -> Value {
        let mut groups = self.groups.clone();
        if groups.is_empty()
            && let Some(account) = self.user.strip_prefix("system:serviceaccount:")
        {
            let namespace = account.split(':').next().unwrap();
            groups.push("system:serviceaccounts".to_owned());
            groups.push(format!("system:serviceaccounts:{namespace}"));
        }
        groups.push("system:authenticated".to_owned());
        json!({"method": self.method, "path": self.target, "user": self.user, "groups": groups})
    }
}

/// A request for each review that can be one: its attributes, read back into a path.
pub(super) fn from_reviews(reviews: &[Review], random: &mut Random, number: usize) -> Vec<Asked> {
    reviews
        .iter()
        .filter_map(|review| asked(&review.spec, random))
        .take(number)
        .collect()
}

fn asked(spec: &Value, random: &mut Random) -> Option<Asked> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let user = text(&spec["user"]);
    let groups = spec["groups"].as_array()?.iter().map(text).collect();
    // An empty user cannot be impersonated; an anonymous one has groups of its own; a blank at the end is
    // lost in a header.
    if user.is_empty() || user == "system:anonymous" || user.ends_with(' ') {
        return None;
    }
    let (method, target) = if spec["nonResourceAttributes"].is_object() {
        path(&spec["nonResourceAttributes"], random)?
    } else {
        resource(&spec["resourceAttributes"], random)
    };
    Some(Asked {
        method,
        target,
        user,
        groups,
    })
}

fn path(asked: &Value, random: &mut Random) -> Option<(&'static str, String)> {
    let path = asked["path"].as_str()?;
    // Of /api and /apis below the groups only reviews can speak as of plain paths; empty segments are refused.
    if !path.starts_with('/') || path.starts_with("/api") || path.contains("//") {
        return None;
    }
    let method = random.pick(&["GET", "GET", "HEAD", "POST", "OPTIONS"]);
    Some((method, path.to_owned()))
}

fn resource(asked: &Value, random: &mut Random) -> (&'static str, String) {
    let text = |key: &str| asked[key].as_str().unwrap_or_default().to_owned();
    let or_else = |found: String, known: &[&str], random: &mut Random| {
        let plain = !found.is_empty() && found.bytes().all(|c| c.is_ascii_lowercase());
        if plain {
            found
        } else {
            random.pick(known).to_owned()
        }
    };
    let group = text("group");
    let mut target = match group.as_str() {
        "" | "*" => "/api/v1".to_owned(),
        group => format!("/apis/{group}/v1"),
    };
    if random.chance(5) {
        target.push_str("/watch");
    }
    let namespace = text("namespace");
    if !namespace.is_empty() {
        target = format!("{target}/namespaces/{namespace}");
    } else if random.chance(20) {
        target = format!("{target}/namespaces/{}", random.pick(&NAMESPACES));
    }
    let kind = or_else(text("resource"), &RESOURCES, random);
    target = format!("{target}/{kind}");
    let mut name = text("name");
    let mut sub = text("subresource");
    if !sub.is_empty() {
        sub = or_else(sub, &SUBRESOURCES, random);
        // From 1.35 on a second check follows for this one: not the authoriser's first word.
        if sub == "exec" {
            "log".clone_into(&mut sub);
        }
        if name.is_empty() {
            random.pick(&NAMES).clone_into(&mut name);
        }
    }
    if name.is_empty() {
        let slash = if random.chance(10) { "/" } else { "" };
        return ("GET", format!("{target}{slash}{}", random.pick(&QUERIES)));
    }
    target = format!("{target}/{name}");
    if !sub.is_empty() {
        target = format!("{target}/{sub}");
    }
    (random.pick(&["GET", "GET", "HEAD", "OPTIONS"]), target)
}
