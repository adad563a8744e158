//! Of the process, under the names that Prometheus' own client libraries give them.

use super::{Metric, counter, gauge};

/// CPU time of the process.
pub static PROCESS_CPU: Metric = counter(
    "process_cpu_seconds_total",
    &[],
    "User and system CPU time of the process",
    "",
);

/// Resident memory of the process.
pub static PROCESS_MEMORY: Metric = gauge(
    "process_resident_memory_bytes",
    &[],
    "Resident memory of the process",
    "",
);

/// Open file descriptors of the process.
pub static PROCESS_FDS: Metric = gauge(
    "process_open_fds",
    &[],
    "Open file descriptors of the process",
    "",
);

/// Bound on them.
pub static PROCESS_MAX_FDS: Metric = gauge(
    "process_max_fds",
    &[],
    "File descriptors that the process may have open",
    "",
);

/// Threads of the process.
pub static PROCESS_THREADS: Metric = gauge("process_threads", &[], "Threads of the process", "");

/// Start of the process.
pub static PROCESS_START: Metric = gauge(
    "process_start_time_seconds",
    &[],
    "When the gateway started, in seconds since 1970",
    "",
);

/// Tasks of the runtime.
pub static RUNTIME_TASKS: Metric = gauge(
    "palisade_runtime_tasks",
    &[],
    "Tasks that run or wait: some for each connection and stream, and those in the background",
    "One that only ever grows is a leak.",
);
