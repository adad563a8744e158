//! Policy from files: a folder of our own kinds, of one cluster's RBAC manifests, or of both.
//!
//! One run reports every mistake of every file, each with its place, so that a review mends a folder in
//! one go. Our own kinds are read strictly: a misspelt key would otherwise be a rule without its limit
//! (F7 of docs/attacks.md). RBAC manifests are read as the API server reads them, because they say
//! what a cluster does, not what it should do: unknown keys change nothing there, and are warned of.
//!
//! What could go wrong: a folder that is read in part and then judged by (a folder with any mistake has
//! no policy), a link that leads in circles (linked folders are not entered, depth and number of files
//! are bounded), a huge file (`config::yaml` bounds text, depth and aliases), an object that is there
//! twice and of which the later one wins unseen (refused).
//!
//! docs/policy-files.md is the description for people.

use super::{
    explain::Judge,
    source::{OwnSource, RawSource},
};
use crate::{config::yaml::Mistake, objects::RoleSpec};
use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

pub mod cases;
mod check;
mod documents;
mod own;
mod raw;
pub mod run;
mod walk;

#[cfg(test)]
mod tests;

pub use walk::{MAX_DEPTH, MAX_FILES};

/// The folder, inside a policy folder, whose files hold cases.
pub const CASES: &str = "cases";

/// One policy folder, read whole.
#[derive(Debug)]
pub struct Folder {
    /// The folder (or the one file), as it was named.
    pub path: PathBuf,
    /// Our own kinds, with the built-in roles.
    pub own: OwnSource,
    /// Whether any object of our own stood in its files.
    pub has_own: bool,
    /// The RBAC objects of one cluster.
    pub raw: RawSource,
    /// Files of cases, in the order of their names.
    pub cases: Vec<cases::CaseFile>,
    /// Number of files read.
    pub files: usize,
    /// What is wrong. With any of these the folder is no policy.
    pub mistakes: Vec<FileMistake>,
    /// What is allowed and probably not meant.
    pub warnings: Vec<FileMistake>,
}

/// How much of what is in a folder, the built-in roles aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Roles of our own.
    pub roles: usize,
    /// Bindings of our own.
    pub bindings: usize,
    /// RBAC objects.
    pub manifests: usize,
}

impl Folder {
    /// Which policy judges: our own if the folder has any of it, unless the cluster's is asked for.
    pub fn judge(&self, cluster_rbac: bool) -> Judge<'_> {
        if cluster_rbac || (!self.has_own && !self.raw.is_empty()) {
            Judge::Cluster(&self.raw)
        } else {
            Judge::Own(&self.own)
        }
    }

    /// Counts what is in it.
    pub fn contents(&self) -> Contents {
        let raw = &self.raw;
        let built_in = own::built_in().roles.len();
        Contents {
            roles: self.own.roles.len().saturating_sub(built_in),
            bindings: self.own.bindings.len(),
            manifests: raw.cluster_roles.len()
                + raw.roles.len()
                + raw.cluster_role_bindings.len()
                + raw.role_bindings.len(),
        }
    }
}

/// The built-in roles: part of every policy.
pub fn built_in() -> &'static OwnSource {
    own::built_in()
}

/// The same, as [`super::Authz`] takes them.
pub fn built_in_roles() -> BTreeMap<String, RoleSpec> {
    let roles = own::built_in().roles.iter();
    roles
        .map(|(name, role)| (name.clone(), role.object.spec.clone()))
        .collect()
}

/// The built-in roles as a folder of nothing else.
pub fn built_in_folder() -> Folder {
    let documents = documents::Documents::default();
    finish(PathBuf::from("the built-in policy"), documents, &[], 0)
}

/// A mistake or a warning and the file it is in. `Display` is `file:line:column: path: message`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileMistake {
    /// The file, as it was named to the command.
    pub file: Arc<str>,
    /// What, and where in the file.
    pub mistake: Mistake,
}

impl fmt::Display for FileMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.mistake.in_file(&self.file))
    }
}

/// Why a folder could not be read at all.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The file system says no.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// More files than [`MAX_FILES`].
    #[error("{path} holds more than {MAX_FILES} policy files", path = .0.display())]
    TooMany(PathBuf),
    /// Folders in folders, deeper than [`MAX_DEPTH`].
    #[error("{path} lies more than {MAX_DEPTH} folders deep", path = .0.display())]
    TooDeep(PathBuf),
    /// Not UTF-8.
    #[error("{path} is not UTF-8 text", path = .0.display())]
    NotText(PathBuf),
}

/// Reads a folder (or one file), and each folder below it that has a `cases` folder of its own: such a
/// one is a policy of its own, and not part of the one around it.
pub fn load(path: &Path) -> Result<Vec<Folder>, FilesError> {
    walk::find(path)?.iter().map(read).collect()
}

/// Reads a folder (or one file) alone, without the policies below it and without its cases.
pub fn load_policy(path: &Path) -> Result<Folder, FilesError> {
    let mut found = walk::find(path)?;
    if found.is_empty() {
        return Err(FilesError::Read {
            path: path.to_owned(),
            source: io::ErrorKind::NotFound.into(),
        });
    }
    let mut first = found.swap_remove(0);
    first.case_files.clear();
    read(&first)
}

/// The files that [`load_policy`] reads, in its order.
pub fn policy_files(path: &Path) -> Result<Vec<PathBuf>, FilesError> {
    let found = walk::find(path)?.into_iter().next();
    Ok(found.map(|first| first.policy_files).unwrap_or_default())
}

/// Reads the text of one policy file: the door for tests, fuzzing and what is not on a disk.
pub fn load_text(name: &str, text: &str) -> Folder {
    let mut documents = documents::Documents::default();
    documents.read(&Arc::from(name), text);
    finish(PathBuf::from(name), documents, &[], 1)
}

fn read(found: &walk::Found) -> Result<Folder, FilesError> {
    let mut documents = documents::Documents::default();
    for path in &found.policy_files {
        documents.read(&shown(path), &text_of(path)?);
    }
    let mut case_texts = Vec::new();
    for path in &found.case_files {
        case_texts.push((shown(path), text_of(path)?));
    }
    let files = found.policy_files.len() + found.case_files.len();
    Ok(finish(found.root.clone(), documents, &case_texts, files))
}

fn finish(
    path: PathBuf,
    documents: documents::Documents,
    case_texts: &[(Arc<str>, String)],
    files: usize,
) -> Folder {
    let mut report = Report::default();
    let has_own = documents.has_own();
    let (own, raw) = documents.into_sources(&mut report);
    let cases = case_texts
        .iter()
        .map(|(file, text)| cases::CaseFile::read(file, text, &own, &mut report))
        .collect();
    report.mistakes.sort();
    report.warnings.sort();
    Folder {
        path,
        own,
        has_own,
        raw,
        cases,
        files,
        mistakes: report.mistakes,
        warnings: report.warnings,
    }
}

fn shown(path: &Path) -> Arc<str> {
    Arc::from(path.display().to_string())
}

fn text_of(path: &Path) -> Result<String, FilesError> {
    let bytes = std::fs::read(path).map_err(|source| FilesError::Read {
        path: path.to_owned(),
        source,
    })?;
    String::from_utf8(bytes).map_err(|_| FilesError::NotText(path.to_owned()))
}

/// What was found wrong so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    mistakes: Vec<FileMistake>,
    warnings: Vec<FileMistake>,
}

impl Report {
    fn mistake(&mut self, file: &Arc<str>, mistake: Mistake) {
        self.mistakes.push(FileMistake {
            file: Arc::clone(file),
            mistake,
        });
    }

    fn is_clean(&self, file: &Arc<str>) -> bool {
        !self.mistakes.iter().any(|found| found.file == *file)
    }

    fn warning(&mut self, file: &Arc<str>, mistake: Mistake) {
        self.warnings.push(FileMistake {
            file: Arc::clone(file),
            mistake,
        });
    }
}
