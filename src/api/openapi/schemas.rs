//! The schemas of the kinds, in the words of docs/api.md.

use serde_json::{Map, Value, json};

/// Name of the schema of `metadata`.
pub(super) const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// What differs between kinds.
pub(super) struct Parts {
    about: &'static str,
    spec: Value,
    status: Option<Value>,
}

/// A kind's schema.
pub(super) fn kind(kind: &str, gvk: &Value, parts: Parts) -> Value {
    let reference = json!({"allOf": [{"$ref": format!("#/components/schemas/{META}")}]});
    let mut properties = json!({
        "apiVersion": text("palisade.dev/v1alpha1"),
        "kind": text(kind),
        "metadata": described(reference, "Name, uid, labels."),
        "spec": parts.spec,
    });
    if let (Some(properties), Some(status)) = (properties.as_object_mut(), parts.status) {
        properties.insert("status".to_owned(), status);
    }
    json!({
        "type": "object",
        "description": parts.about,
        "properties": properties,
        "x-kubernetes-group-version-kind": [gvk],
    })
}

/// The fields of `metadata` that there are here.
pub(super) fn object_meta() -> Value {
    object(
        "metav1.ObjectMeta, as far as these kinds have it.",
        &[
            ("name", text("Unique within the kind.")),
            (
                "generateName",
                text("Without a name: what a name that the gateway makes up begins with."),
            ),
            (
                "uid",
                text("Given by the gateway once, never again for another object."),
            ),
            (
                "resourceVersion",
                text("Revision of the last write. An update must carry it."),
            ),
            ("creationTimestamp", time("When the object was made.")),
            ("labels", map("What list requests and bindings select by.")),
            ("annotations", map("Free text of people and tools.")),
        ],
    )
}

pub(super) fn user() -> Parts {
    Parts {
        about: "A person, or a machine user. metadata.name is the handle.",
        spec: object(
            "What is wanted of the user.",
            &[
                ("displayName", text("For people to read.")),
                (
                    "disabled",
                    flag("A disabled user is refused from the next request on."),
                ),
                (
                    "machine",
                    flag("A machine user has tokens only, never a password. Immutable."),
                ),
                (
                    "principals",
                    array("Accounts at providers. Filled by the gateway.", principal()),
                ),
            ],
        ),
        status: Some(object(
            "What is known of the user.",
            &[
                ("hasPassword", flag("Whether a password is set.")),
                (
                    "throttledUntil",
                    time("There were too many wrong passwords: until then strangers are refused."),
                ),
            ],
        )),
    }
}

pub(super) fn group() -> Parts {
    Parts {
        about: "A local group; a subject of bindings.",
        spec: object(
            "Who is in it.",
            &[
                ("displayName", text("For people to read.")),
                ("members", array("Users of the group.", member())),
            ],
        ),
        status: None,
    }
}

pub(super) fn token() -> Parts {
    Parts {
        about: "A secret of a user. metadata.name is its public id, given by the gateway. The spec is immutable.",
        spec: object(
            "What the token is for.",
            &[
                (
                    "user",
                    described(
                        member(),
                        "Whose it is; left out: yours. Others' are made by admins.",
                    ),
                ),
                (
                    "kind",
                    choice(
                        "pat (made by hand), ses (made by a login) or web (a browser's session).",
                        &["pat", "ses", "web"],
                    ),
                ),
                ("displayName", text("For people to read.")),
                (
                    "clusters",
                    array(
                        "Clusters that it is good for; empty: everything that the user may.",
                        text("Name."),
                    ),
                ),
                (
                    "expiresAt",
                    time("The end of its life. Never later than that of the token that makes it."),
                ),
                (
                    "renewableUntil",
                    time("Sessions only: the latest end that renewing gives."),
                ),
            ],
        ),
        status: Some(object(
            "What is known of the token.",
            &[
                (
                    "token",
                    text("The secret text, in the answer to the creation alone."),
                ),
                (
                    "address",
                    text("Sessions only: the address that the login came from."),
                ),
                (
                    "lastUsed",
                    time("The minute in which it was last used. Absent: never."),
                ),
            ],
        )),
    }
}

pub(super) fn cluster() -> Parts {
    Parts {
        about: "A registered API server.",
        spec: object(
            "How the cluster is reached.",
            &[
                (
                    "server",
                    text("https://host[:port], no path. A change drops the credential."),
                ),
                (
                    "ca",
                    text(
                        "PEM certificates; left out: the public web PKI. A change drops the credential.",
                    ),
                ),
                (
                    "tlsServerName",
                    text("Name to check the certificate against. A change drops the credential."),
                ),
                (
                    "userPrefix",
                    text("What user names on the cluster start with; palisade: if left out."),
                ),
            ],
        ),
        status: Some(object(
            "What is known of the cluster.",
            &[
                (
                    "health",
                    choice(
                        "As seen by the replica that answers.",
                        &["Unknown", "Pending", "Ready", "Down", "Refused"],
                    ),
                ),
                ("version", text("Version of its API server.")),
                ("message", text("Why it is not ready.")),
                ("sync", sync()),
                (
                    "cleaningSince",
                    time("Since when everything of the gateway's is being taken away there."),
                ),
                (
                    "syncedRoles",
                    array("Roles whose grant groups the cluster knows.", text("Name.")),
                ),
                (
                    "syncedVersion",
                    number("Version of the gateway's objects that the cluster holds."),
                ),
                ("syncedAt", time("When they were written.")),
            ],
        )),
    }
}

fn sync() -> Value {
    object(
        "Whether the cluster holds what policy says, as seen by the replica that answers.",
        &[
            ("state", text("Unknown, InStep or Behind.")),
            ("since", time("Since when.")),
            (
                "message",
                text("Why it is not known, or nothing can be written."),
            ),
            ("behind", number("How many objects differ from policy.")),
            (
                "waiting",
                array("Some of them.", text("Kind, name, and why.")),
            ),
            (
                "foreign",
                number("How many bindings of others name a group of the gateway's."),
            ),
            (
                "foreignBindings",
                array("Some of them.", text("Kind and name.")),
            ),
        ],
    )
}

pub(super) fn role() -> Parts {
    let names = |about| array(about, text("A value."));
    Parts {
        about: "Named rules with a scope.",
        spec: requiring(
            object(
                "What the role allows.",
                &[
                    (
                        "scope",
                        choice(
                            "global (this API), cluster, or project; cluster if left out with the whole spec. Immutable.",
                            &["global", "cluster", "project"],
                        ),
                    ),
                    ("description", text("For people to read.")),
                    (
                        "inherits",
                        names("Roles of the same scope whose rules this role has too."),
                    ),
                    (
                        "rules",
                        array(
                            "Rules, as rbac.authorization.k8s.io/v1 has them.",
                            object(
                                "A rule.",
                                &[
                                    ("verbs", names("Verbs, or *.")),
                                    (
                                        "apiGroups",
                                        names("API groups, or *; \"\" is the core group."),
                                    ),
                                    (
                                        "resources",
                                        names(
                                            "resource, resource/subresource, */subresource or *.",
                                        ),
                                    ),
                                    ("resourceNames", names("Names; left out: all.")),
                                    (
                                        "nonResourceURLs",
                                        names("Paths; a * at the end stands for anything."),
                                    ),
                                ],
                            ),
                        ),
                    ),
                ],
            ),
            &["scope"],
        ),
        status: None,
    }
}

pub(super) fn project() -> Parts {
    Parts {
        about: "A set of namespaces of one cluster, in which roles of scope project are held.",
        spec: object(
            "Which namespaces, and where.",
            &[
                ("cluster", text("Name of the cluster. Immutable.")),
                (
                    "namespaces",
                    array(
                        "Each belongs to at most one project of the cluster.",
                        text("A name, or a glob: one * stands for any part of a name."),
                    ),
                ),
                ("description", text("For people to read.")),
            ],
        ),
        status: None,
    }
}

pub(super) fn binding() -> Parts {
    Parts {
        about: "Who holds a role where. A role of scope cluster takes one of allClusters, clusters, clusterSelector; one of scope project a project.",
        spec: requiring(
            object(
                "The grant.",
                &[
                    ("role", text("Name of the role. Immutable.")),
                    ("subject", subject()),
                    (
                        "allClusters",
                        flag("Every cluster, also those registered later."),
                    ),
                    ("clusters", array("Clusters by name.", text("Name."))),
                    (
                        "clusterSelector",
                        map("Clusters that carry all of these labels."),
                    ),
                    (
                        "project",
                        text("The namespaces of this project, by its name. Immutable."),
                    ),
                    (
                        "projectUid",
                        text("What counts of the project. Filled by the gateway."),
                    ),
                    (
                        "expiresAt",
                        time("From this instant on the binding counts no more."),
                    ),
                ],
            ),
            &["role", "subject"],
        ),
        status: None,
    }
}

fn principal() -> Value {
    let schema = object(
        "One account.",
        &[
            ("provider", text("local")),
            ("id", text("Immutable id there.")),
        ],
    );
    requiring(schema, &["provider", "id"])
}

fn subject() -> Value {
    let schema = object(
        "Who holds it.",
        &[
            ("kind", choice("What it is.", &["User", "Group"])),
            ("name", text("Resolved to a uid once, when it is written.")),
            ("uid", text("What counts. Filled by the gateway.")),
        ],
    );
    requiring(schema, &["kind", "name"])
}

fn member() -> Value {
    let schema = object(
        "A user by name, resolved to a uid once.",
        &[
            ("name", text("Handle.")),
            ("uid", text("Filled by the gateway.")),
        ],
    );
    requiring(schema, &["name"])
}

pub(super) fn text(about: &str) -> Value {
    json!({"type": "string", "description": about})
}

fn choice(about: &str, values: &[&str]) -> Value {
    json!({"type": "string", "description": about, "enum": values})
}

/// An object of which these fields must be given.
fn requiring(mut schema: Value, fields: &[&str]) -> Value {
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("required".to_owned(), json!(fields));
    }
    schema
}

fn number(about: &str) -> Value {
    json!({"type": "integer", "format": "int64", "description": about})
}

pub(super) fn flag(about: &str) -> Value {
    json!({"type": "boolean", "description": about})
}

fn time(about: &str) -> Value {
    json!({"type": "string", "format": "date-time", "description": about})
}

pub(super) fn map(about: &str) -> Value {
    json!({"type": "object", "description": about, "additionalProperties": {"type": "string"}})
}

pub(super) fn array(about: &str, items: impl Into<Value>) -> Value {
    json!({"type": "array", "description": about, "items": items.into()})
}

pub(super) fn object(about: &str, fields: &[(&str, Value)]) -> Value {
    let properties: Map<String, Value> = fields
        .iter()
        .map(|(name, schema)| ((*name).to_owned(), schema.clone()))
        .collect();
    json!({"type": "object", "description": about, "properties": properties})
}

fn described(mut schema: Value, about: &str) -> Value {
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("description".to_owned(), about.into());
    }
    schema
}
