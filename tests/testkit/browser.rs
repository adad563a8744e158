//! A browser without a window: keeps cookies, says where a form comes from, and looks at every page it gets.

use super::{
    client::{Answer, h1_from},
    gate::Gate,
};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// What browsers call themselves.
const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

pub(crate) struct Browser<'g> {
    gate: &'g Gate,
    from: Ipv4Addr,
    /// By name.
    pub(crate) jar: BTreeMap<String, String>,
    /// Further headers.
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl<'g> Browser<'g> {
    pub(crate) fn new(gate: &'g Gate) -> Self {
        Self::at(gate, Ipv4Addr::LOCALHOST)
    }

    pub(crate) fn at(gate: &'g Gate, from: Ipv4Addr) -> Self {
        Self {
            gate,
            from,
            jar: BTreeMap::new(),
            headers: Vec::new(),
        }
    }

    pub(crate) async fn get(&mut self, target: &str) -> Page {
        self.send(Request::get(target), "").await
    }

    /// Asks until the answer has this status: what changes beside the requests is seen soon.
    pub(crate) async fn until(&mut self, target: &str, status: u16) -> Page {
        let end = std::time::Instant::now() + PATIENCE;
        loop {
            let page = self.get(target).await;
            if page.status == status {
                return page;
            }
            assert!(std::time::Instant::now() < end, "{status}: {page:?}");
            tokio::task::yield_now().await;
        }
    }

    /// Sends a form as one of the gateway's own pages would.
    pub(crate) async fn post(&mut self, target: &str, fields: &[(&str, &str)]) -> Page {
        let request = Request::post(target).header("sec-fetch-site", "same-origin");
        self.send(request, &encoded(fields)).await
    }

    /// Fills in the form of a page that goes to `action`, and sends it.
    pub(crate) async fn submit(
        &mut self,
        page: &Page,
        action: &str,
        fields: &[(&str, &str)],
    ) -> Page {
        let hidden = page.hidden(action);
        let all = hidden.iter().map(|(name, value)| (&**name, &**value));
        let all: Vec<(&str, &str)> = all.chain(fields.iter().copied()).collect();
        self.post(action, &all).await
    }

    /// Logs in with a password.
    pub(crate) async fn log_in(&mut self, user: &str, password: &str, next: &str) -> Page {
        let page = self
            .get(&format!("/login/local?{}", encoded(&[("next", next)])))
            .await;
        assert_eq!(page.status, 200, "{}", page.text);
        let fields = [("username", user), ("password", password)];
        self.submit(&page, "/login/local", &fields).await
    }

    pub(crate) async fn send(&mut self, request: http::request::Builder, body: &str) -> Page {
        let mut request = request
            .header("host", "localhost")
            .header("user-agent", AGENT)
            .header("accept", "text/html,*/*;q=0.8");
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let jar = self.jar.iter();
        let cookies: Vec<String> = jar.map(|(name, value)| format!("{name}={value}")).collect();
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        if request.method_ref() == Some(&Method::POST)
            && !request.headers_ref().unwrap().contains_key("content-type")
        {
            request = request.header("content-type", "application/x-www-form-urlencoded");
        }
        let request = request
            .body(Full::new(Bytes::from(body.to_owned())))
            .unwrap();
        let answer = h1_from(self.from, self.gate, request).await;
        self.keep(&answer);
        Page::of(answer)
    }

    fn keep(&mut self, answer: &Answer) {
        for cookie in answer.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            // G7: what makes a browser keep a cookie to this host, over TLS, and away from script.
            assert!(
                cookie.starts_with("__Host-palisade"),
                "a cookie of this host alone: {cookie}"
            );
            for flag in ["; Path=/;", "; Secure", "; HttpOnly", "; SameSite=Lax"] {
                assert!(cookie.contains(flag), "{flag}: {cookie}");
            }
            assert!(!cookie.contains("Domain"), "{cookie}");
            let (name, rest) = cookie.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            if cookie.contains("Max-Age=0") || value.is_empty() {
                self.jar.remove(name);
            } else {
                self.jar.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

/// A page, as far as tests read it.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) text: String,
}

impl Page {
    /// Every answer is looked at: the headers that guard it, and what makes a page usable.
    fn of(answer: Answer) -> Self {
        let page = Self {
            status: answer.status,
            text: answer.text(),
            headers: answer.headers,
        };
        // G7
        for (name, part) in [
            ("content-security-policy", "default-src 'none'"),
            ("content-security-policy", "frame-ancestors 'none'"),
            ("content-security-policy", "base-uri 'none'"),
            ("content-security-policy", "form-action 'self'"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert!(
                page.header(name).contains(part),
                "{name}: {:?}",
                page.headers
            );
        }
        let policy = page.header("content-security-policy");
        assert!(!policy.contains("unsafe"), "{policy}");
        if page.header("content-type").starts_with("text/html") {
            assert_eq!(page.header("cache-control"), "no-store");
            if !page.text.is_empty() {
                page.is_usable();
            }
        }
        page
    }

    fn is_usable(&self) {
        let text = &self.text;
        assert!(
            text.starts_with("<!doctype html>\n<html lang=\"en\">"),
            "{text}"
        );
        assert_eq!(text.matches("<h1>").count(), 1, "{text}");
        assert!(!text.contains("<script"), "{text}");
        assert!(!text.contains(" style="), "{text}");
        let tags = text.split('<').filter_map(|part| part.split('>').next());
        for handler in tags.flat_map(|tag| tag.split(" on").skip(1)) {
            let name = handler.find(|c: char| !c.is_ascii_lowercase());
            assert!(!handler[name.unwrap_or(0)..].starts_with('='), "{handler}");
        }
        for input in text.split("<input ").skip(1) {
            let input = input.split('>').next().unwrap();
            if input.contains("type=\"hidden\"") {
                continue;
            }
            let id = input.split("id=\"").nth(1).unwrap().split('"').next();
            let label = format!("<label for=\"{}\">", id.unwrap());
            assert!(text.contains(&label), "{label}");
        }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn location(&self) -> &str {
        assert_eq!(self.status, 303, "{}", self.text);
        self.header("location")
    }

    /// The hidden fields of the first form that goes to `action`.
    pub(crate) fn hidden(&self, action: &str) -> Vec<(String, String)> {
        let shown = action.replace('&', "&#38;");
        let start = format!("action=\"{shown}\"");
        let form = self.text.split(&start).nth(1);
        let form = form.unwrap_or_else(|| panic!("no form to {action}: {}", self.text));
        let form = form.split("</form>").next().unwrap();
        let hidden = form.split("<input type=\"hidden\" ").skip(1);
        hidden
            .map(|input| {
                let value = |name: &str| {
                    let start = format!("{name}=\"");
                    let text = input.split(&start).nth(1).unwrap();
                    unescaped(text.split('"').next().unwrap())
                };
                (value("name"), value("value"))
            })
            .collect()
    }
}

/// Numbered entities, as the templates write them.
fn unescaped(text: &str) -> String {
    let mut parts = text.split("&#");
    let mut out = parts.next().unwrap().to_owned();
    for part in parts {
        let (number, rest) = part.split_once(';').unwrap();
        let code: u32 = number.parse().unwrap();
        out.push(char::from_u32(code).unwrap());
        out.push_str(rest);
    }
    out
}

pub(crate) fn encoded(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish()
}
