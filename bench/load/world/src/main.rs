//! What needs the gateway's own crate: a store filled without a gateway, and builds that count allocations.

#![allow(unsafe_code, reason = "a global allocator is unsafe to declare")]

use anyhow::Result;
use clap::Parser;
use std::{
    alloc::{GlobalAlloc, Layout, System},
    path::PathBuf,
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

mod seed;

/// The system's allocator, and how often it was asked.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

fn count(bytes: usize) {
    ALLOCATIONS.fetch_add(1, Relaxed);
    BYTES.fetch_add(bytes as u64, Relaxed);
}

// SAFETY: every call goes on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(old, layout, size) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[derive(Parser)]
enum Command {
    /// Fill a store
    Seed(seed::Args),
    /// The gateway, counting allocations; its arguments are palisade's
    #[command(disable_help_flag = true)]
    Gateway {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// The bare proxy, counting allocations
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
    let done = match Command::parse() {
        Command::Seed(args) => seed::run(&args),
        Command::Gateway { arguments } => {
            tell_counts();
            let arguments = std::iter::once("palisade".to_owned()).chain(arguments);
            return palisade::cli::Cli::parse_from(arguments).run();
        }
        Command::Rp { folder, h1, h2 } => {
            tell_counts();
            runtime().and_then(|runtime| runtime.block_on(palisade_load::rp::run(&folder, h1, h2)))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}

/// Tells the counts to whoever connects to the port in `PALISADE_LOAD_COUNTS`.
fn tell_counts() {
    use std::io::Write as _;
    let Some(port) = std::env::var("PALISADE_LOAD_COUNTS")
        .ok()
        .and_then(|port| port.parse::<u16>().ok())
    else {
        return;
    };
    std::thread::spawn(move || {
        let listener = std::net::TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
        for mut stream in listener.incoming().flatten() {
            let line = format!("{} {}\n", ALLOCATIONS.load(Relaxed), BYTES.load(Relaxed));
            let _ = stream.write_all(line.as_bytes());
        }
    });
}
