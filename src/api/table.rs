//! The forms of `meta.k8s.io/v1` in which objects are also given: Table, which is what `kubectl get` prints,
//! and PartialObjectMetadata(List), which clients take that look at names and labels alone.

use super::ApiError;
use super::answer;
use super::list::Page;
use super::query::Query;
use super::resource::Resource;
use crate::objects::Kind;
use crate::status::clock;
use http::HeaderMap;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// One column.
pub(super) struct Column {
    /// What kubectl prints above it, in capitals.
    pub(super) name: &'static str,
    /// What it means.
    pub(super) description: &'static str,
    /// 0: always shown. 1: with `-o wide`.
    pub(super) priority: u8,
}

impl Column {
    /// A column that is always shown.
    pub(super) const fn shown(name: &'static str, description: &'static str) -> Self {
        Self {
            name,
            description,
            priority: 0,
        }
    }

    /// A column that is shown with `-o wide`.
    pub(super) const fn wide(name: &'static str, description: &'static str) -> Self {
        Self {
            name,
            description,
            priority: 1,
        }
    }
}

/// What the client wants of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The objects themselves.
    Objects,
    /// A table of this version of `meta.k8s.io`.
    Table(&'static str),
    /// Their metadata in the shape of this version of `meta.k8s.io`.
    Metadata(&'static str),
}

/// Whether a request is for one object or a list of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Many {
    /// `GET …/NAME`
    One,
    /// `GET …`
    List,
}

/// The first form of the `Accept` header that there is.
pub(super) fn form(headers: &HeaderMap, many: Many) -> Result<Form, ApiError> {
    let metadata = match many {
        Many::One => "PartialObjectMetadata",
        Many::List => "PartialObjectMetadataList",
    };
    for range in answer::accepted(headers) {
        if range.takes_plain_json() {
            return Ok(Form::Objects);
        }
        let version = match range.version {
            Some("v1") => "v1",
            Some("v1beta1") => "v1beta1",
            Some(_) | None => continue,
        };
        if range.mime != answer::JSON || range.group != Some("meta.k8s.io") {
            continue;
        }
        match range.shape {
            Some("Table") => return Ok(Form::Table(version)),
            Some(shape) if shape == metadata => return Ok(Form::Metadata(version)),
            Some(_) | None => {}
        }
    }
    Err(ApiError::NotAcceptable(
        "application/json, application/json;as=Table;v=v1;g=meta.k8s.io, application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io, application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
    ))
}

/// A list in the form that was asked for.
pub(super) fn page<K: Resource>(
    page: &Page<K>,
    form: Form,
    query: &Query,
) -> Result<Value, ApiError> {
    match form {
        Form::Objects => Ok(page.to_value()),
        Form::Table(version) => table(page, version, query),
        Form::Metadata(version) => {
            let items = page.items.iter();
            let items: Vec<Value> = items
                .map(|object| included(object, version, Include::Metadata))
                .collect();
            Ok(json!({
                "kind": "PartialObjectMetadataList",
                "apiVersion": format!("meta.k8s.io/{version}"),
                "metadata": page.meta,
                "items": items,
            }))
        }
    }
}

/// One object in the form that was asked for.
pub(super) fn one<K: Resource>(object: K, form: Form, query: &Query) -> Result<Value, ApiError> {
    match form {
        Form::Objects => Ok(included(&object, "", Include::Object)),
        Form::Table(version) => table(&Page::of(object), version, query),
        Form::Metadata(version) => Ok(included(&object, version, Include::Metadata)),
    }
}

/// What a row carries of its object (`includeObject`).
#[derive(Clone, Copy)]
enum Include {
    Nothing,
    Metadata,
    Object,
}

/// A page as a table.
fn table<K: Resource>(page: &Page<K>, version: &str, query: &Query) -> Result<Value, ApiError> {
    let include = match query.get("includeObject") {
        None | Some("Metadata") => Include::Metadata,
        Some("None") => Include::Nothing,
        Some("Object") => Include::Object,
        Some(other) => {
            return Err(ApiError::BadRequest(format!(
                "unrecognized includeObject value: {other:?}"
            )));
        }
    };
    let now = clock::now();
    let rows: Vec<Value> = page
        .items
        .iter()
        .map(|object| json!({"cells": object.cells(now), "object": included(object, version, include)}))
        .collect();
    let columns: Vec<Value> = K::COLUMNS.iter().map(column).collect();
    Ok(json!({
        "kind": "Table",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": page.meta,
        "columnDefinitions": columns,
        "rows": rows,
    }))
}

fn column(column: &Column) -> Value {
    json!({
        "name": column.name,
        "type": "string",
        // kubectl prints the name column of `-o name` and prefixes by this format.
        "format": if column.name == "Name" { "name" } else { "" },
        "description": column.description,
        "priority": column.priority,
    })
}

fn included<K: Kind>(object: &K, version: &str, include: Include) -> Value {
    match include {
        Include::Nothing => Value::Null,
        Include::Metadata => json!({
            "kind": "PartialObjectMetadata",
            "apiVersion": format!("meta.k8s.io/{version}"),
            "metadata": object.meta(),
        }),
        Include::Object => {
            // Kinds hold strings, numbers, lists and string-keyed maps: this cannot fail.
            serde_json::to_value(object).unwrap_or_default()
        }
    }
}

/// Age of an object, as kubectl writes ages (`apimachinery/pkg/util/duration` HumanDuration).
pub(super) fn age(object: &impl Kind, now: Timestamp) -> Value {
    match object.meta().creation_timestamp {
        None => "<unknown>".into(),
        Some(made) => human(now.as_second() - made.as_second()).into(),
    }
}

/// Time until an instant: `5h12m`, or `expired`.
pub(super) fn until(end: Option<Timestamp>, now: Timestamp) -> Value {
    match end {
        None => "never".into(),
        Some(end) if end <= now => "expired".into(),
        Some(end) => human(end.as_second() - now.as_second()).into(),
    }
}

/// Time since an instant, or `never`.
pub(super) fn since(instant: Option<Timestamp>, now: Timestamp) -> Value {
    instant.map_or_else(
        || "never".into(),
        |at| human((now.as_second() - at.as_second()).max(0)).into(),
    )
}

fn human(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let pair = |big: i64, unit: char, small: i64, sub: char| {
        if small == 0 {
            format!("{big}{unit}")
        } else {
            format!("{big}{unit}{small}{sub}")
        }
    };
    match seconds {
        i64::MIN..=-2 => "<invalid>".to_owned(),
        -1..=0 => "0s".to_owned(),
        1..120 => format!("{seconds}s"),
        120..600 => pair(minutes, 'm', seconds % 60, 's'),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => pair(hours, 'h', minutes % 60, 'm'),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => pair(days, 'd', hours % 24, 'h'),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => pair(days / 365, 'y', days % 365, 'd'),
        252_288_000.. => format!("{}y", days / 365),
    }
}

/// Comma-separated, `<none>` if there is nothing, cut after a few.
pub(super) fn joined<'a>(items: impl Iterator<Item = &'a str>) -> Value {
    /// Names that fit a terminal's width.
    const SHOWN: usize = 4;
    let all: Vec<&str> = items.collect();
    if all.is_empty() {
        return "<none>".into();
    }
    let mut text = all
        .iter()
        .take(SHOWN)
        .copied()
        .collect::<Vec<_>>()
        .join(",");
    if all.len() > SHOWN {
        // Writing to a String cannot fail.
        let _ = write!(text, " + {} more", all.len() - SHOWN);
    }
    text.into()
}

/// A text, or `<none>`.
pub(super) fn or_none(text: &str) -> Value {
    if text.is_empty() {
        "<none>".into()
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_kubectls_do() {
        for (seconds, text) in [
            (-5, "<invalid>"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (121, "2m1s"),
            (601, "10m"),
            (7200, "120m"),
            (10_800, "3h"),
            (11_000, "3h3m"),
            (30_000, "8h"),
            (172_800, "2d"),
            (180_000, "2d2h"),
            (864_000, "10d"),
            (63_072_000, "2y"),
            (63_158_400, "2y1d"),
            (315_360_000, "10y"),
        ] {
            assert_eq!(human(seconds), text, "{seconds}");
        }
    }
}
