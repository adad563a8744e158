//! An OpenID provider that does what it should, until a test has it misbehave.
//!
//! Browsers that come to `/authorize` are let in at once as the person that the test names, or find a page with one
//! button (`/authorize?…` with [`Habit::AsksFirst`]). Its tokens hold a word that must turn up nowhere
//! ([`canary::PLANTED_WORD`]).

use super::{
    canary,
    site::{Asked, Said, Site},
};
use aws_lc_rs::{
    digest::{SHA256, digest},
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use palisade::status::clock;
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::sync::Semaphore;
use url::Url;

pub(crate) const CLIENT: &str = "palisade";
/// In the form in which it is sent: with what a header and a form must escape.
pub(crate) const SECRET: &str = "canary-7f3k:+secret/%";

/// What it does unless a test has it stop, but for the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Habit {
    GivesRefreshTokens,
    GivesIdTokensAtRefresh,
    /// A refresh token counts once.
    Rotates,
    /// People press a button first.
    AsksFirst,
}

/// Changes what is about to be said.
type Change = Box<dyn Fn(&mut Value) + Send>;
/// Answers in place of the issuer.
type Instead = Box<dyn Fn(&Asked) -> Option<Said> + Send>;

struct Key {
    id: String,
    pair: EcdsaKeyPair,
}

/// A login that has begun, until its code is exchanged.
struct Begun {
    challenge: String,
    nonce: String,
    redirect_uri: String,
    subject: String,
}

#[derive(Default)]
struct State {
    /// Claims by subject.
    people: BTreeMap<String, Map<String, Value>>,
    /// Claims of the userinfo endpoint alone.
    userinfo: BTreeMap<String, Map<String, Value>>,
    /// Who is logged in in every browser that comes.
    here: String,
    keys: Vec<Key>,
    codes: BTreeMap<String, Begun>,
    /// Refresh tokens that are good, and whose.
    refreshes: BTreeMap<String, String>,
    access: BTreeMap<String, String>,
    count: usize,
    habits: BTreeSet<Habit>,
    document: Option<Change>,
    claims: Option<Change>,
    head: Option<Change>,
    instead: Option<Instead>,
    held: Option<Arc<Semaphore>>,
}

pub(crate) struct Issuer {
    pub(crate) site: Site,
    state: Arc<Mutex<State>>,
}

impl Issuer {
    pub(crate) async fn start() -> Self {
        let state = Arc::new(Mutex::new(State {
            keys: vec![key("one")],
            habits: [
                Habit::GivesRefreshTokens,
                Habit::GivesIdTokensAtRefresh,
                Habit::Rotates,
            ]
            .into(),
            ..State::default()
        }));
        let own = Arc::clone(&state);
        let site = Site::start(move |asked| own.lock().unwrap().answer(asked)).await;
        Self { site, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn url(&self) -> String {
        self.site.url()
    }

    /// Lines of a configuration, below `providers`, with further options of `oidc`.
    pub(crate) fn provider(&self, name: &str, folder: &Path, options: &str) -> String {
        let secret = folder.join(format!("{name}-secret"));
        std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
        format!(
            "  {name}:\n    access: {{mode: danger_anyone}}\n    refresh: {{interval: 5s, max_age: 10s}}\n    \
             oidc: {{issuer: '{}', client_id: {CLIENT}, client_secret_file: {}, ca_file: {}{options}}}\n",
            self.url(),
            secret.display(),
            self.site.ca_file(folder).display(),
        )
    }

    /// There is somebody, and every browser that comes is theirs.
    pub(crate) fn person(&self, subject: &str, claims: &Value) {
        let mut state = self.state();
        subject.clone_into(&mut state.here);
        let claims = claims.as_object().unwrap().clone();
        state.people.insert(subject.to_owned(), claims);
    }

    /// What the userinfo endpoint says besides.
    pub(crate) fn userinfo(&self, subject: &str, claims: &Value) {
        let claims = claims.as_object().unwrap().clone();
        self.state().userinfo.insert(subject.to_owned(), claims);
    }

    /// Somebody is removed: tokens of theirs are not taken any more.
    pub(crate) fn remove(&self, subject: &str) {
        let mut state = self.state();
        state.refreshes.retain(|_, of| of != subject);
        state.access.retain(|_, of| of != subject);
    }

    /// It takes this up.
    pub(crate) fn begins(&self, habit: Habit) {
        self.state().habits.insert(habit);
    }

    /// It gives this up.
    pub(crate) fn stops(&self, habit: Habit) {
        self.state().habits.remove(&habit);
    }

    /// Signs with another key from now on, and publishes that one alone.
    pub(crate) fn change_keys(&self, id: &str) {
        self.state().keys = vec![key(id)];
    }

    /// The discovery document says something else.
    pub(crate) fn change_document(&self, change: impl Fn(&mut Value) + Send + 'static) {
        self.state().document = Some(Box::new(change));
    }

    /// ID tokens say something else.
    pub(crate) fn change_claims(&self, change: impl Fn(&mut Value) + Send + 'static) {
        self.state().claims = Some(Box::new(change));
    }

    /// The heads of ID tokens say something else. `alg: none` leaves the signature out, `HS256` makes one with what is
    /// public.
    pub(crate) fn change_head(&self, change: impl Fn(&mut Value) + Send + 'static) {
        self.state().head = Some(Box::new(change));
    }

    /// Answers in its place.
    pub(crate) fn instead(&self, answer: impl Fn(&Asked) -> Option<Said> + Send + 'static) {
        self.state().instead = Some(Box::new(answer));
    }

    /// From now on it takes what the token endpoint is asked with, and answers when the test gives permits.
    pub(crate) fn hold_tokens(&self) -> Arc<Semaphore> {
        let turns = Arc::new(Semaphore::new(0));
        self.state().held = Some(Arc::clone(&turns));
        turns
    }

    /// It behaves again.
    pub(crate) fn behave(&self) {
        let mut state = self.state();
        (state.document, state.claims, state.head) = (None, None, None);
        state.instead = None;
    }

    /// Refresh tokens that it would take now.
    pub(crate) fn good_refresh_tokens(&self) -> usize {
        self.state().refreshes.len()
    }
}

fn key(id: &str) -> Key {
    Key {
        id: id.to_owned(),
        pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
    }
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn refused(error: &str) -> Said {
    Said::answer(400, &json!({"error": error, "error_description": "no"}))
}

impl State {
    fn answer(&mut self, asked: &Asked) -> Said {
        if let Some(instead) = self.instead.as_ref().and_then(|instead| instead(asked)) {
            return instead;
        }
        match asked.path.as_str() {
            "/.well-known/openid-configuration" => self.discovery(&asked.base),
            "/jwks" => Said::json(&self.published()),
            "/authorize" => self.authorize(asked),
            "/token" => {
                let said = self.token(asked);
                match &self.held {
                    Some(turns) => Said::Held(Arc::clone(turns), Box::new(said)),
                    None => said,
                }
            }
            "/userinfo" => self.info(asked),
            _ => Said::answer(404, &json!({})),
        }
    }

    fn discovery(&self, base: &str) -> Said {
        let mut document = json!({
            "issuer": base,
            "authorization_endpoint": format!("{base}/authorize"),
            "token_endpoint": format!("{base}/token"),
            "userinfo_endpoint": format!("{base}/userinfo"),
            "jwks_uri": format!("{base}/jwks"),
            "code_challenge_methods_supported": ["S256"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            "authorization_response_iss_parameter_supported": true,
        });
        if let Some(change) = &self.document {
            change(&mut document);
        }
        Said::json(&document)
    }

    fn published(&self) -> Value {
        let keys = self.keys.iter().map(|key| {
            let point = key.pair.public_key().as_ref();
            let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
            json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": key.id, "use": "sig", "alg": "ES256"})
        });
        json!({"keys": keys.collect::<Vec<_>>()})
    }

    fn authorize(&mut self, asked: &Asked) -> Said {
        for (name, value) in [
            ("response_type", "code"),
            ("client_id", CLIENT),
            ("code_challenge_method", "S256"),
        ] {
            assert_eq!(asked.q(name), value, "{name}");
        }
        assert!(asked.q("scope").split(' ').any(|scope| scope == "openid"));
        if self.habits.contains(&Habit::AsksFirst) && asked.q("agreed").is_empty() {
            let mut hidden = String::new();
            for (name, value) in &asked.query {
                let value = value.replace('&', "&amp;").replace('"', "&quot;");
                hidden += &[
                    "<input type=\"hidden\" name=\"",
                    name,
                    "\" value=\"",
                    &value,
                    "\">",
                ]
                .concat();
            }
            return Said::html(&format!(
                "<!doctype html><html lang=\"en\"><title>Issuer</title><main><h1>Issuer</h1><form>{hidden}\
                 <button name=\"agreed\" value=\"yes\">Continue</button></form></main>"
            ));
        }
        self.count += 1;
        let code = format!("{}-code-{}", canary::PLANTED_WORD, self.count);
        self.codes.insert(
            code.clone(),
            Begun {
                challenge: asked.q("code_challenge").to_owned(),
                nonce: asked.q("nonce").to_owned(),
                redirect_uri: asked.q("redirect_uri").to_owned(),
                subject: self.here.clone(),
            },
        );
        let mut back = Url::parse(asked.q("redirect_uri")).unwrap();
        back.query_pairs_mut()
            .append_pair("code", &code)
            .append_pair("state", asked.q("state"))
            .append_pair("iss", &asked.base);
        Said::redirect(back.as_str())
    }

    fn token(&mut self, asked: &Asked) -> Said {
        let form =
            |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let pair = STANDARD.encode(format!("{}:{}", form(CLIENT), form(SECRET)));
        let by_header = asked.header("authorization") == format!("Basic {pair}");
        let by_form = asked.f("client_id") == CLIENT && asked.f("client_secret") == SECRET;
        if !by_header && !by_form {
            return Said::answer(401, &json!({"error": "invalid_client"}));
        }
        match asked.f("grant_type") {
            "authorization_code" => self.redeem(asked),
            "refresh_token" => self.refresh(asked),
            _ => refused("unsupported_grant_type"),
        }
    }

    fn redeem(&mut self, asked: &Asked) -> Said {
        // A code counts once, whatever comes of it.
        let Some(begun) = self.codes.remove(asked.f("code")) else {
            return refused("invalid_grant");
        };
        let verifier = digest(&SHA256, asked.f("code_verifier").as_bytes());
        let fits = URL_SAFE_NO_PAD.encode(verifier) == begun.challenge
            && asked.f("redirect_uri") == begun.redirect_uri;
        if !fits {
            return refused("invalid_grant");
        }
        let nonce = Some(begun.nonce.as_str());
        Said::json(&self.tokens(&asked.base, &begun.subject, nonce))
    }

    fn refresh(&mut self, asked: &Asked) -> Said {
        let token = asked.f("refresh_token");
        let Some(subject) = self.refreshes.get(token).cloned() else {
            return refused("invalid_grant");
        };
        if self.habits.contains(&Habit::Rotates) {
            self.refreshes.remove(token);
        }
        let mut tokens = self.tokens(&asked.base, &subject, None);
        let map = tokens.as_object_mut().unwrap();
        if !self.habits.contains(&Habit::Rotates) {
            map.remove("refresh_token");
        }
        if !self.habits.contains(&Habit::GivesIdTokensAtRefresh) {
            map.remove("id_token");
        }
        Said::json(&tokens)
    }

    fn tokens(&mut self, base: &str, subject: &str, nonce: Option<&str>) -> Value {
        self.count += 1;
        let word = canary::PLANTED_WORD;
        let access = format!("{word}-access-{}", self.count);
        self.access.insert(access.clone(), subject.to_owned());
        let now = clock::now().as_second();
        let hash = digest(&SHA256, access.as_bytes());
        let mut claims = json!({
            "iss": base, "aud": CLIENT, "sub": subject, "iat": now, "exp": now + 300,
            "at_hash": URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16]),
        });
        let map = claims.as_object_mut().unwrap();
        map.extend(self.people[subject].clone());
        if let Some(nonce) = nonce {
            map.insert("nonce".to_owned(), nonce.into());
        }
        if let Some(change) = &self.claims {
            change(&mut claims);
        }
        let mut tokens = json!({
            "access_token": access, "token_type": "Bearer", "expires_in": 300,
            "id_token": self.sign(&claims),
        });
        if self.habits.contains(&Habit::GivesRefreshTokens) {
            let refresh = format!("{word}-refresh-{}", self.count);
            self.refreshes.insert(refresh.clone(), subject.to_owned());
            tokens["refresh_token"] = refresh.into();
        }
        tokens
    }

    fn sign(&self, claims: &Value) -> String {
        let key = &self.keys[0];
        let mut head = json!({"alg": "ES256", "kid": key.id, "typ": "JWT"});
        if let Some(change) = &self.head {
            change(&mut head);
        }
        let text = format!("{}.{}", encoded(&head), encoded(claims));
        let signature = match head["alg"].as_str().unwrap() {
            "none" => Vec::new(),
            "HS256" => {
                let public = hmac::Key::new(hmac::HMAC_SHA256, key.pair.public_key().as_ref());
                hmac::sign(&public, text.as_bytes()).as_ref().to_vec()
            }
            _ => {
                let signed = key.pair.sign(&SystemRandom::new(), text.as_bytes());
                signed.unwrap().as_ref().to_vec()
            }
        };
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn info(&self, asked: &Asked) -> Said {
        let Some(subject) = self.access.get(asked.bearer()) else {
            return Said::answer(401, &json!({"error": "invalid_token"}));
        };
        let mut claims = json!({"sub": subject});
        if let Some(more) = self.userinfo.get(subject) {
            claims.as_object_mut().unwrap().extend(more.clone());
        }
        Said::json(&claims)
    }
}
