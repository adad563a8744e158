//! How a command runs and ends: its answer on standard output, why it failed on standard error, and 0 or 1.

use super::{http::HttpError, session::SessionError};
use http::StatusCode;
use std::{
    future::Future,
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};
use zeroize::Zeroizing;

/// Longest line that is read from standard input: a password, with room.
const MAX_LINE: u64 = 4096;
/// How shells see a program that SIGINT (2) ended: 128 + 2.
const INTERRUPTED: u8 = 130;

/// Why a command did not do what was asked, in a sentence for a person.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No gateway to speak to.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The gateway said no, or nothing.
    #[error("{}", with_login(.0))]
    Http(#[from] HttpError),
    /// Standard output or input.
    #[error("{doing}: {source}")]
    Terminal {
        /// What failed.
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The person pressed Ctrl-C while something was waited for.
    #[error("interrupted")]
    Interrupted,
    /// Anything else.
    #[error("{0}")]
    Said(String),
}

impl Failure {
    /// A sentence.
    pub fn said(text: impl Into<String>) -> Self {
        Self::Said(text.into())
    }
}

/// Runs a command's work to its end.
pub fn run(work: impl Future<Output = Result<(), Failure>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(work),
        Err(source) => Err(Failure::Terminal {
            doing: "cannot start",
            source,
        }),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // `palisade user list | head`: the reader has what it wanted.
        Err(Failure::Terminal { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(Failure::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(failure) => {
            tell(&format!("error: {failure}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints what was asked for, to standard output.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|source| Failure::Terminal {
            doing: "cannot write to standard output",
            source,
        })
}

/// Tells a person something beside the answer, on standard error.
pub fn tell(line: &str) {
    // Nobody is left to tell if standard error is closed.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Whether somebody sits at a terminal and can be asked.
pub fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for `yes`; only on a terminal.
pub fn confirm(question: &str) -> Result<bool, Failure> {
    let mut err = io::stderr().lock();
    let asked = write!(err, "{question} [y/N] ").and_then(|()| err.flush());
    asked.map_err(terminal)?;
    let answer = read_line()?;
    Ok(matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// One line of standard input without its end: a password that a script gives.
pub fn read_line() -> Result<Zeroizing<String>, Failure> {
    use io::{BufRead as _, Read as _};
    let mut line = Zeroizing::new(String::new());
    let mut input = io::stdin().lock().take(MAX_LINE);
    input.read_line(&mut line).map_err(terminal)?;
    let end = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(end);
    Ok(line)
}

/// Asks for a password on the terminal, without showing it.
pub fn ask_password(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    rpassword::prompt_password(prompt)
        .map(Zeroizing::new)
        .map_err(terminal)
}

fn with_login(error: &HttpError) -> String {
    match error.code() {
        Some(StatusCode::UNAUTHORIZED) => {
            format!(
                "the gateway does not accept the session or token ({error}): run palisade login"
            )
        }
        Some(_) | None => error.to_string(),
    }
}

fn terminal(source: io::Error) -> Failure {
    Failure::Terminal {
        doing: "cannot ask on the terminal",
        source,
    }
}
