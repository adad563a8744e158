//! Every metric: its name, type, labels and what it tells. docs/metrics.md is made from this, and nothing
//! can be shown that is not here.
//!
//! Names and units are Prometheus' own conventions: base units in the name, `_total` on what only grows.
//! Every label has values that are known beforehand, but `cluster`, whose values are the names of registered
//! clusters, up to a bound ([`super::meter::CLUSTERS`]). No user, token, path, namespace or address is a
//! label.

use super::{cells::words, labels as l, meter};

/// One metric.
#[derive(Debug)]
pub struct Metric {
    /// With its unit, and `_total` or `_info`.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// In the order of their values.
    pub labels: &'static [Label],
    /// One sentence, without its full stop.
    pub help: &'static str,
    /// What else to know; for the document alone.
    pub more: &'static str,
}

/// What a metric is.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Only grows, from 0 at the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations, sorted into buckets with these upper bounds in seconds.
    Histogram(&'static [f64]),
    /// Text that stays the same; its value is 1.
    Info,
}

/// One label.
#[derive(Clone, Copy, Debug)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// What it can be.
    pub values: Values,
}

/// What a label can be.
#[derive(Clone, Copy, Debug)]
pub enum Values {
    /// One of these words.
    Words(fn() -> Vec<String>),
    /// The name of a registered cluster, or a word that no cluster can have as its name.
    Cluster,
    /// Only of [`Kind::Info`]: something about the program.
    Text(&'static str),
}

/// From a cached decision to a login that waits for its hash.
pub const OWN_BUCKETS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0,
    5.0,
];
/// From a cached object next door to the API server's own limit of a minute.
pub const ANSWER_BUCKETS: &[f64] = &[
    0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];
/// From a free place to [`crate`]'s bound on the wait for one, ten seconds.
pub const WAIT_BUCKETS: &[f64] = &[0.000_1, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0];

const fn label(name: &'static str, values: fn() -> Vec<String>) -> Label {
    Label {
        name,
        values: Values::Words(values),
    }
}

const CLUSTER: Label = Label {
    name: "cluster",
    values: Values::Cluster,
};
const VERB: Label = label("verb", words::<l::Verb>);
const RELOAD: Label = label("source", words::<l::ReloadSource>);
const STREAM: Label = label("kind", words::<l::StreamKind>);
const LINK: Label = label("kind", words::<l::LinkKind>);

type Labels = &'static [Label];
type Text = &'static str;

const fn metric(kind: Kind, name: Text, labels: Labels, help: Text, more: Text) -> Metric {
    Metric {
        name,
        kind,
        labels,
        help,
        more,
    }
}

const fn counter(name: Text, labels: Labels, help: Text, more: Text) -> Metric {
    metric(Kind::Counter, name, labels, help, more)
}

const fn gauge(name: Text, labels: Labels, help: Text, more: Text) -> Metric {
    metric(Kind::Gauge, name, labels, help, more)
}

/// Requests, at their end.
pub static REQUESTS: Metric = counter(
    "palisade_requests_total",
    &[
        CLUSTER,
        VERB,
        label("code", meter::codes),
        label("fault", words::<l::Blame>),
    ],
    "Requests that have ended, by the status of their answer and who is at fault",
    "Counted when the answer's last byte went out or the client went away, so a watch counts when it ends. \
     `code` is 499 if the client left before there was an answer. `fault` is `none` where the answer is a \
     success or the cluster's own: a 403 with `fault=\"client\"` was said by the gateway, one with \
     `fault=\"none\"` by the cluster. `delete` includes deletecollection; `connect` is exec, attach, \
     port-forward and proxy; `path` is what is no resource, such as discovery; `none` was refused before it was \
     known what it asks for.",
);

/// Requests that came in.
pub static REQUESTS_RECEIVED: Metric = counter(
    "palisade_requests_received_total",
    &[],
    "Requests that came in, counted when their head was read",
    "",
);

/// Requests under way.
pub static IN_FLIGHT: Metric = gauge(
    "palisade_requests_in_flight",
    &[CLUSTER],
    "Requests that are under way, open streams not among them",
    "",
);

/// The gateway's own share.
pub static OWN_SHARE: Metric = metric(
    Kind::Histogram(OWN_BUCKETS),
    "palisade_request_gateway_seconds",
    &[label("route", words::<l::Route>)],
    "The gateway's own share of a request's time, up to the head of its answer",
    "From the moment at which the request's head was read to the moment at which the answer's head is handed to \
     the client's connection, less the waiting for a connection (`palisade_upstream_wait_seconds`) and the \
     waiting for the cluster (`palisade_upstream_response_seconds`): the three never overlap. Bodies are not in \
     it: they pass as they come, at the pace of the slower side. So a stream's share is what its beginning cost. \
     For the gateway's own API and for logins it is the whole time, their store writes and password hashes \
     included.",
);

/// The cluster's time.
pub static RESPONSES: Metric = metric(
    Kind::Histogram(ANSWER_BUCKETS),
    "palisade_upstream_response_seconds",
    &[CLUSTER, VERB],
    "Time from sending a request to a cluster to the head of its answer",
    "Requests that got no answer (lost, timed out) are in it with the time that they waited. An API server \
     answers a write when it has read the body, so a client that uploads slowly is in it too.",
);

/// Waiting for a connection.
pub static WAITS: Metric = metric(
    Kind::Histogram(WAIT_BUCKETS),
    "palisade_upstream_wait_seconds",
    &[CLUSTER],
    "Time that a request waited for a connection to its cluster",
    "Next to nothing where a connection is open and has room; a whole TCP and TLS handshake where one was \
     dialled for it, as for every exec, attach and port-forward.",
);

/// Open streams.
pub static STREAMS_OPEN: Metric = gauge(
    "palisade_streams_open",
    &[CLUSTER, STREAM],
    "Streams that are open",
    "What stays open: watch, `logs -f`, exec, attach, port-forward, and whatever goes to an application under a \
     `proxy` subresource. It is one from the head of a successful answer on.",
);

/// All streams.
pub static STREAMS: Metric = counter(
    "palisade_streams_total",
    &[CLUSTER, STREAM],
    "Streams that were opened",
    "",
);

/// Bytes of streams.
pub static STREAM_BYTES: Metric = counter(
    "palisade_stream_bytes_total",
    &[CLUSTER, STREAM, label("direction", words::<l::Direction>)],
    "Bytes that streams carried, counted while they are open",
    "`to_cluster` counts streams that switched protocols (exec, attach, port-forward, WebSockets); what is sent \
     as a request's body is not in it. Payload as it goes through: compression by the two ends stays.",
);

/// Open connections to clusters.
pub static LINKS_OPEN: Metric = gauge(
    "palisade_upstream_connections_open",
    &[CLUSTER, LINK],
    "Connections to clusters that are open, those of health probes not among them",
    "",
);

/// Dials.
pub static DIALS: Metric = counter(
    "palisade_upstream_handshakes_total",
    &[CLUSTER, LINK, label("result", words::<l::DialEnd>)],
    "Attempts to connect to a cluster, by how they ended",
    "`done`: a TLS handshake. With `kind=\"short\"` there should be few of them for a thousand requests. \
     `forbidden`: the name has only addresses that the gateway never dials.",
);

/// Requests without an answer.
pub static FAILURES: Metric = counter(
    "palisade_upstream_failures_total",
    &[CLUSTER, label("reason", words::<l::UpstreamFailure>)],
    "Permitted requests that got no answer from their cluster",
    "`down`: the cluster is known to be away, so nothing was tried. `not_ready`: it has no credential, or its \
     registration cannot be used. `not_sent`: the gateway could not build the request, for instance because of too \
     many roles.",
);

/// Retries.
pub static RETRIES: Metric = counter(
    "palisade_upstream_retries_total",
    &[CLUSTER],
    "Requests that were sent to a cluster once more",
    "Only what the cluster certainly did not process (GOAWAY), or what only reads and has no body.",
);

/// Credentials.
pub static AUTHENTICATIONS: Metric = counter(
    "palisade_authentications_total",
    &[label("result", words::<l::Authentication>)],
    "Credentials of requests, by what became of them",
    "`loading` and `unreadable` are answered 503: it could not be told whose they are. All others but `accepted` \
     are 401, `ambiguous` 400.",
);

/// Decisions.
pub static AUTHORIZATIONS: Metric = counter(
    "palisade_authorizations_total",
    &[label("result", words::<l::Authorization>)],
    "Decisions of the policy",
    "Requests to clusters and to the gateway's own API. All but `allowed` are answered 403.",
);

/// Logins.
pub static LOGINS: Metric = counter(
    "palisade_logins_total",
    &[label("result", words::<l::LoginEnd>)],
    "Logins with a password, by how they ended",
    "`refused` is 401: many of them are people who mistype, or somebody who tries passwords. The three `throttled_…` \
     and `busy` are 429 (docs/login.md): `throttled_account` for one account from everywhere, `throttled_source` \
     from one address; if the address is a balancer's, set `login.source_tries` to 0.",
);

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

/// Reloads.
pub static RELOADS: Metric = counter(
    "palisade_reloads_total",
    &[RELOAD, label("outcome", words::<l::ReloadOutcome>)],
    "Tries to take a changed configuration file or certificate",
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

/// Expiry of the server's certificate.
pub static CERTIFICATE_EXPIRY: Metric = gauge(
    "palisade_tls_certificate_not_after_timestamp_seconds",
    &[],
    "When the certificate that clients are shown ends, in seconds since 1970",
    "The first of `tls.cert_file`. Absent if it cannot be read from it.",
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

/// Tasks of the runtime.
pub static RUNTIME_TASKS: Metric = gauge(
    "palisade_runtime_tasks",
    &[],
    "Tasks that run or wait: some for each connection and stream, and those in the background",
    "One that only ever grows is a leak.",
);

/// Start of the process.
pub static PROCESS_START: Metric = gauge(
    "process_start_time_seconds",
    &[],
    "When the gateway started, in seconds since 1970",
    "",
);

/// All metrics, in the order of the document.
pub static ALL: &[&Metric] = &[
    &REQUESTS,
    &REQUESTS_RECEIVED,
    &IN_FLIGHT,
    &OWN_SHARE,
    &RESPONSES,
    &WAITS,
    &STREAMS_OPEN,
    &STREAMS,
    &STREAM_BYTES,
    &AUTHENTICATIONS,
    &AUTHORIZATIONS,
    &LOGINS,
    &LINKS_OPEN,
    &DIALS,
    &FAILURES,
    &RETRIES,
    &CONNECTIONS_OPEN,
    &HANDSHAKES,
    &CERTIFICATE_EXPIRY,
    &RELOADS,
    &RELOAD_SUCCESSFUL,
    &RELOAD_SUCCESS,
    &RELOAD_GENERATION,
    &BUILD,
    &PROCESS_CPU,
    &PROCESS_MEMORY,
    &PROCESS_FDS,
    &PROCESS_MAX_FDS,
    &PROCESS_THREADS,
    &RUNTIME_TASKS,
    &PROCESS_START,
];
