//! What became of the last reload of each source: for `/readyz?verbose`, the metrics and the log.

use super::metrics::{
    Metrics,
    labels::{ReloadOutcome, ReloadSource},
};
use crate::status::clock;
use jiff::Timestamp;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is read again, each whole or not at all and none held up by another: a policy with a mistake must
/// not let the certificate run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The configuration file.
    Config,
    /// `tls.cert_file` and `tls.key_file`.
    Certificate,
    /// The folder `policies`.
    Policy,
}

impl Source {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Config, Self::Certificate, Self::Policy];

    /// A word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Certificate => "certificate",
            Self::Policy => "policy",
        }
    }

    fn label(self) -> ReloadSource {
        match self {
            Self::Config => ReloadSource::Config,
            Self::Certificate => ReloadSource::Certificate,
            Self::Policy => ReloadSource::Policy,
        }
    }
}

/// Why a source was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Every mistake with its place, for the log.
    pub lines: Vec<String>,
}

impl Problem {
    /// One mistake.
    pub fn of(line: impl Into<String>) -> Self {
        Self {
            lines: vec![line.into()],
        }
    }

    /// The place of the first mistake, without what is written there: whoever may ask for health may not
    /// read the configuration.
    fn place(&self) -> &str {
        let first = self.lines.first().map_or("", String::as_str);
        first.split_once(": ").map_or(first, |(place, _)| place)
    }
}

/// What counts, and what was refused. One for the process.
pub struct Status {
    metrics: Arc<Metrics>,
    state: Mutex<State>,
}

struct State {
    generation: u64,
    sources: [SourceState; Source::ALL.len()],
}

struct SourceState {
    /// When what counts now was taken.
    since: Timestamp,
    /// Why the last try was not, and since when that is so.
    problem: Option<(Problem, Timestamp)>,
}

impl Status {
    /// At the start: everything was just taken.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        let now = clock::now();
        let state = State {
            generation: 1,
            sources: Source::ALL.map(|_| SourceState {
                since: now,
                problem: None,
            }),
        };
        let reloads = &metrics.reloads;
        reloads.generation.set(1);
        for source in Source::ALL {
            reloads.last_successful.set(source.label(), 1);
            reloads.last_success.set(source.label(), now.as_second());
        }
        Self {
            metrics,
            state: Mutex::new(state),
        }
    }

    /// These sources were taken, at one moment: the new generation.
    pub fn taken(&self, sources: &[Source]) -> u64 {
        let now = clock::now();
        let mut state = self.state();
        state.generation += 1;
        for source in sources {
            if let Some(own) = state.sources.get_mut(*source as usize) {
                own.since = now;
                own.problem = None;
            }
            let (source, reloads) = (source.label(), &self.metrics.reloads);
            reloads.tries.add(source, ReloadOutcome::Taken, 1);
            reloads.last_successful.set(source, 1);
            reloads.last_success.set(source, now.as_second());
        }
        let generation = state.generation;
        let shown = i64::try_from(generation).unwrap_or(i64::MAX);
        self.metrics.reloads.generation.set(shown);
        generation
    }

    /// What the source says is what counts already; whether it was refused before.
    pub fn as_before(&self, source: Source) -> bool {
        let mut state = self.state();
        let own = state.sources.get_mut(source as usize);
        let mended = own.and_then(|own| own.problem.take()).is_some();
        let gauge = &self.metrics.reloads.last_successful;
        gauge.set(source.label(), 1);
        mended
    }

    /// The source was not taken; whether that is news.
    pub fn refused(&self, source: Source, problem: &Problem) -> bool {
        let mut state = self.state();
        let Some(own) = state.sources.get_mut(source as usize) else {
            return false;
        };
        if own.problem.as_ref().is_some_and(|(old, _)| old == problem) {
            return false;
        }
        own.problem = Some((problem.clone(), clock::now()));
        let (source, reloads) = (source.label(), &self.metrics.reloads);
        reloads.tries.add(source, ReloadOutcome::Refused, 1);
        reloads.last_successful.set(source, 0);
        true
    }

    /// Whether the last try of some source was refused.
    pub fn has_problem(&self) -> bool {
        let state = self.state();
        state.sources.iter().any(|own| own.problem.is_some())
    }

    /// A line for `/readyz?verbose`; an error says that an old state is kept.
    pub fn line(&self, source: Source) -> Result<String, String> {
        let state = self.state();
        let Some(own) = state.sources.get(source as usize) else {
            return Ok(String::new());
        };
        let (generation, since) = (state.generation, clock::whole_seconds(own.since));
        match &own.problem {
            None => Ok(format!("since {since}, generation {generation}")),
            Some((problem, at)) => Err(format!(
                "that of {since} is kept: {} mistake(s) since {}, the first at {}; the log has them",
                problem.lines.len(),
                clock::whole_seconds(*at),
                problem.place()
            )),
        }
    }

    /// When what counts of a source was taken, and why the last try was not, with the time of that.
    pub fn of(&self, source: Source) -> (Timestamp, Option<(Problem, Timestamp)>) {
        let state = self.state();
        let own = state.sources.get(source as usize);
        own.map_or((Timestamp::UNIX_EPOCH, None), |own| {
            (own.since, own.problem.clone())
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
