//! Case files: who asks for what, and what the answer must be.
//!
//! A case file may hold objects of our own as well: they count for its cases alone, so that a case can
//! bind a role without the folder doing so.
//!
//! What could go wrong: a case that tests nothing (no request, nobody who asks), or that passes because it
//! is judged by another policy than its author thinks. Both are mistakes of the file, and
//! docs/policy-files.md says which policy a case is judged by.

use super::{Report, documents::Documents, own};
use crate::{
    authz::{
        question::{AskedAttributes, Question, Subject},
        source::OwnSource,
    },
    config::yaml::{self, Mistake, Node},
    objects::{API_VERSION, Meta},
};
use serde::Deserialize;
use std::sync::Arc;

/// The kind of a document of cases.
pub const KIND: &str = "PolicyCases";

/// One file of cases.
#[derive(Debug)]
pub struct CaseFile {
    /// The file, as it was named to the command.
    pub file: Arc<str>,
    /// The folder's own kinds, and those of this file.
    pub own: OwnSource,
    /// Whether this file has objects of our own.
    pub has_own: bool,
    /// In the order of writing.
    pub cases: Vec<Case>,
}

/// One request and the answer to it.
#[derive(Debug)]
pub struct Case {
    /// What the case says, or the request itself.
    pub name: String,
    /// Line of the case.
    pub line: u64,
    /// Who asks for what, and where.
    pub question: Question,
    /// Whether the cluster's RBAC manifests judge, though there are objects of our own.
    pub cluster_rbac: bool,
    /// What must come out.
    pub expect: Expect,
    /// Part of the text of one of the reasons, if that matters.
    pub reason: Option<String>,
}

/// The answer that a case wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expect {
    /// Some rule matches.
    Allow,
    /// No rule matches.
    Deny,
    /// Answered 400 before anybody is asked.
    Refuse,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenFile {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(default, rename = "metadata")]
    _metadata: Meta,
    #[serde(default)]
    defaults: Defaults,
    cases: Vec<WrittenCase>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Defaults {
    user: Option<String>,
    groups: Option<Vec<String>>,
    cluster: Option<String>,
    #[serde(rename = "clusterRBAC")]
    cluster_rbac: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenCase {
    name: Option<String>,
    user: Option<String>,
    groups: Option<Vec<String>>,
    cluster: Option<String>,
    #[serde(rename = "clusterRBAC")]
    cluster_rbac: Option<bool>,
    request: Option<String>,
    requests: Option<Vec<String>>,
    attributes: Option<AskedAttributes>,
    expect: Expect,
    reason: Option<String>,
}

impl CaseFile {
    /// Reads one file of cases; `folder` is what the folder itself holds.
    pub(super) fn read(
        file: &Arc<str>,
        text: &str,
        folder: &OwnSource,
        report: &mut Report,
    ) -> Self {
        let mut read = Self {
            file: Arc::clone(file),
            own: OwnSource::default(),
            has_own: false,
            cases: Vec::new(),
        };
        let nodes = match yaml::parse(text) {
            Ok(nodes) => nodes,
            Err(mistake) => {
                report.mistake(file, mistake);
                return read;
            }
        };
        let mut documents = Documents::default();
        for node in nodes {
            let says = |key, value| node.get(key).and_then(Node::as_str) == Some(value);
            if says("apiVersion", API_VERSION) && says("kind", KIND) {
                read.take(&node, report);
            } else {
                documents.take(file, node, None);
            }
        }
        read.has_own = documents.has_own();
        read.own = own::collect(folder, documents.own(), report);
        if documents.has_raw() {
            let message =
                "RBAC manifests are policy: they belong beside the cases folder, not in it";
            report.mistake(file, bare(message));
        }
        documents.hand_over(report);
        if read.cases.is_empty() && report.is_clean(file) {
            report.warning(
                file,
                bare(&format!("there is no case of kind {KIND} in this file")),
            );
        }
        read
    }

    fn take(&mut self, node: &Node, report: &mut Report) {
        let written = match yaml::load::<WrittenFile>(node) {
            Ok(written) => written,
            Err(mistakes) => {
                for mistake in mistakes {
                    report.mistake(&self.file, mistake);
                }
                return;
            }
        };
        for (index, case) in written.cases.into_iter().enumerate() {
            let path = format!("cases[{index}]");
            let line = node.place_of(&path).0;
            match case.questions(&written.defaults) {
                Ok(cases) => self.cases.extend(cases.into_iter().map(|mut case| {
                    case.line = line;
                    case
                })),
                Err((key, message)) => {
                    let at = if key.is_empty() {
                        path
                    } else {
                        format!("{path}.{key}")
                    };
                    report.mistake(&self.file, Mistake::at(node, at, message));
                }
            }
        }
    }
}

fn bare(message: &str) -> Mistake {
    Mistake::at(&Node::empty(), "", message)
}

impl WrittenCase {
    /// One case for each request, or the key that is wrong and why.
    fn questions(self, defaults: &Defaults) -> Result<Vec<Case>, (&'static str, String)> {
        let subject = Subject {
            user: self
                .user
                .or_else(|| defaults.user.clone())
                .unwrap_or_default(),
            groups: self
                .groups
                .or_else(|| defaults.groups.clone())
                .unwrap_or_default(),
        };
        if subject.user.is_empty() && subject.groups.is_empty() {
            return Err(("", "says neither user nor groups".to_owned()));
        }
        let cluster = self.cluster.or_else(|| defaults.cluster.clone());
        let cluster_rbac = self
            .cluster_rbac
            .or(defaults.cluster_rbac)
            .unwrap_or_default();
        let mut asked = Vec::new();
        let wanted = [
            self.request.is_some(),
            self.requests.is_some(),
            self.attributes.is_some(),
        ];
        if wanted.iter().filter(|set| **set).count() != 1 {
            return Err((
                "",
                "write one of request, requests and attributes".to_owned(),
            ));
        }
        for line in self
            .request
            .into_iter()
            .chain(self.requests.into_iter().flatten())
        {
            let question = Question::of_line(&line, subject.clone(), cluster.clone());
            asked.push((question.map_err(|message| ("request", message))?, line));
        }
        if let Some(attributes) = self.attributes {
            let text = attributes.to_string();
            let question = Question::of_attributes(attributes, subject, cluster);
            asked.push((question.map_err(|message| ("attributes", message))?, text));
        }
        if asked.is_empty() {
            return Err(("requests", "names no request".to_owned()));
        }
        let many = asked.len() > 1;
        let case = |(question, text): (Question, String)| Case {
            name: match &self.name {
                Some(name) if many => format!("{name}: {text}"),
                Some(name) => name.clone(),
                None => text,
            },
            line: 0,
            question,
            cluster_rbac,
            expect: self.expect,
            reason: self.reason.clone(),
        };
        Ok(asked.into_iter().map(case).collect())
    }
}
