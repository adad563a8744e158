//! `palisade provider` with providers of the browser's, as an administrator sees it.

use crate::testkit::{
    github::{Github, SECRET},
    issuer::Issuer,
};
use serde_json::json;
use std::{fs, path::Path};
use tokio::process::Command;

/// Exit code, and what is on standard output and standard error.
async fn palisade(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_palisade"))
        .args(["provider"])
        .args(arguments)
        .args(["--config", "gate.yaml"])
        .current_dir(folder)
        .output()
        .await
        .unwrap();
    let shown = [output.stdout, output.stderr].concat();
    let shown = String::from_utf8(shown).unwrap();
    (output.status.code().unwrap(), shown)
}

fn write(folder: &Path, providers: &str) {
    fs::write(folder.join("gate.yaml"), super::config(providers)).unwrap();
}

#[tokio::test]
async fn an_openid_provider_is_checked_and_what_is_wrong_is_said() {
    let issuer = Issuer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, &issuer.provider("sso", folder, ""));
    let (code, shown) = palisade(folder, &["list"]).await;
    let line = format!("sso     oidc    danger_anyone   enabled   {}", issuer.url());
    assert!(code == 0 && shown.contains(&line), "{shown}");
    let (code, shown) = palisade(folder, &["check", "sso", "--user", "5f1c"]).await;
    assert_eq!(code, 0, "{shown}");
    for part in [
        "files               good",
        "discovery           good: https://localhost",
        "keys                good: 1 that can be used",
        "redirect URI        https://gate.example/login/sso/callback",
        "(of the subject \"5f1c\"; good for access.users)",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let lines = issuer.provider("sso", folder, ", algorithms: [RS256]");
    write(folder, &lines);
    let (code, shown) = palisade(folder, &["check", "sso"]).await;
    assert!(
        code == 1 && shown.contains("none that can be used"),
        "{shown}"
    );
    issuer.change_document(|document| document["issuer"] = json!("https://evil.example"));
    let (code, shown) = palisade(folder, &["check", "sso"]).await;
    assert!(
        code == 1 && shown.contains("says that the issuer is"),
        "{shown}"
    );
    fs::write(folder.join("sso-secret"), "\n").unwrap();
    let (code, shown) = palisade(folder, &["check", "sso"]).await;
    assert!(code == 1 && shown.contains("it holds no secret"), "{shown}");
}

#[tokio::test]
async fn a_github_is_checked_with_its_app_and_what_is_wrong_is_said() {
    let github = Github::start().await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(
        folder,
        &github.provider("hub", folder, "{groups: [acme, org-11]}", ""),
    );
    let (code, shown) = palisade(folder, &["check", "hub"]).await;
    assert_eq!(code, 0, "{shown}");
    for part in [
        "API                 good: https://localhost",
        "OAuth app           good: GitHub takes its id and secret",
        "redirect URI        https://gate.example/login/hub/callback",
        "\"acme\" is listed by a name, which can change hands",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains("\"org-11\""), "{shown}");
    let secret = folder.join("hub-secret");
    fs::write(&secret, "another").unwrap();
    let (code, shown) = palisade(folder, &["check", "hub"]).await;
    assert!(
        code == 1 && shown.contains("incorrect_client_credentials"),
        "{shown}"
    );
    assert!(
        !shown.contains("another") && !shown.contains(SECRET),
        "{shown}"
    );
}
