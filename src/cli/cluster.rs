//! `palisade cluster`: what an operator does with clusters.
//!
//! Adding one is work in two places: in the cluster, with the operator's own credential, which this
//! process uses once and keeps to itself (`add`); at the gateway, which gets tokens of two accounts of its
//! own. The other commands are thin: the gateway's own API does the work.

use super::{
    http::HttpError,
    operator::{Operator, OperatorError},
    output::{OutputArgs, printable},
    own::{self, Own},
    run::{self, Failure},
    session::GatewayArgs,
};
use crate::{
    clusters::{
        CleanUp, SyncReport,
        cleanup::{self, StepError},
    },
    objects::{Cluster, Health},
};
use std::{path::PathBuf, process::ExitCode};

mod add;

/// Arguments of `palisade cluster`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Register a cluster and connect it; running it again is safe
    Add(Box<add::Args>),
    /// List the registered clusters
    List {
        #[command(flatten)]
        gateway: GatewayArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show one cluster
    Show {
        /// Its name
        name: String,
        #[command(flatten)]
        gateway: GatewayArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Have the gateway look at whole clusters, and say how they stand
    Sync {
        /// Their names
        #[arg(required_unless_present = "all")]
        names: Vec<String>,
        /// Every registered cluster
        #[arg(long, conflicts_with = "names")]
        all: bool,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// Take away what Palisade made in a cluster, and the registration
    Remove(RemoveArgs),
}

#[derive(clap::Args)]
struct RemoveArgs {
    /// Its name
    name: String,
    /// Clean up with this kubeconfig, and not with the gateway's own account
    #[arg(long, value_name = "FILE", conflicts_with = "keep_objects")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: its current one]
    #[arg(long, requires = "kubeconfig")]
    context: Option<String>,
    /// Leave in the cluster what is there, and remove the registration alone
    #[arg(long)]
    keep_objects: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    gateway: GatewayArgs,
}

impl From<OperatorError> for Failure {
    fn from(error: OperatorError) -> Self {
        Self::said(error.to_string())
    }
}

impl From<StepError> for Failure {
    fn from(error: StepError) -> Self {
        let step = error.to_string();
        Self::said(format!("{step}: {}", HttpError::from(error.source)))
    }
}

/// Runs `palisade cluster`.
pub fn run(args: &Args) -> ExitCode {
    match &args.command {
        Command::Add(args) => run::run(add::add(args)),
        Command::List { gateway, output } => run::run(list(gateway, *output)),
        Command::Show {
            name,
            gateway,
            output,
        } => run::run(show(name, gateway, *output)),
        Command::Sync {
            names,
            all,
            gateway,
        } => run::run(sync_all(names, *all, gateway)),
        Command::Remove(args) => run::run(remove(args)),
    }
}

async fn list(gateway: &GatewayArgs, output: OutputArgs) -> Result<(), Failure> {
    let own = Own::connect(gateway).await?;
    own.list::<Cluster>().await?.print::<Cluster>(output.output)
}

async fn show(name: &str, gateway: &GatewayArgs, output: OutputArgs) -> Result<(), Failure> {
    let own = Own::connect(gateway).await?;
    own.show::<Cluster>(name, output.output).await
}

async fn sync_all(names: &[String], all: bool, gateway: &GatewayArgs) -> Result<(), Failure> {
    let own = Own::connect(gateway).await?;
    let names = if all {
        let listed = own.list::<Cluster>().await?;
        listed.names().map(str::to_owned).collect()
    } else {
        names.to_vec()
    };
    let mut failed = 0;
    for name in &names {
        match sync_one(&own, name).await {
            Ok(report) => run::print(&format!("{name}: {}\n", told(&report)))?,
            // One cluster that is away must not keep the others from theirs.
            Err(failure) => {
                run::tell(&printable(&format!("{name}: {failure}")));
                failed += 1;
            }
        }
    }
    if failed > 0 {
        let count = names.len();
        return Err(Failure::said(format!(
            "{failed} of {count} were not synced"
        )));
    }
    Ok(())
}

async fn sync_one(own: &Own, name: &str) -> Result<SyncReport, Failure> {
    let path = own::path::<Cluster>(name) + "/sync";
    Ok(own.http().post(&path, &serde_json::json!({})).await?)
}

/// What a sync found.
fn told(report: &SyncReport) -> String {
    let mut line = printable(&format!("knows the roles {}", report.roles.join(", ")));
    if report.behind == 0 {
        return line;
    }
    let work = if report.unfinished {
        "the gateway is at work on it"
    } else {
        "the cluster refuses"
    };
    let count = report.behind;
    line = format!("{line}; {count} objects differ from policy, {work}:");
    line + &indented(&report.waiting)
}

/// Each in a line of its own.
fn indented(objects: &[String]) -> String {
    let line = |object: &String| format!("\n  {}", printable(object));
    let lines: Vec<String> = objects.iter().map(line).collect();
    lines.concat()
}

async fn remove(args: &RemoveArgs) -> Result<(), Failure> {
    let own = Own::connect(&args.gateway).await?;
    let name = &args.name;
    let cluster: Cluster = own.get(name).await?;
    let operator = match &args.kubeconfig {
        Some(path) => Some(Operator::read(path, args.context.as_deref()).await?),
        None => None,
    };
    let server = &cluster.spec.server;
    let what = match (&operator, args.keep_objects) {
        (_, true) => format!("The registration of {name} ({server}) goes, its objects stay."),
        (Some(operator), false) => format!(
            "What Palisade made at {} goes, and the registration of {name} ({server}).",
            operator.server
        ),
        (None, false) => {
            format!("What Palisade made in {name} ({server}) goes, and its registration.")
        }
    };
    if !agreed(&what, args.yes)? {
        return Err(Failure::said("nothing was done"));
    }
    if let Some(operator) = &operator {
        let client = operator.client()?;
        let removed = cleanup::clean_up_as_operator(client.client()).await?;
        report_removed(&removed);
    } else if !args.keep_objects {
        clean_up(&own, &cluster).await?;
    }
    own.delete::<Cluster>(name).await?;
    run::print(&format!("cluster {name} removed\n"))
}

/// By the gateway's own account in the cluster.
async fn clean_up(own: &Own, cluster: &Cluster) -> Result<(), Failure> {
    let name = &cluster.metadata.name;
    if cluster.status.health == Health::Pending {
        return Err(Failure::said(format!(
            "the gateway has no credential for {name}, so it cannot clean up there: give --kubeconfig \
             FILE, or --keep-objects if there is nothing to clean up"
        )));
    }
    let path = own::path::<Cluster>(name) + "/cleanup";
    loop {
        let answer: Result<CleanUp, HttpError> =
            own.http().post(&path, &serde_json::json!({})).await;
        let done = answer.map_err(|error| Failure::said(format!("{error}\n{NOTHING_LOST}")))?;
        if done.left == 0 {
            report_removed(&done.removed);
            return Ok(());
        }
        if !done.stuck.is_empty() {
            return Err(Failure::said(format!(
                "{} objects cannot be removed:{}\n{NOTHING_LOST}",
                done.left,
                indented(&done.stuck)
            )));
        }
        run::tell(&format!("{} objects are left to remove", done.left));
    }
}

const NOTHING_LOST: &str = "The registration stays. Try again when the cluster answers, or give \
    --kubeconfig FILE, or --keep-objects; to keep the cluster, run `palisade cluster add` again";

fn report_removed(removed: &[String]) {
    for object in removed {
        run::tell(&printable(&format!("removed {object}")));
    }
}

/// Whether the person agrees to `what`; without a terminal only `--yes` does.
fn agreed(what: &str, yes: bool) -> Result<bool, Failure> {
    run::tell(&printable(what));
    if yes {
        return Ok(true);
    }
    if !run::is_interactive() {
        return Err(Failure::said(
            "nobody can be asked here (no terminal): give --yes, or run it where you can answer",
        ));
    }
    run::confirm("Go on?")
}
