//! The policy folder of a gateway: its own roles, projects and bindings, in files that people review.
//!
//! A folder is read whole, by the same reader as `palisade policy check`, and a folder with any mistake is
//! not taken. What stands in it beside those kinds of our own (Clusters, Groups, RBAC manifests) is for that
//! command and its cases: the gateway passes it over and says so.
//!
//! A project counts by its uid, and a file has none: the folder's projects get one that is made of their name
//! ([`project_uid`]), the same on every replica and at every start. It is no uid that a stored project can have.
//!
//! [`FolderView`] is what the API and people see of it: every object with the place where it is written,
//! and of every binding whether it counts.

use super::{
    files::{self, Folder},
    source::Sourced,
};
use crate::objects::{Binding, Kind, Project, Role, SubjectKind};
use aws_lc_rs::digest;
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

/// Bytes of all files together: a hundred thousand bindings, and nothing that fills the memory.
const MAX_BYTES: u64 = 64 << 20;
/// Annotation of an object that stands in the folder: file and line, below the folder.
pub const FILE: &str = "palisade.dev/file";
/// Label of an object that stands in the folder.
pub const ORIGIN: &str = "palisade.dev/origin";
/// Value of [`ORIGIN`].
pub const FOLDER: &str = "folder";

/// SHA-256 over what a folder says.
pub type Sum = [u8; digest::SHA256_OUTPUT_LEN];

/// A folder without mistakes. The default is the empty one, of a gateway that has none.
#[derive(Debug, Default)]
pub struct PolicyFolder {
    pub(super) roles: BTreeMap<String, Sourced<Role>>,
    pub(super) projects: BTreeMap<String, Sourced<Project>>,
    pub(super) bindings: BTreeMap<String, Sourced<Binding>>,
    pub(super) warnings: Vec<String>,
    sum: Sum,
}

impl PolicyFolder {
    /// Reads a folder (or one file); on failure the lines to show, one a mistake.
    pub fn load(path: &Path) -> Result<Self, Vec<String>> {
        let cannot = |error: &dyn fmt::Display| vec![error.to_string()];
        let files = files::policy_files(path).map_err(|error| cannot(&error))?;
        let sizes = files.iter().filter_map(|file| file.metadata().ok());
        let bytes: u64 = sizes.map(|found| found.len()).sum();
        if bytes > MAX_BYTES {
            let name = path.display();
            return Err(vec![format!(
                "{name} holds {bytes} bytes of policy; {MAX_BYTES} are the limit"
            )]);
        }
        let folder = files::load_policy(path).map_err(|error| cannot(&error))?;
        if folder.mistakes.is_empty() {
            Ok(Self::of(folder))
        } else {
            Err(folder.mistakes.iter().map(ToString::to_string).collect())
        }
    }

    fn of(folder: Folder) -> Self {
        let mut warnings: Vec<String> = folder.warnings.iter().map(ToString::to_string).collect();
        warnings.extend(passed_over(&folder));
        let built_in = &files::built_in().roles;
        let root = folder.path;
        let mut roles = folder.own.roles;
        roles.retain(|name, _| !built_in.contains_key(name));
        for role in roles.values_mut() {
            below(&root, role);
        }
        let mut projects = folder.own.projects;
        for (name, project) in &mut projects {
            below(&root, project);
            project.object.metadata.uid = project_uid(name);
        }
        let mut bindings = folder.own.bindings;
        for binding in bindings.values_mut() {
            below(&root, binding);
            let spec = &mut binding.object.spec;
            if let Some(project) = projects.get(&spec.project) {
                spec.project_uid.clone_from(&project.object.metadata.uid);
            }
        }
        let mut folder = Self {
            roles,
            projects,
            bindings,
            warnings,
            sum: Sum::default(),
        };
        folder.sum = folder.sum_up();
        folder
    }

    fn sum_up(&self) -> Sum {
        fn add<'a, K: Kind + 'a>(
            context: &mut digest::Context,
            all: impl IntoIterator<Item = &'a Sourced<K>>,
        ) {
            for found in all {
                // Kinds always serialise; the line keeps two objects from running into each other.
                let text = serde_json::to_string(&found.object).unwrap_or_default();
                context.update(format!("{}\n{text}\n", found.origin.spot()).as_bytes());
            }
        }
        let mut context = digest::Context::new(&digest::SHA256);
        add(&mut context, self.roles.values());
        add(&mut context, self.projects.values());
        add(&mut context, self.bindings.values());
        for warning in &self.warnings {
            context.update(format!("{warning}\n").as_bytes());
        }
        let mut sum = Sum::default();
        sum.copy_from_slice(context.finish().as_ref());
        sum
    }

    /// Tells what it says apart from what another one says, places included.
    pub fn sum(&self) -> Sum {
        self.sum
    }

    /// What is allowed and probably not meant.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The roles, by name.
    pub fn roles(&self) -> impl Iterator<Item = (&String, &Role)> {
        self.roles.iter().map(|(name, role)| (name, &role.object))
    }
}

/// What a gateway takes no notice of.
fn passed_over(folder: &Folder) -> Vec<String> {
    let own = &folder.own;
    let line = |kind, name: &String, spot| {
        format!("{spot}: {kind} {name:?} is for `palisade policy` alone: the gateway has its own")
    };
    let clusters = own.clusters.iter();
    let clusters = clusters.map(|(name, found)| line("Cluster", name, found.origin.spot()));
    let groups = own.groups.iter();
    let groups = groups.map(|(name, found)| line("Group", name, found.origin.spot()));
    let manifests = folder.contents().manifests;
    let manifests = (manifests > 0).then(|| {
        let root = folder.path.display();
        format!(
            "{root}: RBAC manifests ({manifests}) are for `palisade policy` alone: they say what a cluster does by itself"
        )
    });
    clusters.chain(groups).chain(manifests).collect()
}

/// The place as it is shown from now on: below the folder, whose own path is nobody's business.
fn below<K: Kind>(root: &Path, found: &mut Sourced<K>) {
    let file = PathBuf::from(&*found.origin.file);
    if let Ok(inner) = file.strip_prefix(root)
        && !inner.as_os_str().is_empty()
    {
        found.origin.file = inner.display().to_string().into();
    } else if let Some(name) = file.file_name() {
        // The folder is one file.
        found.origin.file = name.display().to_string().into();
    }
}

/// Uid of the folder's project of this name: a UUID of version 8 (RFC 9562, section 5.8), where the store makes
/// random ones of version 4.
pub fn project_uid(name: &str) -> String {
    let sum = digest::digest(
        &digest::SHA256,
        format!("palisade.dev project of a folder: {name}").as_bytes(),
    );
    let mut bytes = [0; 16];
    for (byte, made) in bytes.iter_mut().zip(sum.as_ref()) {
        *byte = *made;
    }
    uuid::Builder::from_custom_bytes(bytes)
        .into_uuid()
        .to_string()
}

/// Whether a binding of the folder counts: its subject is a name there, and a uid in the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// For the subject of this uid.
    Counts(Box<str>),
    /// Nobody has the name (yet).
    Nobody,
    /// Somebody has the name who is not the one that it stood for.
    Another {
        /// Who has it.
        now: Box<str>,
        /// Who had it, or whom the file names.
        was: Box<str>,
    },
}

/// What people see of the folder.
#[derive(Clone, Debug, Default)]
pub struct FolderView {
    /// By name, labelled and annotated.
    pub roles: BTreeMap<String, Role>,
    /// By name, labelled and annotated.
    pub projects: BTreeMap<String, Project>,
    /// By name; with the subject's uid where it counts.
    pub bindings: BTreeMap<String, Placed>,
    /// Stored roles of the same name: they do not count.
    pub hidden_roles: Vec<String>,
    /// Stored projects of the same name: they do not count.
    pub hidden_projects: Vec<String>,
    /// Stored bindings of the same name: they do not count.
    pub hidden_bindings: Vec<String>,
    /// Namespaces that a project of the folder and a stored one both hold: they are in neither.
    pub shared: Vec<String>,
    /// What is allowed and probably not meant.
    pub warnings: Vec<String>,
}

/// A binding of the folder.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Labelled and annotated.
    pub binding: Binding,
    /// Whether it counts.
    pub standing: Standing,
}

impl FolderView {
    /// Where the object of this kind and name stands in the folder, if it does.
    pub fn place<K: Kind>(&self, name: &str) -> Option<&str> {
        let meta = match K::KIND {
            Role::KIND => self.roles.get(name)?.meta(),
            Project::KIND => self.projects.get(name)?.meta(),
            Binding::KIND => self.bindings.get(name)?.binding.meta(),
            _ => return None,
        };
        meta.annotations.get(FILE).map(String::as_str)
    }

    /// How many [`FolderView::remarks`] there are.
    pub fn remark_count(&self) -> usize {
        let idle = |placed: &&Placed| !matches!(placed.standing, Standing::Counts(_));
        let idle = self.bindings.values().filter(idle).count();
        let hidden = [
            &self.hidden_roles,
            &self.hidden_projects,
            &self.hidden_bindings,
        ];
        let hidden: usize = hidden.into_iter().map(Vec::len).sum();
        idle + hidden + self.shared.len() + self.warnings.len()
    }

    /// What a person has to know, one sentence each: bindings that do not count, stored objects that do not
    /// count, and warnings.
    pub fn remarks(&self) -> Vec<String> {
        let bindings = self.bindings.values().filter_map(Placed::remark);
        let hidden = |kind: &'static str, names: &[String]| {
            let lines = names.iter().map(move |name| {
                format!(
                    "{kind} {name:?} is also in the store, where it does not count while the folder has it"
                )
            });
            lines.collect::<Vec<_>>()
        };
        bindings
            .chain(hidden("Role", &self.hidden_roles))
            .chain(hidden("Project", &self.hidden_projects))
            .chain(hidden("Binding", &self.hidden_bindings))
            .chain(self.shared.iter().cloned())
            .chain(self.warnings.iter().cloned())
            .collect()
    }
}

impl Placed {
    fn remark(&self) -> Option<String> {
        let subject = &self.binding.spec.subject;
        let (name, meta) = (&subject.name, &self.binding.metadata);
        let kind = match subject.kind {
            SubjectKind::User => "user",
            SubjectKind::Group => "group",
        };
        let why = match &self.standing {
            Standing::Counts(_) => return None,
            Standing::Nobody => format!("there is no {kind} {name:?} (yet)"),
            Standing::Another { now, was } => format!(
                "the {kind} {name:?} is not the one that had the name before ({was}): write uid: {now} beside the \
                 name if this one is meant"
            ),
        };
        let place = meta.annotations.get(FILE).map_or("", String::as_str);
        Some(format!(
            "{place}: Binding {:?} does not count: {why}",
            meta.name
        ))
    }
}

/// An object of the folder as it is shown.
pub(super) fn shown<K: Kind>(found: &Sourced<K>) -> K {
    let mut object = found.object.clone();
    object.fill_type();
    let text = serde_json::to_string(&object).unwrap_or_default();
    let sum = digest::digest(&digest::SHA256, text.as_bytes());
    let (start, _) = sum.as_ref().split_at_checked(8).unwrap_or_default();
    let version = u64::from_be_bytes(start.try_into().unwrap_or_default());
    let meta = object.meta_mut();
    if meta.uid.is_empty() {
        meta.uid = format!("folder-{}", meta.name);
    }
    // Another one as soon as it says something else: what a cache compares.
    meta.resource_version = version.to_string();
    meta.labels.insert(ORIGIN.to_owned(), FOLDER.to_owned());
    meta.annotations
        .insert(FILE.to_owned(), found.origin.spot().to_string());
    object
}
