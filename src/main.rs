//! Arguments → command → exit code.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    palisade::cli::Cli::parse().run()
}
