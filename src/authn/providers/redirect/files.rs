//! Files that a provider's settings name.

use super::{
    super::files::{self, FileError},
    Failure,
};
use crate::config::{Client, Link};
use zeroize::Zeroizing;

/// Reads what these settings name: what is wrong with it is better known before it counts.
pub fn check_files(link: &Link, client: &Client) -> Result<(), Failure> {
    files::tls(link.ca_file.as_deref())?;
    secret(client)?;
    Ok(())
}

/// The client's secret, if it has one.
pub(super) fn secret(client: &Client) -> Result<Option<Zeroizing<String>>, FileError> {
    let Some(path) = &client.secret_file else {
        return Ok(None);
    };
    let whole = files::secret(path)?;
    let text = whole.trim_end_matches(['\r', '\n']);
    if text.trim().is_empty() || text.contains(char::is_control) {
        let why = "it holds no secret, or more than one line";
        return Err(FileError::wrong(path, &why));
    }
    Ok(Some(Zeroizing::new(text.to_owned())))
}
