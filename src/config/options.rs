//! Every option of the configuration file: its path, its range, and what it is for.

use std::time::Duration;

mod providers;

pub use providers::PROVIDER_OPTIONS;

/// What may be written.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// `ADDRESS:PORT`.
    Address,
    /// `ADDRESS:PORT`, or nothing.
    AddressOrNone,
    /// An `https://` URL without a path.
    Url,
    /// An `http://` or `https://` URL without a path.
    Collector,
    /// A DNS name.
    Domain,
    /// A file or a folder; relative ones start at the folder of the configuration file.
    Path,
    /// `90s`, `16h`, `7d`.
    Duration(Duration, Duration),
    /// `64KiB`, `100MiB`, `1GiB`.
    Size(u64, u64),
    /// A whole number in this range.
    Number(u64, u64),
    /// `true` or `false`.
    Switch,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Any text.
    Text,
    /// A list of texts.
    Texts,
    /// A map of providers by name: what each has is in [`PROVIDER_OPTIONS`].
    Providers,
}

/// What it takes for a change of an option to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A reload: SIGHUP, or the file itself.
    Reload,
    /// A start. A reload with such a change is refused as a whole.
    Restart,
}

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    /// `tls.cert_file`
    pub path: &'static str,
    /// What may be written.
    pub shape: Shape,
    /// Whether a file without it is refused.
    pub required: bool,
    /// What it takes for a change to count.
    pub change: Change,
    /// What it is for, and why its default is what it is.
    pub doc: &'static str,
}

const fn seconds(low: u64, high: u64) -> Shape {
    Shape::Duration(Duration::from_secs(low), Duration::from_secs(high))
}

const fn optional(path: &'static str, shape: Shape, doc: &'static str) -> Opt {
    Opt {
        path,
        shape,
        required: false,
        change: Change::Restart,
        doc,
    }
}

const fn required(path: &'static str, shape: Shape, doc: &'static str) -> Opt {
    Opt {
        path,
        shape,
        required: true,
        change: Change::Restart,
        doc,
    }
}

impl Opt {
    /// Its path below one provider, if it is one of a provider's.
    pub fn in_provider(&self) -> Option<&'static str> {
        self.path.strip_prefix("providers.<name>.")
    }

    /// A change of it counts from the next reload on.
    const fn reloads(self) -> Self {
        Self {
            change: Change::Reload,
            ..self
        }
    }
}

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// The option at this path of a file.
pub fn find(path: &str) -> Option<&'static Opt> {
    let Some((name, rest)) = path
        .strip_prefix("providers.")
        .and_then(|rest| rest.split_once('.'))
    else {
        return OPTIONS.iter().find(|option| option.path == path);
    };
    let of_one = PROVIDER_OPTIONS.iter();
    let mut of_one = of_one.filter(|_| !name.is_empty());
    of_one.find(|option| option.in_provider() == Some(rest))
}

/// All options, in the order of the document.
pub const OPTIONS: &[Opt] = &[
    optional(
        "listen",
        Shape::Address,
        "Where clients connect: kubectl, the `palisade` commands. Always TLS.",
    ),
    optional(
        "admin_listen",
        Shape::Address,
        "Where `/livez`, `/readyz` and `/metrics` are, in plain HTTP. It has no secrets and no \
         authentication: keep it on loopback or on a network of operators.",
    ),
    required(
        "external_url",
        Shape::Url,
        "How clients reach the gateway, through whatever balancer stands before it. Generated kubeconfigs \
         name it, and the certificate must be good for its host.",
    )
    .reloads(),
    optional(
        "base_domain",
        Shape::Domain,
        "If set, every cluster is also reached as `<cluster>.<base domain>`, and generated kubeconfigs use \
         that: a wildcard DNS record and a wildcard certificate are then needed. Empty: clusters are \
         reached by the path `/k8s/clusters/<cluster>` alone.",
    )
    .reloads(),
    optional(
        "policies",
        Shape::Path,
        "A folder of roles and bindings in files (GitOps), or one such file, beside those in the store; see \
         [policy-files.md](policy-files.md#a-folder-for-a-gateway). What stands there is read-only through \
         the API. A folder with a mistake stops the start; later it is refused and the old one counts on.",
    )
    .reloads(),
    required(
        "tls.cert_file",
        Shape::Path,
        "PEM file with the server's certificate first and its issuers behind it. It must not be a CA \
         certificate itself, and needs subject alternative names.",
    )
    .reloads(),
    required(
        "tls.key_file",
        Shape::Path,
        "PEM file with the certificate's private key.",
    )
    .reloads(),
    optional(
        "tls.handshake_timeout",
        seconds(1, 60),
        "Time from an accepted connection to the end of its TLS handshake. Ten seconds let a slow line \
         lose packets twice; more would let strangers hold connections for nothing.",
    )
    .reloads(),
    required(
        "state.store",
        Shape::Path,
        "File of the embedded store (SQLite). One gateway at a time has it open; it is made at the first \
         start.",
    ),
    required(
        "state.key_file",
        Shape::Path,
        "File with the keys that encrypt secrets in the store (cluster credentials). Made with mode 0600 \
         at the first start, when the store is still empty. Back it up apart from the store: without it \
         the gateway does not start.",
    ),
    optional(
        "sessions.lifetime",
        seconds(60, 7 * DAY),
        "How long a login is good without a renewal. `palisade credential` renews after half of it, so who \
         works every day logs in once per `sessions.max_age`.",
    )
    .reloads(),
    optional(
        "sessions.max_age",
        seconds(60, 90 * DAY),
        "How long a login is good however often it is renewed. Not below `sessions.lifetime`.",
    )
    .reloads(),
    optional(
        "sessions.browser_idle",
        seconds(60, 7 * DAY),
        "How long a login in a browser (the gateway's own pages) is good without a page being asked for.",
    )
    .reloads(),
    optional(
        "sessions.browser_max_age",
        seconds(60, 7 * DAY),
        "How long a login in a browser is good however much it is used. A working day: each morning begins with \
         a login. Not below `sessions.browser_idle`.",
    )
    .reloads(),
    optional(
        "tokens.default_lifetime",
        seconds(60, 366 * DAY),
        "Life of a token for which no expiry was asked. Not above `tokens.max_lifetime`.",
    )
    .reloads(),
    optional(
        "tokens.max_lifetime",
        seconds(60, 3660 * DAY),
        "The longest life that may be asked for a token.",
    )
    .reloads(),
    optional(
        "login.hash_concurrency",
        Shape::Number(1, 256),
        "Password hashes (Argon2id) computed at the same time. Each takes 19 MiB and a core for about \
         20 ms, so this also bounds the memory that strangers can make the gateway use.",
    )
    .reloads(),
    optional(
        "login.hash_queue",
        Shape::Number(0, 10_000),
        "Logins that wait for their turn; further ones are told to try again (429).",
    )
    .reloads(),
    optional(
        "login.account_tries",
        Shape::Number(3, 1_000),
        "Wrong passwords for one account that are taken at once; further ones are answered 429 before a hash \
         is computed. All strangers share them; a client that logged in to the account before has as many \
         of its own, so strangers do not keep a person out (docs/login.md).",
    )
    .reloads(),
    optional(
        "login.account_interval",
        seconds(1, DAY),
        "Time after which one more is taken. Five minutes are 288 tries a day: a password that is taken at \
         all has a billion more likely ones before it.",
    )
    .reloads(),
    optional(
        "login.source_tries",
        Shape::Number(0, 100_000),
        "Wrong passwords that are taken at once from one address (IPv6: from one /64), whatever the \
         accounts. An office behind one address has many people who mistype. 0 where a balancer hides the \
         clients' addresses: else a stranger could use up everybody's, and every client would seem to \
         come from where each account was last logged in.",
    )
    .reloads(),
    optional(
        "login.source_interval",
        seconds(1, DAY),
        "Time after which one more is taken from the address.",
    )
    .reloads(),
    optional(
        "providers",
        Shape::Providers,
        "Where people log in besides local accounts, by a name of one's own choice: a DNS label, not `local`. See \
         [providers/active-directory.md](providers/active-directory.md) and \
         [providers/openldap.md](providers/openldap.md). What each of them has is below.",
    )
    .reloads(),
    optional(
        "limits.connections",
        Shape::Number(10, 1_000_000),
        "Client connections at the same time; further ones wait in the kernel's queue. An idle one takes \
         about 40 KiB. The process needs as many file descriptors and half as many again.",
    )
    .reloads(),
    optional(
        "limits.header_timeout",
        seconds(1, 300),
        "Time from the end of the TLS handshake to the end of the first request's head.",
    )
    .reloads(),
    optional(
        "limits.idle_timeout",
        seconds(10, 86_400),
        "Time for which a connection may have no request under way. Above the 90 s after which Go's \
         clients give up an idle connection themselves, so that none is closed while a request is on its \
         way. It also bounds the head of a later HTTP/1.1 request: sending one slowly gains nothing over \
         being idle.",
    )
    .reloads(),
    optional(
        "limits.header_bytes",
        Shape::Number(8 << 10, 1 << 20),
        "Bytes of one request's head. Kubernetes clients stay far below 16 KiB; long label selectors are \
         what needs more.",
    )
    .reloads(),
    optional(
        "limits.h2_streams",
        Shape::Number(1, 10_000),
        "Requests at the same time on one HTTP/2 connection, watches included. kube-apiserver grants 100; \
         dashboards with many watches on one connection want more.",
    )
    .reloads(),
    optional(
        "limits.h2_ping_interval",
        seconds(5, 3_600),
        "Time between PINGs on an HTTP/2 connection; a peer that does not answer within 20 s is gone. \
         This is what ends watches of laptops that were shut.",
    )
    .reloads(),
    optional(
        "limits.body_bytes",
        Shape::Number(64 << 10, 64 << 20),
        "Body of a request to the gateway's own API; 3 MiB is what kube-apiserver takes. Bodies for \
         clusters are not bounded here, they stream.",
    )
    .reloads(),
    optional(
        "drain.deadline",
        seconds(0, 3_600),
        "Time from SIGTERM to the end. Requests that are under way may finish within it; what is still \
         open then is closed. Keep it below the supervisor's own patience (Kubernetes: 30 s).",
    )
    .reloads(),
    optional(
        "clusters.health_interval",
        seconds(1, 300),
        "Time between two probes of each cluster. A cluster that is known to be down is answered with 503 \
         at once; this is how long its return may go unnoticed.",
    )
    .reloads(),
    optional(
        "clusters.writes_per_second",
        Shape::Number(1, 200),
        "Roles and bindings that the gateway writes to one cluster, at most. 20 are next to nothing for an API          server, and what is urgent (a new role, a new namespace) is written first. A cluster that takes over          thousands of namespaces at once is in step sooner with more: so many bindings as namespaces times          project roles.",
    )
    .reloads(),
    optional(
        "clusters.danger_allow_loopback_clusters",
        Shape::Switch,
        "Lets a registered cluster be on the gateway's own machine (127.0.0.0/8, `::1`). Whoever may \
         register clusters can then reach every port that listens there. On with `--dev`. Link-local \
         addresses (cloud metadata) are never dialled.",
    ),
    optional(
        "audit.output",
        Shape::Word(&["off", "stdout", "file"]),
        "Where audit events go, one JSON object a line (docs/audit.md): to standard output, which has nothing \
         else in it, to a file that is rotated, or nowhere. With `--dev` to `audit.log` in the state folder.",
    ),
    optional(
        "audit.path",
        Shape::Path,
        "The file, with `audit.output: file`; made with mode 0600. Older ones are beside it as `.1`, `.2` and \
         so on. Whoever moves or removes it is followed: the next event makes a new one.",
    ),
    optional(
        "audit.max_size",
        Shape::Size(64 << 10, 1 << 40),
        "Size at which the file is moved to `.1`. An event takes about 1 KiB.",
    ),
    optional(
        "audit.max_files",
        Shape::Number(0, 1_000),
        "Older files that are kept; the one before them is deleted. 0: the gateway moves and deletes \
         nothing, something else does (logrotate).",
    ),
    optional(
        "audit.sync",
        Shape::Word(&["never", "interval", "batch"]),
        "When events are put on the disk (fdatasync): when the system likes, `audit.sync_interval` after \
         they were written, or with every write, some 5 ms after the request. It says what a crash of the \
         machine may cost; a gateway that is killed loses some 5 ms in any case.",
    ),
    optional(
        "audit.sync_interval",
        Shape::Duration(Duration::from_millis(100), Duration::from_mins(1)),
        "See `audit.sync: interval`.",
    ),
    optional(
        "audit.queue",
        Shape::Number(100, 1_000_000),
        "Events that may wait to be written, about 1 KiB each. When the queue is full, or the disk takes \
         nothing, further requests are refused with 503 before anything is done.",
    ),
    optional(
        "audit.danger_audit_best_effort",
        Shape::Switch,
        "Lets requests go on that cannot be recorded: events that have no place in the queue are dropped, \
         and counted. Whoever can fill the disk can then act unseen.",
    ),
    optional(
        "tracing.otlp.endpoint",
        Shape::Collector,
        "If set, requests are traced, and spans go there by OTLP over HTTP with protobuf; `/v1/traces` is added. It \
         takes a program that was built with the cargo feature `otlp`. An `http://` URL sends them in the clear: \
         keep it to a collector on the same machine.",
    ),
    optional(
        "tracing.otlp.ca_file",
        Shape::Path,
        "PEM file with the authorities that the collector's certificate may come from; empty: the public ones.",
    ),
    optional(
        "tracing.one_in",
        Shape::Number(1, 1_000_000),
        "Of so many requests one is traced; 1: each. The gateway draws lots, and nothing that a client sends \
         has a say in it.",
    )
    .reloads(),
    optional(
        "tracing.client_context",
        Shape::Word(&["link", "parent"]),
        "What a client's `traceparent` does to a request that is traced: the request's trace is one of its own \
         and has a link to the client's (`link`), or the request becomes a part of the client's trace, once \
         the gateway knows who sends it (`parent`). With `parent`, people can add to any trace whose id they \
         know.",
    ),
    optional(
        "log.format",
        Shape::Word(&["text", "json"]),
        "`text` for people, `json` for collectors; both on standard error.",
    ),
    optional(
        "log.level",
        Shape::Word(&["error", "warn", "info", "debug", "trace"]),
        "The least severe lines that are written. One line per request is `info`. No level shows tokens, \
         cookies, passwords, bodies or query strings.",
    )
    .reloads(),
];
