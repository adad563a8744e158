//! `palisade policy check`.

use super::{Failure, count, print, tell};
use crate::authz::files::{self, Folder};
use std::{path::PathBuf, process::ExitCode};

/// Arguments of `palisade policy check`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Folders of policy, or single files.
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// Take warnings for mistakes.
    #[arg(long)]
    strict: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let mut clean = true;
    for path in &args.folders {
        for folder in files::load(path)? {
            tell(&folder);
            let bad = !folder.mistakes.is_empty() || (args.strict && !folder.warnings.is_empty());
            clean &= !bad;
            print(&format!("{}\n", summary(&folder)))?;
        }
    }
    Ok(if clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn summary(folder: &Folder) -> String {
    let held = folder.contents();
    let cases = folder.cases.iter().map(|file| file.cases.len()).sum();
    format!(
        "{}: {}: {}, {}, {}, {}; {}, {}",
        folder.path.display(),
        count(folder.files, "file"),
        count(held.roles, "role"),
        count(held.bindings, "binding"),
        count(held.manifests, "RBAC manifest"),
        count(cases, "case"),
        match folder.mistakes.len() {
            0 => "no mistakes".to_owned(),
            number => count(number, "mistake"),
        },
        match folder.warnings.len() {
            0 => "no warnings".to_owned(),
            number => count(number, "warning"),
        },
    )
}
