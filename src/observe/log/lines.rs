//! Lines on their way out: one buffer, one thread that writes.
//!
//! A write of its own for each line would be a system call for each request. So the writer, woken by the
//! first line, waits a moment and takes all that have come together. What comes while nobody reads is kept
//! up to a bound; then whole lines are dropped and counted, never parts of them.

use std::{
    io::Write,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Lines that are kept while they cannot be written: some ten thousand.
const KEPT: usize = 4 << 20;
/// How long the writer lets lines gather. A person who follows the log does not notice it, and at most fifty
/// writes a second are made, however many the lines.
const GATHER: Duration = Duration::from_millis(20);
/// How long the end of a process waits for its last lines: a reader that lives takes them in microseconds.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Takes lines, and never waits for whoever reads them.
pub(super) struct Lines {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// There are lines, and the writer sleeps; or it need not gather any more.
    come: Condvar,
    /// All lines are written.
    written: Condvar,
}

#[derive(Default)]
struct State {
    text: Vec<u8>,
    lost: u64,
    /// The writer sleeps until a line comes.
    asleep: bool,
    /// The writer has lines in its hands.
    writing: bool,
    /// Nobody waits for company any more.
    ending: bool,
}

impl Lines {
    /// Starts a writer to `out`. If the system gives no thread, every line is lost, and nobody can be told.
    pub(super) fn to(out: impl Write + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let of_writer = Arc::clone(&shared);
        let started = std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || of_writer.write_to(out));
        drop(started);
        Self { shared }
    }

    /// Hands over one line, with its end.
    pub(super) fn push(&self, line: &str) {
        let mut state = self.shared.state();
        if state.text.len() + line.len() > KEPT {
            state.lost += 1;
            return;
        }
        state.text.extend_from_slice(line.as_bytes());
        if std::mem::take(&mut state.asleep) {
            drop(state);
            self.shared.come.notify_one();
        }
    }

    /// Waits until everything is written, at most [`LAST_WORDS`].
    pub(super) fn finish(&self) {
        let end = Instant::now() + LAST_WORDS;
        let mut state = self.shared.state();
        state.ending = true;
        self.shared.come.notify_one();
        while !state.text.is_empty() || state.writing {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = wait(&self.shared.written, state, left);
        }
        state.ending = false;
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Text is appended whole or not at all, also if a panic comes between.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_to(&self, mut out: impl Write) {
        let mut text = Vec::new();
        loop {
            let lost = self.take(&mut text);
            // There is nobody to tell of a standard error that is closed.
            let _ = out.write_all(&text);
            if lost > 0 {
                let _ = writeln!(out, "{lost} log lines were lost: nobody read them in time");
            }
            let _ = out.flush();
            text.clear();
        }
    }

    /// Waits for lines, lets them gather, and swaps them for the empty `text`.
    fn take(&self, text: &mut Vec<u8>) -> u64 {
        let mut state = self.state();
        state.writing = false;
        if state.text.is_empty() {
            self.written.notify_all();
        }
        while state.text.is_empty() {
            state.asleep = true;
            state = self
                .come
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.asleep = false;
        let end = Instant::now() + GATHER;
        while !state.ending {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = wait(&self.come, state, left);
        }
        std::mem::swap(&mut state.text, text);
        state.writing = true;
        std::mem::take(&mut state.lost)
    }
}

fn wait<'s>(
    signal: &Condvar,
    state: MutexGuard<'s, State>,
    most: Duration,
) -> MutexGuard<'s, State> {
    let waited = signal.wait_timeout(state, most);
    waited.unwrap_or_else(PoisonError::into_inner).0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Tells what was written, and blocks in the first write until it may go on.
    struct Slow {
        told: mpsc::Sender<Vec<u8>>,
        go_on: mpsc::Receiver<()>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.go_on.recv();
            let _ = self.told.send(bytes.to_vec());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn slow() -> (Lines, mpsc::Receiver<Vec<u8>>, mpsc::Sender<()>) {
        let (told, hears) = mpsc::channel();
        let (sends, go_on) = mpsc::channel();
        (Lines::to(Slow { told, go_on }), hears, sends)
    }

    #[test]
    fn lines_come_out_whole_and_in_order() {
        let (lines, hears, go_on) = slow();
        drop(go_on);
        let mut expected = String::new();
        for number in 0..1000 {
            let line = format!("line {number}\n");
            lines.push(&line);
            expected.push_str(&line);
        }
        lines.finish();
        let text: Vec<u8> = hears.try_iter().flatten().collect();
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }

    #[test]
    fn a_reader_that_stops_costs_lines_and_no_request() {
        let (lines, hears, go_on) = slow();
        let line = format!("{}\n", "x".repeat(1023));
        // The writer takes at most one buffer away, and holds it.
        for _ in 0..3 * KEPT / line.len() {
            lines.push(&line);
        }
        drop(go_on);
        lines.finish();
        let text: Vec<u8> = hears.try_iter().flatten().collect();
        let text = String::from_utf8(text).unwrap();
        let whole = text.lines().filter(|found| found.len() == 1023).count();
        assert!(whole >= KEPT / line.len(), "{whole}");
        let lost = text
            .lines()
            .find_map(|found| found.split_once(" log lines were lost"));
        let lost: usize = lost.unwrap().0.parse().unwrap();
        assert_eq!(whole + lost, 3 * KEPT / line.len());
    }
}
