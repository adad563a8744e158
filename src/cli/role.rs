//! `palisade role`: which roles there are, and what they allow.

use super::{output::OutputArgs, own::Own, run, session::GatewayArgs};
use crate::objects::Role;
use std::process::ExitCode;

/// Arguments of `palisade role`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List roles, built-in ones too
    List {
        #[command(flatten)]
        output: OutputArgs,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// Show a role with its rules
    Show {
        /// The role's name
        name: String,
        #[command(flatten)]
        output: OutputArgs,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
}

/// Runs `palisade role`.
pub fn run(args: Args) -> ExitCode {
    run::run(async {
        match args.command {
            Command::List { output, gateway } => {
                let own = Own::connect(&gateway).await?;
                own.list::<Role>().await?.print::<Role>(output.output)
            }
            Command::Show {
                name,
                output,
                gateway,
            } => {
                let own = Own::connect(&gateway).await?;
                own.show::<Role>(&name, output.output).await
            }
        }
    })
}
