//! Pages that were read, and what they said: asked for again with their `ETag`, what has not changed costs nothing of
//! the token's limit.

use super::super::redirect::{Failure, http::Http};
use aws_lc_rs::digest::{SHA256, digest};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use url::Url;

/// Pages of one list: two thousand organisations or teams of one person.
pub(super) const MAX_PAGES: usize = 20;
/// Accounts whose pages are remembered: some kilobytes each. Beyond, all is forgotten and read once anew.
const MAX_REMEMBERED: usize = 10_000;
/// Bytes of an `ETag`.
const MAX_ETAG: usize = 256;

/// What was read of each account.
#[derive(Default)]
pub(super) struct Memory {
    by_account: Mutex<HashMap<Box<str>, Remembered>>,
}

/// What was read of one account, with one token.
#[derive(Default)]
pub(super) struct Remembered {
    /// What another token is told may be another thing.
    token: Box<[u8]>,
    pages: HashMap<Box<str>, Page>,
    until: Option<Instant>,
}

struct Page {
    etag: String,
    /// What is used of it, as JSON.
    value: Vec<u8>,
    header: Option<String>,
}

impl Memory {
    /// What is remembered of an account, out of the memory: nobody else reads the same one now.
    pub(super) fn take(&self, id: &str, token: &str) -> Remembered {
        let token = digest(&SHA256, token.as_bytes());
        let known = self.by_account().remove(id);
        let known = known.filter(|known| *known.token == *token.as_ref());
        known.unwrap_or_else(|| Remembered {
            token: token.as_ref().into(),
            ..Remembered::default()
        })
    }

    pub(super) fn put(&self, id: &str, remembered: Remembered) {
        let mut all = self.by_account();
        if all.len() >= MAX_REMEMBERED {
            all.clear();
        }
        all.insert(id.into(), remembered);
    }

    fn by_account(&self) -> MutexGuard<'_, HashMap<Box<str>, Remembered>> {
        let all = self.by_account.lock();
        all.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remembered {
    /// How long this token must not be asked with.
    pub(super) fn must_wait(&self) -> Option<Duration> {
        let wait = self.until?.saturating_duration_since(Instant::now());
        (wait > Duration::ZERO).then_some(wait)
    }

    pub(super) fn wait(&mut self, wait: Duration) {
        self.until = Some(Instant::now() + wait);
    }

    pub(super) fn etag(&self, url: &Url) -> Option<&str> {
        self.pages.get(url.as_str()).map(|page| &*page.etag)
    }

    pub(super) fn get<T: DeserializeOwned>(&self, url: &Url) -> Option<(T, Option<String>)> {
        let page = self.pages.get(url.as_str())?;
        let value = serde_json::from_slice(&page.value).ok()?;
        Some((value, page.header.clone()))
    }

    pub(super) fn put<T: Serialize>(
        &mut self,
        url: &Url,
        etag: Option<String>,
        value: &T,
        header: Option<String>,
    ) {
        let etag = etag.filter(|etag| etag.len() <= MAX_ETAG);
        let (Some(etag), Ok(value)) = (etag, serde_json::to_vec(value)) else {
            self.pages.remove(url.as_str());
            return;
        };
        let page = Page {
            etag,
            value,
            header,
        };
        self.pages.insert(url.as_str().into(), page);
    }
}

/// The next page that a `Link` header names (RFC 8288), if it names one. It is the same list at the same place: the token
/// goes nowhere else (CVE-2021-36778).
pub(super) fn next(http: &Http, first: &Url, header: &str) -> Result<Option<Url>, Failure> {
    let mut links = header.split(',');
    let next = links.find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let mut parameters = parameters.split(';').map(str::trim);
        let is_next = parameters.any(|it| it == "rel=\"next\"" || it == "rel=next");
        is_next.then_some(target)
    });
    let Some(next) = next else {
        return Ok(None);
    };
    let url = http.check("the next page", next)?;
    if url.origin() != first.origin() || url.path() != first.path() {
        return Err(Failure::Address {
            what: "the next page",
            url: next.chars().take(200).collect(),
            why: "is elsewhere",
        });
    }
    Ok(Some(url))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Link;

    fn next_of(header: &str) -> Result<Option<String>, String> {
        let http = Http::new(Link {
            ca_file: None,
            connect_timeout: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            danger_plain_http: false,
        });
        let first = Url::parse("https://api.example/user/teams?per_page=100").unwrap();
        let next = next(&http, &first, header);
        next.map(|url| url.map(String::from))
            .map_err(|failure| failure.to_string())
    }

    // G2, CVE-2021-36778
    #[test]
    fn the_next_page_is_of_the_same_list_at_the_same_place() {
        let page = "https://api.example/user/teams?per_page=100&page=2";
        let header = format!("<{page}&x>; rel=\"prev\", <{page}>; rel=\"next\"; title=\"a\"");
        assert_eq!(next_of(&header), Ok(Some(page.to_owned())));
        assert_eq!(next_of(&format!("<{page}>; rel=\"last\"")), Ok(None));
        assert_eq!(next_of("nonsense"), Ok(None));
        for elsewhere in [
            "https://evil.example/user/teams?page=2",
            "https://api.example:8443/user/teams?page=2",
            "https://api.example/orgs/acme/teams?page=2",
            "http://api.example/user/teams?page=2",
            "//evil.example/user/teams",
        ] {
            assert!(
                next_of(&format!("<{elsewhere}>; rel=\"next\"")).is_err(),
                "{elsewhere}"
            );
        }
    }

    #[test]
    fn another_token_finds_nothing_remembered() {
        let memory = Memory::default();
        let url = Url::parse("https://api.example/user").unwrap();
        let mut remembered = memory.take("1", "token");
        remembered.put(&url, Some("\"a\"".to_owned()), &7, None);
        memory.put("1", remembered);
        assert_eq!(memory.take("1", "other").etag(&url), None);
        let mut remembered = memory.take("1", "token");
        assert_eq!(remembered.etag(&url), None, "it was taken out");
        remembered.put(&url, Some("\"b\"".to_owned()), &8, None);
        memory.put("1", remembered);
        let remembered = memory.take("1", "token");
        assert_eq!(remembered.get::<u32>(&url), Some((8, None)));
    }
}
