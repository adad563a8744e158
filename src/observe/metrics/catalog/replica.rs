//! Of this replica: its clients' connections, its store, what it reads again.

use super::{Kind, Label, Metric, RELOAD, Values, counter, gauge, label, metric};
use crate::observe::metrics::{cells::words, labels as l};

/// Client connections that are open.
pub static CONNECTIONS_OPEN: Metric = gauge(
    "palisade_connections_open",
    &[],
    "Client connections that are open, those in their TLS handshake included",
    "Bounded by `limits.connections`: at the bound, new clients wait in the kernel's queue.",
);

/// Client handshakes.
pub static HANDSHAKES: Metric = counter(
    "palisade_handshakes_total",
    &[label("result", words::<l::HandshakeEnd>)],
    "TLS handshakes with clients, by how they ended",
    "`failed`: the two could not agree, or the client broke it off (a load balancer's TCP probe, a client that \
     does not trust the certificate). `timed_out`: `tls.handshake_timeout` was over.",
);

/// Expiry of the server's certificate.
pub static CERTIFICATE_EXPIRY: Metric = gauge(
    "palisade_tls_certificate_not_after_timestamp_seconds",
    &[],
    "When the certificate that clients are shown ends, in seconds since 1970",
    "The first of `tls.cert_file`. Absent if it cannot be read from it.",
);

/// Password hashes.
pub static HASHES_RUNNING: Metric = gauge(
    "palisade_password_hashes_running",
    &[],
    "Password hashes that are being computed",
    "Bounded by `login.hash_concurrency`.",
);

/// Password hashes that wait.
pub static HASHES_WAITING: Metric = gauge(
    "palisade_password_hashes_waiting",
    &[],
    "Password hashes that wait for their turn",
    "Bounded by `login.hash_queue`; what comes above is answered 429.",
);

/// The store's revision.
pub static STORE_REVISION: Metric = gauge(
    "palisade_store_revision",
    &[],
    "Revision of the store, as this replica last heard of it",
    "While it is above `palisade_store_applied_revision` this replica works with what was written before.",
);

/// Revision that this replica works with.
pub static STORE_APPLIED: Metric = gauge(
    "palisade_store_applied_revision",
    &[],
    "Revision of the store that this replica works with",
    "It grows by one with every write, on all replicas alike.",
);

/// Age of the view.
pub static STORE_AGE: Metric = gauge(
    "palisade_store_view_age_seconds",
    &[],
    "Time since this replica certainly had all that the store had",
    "The store is asked every second, so it stays below 2 while the store answers. Above 10 `/readyz` fails. Absent until \
     the store was read for the first time.",
);

/// Following broke off.
pub static STORE_BREAKS: Metric = counter(
    "palisade_store_follow_breaks_total",
    &[],
    "How often following the store broke off; it is then read anew",
    "",
);

/// Reloads.
pub static RELOADS: Metric = counter(
    "palisade_reloads_total",
    &[RELOAD, label("outcome", words::<l::ReloadOutcome>)],
    "Tries to take a changed configuration file, certificate or policy folder",
    "",
);

/// Whether the last reload was taken.
pub static RELOAD_SUCCESSFUL: Metric = gauge(
    "palisade_reload_last_successful",
    &[RELOAD],
    "1 if the last try was taken, 0 if the old state was kept",
    "The log says what is wrong.",
);

/// When it was.
pub static RELOAD_SUCCESS: Metric = gauge(
    "palisade_reload_last_success_timestamp_seconds",
    &[RELOAD],
    "When what counts now was taken, in seconds since 1970",
    "",
);

/// Generation of the configuration.
pub static RELOAD_GENERATION: Metric = gauge(
    "palisade_reload_generation",
    &[],
    "1 at the start, and one more whenever something new was taken",
    "",
);

/// The running program.
pub static BUILD: Metric = metric(
    Kind::Info,
    "palisade_build_info",
    &[Label {
        name: "version",
        values: Values::Text("the program's version"),
    }],
    "The running program",
    "",
);

/// Audit lines that wait.
pub static AUDIT_QUEUE: Metric = gauge(
    "palisade_audit_queue_length",
    &[],
    "Lines of the audit log that wait to be written",
    "Bounded by `audit.queue`: at the bound requests are refused, unless `danger_audit_best_effort` is set.",
);

/// Audit lines.
pub static AUDIT_EVENTS: Metric = counter(
    "palisade_audit_events_total",
    &[label("result", words::<l::AuditEnd>)],
    "Lines of the audit log, by what became of them",
    "`dropped`: lost under `danger_audit_best_effort`, or when the process ended. `left_out`: about requests of strangers, \
     beyond the rate at which those are recorded.",
);

/// Requests refused for the audit log's sake.
pub static AUDIT_REFUSALS: Metric = counter(
    "palisade_audit_refusals_total",
    &[],
    "Requests that were answered 503 because they could not have been recorded",
    "",
);

/// Failed writes of the audit log.
pub static AUDIT_FAILURES: Metric = counter(
    "palisade_audit_write_failures_total",
    &[],
    "Attempts to write the audit log that failed",
    "",
);

/// Whether the audit log fails.
pub static AUDIT_FAILING: Metric = gauge(
    "palisade_audit_failing",
    &[],
    "1 while the audit log cannot be written, else 0",
    "",
);

/// Spans.
pub static SPANS: Metric = counter(
    "palisade_trace_spans_total",
    &[label("result", words::<l::SpanEnd>)],
    "Spans of traced requests, by what became of them",
    "All but `exported` are lost. `queue_full`: too many waited for the collector. `not_sent`: it could not be reached, or \
     did not take them in time. `refused`: it would not have them. All 0 while nothing is traced.",
);
