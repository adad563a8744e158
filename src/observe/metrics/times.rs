//! Where a request's time goes: into waiting for a connection, into waiting for the cluster, and the rest,
//! which is the gateway's own share.
//!
//! The parts exclude each other. A part that is not ended (the client went away, a bound passed) ends when
//! the whole is looked at.

use std::time::{Duration, Instant};

/// What is not the gateway's own share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// For a place on a connection: for one that is dialled, or for a place on one that is full.
    Connection,
    /// From the request's sending to the head of its answer.
    Response,
}

/// The parts of one request's time.
#[derive(Debug)]
pub struct Times {
    began: Instant,
    running: Option<(Part, Instant)>,
    connection: Option<Duration>,
    response: Option<Duration>,
}

impl Times {
    /// Begins now.
    pub fn begin() -> Self {
        Self {
            began: Instant::now(),
            running: None,
            connection: None,
            response: None,
        }
    }

    /// From now on time goes into this part.
    pub fn enter(&mut self, part: Part) {
        let now = Instant::now();
        self.close(now);
        self.running = Some((part, now));
    }

    /// From now on it is the gateway's own again.
    pub fn leave(&mut self) {
        self.close(Instant::now());
    }

    fn close(&mut self, now: Instant) {
        let Some((part, since)) = self.running.take() else {
            return;
        };
        let sum = match part {
            Part::Connection => &mut self.connection,
            Part::Response => &mut self.response,
        };
        *sum.get_or_insert_default() += now.saturating_duration_since(since);
    }

    /// Waiting for a connection; `None` if none was asked for.
    pub fn connection(&self) -> Option<Duration> {
        self.connection
    }

    /// Waiting for the cluster; `None` if nothing was sent.
    pub fn response(&self) -> Option<Duration> {
        self.response
    }

    /// The gateway's own share so far; ends the running part.
    pub fn own(&mut self) -> Duration {
        let now = Instant::now();
        self.close(now);
        let elsewhere = self.connection.unwrap_or_default() + self.response.unwrap_or_default();
        now.saturating_duration_since(self.began)
            .saturating_sub(elsewhere)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_exclude_each_other_and_the_last_one_is_ended() {
        let mut times = Times::begin();
        let whole = times.began;
        times.enter(Part::Connection);
        times.enter(Part::Response);
        times.leave();
        times.enter(Part::Connection);
        times.enter(Part::Response);
        let own = times.own();
        assert!(times.running.is_none());
        let parts = times.connection().unwrap() + times.response().unwrap();
        assert!(own + parts <= whole.elapsed());
    }

    #[test]
    fn what_was_not_asked_for_is_no_part() {
        let mut times = Times::begin();
        times.own();
        assert_eq!((times.connection(), times.response()), (None, None));
    }
}
