//! Opens connections, and decides which addresses may be dialled at all.
//!
//! A cluster's server is a name that its registrar chose, and DNS answers for it may change between the
//! check and the use (CVE-2020-8562). So the addresses are checked here, after resolving, and exactly the
//! checked address is dialled; nothing resolves a second time. Link-local, unspecified, multicast and
//! cloud metadata addresses are never dialled, in any spelling (IPv4 inside IPv6 too); loopback only with
//! `danger_allow_loopback_clusters`. Private ranges are where clusters live: they are allowed.
//!
//! What could go wrong: a name with several addresses of which some are forbidden (those are skipped, the
//! rest may be used), a peer that accepts and then says nothing (each step has its own bound).

use rustls::{ClientConfig, pki_types::ServerName};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Bound on a name's resolution: a resolver that needs longer has lost a server and tries the next.
pub const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Bound on one address' TCP handshake: a SYN lost twice (1 s, 3 s) still gets through.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// Bound on the TLS handshake: two round trips and a signature, with a slow machine's patience.
pub const TLS_TIMEOUT: Duration = Duration::from_secs(5);
/// Addresses of one name that are tried; a name with more is misconfigured or hostile.
pub const ADDRESSES_TRIED: usize = 4;

/// Which addresses may be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Everything but loopback and the addresses that are never dialled.
    Clusters,
    /// Loopback too (`danger_allow_loopback_clusters`).
    ClustersAndLoopback,
    /// No check: a person's own command on the person's own machine.
    Anywhere,
}

/// Why an address is not dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// 127.0.0.0/8, `::1`.
    #[error("a loopback address; the gateway dials those only with danger_allow_loopback_clusters")]
    Loopback,
    /// 169.254.0.0/16, `fe80::/10`.
    #[error("a link-local address, which is never dialled")]
    LinkLocal,
    /// 0.0.0.0/8, `::`.
    #[error("an unspecified address, which is never dialled")]
    Unspecified,
    /// 224.0.0.0/4, `ff00::/8`, 255.255.255.255.
    #[error("a multicast or broadcast address, which is never dialled")]
    Multicast,
    /// A cloud's metadata service.
    #[error("a cloud metadata address, which is never dialled")]
    Metadata,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name has no address, or no resolver answered.
    #[error("the name {host} cannot be resolved")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        source: std::io::Error,
    },
    /// Every address of the name is forbidden.
    #[error("{host} is {address}, {reason}")]
    Forbidden {
        /// The name.
        host: String,
        /// The first of its forbidden addresses.
        address: IpAddr,
        /// Why.
        reason: Forbidden,
    },
    /// Nobody answers there.
    #[error("cannot connect to {address}")]
    Connect {
        /// Name or address, with the port.
        address: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// A bound passed.
    #[error("{address} does not answer: {step} took longer than {} s", limit.as_secs())]
    Timeout {
        /// Name or address, with the port.
        address: String,
        /// Which step.
        step: &'static str,
        /// The step's bound.
        limit: Duration,
    },
    /// The server's certificate is not the one that is expected, or it speaks no TLS.
    #[error("the TLS handshake with {address} failed")]
    Tls {
        /// Name or address, with the port.
        address: String,
        /// What rustls said, inside an `io::Error`.
        source: std::io::Error,
    },
}

impl DialError {
    /// The TLS error, if it is one.
    pub fn tls(&self) -> Option<&rustls::Error> {
        match self {
            Self::Tls { source, .. } => source.get_ref()?.downcast_ref(),
            Self::Resolve { .. }
            | Self::Forbidden { .. }
            | Self::Connect { .. }
            | Self::Timeout { .. } => None,
        }
    }
}

/// Whether an address may be dialled within `reach`.
pub fn check(address: IpAddr, reach: Reach) -> Result<(), Forbidden> {
    if reach == Reach::Anywhere {
        return Ok(());
    }
    match address {
        IpAddr::V4(v4) => check_v4(v4, reach),
        IpAddr::V6(v6) => match embedded(v6) {
            Some(v4) => check_v4(v4, reach),
            None => check_v6(v6, reach),
        },
    }
}

/// 168.63.129.16 (Azure), 100.100.100.200 (Alibaba), 192.0.0.192 (Oracle); the others are link-local.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
];
/// `fd00:ec2::254` (AWS), `fd20:ce::254` (Google).
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254),
    Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254),
];

fn check_v4(address: Ipv4Addr, reach: Reach) -> Result<(), Forbidden> {
    if address.octets().first() == Some(&0) {
        return Err(Forbidden::Unspecified);
    }
    if address.is_link_local() {
        return Err(Forbidden::LinkLocal);
    }
    if address.is_multicast() || address.is_broadcast() {
        return Err(Forbidden::Multicast);
    }
    if METADATA_V4.contains(&address) {
        return Err(Forbidden::Metadata);
    }
    if address.is_loopback() && reach != Reach::ClustersAndLoopback {
        return Err(Forbidden::Loopback);
    }
    Ok(())
}

fn check_v6(address: Ipv6Addr, reach: Reach) -> Result<(), Forbidden> {
    if address.is_unspecified() {
        return Err(Forbidden::Unspecified);
    }
    if address.is_unicast_link_local() {
        return Err(Forbidden::LinkLocal);
    }
    if address.is_multicast() {
        return Err(Forbidden::Multicast);
    }
    if METADATA_V6.contains(&address) {
        return Err(Forbidden::Metadata);
    }
    if address.is_loopback() && reach != Reach::ClustersAndLoopback {
        return Err(Forbidden::Loopback);
    }
    Ok(())
}

/// The IPv4 address that an IPv6 one stands for: mapped (RFC 4291 2.5.5.2), NAT64 (RFC 6052, the
/// well-known prefix and its local-use one of RFC 8215), 6to4 (RFC 3056). `::` and `::1` are not such.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let join = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low]
        | [0x2002, high, low, ..] => Some(join(high, low)),
        // IPv4-compatible, deprecated (RFC 4291 2.5.5.1): still means IPv4 to some stacks.
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => Some(join(high, low)),
        _ => None,
    }
}

/// Resolves, checks and connects; the checked address is the one that is used.
pub async fn tcp(host: &str, port: u16, reach: Reach) -> Result<TcpStream, DialError> {
    let addresses = resolve(host, port, reach).await?;
    let mut last = None;
    for address in addresses.into_iter().take(ADDRESSES_TRIED) {
        match connect(host, address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| no_address(host)))
}

/// TLS over a connection; `config` says which protocols are offered and whom to trust.
pub async fn tls(
    stream: TcpStream,
    address: &str,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, DialError> {
    let handshake = TlsConnector::from(config).connect(name, stream);
    match timeout(TLS_TIMEOUT, handshake).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(source)) => Err(DialError::Tls {
            address: address.to_owned(),
            source,
        }),
        Err(_) => Err(DialError::Timeout {
            address: address.to_owned(),
            step: "the TLS handshake",
            limit: TLS_TIMEOUT,
        }),
    }
}

/// The permitted addresses of a name, in the resolver's order; at least one.
async fn resolve(host: &str, port: u16, reach: Reach) -> Result<Vec<SocketAddr>, DialError> {
    let found: Vec<SocketAddr> =
        match timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host((host, port))).await {
            Ok(Ok(found)) => found.collect(),
            Ok(Err(source)) => {
                return Err(DialError::Resolve {
                    host: host.to_owned(),
                    source,
                });
            }
            Err(_) => {
                return Err(DialError::Timeout {
                    address: host.to_owned(),
                    step: "resolving its name",
                    limit: RESOLVE_TIMEOUT,
                });
            }
        };
    permitted(host, found, reach)
}

fn permitted(
    host: &str,
    found: Vec<SocketAddr>,
    reach: Reach,
) -> Result<Vec<SocketAddr>, DialError> {
    let mut refused = None;
    let mut good = Vec::with_capacity(found.len());
    for address in found {
        match check(address.ip(), reach) {
            Ok(()) => good.push(address),
            Err(reason) => {
                refused.get_or_insert((address.ip(), reason));
            }
        }
    }
    match (good.is_empty(), refused) {
        (false, _) => Ok(good),
        (true, Some((address, reason))) => Err(DialError::Forbidden {
            host: host.to_owned(),
            address,
            reason,
        }),
        (true, None) => Err(no_address(host)),
    }
}

fn no_address(host: &str) -> DialError {
    DialError::Resolve {
        host: host.to_owned(),
        source: std::io::Error::new(std::io::ErrorKind::NotFound, "it has no address"),
    }
}

async fn connect(host: &str, address: SocketAddr) -> Result<TcpStream, DialError> {
    let shown = || shown(host, address);
    match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => {
            // Requests are small and interactive: a delayed last segment is felt at every keystroke.
            let _ = stream.set_nodelay(true);
            Ok(stream)
        }
        Ok(Err(source)) => Err(DialError::Connect {
            address: shown(),
            source,
        }),
        Err(_) => Err(DialError::Timeout {
            address: shown(),
            step: "connecting",
            limit: CONNECT_TIMEOUT,
        }),
    }
}

fn shown(host: &str, address: SocketAddr) -> String {
    if host.parse::<IpAddr>().is_ok() {
        address.to_string()
    } else {
        format!("{host}:{} ({})", address.port(), address.ip())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(address: &str) -> Result<(), Forbidden> {
        check(address.parse().unwrap(), Reach::Clusters)
    }

    // P11
    #[test]
    fn addresses_that_are_never_dialled_are_refused_in_every_spelling() {
        let table = [
            ("169.254.169.254", Forbidden::LinkLocal),
            ("::ffff:169.254.169.254", Forbidden::LinkLocal),
            ("::169.254.169.254", Forbidden::LinkLocal),
            ("64:ff9b::a9fe:a9fe", Forbidden::LinkLocal),
            ("64:ff9b:1::a9fe:a9fe", Forbidden::LinkLocal),
            ("2002:a9fe:a9fe::1", Forbidden::LinkLocal),
            ("fe80::1", Forbidden::LinkLocal),
            ("febf::1", Forbidden::LinkLocal),
            ("0.0.0.0", Forbidden::Unspecified),
            ("0.1.2.3", Forbidden::Unspecified),
            ("::", Forbidden::Unspecified),
            ("224.0.0.1", Forbidden::Multicast),
            ("255.255.255.255", Forbidden::Multicast),
            ("ff02::1", Forbidden::Multicast),
            ("168.63.129.16", Forbidden::Metadata),
            ("100.100.100.200", Forbidden::Metadata),
            ("fd00:ec2::254", Forbidden::Metadata),
            ("fd20:ce::254", Forbidden::Metadata),
        ];
        for (address, reason) in table {
            assert_eq!(verdict(address), Err(reason), "{address}");
            let loose = check(address.parse().unwrap(), Reach::ClustersAndLoopback);
            assert_eq!(loose, Err(reason), "{address} with loopback allowed");
        }
    }

    #[test]
    fn loopback_needs_the_danger_setting() {
        for address in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(verdict(address), Err(Forbidden::Loopback), "{address}");
            let loose = check(address.parse().unwrap(), Reach::ClustersAndLoopback);
            assert_eq!(loose, Ok(()), "{address}");
        }
    }

    #[test]
    fn private_and_public_addresses_are_dialled() {
        for address in [
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "203.0.113.7",
            "fd12::1",
            "2001:db8::1",
        ] {
            assert_eq!(verdict(address), Ok(()), "{address}");
        }
    }

    #[test]
    fn of_several_addresses_only_the_permitted_ones_are_left() {
        let all = vec![
            "169.254.169.254:443".parse().unwrap(),
            "10.0.0.1:443".parse().unwrap(),
        ];
        let good = permitted("c.example", all, Reach::Clusters).unwrap();
        assert_eq!(good, ["10.0.0.1:443".parse::<SocketAddr>().unwrap()]);
    }

    // P11: the check is on what the name resolves to, when it is dialled.
    #[tokio::test]
    async fn a_name_that_resolves_to_loopback_is_refused_at_dial_time() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        // The last two are forms that the C resolver reads as addresses.
        for host in ["localhost", "127.0.0.1", "0x7f.1", "2130706433"] {
            let refused = tcp(host, port, Reach::Clusters).await.unwrap_err();
            assert!(
                matches!(
                    refused,
                    DialError::Forbidden {
                        reason: Forbidden::Loopback,
                        ..
                    }
                ),
                "{host}: {refused:?}"
            );
        }
        tcp("localhost", port, Reach::ClustersAndLoopback)
            .await
            .unwrap();
    }
}
