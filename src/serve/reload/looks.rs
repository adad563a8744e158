//! Whether a file has changed, by looking at it now and then.
//!
//! Polling and not the kernel's notices: a ConfigMap or Secret volume swaps a symlink two levels above the
//! file, editors and `certbot` put another file in its place, network file systems tell nobody; each needs
//! a watch of its own on every folder of the path, and a lost notice is a certificate that runs out. A look
//! is one `stat` a file, and follows all links.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// What a look at one file sees; `None` if it is not there.
type Stamp = Option<(u64, u64, u64, i64, i64, i64, i64)>;

/// What a look at all files sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Look(Vec<(PathBuf, Stamp)>);

impl Look {
    /// Looks at each. Blocks as the file system does.
    pub(super) fn at(files: impl IntoIterator<Item = PathBuf>) -> Self {
        let look = |file: PathBuf| {
            let seen = stamp(&file);
            (file, seen)
        };
        Self(files.into_iter().map(look).collect())
    }
}

/// Device, inode, size, and the times of the last change of content and of the inode: a file that is
/// written in place within one tick of the clock is noticed by the next look, since a change counts only
/// when two looks agree on it.
fn stamp(file: &Path) -> Stamp {
    let found = fs::metadata(file).ok()?;
    Some((
        found.dev(),
        found.ino(),
        found.size(),
        found.mtime(),
        found.mtime_nsec(),
        found.ctime(),
        found.ctime_nsec(),
    ))
}

/// Compares looks.
pub(super) struct Looks {
    /// Before the last reading.
    read: Look,
    /// The last one.
    last: Look,
}

impl Looks {
    /// Begins with what was seen before the files were read.
    pub(super) fn new(read: Look) -> Self {
        Self {
            last: read.clone(),
            read,
        }
    }

    /// The files are being read: what was seen just before.
    pub(super) fn reading(&mut self, look: Look) {
        *self = Self::new(look);
    }

    /// Whether the files differ from those that were read, and have been at rest since the last look: a
    /// certificate is written before its key, or after.
    pub(super) fn is_news(&mut self, look: Look) -> bool {
        let at_rest = look == self.last;
        self.last = look;
        at_rest && self.last != self.read
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_change_is_news_when_two_looks_agree() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        let look = || Look::at([one.clone(), two.clone()]);
        fs::write(&one, "1").unwrap();
        let mut looks = Looks::new(look());
        assert!(!looks.is_news(look()));
        fs::write(&two, "2").unwrap();
        assert!(!looks.is_news(look()), "it may still be written");
        assert!(looks.is_news(look()));
        assert!(looks.is_news(look()), "until it is read");
        looks.reading(look());
        assert!(!looks.is_news(look()));
        fs::remove_file(&one).unwrap();
        assert!(!looks.is_news(look()));
        assert!(looks.is_news(look()));
    }

    #[test]
    fn a_volume_that_swaps_its_link_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let volume = folder.path();
        for version in ["v1", "v2"] {
            fs::create_dir(volume.join(version)).unwrap();
            fs::write(volume.join(version).join("tls.crt"), version).unwrap();
        }
        symlink("v1", volume.join("..data")).unwrap();
        let file = volume.join("tls.crt");
        symlink("..data/tls.crt", &file).unwrap();
        let look = || Look::at([file.clone()]);
        let mut looks = Looks::new(look());
        symlink("v2", volume.join("..data_tmp")).unwrap();
        fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
        assert!(!looks.is_news(look()));
        assert!(looks.is_news(look()));
    }
}
