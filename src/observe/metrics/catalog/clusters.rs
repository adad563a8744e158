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

/// In step or not.
pub static CLUSTER_STEP: Metric = gauge(
    "palisade_cluster_step",
    &[CLUSTER, label("state", words::<l::ClusterStep>)],
    "Whether a cluster's roles and bindings are in this state: 1 for the one that they are in, 0 for the others",
    "`in_step`: it holds what policy says. `behind`: something is still to be written, or cannot be. `unknown`: it was not \
     read yet, or cannot be read at the moment. `palisade cluster show` says what and why.",
);

/// How far behind.
pub static CLUSTER_BEHIND: Metric = gauge(
    "palisade_cluster_objects_behind",
    &[CLUSTER],
    "Roles and bindings of a cluster that differ from what policy says",
    "",
);

/// Bindings of others.
pub static CLUSTER_FOREIGN: Metric = gauge(
    "palisade_cluster_foreign_bindings",
    &[CLUSTER],
    "Bindings in a cluster that the gateway did not make and that name a group of the gateway's",
    "Whoever made one gives people of the gateway more than policy says. They are left alone; `palisade cluster show` \
     names them.",
);

/// Writes.
pub static CLUSTER_WRITES: Metric = counter(
    "palisade_cluster_writes_total",
    &[CLUSTER, label("result", words::<l::ClusterWrite>)],
    "Writes of a cluster's roles and bindings, by what became of them",
    "`failed` ones are tried again, ever more seldom. 0 while nothing changes: giving somebody a role is no write.",
);

/// Drift.
pub static CLUSTER_DRIFT: Metric = counter(
    "palisade_cluster_drift_total",
    &[CLUSTER],
    "Roles and bindings of a cluster that were put back, or taken away, because somebody else had changed them",
    "",
);

/// Lists.
pub static CLUSTER_LISTS: Metric = counter(
    "palisade_cluster_lists_total",
    &[CLUSTER],
    "How often one kind of a cluster's objects was read as a whole",
    "Four at first: namespaces, cluster roles, cluster role bindings, role bindings. After that they are watched, and read \
     anew only after a break that is too long for a watch.",
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
    "`down`: the cluster is known to be away, so nothing was tried. `not_ready`: it has no credential, its \
     registration cannot be used, or it was not read yet since the start. `not_sent`: the gateway could not build the request, for instance because of too \
     many roles.",
);

/// Retries.
pub static RETRIES: Metric = counter(
    "palisade_upstream_retries_total",
    &[CLUSTER],
    "Requests that were sent to a cluster once more",
    "Only what the cluster certainly did not process (GOAWAY), or what only reads and has no body.",
);
