//! Files that providers name.

use std::{fs, io::Read as _, path::Path};
use zeroize::Zeroizing;

/// A whole file of at most so many bytes; the sentence says what is wrong.
pub(super) fn read(path: &Path, most: u64) -> Result<Zeroizing<Vec<u8>>, String> {
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Zeroizing::new(Vec::new());
    let read = file.take(most + 1).read_to_end(&mut bytes);
    let read = read.map_err(|error| error.to_string())?;
    if read as u64 > most {
        return Err(format!("it has more than {most} bytes"));
    }
    Ok(bytes)
}
