//! `palisade policy explain`.
#![expect(clippy::print_stderr, reason = "a command speaks to a person")]

use super::{Failure, batch, judge, policy, print, tell};
use crate::{
    authz::{
        explain::{Verdict, explain, text},
        question::{Question, Subject},
    },
    status::clock,
};
use std::{path::PathBuf, process::ExitCode};

/// Arguments of `palisade policy explain`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Method of the request.
    #[arg(long, default_value = "GET", conflicts_with = "batch")]
    method: String,
    /// Path of the request, with its query: the cluster's own if --cluster is given, else the gateway's
    /// (/k8s/clusters/NAME/… or its own API).
    #[arg(long, required_unless_present = "batch", conflicts_with = "batch")]
    path: Option<String>,
    /// Name of the user.
    #[arg(long, conflicts_with = "batch")]
    user: Option<String>,
    /// A group of the user; may be given several times.
    #[arg(long = "group", value_name = "GROUP", conflicts_with = "batch")]
    groups: Vec<String>,
    /// The cluster that is asked about. In a batch: for lines that name none.
    #[arg(long)]
    cluster: Option<String>,
    /// The policy folder; without it the built-in roles, which nobody is bound to.
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// Judge by the RBAC manifests of the folder, though it holds roles and bindings of the gateway.
    #[arg(long)]
    cluster_rbac: bool,
    /// How to answer.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// End with 1 if the decision is another.
    #[arg(long, value_enum, conflicts_with = "batch")]
    expect: Option<Expected>,
    /// Read one JSON object a line from standard input, and answer each with one, in order.
    #[arg(long)]
    batch: bool,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Output {
    Text,
    Json,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Expected {
    Allow,
    Deny,
    Refuse,
}

impl Expected {
    fn verdict(self) -> Verdict {
        match self {
            Self::Allow => Verdict::Allow,
            Self::Deny => Verdict::Deny,
            Self::Refuse => Verdict::Refuse,
        }
    }
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let folder = policy(args.policies.as_deref())?;
    if !folder.mistakes.is_empty() {
        tell(&folder);
        eprintln!("error: {} is no policy as it stands", folder.path.display());
        return Ok(ExitCode::FAILURE);
    }
    let judge = judge(&folder, args.cluster_rbac).map_err(Failure::Arguments)?;
    if args.batch {
        batch::run(judge, args.cluster.as_deref())?;
        return Ok(ExitCode::SUCCESS);
    }
    let subject = Subject {
        user: args.user.clone().unwrap_or_default(),
        groups: args.groups.clone(),
    };
    if subject.user.is_empty() && subject.groups.is_empty() {
        let message = "say who asks: --user, --group or both".to_owned();
        return Err(Failure::Arguments(message));
    }
    let path = args.path.as_deref().unwrap_or_default();
    let question = Question::of_request(&args.method, path, subject, args.cluster.clone())
        .map_err(Failure::Arguments)?;
    let answer = explain(judge, &question, clock::now());
    if args.output == Output::Json {
        let json =
            serde_json::to_string_pretty(&answer).map_err(|error| Failure::Output(error.into()))?;
        print(&format!("{json}\n"))?;
    } else {
        let asked = format!("{} {path}", args.method);
        print(&text::show(&answer, Some(&asked)))?;
    }
    let unexpected = args
        .expect
        .map(Expected::verdict)
        .filter(|wanted| *wanted != answer.decision);
    if let Some(wanted) = unexpected {
        eprintln!(
            "error: expected {}, got {}",
            wanted.word(),
            answer.decision.word()
        );
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
