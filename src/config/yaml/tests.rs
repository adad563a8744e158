use super::*;
use serde::Deserialize;
use std::fmt::Write as _;

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Role {
    name: String,
    scope: Scope,
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(default)]
    count: Option<u16>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Scope {
    Global,
    Cluster,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Rule {
    verbs: Vec<String>,
    #[serde(default)]
    resources: Vec<String>,
}

fn mistakes(text: &str) -> Vec<String> {
    match load_one::<Role>(text) {
        Ok(_) => Vec::new(),
        Err(mistakes) => mistakes
            .iter()
            .map(|mistake| mistake.in_file("f.yaml"))
            .collect(),
    }
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let text = "\
name: 7
scop: cluster
scope: galaxy
rules:
- verbs: [get, 3, list, true]
  resource: [pods]
- resources: {}
- verbs: [get]
- just text
count: 70000
scope: cluster
";
    assert_eq!(
        mistakes(text),
        [
            "f.yaml:1:1: name: expected a string, found the number 7",
            "f.yaml:2:1: scop: unknown key \"scop\", did you mean \"scope\"?",
            "f.yaml:3:1: scope: unknown value \"galaxy\"; known here: global, cluster",
            "f.yaml:5:16: rules[0].verbs[1]: expected a string, found the number 3",
            "f.yaml:5:25: rules[0].verbs[3]: expected a string, found true",
            "f.yaml:6:3: rules[0].resource: unknown key \"resource\", did you mean \"resources\"?",
            "f.yaml:7:3: rules[1]: the key \"verbs\" is missing",
            "f.yaml:7:3: rules[1].resources: expected a list, found a map",
            "f.yaml:9:3: rules[3]: expected a map, found the text \"just text\"",
            "f.yaml:10:1: count: expected a whole number from 0 to 65535, found the number 70000",
            "f.yaml:11:1: scope: the key \"scope\" is written twice, first on line 3",
        ]
    );
}

#[test]
fn all_missing_keys_are_told_at_once() {
    assert_eq!(
        mistakes("rules: []\n"),
        [
            "f.yaml:1:1: the key \"name\" is missing",
            "f.yaml:1:1: the key \"scope\" is missing"
        ]
    );
}

#[test]
fn json_is_yaml() {
    let json = "{\n\t\"name\": \"a\",\n\t\"scope\": \"global\",\n\t\"rules\": [{\"verbs\": [\"get\"]}]\n}\n";
    let (_, role) = load_one::<Role>(json).unwrap();
    assert_eq!(role.rules.len(), 1);
    assert_eq!(role.scope, Scope::Global);
}

#[test]
fn documents_are_separate_and_empty_ones_left_out() {
    let nodes = parse("---\na: 1\n---\n---\n# nothing\n---\nb: x\n").unwrap();
    assert_eq!(nodes.len(), 2);
    assert_eq!(nodes[1].line, 7);
    assert_eq!(nodes[1].get("b").and_then(Node::as_str), Some("x"));
    assert!(mistakes("name: a\nscope: global\n---\nname: b\n")[0].contains("second document"));
}

#[test]
fn old_booleans_and_odd_numbers_stay_text() {
    let node = &parse("[no, on, yes, 0755, 1_000, \"1\", ~]").unwrap()[0];
    let Value::List(items) = &node.value else {
        panic!("not a list");
    };
    let texts: Vec<Option<&str>> = items.iter().map(Node::as_str).collect();
    let expected = ["no", "on", "yes", "0755", "1_000", "1"].map(Some);
    assert_eq!(texts[..6], expected);
    assert_eq!(texts[6], None);
}

#[test]
fn alias_bomb_is_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let previous = format!("*a{}", level - 1);
        let line = vec![previous; 10].join(", ");
        writeln!(text, "a{level}: &a{level} [{line}]").unwrap();
    }
    let mistake = parse(&text).unwrap_err();
    assert!(mistake.message.contains("alias"), "{mistake}");
}

#[test]
fn deep_nesting_is_refused() {
    let text = format!("{}1{}", "[".repeat(500), "]".repeat(500));
    assert!(parse(&text).is_err());
    assert!(
        parse(&format!(
            "{}1{}",
            "[".repeat(MAX_DEPTH - 1),
            "]".repeat(MAX_DEPTH - 1)
        ))
        .is_ok()
    );
}

#[test]
fn broken_yaml_names_its_line() {
    let mistake = parse("a: 1\nb: [1, 2\nc: 3\n").unwrap_err();
    assert!(mistake.line >= 2, "{mistake}");
    assert!(!mistake.message.contains('\n') && !mistake.message.is_empty());
}

#[test]
fn anchored_content_is_usable_and_mistakes_name_the_anchor() {
    let text = "name: a\nscope: cluster\nrules:\n- &r\n  verbs: [1]\n- *r\n";
    let told = mistakes(text);
    assert!(
        told.iter()
            .all(|line| line.starts_with("f.yaml:5:11: rules[")),
        "{told:?}"
    );
}

#[test]
fn nothing_after_the_colon_is_an_empty_list() {
    let (_, role) = load_one::<Role>("name: a\nscope: cluster\nrules:\n").unwrap();
    assert_eq!(role.rules, []);
}

#[test]
fn places_are_found_by_path() {
    let node = &parse("a:\n  b:\n  - c: 1\n  - d: 2\n").unwrap()[0];
    assert_eq!(node.place_of("a.b[1].d"), (4, 5));
    assert_eq!(node.place_of("a.b[1].e"), (4, 5));
    assert_eq!(node.place_of("z"), (1, 1));
}

#[test]
fn mistakes_are_bounded() {
    let mut text = String::new();
    for n in 0..200 {
        writeln!(text, "k{n}: 1").unwrap();
    }
    assert_eq!(mistakes(&text).len(), MAX_MISTAKES);
}
