//! `palisade policy` as a person and a script see it: the built-in policy, the examples, the documentation.

use serde_json::Value;
use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Output, Stdio},
};

const PALISADE: &str = env!("CARGO_BIN_EXE_palisade");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn palisade(arguments: &[&str]) -> Output {
    let mut command = Command::new(PALISADE);
    command
        .current_dir(root())
        .args(arguments)
        .output()
        .unwrap()
}

/// Code, standard output, standard error.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = palisade(arguments);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn built_in_policy_and_examples_are_clean_and_keep_their_cases() {
    let (code, out, err) = run(&["policy", "check", "--strict", "policies"]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert_eq!(
        out.lines().count(),
        3,
        "the policy itself and two examples: {out}"
    );
    let (code, out, err) = run(&["policy", "test", "policies"]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    let cases: usize = out.split(' ').next().unwrap().parse().unwrap();
    assert!(cases > 250, "{out}");
    assert!(out.contains(" 0 failed"), "{out}");
}

/// A policy whose cases all expect the contrary: the runner must notice each.
#[test]
fn cases_that_expect_the_contrary_all_fail() {
    let folder = tempfile::tempdir().unwrap();
    let cases = folder.path().join("cases");
    std::fs::create_dir(&cases).unwrap();
    let mut files = 0;
    for entry in std::fs::read_dir(root().join("policies/cases")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let turned = text
            .replace("expect: allow", "expect: DENY")
            .replace("expect: deny", "expect: allow")
            .replace("expect: refuse", "expect: allow")
            .replace("expect: DENY", "expect: deny");
        std::fs::write(cases.join(path.file_name().unwrap()), turned).unwrap();
        files += 1;
    }
    assert!(files >= 6);
    let (code, out, _) = run(&["policy", "test", folder.path().to_str().unwrap()]);
    assert_eq!(code, Some(1));
    let last = out.lines().last().unwrap();
    assert!(last.contains(": 0 passed, "), "{last}");
}

/// A role that lets hal act as jane in one group, and its binding.
const HELPER: &str = "apiVersion: palisade.dev/v1alpha1
kind: Role
metadata: {name: helper}
spec:
  scope: cluster
  rules:
  - {apiGroups: [''], resources: [users], resourceNames: [jane], verbs: [impersonate]}
  - {apiGroups: [''], resources: [groups], resourceNames: [devs], verbs: [impersonate]}
---
apiVersion: palisade.dev/v1alpha1
kind: Binding
metadata: {name: helper}
spec: {role: helper, subject: {kind: User, name: hal}, clusters: [prod]}
---
apiVersion: palisade.dev/v1alpha1
kind: Cluster
metadata: {name: prod}
spec: {}
";

#[test]
fn explain_says_which_right_to_act_as_another_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("helper.yaml");
    std::fs::write(&file, HELPER).unwrap();
    let policies = folder.path().to_str().unwrap();
    let ask = |more: &[&str]| {
        let common = [
            "policy",
            "explain",
            "--policies",
            policies,
            "--cluster",
            "prod",
        ];
        run(&[&common[..], &["--user", "hal", "--as", "jane"], more].concat())
    };
    let (code, out, err) = ask(&["--as-group", "devs", "--expect", "allow"]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("impersonate users \"jane\""), "{out}");
    assert!(out.contains("impersonate groups \"devs\""), "{out}");
    for (more, missing) in [
        (&["--as-group", "devs", "--as-group", "ops"][..], "[groups]"),
        (&["--as-uid", "u-1"], "[uids]"),
        (&["--as-user-extra", "a.b/c=d"], "[userextras/a.b/c]"),
    ] {
        let (code, out, err) = ask(&[more, &["--expect", "deny"]].concat());
        assert_eq!(code, Some(0), "{out}{err}");
        let (_, smallest) = out.split_once("smallest rule").unwrap();
        assert!(smallest.contains(missing), "{out}");
    }
}

#[test]
fn wrong_arguments_end_with_two_and_say_so() {
    for arguments in [
        &["policy"][..],
        &["policy", "check"],
        &["policy", "check", "/does/not/exist"],
        &["policy", "test", "/does/not/exist"],
        &["policy", "explain"],
        &["policy", "explain", "--path", "/api"],
        &["policy", "explain", "--user", "j", "--as-group", "g"],
        &[
            "policy", "explain", "--user", "j", "--as", "k", "--path", "/api",
        ],
        &[
            "policy", "explain", "--path", "/api", "--user", "j", "--batch",
        ],
        &[
            "policy",
            "explain",
            "--path",
            "/api",
            "--user",
            "j",
            "--policies",
            "/does/not/exist",
        ],
        &[
            "policy",
            "explain",
            "--path",
            "/api",
            "--user",
            "j",
            "--cluster-rbac",
        ],
        &[
            "policy", "explain", "--path", "/api", "--user", "j", "-o", "xml",
        ],
    ] {
        let (code, out, err) = run(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {out}{err}");
        assert!(
            out.is_empty() && !err.is_empty(),
            "{arguments:?}: {out}{err}"
        );
    }
}

#[test]
fn a_folder_without_cases_is_no_success() {
    let folder = tempfile::tempdir().unwrap();
    let (code, _, err) = run(&["policy", "test", folder.path().to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(err.starts_with("error: no cases found"), "{err}");
}

#[test]
fn a_folder_with_mistakes_judges_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let role = "apiVersion: palisade.dev/v1alpha1\nkind: Role\nmetadata: {name: r}\nspec: {scope: cluster, inherits: [gone]}\n";
    std::fs::write(folder.path().join("r.yaml"), role).unwrap();
    std::fs::create_dir(folder.path().join("cases")).unwrap();
    let case = "apiVersion: palisade.dev/v1alpha1\nkind: PolicyCases\ncases: [{user: j, request: GET /version, expect: allow}]\n";
    std::fs::write(folder.path().join("cases/c.yaml"), case).unwrap();
    let path = folder.path().to_str().unwrap();
    for arguments in [
        &["policy", "check", path][..],
        &["policy", "test", path],
        &[
            "policy",
            "explain",
            "--policies",
            path,
            "--user",
            "j",
            "--path",
            "/version",
        ],
        &["policy", "explain", "--policies", path, "--batch"],
    ] {
        let (code, out, err) = run(arguments);
        assert_eq!(code, Some(1), "{arguments:?}: {out}{err}");
        assert!(
            err.contains("there is no role \"gone\""),
            "{arguments:?}: {err}"
        );
        assert!(
            !out.contains("decision") && !out.contains("passed, "),
            "{out}"
        );
    }
}

const GET: &str = r#"{"method":"GET","path":"/api/v1/pods","user":"jane","groups":["platform"],"cluster":"berlin"}"#;

/// Lines of a batch, the decision, and whether the line is no question at all.
const LINES: &[(&str, &str, bool)] = &[
    (GET, "allow", false),
    ("", "refuse", true),
    ("{", "refuse", true),
    ("[]", "refuse", true),
    ("{}", "refuse", true),
    (r#"{"method":"GET","user":"jane"}"#, "refuse", true),
    (
        r#"{"method":"GET","path":"/api/v1/pods","user":7}"#,
        "refuse",
        true,
    ),
    (
        r#"{"method":"GET","path":"/api","spec":{"user":"j","nonResourceAttributes":{"path":"/api","verb":"get"}}}"#,
        "refuse",
        true,
    ),
    (r#"{"spec":{"user":"jane"}}"#, "refuse", true),
    (
        r#"{"spec":{"resourceAttributes":{"verb":"get","resource":"pods"}}}"#,
        "refuse",
        true,
    ),
    (
        r#"{"method":"GET","path":"/api/v1//pods","user":"jane","groups":[],"cluster":"berlin"}"#,
        "refuse",
        false,
    ),
    (
        r#"{"method":"GET","path":"/api/v1/pods","user":"jane","groups":null,"cluster":"berlin","id":9}"#,
        "deny",
        false,
    ),
    (
        r#"{"method":"GET","path":"/k8s/clusters/berlin/api/v1/pods","user":"jane","groups":["platform"]}"#,
        "allow",
        false,
    ),
    (
        r#"{"spec":{"user":"release-bot","uid":"1","extra":{"a":["b"]},"resourceAttributes":{"verb":"patch","group":"apps","resource":"deployments","name":"web","namespace":"shop"}},"cluster":"berlin"}"#,
        "allow",
        false,
    ),
    (
        r#"{"spec":{"groups":["platform"],"nonResourceAttributes":{"path":"/metrics","verb":"get"}},"cluster":"berlin"}"#,
        "allow",
        false,
    ),
    (GET, "allow", false),
];

/// A conversation: the next line is asked only when the last was answered, so each must be flushed.
#[test]
fn batch_answers_each_line_at_once_and_in_order() {
    let mut child = Command::new(PALISADE)
        .args(["policy", "explain", "--batch", "--policies"])
        .arg(root().join("policies/examples/two-stages"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let long = format!("{{\"method\": \"{}\"}}", "x".repeat(2 << 20));
    let all = LINES
        .iter()
        .map(|&(line, decision, is_error)| (line, decision, is_error));
    for (line, decision, is_error) in all.chain([(long.as_str(), "refuse", true), LINES[0]]) {
        writeln!(input, "{line}").unwrap();
        input.flush().unwrap();
        let mut answer = String::new();
        output.read_line(&mut answer).unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let shown = &line[..line.len().min(200)];
        assert_eq!(answer["decision"], decision, "{shown}: {answer}");
        assert_eq!(answer["error"].is_string(), is_error, "{shown}: {answer}");
        for key in [
            "isResource",
            "verb",
            "apiPrefix",
            "apiGroup",
            "apiVersion",
            "namespace",
            "resource",
            "subresource",
            "name",
            "path",
            "fieldSelector",
            "labelSelector",
            "reasons",
            "nearMisses",
        ] {
            assert!(!answer[key].is_null(), "{key}: {answer}");
        }
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_last_line_without_newline_is_answered_too() {
    let mut child = Command::new(PALISADE)
        .args(["policy", "explain", "--batch"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input
        .write_all(br#"{"method":"GET","path":"/version","user":"jane"}"#)
        .unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["decision"], "allow");
    assert_eq!(answer["policy"], "own");
}

// ---- the documentation ----

/// Fenced blocks of a document: what stands behind the fence, and what is in it.
fn blocks(document: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(root().join("docs").join(document)).unwrap();
    let mut found = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in text.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => open = Some((info.to_owned(), String::new())),
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some((_, body)), None) => {
                body.push_str(line);
                body.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{document} ends inside a block");
    found
}

/// Lines of the built-in policy are written LINE: comments there may move them.
fn without_lines(text: &str) -> String {
    let mut parts = text.split("policies/default.yaml:");
    let mut kept = parts.next().unwrap().to_owned();
    for part in parts {
        kept.push_str("policies/default.yaml:LINE");
        kept.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    kept
}

/// Runs each `$ command` of a console block in the folder, and gives the block as it should read.
fn replay(block: &str, folder: &Path) -> String {
    let bin = Path::new(PALISADE).parent().unwrap().display();
    let mut replayed = String::new();
    for command in block.lines().filter_map(|line| line.strip_prefix("$ ")) {
        let output = Command::new("sh")
            .args(["-c", &format!("( {command}\n) 2>&1")])
            .env("PATH", format!("{bin}:/usr/local/bin:/usr/bin:/bin"))
            .current_dir(folder)
            .output()
            .unwrap();
        replayed = replayed + "$ " + command + "\n";
        replayed.push_str(&without_lines(&String::from_utf8(output.stdout).unwrap()));
        if !output.status.success() {
            let code = output.status.code().unwrap();
            replayed = replayed
                + "[exit "
                + &code.to_string()
                + "]
";
        }
    }
    replayed
}

#[test]
fn what_the_documents_show_is_what_happens() {
    let mut consoles = 0;
    for document in ["policy-files.md", "policy.md"] {
        let folder = tempfile::tempdir().unwrap();
        let blocks = blocks(document);
        for (info, body) in &blocks {
            if let Some(path) = info.strip_prefix("yaml policy=") {
                let path = folder.path().join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, body).unwrap();
            } else if info == "yaml policy" {
                let read = palisade::authz::files::load_text(document, body);
                assert!(read.mistakes.is_empty(), "{:?}", read.mistakes);
                assert!(read.warnings.is_empty(), "{:?}", read.warnings);
            }
        }
        for (_, body) in blocks.iter().filter(|(info, _)| info == "console") {
            assert_eq!(replay(body, folder.path()), *body, "{document}");
            consoles += 1;
        }
    }
    assert!(consoles >= 6);
}
