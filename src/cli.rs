//! The commands that a person runs.
//!
//! Each command is a file; this one holds the tree of them. A command prints what was asked for on
//! standard output, says what went wrong on standard error, and ends with 0, or 1 for a failure, or 2 for
//! wrong arguments (clap).

use clap::{Parser, Subcommand};
use std::process::ExitCode;

pub mod config;
pub mod http;
pub mod output;
pub mod own;
pub mod operator;
mod pin;
pub mod policy;
pub mod run;
pub mod session;

/// One gate in front of many Kubernetes clusters.
#[derive(Parser)]
#[command(name = "palisade", version, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check a configuration file, or show what can be configured.
    Config(config::Args),
    /// Check, test and explain policy, without a gateway.
    Policy(policy::Args),
}

impl Cli {
    /// Does what was asked.
    pub fn run(self) -> ExitCode {
        match self.command {
            Command::Config(args) => config::run(&args),
            Command::Policy(args) => policy::run(&args),
        }
    }
}
