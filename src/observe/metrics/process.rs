//! What the kernel says of this process.
//!
//! Read at every scrape. What cannot be read (a `/proc` that is not there) is left out.

use super::{catalog as c, page::Page};
use crate::status::clock;
use jiff::Timestamp;
use rustix::{
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};
use std::{fmt, fs, time::Duration};

/// This process.
#[derive(Debug)]
pub(super) struct Process {
    started: Timestamp,
}

impl Process {
    pub(super) fn new() -> Self {
        Self {
            started: clock::now(),
        }
    }

    pub(super) fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let cpu = Duration::try_from(cpu).unwrap_or_default();
        page.family(&c::PROCESS_CPU, |f| f.sum(&[], cpu.as_secs_f64()))?;
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let gauges = [
            (
                &c::PROCESS_MEMORY,
                field(&status, "VmRSS:").map(|kib| kib * 1024),
            ),
            (&c::PROCESS_FDS, descriptors()),
            (
                &c::PROCESS_MAX_FDS,
                getrlimit(Resource::Nofile)
                    .current
                    .and_then(|most| i64::try_from(most).ok()),
            ),
            (&c::PROCESS_THREADS, field(&status, "Threads:")),
            (&c::RUNTIME_TASKS, tasks()),
        ];
        for (metric, value) in gauges {
            if let Some(value) = value {
                page.family(metric, |f| f.gauge(&[], value))?;
            }
        }
        let started = self.started.as_duration().as_secs_f64();
        page.family(&c::PROCESS_START, |f| f.level(&[], started))
    }
}

/// The number behind a name in `/proc/self/status`.
fn field(status: &str, name: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// How many the runtime has; none where there is no runtime.
fn tasks() -> Option<i64> {
    let runtime = tokio::runtime::Handle::try_current().ok()?;
    i64::try_from(runtime.metrics().num_alive_tasks()).ok()
}

/// How many are open. The kernel knows since 6.2 (the folder's size); before, they are counted.
fn descriptors() -> Option<i64> {
    let folder = "/proc/self/fd";
    let size = fs::metadata(folder).ok()?.len();
    let open = if size > 0 {
        size
    } else {
        // The one that reads the folder is open itself.
        u64::try_from(fs::read_dir(folder).ok()?.count()).ok()? - 1
    };
    i64::try_from(open).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_numbers_behind_their_names() {
        let status = "Name:\tx\nVmRSS:\t    1234 kB\nThreads:\t3\n";
        assert_eq!(field(status, "VmRSS:"), Some(1234));
        assert_eq!(field(status, "Threads:"), Some(3));
        assert_eq!(field(status, "Other:"), None);
    }

    #[test]
    fn open_descriptors_are_counted() {
        let before = descriptors().unwrap();
        let files: Vec<_> = (0..50)
            .map(|_| fs::File::open("/proc/self/status").unwrap())
            .collect();
        // Other tests of this process open and close some meanwhile.
        let after = descriptors().unwrap();
        assert!(before > 0 && after > before, "{before} {after}");
        drop(files);
    }
}
