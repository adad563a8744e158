//! Which files belong to which policy folder.

use super::{CASES, FilesError};
use std::path::{Path, PathBuf};

/// Folders in folders; real ones stay under five.
pub const MAX_DEPTH: usize = 16;
/// Files under one folder that is named to a command: a slip such as `/` should end soon.
pub const MAX_FILES: usize = 10_000;

/// One policy folder's files, each list in the order of the paths.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) root: PathBuf,
    pub(super) policy_files: Vec<PathBuf>,
    pub(super) case_files: Vec<PathBuf>,
}

/// The policy folder at `path`, first, and those below it.
pub(super) fn find(path: &Path) -> Result<Vec<Found>, FilesError> {
    let meta = std::fs::metadata(path).map_err(|source| FilesError::Read {
        path: path.to_owned(),
        source,
    })?;
    if !meta.is_dir() {
        return Ok(vec![Found {
            root: path.to_owned(),
            policy_files: vec![path.to_owned()],
            case_files: Vec::new(),
        }]);
    }
    let mut walk = Walk {
        top: path,
        found: vec![Found {
            root: path.to_owned(),
            ..Found::default()
        }],
        files: 0,
    };
    walk.enter(path, 0, 0, In::Policy)?;
    Ok(walk.found)
}

/// What a folder's files are.
#[derive(Clone, Copy, PartialEq)]
enum In {
    Policy,
    Cases,
}

struct Walk<'a> {
    top: &'a Path,
    found: Vec<Found>,
    files: usize,
}

impl Walk<'_> {
    /// Takes the files of `folder` into `found[owner]`, then those of the folders in it.
    fn enter(
        &mut self,
        folder: &Path,
        depth: usize,
        owner: usize,
        part: In,
    ) -> Result<(), FilesError> {
        if depth > MAX_DEPTH {
            return Err(FilesError::TooDeep(folder.to_owned()));
        }
        let mut folders = Vec::new();
        for entry in sorted(folder)? {
            if hidden(&entry) {
                continue;
            }
            // A mounted ConfigMap is links to files; a linked folder may lead in circles.
            let is_link = std::fs::symlink_metadata(&entry).is_ok_and(|meta| meta.is_symlink());
            if entry.is_dir() {
                if !is_link {
                    folders.push(entry);
                }
            } else if is_policy_file(&entry) {
                self.take(entry, owner, part)?;
            }
        }
        for inner in folders {
            let is_cases = inner.file_name().is_some_and(|name| name == CASES);
            if part == In::Cases || is_cases {
                self.enter(&inner, depth + 1, owner, In::Cases)?;
            } else if inner.join(CASES).is_dir() {
                self.found.push(Found {
                    root: inner.clone(),
                    ..Found::default()
                });
                self.enter(&inner, depth + 1, self.found.len() - 1, In::Policy)?;
            } else {
                self.enter(&inner, depth + 1, owner, In::Policy)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, file: PathBuf, owner: usize, part: In) -> Result<(), FilesError> {
        self.files += 1;
        if self.files > MAX_FILES {
            return Err(FilesError::TooMany(self.top.to_owned()));
        }
        if let Some(found) = self.found.get_mut(owner) {
            match part {
                In::Policy => found.policy_files.push(file),
                In::Cases => found.case_files.push(file),
            }
        }
        Ok(())
    }
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>, FilesError> {
    let failed = |source| FilesError::Read {
        path: folder.to_owned(),
        source,
    };
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        entries.push(entry.map_err(failed)?.path());
    }
    entries.sort();
    Ok(entries)
}

fn hidden(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn is_policy_file(path: &Path) -> bool {
    path.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| matches!(extension, "yaml" | "yml" | "json"))
}
