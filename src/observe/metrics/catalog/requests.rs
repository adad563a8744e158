//! Of requests: what clients asked for and what became of it.

use super::{CLUSTER, Kind, Metric, OWN_BUCKETS, STREAM, VERB, counter, gauge, label, metric};
use crate::observe::metrics::{cells::words, labels as l, meter};

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
    "Logins, by how they ended",
    "With a password, at a provider with a browser, and of terminals for which somebody said yes on a page. `refused` is 401, on \
     a page 403: many of them are people who mistype, or somebody who tries passwords. The three `throttled_…` \
     and `busy` are 429 (docs/login.md): `throttled_account` for one account from everywhere, `throttled_source` \
     from one address; if the address is a balancer's, set `login.source_tries` to 0.",
);

/// Steps of terminals' logins by way of a browser.
pub static TERMINAL_LOGINS: Metric = counter(
    "palisade_terminal_logins_total",
    &[
        label("way", words::<l::TerminalWay>),
        label("step", words::<l::TerminalStep>),
    ],
    "Logins of terminals by way of a browser, by what happened to them",
    "`device` are those by a code that is typed on a page, `browser` those that the browser of the terminal's own machine \
     brings back, `provider` those by a code that is typed at the provider, of which `given` and `withdrawn` are not heard \
     of here, and `expired` only where the provider says it before its time is over here. `begun` is a code that was made, of `browser` a question that somebody was shown (loading the page anew \
     counts again); `given` a yes, `refused` a no, `fetched` a session; `expired` that nobody answered in time, or that the \
     terminal did not come for its session; `withdrawn` that the terminal gave up first. Many more `begun` than `given` by \
     `device`, or than `fetched` by `provider`, are strangers who fill the place, or who send people codes; how the fetching ended is in \
     `palisade_logins_total` too.",
);

/// Accounts read again.
pub static REFRESHES: Metric = counter(
    "palisade_account_refreshes_total",
    &[label("result", words::<l::RefreshEnd>)],
    "Accounts that were read again at their providers, by what came of it",
    "`failed` counts a batch of up to 50 accounts where the directory did not answer, and one account where it answered \
     and that account cannot be read; both are tried again within half a minute. While it grows, the log says which it \
     is; after `refresh.max_age` the users are answered 503.",
);
