//! Every bound of the data path, with its reason.

use std::time::Duration;

/// TCP connect and TLS handshake to a cluster. A live API server answers in milliseconds; a person waits.
pub const DIAL: Duration = Duration::from_secs(5);
/// First byte of an answer to a short request. The API server's own limit is 60 s (`--request-timeout`).
pub const ANSWER: Duration = Duration::from_secs(65);
/// First byte of an answer to a stream or a proxied application, which may think for long.
pub const ANSWER_STREAM: Duration = Duration::from_hours(1);
/// How long a request waits for a place on a connection before it is told that the cluster is busy.
pub const PLACE: Duration = Duration::from_secs(10);
/// HTTP/2 connections for short requests, per cluster: 8 × 100 streams.
pub const SHORT_CONNECTIONS: usize = 8;
/// HTTP/2 connections for watches and followed logs, per cluster: 200 × 100 streams.
pub const STREAM_CONNECTIONS: usize = 200;
/// HTTP/2 connections for what may be long *and* large: plain logs, proxied applications.
pub const BULK_CONNECTIONS: usize = 32;
/// HTTP/1.1 connections for requests that end, to a cluster that has no HTTP/2.
pub const H1_CONNECTIONS: usize = 256;
/// The same for watches and followed logs, each of which keeps one while it is open; with the client's, two file
/// descriptors a stream.
pub const H1_STREAM_CONNECTIONS: usize = 4_000;
/// Streams on one HTTP/2 connection until the peer says otherwise; the API server says 100.
pub const STREAMS: usize = 100;
/// Flow-control window of a short request's stream, as the API server has it.
pub const SHORT_WINDOW: u32 = 256 * 1024;
/// Connection window beside it: every stream of a connection may stall without stopping another.
pub const SHORT_CONNECTION_WINDOW: u32 = 100 * SHORT_WINDOW;
/// Window of a watch or a followed log: a reader that stops holds no more than this.
pub const STREAM_WINDOW: u32 = 64 * 1024;
/// Connection window beside it. h2 closes a connection on which more than half of this was spent on small
/// unread frames: 100 stopped readers of 50-byte frames need 27 MiB of that half.
pub const STREAM_CONNECTION_WINDOW: u32 = 64 * 1024 * 1024;
/// PING after this much silence (client-go: 30 s), and how long its answer may take (15 s).
pub const PING_AFTER: Duration = Duration::from_secs(30);
/// See [`PING_AFTER`].
pub const PING_ANSWER: Duration = Duration::from_secs(15);
/// Header list of an answer; the API server sends at most 1 MiB, real ones a few KiB.
pub const ANSWER_HEADERS: u32 = 256 * 1024;
/// An upgraded stream on which nothing moves; the API server and kubelet have the same four hours.
pub const UPGRADE_IDLE: Duration = Duration::from_hours(4);
/// After one side of an upgraded stream ended: how long the other may still speak.
pub const UPGRADE_LINGER: Duration = Duration::from_secs(30);
/// Buffer of one direction of an upgraded stream.
pub const UPGRADE_BUFFER: usize = 32 * 1024;
/// Attempts in all for a request of which a cluster has certainly processed nothing, or that only reads.
pub const ATTEMPTS: usize = 3;
/// Tries that found their connection gone before a byte left; a GOAWAY may be waiting on each.
pub const UNSENT: usize = 16;
