//! From the JSON of a body to an object of a kind, with every fault told by the path of its field.
//!
//! The schema that clients read (`openapi`) is walked first: it finds all unknown fields, wrong types and
//! missing fields at once, where the deserializer would stop at the first and name a column of a text that
//! the person never saw (kubectl makes JSON of their YAML). The deserializer stays the judge: it refuses
//! unknown fields by itself (F7), so a gap in a schema costs a good message and nothing else.
//!
//! What an attacker would try: a thousand faults for one huge answer (bounded), a list where an object
//! belongs (serde reads it by position), a field twice in the hope that two readers take different ones.

use super::ApiError;
use super::error::{Mistake, ObjectRef};
use super::openapi;
use crate::objects::{API_VERSION, Kind, VERSION};
use jiff::Timestamp;
use serde_json::{Map, Value};

/// Faults of one body that are told; people mend a few at a time.
const MAX_TOLD: usize = 32;
/// Bytes of a wrong value or name that are shown.
const MAX_SHOWN: usize = 64;
/// What the gateway adds to `generateName`, and the most that it keeps of it (both as upstream).
const GENERATED: usize = 5;
const MAX_GENERATE_NAME: usize = 63 - GENERATED;
/// Fields of `metav1.ObjectMeta` that clients echo; taken and dropped.
const DROPPED: [&str; 3] = ["generation", "managedFields", "selfLink"];
/// Fields of `metav1.ObjectMeta` that mean something which these kinds do not have.
const NOT_HERE: [&str; 5] = [
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "namespace",
    "ownerReferences",
];

/// Reads an object of kind `K`, whose `apiVersion` and `kind` may be left out.
///
/// # Errors
/// 400: another kind or version, or unknown fields, all of them. 422: all wrong or missing values.
pub(super) fn object<K: Kind>(mut fields: Map<String, Value>) -> Result<K, ApiError> {
    check_type::<K>(&fields)?;
    // What is, the gateway says: no write reads it, and a client that sends what it was shown is no fault.
    fields.remove("status");
    let mut faults = Faults::default();
    if let Some(Value::Object(meta)) = fields.get_mut("metadata") {
        metadata(meta, &mut faults);
    }
    let mut value = Value::Object(fields);
    if let Some(schema) = openapi::schema(K::KIND) {
        faults.walk(schema, &mut value, "");
    }
    let name = value.pointer("/metadata/name").and_then(Value::as_str);
    faults.tell::<K>(name.unwrap_or_default())?;
    let mut object: K = serde_json::from_value(value).map_err(|error| {
        ApiError::BadRequest(format!("{} in the body cannot be read: {error}", K::KIND))
    })?;
    object.fill_type();
    Ok(object)
}

fn check_type<K: Kind>(fields: &Map<String, Value>) -> Result<(), ApiError> {
    let differs = |what: &str, found: &Value, expected: &str| {
        let found = match found {
            Value::String(text) => shown(text),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => shown(&found.to_string()),
        };
        ApiError::BadRequest(format!(
            "the {what} in the data ({found}) does not match the expected {what} ({expected})"
        ))
    };
    let other = |key: &str, expected: &str| {
        let found = fields.get(key).filter(|found| !found.is_null());
        found.filter(|found| **found != "" && **found != expected)
    };
    if let Some(found) = other("apiVersion", API_VERSION) {
        return Err(differs("API version", found, API_VERSION));
    }
    if let Some(found) = other("kind", K::KIND) {
        return Err(differs("kind", found, K::KIND));
    }
    Ok(())
}

/// What `metav1.ObjectMeta` has and [`crate::objects::Meta`] has not.
fn metadata(meta: &mut Map<String, Value>, faults: &mut Faults) {
    for key in DROPPED {
        meta.remove(key);
    }
    for key in NOT_HERE {
        let empty = |value: &Value| match value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
        };
        if meta.remove(key).is_some_and(|value| !empty(&value)) {
            let field = format!("metadata.{key}");
            faults.wrong(Mistake::forbidden(field, "not allowed on this type"));
        }
    }
    generate_name(meta);
}

/// `generateName`: a name of this beginning, if there is none. A name that is taken all the same is a 409.
fn generate_name(meta: &mut Map<String, Value>) {
    let named = |name: &Value| name.as_str().is_some_and(|name| !name.is_empty());
    if meta.get("name").is_some_and(named) {
        meta.remove("generateName");
        return;
    }
    let Some(Value::String(base)) = meta.get("generateName") else {
        return;
    };
    if !base.is_empty() {
        /// Upstream's: no vowels, so no words, and nothing that is mistaken for something else.
        const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        let random = uuid::Uuid::new_v4();
        let letter = |byte: &u8| ALPHABET.get(usize::from(*byte) % ALPHABET.len());
        let ending = random.as_bytes().iter().take(GENERATED).filter_map(letter);
        let kept: String = base.chars().take(MAX_GENERATE_NAME).collect();
        let name = ending.fold(kept, |name, letter| name + &char::from(*letter).to_string());
        meta.insert("name".to_owned(), name.into());
    }
    meta.remove("generateName");
}

/// What is wrong with a body.
#[derive(Default)]
struct Faults {
    unknown: Vec<String>,
    wrong: Vec<Mistake>,
    untold: usize,
}

impl Faults {
    fn tell<K: Kind>(self, name: &str) -> Result<(), ApiError> {
        let more = match self.untold {
            0 => String::new(),
            untold => format!(", and {untold} more"),
        };
        if !self.unknown.is_empty() {
            return Err(ApiError::BadRequest(format!(
                "{kind} in version {VERSION:?} cannot be handled as a {kind}: strict decoding error: {}{more}",
                self.unknown.join(", "),
                kind = K::KIND,
            )));
        }
        if !self.wrong.is_empty() {
            return Err(ApiError::Invalid(ObjectRef::of::<K>(name), self.wrong));
        }
        Ok(())
    }

    fn has_room(&mut self) -> bool {
        let room = self.unknown.len() + self.wrong.len() < MAX_TOLD;
        self.untold += usize::from(!room);
        room
    }

    fn wrong(&mut self, mistake: Mistake) {
        if self.has_room() {
            self.wrong.push(mistake);
        }
    }

    /// Compares a value with its schema, and drops fields that are null: clients of Go write what is not set
    /// that way.
    fn walk(&mut self, schema: &Value, value: &mut Value, path: &str) {
        let schema = openapi::resolved(schema);
        match (schema.get("type").and_then(Value::as_str), value) {
            (Some("object"), Value::Object(fields)) => match schema.get("additionalProperties") {
                Some(each) => {
                    for (key, value) in fields {
                        self.walk(each, value, &format!("{path}[{}]", shown(key)));
                    }
                }
                None => self.walk_fields(schema, fields, path),
            },
            (Some("array"), Value::Array(items)) => {
                let each = schema.get("items").unwrap_or(&Value::Null);
                for (index, value) in items.iter_mut().enumerate() {
                    self.walk(each, value, &format!("{path}[{index}]"));
                }
            }
            (Some("string"), Value::String(text)) => self.walk_text(schema, text, path),
            // A schema that says nothing: the deserializer knows.
            (Some("boolean"), Value::Bool(_)) | (None, _) => {}
            (Some("integer"), value) if value.is_i64() => {}
            (Some(wanted), value) => {
                let article = if wanted == "string" || wanted == "boolean" {
                    "a"
                } else {
                    "an"
                };
                let detail = format!("must be {article} {wanted}");
                self.wrong(Mistake::wrong_type(
                    path,
                    &shown(&value.to_string()),
                    &detail,
                ));
            }
        }
    }

    fn walk_fields(&mut self, schema: &Value, fields: &mut Map<String, Value>, path: &str) {
        let at = |key: &str| match path {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        };
        fields.retain(|_, value| !value.is_null());
        let known = schema.get("properties").and_then(Value::as_object);
        for (key, value) in &mut *fields {
            match known.and_then(|known| known.get(key)) {
                Some(schema) => self.walk(schema, value, &at(key)),
                None if self.has_room() => self.unknown.push(unknown(&at(&shown(key)), known)),
                None => {}
            }
        }
        let required = schema.get("required").and_then(Value::as_array);
        for key in required.into_iter().flatten().filter_map(Value::as_str) {
            if !fields.contains_key(key) {
                self.wrong(Mistake::required(at(key), "must be given"));
            }
        }
    }

    fn walk_text(&mut self, schema: &Value, text: &str, path: &str) {
        let choices = schema.get("enum").and_then(Value::as_array);
        if let Some(choices) = choices.filter(|choices| choices.iter().all(|one| *one != text)) {
            let choices: Vec<&str> = choices.iter().filter_map(Value::as_str).collect();
            self.wrong(Mistake::not_supported(path, &shown(text), &choices));
        }
        let timestamp = schema
            .get("format")
            .is_some_and(|format| format == "date-time");
        if timestamp && text.parse::<Timestamp>().is_err() {
            let detail = "must be a time of RFC 3339, such as 2027-01-31T18:00:00Z";
            self.wrong(Mistake::invalid(path, &shown(text), detail));
        }
    }
}

fn unknown(path: &str, known: Option<&Map<String, Value>>) -> String {
    let names: Vec<&str> = known
        .into_iter()
        .flatten()
        .map(|(name, _)| &**name)
        .collect();
    format!("unknown field {path:?} (there are: {})", names.join(", "))
}

/// A text of the client's, cut where it gets long.
fn shown(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::{Binding, Group, Project, Role, Token, User};
    use crate::status::Status;
    use serde_json::json;

    fn read<K: Kind>(value: Value) -> Result<K, ApiError> {
        let Value::Object(fields) = value else {
            panic!("an object");
        };
        object(fields)
    }

    fn refusal<K: Kind>(value: Value) -> Status {
        read::<K>(value).err().expect("it is refused").status()
    }

    fn causes(status: &Status) -> Vec<(&str, &str, &str)> {
        let causes = status.details.iter().flat_map(|details| &details.causes);
        causes
            .map(|cause| (&*cause.field, &*cause.reason, &*cause.message))
            .collect()
    }

    // F7
    #[test]
    fn all_unknown_fields_are_told_with_their_paths() {
        let status = refusal::<Group>(json!({
            "metadata": {"name": "a", "lables": {}},
            "spec": {"members": [{"name": "a"}, {"nmae": "b", "name": "b"}]},
            "specs": {},
        }));
        assert_eq!(status.code, 400);
        for path in ["specs", "metadata.lables", "spec.members[1].nmae"] {
            let said = format!("unknown field {path:?}");
            assert!(status.message.contains(&said), "{path}: {}", status.message);
        }
        let known = "\"spec.members[1].nmae\" (there are: name, uid)";
        assert!(status.message.contains(known), "{}", status.message);
    }

    #[test]
    fn all_wrong_values_are_causes() {
        let status = refusal::<Binding>(json!({
            "metadata": {"name": "b", "labels": {"a": 1}},
            "spec": {
                "role": 7,
                "subject": {"kind": "Robot"},
                "allClusters": "yes",
                "clusters": ["a", null],
                "expiresAt": "tomorrow",
            },
        }));
        assert_eq!(status.code, 422);
        assert_eq!(
            causes(&status),
            [
                (
                    "metadata.labels[a]",
                    "FieldValueTypeInvalid",
                    "Invalid value: 1: must be a string"
                ),
                (
                    "spec.allClusters",
                    "FieldValueTypeInvalid",
                    "Invalid value: \"yes\": must be a boolean"
                ),
                (
                    "spec.clusters[1]",
                    "FieldValueTypeInvalid",
                    "Invalid value: null: must be a string"
                ),
                (
                    "spec.expiresAt",
                    "FieldValueInvalid",
                    "Invalid value: \"tomorrow\": must be a time of RFC 3339, such as 2027-01-31T18:00:00Z"
                ),
                (
                    "spec.role",
                    "FieldValueTypeInvalid",
                    "Invalid value: 7: must be a string"
                ),
                (
                    "spec.subject.kind",
                    "FieldValueNotSupported",
                    "Unsupported value: \"Robot\": supported values: \"User\", \"Group\""
                ),
                (
                    "spec.subject.name",
                    "FieldValueRequired",
                    "Required value: must be given"
                ),
            ]
        );
    }

    // P13: a body of a thousand faults gets no answer of a thousand faults.
    #[test]
    fn answers_to_many_faults_are_bounded() {
        let members: Vec<Value> = (0..5000)
            .map(|_| json!({"nmae": "x".repeat(100)}))
            .collect();
        let status =
            refusal::<Group>(json!({"metadata": {"name": "a"}, "spec": {"members": members}}));
        assert!(
            status.message.ends_with("and 9968 more"),
            "{}",
            status.message
        );
        let wrong = vec![json!("x".repeat(1000)); 5000];
        let status =
            refusal::<Group>(json!({"metadata": {"name": "a"}, "spec": {"members": wrong}}));
        assert_eq!((status.code, causes(&status).len()), (422, MAX_TOLD));
        assert!(status.message.len() < 8192);
    }

    // serde would read a list as the fields in their order.
    #[test]
    fn a_list_is_no_object() {
        for spec in [json!(["Operators", []]), json!("x"), json!(1)] {
            let status = refusal::<Group>(json!({"metadata": {"name": "a"}, "spec": spec}));
            let told = causes(&status);
            assert_eq!((status.code, told.len()), (422, 1), "{}", status.message);
            assert!(
                told[0].2.ends_with("must be an object"),
                "{}",
                status.message
            );
        }
    }

    #[test]
    fn what_clients_echo_is_no_fault() {
        let user: User = read(json!({
            "apiVersion": "palisade.dev/v1alpha1",
            "kind": "User",
            "metadata": {
                "name": "jane",
                "namespace": "",
                "generateName": "x-",
                "creationTimestamp": null,
                "deletionTimestamp": null,
                "finalizers": [],
                "ownerReferences": null,
                "generation": 3,
                "managedFields": [{"manager": "kubectl"}],
                "selfLink": "/x",
                "labels": null,
            },
            "spec": {"disabled": null, "displayName": "Jane"},
            "status": {"hasPassword": "of another version", "more": 1},
        }))
        .unwrap();
        assert_eq!(
            (&*user.metadata.name, &*user.spec.display_name),
            ("jane", "Jane")
        );
        assert!(!user.spec.disabled && !user.status.has_password);
        let role: Role = read(json!({"metadata": {"name": "x"}, "spec": null})).unwrap();
        assert_eq!(role.spec.rules.len(), 0);
    }

    #[test]
    fn what_these_kinds_do_not_have_is_told_as_such() {
        let status = refusal::<User>(json!({
            "metadata": {"name": "jane", "namespace": "default", "finalizers": ["a/b"]},
        }));
        assert_eq!(status.code, 422);
        let fields: Vec<&str> = causes(&status).iter().map(|cause| cause.0).collect();
        assert_eq!(fields, ["metadata.finalizers", "metadata.namespace"]);
    }

    #[test]
    fn names_are_generated() {
        let name = || {
            let group: Group = read(json!({"metadata": {"generateName": "ops-"}})).unwrap();
            group.metadata.name
        };
        let (one, two) = (name(), name());
        assert!(
            one.len() == 9 && one.starts_with("ops-") && one != two,
            "{one} {two}"
        );
        let long: Group = read(json!({"metadata": {"generateName": "a".repeat(100)}})).unwrap();
        assert_eq!(long.metadata.name.len(), 63);
        let none: Group = read(json!({"metadata": {"generateName": ""}})).unwrap();
        assert_eq!(none.metadata.name, "");
        assert_eq!(
            refusal::<Group>(json!({"metadata": {"generateName": 1}})).code,
            422
        );
    }

    // The schema is what people are told; a field that only one of the two has would be a lie or a puzzle.
    #[test]
    fn schemas_and_kinds_have_the_same_fields() {
        fn expected<K: Kind>(at: &str) -> Vec<String> {
            let bad = serde_json::from_value::<K>(json!({"spec": {at: 1}}));
            let text = bad.err().expect("an unknown field").to_string();
            let (_, list) = text.split_once("expected ").expect("the fields");
            let mut names: Vec<String> = list
                .split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect();
            names.sort();
            names
        }
        fn told<K: Kind>() -> Vec<String> {
            let schema = openapi::schema(K::KIND).unwrap();
            let spec = schema.pointer("/properties/spec/properties").unwrap();
            spec.as_object().unwrap().keys().cloned().collect()
        }
        assert_eq!(told::<User>(), expected::<User>("?"));
        assert_eq!(told::<Group>(), expected::<Group>("?"));
        assert_eq!(told::<Token>(), expected::<Token>("?"));
        assert_eq!(told::<Role>(), expected::<Role>("?"));
        assert_eq!(
            told::<crate::objects::Cluster>(),
            expected::<crate::objects::Cluster>("?")
        );
        assert_eq!(told::<Project>(), expected::<Project>("?"));
        assert_eq!(told::<Binding>(), expected::<Binding>("?"));
    }
}
