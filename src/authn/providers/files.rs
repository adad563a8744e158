//! Files that providers' settings name, read when they are needed: a new secret or authority takes no reload.

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use std::{
    fmt, fs,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};
use zeroize::Zeroizing;

/// Bytes of a file with authorities: all public ones take 300 KiB.
const MAX_CA: u64 = 2 << 20;
/// Bytes of a file with a secret, which has a few dozen.
const MAX_SECRET: u64 = 4 << 10;

/// Why a file is of no use.
#[derive(Debug)]
pub(super) enum FileError {
    /// What is wrong with it.
    Wrong { path: PathBuf, why: String },
    /// It was not read: no thread was there.
    Busy,
}

impl FileError {
    pub(super) fn wrong(path: &Path, why: &dyn fmt::Display) -> Self {
        Self::Wrong {
            path: path.to_owned(),
            why: why.to_string(),
        }
    }
}

/// What reads files, not on a thread that serves requests.
pub(super) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, FileError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or(Err(FileError::Busy))
}

/// Trust in these authorities alone; in the public ones if none are named.
pub(super) fn tls(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, FileError> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let pem = read(path, MAX_CA)?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|error| FileError::wrong(path, &error))?;
                let added = roots.add(certificate);
                added.map_err(|error| FileError::wrong(path, &error))?;
            }
            if roots.is_empty() {
                return Err(FileError::wrong(path, &"it holds no certificate (PEM)"));
            }
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| FileError::wrong(ca_file.unwrap_or(Path::new("")), &error))?;
    Ok(Arc::new(
        config.with_root_certificates(roots).with_no_client_auth(),
    ))
}

/// The text of a file with a secret, as it is: what ends a line is no part of it, and whose it is says what else is not.
pub(super) fn secret(path: &Path) -> Result<Zeroizing<String>, FileError> {
    let bytes = read(path, MAX_SECRET)?;
    let text = std::str::from_utf8(&bytes);
    let text = text.map_err(|_| FileError::wrong(path, &"it is not UTF-8"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// A whole file of at most so many bytes.
fn read(path: &Path, most: u64) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let file = fs::File::open(path).map_err(|error| FileError::wrong(path, &error))?;
    let mut bytes = Zeroizing::new(Vec::new());
    let read = file.take(most + 1).read_to_end(&mut bytes);
    let read = read.map_err(|error| FileError::wrong(path, &error))?;
    if read as u64 > most {
        let why = format!("it has more than {most} bytes");
        return Err(FileError::wrong(path, &why));
    }
    Ok(bytes)
}
