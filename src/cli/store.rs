//! `palisade store`: copies of the embedded store, on the gateway's host.

use super::{
    run::{self, Failure, is_interactive, print, tell},
    serve::said,
};
use crate::{
    config::File,
    serve::restore::{Newer, Restored, Tokens, restore},
    store::copy::{self, Facts, Progress},
};
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Arguments of `palisade store`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Copy the store to a new file, as of one moment; the gateway may run
    Backup(BackupArgs),
    /// Put a backup in the store's place; the gateway must not run. The old store is kept beside it
    Restore(RestoreArgs),
    /// Read a store or a backup whole, and say what is in it
    Check(CheckArgs),
}

#[derive(clap::Args)]
struct BackupArgs {
    /// The new file; nothing may be there
    file: PathBuf,
    /// The gateway's configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

#[derive(clap::Args)]
struct RestoreArgs {
    /// The backup
    file: PathBuf,
    /// The gateway's configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Also if the store has what the backup has not, or cannot be read
    #[arg(long)]
    discard_newer: bool,
    /// Remove all tokens: one that was revoked after the backup would be good again
    #[arg(long)]
    revoke_tokens: bool,
}

#[derive(clap::Args)]
struct CheckArgs {
    /// A backup; without it the configured store is read
    #[arg(required_unless_present = "config", conflicts_with = "config")]
    file: Option<PathBuf>,
    /// The gateway's configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs `palisade store`.
pub fn run(args: &Args) -> ExitCode {
    run::run(async {
        match &args.command {
            Command::Backup(args) => back_up(args),
            Command::Restore(args) => put_back(args).await,
            Command::Check(args) => check(args),
        }
    })
}

fn back_up(args: &BackupArgs) -> Result<(), Failure> {
    let store = config(&args.config)?.state.store;
    let facts = copy::backup(&store, &args.file, shown()).map_err(|error| said(&error))?;
    print(&format!(
        "{}: {}\nThe key file is not in it: keep a copy of that elsewhere.\n",
        args.file.display(),
        what(facts)
    ))
}

async fn put_back(args: &RestoreArgs) -> Result<(), Failure> {
    let state = config(&args.config)?.state;
    let newer = if args.discard_newer {
        Newer::Discard
    } else {
        Newer::Keep
    };
    let tokens = if args.revoke_tokens {
        Tokens::Revoke
    } else {
        Tokens::Keep
    };
    let done = restore(&args.file, &state, (newer, tokens), shown());
    let done = done.await.map_err(|error| said(&error))?;
    print(&restored(&done, &state.store))
}

fn restored(done: &Restored, store: &Path) -> String {
    let mut text = format!(
        "{}: {}, and goes on from revision {}.\n",
        store.display(),
        what(done.facts),
        done.revision
    );
    if let Some(aside) = &done.aside {
        let _ = writeln!(text, "The old store is {}.", aside.display());
    }
    let ended = done.sessions;
    let _ = writeln!(text, "Sessions ended: {ended}; people log in again.");
    if done.revoked > 0 {
        let _ = writeln!(text, "Tokens removed: {}.", done.revoked);
    }
    text.push_str(
        "Users, groups, bindings and passwords are as they were at the backup: what was removed, disabled or \
         changed since counts again. Look through them.\n",
    );
    if done.tokens > 0 {
        let good = done.tokens;
        let _ = writeln!(
            text,
            "Tokens that are good, also those revoked since the backup: {good}; --revoke-tokens removes all."
        );
    }
    text
}

fn check(args: &CheckArgs) -> Result<(), Failure> {
    let path = match (&args.file, &args.config) {
        (Some(file), _) => file.clone(),
        (None, Some(file)) => config(file)?.state.store,
        (None, None) => return Err(Failure::said("name a file, or --config")),
    };
    let facts = copy::check(&path).map_err(|error| said(&error))?;
    print(&format!("{}: {}\n", path.display(), what(facts)))
}

fn config(file: &Path) -> Result<crate::config::Config, Failure> {
    let file = File::read(file).map_err(|lines| Failure::said(lines.join("\n")))?;
    Ok(file.config)
}

fn what(facts: Facts) -> String {
    let Facts {
        revision,
        keys,
        bytes,
    } = facts;
    format!("whole, revision {revision}, {keys} objects, {bytes} bytes")
}

/// Tells somebody at a terminal how far it is, at each tenth.
fn shown() -> impl FnMut(Progress) + Send + 'static {
    let mut told = 0;
    let interactive = is_interactive();
    move |progress: Progress| {
        let tenth = (progress.done * 10).checked_div(progress.of).unwrap_or(10);
        if interactive && tenth > told {
            told = tenth;
            tell(&format!(
                "copied {} of {} bytes",
                progress.done, progress.of
            ));
        }
    }
}
