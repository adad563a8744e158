//! What lists and watches look like on the wire.

use super::{News, Source};
use crate::clusters::reconcile::content::{Version, Wire, or_default};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

/// An answer to a list.
#[derive(Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
pub(super) struct Page<T> {
    // Without a default: an answer that is no list must not pass for an empty one.
    #[serde(deserialize_with = "or_default")]
    pub(super) items: Vec<T>,
    pub(super) metadata: PageMeta,
}

/// `metav1.ListMeta`
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PageMeta {
    pub(super) resource_version: Box<str>,
    #[serde(default)]
    pub(super) r#continue: String,
}

impl Source {
    /// Reads one event: the version it leads to, and what it tells.
    pub(super) fn event(self, line: &Bytes) -> Result<(Version, Option<News>), Odd> {
        #[derive(Deserialize)]
        struct Event<'e> {
            r#type: &'e str,
            #[serde(borrow)]
            object: &'e RawValue,
        }
        #[derive(Deserialize)]
        struct Status {
            #[serde(default)]
            code: u16,
            #[serde(default)]
            message: String,
        }
        let unread =
            |error: serde_json::Error| Odd::Failed(format!("an event cannot be read: {error}"));
        let event: Event<'_> = serde_json::from_slice(line).map_err(unread)?;
        if event.r#type == "ERROR" {
            let status: Status = serde_json::from_str(event.object.get()).map_err(unread)?;
            return Err(match status.code {
                410 => Odd::Expired,
                code => Odd::Failed(format!("the watch failed ({code}): {}", status.message)),
            });
        }
        let wire: Wire = serde_json::from_str(event.object.get()).map_err(unread)?;
        let version = Version(wire.metadata.resource_version.clone());
        let item = || self.read(wire);
        let news = match event.r#type {
            "BOOKMARK" => None,
            "DELETED" => Some(News::Gone(item())),
            // ADDED, MODIFIED, and whatever else says that it is there.
            _ => {
                let item = item();
                Some(if item.matters() {
                    News::There(item)
                } else {
                    News::Gone(item)
                })
            }
        };
        Ok((version, news))
    }
}

/// What an event can be beside news.
pub(super) enum Odd {
    /// The version is too old to go on from.
    Expired,
    /// Anything else.
    Failed(String),
}
