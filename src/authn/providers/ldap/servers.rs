//! Which servers a directory has: as they are listed, or as DNS says (SRV, RFC 2782).
//!
//! What an attacker would try: DNS answers of their own, so that passwords go to their server. A server that DNS names
//! must be below the domain that was asked for, and its certificate must be good for its name; where the authorities
//! are the public ones, anybody has a good certificate for some name, so the first of the two is what counts.

use super::failure::Failure;
use crate::config::{DirectoryKind, Host, Ldap as Settings, Transport};
use hickory_resolver::{
    Resolver, TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ProtocolConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
    proto::rr::RData,
};
use std::{
    io,
    net::{IpAddr, SocketAddr},
};
use tokio::{net::lookup_host, sync::OnceCell};

/// Servers that are tried; a forest may have hundreds, and those that DNS puts first are the near ones.
const MAX_SERVERS: usize = 8;

/// The servers of one directory.
#[derive(Default)]
pub(super) struct Servers {
    /// It keeps what it was told for as long as DNS says.
    resolver: OnceCell<TokioResolver>,
}

impl Servers {
    /// In the order in which they are tried.
    pub(super) async fn list(&self, settings: &Settings) -> Result<Vec<Host>, Failure> {
        let Some(domain) = &settings.srv_domain else {
            return Ok(settings.hosts.clone());
        };
        let name = match settings.directory {
            // Domain controllers alone ([MS-ADTS] 6.3.2.3).
            DirectoryKind::ActiveDirectory => format!("_ldap._tcp.dc._msdcs.{domain}."),
            DirectoryKind::Openldap => format!("_ldap._tcp.{domain}."),
        };
        let failed = |why: String| Failure::Dns {
            name: name.clone(),
            why,
        };
        let resolver = self.resolver(settings).await.map_err(failed)?;
        let answer = Box::pin(resolver.srv_lookup(name.as_str())).await;
        let answer = answer.map_err(|error| failed(error.to_string()))?;
        let mut found: Vec<(u16, u16, Host)> = Vec::new();
        for record in answer.answers() {
            let RData::SRV(srv) = &record.data else {
                continue;
            };
            let target = srv.target.to_ascii().to_ascii_lowercase();
            let target = target.trim_end_matches('.');
            if !is_below(target, domain) {
                tracing::warn!(
                    target,
                    domain,
                    "DNS names a directory server of another domain: it is not asked"
                );
                continue;
            }
            let port = match settings.transport {
                // DNS knows the plain port alone.
                Transport::Ldaps => Transport::Ldaps.port(),
                Transport::Starttls | Transport::DangerPlaintext => srv.port,
            };
            let host = Host {
                name: target.to_owned(),
                port,
            };
            found.push((srv.priority, u16::MAX - srv.weight, host));
        }
        found.sort_by_key(|(priority, lightness, _)| (*priority, *lightness));
        found.truncate(MAX_SERVERS);
        if found.is_empty() {
            return Err(failed("it names no server below the domain".to_owned()));
        }
        Ok(found.into_iter().map(|(.., host)| host).collect())
    }

    /// Addresses of a server: by the system's own means, unless a name server was named.
    pub(super) async fn addresses(
        &self,
        settings: &Settings,
        host: &Host,
    ) -> io::Result<Vec<SocketAddr>> {
        if settings.name_server.is_none() || host.name.parse::<IpAddr>().is_ok() {
            let found = lookup_host((host.name.as_str(), host.port)).await?;
            return Ok(found.collect());
        }
        let resolver = self.resolver(settings).await.map_err(io::Error::other)?;
        let name = format!("{}.", host.name);
        let found = Box::pin(resolver.lookup_ip(name)).await;
        let found = found.map_err(io::Error::other)?;
        Ok(found
            .iter()
            .map(|ip| SocketAddr::new(ip, host.port))
            .collect())
    }

    async fn resolver(&self, settings: &Settings) -> Result<&TokioResolver, String> {
        let make = || async { resolver(settings.name_server) };
        self.resolver.get_or_try_init(make).await
    }
}

fn is_below(name: &str, domain: &str) -> bool {
    let front = name.strip_suffix(domain);
    front.is_some_and(|front| front.is_empty() || front.ends_with('.'))
}

/// That of the system, or one that asks this server.
fn resolver(name_server: Option<SocketAddr>) -> Result<TokioResolver, String> {
    let builder = match name_server {
        None => Resolver::builder_tokio().map_err(|error| error.to_string())?,
        Some(address) => {
            let connections = [ProtocolConfig::Udp, ProtocolConfig::Tcp].map(|protocol| {
                let mut connection = ConnectionConfig::new(protocol);
                connection.port = address.port();
                connection
            });
            let server = NameServerConfig::new(address.ip(), true, connections.into());
            let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
            Resolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
    };
    builder.build().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_of_another_domain_is_none_of_ours() {
        for (name, expected) in [
            ("dc1.corp.example", true),
            ("a.b.corp.example", true),
            ("corp.example", true),
            ("evilcorp.example", false),
            ("corp.example.evil.test", false),
            ("evil.test", false),
            ("", false),
        ] {
            assert_eq!(is_below(name, "corp.example"), expected, "{name}");
        }
    }
}
