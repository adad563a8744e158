//! The JSON Schema of the configuration file, made from the options: for editors, and for pipelines that
//! have no palisade at hand.
//!
//! It says what each option says by itself: type, range, default, whether it is required. What only shows
//! between two options, and whether files are there, `palisade config check` says. The range of a duration
//! or a size is no keyword of JSON Schema: it stands as `x-minimum` and `x-maximum`, and in the description.

use super::{
    duration,
    options::{Change, OPTIONS, Opt, PROVIDER_OPTIONS, Shape},
    raw, size,
};
use serde_json::{Map, Value, json};

/// What the document calls itself.
const ID: &str = "https://palisade.dev/schemas/config.json";

/// The document; `palisade config schema` prints it.
pub fn document() -> Value {
    // The defaults are strings, numbers and switches: they always serialise.
    let defaults = serde_json::to_value(raw::Config::default()).unwrap_or(Value::Null);
    let mut root = section("Configuration of a Palisade gateway (`palisade serve --config`)");
    root.insert(
        "$schema".to_owned(),
        "https://json-schema.org/draft/2020-12/schema".into(),
    );
    root.insert("$id".to_owned(), ID.into());
    for option in OPTIONS {
        let default = defaults.pointer(&format!("/{}", option.path.replace('.', "/")));
        put(&mut root, option.path, option, default);
    }
    Value::Object(root)
}

/// An object of which every key is known.
fn section(description: &str) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("type".to_owned(), "object".into());
    map.insert("description".to_owned(), description.into());
    map.insert("additionalProperties".to_owned(), false.into());
    map.insert("properties".to_owned(), Value::Object(Map::new()));
    map
}

/// Puts an option below the sections of its path, and makes those that are missing.
fn put(into: &mut Map<String, Value>, path: &str, option: &Opt, default: Option<&Value>) {
    let (key, rest) = match path.split_once('.') {
        Some((key, rest)) => (key, Some(rest)),
        None => (path, None),
    };
    if option.required {
        require(into, key);
    }
    let Some(Value::Object(properties)) = into.get_mut("properties") else {
        return;
    };
    let Some(rest) = rest else {
        properties.insert(key.to_owned(), value(option, default));
        return;
    };
    let inner = properties
        .entry(key)
        .or_insert_with(|| Value::Object(section(&format!("Options `{key}.…`"))));
    if let Value::Object(inner) = inner {
        put(inner, rest, option, default);
    }
}

fn require(section: &mut Map<String, Value>, key: &str) {
    let required = section
        .entry("required")
        .or_insert_with(|| Value::Array(Vec::new()));
    if let Value::Array(required) = required
        && !required.iter().any(|known| known == key)
    {
        required.push(key.into());
    }
}

fn value(option: &Opt, default: Option<&Value>) -> Value {
    let mut value = shape(option);
    let mut text = option.doc.to_owned();
    if let Some([low, high]) = range(option.shape) {
        text.push_str(&[" From ", &low, " to ", &high, "."].concat());
    }
    text += match option.change {
        Change::Reload => " Reloads.",
        Change::Restart => " A change takes a restart.",
    };
    if let Value::Object(value) = &mut value {
        value.insert("description".to_owned(), text.into());
        // An empty text stands for none.
        let default = default.filter(|default| !option.required && *default != "");
        if let Some(default) = default {
            value.insert("default".to_owned(), default.clone());
        }
    }
    value
}

/// The range of a text that has one, in the words of the file.
fn range(shape: Shape) -> Option<[String; 2]> {
    match shape {
        Shape::Duration(low, high) => Some([low, high].map(duration::format)),
        Shape::Size(low, high) => Some([low, high].map(size::format)),
        Shape::Address
        | Shape::AddressOrNone
        | Shape::Url
        | Shape::Collector
        | Shape::Domain
        | Shape::Path
        | Shape::Number(..)
        | Shape::Switch
        | Shape::Text
        | Shape::Texts
        | Shape::Providers
        | Shape::Word(_) => None,
    }
}

fn shape(option: &Opt) -> Value {
    // What is not required may be written empty, which says nothing.
    let or_empty = |pattern: &str| {
        if option.required {
            format!("^{pattern}$")
        } else {
            format!("^({pattern})?$")
        }
    };
    match option.shape {
        Shape::Address => {
            json!({"type": "string", "pattern": r"^(\[[0-9A-Fa-f:.]+\]|[0-9.]+):[0-9]{1,5}$"})
        }
        Shape::AddressOrNone => {
            json!({"type": "string", "pattern": or_empty(r"(\[[0-9A-Fa-f:.]+\]|[0-9.]+):[0-9]{1,5}")})
        }
        Shape::Url => json!({"type": "string", "pattern": or_empty("https://[^/?#@]+/?")}),
        Shape::Collector => {
            json!({"type": "string", "pattern": or_empty("https?://[^/?#@]+/?")})
        }
        Shape::Domain => {
            let label = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?";
            json!({"type": "string", "pattern": or_empty(&format!(r"{label}(\.{label})+"))})
        }
        Shape::Path | Shape::Text => {
            json!({"type": "string", "minLength": usize::from(option.required)})
        }
        Shape::Duration(low, high) => json!({
            "type": "string",
            "pattern": "^([0-9]+(ms|s|m|h|d))+$",
            "x-minimum": duration::format(low),
            "x-maximum": duration::format(high),
        }),
        Shape::Size(low, high) => json!({
            "type": "string",
            "pattern": "^[0-9]+(KiB|MiB|GiB)$",
            "x-minimum": size::format(low),
            "x-maximum": size::format(high),
        }),
        Shape::Number(low, high) => json!({"type": "integer", "minimum": low, "maximum": high}),
        Shape::Switch => json!({"type": "boolean"}),
        Shape::Word(words) => json!({"enum": words}),
        Shape::Texts => json!({
            "type": "array",
            "items": {"type": "string", "minLength": 1},
            "minItems": usize::from(option.required),
        }),
        Shape::Providers => json!({
            "type": "object",
            "propertyNames": {"pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"},
            "additionalProperties": provider(),
        }),
    }
}

/// What one provider has.
fn provider() -> Value {
    let defaults = serde_json::to_value(raw::Provider::written()).unwrap_or(Value::Null);
    let mut root = section("One provider: `providers.<name>.…`");
    for option in PROVIDER_OPTIONS {
        let path = option.in_provider().unwrap_or(option.path);
        let default = defaults.pointer(&format!("/{}", path.replace('.', "/")));
        put(&mut root, path, option, default);
    }
    // What is required in a section is so where that section is written: one of them is.
    root.remove("required");
    let one = ["ldap", "github", "oidc"].map(|section| json!({"required": [section]}));
    root.insert("oneOf".to_owned(), json!(one));
    Value::Object(root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{docs, read, yaml::Mistake};
    use jsonschema::Validator;
    use std::path::Path;

    fn validator() -> Validator {
        jsonschema::draft202012::new(&document()).unwrap()
    }

    fn value_of(text: &str) -> Value {
        serde_saphyr::from_str(text).unwrap()
    }

    /// A whole file with this option in it.
    fn with(path: &str, value: &Value) -> (String, Value) {
        let mut file = value_of(docs::SMALLEST);
        let mut place = &mut file;
        for key in path.split('.') {
            place = &mut place[key];
        }
        *place = value.clone();
        (serde_json::to_string(&file).unwrap(), file)
    }

    fn is_read(text: &str, path: &str) -> bool {
        match read(text, Path::new("/etc/palisade")) {
            Ok(_) => true,
            // What two options are to each other is not the schema's affair, nor how a program was built.
            Err(mistakes) => !mistakes.iter().any(|m: &Mistake| {
                let related = [
                    "must not be below ",
                    "is written only with ",
                    "takes a palisade that was built with ",
                ];
                let here = m.path == path || m.path.starts_with(&format!("{path}."));
                here && !related.iter().any(|text| m.message.starts_with(text))
            }),
        }
    }

    #[test]
    fn the_smallest_file_of_the_document_is_good() {
        let validator = validator();
        let file = value_of(docs::SMALLEST);
        assert!(validator.is_valid(&file));
        assert!(!validator.is_valid(&json!({})));
        let mut odd = file.clone();
        odd["tls"]["cert_fil"] = "x".into();
        assert!(!validator.is_valid(&odd), "unknown keys are mistakes");
        let mut less = file;
        less["state"].as_object_mut().unwrap().remove("key_file");
        assert!(!validator.is_valid(&less));
    }

    #[test]
    fn every_option_has_its_range_its_default_and_its_description() {
        let document = document();
        for option in OPTIONS {
            let pointer = format!("/properties/{}", option.path.replace('.', "/properties/"));
            let found = document.pointer(&pointer).expect(option.path);
            let text = found["description"].as_str().unwrap();
            assert!(text.starts_with(option.doc), "{}", option.path);
            match option.shape {
                Shape::Number(low, high) => {
                    assert_eq!(
                        (&found["minimum"], &found["maximum"]),
                        (&json!(low), &json!(high))
                    );
                }
                Shape::Duration(low, high) => {
                    assert_eq!(found["x-minimum"], duration::format(low));
                    assert_eq!(found["x-maximum"], duration::format(high));
                }
                Shape::Size(low, high) => {
                    assert_eq!(found["x-minimum"], size::format(low));
                    assert_eq!(found["x-maximum"], size::format(high));
                }
                Shape::Word(words) => assert_eq!(found["enum"], json!(words)),
                Shape::Address
                | Shape::AddressOrNone
                | Shape::Url
                | Shape::Collector
                | Shape::Domain
                | Shape::Path
                | Shape::Text
                | Shape::Texts
                | Shape::Providers
                | Shape::Switch => {}
            }
            let has_none = matches!(option.shape, Shape::Collector | Shape::Domain | Shape::Path);
            if !option.required && !has_none {
                assert!(found.get("default").is_some(), "{}", option.path);
            }
        }
    }

    /// A provider with what must be written.
    fn corp() -> Value {
        json!({
            "access": {"mode": "danger_anyone"},
            "ldap": {
                "directory": "openldap",
                "hosts": ["ldap.example"],
                "bind_dn": "cn=gate,dc=example",
                "bind_password_file": "secret",
                "base_dn": "dc=example",
            },
        })
    }

    fn hub() -> Value {
        json!({"github": {
            "client_id": "Ov23li",
            "client_secret_file": "secret",
            "organizations": ["acme"],
        }})
    }

    fn sso() -> Value {
        json!({
            "access": {"groups": ["developers"]},
            "oidc": {"issuer": "https://login.example/a", "client_id": "palisade"},
        })
    }

    /// What no provider is.
    fn two() -> Value {
        let mut both = corp();
        both["oidc"] = sso()["oidc"].clone();
        both
    }

    /// What is taken, and what is not.
    fn values(option: &Opt) -> (Vec<Value>, Vec<Value>) {
        match option.shape {
            Shape::Number(low, high) => {
                let below = low.checked_sub(1).map(|n| json!(n));
                let outside = below.into_iter().chain([json!(high + 1), json!("many")]);
                (vec![json!(low), json!(high)], outside.collect())
            }
            Shape::Duration(low, high) => {
                let words = [low, high].map(|at| json!(duration::format(at)));
                (words.into(), vec![json!("soon"), json!(""), json!("5")])
            }
            Shape::Size(low, high) => {
                let words = [low, high].map(|at| json!(size::format(at)));
                (words.into(), vec![json!("5"), json!("5MB"), json!("")])
            }
            Shape::Switch => (vec![json!(true), json!(false)], vec![json!("yes")]),
            Shape::Word(words) => (
                words.iter().map(|word| json!(word)).collect(),
                vec![json!("other"), json!("")],
            ),
            Shape::Address | Shape::AddressOrNone => (
                vec![json!("127.0.0.1:9"), json!("[::1]:65535")],
                vec![json!("8443"), json!("localhost:1"), json!("")],
            ),
            Shape::Url => (
                vec![json!("https://a.example:8443"), json!("https://a.example/")],
                vec![
                    json!("http://a.example"),
                    json!("https://a.example/b"),
                    json!(""),
                ],
            ),
            Shape::Collector => (
                vec![
                    json!("http://127.0.0.1:4318"),
                    json!("https://a.example/"),
                    json!(""),
                ],
                vec![
                    json!("a.example:4318"),
                    json!("grpc://a.example"),
                    json!("http://a.example/v1/traces"),
                ],
            ),
            Shape::Domain => (
                vec![json!("k8s.example.com"), json!("")],
                vec![
                    json!("K8S.example.com"),
                    json!("example"),
                    json!("-a.example"),
                ],
            ),
            Shape::Path if option.required => (vec![json!("a/b")], vec![json!("")]),
            Shape::Path => (vec![json!("a/b"), json!("")], vec![json!([])]),
            Shape::Text => (vec![json!("a b"), json!("")], vec![json!([])]),
            Shape::Texts => (vec![json!([]), json!(["a"])], vec![json!("a")]),
            Shape::Providers => (
                vec![
                    json!({}),
                    json!({"corp": corp()}),
                    json!({"hub": hub()}),
                    json!({"sso": sso()}),
                ],
                vec![
                    json!({"corp": {}}),
                    json!({"corp": two()}),
                    json!([]),
                    json!("corp"),
                ],
            ),
        }
    }

    /// The program's own reader and the schema agree on what each option takes.
    #[test]
    fn the_schema_takes_what_the_program_takes() {
        let validator = validator();
        let both = |path: &str, value: &Value, good: bool| {
            let (text, file) = with(path, value);
            assert_eq!(validator.is_valid(&file), good, "schema: {path}: {value}");
            assert_eq!(is_read(&text, path), good, "program: {path}: {value}");
        };
        for option in OPTIONS {
            let path = option.path;
            let (good, bad) = values(option);
            for value in &good {
                both(path, value, true);
            }
            for value in &bad {
                both(path, value, false);
            }
        }
    }
}
