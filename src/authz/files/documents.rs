//! Documents → objects: lists are opened, and each object goes to the reader of its kind.

use super::{Report, own, raw};
use crate::{
    authz::source::{Origin, OwnSource, RawSource},
    config::yaml::{self, Mistake, Node, Value},
    objects::API_VERSION,
};
use std::sync::Arc;

/// The only version of `rbac.authorization.k8s.io` that API servers still have (since 1.22).
const RBAC: &str = "rbac.authorization.k8s.io/v1";

/// The documents of a folder, sorted by who reads them.
#[derive(Default)]
pub(super) struct Documents {
    own: Vec<Document>,
    raw: Vec<Document>,
    report: Report,
}

/// One object as it is written.
#[derive(Clone)]
pub(super) struct Document {
    pub(super) file: Arc<str>,
    pub(super) kind: String,
    pub(super) node: Node,
}

impl Document {
    /// A mistake at `path` of this object.
    pub(super) fn mistake(&self, path: &str, message: impl Into<String>) -> Mistake {
        Mistake::at(&self.node, path, message)
    }

    /// Where the object is written, and where each of its rules is.
    pub(super) fn origin(&self, rules: Option<&Node>) -> Origin {
        let lines = match rules.map(|node| &node.value) {
            Some(Value::List(items)) => items.iter().map(|item| item.line).collect(),
            _ => Vec::new(),
        };
        Origin {
            file: Arc::clone(&self.file),
            line: self.node.line,
            rules: lines.into(),
        }
    }
}

/// Which reader an object goes to.
enum Reader {
    Own,
    Raw,
    /// Objects that people keep beside RBAC manifests, and that grant nothing.
    Nobody,
}

impl Documents {
    /// Takes the objects of one file of policy.
    pub(super) fn read(&mut self, file: &Arc<str>, text: &str) {
        let nodes = match yaml::parse(text) {
            Ok(nodes) => nodes,
            Err(mistake) => return self.report.mistake(file, mistake),
        };
        for node in nodes {
            self.take(file, node, None);
        }
    }

    /// The objects of our own.
    pub(super) fn own(&self) -> &[Document] {
        &self.own
    }

    /// Whether any object of our own is among them.
    pub(super) fn has_own(&self) -> bool {
        !self.own.is_empty()
    }

    /// All objects by name, and what is wrong with them.
    pub(super) fn into_sources(self, report: &mut Report) -> (OwnSource, RawSource) {
        let raw = raw::collect(&self.raw, report);
        let own = own::collect(own::built_in(), &self.own, report);
        self.hand_over(report);
        (own, raw)
    }

    /// Whether any RBAC manifest is among them.
    pub(super) fn has_raw(&self) -> bool {
        !self.raw.is_empty()
    }

    /// What was wrong with the documents themselves.
    pub(super) fn hand_over(self, report: &mut Report) {
        report.mistakes.extend(self.report.mistakes);
        report.warnings.extend(self.report.warnings);
    }

    /// `listed` = version and kind that the list around the object gives to items that do not say their own.
    pub(super) fn take(&mut self, file: &Arc<str>, node: Node, listed: Option<(&str, &str)>) {
        let said = |key| node.get(key).and_then(Node::as_str).map(str::to_owned);
        let version = said("apiVersion").or_else(|| listed.map(|(version, _)| version.to_owned()));
        let kind = said("kind").or_else(|| listed.map(|(_, kind)| kind.to_owned()));
        let (Some(version), Some(kind)) = (version, kind) else {
            let message = "an object needs apiVersion and kind";
            return self
                .report
                .mistake(file, Mistake::at(&node, "", message.to_owned()));
        };
        if kind == "List" || (kind.ends_with("List") && node.get("items").is_some()) {
            return self.open_list(file, node, &version, &kind);
        }
        match reader_of(&version, &kind) {
            Ok(Reader::Nobody) => {}
            Ok(reader) => {
                let document = Document {
                    file: Arc::clone(file),
                    kind,
                    node,
                };
                match reader {
                    Reader::Own => self.own.push(document),
                    Reader::Raw | Reader::Nobody => self.raw.push(document),
                }
            }
            Err((path, message)) => self.report.mistake(file, Mistake::at(&node, path, message)),
        }
    }

    /// `kubectl get -o yaml` prints `v1 List`; the API itself typed lists, whose items need not say what
    /// they are.
    fn open_list(&mut self, file: &Arc<str>, node: Node, version: &str, kind: &str) {
        let item_kind = kind.trim_end_matches("List").to_owned();
        let place = Mistake::at(&node, "items", "must be a list of objects");
        let Value::Map(entries) = node.value else {
            return self.report.mistake(file, place);
        };
        let items = entries.into_iter().find(|entry| entry.key == "items");
        match items.map(|entry| entry.value.value) {
            Some(Value::List(items)) => {
                let listed = (!item_kind.is_empty()).then_some((version, item_kind.as_str()));
                for item in items {
                    self.take_item(file, item, listed);
                }
            }
            Some(Value::Null) => {}
            Some(_) | None => self.report.mistake(file, place),
        }
    }

    fn take_item(&mut self, file: &Arc<str>, item: Node, listed: Option<(&str, &str)>) {
        let is_list = item
            .get("kind")
            .and_then(Node::as_str)
            .is_some_and(|kind| kind.ends_with("List"));
        if is_list {
            let message = "a list in a list is read by no kubectl";
            self.report
                .mistake(file, Mistake::at(&item, "kind", message));
        } else {
            self.take(file, item, listed);
        }
    }
}

/// Which reader knows a kind, or the key that is wrong and why.
fn reader_of(version: &str, kind: &str) -> Result<Reader, (&'static str, String)> {
    if version == API_VERSION {
        return if own::KINDS.contains(&kind) {
            Ok(Reader::Own)
        } else if kind == super::cases::KIND {
            let message = format!("{kind} belongs in a folder called {}", super::CASES);
            Err(("kind", message))
        } else {
            let known = own::KINDS.join(", ");
            Err((
                "kind",
                format!("{kind} is no kind of a policy folder; there are {known}"),
            ))
        };
    }
    if version == RBAC {
        return if raw::KINDS.contains(&kind) {
            Ok(Reader::Raw)
        } else {
            let known = raw::KINDS.join(", ");
            Err((
                "kind",
                format!("{kind} is no kind of {RBAC}; there are {known}"),
            ))
        };
    }
    if version == "v1" && matches!(kind, "ServiceAccount" | "Namespace") {
        return Ok(Reader::Nobody);
    }
    let message = if version.starts_with("rbac.authorization.k8s.io/") {
        format!("{version} is gone since Kubernetes 1.22; write {RBAC}")
    } else if version.starts_with("palisade.dev/") {
        format!("{version} is not known; write {API_VERSION}")
    } else {
        format!("{version} {kind} is no policy; there are {API_VERSION} and {RBAC}")
    };
    Err(("apiVersion", message))
}
