//! Of the way to clusters.

use super::{
    ANSWER_BUCKETS, CLUSTER, Kind, LINK, Metric, VERB, WAIT_BUCKETS, counter, gauge, label, metric,
};
use crate::observe::metrics::{cells::words, labels as l};

/// Registered clusters.
pub static CLUSTERS: Metric = gauge("palisade_clusters", &[], "Registered clusters", "");

/// Health of clusters.
pub static CLUSTER_HEALTH: Metric = gauge(
    "palisade_cluster_health",
    &[CLUSTER, label("health", words::<l::ClusterHealth>)],
    "Whether a cluster is in this state of health: 1 for the one that it is in, 0 for the others",
    "`ready`: it answers. `down`: it cannot be reached, or its registration cannot be used. `refused`: it does not take \
     the gateway's credential. `pending`: no credential was handed over yet. `unknown`: it was not asked yet.",
);

/// Expiry of credentials.
pub static CREDENTIAL_EXPIRY: Metric = gauge(
    "palisade_cluster_credential_expiry_timestamp_seconds",
    &[CLUSTER],
    "When the first of the gateway's two tokens for a cluster ends, in seconds since 1970",
    "They are renewed at two thirds of their life. Absent for a cluster without a credential.",
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
