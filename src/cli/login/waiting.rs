//! Waiting for a person at a browser: with an end, with a line that says how long, and gone at Ctrl-C.

use crate::cli::run::Failure;
use std::{
    future::Future,
    io::{self, IsTerminal as _, Write as _},
    pin::pin,
    time::Duration,
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, interval, sleep_until},
};

/// How often the line is written anew.
const TICK: Duration = Duration::from_secs(1);
/// Back to the line's start, and nothing on it (ECMA-48).
const CLEAR: &str = "\r\x1b[2K";

/// One person's time to answer in.
pub(super) struct Waiting {
    until: Instant,
    /// From here on Ctrl-C is this program's to handle: what it does between two waits is done to its end, so
    /// that no session is made that nothing knows of.
    interrupt: Signal,
    on_terminal: bool,
}

impl Waiting {
    /// Begins now.
    pub(super) fn begin(limit: Duration) -> Result<Self, Failure> {
        let interrupt = signal(SignalKind::interrupt());
        Ok(Self {
            until: Instant::now() + limit,
            interrupt: interrupt.map_err(|source| Failure::Terminal {
                doing: "cannot listen for Ctrl-C",
                source,
            })?,
            on_terminal: io::stderr().is_terminal(),
        })
    }

    /// Does this, unless the time is over before, or the person gives up.
    pub(super) async fn until<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Failure> {
        let mut work = pin!(work);
        let mut tick = interval(TICK);
        let done = loop {
            tokio::select! {
                done = &mut work => break Ok(done),
                _ = self.interrupt.recv() => break Err(Failure::Interrupted),
                () = sleep_until(self.until) => break Err(over()),
                _ = tick.tick(), if self.on_terminal => self.show(),
            }
        };
        if self.on_terminal {
            write(CLEAR);
        }
        done
    }

    fn show(&self) {
        let left = self.until.saturating_duration_since(Instant::now());
        let (minutes, seconds) = (left.as_secs() / 60, left.as_secs() % 60);
        write(&format!(
            "{CLEAR}Waiting for the browser, {minutes}:{seconds:02} left. Ctrl-C gives up."
        ));
    }
}

fn over() -> Failure {
    Failure::said("nobody confirmed the login in time: run palisade login again")
}

fn write(text: &str) {
    let mut err = io::stderr().lock();
    // Nobody is left to tell if standard error is closed.
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    #[tokio::test(start_paused = true)]
    async fn a_person_who_never_answers_is_not_waited_for_without_end() {
        let mut waiting = Waiting::begin(Duration::from_mins(10)).unwrap();
        let began = Instant::now();
        assert!(waiting.until(async {}).await.is_ok());
        let over = waiting.until(pending::<()>()).await.unwrap_err();
        assert!(over.to_string().contains("in time"), "{over}");
        assert!(began.elapsed() < Duration::from_mins(10) + TICK);
    }
}
