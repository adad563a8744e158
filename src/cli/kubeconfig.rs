//! `palisade kubeconfig`: one file for kubectl with all clusters.
//!
//! By default the file holds no secret: kubectl asks this program for the token (`palisade credential`).
//! With `--static` a token is made for the file and written into it; such a file is written with mode
//! 0600. The text comes from a serialiser, so that no name can break out of its place.

use super::{
    http::HttpClient,
    login::Providers,
    own::Own,
    run::{self, Failure},
    session::{GatewayArgs, connect, replace},
    token::{self, NewToken},
};
use crate::{objects::Cluster, proxy::endpoint::ServerUrl};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Name of the context for the gateway's own API, unless a cluster has it.
const OWN: &str = "palisade";

/// What the users in a file of this command are called, before the gateway's address.
const USER_PREFIX: &str = "palisade-";

/// Arguments of `palisade kubeconfig`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    gateway: GatewayArgs,
    /// The cluster that `current-context` names; the first by name if not given
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Write a new token into the file, in place of the exec plugin
    #[arg(long = "static")]
    fixed: bool,
    /// Life of that token, such as 12h or 30d [default: the gateway's]
    #[arg(long, value_name = "DURATION", requires = "fixed", value_parser = token::life)]
    ttl: Option<std::time::Duration>,
    /// Write to this file (mode 0600) and not to standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write over a file that has something else in it
    #[arg(long, requires = "output")]
    force: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Config {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    kind: &'static str,
    clusters: Vec<Named<Place>>,
    contexts: Vec<Named<Context>>,
    current_context: String,
    users: Vec<Named<User>>,
}

/// An entry of a list of kubeconfig: its name, and `cluster:`, `context:` or `user:`.
#[derive(Serialize)]
struct Named<T> {
    name: String,
    #[serde(flatten)]
    entry: T,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum Place {
    #[serde(rename_all = "kebab-case")]
    Cluster {
        #[serde(skip_serializing_if = "Option::is_none")]
        certificate_authority_data: Option<String>,
        server: String,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum Context {
    Context { cluster: String, user: String },
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum User {
    User(Credential),
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
enum Credential {
    Token(String),
    Exec(Exec),
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Exec {
    api_version: &'static str,
    command: String,
    args: Vec<String>,
    /// `Never`: standard input belongs to kubectl (`kubectl apply -f -`), and the plugin asks nothing.
    interactive_mode: &'static str,
    provide_cluster_info: bool,
    install_hint: &'static str,
}

/// What a kubeconfig is made from.
struct Plan {
    /// The gateway's URL.
    server: String,
    ca: Option<String>,
    base_domain: Option<String>,
    clusters: Vec<String>,
    current: Option<String>,
    credential: Credential,
}

/// Runs `palisade kubeconfig`.
pub fn run(args: &Args) -> ExitCode {
    run::run(write(args))
}

async fn write(args: &Args) -> Result<(), Failure> {
    // Before a token is made that would be in no file.
    if let Some(path) = args.output.as_deref().filter(|_| !args.force) {
        refuse_foreign(path)?;
    }
    let gateway = connect(&args.gateway).await?;
    let own = Own::new(gateway.http);
    let listed = own.list::<Cluster>().await?;
    let mut clusters: Vec<String> = listed.names().map(str::to_owned).collect();
    clusters.sort();
    if let Some(wanted) = &args.cluster
        && !clusters.contains(wanted)
    {
        let others = match clusters.as_slice() {
            [] => "nor on any other".to_owned(),
            some => format!("but on {}", some.join(", ")),
        };
        return Err(Failure::said(format!(
            "you hold nothing on a cluster {wanted:?}, {others}"
        )));
    }
    let providers: Providers = own.http().get("/v1/login/providers").await?;
    let found = own.http().found_ca().map(str::to_owned);
    let ca = found.or(gateway.ca);
    let credential = if args.fixed {
        Credential::Token(make_token(own.http(), args).await?)
    } else {
        Credential::Exec(plugin(&gateway.server, args.gateway.config_dir.as_deref())?)
    };
    let plan = Plan {
        server: gateway.server,
        ca,
        base_domain: providers.base_domain,
        clusters,
        current: args.cluster.clone(),
        credential,
    };
    let text = render(plan)?;
    match &args.output {
        None => run::print(&text),
        Some(path) => {
            save(path, &text)?;
            run::tell(&format!("wrote {}: export KUBECONFIG={0}", path.display()));
            Ok(())
        }
    }
}

/// Writes the file of a development gateway, for whoever logs in there with this program.
pub(super) fn write_for(
    server: &str,
    ca: String,
    clusters: Vec<String>,
    output: &Path,
) -> Result<(), Failure> {
    let plan = Plan {
        server: server.to_owned(),
        ca: Some(ca),
        base_domain: None,
        clusters,
        current: None,
        credential: Credential::Exec(plugin(server, None)?),
    };
    save(output, &render(plan)?)
}

async fn make_token(http: &HttpClient, args: &Args) -> Result<String, Failure> {
    let wanted = NewToken {
        display_name: format!("kubeconfig, {}", super::login::client()),
        life: args.ttl,
        ..NewToken::default()
    };
    let made = token::create(http, &wanted).await?;
    run::tell(&format!(
        "made the token {}, good until {}",
        made.name, made.expires_at
    ));
    Ok(made.text)
}

fn plugin(server: &str, config_dir: Option<&Path>) -> Result<Exec, Failure> {
    let command = std::env::current_exe()
        .map_err(|error| Failure::said(format!("this program's own path is not known: {error}")))?;
    let mut plugin_args = vec![
        "credential".to_owned(),
        "--server".to_owned(),
        server.to_owned(),
    ];
    if let Some(dir) = config_dir {
        let absolute = std::path::absolute(dir)
            .map_err(|error| Failure::said(format!("{}: {error}", dir.display())))?;
        // kubectl runs the plugin in whatever folder it is in itself.
        plugin_args.push("--config-dir".to_owned());
        plugin_args.push(utf8(&absolute)?);
    }
    Ok(Exec {
        api_version: "client.authentication.k8s.io/v1",
        command: utf8(&command)?,
        args: plugin_args,
        interactive_mode: "Never",
        provide_cluster_info: false,
        install_hint: "palisade is not where this file says: run palisade kubeconfig again",
    })
}

fn utf8(path: &Path) -> Result<String, Failure> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| {
        Failure::said(format!(
            "{}: not UTF-8, as a kubeconfig must be",
            path.display()
        ))
    })
}

fn render(plan: Plan) -> Result<String, Failure> {
    let url = ServerUrl::parse(&plan.server).map_err(super::session::SessionError::from)?;
    let data = plan.ca.as_ref().map(|ca| BASE64_STANDARD.encode(ca));
    let user = format!("{USER_PREFIX}{}", url.authority());
    let mut places: Vec<(String, String)> = Vec::new();
    for name in plan.clusters {
        let server = match &plan.base_domain {
            Some(domain) => {
                let port = url.port;
                format!(
                    "https://{}",
                    ServerUrl {
                        host: format!("{name}.{domain}"),
                        port,
                        path: String::new()
                    }
                    .authority()
                )
            }
            None => format!("{}/k8s/clusters/{name}", plan.server),
        };
        places.push((name, server));
    }
    let first = places.first().map(|(name, _)| name.clone());
    if places.iter().all(|(name, _)| name != OWN) {
        places.push((OWN.to_owned(), plan.server));
    }
    let config = Config {
        api_version: "v1",
        kind: "Config",
        clusters: places
            .iter()
            .map(|(name, server)| Named {
                name: name.clone(),
                entry: Place::Cluster {
                    certificate_authority_data: data.clone(),
                    server: server.clone(),
                },
            })
            .collect(),
        contexts: places
            .iter()
            .map(|(name, _)| Named {
                name: name.clone(),
                entry: Context::Context {
                    cluster: name.clone(),
                    user: user.clone(),
                },
            })
            .collect(),
        current_context: plan.current.or(first).unwrap_or_else(|| OWN.to_owned()),
        users: vec![Named {
            name: user,
            entry: User::User(plan.credential),
        }],
    };
    // Folded lines would be read the same, but searched and compared badly.
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(&config, options)
        .map_err(|error| Failure::said(format!("the kubeconfig cannot be written: {error}")))
}

/// Refuses a file that this command did not write: other clusters' credentials would be lost.
fn refuse_foreign(path: &Path) -> Result<(), Failure> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Found {
        users: Vec<FoundUser>,
    }
    #[derive(Deserialize)]
    struct FoundUser {
        name: String,
    }
    let text = match std::fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => return Ok(()),
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Failure::said(format!("{}: {error}", path.display()))),
    };
    let found: Found = serde_saphyr::from_str(&text).unwrap_or_default();
    let ours = |user: &FoundUser| user.name.starts_with(USER_PREFIX);
    if !found.users.is_empty() && found.users.iter().all(ours) {
        return Ok(());
    }
    Err(Failure::said(format!(
        "{0} holds something that this command did not write, and it would be lost: give another file (kubectl \
         takes several: export KUBECONFIG={0}:OTHER), or --force",
        path.display()
    )))
}

/// Beside the file, then renamed: kubectl never reads half of it.
fn save(path: &Path, text: &str) -> Result<(), Failure> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}.tmp", std::process::id()));
    Ok(replace(Path::new(&draft), path, text.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(clusters: &[&str]) -> Plan {
        Plan {
            server: "https://gw.example.com:8443".to_owned(),
            ca: Some("-----BEGIN CERTIFICATE-----\n".to_owned()),
            base_domain: None,
            clusters: clusters.iter().map(|&name| name.to_owned()).collect(),
            current: None,
            credential: Credential::Token("pal_pat_x".to_owned()),
        }
    }

    #[test]
    fn the_file_is_what_kubectl_reads() {
        let exec = Exec {
            api_version: "client.authentication.k8s.io/v1",
            command: "/opt/a b/palisade: #1".to_owned(),
            args: vec![
                "credential".to_owned(),
                "--server".to_owned(),
                "https://gw".to_owned(),
            ],
            interactive_mode: "Never",
            provide_cluster_info: false,
            install_hint: "hint",
        };
        let mut plan = plan(&["dev", "prod"]);
        plan.credential = Credential::Exec(exec);
        insta::assert_snapshot!(render(plan).unwrap());
    }

    #[test]
    fn a_static_token_and_host_names() {
        let mut plan = plan(&[
            "prod", "1e3", "null", "on", "0123", "0x1f", "0o17", "12e03", "0b1", "y",
        ]);
        plan.base_domain = Some("k8s.example.com".to_owned());
        plan.current = Some("null".to_owned());
        insta::assert_snapshot!(render(plan).unwrap());
    }

    #[test]
    fn a_foreign_file_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        assert!(refuse_foreign(&path).is_ok(), "no file");
        for (text, ours) in [
            (String::new(), true),
            (render(plan(&["prod"])).unwrap(), true),
            (
                "users:\n- name: palisade-gw\n- name: kind-dev\n".to_owned(),
                false,
            ),
            ("apiVersion: v1\nkind: Config\n".to_owned(), false),
            ("users: [\n".to_owned(), false),
            ("dear diary".to_owned(), false),
        ] {
            std::fs::write(&path, &text).unwrap();
            assert_eq!(refuse_foreign(&path).is_ok(), ours, "{text}");
        }
    }

    #[test]
    fn a_long_authority_stays_on_one_line() {
        let mut plan = plan(&["prod"]);
        let ca = "x".repeat(20_000);
        plan.ca = Some(ca.clone());
        let text = render(plan).unwrap();
        let data = BASE64_STANDARD.encode(&ca);
        assert!(text.contains(&data), "the data is not folded");
    }

    #[test]
    fn without_clusters_the_gateways_own_api_is_there() {
        let mut plan = plan(&[]);
        plan.ca = None;
        let text = render(plan).unwrap();
        assert!(text.contains("current-context: palisade\n"), "{text}");
        assert!(!text.contains("certificate-authority-data"), "{text}");
    }

    #[test]
    fn a_cluster_may_have_the_own_contexts_name() {
        let text = render(plan(&["palisade"])).unwrap();
        assert_eq!(text.matches("/k8s/clusters/palisade").count(), 1, "{text}");
        assert_eq!(text.matches("server:").count(), 1, "{text}");
    }
}
