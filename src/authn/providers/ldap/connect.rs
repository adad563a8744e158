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
    failure::{BrokenError, ConnectError, Failure},
    guard, ppolicy,
    servers::Servers,
    starttls,
};
use crate::config::{DirectoryKind, Host, Ldap as Settings, Transport};
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError, LdapResult, StdStream};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
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
/// Bytes of a file with a password.
const MAX_SECRET: u64 = 4 << 10;
/// Bytes of a file with authorities: all public ones take 300 KiB.
const MAX_CA: u64 = 2 << 20;

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
                Some(off_thread(move || tls(ca_file.as_deref())).await?)
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

/// Trust in these authorities alone; in the public ones if none are named.
pub(super) fn tls(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, Failure> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let wrong = |why: String| Failure::File {
                path: path.to_owned(),
                why,
            };
            let pem = read(path, MAX_CA)?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
                let added = roots.add(certificate);
                added.map_err(|error| wrong(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(wrong("it holds no certificate (PEM)".to_owned()));
            }
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::File {
            path: ca_file.unwrap_or(Path::new("")).to_owned(),
            why: error.to_string(),
        })?;
    Ok(Arc::new(
        config.with_root_certificates(roots).with_no_client_auth(),
    ))
}

/// The password of the account that searches.
pub(super) fn password(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let wrong = |why: &str| Failure::File {
        path: path.to_owned(),
        why: why.to_owned(),
    };
    let bytes = read(path, MAX_SECRET)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong("it is not UTF-8"))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    // An empty password is an anonymous bind, which succeeds (RFC 4513, section 5.1.2).
    if text.trim().is_empty() || text.contains('\0') {
        return Err(wrong("it holds no password"));
    }
    Ok(Zeroizing::new(text.to_owned()))
}

/// What reads files, not on a thread that serves requests.
pub(super) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or(Err(Failure::Busy))
}

fn read(path: &Path, most: u64) -> Result<Zeroizing<Vec<u8>>, Failure> {
    super::super::files::read(path, most).map_err(|why| Failure::File {
        path: path.to_owned(),
        why,
    })
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
