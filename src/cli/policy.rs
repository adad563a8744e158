//! `palisade policy`: check, test and explain policy without a gateway, and ask a gateway for its folder.
//!
//! Exit codes, for all of them: 0 all is well; 1 the policy has mistakes, a case failed or an expectation
//! was not met; 2 the command could not do its work (wrong arguments, a folder that cannot be read).
#![expect(clippy::print_stderr, reason = "a command speaks to a person")]

use crate::authz::{
    explain::Judge,
    files::{self, FileMistake, FilesError, Folder},
};
use std::{io::Write as _, path::Path, process::ExitCode};

mod batch;
mod check;
mod explain;
mod status;
mod test;

/// The command could not do its work; clap uses the same for wrong arguments.
const CANNOT: u8 = 2;

/// Arguments of `palisade policy`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Tell every mistake of policy folders, each with its file, line and path.
    Check(check::Args),
    /// Run the cases of policy folders: request and identity → decision.
    Test(test::Args),
    /// Say what a policy answers to a request, and why.
    Explain(Box<explain::Args>),
    /// Show how the policy folder of a gateway is: what counts, what was refused, and why.
    Status(status::Args),
}

/// Runs `palisade policy`.
pub fn run(args: &Args) -> ExitCode {
    let done = match &args.command {
        Command::Check(args) => check::run(args),
        Command::Test(args) => test::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Status(args) => return status::run(args),
    };
    match done {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(CANNOT)
        }
    }
}

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error("cannot write the answer: {0}")]
    Output(#[source] std::io::Error),
    #[error("cannot read the questions: {0}")]
    Input(#[source] std::io::Error),
    #[error("{0}")]
    Arguments(String),
}

/// Writes to standard output. A reader that has gone away has what it wanted.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        done => done.map_err(Failure::Output),
    }
}

/// Shows mistakes and warnings on standard error.
fn tell(folder: &Folder) {
    for mistake in &folder.mistakes {
        eprintln!("{mistake}");
    }
    tell_warnings(&folder.warnings);
}

fn tell_warnings(warnings: &[FileMistake]) {
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
}

/// The policy of one folder; `None` = the built-in roles alone.
fn policy(folder: Option<&Path>) -> Result<Folder, FilesError> {
    match folder {
        Some(path) => files::load_policy(path),
        None => Ok(files::built_in_folder()),
    }
}

/// Which of a folder's two policies judges: our own if there is any of it, unless the cluster's is asked for.
fn judge(folder: &Folder, cluster_rbac: bool) -> Result<Judge<'_>, String> {
    if cluster_rbac && folder.raw.is_empty() {
        return Err(format!(
            "{} holds no RBAC manifests that could judge",
            folder.path.display()
        ));
    }
    Ok(folder.judge(cluster_rbac))
}

/// `1 role`, `2 roles`.
fn count(number: usize, one: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        many if one.ends_with('y') => format!("{many} {}ies", one.trim_end_matches('y')),
        many => format!("{many} {one}s"),
    }
}
