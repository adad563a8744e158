//! `ListOptions` as far as they change what a request is: the watch flag, and the one name that a field
//! selector may fix. Decoding succeeds or fails as a whole, exactly where upstream's does.

use super::query::ListQuery;
use super::{Refusal, field_selector, label_selector};
use std::borrow::Cow;

/// What the query of a `get` without a name says.
pub(super) struct ListOptions<'a> {
    pub(super) watch: bool,
    /// Of `fieldSelector=metadata.name=…`, if it can be a name in a path.
    pub(super) name: Option<Cow<'a, str>>,
}

/// Decodes; a failed decoding leaves the watch flag alone (`requestinfo.go`).
///
/// `allowWatchBookmarks`, `sendInitialEvents`, `resourceVersion`, `continue` and the rest take any value
/// upstream and cannot make it fail.
pub(super) fn decode<'a>(query: &ListQuery<'a>) -> Result<ListOptions<'a>, Refusal> {
    let labels = text(query.label_selector.as_ref())?;
    let fields = text(query.field_selector.as_ref())?;
    let numbers = is_int64(query.timeout_seconds.as_deref()) && is_int64(query.limit.as_deref());
    let name = if numbers && label_selector::parses(&labels) {
        field_selector::exact_name(&fields)
    } else {
        Err(field_selector::Malformed)
    };
    Ok(match name {
        Ok(name) => ListOptions {
            watch: query.watch.as_deref().is_some_and(is_true_folding),
            name: name.filter(|name| is_path_segment(name)).map(Cow::Owned),
        },
        Err(field_selector::Malformed) => ListOptions {
            watch: query.watch.as_deref().is_some_and(is_true),
            name: None,
        },
    })
}

/// A selector's text; absent is empty.
pub(super) fn text<'a>(value: Option<&Cow<'a, [u8]>>) -> Result<Cow<'a, str>, Refusal> {
    match value {
        None => Ok(Cow::Borrowed("")),
        Some(Cow::Borrowed(bytes)) => std::str::from_utf8(bytes)
            .map(Cow::Borrowed)
            .map_err(|_| Refusal::NotUtf8),
        Some(Cow::Owned(bytes)) => String::from_utf8(bytes.clone())
            .map(Cow::Owned)
            .map_err(|_| Refusal::NotUtf8),
    }
}

/// `Convert_Slice_string_To_bool`: everything but `0` and `false` is true, the empty value too. Its
/// `strings.EqualFold` also takes U+017F (long s) for an `s`.
fn is_true_folding(value: &[u8]) -> bool {
    std::str::from_utf8(value).map_or(true, |text| {
        is_true(text.replace('\u{17f}', "s").as_bytes())
    })
}

/// The same with `strings.ToLower`, which keeps U+017F.
fn is_true(value: &[u8]) -> bool {
    value != b"0" && !value.eq_ignore_ascii_case(b"false")
}

/// `strconv.ParseInt(value, 10, 64)`; absent is fine.
fn is_int64(value: Option<&[u8]>) -> bool {
    value.is_none_or(|value| {
        std::str::from_utf8(value).is_ok_and(|text| text.parse::<i64>().is_ok())
    })
}

/// `content.IsPathSegmentName`
fn is_path_segment(name: &str) -> bool {
    name != "." && name != ".." && !name.contains(['/', '%'])
}
