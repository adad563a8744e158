//! `palisade cluster add`: register, install, hand over, wait.
//!
//! The operator's credential never leaves this process. The tokens that are handed over are short-lived;
//! the gateway mints its own with them and forgets them. Every step can be repeated: after a failure the
//! same command goes on where it stopped.

use super::agreed;
use crate::{
    cli::{
        http::{CaSum, HttpError},
        operator::{self, Operator},
        output,
        own::{self, Own},
        run::{self, Failure},
        session::GatewayArgs,
    },
    clusters::{
        IMPERSONATOR, RECONCILER, SyncReport,
        client::{Client, ClientError},
        kube,
        object::{Object, ObjectKind},
    },
    objects::{Cluster, ClusterSpec, Health},
    proxy::endpoint::ServerUrl,
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::BTreeMap, path::PathBuf, time::Duration};
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

/// Life of the tokens that are handed over: the shortest that TokenRequest gives. The gateway mints its own
/// within seconds.
const HANDED_LIFE: u64 = 600;
/// How long the gateway may take to find the cluster ready: some probes, and the authoriser's lag.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// Between two looks at it.
const READY_POLL: Duration = Duration::from_millis(300);

/// Arguments of `palisade cluster add`.
#[derive(clap::Args)]
#[command(
    group = clap::ArgGroup::new("way").required(true).args(["kubeconfig", "token_file", "manifest"]),
    after_help = "\
With --kubeconfig the command makes in the cluster what the gateway needs there (shown first), with the
kubeconfig's credential, which is used once and neither sent to the gateway nor stored.

By hand:
  palisade cluster add prod --manifest | kubectl apply --server-side -f -
  kubectl -n palisade-system create token reconciler --duration=10m > token
  palisade cluster add prod --server https://10.0.0.5:6443 --ca ca.pem --token-file token
The gateway gets its own tokens with that one and does not keep it."
)]
pub(super) struct Args {
    /// Name of the cluster on the gateway: a-z, 0-9 and '-'
    name: String,
    /// Kubeconfig of somebody who may do everything in the cluster
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: its current one]
    #[arg(long, requires = "kubeconfig")]
    context: Option<String>,
    /// Print the objects that the cluster needs, and do nothing
    #[arg(long, conflicts_with_all = ["kubeconfig", "token_file"])]
    manifest: bool,
    /// File with a token of the account palisade-system/reconciler
    #[arg(
        long,
        value_name = "FILE",
        requires = "server",
        conflicts_with = "kubeconfig"
    )]
    token_file: Option<PathBuf>,
    /// Where the gateway reaches the cluster [default: the kubeconfig's]
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// PEM file with the authority of the cluster's certificate [default: the kubeconfig's; without
    /// both: the public ones]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Name in the cluster's certificate, if it is not the host in the URL
    #[arg(long, value_name = "NAME")]
    tls_server_name: Option<String>,
    /// What names of users start with on this cluster [default: palisade:]
    #[arg(long, value_name = "PREFIX")]
    user_prefix: Option<String>,
    /// Label of the cluster, which bindings can select; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    gateway: Gateway,
}

/// The gateway's options under other names: `--server` and `--ca` are the cluster's here.
#[derive(clap::Args)]
#[command(next_help_heading = "Gateway")]
struct Gateway {
    /// The gateway; without it, the one of the last login
    #[arg(
        id = "gateway",
        long = "gateway",
        env = "PALISADE_SERVER",
        value_name = "URL"
    )]
    url: Option<String>,
    /// PEM file with the authority of the gateway's certificate
    #[arg(
        id = "gateway_ca",
        long = "gateway-ca",
        env = "PALISADE_CA",
        value_name = "FILE",
        conflicts_with = "gateway_ca_sum"
    )]
    ca_file: Option<PathBuf>,
    /// SHA-256 (hex) of the authority's certificate, which the gateway must present
    #[arg(id = "gateway_ca_sum", long = "gateway-ca-sum", value_name = "SHA256")]
    ca_sum: Option<CaSum>,
    /// Where sessions are kept [default: $XDG_CONFIG_HOME/palisade or ~/.config/palisade]
    #[arg(long, env = "PALISADE_CONFIG_DIR", value_name = "DIR")]
    config_dir: Option<PathBuf>,
    #[arg(long, env = "PALISADE_TOKEN", hide = true, hide_env_values = true)]
    token: Option<String>,
}

impl Gateway {
    fn args(&self) -> GatewayArgs {
        GatewayArgs {
            server: self.url.clone(),
            ca: self.ca_file.clone(),
            ca_sum: self.ca_sum,
            config_dir: self.config_dir.clone(),
            token: self.token.clone(),
        }
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .ok_or("a label is KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Runs `palisade cluster add`.
pub(super) async fn add(args: &Args) -> Result<(), Failure> {
    let own = Own::connect(&args.gateway.args()).await?;
    if args.manifest {
        return print_manifest(&own, &args.name).await;
    }
    if let Some(path) = &args.kubeconfig {
        let operator = Operator::read(path, args.context.as_deref()).await?;
        return with_operator(args, &own, &operator).await;
    }
    let Some(path) = &args.token_file else {
        return Err(Failure::said(
            "give --kubeconfig, --token-file or --manifest",
        ));
    };
    let token = Zeroizing::new(operator::read(path)?.trim().to_owned());
    let spec = args.spec(None)?;
    register(&own, args, spec).await?;
    let tokens = Tokens {
        reconciler: &token,
        impersonator: None,
    };
    finish(&own, &args.name, &tokens).await
}

/// What is registered: what was asked for, and else what the kubeconfig says.
impl Args {
    fn spec(&self, operator: Option<&Operator>) -> Result<ClusterSpec, Failure> {
        let server = match (&self.server, operator) {
            (Some(server), _) => server.clone(),
            (None, Some(operator)) => operator.server.clone(),
            (None, None) => return Err(Failure::said("give the cluster's URL by --server")),
        };
        let url = ServerUrl::parse(&server).map_err(|error| Failure::said(error.to_string()))?;
        if !url.path.is_empty() {
            return Err(Failure::said(format!(
                "{server} has a path, so it is not the API server itself but something before it: give \
                 the API server's own URL by --server (and its CA by --ca)"
            )));
        }
        // Another server's CA and name are not those of the kubeconfig's.
        let same = operator.filter(|_| self.server.is_none());
        let ca = match &self.ca {
            Some(path) => operator::read(path)?.to_string(),
            None => same.and_then(|same| same.ca.clone()).unwrap_or_default(),
        };
        let name = self
            .tls_server_name
            .clone()
            .or_else(|| same.and_then(|same| same.tls_server_name.clone()));
        Ok(ClusterSpec {
            server,
            ca,
            tls_server_name: name.unwrap_or_default(),
            user_prefix: self.user_prefix.clone().unwrap_or_default(),
        })
    }
}

#[derive(Deserialize)]
struct Manifest {
    items: Vec<Object>,
}

/// What the gateway wants in the cluster; an object that is none of ours does not pass (see `object`).
async fn manifest(own: &Own, name: &str) -> Result<Vec<Object>, Failure> {
    let path = own::path::<Cluster>(name) + "/manifest";
    let manifest: Manifest = own.http().get(&path).await?;
    Ok(manifest.items)
}

async fn print_manifest(own: &Own, name: &str) -> Result<(), Failure> {
    let mut text = String::new();
    for object in manifest(own, name).await? {
        let yaml = output::yaml(object.body())
            .ok_or_else(|| Failure::said(format!("{object} cannot be written as YAML")))?;
        text.push_str("---\n");
        text.push_str(&yaml);
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    run::print(&text)
}

async fn with_operator(args: &Args, own: &Own, operator: &Operator) -> Result<(), Failure> {
    let spec = args.spec(Some(operator))?;
    let objects = manifest(own, &args.name).await?;
    let client = operator.client()?;
    let client = client.client();
    let about = async {
        let version = kube::version(client).await?;
        Ok::<_, ClientError>((version, kube::who_am_i(client).await?))
    };
    let (version, me) = about.await.map_err(|error| {
        let server = &operator.server;
        Failure::said(format!("{server}: {}", HttpError::from(error)))
    })?;
    let plan = plan(args, &spec, operator, &objects);
    let who = format!(
        "(Kubernetes {version}; you are {} there)",
        output::printable(&me)
    );
    if !agreed(&format!("{plan}{who}"), args.yes)? {
        return Err(Failure::said("nothing was done"));
    }
    let mut done = Vec::new();
    let outcome = install(args, own, spec, client, &objects, &mut done).await;
    outcome.map_err(|failure| unfinished(&args.name, &failure, &done))
}

/// What will be made, for a person to agree to.
fn plan(args: &Args, spec: &ClusterSpec, operator: &Operator, objects: &[Object]) -> String {
    use std::fmt::Write as _;
    let mut text = format!(
        "Cluster {} at {}, by the context {} of the kubeconfig, will get:\n",
        args.name, spec.server, operator.context
    );
    for object in objects {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "  {:<20} {}{}",
            object.kind(),
            object.name(),
            remark(object)
        );
    }
    text.push_str(
        "The gateway gets tokens of the two accounts: impersonator carries users' requests, reconciler\n\
         renews both and writes the roles above. Your own credential stays here.\n\
         (The whole text: palisade cluster add NAME --manifest)\n",
    );
    text
}

fn remark(object: &Object) -> String {
    if object.kind() != ObjectKind::ClusterRole {
        return String::new();
    }
    let rules = object.body().get("rules").and_then(Value::as_array);
    let rules = rules.map(Vec::as_slice).unwrap_or_default();
    let has = |rule: &Value, field: &str| {
        let list = rule.get(field).and_then(Value::as_array);
        list.is_some_and(|list| list.iter().any(|entry| entry == "*"))
    };
    let all = ["verbs", "apiGroups", "resources"];
    if rules
        .iter()
        .any(|rule| all.iter().all(|field| has(rule, field)))
    {
        return "  (everything)".to_owned();
    }
    match rules.len() {
        1 => "  (1 rule)".to_owned(),
        count => format!("  ({count} rules)"),
    }
}

/// The steps, each told when it is done.
async fn install(
    args: &Args,
    own: &Own,
    spec: ClusterSpec,
    operator: &Client,
    objects: &[Object],
    done: &mut Vec<String>,
) -> Result<(), Failure> {
    // First, because it is what a person without the right is refused: then nothing was made anywhere.
    register(own, args, spec).await?;
    done.push(format!("the registration of {}", args.name));
    for object in objects {
        let applied = kube::apply(operator, object).await;
        applied.map_err(|error| said(&format!("cannot write {object}"), error))?;
        run::tell(&format!("wrote {object}"));
        done.push(object.to_string());
    }
    let mint = async |account: &str| {
        let minted = kube::mint(operator, account, HANDED_LIFE).await;
        let failed = |error| said(&format!("cannot get a token of {account}"), error);
        Ok::<_, Failure>(minted.map_err(failed)?.token)
    };
    let reconciler = mint(RECONCILER).await?;
    let impersonator = mint(IMPERSONATOR).await?;
    let tokens = Tokens {
        reconciler: &reconciler,
        impersonator: Some(&impersonator),
    };
    finish(own, &args.name, &tokens).await
}

fn said(step: &str, error: ClientError) -> Failure {
    Failure::said(format!("{step}: {}", HttpError::from(error)))
}

fn unfinished(name: &str, failure: &Failure, done: &[String]) -> Failure {
    if done.is_empty() {
        return Failure::said(failure.to_string());
    }
    Failure::said(format!(
        "{failure}\nMade so far: {}.\nThe same command goes on from here; to undo it: palisade cluster \
         remove {name} --kubeconfig FILE",
        done.join(", ")
    ))
}

/// Registers the cluster; one that is registered with the same settings is left as it is.
async fn register(own: &Own, args: &Args, spec: ClusterSpec) -> Result<(), Failure> {
    let mut cluster = Cluster::new(&args.name, spec.clone());
    cluster.metadata.labels = args.labels.iter().cloned().collect();
    match own.create(&cluster).await {
        Ok(_) => {
            run::tell(&format!("registered {}", args.name));
            return Ok(());
        }
        Err(Failure::Http(error)) if error.code() == Some(StatusCode::CONFLICT) => {}
        Err(failure) => return Err(failure),
    }
    let labels: &BTreeMap<String, String> = &cluster.metadata.labels;
    own.change::<Cluster>(&args.name, |known| {
        if known.spec != spec {
            return Err(Failure::said(format!(
                "{} is registered already, with other settings ({}): remove it first, or take another \
                 name",
                args.name, known.spec.server
            )));
        }
        let before = known.metadata.labels.clone();
        known.metadata.labels.extend(labels.clone());
        Ok(known.metadata.labels != before)
    })
    .await?;
    run::tell(&format!("{} was registered already", args.name));
    Ok(())
}

#[derive(Serialize)]
struct Tokens<'t> {
    reconciler: &'t str,
    #[serde(skip_serializing_if = "Option::is_none")]
    impersonator: Option<&'t str>,
}

/// Hands the tokens over and waits until the gateway finds the cluster ready.
async fn finish(own: &Own, name: &str, tokens: &Tokens<'_>) -> Result<(), Failure> {
    let path = own::path::<Cluster>(name) + "/credential";
    let report: SyncReport = own.http().put(&path, tokens).await?;
    run::tell("handed the accounts' tokens over; the gateway has made its own");
    run::tell(&format!("{name} {}", super::told(&report)));
    let end = Instant::now() + READY_LIMIT;
    loop {
        let status = own.get::<Cluster>(name).await?.status;
        if status.health == Health::Ready {
            let version = output::printable(&status.version);
            return run::print(&format!("cluster {name} is ready ({version})\n"));
        }
        if Instant::now() > end {
            return Err(Failure::said(format!(
                "the gateway does not find {name} ready: {:?} {}",
                status.health,
                output::printable(&status.message)
            )));
        }
        sleep(READY_POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use serde_json::json;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        add: Args,
    }

    fn parse(line: &str) -> Result<Args, String> {
        let words = std::iter::once("add").chain(line.split_whitespace());
        let parsed = Command::try_parse_from(words);
        parsed
            .map(|command| command.add)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_cluster_is_added_in_one_of_three_ways() {
        for good in [
            "prod --kubeconfig f",
            "prod --kubeconfig f --context c --server https://a:1 --ca f --yes --label a=b --label c=",
            "prod --manifest",
            "prod --server https://a:1 --ca f --token-file t",
            "prod --kubeconfig f --gateway https://g --gateway-ca-sum sha256:00",
        ] {
            let good = good.replace("sha256:00", &"0".repeat(64));
            assert!(parse(&good).is_ok(), "{good}: {:?}", parse(&good).err());
        }
        for bad in [
            "prod",
            "prod --token-file t",
            "prod --manifest --kubeconfig f",
            "prod --token-file t --kubeconfig f --server https://a:1",
            "prod --kubeconfig f --label a",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_registered_is_what_was_asked_for_and_never_a_path() {
        let spec = |server: &str| {
            let line = format!("prod --token-file t --server {server} --user-prefix x:");
            parse(&line).unwrap().spec(None)
        };
        let good = spec("https://a.example:6443").unwrap();
        assert_eq!(good.server, "https://a.example:6443");
        assert_eq!(good.user_prefix, "x:");
        assert_eq!(good.ca, "");
        let path = spec("https://a.example/k8s/clusters/c-1").unwrap_err();
        assert!(path.to_string().contains("has a path"), "{path}");
        assert!(spec("http://a.example").is_err());
    }

    #[test]
    fn a_role_that_gives_everything_says_so() {
        let role = |rules: Value| Object::new(ObjectKind::ClusterRole, "palisade:x", rules);
        let all = json!({"rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]});
        assert_eq!(remark(&role(all)), "  (everything)");
        let one = json!({"rules": [{"verbs": ["*"], "apiGroups": [""], "resources": ["*"]}]});
        assert_eq!(remark(&role(one)), "  (1 rule)");
        assert_eq!(remark(&role(json!({}))), "  (0 rules)");
    }
}
