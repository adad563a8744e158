//! The server's side of TLS, from PEM files.
//!
//! TLS 1.2 and 1.3, one provider (aws-lc-rs), the post-quantum group first, AES-128-GCM first (Go's own
//! choice, and the cheapest on every server of this decade), ALPN `h2` and `http/1.1`. Clients are asked
//! for no certificate: a credential is a bearer token.
//!
//! What could go wrong: a certificate and a key of different pairs (refused at the start, by rustls), a
//! resumed session that outlives a revocation (no identity hangs on a session: every request brings its
//! token) or shows yesterday's certificate ([`Served`]), session state without a bound ([`SESSIONS`]).

use aws_lc_rs::digest::{self, SHA256_OUTPUT_LEN};
use jiff::Timestamp;
use rustls::{
    CipherSuite, ServerConfig,
    client::verify_server_name,
    crypto::{CryptoProvider, aws_lc_rs as crypto},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem, pem::PemObject},
    server::{ParsedCertificate, ServerSessionMemoryCache},
};
use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};
use zeroize::Zeroizing;

/// Bytes of one file: a chain of four with long keys has under 10 KiB.
const MAX_BYTES: u64 = 1 << 20;

/// TLS 1.2 sessions kept for resumption: about 1 KiB each. TLS 1.3 uses tickets, which cost no memory.
const SESSIONS: usize = 10_000;
/// Tickets after a TLS 1.3 handshake. rustls sends two; a kubectl run opens one connection.
const TICKETS: usize = 1;

/// Why there is no TLS configuration.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is not there, or is no PEM.
    #[error("cannot read {}: {}", path.display(), PemTrouble(source))]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// No certificate is that long.
    #[error("{} has more than {MAX_BYTES} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// PEM, but no certificate in it.
    #[error("{} holds no certificate", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// rustls refuses them.
    #[error("{} and {} are no usable pair: {source}", cert.display(), key.display())]
    Unusable {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// No randomness for ticket keys.
    #[error("cannot make TLS ticket keys: {0}")]
    Ticketer(rustls::Error),
}

/// An I/O error's own words, without the crate's around them.
struct PemTrouble<'a>(&'a pem::Error);

impl std::fmt::Display for PemTrouble<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let pem::Error::Io(error) = self.0 {
            return write!(f, "{error}");
        }
        if matches!(self.0, pem::Error::NoItemsFound) {
            return f.write_str("it holds no PEM of the wanted kind");
        }
        write!(f, "{}", self.0)
    }
}

/// A certificate chain with its key, and the server that shows it.
///
/// Every one has ticket keys and a session memory of its own: a session that began under another
/// certificate is not resumed under this one, so that every new connection sees this one.
pub struct Served {
    /// The server's TLS.
    pub config: Arc<ServerConfig>,
    /// When the certificate is good; `None` if that cannot be told.
    pub validity: Option<Validity>,
    leaf: CertificateDer<'static>,
    sum: Sum,
}

/// When a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From here on.
    pub not_before: Timestamp,
    /// The last instant.
    pub not_after: Timestamp,
}

/// SHA-256 over both files.
pub type Sum = [u8; SHA256_OUTPUT_LEN];

/// A certificate and a key as they are in their files, not yet looked into.
pub struct Files {
    cert: (PathBuf, Vec<u8>),
    key: (PathBuf, Zeroizing<Vec<u8>>),
}

impl Files {
    /// Reads both.
    pub fn read(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        Ok(Self {
            cert: (cert.to_owned(), read_file(cert)?),
            key: (key.to_owned(), Zeroizing::new(read_file(key)?)),
        })
    }

    /// Tells another pair apart, whatever the files are called.
    pub fn sum(&self) -> Sum {
        let mut context = digest::Context::new(&digest::SHA256);
        for bytes in [&self.cert.1, &*self.key.1] {
            context.update(&(bytes.len() as u64).to_be_bytes());
            context.update(bytes);
        }
        let mut sum = Sum::default();
        sum.copy_from_slice(context.finish().as_ref());
        sum
    }

    /// The server that shows them.
    pub fn serve(&self) -> Result<Served, TlsError> {
        let (cert, key) = (&self.cert.0, &self.key.0);
        let chain = chain_of(cert, &self.cert.1)?;
        let private = PrivateKeyDer::from_pem_slice(&self.key.1).map_err(pem_error(key))?;
        let unusable = |source| TlsError::Unusable {
            cert: cert.clone(),
            key: key.clone(),
            source,
        };
        // Not empty: `chain_of` refuses that.
        let leaf = chain.first().cloned().unwrap_or_else(|| Vec::new().into());
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(unusable)?
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .map_err(unusable)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Else the client's order decides, and AES-128-GCM first would be a wish.
        config.ignore_client_order = true;
        config.ticketer = crypto::Ticketer::new().map_err(TlsError::Ticketer)?;
        config.send_tls13_tickets = TICKETS;
        config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
        Ok(Served {
            config: Arc::new(config),
            validity: Validity::of(&leaf),
            leaf,
            sum: self.sum(),
        })
    }
}

/// The server for the certificate chain and key in two PEM files.
pub fn load(cert: &Path, key: &Path) -> Result<Served, TlsError> {
    Files::read(cert, key)?.serve()
}

impl Served {
    /// Of the files that it was made from.
    pub fn sum(&self) -> Sum {
        self.sum
    }

    /// Whether clients that ask for this host (a DNS name or an address) take the certificate for its own.
    pub fn is_for(&self, host: &str) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let Ok(name) = ServerName::try_from(host) else {
            return false;
        };
        ParsedCertificate::try_from(&self.leaf)
            .is_ok_and(|leaf| verify_server_name(&leaf, &name).is_ok())
    }
}

impl Validity {
    fn of(leaf: &CertificateDer<'_>) -> Option<Self> {
        let (_, leaf) = x509_parser::parse_x509_certificate(leaf).ok()?;
        let validity = leaf.validity();
        let instant = |time: x509_parser::time::ASN1Time| Timestamp::from_second(time.timestamp());
        Some(Self {
            not_before: instant(validity.not_before).ok()?,
            not_after: instant(validity.not_after).ok()?,
        })
    }
}

/// All certificates of a PEM file, in order.
pub fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    chain_of(path, &read_file(path)?)
}

fn chain_of(path: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(bytes)
        .collect::<Result<_, _>>()
        .map_err(pem_error(path))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate {
            path: path.to_owned(),
        });
    }
    Ok(chain)
}

fn read_file(path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(pem::Error::Io);
    let mut file = file.map_err(pem_error(path))?.take(MAX_BYTES + 1);
    let read = file.read_to_end(&mut bytes).map_err(pem::Error::Io);
    if read.map_err(pem_error(path))? as u64 > MAX_BYTES {
        return Err(TlsError::TooLarge {
            path: path.to_owned(),
        });
    }
    Ok(bytes)
}

fn pem_error(path: &Path) -> impl FnOnce(pem::Error) -> TlsError {
    let path = path.to_owned();
    move |source| TlsError::Pem { path, source }
}

/// rustls' own choice of algorithms, with AES-128-GCM before AES-256-GCM.
fn provider() -> CryptoProvider {
    let mut provider = crypto::default_provider();
    // Stable: all else keeps rustls' order.
    provider
        .cipher_suites
        .sort_by_key(|suite| !is_aes_128(suite.suite()));
    provider
}

fn is_aes_128(suite: CipherSuite) -> bool {
    [
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ]
    .contains(&suite)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aes_128_and_the_post_quantum_group_come_first() {
        let provider = provider();
        let first = provider.cipher_suites.first().unwrap().suite();
        assert_eq!(first, CipherSuite::TLS13_AES_128_GCM_SHA256);
        let group = provider.kx_groups.first().unwrap().name();
        assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
        // Sorting loses nothing.
        let rustls_own = crypto::default_provider().cipher_suites.len();
        assert_eq!(provider.cipher_suites.len(), rustls_own);
    }

    #[test]
    fn wrong_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
        let told = |cert: &Path, key: &Path| load(cert, key).err().unwrap().to_string();
        assert!(told(&cert, &key).contains("c.pem: No such file"));
        std::fs::write(&cert, "nothing\n").unwrap();
        assert!(told(&cert, &key).contains("k.pem: No such file"));
        std::fs::write(&key, "nothing\n").unwrap();
        assert!(told(&cert, &key).contains("c.pem holds no certificate"));

        let one = rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).unwrap();
        let two = rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).unwrap();
        std::fs::write(&cert, one.cert.pem()).unwrap();
        std::fs::write(&key, one.cert.pem()).unwrap();
        assert!(told(&cert, &key).contains("k.pem: it holds no PEM of the wanted kind"));
        std::fs::write(&key, two.signing_key.serialize_pem()).unwrap();
        assert!(told(&cert, &key).contains("are no usable pair"));
        std::fs::write(&key, one.signing_key.serialize_pem()).unwrap();
        let served = load(&cert, &key).unwrap();
        assert!(served.is_for("a.test") && !served.is_for("b.test"));
        std::fs::write(&cert, vec![b'#'; 2 << 20]).unwrap();
        assert!(told(&cert, &key).contains("c.pem has more than 1048576 bytes"));
    }

    #[test]
    fn the_end_of_a_certificate_is_read_from_it() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
        let names = vec!["a.test".to_owned(), "127.0.0.1".to_owned()];
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(2024, 2, 29);
        params.not_after = rcgen::date_time_ymd(2051, 1, 2);
        let pair = rcgen::KeyPair::generate().unwrap();
        std::fs::write(&cert, params.self_signed(&pair).unwrap().pem()).unwrap();
        std::fs::write(&key, pair.serialize_pem()).unwrap();
        let served = load(&cert, &key).unwrap();
        let validity = served.validity.unwrap();
        assert_eq!(validity.not_before.to_string(), "2024-02-29T00:00:00Z");
        assert_eq!(validity.not_after.to_string(), "2051-01-02T00:00:00Z");
        assert!(served.is_for("127.0.0.1") && !served.is_for("[::1]"));
        assert_eq!(served.sum(), Files::read(&cert, &key).unwrap().sum());
        std::fs::write(&cert, pair.serialize_pem()).unwrap();
        assert_ne!(served.sum(), Files::read(&cert, &key).unwrap().sum());
    }
}
