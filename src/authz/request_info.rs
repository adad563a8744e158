//! What a request asks for, read as `k8s.io/apiserver`'s `RequestInfoFactory` reads it.
//!
//! Guarantees: for every target that is not refused, verb, group, namespace, resource, subresource, name and
//! path are those that an API server (1.36, prefixes `api` and `apis`) will use itself for the same raw
//! bytes: decoded once, never cleaned, Go's query semantics.
//!
//! What an attacker would try: a target that reads differently here and there (`//`, `%2f`, `..`, `;` in the
//! query, `watch` twice). Where two readers of today disagree the target is refused ([`Refusal`]); where only
//! a naive reader would err, Go's reading is taken. `exec`, `attach` and `portforward` that arrive as `GET`
//! need `create` as well ([`RequestInfo::checks`]), whatever the cluster's version (kubernetes#78741).
//!
//! Left to others: the bytes go upstream unchanged (`proxy`); the authority of an absolute-form target is
//! compared with `Host` by whoever routes.

mod field_selector;
mod label_selector;
mod list_options;
mod path;
mod query;
mod refusal;

use super::Attributes;
pub(super) use label_selector::{is_label_key, is_label_value};
use path::Segments;
pub use refusal::Refusal;
use std::borrow::Cow;

/// Subresources of a pod that give a shell or a socket in it.
const CONNECTING: [&str; 3] = ["attach", "exec", "portforward"];

/// Subresources whose requests stay open (`config.go`, `BasicLongRunningRequestCheck`).
const LONG_RUNNING: [&str; 5] = ["attach", "exec", "proxy", "log", "portforward"];

/// The attributes of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestInfo<'a> {
    /// Resource request, or a plain path.
    pub is_resource: bool,
    /// `get`, `list`, `watch`, …; for a plain path the method in lower case. Empty for a method that the API
    /// does not know: only a rule's `*` matches it.
    pub verb: Cow<'a, str>,
    /// `api`, `apis`, or empty.
    pub api_prefix: Cow<'a, str>,
    /// Empty: the core group.
    pub api_group: Cow<'a, str>,
    /// `v1`
    pub api_version: Cow<'a, str>,
    /// Empty: no namespace.
    pub namespace: Cow<'a, str>,
    /// `pods`
    pub resource: Cow<'a, str>,
    /// `log`, or empty.
    pub subresource: Cow<'a, str>,
    /// From the path, or for a list or watch from `fieldSelector=metadata.name=…`.
    pub name: Cow<'a, str>,
    /// The decoded path, not cleaned, without the query.
    pub path: Cow<'a, str>,
    /// First value of the parameter, for list, watch and deletecollection.
    pub field_selector: Cow<'a, str>,
    /// First value of the parameter, for list, watch and deletecollection.
    pub label_selector: Cow<'a, str>,
    /// A verb that must be allowed **as well**.
    pub extra_verb: Option<&'static str>,
    /// Whether the client asked for another protocol (WebSocket, SPDY).
    pub upgrade: bool,
}

/// Where the parts `resource/name/subresource` start among the segments.
struct PartsStart {
    /// Index of the group version's last segment's successor, after any deprecated prefix.
    resource: usize,
    /// The deprecated prefix, `watch` or `proxy`, if there is one.
    verb: Option<&'static str>,
    /// Index of the namespace's name, if the path has `namespaces/NAME`.
    namespace: Option<usize>,
}

impl<'a> RequestInfo<'a> {
    /// Reads a request target as it came (origin form or absolute form), never a cleaned one.
    ///
    /// `upgrade` says whether the request asks for another protocol.
    pub fn parse(method: &'a str, raw_target: &'a str, upgrade: bool) -> Result<Self, Refusal> {
        let target = path::cut(raw_target)?;
        let mut segments = path::segments(target.path)?;
        let mut info = Self {
            verb: lower_case(method),
            path: path::decode_whole(target.path),
            upgrade,
            ..Self::default()
        };
        // Fewer than three segments are a plain path whatever they are; `apis` needs four, and keeps its
        // prefix when it has fewer.
        if segments.len() < 3
            || !matches!(segments.first().map(AsRef::as_ref), Some("api" | "apis"))
        {
            return Ok(info);
        }
        info.api_prefix = take(&mut segments, 0);
        if info.api_prefix == "apis" {
            if segments.len() < 4 {
                return Ok(info);
            }
            info.api_group = take(&mut segments, 1);
            info.api_version = take(&mut segments, 2);
        } else {
            info.api_version = take(&mut segments, 1);
        }
        info.is_resource = true;
        info.fill_resource(method, &mut segments)?;
        info.fill_from_query(target.query)?;
        info.extra_verb = (info.api_group.is_empty()
            && info.resource == "pods"
            && CONNECTING.contains(&info.subresource.as_ref())
            && info.verb != "create")
            .then_some("create");
        Ok(info)
    }

    fn fill_resource(&mut self, method: &str, segments: &mut Segments<'a>) -> Result<(), Refusal> {
        // The segments taken so far are empty now; their places still count.
        let version = if self.api_prefix == "apis" { 2 } else { 1 };
        let start = parts_after(segments, version + 1).ok_or(Refusal::NoResource)?;
        self.verb = Cow::Borrowed(start.verb.unwrap_or_else(|| verb_of(method)));
        if let Some(at) = start.namespace {
            // Cloned, not taken: `namespaces/ns1` is also resource and name.
            self.namespace = segments.get(at).cloned().unwrap_or_default();
        }
        self.resource = take(segments, start.resource);
        self.name = take(segments, start.resource + 1);
        if start.verb != Some("proxy") {
            self.subresource = take(segments, start.resource + 2);
        }
        Ok(())
    }

    /// Lists, watches and the verb `deletecollection`: what has no name in its path. The deprecated prefixes
    /// have their verb already, and no selectors.
    fn fill_from_query(&mut self, query: &'a str) -> Result<(), Refusal> {
        match self.verb.as_ref() {
            "get" if self.name.is_empty() => {}
            "delete" if self.name.is_empty() => self.verb = Cow::Borrowed("deletecollection"),
            _ => return Ok(()),
        }
        let found = query::read(query)?;
        if self.verb == "get" {
            let options = list_options::decode(&found)?;
            self.verb = Cow::Borrowed(if options.watch { "watch" } else { "list" });
            self.name = options.name.unwrap_or_default();
        }
        self.field_selector = list_options::text(found.field_selector.as_ref())?;
        self.label_selector = list_options::text(found.label_selector.as_ref())?;
        Ok(())
    }

    /// The attributes that rules are matched against.
    pub fn attributes(&self) -> Attributes<'_> {
        Attributes {
            is_resource: self.is_resource,
            verb: &self.verb,
            api_group: &self.api_group,
            api_version: &self.api_version,
            namespace: &self.namespace,
            resource: &self.resource,
            subresource: &self.subresource,
            name: &self.name,
            path: &self.path,
        }
    }

    /// All that must be allowed: the request itself, and with [`RequestInfo::extra_verb`] the same again.
    pub fn checks(&self) -> impl Iterator<Item = Attributes<'_>> {
        let extra = self
            .extra_verb
            .map(|verb| self.attributes().with_verb(verb));
        std::iter::once(self.attributes()).chain(extra)
    }

    /// Whether the request may stay open: upstream's predicate (which ignores the API group), and every
    /// upgrade.
    pub fn is_long_running(&self) -> bool {
        if self.upgrade {
            return true;
        }
        if !self.is_resource {
            return self.path.starts_with("/debug/pprof/");
        }
        matches!(self.verb.as_ref(), "watch" | "proxy")
            || LONG_RUNNING.contains(&self.subresource.as_ref())
    }
}

/// Where the parts start in the segments of a whole path; `None` if it is no resource's path.
fn parts_start(segments: &Segments<'_>) -> Option<PartsStart> {
    let first = match segments.first()?.as_ref() {
        "api" => 2,
        "apis" => 3,
        _ => return None,
    };
    parts_after(segments, first)
}

/// The same, when the segment after the version is at `first`. `None`: nothing follows a deprecated prefix.
fn parts_after(segments: &Segments<'_>, first: usize) -> Option<PartsStart> {
    let at = |index: usize| segments.get(index).map(AsRef::as_ref);
    let verb = match at(first)? {
        "watch" => Some("watch"),
        "proxy" => Some("proxy"),
        _ => None,
    };
    let resource = first + usize::from(verb.is_some());
    let namespaced = at(resource)? == "namespaces" && at(resource + 1).is_some();
    let rooted_again =
        namespaced && at(resource + 2).is_some_and(|part| part != "status" && part != "finalize");
    Some(PartsStart {
        resource: if rooted_again { resource + 2 } else { resource },
        verb,
        namespace: namespaced.then_some(resource + 1),
    })
}

fn take<'a>(segments: &mut Segments<'a>, index: usize) -> Cow<'a, str> {
    segments
        .get_mut(index)
        .map(std::mem::take)
        .unwrap_or_default()
}

fn verb_of(method: &str) -> &'static str {
    match method {
        "POST" => "create",
        "GET" | "HEAD" => "get",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "",
    }
}

fn lower_case(method: &str) -> Cow<'_, str> {
    Cow::Borrowed(match method {
        "GET" => "get",
        "HEAD" => "head",
        "POST" => "post",
        "PUT" => "put",
        "PATCH" => "patch",
        "DELETE" => "delete",
        "OPTIONS" => "options",
        other => return Cow::Owned(other.to_ascii_lowercase()),
    })
}

#[cfg(test)]
mod tests;
