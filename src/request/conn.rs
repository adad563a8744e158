//! The connection on which a request came: what the listener knows before the first byte of HTTP.

use std::net::SocketAddr;

/// One accepted connection. Shared by all its requests.
#[derive(Clone, Debug)]
pub struct ConnInfo {
    /// Counts accepted connections of this process, from 1.
    pub id: u64,
    /// The other end; a balancer's address if there is one in between.
    pub peer: SocketAddr,
    /// This end.
    pub local: SocketAddr,
    /// `None` only where a test speaks plain HTTP.
    pub tls: Option<TlsInfo>,
    /// Whether HTTP/2 was agreed (ALPN).
    pub h2: bool,
}

/// What the TLS handshake agreed.
#[derive(Clone, Debug)]
pub struct TlsInfo {
    /// `1.2` or `1.3`.
    pub version: &'static str,
    /// The name that the client asked for. For the log alone: it selects nothing, since Host or
    /// `:authority` does.
    pub sni: Option<Box<str>>,
}
