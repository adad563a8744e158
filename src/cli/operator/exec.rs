//! The kubeconfig's credential plugin (`client.authentication.k8s.io`), run as kubectl runs it.

use super::{Operator, OperatorError, Pair, given};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::json;
use std::{
    ffi::OsString,
    io::{ErrorKind, IsTerminal as _},
    path::Path,
    process::Stdio,
    time::Duration,
};
use tokio::{io::AsyncReadExt as _, process::Command, time::timeout};
use zeroize::Zeroizing;

/// A plugin may open a browser and wait for a person.
const LIMIT: Duration = Duration::from_mins(5);
/// Bound on what a plugin prints: two PEM texts and a token are some kilobytes.
const MAX_OUTPUT: u64 = 1 << 20;

/// `users[].user.exec`
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Plugin {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    command: String,
    #[serde(default)]
    args: Option<Vec<String>>,
    #[serde(default)]
    env: Option<Vec<Variable>>,
    #[serde(default)]
    install_hint: String,
    #[serde(default)]
    provide_cluster_info: bool,
    #[serde(default)]
    interactive_mode: String,
}

#[derive(Deserialize)]
struct Variable {
    name: String,
    value: String,
}

/// What a plugin gave.
pub(super) struct Credential {
    pub(super) token: Option<Zeroizing<String>>,
    pub(super) certificate: Option<Pair>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecCredential {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    status: Option<ExecStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecStatus {
    #[serde(default)]
    token: String,
    #[serde(default)]
    client_certificate_data: String,
    #[serde(default)]
    client_key_data: String,
}

/// Runs the plugin; its standard error is the person's, its standard input too if it may ask.
pub(super) async fn run(
    plugin: &Plugin,
    folder: &Path,
    operator: &Operator,
) -> Result<Credential, OperatorError> {
    let failed = |why: String| OperatorError::Plugin {
        command: plugin.command.clone(),
        why,
    };
    let interactive = plugin.interactive().map_err(failed)?;
    let mut command = Command::new(plugin.program(folder));
    command
        .args(plugin.args.iter().flatten())
        // A gateway's token is none of the plugin's business.
        .env_remove("PALISADE_TOKEN")
        .envs(
            plugin
                .env
                .iter()
                .flatten()
                .map(|var| (&var.name, &var.value)),
        )
        .env(
            "KUBERNETES_EXEC_INFO",
            plugin.info(operator, interactive).to_string(),
        )
        .stdin(if interactive {
            Stdio::inherit()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| {
        let hint = match (error.kind(), given(&plugin.install_hint)) {
            (ErrorKind::NotFound, Some(hint)) => format!("\n{hint}"),
            _ => String::new(),
        };
        failed(format!("{error}{hint}"))
    })?;
    let stdout = child.stdout.take();
    let finish = async {
        let mut output = Zeroizing::new(Vec::new());
        if let Some(stdout) = stdout {
            stdout.take(MAX_OUTPUT).read_to_end(&mut output).await?;
        }
        Ok::<_, std::io::Error>((child.wait().await?, output))
    };
    let (status, output) = timeout(LIMIT, finish)
        .await
        .map_err(|_| failed(format!("it did not end within {} s", LIMIT.as_secs())))?
        .map_err(|error| failed(error.to_string()))?;
    if !status.success() {
        return Err(failed(status.to_string()));
    }
    plugin.read(&output).map_err(failed)
}

impl Plugin {
    /// A command with a slash in it is relative to the kubeconfig's folder.
    fn program(&self, folder: &Path) -> OsString {
        if self.command.contains('/') {
            folder.join(&self.command).into_os_string()
        } else {
            OsString::from(&self.command)
        }
    }

    fn interactive(&self) -> Result<bool, String> {
        let terminal = std::io::stdin().is_terminal();
        match self.interactive_mode.as_str() {
            "Never" => Ok(false),
            // v1beta1 has no default in the file: upstream takes IfAvailable.
            "" | "IfAvailable" => Ok(terminal),
            "Always" if terminal => Ok(true),
            "Always" => Err(
                "it must ask somebody (interactiveMode: Always), and standard input is not a terminal"
                    .to_owned(),
            ),
            other => Err(format!("interactiveMode {other:?} is not known")),
        }
    }

    fn info(&self, operator: &Operator, interactive: bool) -> serde_json::Value {
        let mut spec = json!({ "interactive": interactive });
        if self.provide_cluster_info
            && let Some(spec) = spec.as_object_mut()
        {
            let mut cluster = json!({ "server": operator.server });
            if let Some(cluster) = cluster.as_object_mut() {
                if let Some(ca) = &operator.ca {
                    let data = BASE64_STANDARD.encode(ca);
                    cluster.insert("certificate-authority-data".to_owned(), data.into());
                }
                if let Some(name) = &operator.tls_server_name {
                    cluster.insert("tls-server-name".to_owned(), name.as_str().into());
                }
            }
            spec.insert("cluster".to_owned(), cluster);
        }
        json!({ "kind": "ExecCredential", "apiVersion": self.api_version, "spec": spec })
    }

    /// What it printed; an error never quotes it.
    fn read(&self, output: &[u8]) -> Result<Credential, String> {
        let printed: ExecCredential = serde_json::from_slice(output)
            .map_err(|_| "it printed something that is not an ExecCredential".to_owned())?;
        if printed.kind != "ExecCredential" || printed.api_version != self.api_version {
            return Err(format!(
                "it printed {} {:?}, the kubeconfig asks for ExecCredential {:?}",
                printed.kind, printed.api_version, self.api_version
            ));
        }
        let status = printed.status.ok_or("it printed no status")?;
        let certificate = match (
            given(&status.client_certificate_data),
            given(&status.client_key_data),
        ) {
            (Some(certificate), Some(key)) => Some(Pair {
                certificate,
                key: Zeroizing::new(key),
            }),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                return Err(
                    "it printed a certificate without its key, or the other way round".to_owned(),
                );
            }
        };
        let token = given(&status.token).map(Zeroizing::new);
        if token.is_none() && certificate.is_none() {
            return Err("it printed neither a token nor a certificate".to_owned());
        }
        Ok(Credential { token, certificate })
    }
}
