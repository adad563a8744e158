//! The commands that a person runs, as processes, against a development gateway; and kubectl with what
//! they write.

use crate::testkit::{
    cluster::kubectls,
    dev::{DevGateway, Ended, Person},
};
use serde_json::Value;
use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

/// The one session file of a person.
fn session_file(person: &Person<'_>) -> PathBuf {
    let folder = fs::read_dir(person.path("config/palisade")).expect("the config folder");
    let files = folder.map(|entry| entry.expect("an entry").path());
    let is_json = |path: &PathBuf| path.extension().is_some_and(|it| it == "json");
    let files: Vec<PathBuf> = files.filter(is_json).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

fn mode(path: &PathBuf) -> u32 {
    fs::metadata(path)
        .expect("it is there")
        .permissions()
        .mode()
        & 0o777
}

/// Moves the start of the session so far back that more than half of its life is over.
fn age(person: &Person<'_>) {
    let path = session_file(person);
    let mut saved: Value =
        serde_json::from_slice(&fs::read(&path).expect("it is there")).expect("JSON");
    let end: jiff::Timestamp = saved["session"]["expiresAt"]
        .as_str()
        .expect("a time")
        .parse()
        .expect("a time");
    let start = end - jiff::SignedDuration::from_hours(40);
    saved["session"]["obtainedAt"] = start.to_string().into();
    fs::write(&path, saved.to_string()).expect("it is written");
}

fn renewals(gateway: &DevGateway) -> usize {
    gateway.log().matches("session renewed").count()
}

#[test]
fn a_login_is_kept_for_its_owner_alone_and_says_who_it_is() {
    let gateway = DevGateway::start();
    let person = gateway.person();
    let said = person.palisade(&["whoami"]).fails();
    assert!(said.contains("which gateway?"), "{said}");
    let said = person
        .palisade(&["whoami", "--server", &gateway.url])
        .fails();
    assert!(said.contains("run palisade login"), "{said}");

    let said = person.log_in("admin", "not the password").fails();
    assert!(said.contains("wrong user name or password"), "{said}");
    let said = person.log_in("nobody", &gateway.password).fails();
    assert!(said.contains("wrong user name or password"), "{said}");

    person.log_in("admin", &gateway.password).succeeds();
    assert_eq!(mode(&session_file(&person)), 0o600);
    assert_eq!(mode(&person.path("config/palisade")), 0o700);
    let who = person.palisade(&["whoami", "-o", "json"]).json();
    assert_eq!(who["user"]["username"], "admin");
    assert_eq!(who["server"], Value::String(gateway.url.clone()));
    assert!(person.palisade(&["whoami"]).succeeds().contains("admin"));
    assert!(
        !gateway.log().contains(&gateway.password),
        "the password is in the log"
    );
}

#[test]
fn without_a_terminal_nothing_is_asked() {
    let gateway = DevGateway::start();
    let person = gateway.person();
    let base = [
        "login",
        "--server",
        &gateway.url,
        "--ca-sum",
        &gateway.ca_sum,
    ];
    let login = |more: &[&str]| person.palisade(&[&base, more].concat()).fails();
    let said = login(&[]);
    assert!(said.contains("give --username"), "{said}");
    let said = login(&["--username", "admin"]);
    assert!(said.contains("give --password-stdin"), "{said}");
    let said = login(&["--username", "admin", "--password-stdin"]);
    assert!(said.contains("no password on standard input"), "{said}");
    let said = login(&[
        "--username",
        "admin",
        "--password-stdin",
        "--provider",
        "ldap",
    ]);
    assert!(said.contains("no provider \"ldap\""), "{said}");
}

// CVE-2025-67601: a CA is never trusted because a server shows it.
#[test]
fn a_gateway_that_is_not_the_one_meant_gets_no_password() {
    let gateway = DevGateway::start();
    let person = gateway.person();
    let other = "0".repeat(64);
    for trust in [&["--ca-sum", other.as_str()][..], &[]] {
        let base = [
            "login",
            "--server",
            &gateway.url,
            "--username",
            "admin",
            "--password-stdin",
        ];
        let ended = person.palisade_reads(&[&base, trust].concat(), &gateway.password);
        let said = ended.fails();
        assert!(
            said.contains(&gateway.ca_sum) || said.contains("not signed by"),
            "{said}"
        );
    }
    assert!(!gateway.log().contains("login"), "{}", gateway.log());
}

#[test]
fn a_hundred_credentials_at_the_same_time_renew_once() {
    let gateway = DevGateway::start();
    let person = gateway.admin();
    age(&person);
    let children: Vec<_> = (0..100)
        .map(|_| person.start_palisade(&["credential"]))
        .collect();
    let mut tokens = std::collections::BTreeSet::new();
    for child in children {
        let ended = Ended::of(child.wait_with_output().expect("it ends"));
        let credential = ended.json();
        tokens.insert(
            credential["status"]["token"]
                .as_str()
                .expect("a token")
                .to_owned(),
        );
    }
    assert_eq!(tokens.len(), 1, "renewing keeps the token");
    assert_eq!(renewals(&gateway), 1);
    assert_eq!(mode(&session_file(&person)), 0o600);
}

#[test]
fn a_credential_ends_a_minute_early_and_speaks_the_askers_version() {
    let gateway = DevGateway::start();
    let person = gateway.admin();
    let saved = fs::read(session_file(&person)).expect("it is there");
    let saved: Value = serde_json::from_slice(&saved).expect("JSON");
    let time = |value: &Value| -> jiff::Timestamp {
        value.as_str().expect("a time").parse().expect("a time")
    };
    let credential = person.palisade(&["credential"]).json();
    assert_eq!(credential["apiVersion"], "client.authentication.k8s.io/v1");
    assert_eq!(credential["kind"], "ExecCredential");
    assert_eq!(credential["status"]["token"], saved["session"]["token"]);
    let told = time(&credential["status"]["expirationTimestamp"]);
    let real = time(&saved["session"]["expiresAt"]);
    assert_eq!(
        told.duration_until(real),
        jiff::SignedDuration::from_secs(60)
    );
    assert_eq!(renewals(&gateway), 0);

    let ask = |version: &str| {
        let program = env!("CARGO_BIN_EXE_palisade");
        let mut command = person.program(program, &["credential"]);
        let info = format!("{{\"apiVersion\":\"client.authentication.k8s.io/{version}\"}}");
        let output = command.env("KUBERNETES_EXEC_INFO", info).output();
        Ended::of(output.expect("it runs"))
    };
    let older = ask("v1beta1").json();
    assert_eq!(older["apiVersion"], "client.authentication.k8s.io/v1beta1");
    assert!(ask("v2").fails().contains("v2"));
}

#[test]
fn a_revoked_session_gives_no_credential() {
    let gateway = DevGateway::start();
    let admin = gateway.admin();
    let other = gateway.admin();
    let tokens = admin.palisade(&["token", "list", "-o", "json"]).json();
    let credential = other.palisade(&["credential"]).json();
    let token = credential["status"]["token"].as_str().expect("a token");
    let id = token.split('_').nth(2).expect("an id");
    let names: Vec<_> = tokens["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|it| &it["metadata"]["name"])
        .collect();
    assert!(names.contains(&&Value::String(id.to_owned())), "{tokens}");
    assert!(
        !tokens.to_string().contains(token),
        "a list shows no secret"
    );

    admin.palisade(&["token", "revoke", id]).succeeds();
    for command in [&["credential"][..], &["whoami"], &["clusters"]] {
        let said = other.palisade(command).fails();
        assert!(said.contains("run palisade login"), "{command:?}: {said}");
    }
    admin.palisade(&["credential"]).succeeds();
}

#[test]
fn a_logout_ends_the_session_on_both_sides() {
    let gateway = DevGateway::start();
    let person = gateway.admin();
    let credential = person.palisade(&["credential"]).json();
    let token = credential["status"]["token"]
        .as_str()
        .expect("a token")
        .to_owned();
    person.palisade(&["logout"]).succeeds();
    assert!(
        !fs::read_to_string(session_file(&person))
            .expect("it is there")
            .contains(&token)
    );
    let said = person.palisade(&["credential"]).fails();
    assert!(said.contains("run palisade login"), "{said}");
    let program = env!("CARGO_BIN_EXE_palisade");
    let mut whoami = person.program(program, &["whoami"]);
    let ended = Ended::of(
        whoami
            .env("PALISADE_TOKEN", &token)
            .output()
            .expect("it runs"),
    );
    assert!(
        ended.fails().contains("run palisade login"),
        "the gateway refuses the old token"
    );
    person.palisade(&["logout"]).succeeds();
    // The gateway is still trusted by what the first login learned.
    let again = ["login", "--username", "admin", "--password-stdin"];
    person.palisade_reads(&again, &gateway.password).succeeds();
}

#[test]
fn a_gateway_that_is_down_does_not_end_a_session() {
    let gateway = DevGateway::start();
    let person = gateway.admin();
    age(&person);
    let (url, file) = (gateway.url.clone(), session_file(&person));
    let home = person.path("config");
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    let copy = elsewhere.path().join("palisade");
    fs::create_dir(&copy).expect("a folder");
    fs::copy(&file, copy.join(file.file_name().expect("a name"))).expect("a copy");
    drop((person, home));
    drop(gateway);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_palisade"));
    command
        .args(["credential", "--server", &url, "--config-dir"])
        .arg(&copy);
    let ended = Ended::of(command.output().expect("it runs"));
    assert!(ended.json()["status"]["token"].is_string());
}

#[test]
fn tokens_are_made_scoped_listed_and_revoked() {
    let gateway = DevGateway::start();
    let person = gateway.admin();
    let text = person
        .palisade(&["token", "create", "--name", "ci", "--ttl", "2h"])
        .succeeds();
    let token = text.trim_end();
    assert!(token.starts_with("pal_pat_"), "{token}");
    let program = env!("CARGO_BIN_EXE_palisade");
    let with = |token: &str, args: &[&str]| {
        let mut command = person.program(program, args);
        Ended::of(
            command
                .env("PALISADE_TOKEN", token)
                .output()
                .expect("it runs"),
        )
    };
    assert_eq!(
        with(token, &["whoami", "-o", "json"]).json()["user"]["username"],
        "admin"
    );
    let credential = with(token, &["credential"]).json();
    assert_eq!(credential["status"]["token"], token);

    let listed = person.palisade(&["token", "list"]).succeeds();
    assert!(listed.contains("ci") && !listed.contains(token), "{listed}");
    let id = token.split('_').nth(2).expect("an id");
    person.palisade(&["token", "revoke", id]).succeeds();
    assert!(
        with(token, &["whoami"])
            .fails()
            .contains("run palisade login")
    );
    let said = person.palisade(&["token", "revoke", id]).fails();
    assert!(said.contains("not found"), "{said}");
    let said = person.palisade(&["token", "create", "--ttl", "2 weeks"]);
    assert_eq!(said.code, Some(2), "{said:?}");
}

#[test]
fn a_changed_password_and_a_disabled_account_end_sessions() {
    let gateway = DevGateway::start();
    let admin = gateway.admin();
    let add = ["user", "add", "jane", "--password-stdin"];
    admin.palisade_reads(&add, "a first password\n").succeeds();
    let jane = gateway.person();
    jane.log_in("jane", "a first password").succeeds();
    let other = gateway.person();
    other.log_in("jane", "a first password").succeeds();
    let text = jane.palisade(&["token", "create"]).succeeds();
    let said = jane.palisade(&["user", "list"]).fails();
    assert!(
        said.contains("forbidden") || said.contains("global"),
        "{said}"
    );

    let password = ["user", "password", "--password-stdin"];
    let said = jane.palisade_reads(&password, "not the first\na second password\n");
    assert!(
        said.stderr.contains("current password is wrong"),
        "{said:?}"
    );
    jane.palisade_reads(&password, "a first password\na second password\n")
        .succeeds();
    for person in [&jane, &other] {
        let said = person.palisade(&["credential"]).fails();
        assert!(said.contains("run palisade login"), "{said}");
    }
    jane.log_in("jane", "a first password").fails();
    jane.log_in("jane", "a second password").succeeds();

    admin.palisade(&["user", "disable", "jane"]).succeeds();
    let program = env!("CARGO_BIN_EXE_palisade");
    for token in ["", text.trim_end()] {
        let mut whoami = jane.program(program, &["whoami"]);
        if !token.is_empty() {
            whoami.env("PALISADE_TOKEN", token);
        }
        let said = Ended::of(whoami.output().expect("it runs")).fails();
        assert!(said.contains("run palisade login"), "{said}");
    }
    jane.log_in("jane", "a second password").fails();
    admin.palisade(&["user", "enable", "jane"]).succeeds();
    assert!(jane.palisade(&["whoami"]).succeeds().contains("jane"));
}

#[test]
fn kubectl_uses_the_plugin_and_a_static_token() {
    let gateway = DevGateway::start();
    let person = gateway.admin();
    let file = person.path("kube.yaml");
    let path = file.to_str().expect("UTF-8");
    for arguments in [
        &["kubeconfig", "--output", path][..],
        &["kubeconfig", "--static", "--ttl", "1h", "--output", path],
    ] {
        person.palisade(arguments).succeeds();
        assert_eq!(mode(&file), 0o600);
        let text = fs::read_to_string(&file).expect("it is there");
        assert_eq!(
            text.contains("pal_pat_"),
            arguments.contains(&"--static"),
            "{text}"
        );
        assert!(!text.contains("pal_ses_"), "{text}");
        for (version, kubectl) in kubectls() {
            let kubectl = kubectl.to_str().expect("UTF-8");
            let run = |args: &[&str]| {
                let args = [&["--kubeconfig", path, "--context", "palisade"], args].concat();
                Ended::of(
                    person
                        .program(kubectl, &args)
                        .output()
                        .expect("kubectl runs"),
                )
            };
            let users = run(&["get", "users", "-o", "name"]).succeeds();
            assert_eq!(users, "user.palisade.dev/admin\n", "kubectl {version}");
        }
    }
}

#[test]
fn kubectl_passes_on_the_advice_to_log_in() {
    let gateway = DevGateway::start();
    let person = gateway.admin();
    let file = person.path("kube.yaml");
    let path = file.to_str().expect("UTF-8");
    person
        .palisade(&["kubeconfig", "--output", path])
        .succeeds();
    person.palisade(&["logout"]).succeeds();
    for (version, kubectl) in kubectls() {
        let kubectl = kubectl.to_str().expect("UTF-8");
        let args = ["--kubeconfig", path, "get", "users"];
        let ended = Ended::of(
            person
                .program(kubectl, &args)
                .output()
                .expect("kubectl runs"),
        );
        let said = ended.fails();
        assert!(
            said.contains("run palisade login"),
            "kubectl {version}: {said}"
        );
    }
}
