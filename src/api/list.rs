//! Lists: pages with limit and continue, label and field selectors.
//!
//! Pages are not read from one old revision, as upstream's are: every page shows the present, in the order
//! of names, so an object that is there all the time is in exactly one page. The list carries the revision
//! of its first page, so that a watch from there on misses nothing that later pages showed too early.

use super::Reach;
use super::error::ApiError;
use super::query::Query;
use super::resource::{Context, Resource};
use super::select::Selection;
use super::version;
use crate::objects::{API_VERSION, Kind, Stored};
use crate::store::Revision;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use std::cmp::Ordering;

/// Objects read from the store at once.
const PAGE: usize = 500;
/// Objects in an answer to a request without a limit: kubectl and client libraries ask in parts of 500,
/// so this is for scripts, and some 50 MB of memory at most.
const MAX_ITEMS: usize = 20_000;
/// Objects that one request with a limit looks at; past it a selective list goes on in its next page, as
/// clients must expect of any list.
const MAX_SEEN: usize = 20_000;
/// Bytes of a continue token: a revision, a name, and base64 over both.
const MAX_TOKEN: usize = 256;

/// One page of a list.
pub(super) struct Page<K> {
    /// In the order of their names.
    pub(super) items: Vec<K>,
    /// `metadata.resourceVersion` and `metadata.continue`.
    pub(super) meta: ListMeta,
}

/// `metav1.ListMeta`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListMeta {
    resource_version: String,
    #[serde(rename = "continue", skip_serializing_if = "String::is_empty")]
    next: String,
}

impl<K: Kind> Page<K> {
    /// A page of one object.
    pub(super) fn of(object: K) -> Self {
        let resource_version = object.meta().resource_version.clone();
        Self {
            items: vec![object],
            meta: ListMeta {
                resource_version,
                next: String::new(),
            },
        }
    }

    /// `UserList` and so on.
    pub(super) fn to_value(&self) -> serde_json::Value {
        serde_json::json!({
            "apiVersion": API_VERSION,
            "kind": format!("{}List", K::KIND),
            "metadata": self.meta,
            "items": self.items,
        })
    }
}

/// Where a list begins, and what it shows.
struct Wanted {
    selection: Selection,
    limit: Option<usize>,
    after: Option<String>,
    revision: Option<Revision>,
    version: version::Wanted,
}

/// Lists objects of one kind.
pub(super) async fn list<K: Resource>(
    cx: &Context<'_>,
    query: &Query,
) -> Result<Page<K>, ApiError> {
    let wanted = Wanted::parse::<K>(query)?;
    wanted.version.check(&cx.api.store).await?;
    if cx.caller.reach == Reach::Own
        && let Some(names) = K::own_names(cx.api, cx.caller)
    {
        return own::<K>(cx, wanted, names).await;
    }
    let mut items: Vec<K> = Vec::new();
    let mut revision = wanted.revision;
    let mut last = wanted.after.clone();
    let mut source = Source::<K>::new(cx, wanted.after);
    let mut seen = 0;
    while let Some(mut object) = source.next(cx).await? {
        wanted.version.check_read(source.revision)?;
        // Before anything is counted: neither where a page ends nor its token says what else there is.
        if cx.caller.reach == Reach::Own && !object.is_own(cx.api, cx.caller) {
            continue;
        }
        seen += 1;
        object.show(cx.api, cx.caller);
        let matches = wanted.selection.matches(&object);
        let full = wanted
            .limit
            .is_some_and(|limit| (matches && items.len() >= limit) || seen > MAX_SEEN);
        if full {
            let revision = revision.or(source.revision);
            let next = continue_after(last.as_deref(), revision);
            return Ok(page(items, revision, next));
        }
        last = Some(object.meta().name.clone());
        if matches {
            items.push(object);
        }
        if items.len() > MAX_ITEMS {
            return Err(ApiError::TooMany(MAX_ITEMS));
        }
        revision = revision.or(source.revision);
    }
    wanted.version.check_read(source.revision)?;
    Ok(page(items, revision.or(source.revision), String::new()))
}

/// The caller's own objects by their names, which are in memory: no walk through everybody's.
async fn own<K: Resource>(
    cx: &Context<'_>,
    wanted: Wanted,
    names: Vec<String>,
) -> Result<Page<K>, ApiError> {
    let first = cx.api.store.revision().await?;
    wanted.version.check_read(Some(first))?;
    let revision = Some(wanted.revision.unwrap_or(first));
    let mut items: Vec<K> = Vec::new();
    let after = wanted.after.unwrap_or_default();
    for name in names.into_iter().filter(|name| *name > after) {
        let found = match K::fixed(cx.api, &name) {
            Some(fixed) => Some(fixed.into_object()),
            None => cx.load::<K>(&name).await?.map(|(stored, _)| stored.object),
        };
        let Some(mut object) = found else {
            continue;
        };
        if !object.is_own(cx.api, cx.caller) {
            continue;
        }
        object.show(cx.api, cx.caller);
        if !wanted.selection.matches(&object) {
            continue;
        }
        if wanted.limit.is_some_and(|limit| items.len() >= limit) {
            let last = items.last().map(|object| object.meta().name.as_str());
            let next = continue_after(last, revision);
            return Ok(page(items, revision, next));
        }
        items.push(object);
    }
    Ok(page(items, revision, String::new()))
}

fn page<K>(items: Vec<K>, revision: Option<Revision>, next: String) -> Page<K> {
    Page {
        items,
        meta: ListMeta {
            resource_version: revision.unwrap_or_default().to_string(),
            next,
        },
    }
}

/// Stored objects and those that are there without, in one order.
struct Source<K> {
    stored: std::vec::IntoIter<K>,
    fixed: std::iter::Peekable<std::vec::IntoIter<K>>,
    held: Option<K>,
    after: Option<String>,
    more: bool,
    /// Of the first page.
    revision: Option<Revision>,
}

impl<K: Resource> Source<K> {
    fn new(cx: &Context<'_>, after: Option<String>) -> Self {
        let mut fixed = K::all_fixed(cx.api);
        fixed.retain(|object| {
            let later = |after: &String| object.meta().name > *after;
            after.as_ref().is_none_or(later)
        });
        Self {
            stored: Vec::new().into_iter(),
            fixed: fixed.into_iter().peekable(),
            held: None,
            after,
            more: true,
            revision: None,
        }
    }

    async fn next(&mut self, cx: &Context<'_>) -> Result<Option<K>, ApiError> {
        if self.held.is_none() {
            self.held = self.next_stored(cx).await?;
        }
        let order = match (self.fixed.peek(), &self.held) {
            (Some(fixed), Some(held)) => fixed.meta().name.cmp(&held.meta().name),
            (Some(_), None) => Ordering::Less,
            (None, _) => Ordering::Greater,
        };
        Ok(match order {
            Ordering::Less => self.fixed.next(),
            Ordering::Equal => {
                // Of one name only the one that counts.
                self.held = None;
                self.fixed.next()
            }
            Ordering::Greater => self.held.take(),
        })
    }

    async fn next_stored(&mut self, cx: &Context<'_>) -> Result<Option<K>, ApiError> {
        loop {
            if let Some(object) = self.stored.next() {
                return Ok(Some(object));
            }
            if !self.more {
                return Ok(None);
            }
            let after = self.after.as_ref().map(|name| K::key(name));
            let listing = cx
                .api
                .store
                .list(&K::prefix(), PAGE, after.as_deref())
                .await?;
            self.more = listing.more;
            self.revision = self.revision.or(Some(listing.revision));
            let mut page = Vec::with_capacity(listing.items.len());
            for found in &listing.items {
                page.push(
                    Stored::<K>::decode(&found.key, &found.value, found.mod_revision)?.object,
                );
            }
            self.after = page.last().map(|object| object.meta().name.clone());
            self.stored = page.into_iter();
        }
    }
}

/// The token for a page that begins after the object of this name.
fn continue_after(name: Option<&str>, revision: Option<Revision>) -> String {
    let name = name.unwrap_or_default();
    URL_SAFE_NO_PAD.encode(format!("{}/{name}", revision.unwrap_or_default()))
}

impl Wanted {
    fn parse<K: Resource>(query: &Query) -> Result<Self, ApiError> {
        if query.watch() {
            return Err(ApiError::MethodNotAllowed(
                "this version of the gateway's own API does not serve watches: list again instead"
                    .to_owned(),
            ));
        }
        let mut selection =
            Selection::parse::<K>(query.get("labelSelector"), query.get("fieldSelector"))?;
        if let Some(name) = &query.judged_name {
            // The policy may have allowed it for this name alone (resourceNames).
            selection.restrict_to(name);
        }
        let limit = match query.get("limit") {
            None => None,
            Some(text) => match text.parse::<i64>() {
                Ok(limit) => usize::try_from(limit).ok().filter(|limit| *limit > 0),
                Err(_) => {
                    return Err(ApiError::BadRequest(format!(
                        "limit: {text:?} is no number"
                    )));
                }
            },
        };
        let (revision, after) = match query.get("continue") {
            None => (None, None),
            Some(token) => {
                let (revision, name) = parse_continue(token)
                    .ok_or_else(|| ApiError::BadRequest("continue key is not valid".to_owned()))?;
                (Some(revision), Some(name))
            }
        };
        Ok(Self {
            selection,
            limit: limit.map(|limit| limit.min(MAX_ITEMS)),
            after,
            revision,
            version: version::Wanted::of_list(query)?,
        })
    }
}

fn parse_continue(token: &str) -> Option<(Revision, String)> {
    if token.len() > MAX_TOKEN {
        return None;
    }
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    let (revision, name) = text.split_once('/')?;
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.' | b':');
    let valid = name.bytes().all(plain);
    valid.then_some((revision.parse().ok()?, name.to_owned()))
}
