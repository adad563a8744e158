//! Where a request's time goes: into waiting for a connection, into waiting for the cluster, and the rest,
//! which is the gateway's own share.
//!
//! The parts exclude each other. A part that is not ended (the client went away, a bound passed) ends when
//! the whole is looked at. If the request is traced, its trace is told of them.

use crate::observe::trace::{Onward, Step, Trace};
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
pub struct Times {
    began: Instant,
    running: Option<(Part, Instant)>,
    connection: Option<Duration>,
    response: Option<Duration>,
    trace: Option<Box<Trace>>,
}

impl Times {
    /// Begins now; `trace` is there if the request is traced.
    pub fn begin(trace: Option<Box<Trace>>) -> Self {
        Self {
            began: Instant::now(),
            running: None,
            connection: None,
            response: None,
            trace,
        }
    }

    /// A step of the gateway's own begins, which nothing but a trace tells apart.
    pub fn step(&mut self, step: Step) {
        if let Some(trace) = &mut self.trace {
            trace.enter(step, Instant::now());
        }
    }

    /// That step ends.
    pub fn end_step(&mut self) {
        if let Some(trace) = &mut self.trace {
            trace.leave(Instant::now());
        }
    }

    /// The gateway knows who sends the request.
    pub fn known_client(&mut self) {
        if let Some(trace) = &mut self.trace {
            trace.known_client();
        }
    }

    /// What the cluster is told of the trace, if there is one.
    pub fn onward(&self) -> Option<Onward> {
        self.trace.as_deref().map(Trace::onward)
    }

    /// The request fails where it is now.
    pub fn failed(&mut self) {
        if let Some(trace) = &mut self.trace {
            trace.fail();
        }
    }

    /// The trace, if the request is traced and this was not asked before.
    pub fn take_trace(&mut self) -> Option<Box<Trace>> {
        self.trace.take()
    }

    /// From now on time goes into this part.
    pub fn enter(&mut self, part: Part) {
        let now = Instant::now();
        self.close(now);
        self.running = Some((part, now));
        if let Some(trace) = &mut self.trace {
            let step = match part {
                Part::Connection => Step::Connection,
                Part::Response => Step::Response,
            };
            trace.enter(step, now);
        }
    }

    /// From now on it is the gateway's own again.
    pub fn leave(&mut self) {
        self.close(Instant::now());
    }

    fn close(&mut self, now: Instant) {
        if let Some(trace) = &mut self.trace {
            trace.leave(now);
        }
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
        let mut times = Times::begin(None);
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
    fn without_a_trace_nothing_is_allocated() {
        let counted = allocation_counter::measure(|| {
            let mut times = Times::begin(None);
            times.step(Step::Authentication);
            times.end_step();
            times.known_client();
            times.enter(Part::Connection);
            times.enter(Part::Response);
            assert!(times.onward().is_none());
            times.failed();
            times.own();
            assert!(times.take_trace().is_none());
        });
        assert_eq!(counted.count_total, 0);
    }

    #[test]
    fn what_was_not_asked_for_is_no_part() {
        let mut times = Times::begin(None);
        times.own();
        assert_eq!((times.connection(), times.response()), (None, None));
    }
}
