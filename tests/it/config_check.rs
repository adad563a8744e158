//! `palisade config check` as a person sees it.

use std::process::Command;

fn check(text: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("palisade.yaml"), text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_palisade"))
        .args(["config", "check", "palisade.yaml"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let shown = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(shown).unwrap())
}

#[test]
fn every_mistake_is_shown_with_its_line() {
    let (code, shown) = check(
        "\
listen: 0.0.0.0
admin_listen: 127.0.0.1:8444
external_url: gate.example.com
base_domian: k8s.example.com
tls:
  cert_file: cert.pem
  key_file: [key.pem]
state:
  store: state.db
sessions: {lifetime: 8d, max_age: 1d}
limits:
  h2_streams: many
  h2_streams: 100
drain:
  deadline: soon
",
    );
    assert_eq!(code, Some(1));
    insta::assert_snapshot!(shown);
}

#[test]
fn broken_yaml_is_one_mistake() {
    let (code, shown) = check("listen: [0.0.0.0:8443\ntls: {}\n");
    assert_eq!(code, Some(1));
    assert!(shown.starts_with("palisade.yaml:"), "{shown}");
    assert_eq!(shown.lines().count(), 1, "{shown}");
}

#[test]
fn good_file_has_no_mistakes() {
    let (code, shown) = check(
        "external_url: https://gate.example.com\ntls: {cert_file: c, key_file: k}\nstate: {store: s, key_file: e}\n",
    );
    assert_eq!(
        (code, shown.as_str()),
        (Some(0), "palisade.yaml: no mistakes\n")
    );
}

#[test]
fn missing_file_is_said() {
    let output = Command::new(env!("CARGO_BIN_EXE_palisade"))
        .args(["config", "check", "/does/not/exist.yaml"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let shown = String::from_utf8(output.stderr).unwrap();
    assert!(
        shown.starts_with("cannot read /does/not/exist.yaml: No such file"),
        "{shown}"
    );
}
