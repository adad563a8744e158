//! `palisade-load run` and `compare`; the other commands are its children.

use anyhow::Result;
use clap::Parser;
use palisade_load::{compare, rp, suite, upstream};
use std::{path::PathBuf, process::ExitCode};

/// The gateway's, for all: what the bare proxy shows must not be the allocator.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The bench of whole processes
#[derive(Parser)]
enum Command {
    /// Measure, and write the results
    Run(Box<suite::Options>),
    /// Say which ratios of two runs agree within their spread
    Compare(compare::Options),
    /// Serve as the API server of the bench
    Upstream {
        #[arg(long)]
        folder: PathBuf,
        #[arg(long)]
        alpn: Vec<String>,
    },
    /// Serve as the bare proxy
    Rp {
        #[arg(long)]
        folder: PathBuf,
        #[arg(long)]
        h1: u16,
        #[arg(long)]
        h2: u16,
    },
}

fn main() -> ExitCode {
    match run(Command::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match command {
        Command::Run(options) => runtime.block_on(suite::run(*options)),
        Command::Compare(options) => compare::run(&options),
        Command::Upstream { folder, alpn } => {
            let alpn: Vec<&str> = alpn.iter().map(String::as_str).collect();
            runtime.block_on(upstream::run(&folder, &alpn))
        }
        Command::Rp { folder, h1, h2 } => runtime.block_on(rp::run(&folder, h1, h2)),
    }
}
