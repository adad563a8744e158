//! The documents of the groups of reviews, for `kubectl explain selfsubjectaccessreviews`.

use super::schemas::{array, flag, map, object, object_meta, text};
use super::{JSON, META};
use crate::api::route::{AUTHENTICATION, AUTHORIZATION};
use serde_json::{Map, Value, json};

/// The document of a group and version.
pub(super) fn document(group: &str, version: &str) -> Value {
    let mut paths = Map::new();
    let mut components = Map::new();
    components.insert(META.to_owned(), object_meta());
    for (kind, plural, about, fields) in kinds(group) {
        let gvk = json!({"group": group, "version": version, "kind": kind});
        let name = format!("io.k8s.api.{group}.{version}.{kind}");
        let content = json!({JSON: {"schema": {"$ref": format!("#/components/schemas/{name}")}}});
        let mut properties = Map::new();
        properties.insert("apiVersion".to_owned(), text(&format!("{group}/{version}")));
        properties.insert("kind".to_owned(), text(kind));
        let meta = json!({"allOf": [{"$ref": format!("#/components/schemas/{META}")}]});
        properties.insert("metadata".to_owned(), meta);
        properties.extend(
            fields
                .into_iter()
                .map(|(name, schema)| (name.to_owned(), schema)),
        );
        components.insert(
            name,
            json!({
                "type": "object",
                "description": about,
                "properties": properties,
                "x-kubernetes-group-version-kind": [gvk],
            }),
        );
        let post = json!({
            "requestBody": {"content": content},
            "responses": {"201": {"description": "Created", "content": content}},
            "x-kubernetes-action": "post",
            "x-kubernetes-group-version-kind": gvk,
        });
        paths.insert(
            format!("/apis/{group}/{version}/{plural}"),
            json!({"post": post}),
        );
    }
    super::whole(&Value::Object(paths), &Value::Object(components))
}

type Kind = (
    &'static str,
    &'static str,
    &'static str,
    Vec<(&'static str, Value)>,
);

fn kinds(group: &str) -> Vec<Kind> {
    match group {
        AUTHENTICATION => vec![(
            "SelfSubjectReview",
            "selfsubjectreviews",
            "Who the gateway takes you for.",
            vec![(
                "status",
                object("What it found.", &[("userInfo", user_info())]),
            )],
        )],
        AUTHORIZATION => vec![
            (
                "SelfSubjectAccessReview",
                "selfsubjectaccessreviews",
                "Whether you may do one thing on the gateway's own API.",
                vec![("spec", asked()), ("status", answered())],
            ),
            (
                "SelfSubjectRulesReview",
                "selfsubjectrulesreviews",
                "The rules that your roles of scope global give you.",
                vec![("status", rules())],
            ),
        ],
        _ => Vec::new(),
    }
}

fn user_info() -> Value {
    let values = array("Values.", text("A value."));
    object(
        "You.",
        &[
            ("username", text("Handle.")),
            ("uid", text("What bindings name you by.")),
            ("groups", array("Names of your groups.", text("Name."))),
            (
                "extra",
                json!({
                    "type": "object",
                    "description": "Your token, and who acts as you.",
                    "additionalProperties": values,
                }),
            ),
        ],
    )
}

fn asked() -> Value {
    let resource = object(
        "A request for objects.",
        &[
            (
                "verb",
                text("get, list, create, update, patch, delete, or *."),
            ),
            ("group", text("palisade.dev")),
            ("version", text("Changes no answer.")),
            ("resource", text("users, and so on, or *.")),
            ("subresource", text("password, and so on.")),
            ("name", text("Left out: all.")),
            ("namespace", text("There are none here.")),
            ("fieldSelector", map("Changes no answer.")),
            ("labelSelector", map("Changes no answer.")),
        ],
    );
    let path = object(
        "A request for a path.",
        &[
            ("path", text("/version, and so on.")),
            ("verb", text("get")),
        ],
    );
    object(
        "Exactly one of the two.",
        &[
            ("resourceAttributes", resource),
            ("nonResourceAttributes", path),
        ],
    )
}

fn answered() -> Value {
    object(
        "The answer.",
        &[
            ("allowed", flag("Whether you may.")),
            ("reason", text("Why.")),
        ],
    )
}

fn rules() -> Value {
    let names = |about| array(about, text("A value."));
    let resources = object(
        "A rule.",
        &[
            ("verbs", names("Verbs, or *.")),
            ("apiGroups", names("API groups, or *.")),
            ("resources", names("Resources, or *.")),
            ("resourceNames", names("Names; left out: all.")),
        ],
    );
    let paths = object(
        "A rule.",
        &[
            ("verbs", names("Verbs, or *.")),
            ("nonResourceURLs", names("Paths.")),
        ],
    );
    object(
        "The answer.",
        &[
            ("resourceRules", array("For objects.", resources)),
            ("nonResourceRules", array("For paths.", paths)),
            ("incomplete", flag("Whether rules alone do not tell all.")),
            ("evaluationError", text("What they do not tell.")),
        ],
    )
}
