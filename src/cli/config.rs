//! `palisade config`: check a file, print the options.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command speaks to a person"
)]

use crate::config::{self, Config, docs};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

/// A configuration file larger than this is another file.
const MAX_BYTES: u64 = 1 << 20;

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
}

/// Runs `palisade config`.
pub fn run(args: &Args) -> ExitCode {
    match &args.command {
        Command::Check { file } => match read_file(file) {
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
        Command::Docs => {
            print!("{}", docs::markdown());
            ExitCode::SUCCESS
        }
    }
}

/// Reads a configuration file; on failure the lines to show, one a mistake.
pub fn read_file(file: &Path) -> Result<Config, Vec<String>> {
    let name = file.display().to_string();
    let cannot = |error: std::io::Error| vec![format!("cannot read {name}: {error}")];
    let size = std::fs::metadata(file).map_err(cannot)?.len();
    if size > MAX_BYTES {
        return Err(vec![format!(
            "cannot read {name}: it has {size} bytes, {MAX_BYTES} are the limit"
        )]);
    }
    let text = std::fs::read_to_string(file).map_err(cannot)?;
    // Absolute, so that the gateway's files do not move with its working folder.
    let absolute = std::path::absolute(file).map_err(cannot)?;
    let folder = absolute.parent().unwrap_or(Path::new("/"));
    config::read(&text, folder).map_err(|mistakes| {
        mistakes
            .iter()
            .map(|mistake| mistake.in_file(&name))
            .collect()
    })
}
