//! Trust by a sum: `--ca-sum` names the SHA-256 of a certificate.
//!
//! The server must present a certificate with that sum in its chain, and its own certificate must then be
//! valid under that one as the only root, for the name that was asked: names, dates and signatures are
//! checked by webpki as always. So a first contact needs no file, and no unverified TLS either
//! (CVE-2025-67601). What could go wrong: a server that does not send its CA; the error says which sums it
//! did send.

use crate::proxy::endpoint;
use aws_lc_rs::digest;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use rustls::{
    CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::sync::{Arc, OnceLock};

/// SHA-256 of a certificate's DER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaSum([u8; 32]);

impl std::str::FromStr for CaSum {
    type Err = String;

    /// 64 hex digits, with or without colons between the bytes, with or without `sha256:` in front.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "a CA sum is 64 hex digits, the SHA-256 of the certificate's DER".to_owned();
        let text = text.trim();
        let text = match text.split_at_checked("sha256:".len()) {
            Some((prefix, rest)) if prefix.eq_ignore_ascii_case("sha256:") => rest,
            Some(_) | None => text,
        };
        let digits: Vec<u8> = text
            .chars()
            .filter(|&c| c != ':')
            .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect::<Option<_>>()
            .ok_or_else(wrong)?;
        let (pairs, rest) = digits.as_chunks::<2>();
        let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
        let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| wrong())?;
        rest.is_empty().then_some(Self(bytes)).ok_or_else(wrong)
    }
}

impl std::fmt::Display for CaSum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl CaSum {
    /// The sum of a certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let mut sum = [0; 32];
        sum.copy_from_slice(digest::digest(&digest::SHA256, certificate).as_ref());
        Self(sum)
    }
}

/// The server presented no certificate with the sum.
#[derive(Debug, thiserror::Error)]
#[error(
    "no certificate that the server presents has the SHA-256 {wanted}; it presents {}",
    presented.iter().map(CaSum::to_string).collect::<Vec<_>>().join(", ")
)]
pub(super) struct SumMismatch {
    wanted: CaSum,
    presented: Vec<CaSum>,
}

/// Trusts exactly the certificate with the sum, as a root.
#[derive(Debug)]
pub(super) struct PinnedVerifier {
    sum: CaSum,
    provider: Arc<CryptoProvider>,
    /// The certificate with the sum, once a server has proven to be under it.
    found: OnceLock<String>,
}

impl PinnedVerifier {
    pub(super) fn new(sum: CaSum) -> Self {
        Self {
            sum,
            provider: endpoint::provider(),
            found: OnceLock::new(),
        }
    }

    /// PEM of the certificate with the sum, after a handshake that was good.
    pub(super) fn found(&self) -> Option<&str> {
        self.found.get().map(String::as_str)
    }

    fn mismatch(&self, leaf: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> rustls::Error {
        let presented = std::iter::once(leaf).chain(others).map(CaSum::of).collect();
        let mismatch = SumMismatch {
            wanted: self.sum,
            presented,
        };
        CertificateError::Other(OtherError(Arc::new(mismatch))).into()
    }
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let root = std::iter::once(end_entity)
            .chain(intermediates)
            .find(|certificate| CaSum::of(certificate) == self.sum)
            .ok_or_else(|| self.mismatch(end_entity, intermediates))?;
        let mut roots = RootCertStore::empty();
        roots.add(root.clone().into_owned())?;
        let under_root = WebPkiServerVerifier::builder_with_provider(
            Arc::new(roots),
            Arc::clone(&self.provider),
        )
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
        let verified = under_root.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )?;
        self.found.get_or_init(|| pem(root));
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// RFC 7468, lines of 64.
fn pem(certificate: &CertificateDer<'_>) -> String {
    let text = BASE64_STANDARD.encode(certificate);
    let (lines, rest) = text.as_bytes().as_chunks::<64>();
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in lines.iter().map(|line| &line[..]).chain([rest]) {
        if !line.is_empty() {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_read_in_the_usual_spellings() {
        let plain = "00".repeat(31) + "ab";
        let sum: CaSum = plain.parse().unwrap();
        assert_eq!(sum.to_string(), plain);
        let colons = format!("SHA256:{}AB", "00:".repeat(31));
        assert_eq!(colons.parse(), Ok(sum));
        for bad in ["", "ab", &"0".repeat(65), &"0".repeat(63), &"g".repeat(64)] {
            assert!(bad.parse::<CaSum>().is_err(), "{bad}");
        }
    }
}
