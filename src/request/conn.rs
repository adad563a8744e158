//! The connection on which a request came: what the listener knows before the first byte of HTTP.

use http::HeaderValue;
use std::net::{IpAddr, SocketAddr};

/// One accepted connection. Shared by all its requests.
#[derive(Clone, Debug)]
pub struct ConnInfo {
    /// Counts accepted connections of this process, from 1.
    pub id: u64,
    /// The other end; a balancer's address if there is one in between.
    pub peer: SocketAddr,
    /// The other end's address as it is told to clusters.
    pub peer_value: HeaderValue,
    /// This end.
    pub local: SocketAddr,
    /// `None` only where a test speaks plain HTTP.
    pub tls: Option<TlsInfo>,
    /// Whether HTTP/2 was agreed (ALPN).
    pub h2: bool,
}

/// An address as a header's value.
pub fn address_value(address: IpAddr) -> HeaderValue {
    // Digits, dots and colons are always legal; a scope id (`fe80::1%eth0`) is not part of an address.
    HeaderValue::try_from(address.to_string()).unwrap_or_else(|_| HeaderValue::from_static("-"))
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
