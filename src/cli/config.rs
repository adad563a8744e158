//! `palisade config`: check a file, print the options.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command speaks to a person"
)]

use super::run::{self, print};
use crate::{
    config::{File, docs, schema},
    observe::metrics,
};
use std::{path::PathBuf, process::ExitCode};

/// Arguments of `palisade config`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Tell every mistake of a configuration file, each with its line; end with 1 if there is one.
    Check {
        /// The file.
        file: PathBuf,
    },
    /// Print docs/config.md: every option, its default and what it is for.
    Docs,
    /// Print the JSON Schema of the configuration file, for editors and pipelines.
    Schema,
    /// Print docs/metrics.md: every metric, its labels and what it tells.
    Metrics,
}

/// Runs `palisade config`.
pub fn run(args: &Args) -> ExitCode {
    match &args.command {
        Command::Check { file } => match File::read(file) {
            Ok(_) => {
                println!("{}: no mistakes", file.display());
                ExitCode::SUCCESS
            }
            Err(lines) => {
                for line in lines {
                    eprintln!("{line}");
                }
                ExitCode::FAILURE
            }
        },
        Command::Docs => out(&docs::markdown()),
        Command::Schema => out(&format!("{:#}\n", schema::document())),
        Command::Metrics => out(&metrics::docs::markdown()),
    }
}

fn out(text: &str) -> ExitCode {
    run::run(async { print(text) })
}
