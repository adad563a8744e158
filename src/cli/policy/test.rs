//! `palisade policy test`.
#![expect(clippy::print_stderr, reason = "a command speaks to a person")]

use super::{Failure, count, print, tell};
use crate::{
    authz::files::{self, Folder, run},
    status::clock,
};
use std::{path::PathBuf, process::ExitCode};

/// Arguments of `palisade policy test`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Folders of policy with cases in a folder `cases`.
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let mut total = run::Totals::default();
    let mut sound = true;
    for path in &args.folders {
        for folder in files::load(path)? {
            sound &= one(&folder, &mut total)?;
        }
    }
    if total.cases == 0 {
        if sound {
            let folder = files::CASES;
            eprintln!("error: no cases found; they belong in a folder called {folder}");
        }
        return Ok(ExitCode::FAILURE);
    }
    let passed = total.cases - total.failed;
    let cases = count(total.cases, "case");
    print(&format!(
        "{cases}: {passed} passed, {} failed\n",
        total.failed
    ))?;
    Ok(if sound && total.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs the cases of one folder; false: it has mistakes, and no case of it was run.
fn one(folder: &Folder, total: &mut run::Totals) -> Result<bool, Failure> {
    if !folder.mistakes.is_empty() {
        tell(folder);
        eprintln!(
            "error: {} has {}; its cases were not run",
            folder.path.display(),
            count(folder.mistakes.len(), "mistake")
        );
        return Ok(false);
    }
    for failure in run::cases(folder, clock::now(), total) {
        print(&format!("{failure}\n"))?;
    }
    Ok(true)
}
