use super::*;
use std::{fs::Permissions, os::unix::fs::PermissionsExt as _};

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    async fn read(&self, cluster: &str, user: &str) -> Result<Operator, OperatorError> {
        let path = self.write("config", &kubeconfig(cluster, user));
        Operator::read(&path, None).await
    }

    async fn refusal(&self, cluster: &str, user: &str) -> String {
        match self.read(cluster, user).await {
            Ok(_) => panic!("{cluster} {user} was taken"),
            Err(error) => error.to_string(),
        }
    }
}

fn kubeconfig(cluster: &str, user: &str) -> String {
    format!(
        "apiVersion: v1
kind: Config
current-context: one
preferences: {{colors: true}}
contexts:
- {{name: one, context: {{cluster: c, user: u, namespace: x}}}}
- {{name: two, context: {{cluster: d, user: u}}}}
clusters:
- name: c
  cluster: {{server: 'https://c.example:6443', {cluster} extensions: []}}
- {{name: d, cluster: {{server: 'https://d.example'}}}}
users:
- {{name: u, user: {{{user}}}}}
"
    )
}

fn base64(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}

#[tokio::test]
async fn the_current_context_is_taken_unless_another_is_asked_for() {
    let home = Home::new();
    let path = home.write("config", &kubeconfig("", "token: t"));
    let one = Operator::read(&path, None).await.unwrap();
    assert_eq!(one.server, "https://c.example:6443");
    let two = Operator::read(&path, Some("two")).await.unwrap();
    assert_eq!(two.server, "https://d.example");
    let none = Operator::read(&path, Some("three")).await.err().unwrap();
    assert!(none.to_string().contains("one, two"), "{none}");
}

#[tokio::test]
async fn data_wins_over_files_and_files_are_relative_to_the_kubeconfig() {
    let home = Home::new();
    home.write("ca.pem", "from file");
    let file = "certificate-authority: ca.pem,";
    let operator = home.read(file, "token: t").await.unwrap();
    assert_eq!(operator.ca.as_deref(), Some("from file"));
    let data = base64("from data");
    let both = format!("{file} certificate-authority-data: '{data}',");
    let operator = home.read(&both, "token: t").await.unwrap();
    assert_eq!(operator.ca.as_deref(), Some("from data"));
}

#[tokio::test]
async fn a_token_file_wins_over_a_token() {
    let home = Home::new();
    home.write("token", "from-file\n");
    let operator = home.read("", "token: t, tokenFile: token").await.unwrap();
    assert_eq!(operator.token.unwrap().as_str(), "from-file");
}

#[tokio::test]
async fn a_client_certificate_comes_with_its_key() {
    let home = Home::new();
    let (certificate, key) = (base64("C"), base64("K"));
    let both = format!("client-certificate-data: '{certificate}', client-key-data: '{key}'");
    let operator = home.read("", &both).await.unwrap();
    assert_eq!(operator.certificate.unwrap().key.as_str(), "K");
    let alone = format!("client-certificate-data: '{certificate}'");
    assert!(home.refusal("", &alone).await.contains("without its key"));
}

#[tokio::test]
async fn what_cannot_be_honoured_is_refused_with_a_sentence() {
    let home = Home::new();
    let table = [
        (
            "insecure-skip-tls-verify: true,",
            "",
            "insecure-skip-tls-verify",
        ),
        ("proxy-url: 'http://p',", "", "proxy-url"),
        ("", "as: admin", "acts as somebody else"),
        ("", "as-groups: [g]", "acts as somebody else"),
        ("", "username: a, password: b", "a name and a password"),
        ("", "auth-provider: {name: gcp}", "auth-provider"),
        ("certificate-authority-data: '!',", "", "not base64"),
        ("", "tokenFile: missing", "cannot read"),
    ];
    for (cluster, user, expected) in table {
        let text = home.refusal(cluster, user).await;
        assert!(text.contains(expected), "{cluster}{user}: {text}");
    }
}

#[tokio::test]
async fn a_plain_http_server_is_refused() {
    let home = Home::new();
    let text = kubeconfig("", "token: t").replace("https://c.example", "http://c.example");
    let path = home.write("config", &text);
    let error = Operator::read(&path, None).await.err().unwrap();
    assert!(error.to_string().contains("https://"), "{error}");
}

#[tokio::test]
async fn an_error_never_quotes_what_may_be_a_secret() {
    let home = Home::new();
    let text = home.refusal("", "token: [hunter2]").await;
    assert!(!text.contains("hunter2"), "{text}");
    assert!(text.contains("user.token"), "{text}");
}

async fn with_plugin(script: &str, fields: &str) -> Result<Operator, OperatorError> {
    let home = Home::new();
    let path = home.write("plugin", &format!("#!/bin/sh\n{script}\n"));
    fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
    let user = format!(
        "exec: {{apiVersion: client.authentication.k8s.io/v1, command: ./plugin, \
         interactiveMode: Never, {fields}}}"
    );
    home.read("", &user).await
}

#[tokio::test]
async fn a_plugin_is_run_with_what_the_kubeconfig_says() {
    // The token shows what the plugin got: an argument, a variable, and where the cluster is.
    let script = r#"case "$KUBERNETES_EXEC_INFO" in
*'"server":"https://c.example:6443"'*) at=c ;; *) at=none ;; esac
printf '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential",
"status":{"token":"%s-%s-%s"}}' "$1" "$V" "$at""#;
    let fields = "args: [arg], env: [{name: V, value: var}], provideClusterInfo: true";
    let operator = with_plugin(script, fields).await.unwrap();
    assert_eq!(operator.token.unwrap().as_str(), "arg-var-c");
    let operator = with_plugin(script, "args: [arg], env: null").await.unwrap();
    assert_eq!(operator.token.unwrap().as_str(), "arg--none");
}

#[tokio::test]
async fn a_plugin_that_fails_says_how() {
    let table = [
        ("exit 3", "", "exit status: 3"),
        ("echo hunter2", "", "not an ExecCredential"),
        (
            r#"echo '{"apiVersion":"client.authentication.k8s.io/v1beta1","kind":"ExecCredential"}'"#,
            "",
            "the kubeconfig asks for",
        ),
        (
            r#"echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{}}'"#,
            "",
            "neither a token nor a certificate",
        ),
    ];
    for (script, fields, expected) in table {
        let text = with_plugin(script, fields).await.err().unwrap().to_string();
        assert!(text.contains(expected), "{script}: {text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[tokio::test]
async fn a_plugin_that_is_not_there_gives_its_hint() {
    let home = Home::new();
    let user = "exec: {apiVersion: client.authentication.k8s.io/v1, command: palisade-no-such-plugin, \
                interactiveMode: Never, installHint: get it from the shelf}";
    let text = home.refusal("", user).await;
    assert!(text.contains("get it from the shelf"), "{text}");
}
