//! Connections to a directory's servers.
//!
//! What an attacker would try: to have a password sent without TLS. A connection is handed out only when TLS stands
//! (or the configuration says `danger_plaintext`): StartTLS that fails is no connection, and what came before it is
//! refused (L5 of docs/attacks.md, [`starttls`]). Referrals are never followed, so no password goes to a server that
//! the configuration does not name.
//!
//! The crate sets no TCP_NODELAY, has no timeout for the name and no failover, and decodes whatever comes: the socket
//! and TLS are made here, and [`guard`] stands between them and the crate.

use super::{
    super::files::{self, FileError, off_thread},
    failure::{BrokenError, ConnectError, Failure},
    guard, ppolicy,
    servers::Servers,
    starttls,
};
use crate::config::{DirectoryKind, Host, Ldap as Settings, Transport};
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError, LdapResult, StdStream};
use rustls::{ClientConfig, pki_types::ServerName};
use socket2::{SockRef, TcpKeepalive};
use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    net::{TcpStream, UnixStream},
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

/// How long a server that did not answer is tried after the others.
const PASSED_OVER: Duration = Duration::from_secs(30);
/// Silence after which the system asks whether the other end is there: below what firewalls forget after.
const KEEPALIVE: Duration = Duration::from_mins(1);

/// A connection under TLS; nobody is bound on it yet. Dropping it ends it.
pub(super) struct Connection {
    /// To be cloned for each operation.
    pub(super) ldap: Ldap,
    /// Where it goes.
    pub(super) host: Host,
    pub(super) since: Instant,
    tasks: Tasks,
}

/// What carries bytes, and what decodes them.
type Tasks = [JoinHandle<()>; 2];

impl Drop for Connection {
    fn drop(&mut self) {
        // They may hang in a write to somebody who reads nothing.
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// The servers of one directory, and which of them did not answer lately.
#[derive(Default)]
pub(super) struct Hosts {
    servers: Servers,
    down: Mutex<HashMap<Host, Instant>>,
}

impl Hosts {
    /// A connection to the first that answers: in their order, those that lately did not at the end.
    pub(super) async fn connect(&self, settings: &Settings) -> Result<Connection, Failure> {
        let tls = match settings.transport {
            Transport::Ldaps | Transport::Starttls => {
                let ca_file = settings.ca_file.clone();
                Some(off_thread(move || files::tls(ca_file.as_deref())).await?)
            }
            Transport::DangerPlaintext => None,
        };
        let limit = settings.connect_timeout;
        let named = timeout(limit, self.servers.list(settings)).await;
        let mut hosts = named.unwrap_or_else(|_| Err(Failure::dns_timeout(settings, limit)))?;
        self.sort(&mut hosts);
        let mut last = None;
        for host in hosts {
            let connecting = Box::pin(connect_to(&self.servers, settings, &host, tls.clone()));
            let connected = timeout(limit, connecting).await;
            match connected.unwrap_or(Err(ConnectError::Timeout(limit))) {
                Ok((ldap, tasks)) => {
                    self.down().remove(&host);
                    return Ok(Connection {
                        ldap,
                        host,
                        since: Instant::now(),
                        tasks,
                    });
                }
                Err(source) => {
                    self.failed(&host);
                    let host = host.to_string();
                    tracing::debug!(host, error = %source, "a directory server cannot be reached");
                    last = Some(Failure::Connect { host, source });
                }
            }
        }
        // There is one at least.
        Err(last.unwrap_or(Failure::Busy))
    }

    /// This one did not answer.
    pub(super) fn failed(&self, host: &Host) {
        let mut down = self.down();
        // What DNS named once is forgotten.
        down.retain(|_, at| at.elapsed() < PASSED_OVER);
        down.insert(host.clone(), Instant::now());
    }

    fn down(&self) -> MutexGuard<'_, HashMap<Host, Instant>> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stable: the order holds within both.
    fn sort(&self, hosts: &mut [Host]) {
        let down = self.down();
        hosts.sort_by_key(|host| down.get(host).is_some_and(|at| at.elapsed() < PASSED_OVER));
    }
}

async fn connect_to(
    servers: &Servers,
    settings: &Settings,
    host: &Host,
    tls: Option<Arc<ClientConfig>>,
) -> Result<(Ldap, Tasks), ConnectError> {
    let mut stream = dial(&servers.addresses(settings, host).await?).await?;
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
    if settings.transport == Transport::Starttls {
        starttls::agree(&mut stream).await?;
    }
    let stream = match tls {
        Some(tls) => {
            let name = ServerName::try_from(host.name.clone()).map_err(io::Error::other)?;
            let stream = Box::pin(TlsConnector::from(tls).connect(name, stream)).await?;
            guard::Stream::Tls(Box::new(stream))
        }
        None => guard::Stream::Plain(stream),
    };
    let (ours, decoded) = UnixStream::pair()?;
    let carrier = tokio::spawn(async move {
        if let Err(error) = guard::carry(stream, ours).await {
            tracing::debug!(%error, "a connection to a directory broke");
        }
    });
    let options = LdapConnSettings::new().set_std_stream(StdStream::Unix(decoded.into_std()?));
    // It dials nothing: the stream is there.
    let made = LdapConnAsync::with_settings(options, "ldapi:///").await;
    let (connection, ldap) = made.map_err(|error| ConnectError::Ldap(Box::new(error)))?;
    let driver = tokio::spawn(async move {
        if let Err(error) = connection.drive().await {
            tracing::debug!(%error, "a connection to a directory ended");
        }
    });
    Ok((ldap, [carrier, driver]))
}

/// Each address of the name in turn; the caller bounds the time.
async fn dial(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::other("the name has no address")))
}

/// The password of the account that searches.
pub(super) fn password(path: &Path) -> Result<Zeroizing<String>, FileError> {
    let whole = files::secret(path)?;
    let text = whole.strip_suffix('\n').unwrap_or(&whole);
    let text = text.strip_suffix('\r').unwrap_or(text);
    // An empty password is an anonymous bind, which succeeds (RFC 4513, section 5.1.2).
    if text.trim().is_empty() || text.contains('\0') {
        return Err(FileError::wrong(path, &"it holds no password"));
    }
    Ok(Zeroizing::new(text.to_owned()))
}

/// A simple bind, within a time. Nobody calls this with an empty password.
pub(super) async fn bind(
    connection: &Connection,
    settings: &Settings,
    dn: &str,
    password: &str,
) -> Result<LdapResult, Failure> {
    let mut ldap = connection.ldap.clone();
    if settings.directory == DirectoryKind::Openldap {
        ldap.with_controls(ppolicy::question());
    }
    let bind = Box::pin(ldap.simple_bind(dn, password));
    match timeout(settings.timeout, bind).await {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(error)) => Err(broken(connection, BrokenError::Ldap(Box::new(error)))),
        Err(_) => Err(broken(connection, BrokenError::Timeout(settings.timeout))),
    }
}

pub(super) fn broken(connection: &Connection, source: BrokenError) -> Failure {
    Failure::Broken {
        host: connection.host.to_string(),
        source,
    }
}

/// The crate's own timeout, in our words.
pub(super) fn source_of(error: LdapError, limit: Duration) -> BrokenError {
    if matches!(error, LdapError::Timeout { .. }) {
        BrokenError::Timeout(limit)
    } else {
        BrokenError::Ldap(Box::new(error))
    }
}
