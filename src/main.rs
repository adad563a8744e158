//! Arguments → command → exit code.

use clap::Parser;
use std::process::ExitCode;

/// A request is a few dozen small pieces of memory. jemalloc hands them out with 5 % less CPU of the whole than
/// the C library's allocator, and an idle connection keeps a third less (docs/performance.md).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    palisade::cli::Cli::parse().run()
}
