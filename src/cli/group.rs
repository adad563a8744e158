//! `palisade group`: local groups and who is in them.

use super::{
    output::OutputArgs,
    own::Own,
    run::{self, Failure},
    session::GatewayArgs,
};
use crate::objects::{Group, GroupSpec, Member};
use std::process::ExitCode;

const EXAMPLES: &str = "Examples:
  palisade group add web-team --display-name 'The web team' --member alice --member bob
  palisade group add-member web-team carol dave
  palisade bind cluster-viewer --group web-team --all-clusters";

/// Arguments of `palisade group`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make a group
    Add {
        #[command(flatten)]
        group: Named,
        /// For people to read
        #[arg(
            long,
            value_name = "TEXT",
            default_value = "",
            hide_default_value = true
        )]
        display_name: String,
        /// Handle of a member; may be given several times
        #[arg(long = "member", value_name = "USER")]
        members: Vec<String>,
    },
    /// List groups
    List {
        #[command(flatten)]
        output: OutputArgs,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// Show a group with its members
    Show {
        #[command(flatten)]
        group: Named,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Remove a group with its bindings; its members stay
    Remove(Named),
    /// Add users to a group
    AddMember(Members),
    /// Take users out of a group
    RemoveMember(Members),
}

#[derive(clap::Args)]
struct Named {
    /// The group's name
    name: String,
    #[command(flatten)]
    gateway: GatewayArgs,
}

#[derive(clap::Args)]
struct Members {
    /// The group's name
    group: String,
    /// Handles of users
    #[arg(required = true, value_name = "USER")]
    users: Vec<String>,
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// Runs `palisade group`.
pub fn run(args: Args) -> ExitCode {
    run::run(async {
        match args.command {
            Command::Add {
                group,
                display_name,
                members,
            } => add(&group, display_name, members).await,
            Command::List { output, gateway } => {
                let own = Own::connect(&gateway).await?;
                own.list::<Group>().await?.print::<Group>(output.output)
            }
            Command::Show { group, output } => {
                let own = Own::connect(&group.gateway).await?;
                own.show::<Group>(&group.name, output.output).await
            }
            Command::Remove(group) => {
                let own = Own::connect(&group.gateway).await?;
                own.delete::<Group>(&group.name).await?;
                run::print(&format!("group {} removed\n", group.name))
            }
            Command::AddMember(members) => add_members(&members).await,
            Command::RemoveMember(members) => remove_members(&members).await,
        }
    })
}

async fn add(group: &Named, display_name: String, members: Vec<String>) -> Result<(), Failure> {
    let own = Own::connect(&group.gateway).await?;
    let spec = GroupSpec {
        display_name,
        members: members.into_iter().map(member).collect(),
    };
    own.create(&Group::new(&group.name, spec)).await?;
    run::print(&format!("group {} made\n", group.name))
}

async fn add_members(args: &Members) -> Result<(), Failure> {
    let own = Own::connect(&args.gateway).await?;
    let change = |group: &mut Group| {
        let members = &mut group.spec.members;
        let before = members.len();
        for user in &args.users {
            if !members.iter().any(|member| member.name == *user) {
                members.push(member(user.clone()));
            }
        }
        Ok(members.len() != before)
    };
    report(own.change(&args.group, change).await?, args, "in")
}

async fn remove_members(args: &Members) -> Result<(), Failure> {
    let own = Own::connect(&args.gateway).await?;
    let change = |group: &mut Group| {
        let members = &mut group.spec.members;
        let before = members.len();
        members.retain(|member| !args.users.contains(&member.name));
        Ok(members.len() != before)
    };
    report(own.change(&args.group, change).await?, args, "not in")
}

fn report(changed: bool, args: &Members, state: &str) -> Result<(), Failure> {
    let when = if changed { "now" } else { "already" };
    let users = args.users.join(", ");
    run::print(&format!("{when} {state} group {}: {users}\n", args.group))
}

fn member(name: String) -> Member {
    Member {
        name,
        uid: String::new(),
    }
}
