//! `palisade unbind`: bindings are taken away, by their names or by whose they are in a project.

use super::{
    own::Own,
    run::{self, Failure},
    session::GatewayArgs,
};
use crate::objects::{Binding, SubjectKind};
use std::process::ExitCode;

const EXAMPLES: &str = "Examples:
  palisade unbind project-member-carol-x7k2p
  palisade unbind --project shop --user carol                        # all that carol holds in it
  palisade unbind --project shop --group shop-team --role project-owner";

/// Arguments of `palisade unbind`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Names of bindings; `palisade bindings` shows them
    #[arg(required_unless_present = "project")]
    names: Vec<String>,
    /// Instead of names: those in this project of a user or group
    #[arg(short, long, conflicts_with = "names", requires = "who")]
    project: Option<String>,
    #[command(flatten)]
    who: WhoArgs,
    /// With --project: of this role alone
    #[arg(long, requires = "project")]
    role: Option<String>,
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// With `--project`: whose bindings.
#[derive(clap::Args)]
#[group(id = "who", required = false, multiple = false, requires = "project")]
struct WhoArgs {
    /// With --project: those of this user, not those of the user's groups
    #[arg(short, long)]
    user: Option<String>,
    /// With --project: those of this group
    #[arg(short, long)]
    group: Option<String>,
}

/// Runs `palisade unbind`.
pub fn run(args: &Args) -> ExitCode {
    run::run(async {
        let own = Own::connect(&args.gateway).await?;
        let found = match &args.project {
            Some(project) => named(&own, args, project).await?,
            None => args.names.clone(),
        };
        for name in &found {
            own.delete::<Binding>(name).await?;
            run::print(&format!("binding {name} removed\n"))?;
        }
        Ok(())
    })
}

/// The bindings that are meant without their names; one at least, or the words were wrong.
async fn named(own: &Own, args: &Args, project: &str) -> Result<Vec<String>, Failure> {
    let (kind, name) = match (&args.who.user, &args.who.group) {
        (Some(user), _) => (SubjectKind::User, user),
        (None, Some(group)) => (SubjectKind::Group, group),
        (None, None) => return Ok(Vec::new()),
    };
    let mut listed = own.list::<Binding>().await?;
    listed.retain(|row| {
        let binding = serde_json::from_value::<Binding>(row.object.clone());
        binding.is_ok_and(|Binding { spec, .. }| {
            spec.project == project
                && spec.subject.kind == kind
                && spec.subject.name == *name
                && args.role.as_ref().is_none_or(|role| spec.role == *role)
        })
    });
    let found: Vec<String> = listed.names().map(str::to_owned).collect();
    if found.is_empty() {
        let role = args.role.as_ref().map(|role| format!(" of role {role}"));
        return Err(Failure::said(format!(
            "{name} has no binding{} in project {project}: palisade project members {project} shows who has",
            role.unwrap_or_default()
        )));
    }
    Ok(found)
}
