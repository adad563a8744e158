//! `palisade token`: tokens of one's own, and for administrators those of others.

use super::{
    http::HttpClient,
    output::{self, OutputArgs},
    own::{self, Own, Row},
    run::{self, Failure},
    session::GatewayArgs,
    whoami::{self, Output},
};
use crate::{config::duration, objects::Token, status::clock};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{process::ExitCode, time::Duration};

/// Arguments of `palisade token`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make a token; its text is printed once, on standard output
    Create(CreateArgs),
    /// Show tokens, without their texts
    List(ListArgs),
    /// Delete tokens: they are refused from the next request on
    Revoke(RevokeArgs),
}

#[derive(clap::Args)]
struct CreateArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
    /// What it is for, for the list of tokens
    #[arg(long, value_name = "TEXT", default_value = "")]
    name: String,
    /// How long it is good, such as 12h or 30d [default: the gateway's]
    #[arg(long, value_name = "DURATION", value_parser = life)]
    ttl: Option<Duration>,
    /// Good for this cluster alone; may be given several times
    #[arg(long = "cluster", value_name = "NAME")]
    clusters: Vec<String>,
    /// Whose token it is; for administrators
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Output format
    #[arg(long, short, value_name = "FORMAT")]
    output: Option<Output>,
}

#[derive(clap::Args)]
struct ListArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
    /// Those of this user; for administrators
    #[arg(long, value_name = "NAME", conflicts_with = "all")]
    user: Option<String>,
    /// Those of everybody; for administrators
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(clap::Args)]
struct RevokeArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
    /// Ids, as `palisade token list` shows them
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
}

/// A token to ask for.
#[derive(Default)]
pub(super) struct NewToken {
    pub(super) display_name: String,
    pub(super) life: Option<Duration>,
    pub(super) clusters: Vec<String>,
    pub(super) user: Option<String>,
}

/// A token that was made.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Made {
    pub(super) name: String,
    #[serde(rename = "token")]
    pub(super) text: String,
    pub(super) expires_at: Timestamp,
}

/// Reads `12h`, `30d`.
pub(super) fn life(text: &str) -> Result<Duration, String> {
    duration::parse(text)
        .filter(|life| !life.is_zero())
        .ok_or_else(|| "not a duration; write 90s, 5m, 12h or 30d".to_owned())
}

/// Asks the gateway for a token.
pub(super) async fn create(http: &HttpClient, wanted: &NewToken) -> Result<Made, Failure> {
    #[derive(Deserialize)]
    struct Answer {
        metadata: Metadata,
        spec: Spec,
        status: Status,
    }
    #[derive(Deserialize)]
    struct Metadata {
        name: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Spec {
        expires_at: Timestamp,
    }
    #[derive(Deserialize)]
    struct Status {
        token: String,
    }
    let mut spec = json!({
        "displayName": wanted.display_name,
        "clusters": wanted.clusters,
    });
    if let Some(life) = wanted.life {
        let end = clock::now().checked_add(life);
        let end = end.map_err(|_| Failure::said("the life is too long".to_owned()))?;
        merge(&mut spec, "expiresAt", json!(clock::whole_seconds(end)));
    }
    if let Some(user) = &wanted.user {
        merge(&mut spec, "user", json!({"name": user}));
    }
    let body = json!({
        "apiVersion": "palisade.dev/v1alpha1",
        "kind": "Token",
        "spec": spec,
    });
    let answer: Answer = http.post(&own::path::<Token>(""), &body).await?;
    Ok(Made {
        name: answer.metadata.name,
        text: answer.status.token,
        expires_at: answer.spec.expires_at,
    })
}

fn merge(object: &mut serde_json::Value, field: &str, value: serde_json::Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(field.to_owned(), value);
    }
}

/// Runs `palisade token`.
pub fn run(args: &Args) -> ExitCode {
    match &args.command {
        Command::Create(args) => run::run(make(args)),
        Command::List(args) => run::run(list(args)),
        Command::Revoke(args) => run::run(revoke(args)),
    }
}

async fn make(args: &CreateArgs) -> Result<(), Failure> {
    let own = Own::connect(&args.gateway).await?;
    let wanted = NewToken {
        display_name: args.name.clone(),
        life: args.ttl,
        clusters: args.clusters.clone(),
        user: args.user.clone(),
    };
    let made = create(own.http(), &wanted).await?;
    if args.output == Some(Output::Json) {
        let made = serde_json::to_value(&made).unwrap_or_default();
        return run::print(&output::json(&made));
    }
    run::tell(&format!(
        "token {}, good until {}; it is not shown again:",
        made.name, made.expires_at
    ));
    run::print(&format!("{}\n", made.text))
}

async fn list(args: &ListArgs) -> Result<(), Failure> {
    let own = Own::connect(&args.gateway).await?;
    let mut tokens = own.list::<Token>().await?;
    let owner = |row: &Row, field: &str, wanted: &str| {
        let found = row.object.pointer(field).and_then(Value::as_str);
        found == Some(wanted)
    };
    if let Some(user) = &args.user {
        tokens.retain(|row| owner(row, "/spec/user/name", user));
    } else if !args.all {
        let me = whoami::ask(own.http()).await?;
        tokens.retain(|row| owner(row, "/spec/user/uid", &me.uid));
    }
    tokens.print::<Token>(args.output.output)
}

async fn revoke(args: &RevokeArgs) -> Result<(), Failure> {
    let own = Own::connect(&args.gateway).await?;
    for id in &args.ids {
        own.delete::<Token>(id).await?;
        run::print(&format!("revoked {id}\n"))?;
    }
    Ok(())
}
