//! The server's side of TLS, from PEM files.
//!
//! TLS 1.2 and 1.3, one provider (aws-lc-rs), the post-quantum group first, AES-128-GCM first (Go's own
//! choice, and the cheapest on every server of this decade), ALPN `h2` and `http/1.1`. Clients are asked
//! for no certificate: a credential is a bearer token.
//!
//! What could go wrong: a certificate and a key of different pairs (refused at the start, by rustls), a
//! resumed session that outlives a revocation (no identity hangs on a session: every request brings its
//! token), session state without a bound ([`SESSIONS`]).

use rustls::{
    CipherSuite, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    server::ServerSessionMemoryCache,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

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

/// The configuration for the certificate chain and key in two PEM files.
pub fn server_config(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = read_chain(cert)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|source| TlsError::Pem {
        path: key.to_owned(),
        source,
    })?;
    let unusable = |source| TlsError::Unusable {
        cert: cert.to_owned(),
        key: key.to_owned(),
        source,
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Else the client's order decides, and AES-128-GCM first would be a wish.
    config.ignore_client_order = true;
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(TlsError::Ticketer)?;
    config.send_tls13_tickets = TICKETS;
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
    Ok(Arc::new(config))
}

/// All certificates of a PEM file, in order.
pub fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let broken = |source| TlsError::Pem {
        path: path.to_owned(),
        source,
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(broken)?
        .collect::<Result<_, _>>()
        .map_err(broken)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate {
            path: path.to_owned(),
        });
    }
    Ok(chain)
}

/// rustls' own choice of algorithms, with AES-128-GCM before AES-256-GCM.
fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
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
        let rustls_own = aws_lc_rs::default_provider().cipher_suites.len();
        assert_eq!(provider.cipher_suites.len(), rustls_own);
    }

    #[test]
    fn wrong_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
        let told = |cert: &Path, key: &Path| server_config(cert, key).unwrap_err().to_string();
        assert!(told(&cert, &key).contains("c.pem: No such file"));
        std::fs::write(&cert, "nothing\n").unwrap();
        assert!(told(&cert, &key).contains("c.pem holds no certificate"));

        let one = rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).unwrap();
        let two = rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).unwrap();
        std::fs::write(&cert, one.cert.pem()).unwrap();
        std::fs::write(&key, one.cert.pem()).unwrap();
        assert!(told(&cert, &key).contains("k.pem: it holds no PEM of the wanted kind"));
        std::fs::write(&key, two.signing_key.serialize_pem()).unwrap();
        assert!(told(&cert, &key).contains("are no usable pair"));
        std::fs::write(&key, one.signing_key.serialize_pem()).unwrap();
        assert!(server_config(&cert, &key).is_ok());
    }
}
