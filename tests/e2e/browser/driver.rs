//! A headless Chromium, and a person in front of it.

use super::node::{Node, nothing};
use crate::testkit::process::eventually;
use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::{Value, json};
use std::{net::SocketAddr, path::Path};

/// One browser; each of its pages has a profile of its own.
pub(super) struct Browser {
    node: Node,
}

/// What a person has.
#[derive(Clone, Copy)]
pub(super) struct Seat {
    pub(super) scripts: bool,
    pub(super) dark: bool,
}

/// A page, and the person's hands and eyes.
pub(super) struct Page<'b> {
    browser: &'b Browser,
    id: String,
}

/// A request that a page made.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) url: String,
    pub(super) headers: Value,
    pub(super) status: u64,
}

impl Browser {
    /// Takes the certificates of servers under these authorities (PEM), which they must present.
    pub(super) fn start(authorities: &[&str]) -> Self {
        Self::started(authorities, &[])
    }

    /// The same, for which `name` leads to this address.
    pub(super) fn start_with(authorities: &[&str], name: &str, address: SocketAddr) -> Self {
        let host = format!("{name} {address}");
        Self::started(authorities, &[("PALISADE_HOST", &host)])
    }

    fn started(authorities: &[&str], more: &[(&str, &str)]) -> Self {
        let sums: Vec<String> = authorities.iter().map(|pem| spki(pem)).collect();
        let sums = sums.join(",");
        let mut environment = vec![("PALISADE_SPKI", sums.as_str())];
        environment.extend(more);
        let node = Node::start("drive.mjs", &environment);
        Self { node }
    }

    /// Somebody who was never here.
    pub(super) fn person(&self) -> Page<'_> {
        self.seat(Seat {
            scripts: true,
            dark: false,
        })
    }

    pub(super) fn seat(&self, seat: Seat) -> Page<'_> {
        let scheme = if seat.dark { "dark" } else { "light" };
        let given = json!({"scripts": seat.scripts, "scheme": scheme});
        self.page(&self.node.must("open", given))
    }

    fn page(&self, id: &Value) -> Page<'_> {
        let id = id.as_str().expect("an id").to_owned();
        Page { browser: self, id }
    }
}

impl Page<'_> {
    #[track_caller]
    fn must(&self, what: &str, mut given: Value) -> Value {
        given["page"] = self.id.as_str().into();
        self.browser.node.must(what, given)
    }

    #[track_caller]
    fn text_of(&self, what: &str, given: Value) -> String {
        let answer = self.must(what, given);
        answer.as_str().expect("a text").to_owned()
    }

    /// Goes to an address; the status of the answer.
    #[track_caller]
    pub(super) fn goto(&self, url: &str) -> u64 {
        let status = self.must("goto", json!({"url": url}));
        status.as_u64().expect("a status")
    }

    /// The same, where the browser itself may refuse it.
    pub(super) fn try_goto(&self, url: &str) -> Result<u64, String> {
        let given = json!({"page": self.id, "url": url});
        let status = self.browser.node.ask("goto", given)?;
        Ok(status.as_u64().expect("a status"))
    }

    #[track_caller]
    pub(super) fn click(&self, role: &str, name: &str) {
        self.must("click", json!({"role": role, "name": name}));
    }

    /// By a CSS selector, for pages that are not ours.
    #[track_caller]
    pub(super) fn click_on(&self, selector: &str) {
        self.must("click", json!({"selector": selector}));
    }

    #[track_caller]
    pub(super) fn fill(&self, label: &str, text: &str) {
        self.must("fill", json!({"label": label, "text": text}));
    }

    #[track_caller]
    pub(super) fn fill_in(&self, selector: &str, text: &str) {
        self.must("fill", json!({"selector": selector, "text": text}));
    }

    /// A key, such as `Tab`, `Shift+Tab`, `Enter`.
    #[track_caller]
    pub(super) fn press(&self, key: &str) {
        self.must("press", json!({"key": key}));
    }

    #[track_caller]
    pub(super) fn type_text(&self, text: &str) {
        self.must("type", json!({"text": text}));
    }

    /// What has the focus: `button Log in`.
    #[track_caller]
    pub(super) fn focused(&self) -> String {
        self.text_of("focused", nothing())
    }

    /// Waits until something has the focus; gives it.
    #[track_caller]
    pub(super) fn focus(&self) -> String {
        self.must("focus", nothing());
        self.focused()
    }

    /// By the Tab key alone to what is called so, and presses this key there.
    #[track_caller]
    pub(super) fn tab_to(&self, what: &str, key: &str) {
        let mut met = Vec::new();
        for _ in 0..40 {
            let at = self.focused();
            if at.starts_with(what) {
                self.press(key);
                return;
            }
            met.push(at);
            self.press("Tab");
        }
        panic!("{what:?} is not met by the Tab key: {met:?}");
    }

    /// Waits until the page shows this; gives all that it says.
    #[track_caller]
    pub(super) fn see(&self, text: &str) -> String {
        self.text_of("see", json!({"text": text}))
    }

    /// Waits until the address holds this; gives it.
    #[track_caller]
    pub(super) fn arrive(&self, part: &str) -> String {
        self.text_of("arrive", json!({"part": part}))
    }

    #[track_caller]
    pub(super) fn text(&self) -> String {
        self.text_of("text", nothing())
    }

    #[track_caller]
    pub(super) fn url(&self) -> String {
        self.text_of("url", nothing())
    }

    /// Runs a script in the page.
    #[track_caller]
    pub(super) fn evaluate(&self, script: &str) -> Value {
        self.must("evaluate", json!({"script": script}))
    }

    #[track_caller]
    pub(super) fn cookies(&self) -> Vec<Value> {
        let cookies = self.must("cookies", nothing());
        cookies.as_array().expect("a list").clone()
    }

    #[track_caller]
    pub(super) fn forget_cookies(&self) {
        self.must("forget_cookies", nothing());
    }

    #[track_caller]
    pub(super) fn set_cookie(&self, cookie: &Value) {
        self.must("set_cookie", json!({"cookie": cookie}));
    }

    /// What axe-core finds wrong with the page as it is, in light and dark.
    #[track_caller]
    pub(super) fn axe(&self) -> Vec<String> {
        let mut all = Vec::new();
        for scheme in ["dark", "light"] {
            self.must("scheme", json!({"scheme": scheme}));
            let found = self.must("axe", nothing());
            let found = found.as_array().expect("a list").iter();
            all.extend(found.map(|line| format!("{scheme}: {}", line.as_str().expect("a line"))));
        }
        all
    }

    #[track_caller]
    pub(super) fn size(&self, width: u32, height: u32) {
        self.must("size", json!({"width": width, "height": height}));
    }

    #[track_caller]
    pub(super) fn screenshot(&self, path: &Path) {
        self.must("screenshot", json!({"path": path}));
    }

    /// What the page has asked for, with what the browser sent along.
    #[track_caller]
    pub(super) fn requests(&self) -> Vec<Request> {
        // Headers and answers come a moment after the request itself.
        let whole = eventually(|| {
            let requests = self.must("requests", nothing());
            let requests = requests.as_array().expect("a list").clone();
            let done = |it: &Value| it["headers"].as_object().is_some_and(|all| !all.is_empty());
            requests.iter().all(done).then_some(requests)
        });
        let requests = whole.expect("the headers come").into_iter();
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        requests
            .map(|it| Request {
                method: text(&it["method"]),
                url: text(&it["url"]),
                headers: it["headers"].clone(),
                status: it["status"].as_u64().unwrap_or_default(),
            })
            .collect()
    }

    /// Another page of the same profile.
    #[track_caller]
    pub(super) fn tab(&self) -> Self {
        self.browser.page(&self.must("tab", nothing()))
    }

    /// All that the console says, wherever the page was.
    #[track_caller]
    pub(super) fn all_complaints(&self) -> Vec<String> {
        let lines = self.must("console", nothing());
        let lines = lines.as_array().expect("a list").iter();
        lines.map(Value::to_string).collect()
    }

    /// Warnings and errors in the console on pages below this address.
    #[track_caller]
    pub(super) fn complaints(&self, below: &str) -> Vec<String> {
        let lines = self.must("console", nothing());
        let lines = lines.as_array().expect("a list").iter();
        let ours = lines.filter(|line| {
            let text = |field: &str| line[field].as_str().expect("a text");
            // Of a page that is a refusal the browser itself notes the status.
            let status = text("text").contains("responded with a status of")
                && !text("url").contains("/assets/");
            text("url").starts_with(below) && !matches!(text("kind"), "verbose" | "info") && !status
        });
        ours.map(Value::to_string).collect()
    }
}

impl Drop for Page<'_> {
    fn drop(&mut self) {
        // The browser ends with a test that fails.
        if std::thread::panicking() {
            return;
        }
        let _ = self.browser.node.ask("close", json!({"page": self.id}));
    }
}

/// Base64 of SHA-256 over the key of a certificate.
fn spki(pem: &str) -> String {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).expect("a certificate");
    BASE64_STANDARD.encode(digest(&SHA256, certificate.public_key().raw))
}
