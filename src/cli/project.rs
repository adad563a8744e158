//! `palisade project`: sets of namespaces of a cluster, and who is in them.

use super::{
    bindings,
    output::OutputArgs,
    own::Own,
    run::{self, Failure},
    session::GatewayArgs,
};
use crate::objects::{Binding, Project, ProjectSpec};
use std::process::ExitCode;

const EXAMPLES: &str = "Examples:
  palisade project add shop --cluster prod --namespace shop --namespace 'shop-*'
  palisade bind project-member --group shop-team --project shop
  palisade project members shop
  palisade project add-namespace shop payments";

/// Arguments of `palisade project`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make a project
    Add {
        #[command(flatten)]
        project: Named,
        /// The cluster that its namespaces are on
        #[arg(short, long)]
        cluster: String,
        /// A namespace, or a glob ('shop-*'); may be given several times
        #[arg(short, long = "namespace", value_name = "NAMESPACE")]
        namespaces: Vec<String>,
        /// For people to read
        #[arg(
            long,
            value_name = "TEXT",
            default_value = "",
            hide_default_value = true
        )]
        description: String,
    },
    /// List projects
    List {
        /// Those on this cluster
        #[arg(short, long)]
        cluster: Option<String>,
        #[command(flatten)]
        output: OutputArgs,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// Show a project with its namespaces
    Show {
        #[command(flatten)]
        project: Named,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// List the bindings in a project: who is in it, and as what
    Members {
        #[command(flatten)]
        project: Named,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Put namespaces into a project
    AddNamespace(Namespaces),
    /// Take namespaces out of a project, written as `show` writes them
    RemoveNamespace(Namespaces),
    /// Remove a project with its bindings; its namespaces stay in the cluster
    Remove(Named),
}

#[derive(clap::Args)]
struct Named {
    /// The project's name
    name: String,
    #[command(flatten)]
    gateway: GatewayArgs,
}

#[derive(clap::Args)]
struct Namespaces {
    /// The project's name
    project: String,
    /// Namespaces, and globs ('shop-*')
    #[arg(required = true, value_name = "NAMESPACE")]
    entries: Vec<String>,
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// Runs `palisade project`.
pub fn run(args: Args) -> ExitCode {
    run::run(async {
        match args.command {
            Command::Add {
                project,
                cluster,
                namespaces,
                description,
            } => {
                let spec = ProjectSpec {
                    cluster,
                    namespaces,
                    description,
                };
                add(&project, spec).await
            }
            Command::List {
                cluster,
                output,
                gateway,
            } => {
                let own = Own::connect(&gateway).await?;
                let mut listed = own.list::<Project>().await?;
                if let Some(cluster) = cluster {
                    let on = |object: &serde_json::Value| {
                        object
                            .pointer("/spec/cluster")
                            .and_then(|name| name.as_str())
                            == Some(&cluster)
                    };
                    listed.retain(|row| on(&row.object));
                }
                listed.print::<Project>(output.output)
            }
            Command::Show { project, output } => {
                let own = Own::connect(&project.gateway).await?;
                own.show::<Project>(&project.name, output.output).await
            }
            Command::Members { project, output } => {
                let own = Own::connect(&project.gateway).await?;
                // A misspelt name is no empty project.
                own.get::<Project>(&project.name).await?;
                let mut listed = own.list::<Binding>().await?;
                listed.retain(|row| bindings::is_in(row, &project.name));
                listed.print::<Binding>(output.output)
            }
            Command::AddNamespace(args) => add_namespaces(&args).await,
            Command::RemoveNamespace(args) => remove_namespaces(&args).await,
            Command::Remove(project) => {
                let own = Own::connect(&project.gateway).await?;
                own.delete::<Project>(&project.name).await?;
                run::print(&format!("project {} removed\n", project.name))
            }
        }
    })
}

async fn add(project: &Named, spec: ProjectSpec) -> Result<(), Failure> {
    let own = Own::connect(&project.gateway).await?;
    let made = own.create(&Project::new(&project.name, spec)).await?;
    let held = match made.spec.namespaces.as_slice() {
        [] => "no namespaces yet".to_owned(),
        namespaces => format!("the namespaces {}", namespaces.join(", ")),
    };
    run::print(&format!(
        "project {} made: {held} of cluster {}\n",
        project.name, made.spec.cluster
    ))
}

async fn add_namespaces(args: &Namespaces) -> Result<(), Failure> {
    let own = Own::connect(&args.gateway).await?;
    let change = |project: &mut Project| {
        let held = &mut project.spec.namespaces;
        let before = held.len();
        for namespace in &args.entries {
            if !held.contains(namespace) {
                held.push(namespace.clone());
            }
        }
        Ok(held.len() != before)
    };
    report(own.change(&args.project, change).await?, args, "in")
}

async fn remove_namespaces(args: &Namespaces) -> Result<(), Failure> {
    let own = Own::connect(&args.gateway).await?;
    let change = |project: &mut Project| {
        let held = &mut project.spec.namespaces;
        let before = held.len();
        held.retain(|namespace| !args.entries.contains(namespace));
        Ok(held.len() != before)
    };
    report(own.change(&args.project, change).await?, args, "not in")
}

fn report(changed: bool, args: &Namespaces, state: &str) -> Result<(), Failure> {
    let when = if changed { "now" } else { "already" };
    let namespaces = args.entries.join(", ");
    run::print(&format!(
        "{when} {state} project {}: {namespaces}\n",
        args.project
    ))
}
