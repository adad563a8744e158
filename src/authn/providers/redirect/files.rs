//! Files that a provider's settings name, read when they are needed: a new secret or authority takes no reload.

use super::Failure;
use crate::config::{Client, Link};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use zeroize::Zeroizing;

/// The public authorities are some 200 KiB.
const MAX_CA: u64 = 1 << 20;
/// Secrets have a few dozen bytes.
const MAX_SECRET: u64 = 4096;

/// Reads what these settings name: what is wrong with it is better known before it counts.
pub fn check_files(link: &Link, client: &Client) -> Result<(), Failure> {
    tls(link.ca_file.as_deref())?;
    secret(client)?;
    Ok(())
}

/// The client's secret, if it has one.
pub(super) fn secret(client: &Client) -> Result<Option<Zeroizing<String>>, Failure> {
    let Some(path) = &client.secret_file else {
        return Ok(None);
    };
    let wrong = |why: &str| Failure::File {
        path: path.clone(),
        why: why.to_owned(),
    };
    let bytes = read(path, MAX_SECRET)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong("it is not UTF-8"))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.trim().is_empty() || text.contains(char::is_control) {
        return Err(wrong("it holds no secret, or more than one line"));
    }
    Ok(Some(Zeroizing::new(text.to_owned())))
}

/// Trust in these authorities alone; in the public ones if none are named.
pub(super) fn tls(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, Failure> {
    let mut roots = RootCertStore::empty();
    let wrong = |why: String| Failure::File {
        path: ca_file.map_or_else(PathBuf::new, Path::to_owned),
        why,
    };
    match ca_file {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
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
        .map_err(|error| wrong(error.to_string()))?;
    Ok(Arc::new(
        config.with_root_certificates(roots).with_no_client_auth(),
    ))
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
