//! `palisade admin`: what is done on the gateway's host, straight in the store.

use super::{
    run::{self, Failure, print},
    serve::said,
};
use crate::{
    config::File,
    serve::{
        admins::{self, Existing, Grants},
        state::State,
    },
};
use std::{path::PathBuf, process::ExitCode};

/// Arguments of `palisade admin`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make the first admin, while no gateway runs; refused if there is one.
    Init(InitArgs),
}

#[derive(clap::Args)]
struct InitArgs {
    /// The gateway's configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Name of the admin
    #[arg(long, value_name = "NAME", default_value = "admin")]
    username: String,
    /// Read the password from standard input (its first line); without this one is made and printed
    #[arg(long)]
    password_stdin: bool,
    /// Also if there is an admin already. A user of that name gets the new password, is enabled and made
    /// an admin; its sessions end
    #[arg(long)]
    reset: bool,
}

/// Runs `palisade admin`.
pub fn run(args: &Args) -> ExitCode {
    match &args.command {
        Command::Init(args) => run::run(init(args)),
    }
}

async fn init(args: &InitArgs) -> Result<(), Failure> {
    let file = File::read(&args.config).map_err(|lines| Failure::said(lines.join("\n")))?;
    let config = file.config;
    let given = if args.password_stdin {
        Some(run::read_line()?)
    } else {
        None
    };
    let password = match &given {
        Some(password) => password.clone(),
        None => admins::generate_password().map_err(|error| said(&error))?,
    };
    let existing = if args.reset {
        Existing::Reset
    } else {
        Existing::Refuse
    };
    // Fails with a sentence of its own while a gateway has the store open.
    let state = State::open(&config.state)
        .await
        .map_err(|error| said(&error))?;
    let name = &args.username;
    let made = admins::make_admin(
        &state.store,
        name,
        password.clone(),
        Grants::Admin,
        existing,
    );
    let made = made.await.map_err(|error| said(&error));
    state.store.close().await;
    made?;
    if given.is_some() {
        print(&format!("{name:?} is an admin now.\n"))
    } else {
        let password = password.as_str();
        print(&format!(
            "{name:?} is an admin now. Password (shown this once):\n\n  {password}\n"
        ))
    }
}
