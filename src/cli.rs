//! The commands that a person runs.
//!
//! Each command is a file; this one holds the tree of them. A command prints what was asked for on
//! standard output, says what went wrong on standard error, and ends with 0, or 1 for a failure, or 2 for
//! wrong arguments (clap).

use clap::{Parser, Subcommand};
use std::process::ExitCode;

pub mod admin;
pub mod bind;
pub mod bindings;
pub mod cluster;
pub mod clusters;
pub mod config;
pub mod credential;
#[cfg(test)]
mod fake;
pub mod group;
pub mod http;
pub mod kubeconfig;
pub mod login;
pub mod operator;
pub mod output;
pub mod own;
mod pin;
pub mod policy;
pub mod project;
pub mod provider;
pub mod role;
pub mod run;
pub mod serve;
pub mod session;
pub mod sessions;
pub mod store;
pub mod token;
pub mod unbind;
pub mod user;
pub mod whoami;

/// One gate in front of many Kubernetes clusters.
#[derive(Parser)]
#[command(name = "palisade", version, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// In the order of the help: a person's own commands, those of an administrator, those of an operator.
#[derive(Subcommand)]
enum Command {
    /// Log in to a gateway; the session is kept for the other commands and for kubectl
    Login(login::LoginArgs),
    /// End the session, here and at the gateway
    Logout(login::LogoutArgs),
    /// Show who the gateway takes you for
    Whoami(whoami::Args),
    /// Show the clusters that you hold anything on, and how they are
    Clusters(clusters::Args),
    /// Write a kubeconfig with all your clusters
    Kubeconfig(kubeconfig::Args),
    /// Show where you are logged in, and end sessions
    Sessions(sessions::Args),
    /// Make, show and revoke tokens
    Token(token::Args),
    /// Print the session's token for kubectl (an exec plugin: client.authentication.k8s.io/v1)
    Credential(credential::Args),
    /// Add, show, sync and remove clusters
    Cluster(cluster::Args),
    /// Make, list, disable and remove users
    User(user::Args),
    /// Make, list and remove local groups, and say who is in them
    Group(group::Args),
    /// List roles, show what they allow
    Role(role::Args),
    /// Make, list and remove projects, and say which namespaces they hold
    Project(project::Args),
    /// Give a user or a group a role
    Bind(bind::Args),
    /// Take a role back: remove bindings by name
    Unbind(unbind::Args),
    /// List bindings: who holds which role where
    Bindings(bindings::Args),
    /// Check, test and explain policy, without a gateway
    Policy(policy::Args),
    /// Run the gateway
    Serve(serve::Args),
    /// Make the first admin, on the gateway's host
    Admin(admin::Args),
    /// Back up, restore and check the embedded store, on the gateway's host
    Store(store::Args),
    /// List the providers of a configuration file, and try one, on the gateway's host
    Provider(provider::Args),
    /// Check a configuration file, or show what can be configured
    Config(config::Args),
}

impl Cli {
    /// Does what was asked.
    pub fn run(self) -> ExitCode {
        match self.command {
            Command::Login(args) => login::login(&args),
            Command::Logout(args) => login::logout(&args),
            Command::Whoami(args) => whoami::run(&args),
            Command::Clusters(args) => clusters::run(&args),
            Command::Kubeconfig(args) => kubeconfig::run(&args),
            Command::Sessions(args) => sessions::run(&args),
            Command::Token(args) => token::run(&args),
            Command::Credential(args) => credential::run(&args),
            Command::Cluster(args) => cluster::run(&args),
            Command::User(args) => user::run(args),
            Command::Group(args) => group::run(args),
            Command::Project(args) => project::run(args),
            Command::Role(args) => role::run(args),
            Command::Bind(args) => bind::run(args),
            Command::Unbind(args) => unbind::run(&args),
            Command::Bindings(args) => bindings::run(&args),
            Command::Policy(args) => policy::run(&args),
            Command::Serve(args) => serve::run(&args),
            Command::Admin(args) => admin::run(&args),
            Command::Store(args) => store::run(&args),
            Command::Provider(args) => provider::run(&args),
            Command::Config(args) => config::run(&args),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_tree_of_commands_is_sound() {
        Cli::command().debug_assert();
    }

    // What a person reads first, whatever terminal and environment the test runs in.
    #[test]
    fn help_of_the_ways_to_log_in() {
        let mut program = Cli::command();
        program.build();
        let mut help = Vec::new();
        for words in [&["login"][..], &["sessions"], &["sessions", "end"]] {
            let mut command = &mut program;
            for word in words {
                command = command.find_subcommand_mut(word).unwrap();
            }
            let command = command.clone().term_width(100);
            let mut command = command.mut_args(|argument| argument.hide_env_values(true));
            help.push(command.render_help().to_string());
        }
        insta::assert_snapshot!(help.join("\n"));
    }
}
