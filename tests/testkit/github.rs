//! A GitHub in small: an OAuth app's pages and the API that says who somebody is, with pages, limits, ETags, renames and
//! recycled names. Its tokens hold a word that must turn up nowhere ([`canary::PLANTED_WORD`]).

use super::{
    canary,
    site::{Asked, Said, Site},
};
use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::StatusCode;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
};
use url::Url;

pub(crate) const CLIENT: &str = "Ov23palisade";
pub(crate) const SECRET: &str = "canary-7f3k-secret";

/// Answers in place of GitHub.
type Instead = Box<dyn Fn(&Asked) -> Option<Said> + Send>;

/// Somebody, by number.
#[derive(Clone, Default)]
pub(crate) struct Person {
    pub(crate) login: String,
    pub(crate) name: String,
    /// Organisations: number, name, `active` or `pending`.
    pub(crate) organizations: Vec<(u64, &'static str, &'static str)>,
    /// Teams: number, slug, organisation's number and name.
    pub(crate) teams: Vec<(u64, String, u64, &'static str)>,
}

/// What somebody did with the code of a terminal.
#[derive(Clone, Copy)]
pub(crate) enum Typed {
    /// They said yes to it.
    By(u64),
    Refused,
    /// Its quarter of an hour is over.
    Late,
}

struct Begun {
    challenge: String,
    redirect_uri: String,
    person: u64,
}

#[derive(Default)]
struct State {
    people: BTreeMap<u64, Person>,
    here: u64,
    codes: BTreeMap<String, Begun>,
    /// Terminals that wait: device code and what came of it, by user code.
    devices: BTreeMap<String, (String, Option<Typed>)>,
    /// Whose, by token.
    tokens: BTreeMap<String, u64>,
    suspended: BTreeSet<u64>,
    /// What somebody is in an organisation, where that is not `member`.
    roles: BTreeMap<(u64, u64), &'static str>,
    scopes: String,
    /// Entries of one page.
    page: usize,
    count: usize,
    /// Answers of 200 and of 304.
    whole: usize,
    unchanged: usize,
    instead: Option<Instead>,
}

pub(crate) struct Github {
    pub(crate) site: Site,
    state: Arc<Mutex<State>>,
}

impl Github {
    pub(crate) async fn start() -> Self {
        let state = Arc::new(Mutex::new(State {
            scopes: "read:org".to_owned(),
            page: 100,
            ..State::default()
        }));
        let own = Arc::clone(&state);
        let site = Site::start(move |asked| own.lock().unwrap().answer(asked)).await;
        Self { site, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Lines of a configuration, below `providers`, with an `access` and further options of `github`.
    pub(crate) fn provider(
        &self,
        name: &str,
        folder: &Path,
        access: &str,
        options: &str,
    ) -> String {
        let secret = folder.join(format!("{name}-secret"));
        std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
        format!(
            "  {name}:\n    access: {access}\n    refresh: {{interval: 5s, max_age: 10s}}\n    \
             github: {{url: '{}', client_id: {CLIENT}, client_secret_file: {}, ca_file: {}{options}}}\n",
            self.site.url(),
            secret.display(),
            self.site.ca_file(folder).display(),
        )
    }

    /// There is somebody, and every browser that comes is theirs.
    pub(crate) fn person(&self, number: u64, person: Person) {
        let mut state = self.state();
        state.here = number;
        state.people.insert(number, person);
    }

    /// Something about somebody changes.
    pub(crate) fn change(&self, number: u64, change: impl FnOnce(&mut Person)) {
        change(self.state().people.get_mut(&number).unwrap());
    }

    /// Somebody is this in an organisation, and not a member.
    pub(crate) fn role(&self, number: u64, organization: u64, role: &'static str) {
        self.state().roles.insert((number, organization), role);
    }

    pub(crate) fn suspend(&self, number: u64) {
        self.state().suspended.insert(number);
    }

    /// The person takes back what they gave the app.
    pub(crate) fn revoke(&self, number: u64) {
        self.state().tokens.retain(|_, of| *of != number);
    }

    /// Somebody has gone to the page for codes of terminals.
    pub(crate) fn typed(&self, user_code: &str, what: Typed) {
        self.state().devices.get_mut(user_code).unwrap().1 = Some(what);
    }

    /// The secrets of the terminals that wait.
    pub(crate) fn device_codes(&self) -> Vec<String> {
        let state = self.state();
        state
            .devices
            .values()
            .map(|(code, _)| code.clone())
            .collect()
    }

    /// What new and old tokens may do from now on.
    pub(crate) fn scopes(&self, scopes: &str) {
        scopes.clone_into(&mut self.state().scopes);
    }

    pub(crate) fn entries_of_a_page(&self, count: usize) {
        self.state().page = count;
    }

    /// Whole answers of the API, and those that said that nothing has changed.
    pub(crate) fn answers(&self) -> (usize, usize) {
        let state = self.state();
        (state.whole, state.unchanged)
    }

    pub(crate) fn instead(&self, answer: impl Fn(&Asked) -> Option<Said> + Send + 'static) {
        self.state().instead = Some(Box::new(answer));
    }

    pub(crate) fn behave(&self) {
        self.state().instead = None;
    }
}

fn bad(error: &str) -> Said {
    // 200 whatever it says.
    Said::json(
        &json!({"error": error, "error_description": "no", "error_uri": "https://docs.github.com"}),
    )
}

impl State {
    fn answer(&mut self, asked: &Asked) -> Said {
        if let Some(instead) = self.instead.as_ref().and_then(|instead| instead(asked)) {
            return instead;
        }
        match asked.path.as_str() {
            "/login/oauth/authorize" => self.authorize(asked),
            "/login/oauth/access_token" if asked.f("device_code").is_empty() => self.token(asked),
            "/login/oauth/access_token" => self.device_token(asked),
            "/login/device/code" => self.device(asked),
            "/api/v3/meta" => Said::json(&json!({"verifiable_password_authentication": false})),
            path => match path.strip_prefix("/api/v3") {
                Some(path) => self.api(path, asked),
                None => Said::answer(404, &json!({})),
            },
        }
    }

    fn authorize(&mut self, asked: &Asked) -> Said {
        assert_eq!(asked.q("client_id"), CLIENT);
        assert_eq!(asked.q("code_challenge_method"), "S256");
        assert_eq!(asked.q("scope"), "read:org");
        self.count += 1;
        let code = format!("{}-code-{}", canary::PLANTED_WORD, self.count);
        self.codes.insert(
            code.clone(),
            Begun {
                challenge: asked.q("code_challenge").to_owned(),
                redirect_uri: asked.q("redirect_uri").to_owned(),
                person: self.here,
            },
        );
        let mut back = Url::parse(asked.q("redirect_uri")).unwrap();
        back.query_pairs_mut()
            .append_pair("code", &code)
            .append_pair("state", asked.q("state"));
        Said::redirect(back.as_str())
    }

    fn device(&mut self, asked: &Asked) -> Said {
        if asked.f("client_id") != CLIENT {
            return Said::answer(404, &json!({"error": "Not Found"}));
        }
        assert_eq!(asked.f("scope"), "read:org");
        self.count += 1;
        let user_code = format!("WDJB-{:0>4}", self.count);
        let device_code = format!("{}-device-{}", canary::PLANTED_WORD, self.count);
        self.devices
            .insert(user_code.clone(), (device_code.clone(), None));
        Said::json(&json!({
            "device_code": device_code,
            "user_code": user_code,
            "verification_uri": format!("{}/login/device", asked.base),
            "expires_in": 900,
            "interval": 5,
        }))
    }

    fn device_token(&mut self, asked: &Asked) -> Said {
        let grant = "urn:ietf:params:oauth:grant-type:device_code";
        assert_eq!(
            (asked.f("client_id"), asked.f("grant_type")),
            (CLIENT, grant)
        );
        // The app's secret is not a part of this flow.
        assert_eq!(asked.f("client_secret"), "");
        let code = asked.f("device_code");
        let found = self.devices.iter().find(|(_, (of, _))| of == code);
        let Some((user_code, typed)) = found.map(|(user, (_, typed))| (user.clone(), *typed))
        else {
            return bad("incorrect_device_code");
        };
        match typed {
            None => bad("authorization_pending"),
            Some(Typed::Refused) => bad("access_denied"),
            Some(Typed::Late) => bad("expired_token"),
            Some(Typed::By(person)) => {
                self.devices.remove(&user_code);
                self.give(person)
            }
        }
    }

    fn token(&mut self, asked: &Asked) -> Said {
        if asked.f("client_id") != CLIENT || asked.f("client_secret") != SECRET {
            return bad("incorrect_client_credentials");
        }
        let Some(begun) = self.codes.remove(asked.f("code")) else {
            return bad("bad_verification_code");
        };
        let verifier = digest(&SHA256, asked.f("code_verifier").as_bytes());
        if URL_SAFE_NO_PAD.encode(verifier) != begun.challenge {
            return bad("bad_verification_code");
        }
        if asked.f("redirect_uri") != begun.redirect_uri {
            return bad("redirect_uri_mismatch");
        }
        self.give(begun.person)
    }

    fn give(&mut self, person: u64) -> Said {
        self.count += 1;
        let token = format!("gho_{}{}", canary::PLANTED_WORD, self.count);
        self.tokens.insert(token.clone(), person);
        Said::json(&json!({"access_token": token, "scope": self.scopes, "token_type": "bearer"}))
    }

    fn api(&mut self, path: &str, asked: &Asked) -> Said {
        let Some(number) = self.tokens.get(asked.bearer()).copied() else {
            return Said::answer(401, &json!({"message": "Bad credentials"}));
        };
        if self.suspended.contains(&number) {
            let message = "Sorry. Your account was suspended.";
            return Said::answer(403, &json!({"message": message}));
        }
        let person = &self.people[&number];
        match path {
            "/user" => {
                let user = json!({"id": number, "login": person.login, "name": person.name});
                self.tagged(asked, &user, None)
            }
            "/user/memberships/orgs" => {
                let all = person.organizations.iter();
                // It gives what was not asked for too: whoever trusts it is let in by an invitation.
                let all = all.map(|(id, login, state)| {
                    let role = self.roles.get(&(number, *id)).unwrap_or(&"member");
                    json!({"state": state, "role": role, "organization": {"id": id, "login": login}})
                });
                let all: Vec<Value> = all.collect();
                self.list(asked, &all)
            }
            "/user/teams" => {
                let all = person.teams.iter();
                let all = all.map(|(id, slug, of, login)| {
                    json!({"id": id, "slug": slug, "name": slug, "organization": {"id": of, "login": login}})
                });
                let all: Vec<Value> = all.collect();
                self.list(asked, &all)
            }
            _ => Said::answer(404, &json!({"message": "Not Found"})),
        }
    }

    fn list(&mut self, asked: &Asked, all: &[Value]) -> Said {
        let page: usize = asked.q("page").parse().unwrap_or(1);
        let from = ((page - 1) * self.page).min(all.len());
        let to = (from + self.page).min(all.len());
        let next = (to < all.len()).then(|| {
            let mut url = Url::parse(&format!("{}{}", asked.base, asked.path)).unwrap();
            let others = asked.query.iter().filter(|(name, _)| *name != "page");
            url.query_pairs_mut()
                .extend_pairs(others)
                .append_pair("page", &(page + 1).to_string());
            format!("<{url}>; rel=\"next\", <{url}>; rel=\"last\"")
        });
        self.tagged(asked, &json!(all[from..to]), next.as_deref())
    }

    /// With an `ETag`; 304 to whoever has it already.
    fn tagged(&mut self, asked: &Asked, value: &Value, link: Option<&str>) -> Said {
        let of = format!("{value}{}{}", asked.bearer(), self.scopes);
        let etag = format!(
            "W/\"{}\"",
            URL_SAFE_NO_PAD.encode(digest(&SHA256, of.as_bytes()))
        );
        if asked.header("if-none-match") == etag {
            self.unchanged += 1;
            return Said::Answer(StatusCode::NOT_MODIFIED, Vec::new(), String::new());
        }
        self.whole += 1;
        let said = Said::json(value)
            .with("etag", &etag)
            .with("x-oauth-scopes", &self.scopes)
            .with("x-ratelimit-remaining", "4999");
        match link {
            Some(link) => said.with("link", link),
            None => said,
        }
    }
}
