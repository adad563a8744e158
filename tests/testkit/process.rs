//! Programs run by tests: every wait has a bound, and what a program said is in the test's failure.

use std::{
    fmt,
    io::{BufRead as _, BufReader, Read, Write as _},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver},
    },
    thread,
    time::{Duration, Instant},
};

/// Longest that one command may take: kubectl needs a second, on a busy machine perhaps ten.
const RUN_SECONDS: &str = "60";
/// Longest wait for one line of a program that stays, or for anything else that has to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at what has to come.
const POLL: Duration = Duration::from_millis(20);

/// What a command did.
pub(crate) struct Ran {
    command: String,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            command,
            code,
            stdout,
            stderr,
        } = self;
        write!(
            f,
            "{command}\nended with {code:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
        )
    }
}

impl Ran {
    /// Its standard output; it must have ended with 0.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self}");
        self.stdout
    }

    /// Its standard error, which must hold all of `wanted`; it must have failed.
    #[track_caller]
    pub(crate) fn refused(self, wanted: &[&str]) -> String {
        assert!(self.code.is_some_and(|code| code != 0), "{self}");
        for text in wanted {
            assert!(self.stderr.contains(text), "{text:?} is missing: {self}");
        }
        self.stderr
    }
}

/// Runs a command to its end.
pub(crate) fn run(command: &Command) -> Ran {
    run_with(command, "")
}

/// The same with this on its standard input.
pub(crate) fn run_with(command: &Command, input: &str) -> Ran {
    let mut child = bounded(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command can be run");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_owned();
    // A command that reads nothing breaks the pipe; what it says then is what counts.
    let writer = thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().expect("its output can be read");
    writer.join().expect("the writer ends");
    Ran {
        command: format!("{command:?}"),
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The command under `timeout` of coreutils, which ends it with 124.
fn bounded(command: &Command) -> Command {
    let mut bounded = Command::new("timeout");
    bounded
        .args(["--kill-after=5", RUN_SECONDS])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bounded.env(name, value),
            None => bounded.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        bounded.current_dir(folder);
    }
    bounded
}

/// A program that stays until it is dropped.
pub(crate) struct Running {
    command: String,
    child: Child,
    /// Behind a lock, so that threads can share it.
    lines: Mutex<Receiver<String>>,
    stderr: Text,
}

impl Running {
    /// Starts it; its standard input stays open.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command can be run");
        let (sender, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        // Both threads end with the program.
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let stderr = Text::read(child.stderr.take().expect("piped"));
        Self {
            command: format!("{command:?}"),
            child,
            lines: Mutex::new(lines),
            stderr,
        }
    }

    /// Writes to its standard input.
    pub(crate) fn write(&mut self, text: &str) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        stdin.write_all(text.as_bytes()).expect("it reads");
    }

    /// The first line of its standard output from here on that holds `wanted`.
    #[track_caller]
    pub(crate) fn line(&self, wanted: &str) -> String {
        let mut seen = String::new();
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match lines.recv_timeout(left) {
                Ok(line) if line.contains(wanted) => return line,
                Ok(line) => seen = seen + &line + "\n",
                Err(why) => panic!(
                    "no line with {wanted:?} ({why}): {}\n--- stdout\n{seen}--- stderr\n{}",
                    self.command,
                    self.stderr.get()
                ),
            }
        }
    }

    /// The lines of its standard output that nobody has taken yet.
    pub(crate) fn lines_now(&self) -> Vec<String> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.try_iter().collect()
    }

    /// What it has written to standard error.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.get()
    }

    /// Waits for its end; returns the exit code.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let child = &mut self.child;
        let ended = eventually(|| child.try_wait().expect("it is our child"));
        let ended = ended.unwrap_or_else(|| panic!("{} goes on", self.command));
        ended.code()
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails if it has ended, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Text that a thread collects.
#[derive(Clone, Default)]
struct Text(Arc<Mutex<String>>);

impl Text {
    fn read(from: impl Read + Send + 'static) -> Self {
        let text = Self::default();
        let writer = text.clone();
        thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                let mut text = writer.0.lock().unwrap_or_else(PoisonError::into_inner);
                text.push_str(&line);
                text.push('\n');
            }
        });
        text
    }

    fn get(&self) -> String {
        let text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        text.clone()
    }
}

/// Asks until there is an answer, for [`PATIENCE`].
pub(crate) fn eventually<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() > until {
            return None;
        }
        // Not a sleep: nobody sends, and the wait has a bound.
        let (_sender, nothing) = mpsc::channel::<()>();
        let _ = nothing.recv_timeout(POLL);
    }
}
