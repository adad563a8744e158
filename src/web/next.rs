//! Where a browser goes after a login.
//!
//! Guarantees: to one of the gateway's own pages. A text is not searched for what is bad in it; it must be, byte for
//! byte, one of the paths below, with or without a query. `//evil.example`, `/\evil`, `https:evil`, user names in
//! front of hosts, encoded slashes and line ends are none of them (G3).

use crate::request::form::encoded;

/// Where to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Next(String);

/// Longest that is read: the query of a terminal's login has some four hundred characters.
const LONGEST: usize = 2048;
/// Where somebody may be sent.
const PAGES: [&str; 4] = ["/", "/device", "/authorize", "/sessions"];

impl Next {
    /// Reads one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        // `\` is a slash to browsers, and `#` begins what no server sees.
        let good = |byte: u8| matches!(byte, 0x21..=0x7e) && byte != b'\\' && byte != b'#';
        let path = text.split('?').next().unwrap_or_default();
        let good = text.len() <= LONGEST && text.bytes().all(good) && PAGES.contains(&path);
        good.then(|| Self(text.to_owned()))
    }

    /// The front page, unless `text` is a better one.
    pub(super) fn or_front(text: Option<&str>) -> Self {
        text.and_then(Self::parse)
            .unwrap_or_else(|| Self("/".to_owned()))
    }

    /// Path and query.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// As a query for the pages of a login.
    pub(super) fn query(&self) -> String {
        encoded(&[("next", &self.0)])
    }

    /// What the login is for, where a person should know.
    pub(super) fn purpose(&self) -> Option<&'static str> {
        let path = self.0.split('?').next().unwrap_or_default();
        match path {
            "/device" | "/authorize" => {
                Some("You will then be asked whether a terminal may be logged in as you.")
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Next;

    // G3: whatever a browser could take for another place is not one.
    #[test]
    fn only_own_pages_are_places_to_go() {
        for good in [
            "/",
            "/device",
            "/device?user_code=BCDF-GHJK",
            "/authorize?redirect_uri=http%3A%2F%2F127.0.0.1%3A1%2Fcallback",
            "/sessions",
        ] {
            assert_eq!(Next::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/\\/evil.example",
            "https:evil.example",
            "https://evil.example",
            "https://localhost@evil.example/",
            "//localhost@evil.example",
            "/@evil.example",
            "javascript:alert(1)",
            "/%2f%2fevil.example",
            "/%5cevil.example",
            "%2f%2fevil.example",
            "/device/../../evil",
            "/device#@evil.example",
            "/device?a\r\nSet-Cookie: a=b",
            "/\t/evil.example",
            " /device",
            "/device\u{2028}",
            "/device?\\evil",
            "/.evil.example",
            "device",
            "/login",
            "/logout",
            "/v1/login/password",
            "/k8s/clusters/a",
            &format!("/device?{}", "x".repeat(2048)),
        ] {
            assert_eq!(Next::parse(bad), None, "{bad}");
        }
        assert_eq!(Next::or_front(Some("//evil")).as_str(), "/");
    }
}
