//! GitHub, or a GitHub Enterprise Server: an OAuth app, whose token of a person says who they are and which
//! organisations and teams they are in.
//!
//! An account is its number (and the host, where that is not github.com), an organisation `org-<number>`, a team `team-<number>`: names there change hands (L6 of
//! docs/attacks.md). Groups are the person's own: *active* memberships in organisations, and of the teams those that
//! the person is in, in such an organisation (G2, CVE-2026-41053). A token that may not read them (`read:org`) is a
//! refusal, and not "no groups".
//!
//! The grant is that token. It is asked again with it beside the requests: by conditional questions, which cost nothing
//! of its limit where nothing has changed ([`pages`]); told to wait, nobody asks before that time ([`Failure::Limited`]).
//!
//! Outcomes are three: a token that is not taken any more is a refusal, an answer that is none leaves everything as it
//! was.

mod device;
mod limit;
mod pages;

pub use limit::Whole;

use super::{
    GroupRef, Standing,
    ids::is_number,
    redirect::{
        Again, Arrival, ArrivalError, Begun, Failure, Grant, Pending, Reread, challenge,
        http::{Answer, Http, Question},
    },
};
use crate::config;
use http::{HeaderName, StatusCode};
use limit::Rest;
use pages::{Memory, Remembered};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::sync::Semaphore;
use url::Url;

/// Reads the person's own organisations and teams.
const SCOPE: &str = "read:org";
/// Those that hold [`SCOPE`].
const ENOUGH: [&str; 3] = [SCOPE, "write:org", "admin:org"];
/// The scopes of the token that a question came with.
const SCOPES: &str = "x-oauth-scopes";
/// Whether single sign-on leaves out some of a list.
const SSO: &str = "x-github-sso";
/// The version of the API.
const VERSION: (HeaderName, &str) = (
    HeaderName::from_static("x-github-api-version"),
    "2022-11-28",
);

/// A GitHub.
pub struct Github {
    config: config::Github,
    http: Http,
    /// Turns of terminals that log in by a code.
    devices: Semaphore,
    memory: Memory,
    rest: Rest,
}

/// The token endpoint's answer, which is 200 whatever it says.
#[derive(Deserialize)]
struct Tokens {
    #[serde(default)]
    access_token: Grant,
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

#[derive(Serialize, Deserialize)]
struct User {
    id: u64,
    login: String,
    #[serde(default)]
    name: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Membership {
    state: String,
    role: String,
    organization: Organization,
}

#[derive(Serialize, Deserialize)]
struct Organization {
    id: u64,
    login: String,
}

#[derive(Serialize, Deserialize)]
struct Team {
    id: u64,
    slug: String,
    organization: Organization,
}

/// What an error says.
#[derive(Default, Deserialize)]
struct Said {
    #[serde(default)]
    message: String,
}

/// What a token says of its person.
enum Told {
    Person(Person),
    /// It says nothing any more, or not enough.
    Nothing(Why),
}

struct Person {
    user: User,
    groups: Vec<GroupRef>,
    /// Whether one of the configured organisations is among them.
    is_member: bool,
}

enum Why {
    Revoked,
    Suspended,
    Scope,
    /// GitHub does not say what the token may do.
    Unsaid,
}

/// Whether a text is the id of an organisation or a team.
pub fn is_group_id(text: &str) -> bool {
    let number = ["org-", "team-"]
        .iter()
        .find_map(|it| text.strip_prefix(it));
    // An organisation may be called `org-1` all the same: an id is what it is taken for.
    number.is_some_and(|number| {
        number
            .parse::<u64>()
            .is_ok_and(|it| it.to_string() == number)
    })
}

/// The immutable id of the account of this number: at another server the same number is somebody else.
pub(super) fn account_id(url: &str, number: &str) -> String {
    match url.strip_prefix("https://") {
        Some("github.com") => number.to_owned(),
        host => format!("{number}@{}", host.unwrap_or(url).replace('/', "_")),
    }
}

/// Whether a text is meant for an id, and not for a name, even if nothing has that id.
pub(super) fn looks_like_group_id(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let number = ["org-", "team-"]
        .iter()
        .find_map(|it| text.strip_prefix(it));
    number.is_some_and(is_number)
}

impl Github {
    /// One that nobody has asked yet.
    pub fn new(config: config::Github) -> Self {
        Self {
            http: Http::new(config.link.clone()),
            devices: Semaphore::new(device::AT_ONCE),
            config,
            memory: Memory::default(),
            rest: Rest::default(),
        }
    }

    /// What it was made with.
    pub fn config(&self) -> &config::Github {
        &self.config
    }

    /// Whether the API answers who has no token.
    pub async fn probe(&self) -> Result<(), Failure> {
        let url = self.api("/meta")?;
        let answer = self.http.ask(Question::get("the API", &url)).await?;
        let limited = answer.status == StatusCode::FORBIDDEN && limit::of(&answer).is_some();
        // An Enterprise Server in private mode tells nobody anything who has no token: it is there all the same.
        let private = answer.status == StatusCode::UNAUTHORIZED;
        if answer.status == StatusCode::OK || limited || private {
            Ok(())
        } else {
            Err(answer.failure(&said(&answer)))
        }
    }

    /// Whether the app's name and secret are right: by a code that nobody was given. The sentence says what is wrong.
    pub async fn check_app(&self, redirect_uri: &str) -> Result<Result<(), String>, Failure> {
        let tokens = self.exchange("palisade-check", "", redirect_uri).await?;
        Ok(match &*tokens.error {
            "bad_verification_code" => Ok(()),
            "" => Err("it gave a token for a code that nobody was given".to_owned()),
            error => Err(format!("{error}: {}", tokens.error_description)),
        })
    }

    pub(super) fn begin(&self, pending: Pending, redirect_uri: &str) -> Result<Begun, Failure> {
        let mut url = self.page_of_github("/login/oauth/authorize")?;
        url.query_pairs_mut()
            .append_pair("client_id", &self.config.client.id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("scope", SCOPE)
            .append_pair("state", pending.state())
            .append_pair("code_challenge", &challenge(&pending.verifier))
            .append_pair("code_challenge_method", "S256")
            .append_pair("allow_signup", "false");
        Ok(Begun {
            url: url.into(),
            pending,
        })
    }

    pub(super) async fn finish(
        &self,
        pending: &Pending,
        code: &str,
        redirect_uri: &str,
    ) -> Result<Arrival, ArrivalError> {
        let tokens = self.exchange(code, &pending.verifier, redirect_uri).await?;
        match &*tokens.error {
            "" => {}
            // It was used, is ten minutes old, or was given to somebody else; or the verifier does not fit.
            "bad_verification_code" => return Err(ArrivalError::Code(tokens.error)),
            error => return Err(refused("the token endpoint", error).into()),
        }
        self.arrive(tokens.access_token).await
    }

    /// Whose token it is that a login has just got.
    async fn arrive(&self, token: Grant) -> Result<Arrival, ArrivalError> {
        let person = match self.ask(token.expose(), &mut Remembered::default()).await? {
            Told::Person(person) => person,
            Told::Nothing(Why::Scope | Why::Unsaid) => {
                return Err(ArrivalError::Account(
                    "its token does not let the gateway read organisations and teams (read:org)",
                ));
            }
            Told::Nothing(Why::Suspended) => {
                return Err(ArrivalError::Account("it is suspended there"));
            }
            Told::Nothing(Why::Revoked) => {
                return Err(ArrivalError::Account("its token is not taken"));
            }
        };
        if !person.is_member {
            return Err(ArrivalError::NotMember);
        }
        Ok(Arrival {
            id: self.account_id(&person.user).into(),
            handle: person.user.login.to_lowercase().into(),
            name: person.user.login.into(),
            display_name: person.user.name.unwrap_or_default(),
            groups: person.groups,
            grant: Some(token),
        })
    }

    /// What GitHub says of an account now.
    pub(super) async fn again(&self, id: &str, grant: &Grant) -> Reread {
        let mut remembered = self.memory.take(id, grant.expose());
        let told = match remembered.must_wait() {
            Some(wait) => Err(Failure::Limited {
                wait,
                whole: Whole::No,
            }),
            None => self.ask(grant.expose(), &mut remembered).await,
        };
        // Also where everybody waits: this one for all of the time that it was told.
        if let Err(Failure::Limited { wait, .. }) = &told {
            remembered.wait(*wait);
        }
        let outcome = told.and_then(|told| {
            Ok(match told {
                // The number is what counts; a token of somebody else's says nothing of this account.
                Told::Person(person) if self.account_id(&person.user) != id => {
                    Again::refused(Standing::Ended)
                }
                Told::Person(person) if !person.is_member => Again::refused(Standing::Gone),
                Told::Person(person) => Again {
                    standing: Standing::Active,
                    name: Some(person.user.login.into()),
                    groups: person.groups,
                },
                Told::Nothing(Why::Suspended) => Again::refused(Standing::Disabled),
                Told::Nothing(Why::Revoked | Why::Scope) => Again::refused(Standing::Ended),
                // Something on the way may have taken the header out: nobody's login ends by that.
                Told::Nothing(Why::Unsaid) => {
                    return Err(Failure::Malformed {
                        what: "the account",
                        why: "it does not say what the token may do (X-OAuth-Scopes)".to_owned(),
                    });
                }
            })
        });
        let goes_on = match &outcome {
            Ok(again) => again.standing == Standing::Active,
            Err(_) => true,
        };
        if goes_on {
            self.memory.put(id, remembered);
        }
        outcome.into()
    }

    async fn exchange(
        &self,
        code: &str,
        verifier: &str,
        redirect_uri: &str,
    ) -> Result<Tokens, Failure> {
        let url = self.page_of_github("/login/oauth/access_token")?;
        let client = &self.config.client;
        let secret = self.http.secret(client).await?.unwrap_or_default();
        let fields = [
            ("client_id", client.id.as_str()),
            ("client_secret", &secret),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier),
        ];
        let question = Question::post("the token endpoint", &url, &fields);
        self.http.ask(question).await?.success()
    }

    /// Who has this token, and which groups they are in.
    async fn ask(&self, token: &str, remembered: &mut Remembered) -> Result<Told, Failure> {
        match Box::pin(self.read(token, remembered)).await {
            Ok(person) => Ok(Told::Person(person)),
            Err(NoPage::Nothing(why)) => Ok(Told::Nothing(why)),
            Err(NoPage::Failed(failure)) => Err(failure),
        }
    }

    async fn read(&self, token: &str, remembered: &mut Remembered) -> Result<Person, NoPage> {
        let question = |what, path: &str| Ok::<_, Failure>((what, self.api(path)?));
        let (what, url) = question("the account", "/user")?;
        let (user, scopes) = self.page::<User>(what, &url, token, remembered).await?;
        let scopes = scopes.ok_or(NoPage::Nothing(Why::Unsaid))?;
        let mut scopes = scopes.split(',').map(str::trim);
        if !scopes.any(|scope| ENOUGH.contains(&scope)) {
            return Err(NoPage::Nothing(Why::Scope));
        }
        let path = "/user/memberships/orgs?state=active&per_page=100";
        let (what, url) = question("the account's organisations", path)?;
        let mut organizations = Vec::new();
        for membership in self
            .list::<Membership>(what, url, token, remembered)
            .await?
        {
            // Whatever was asked for: an invitation is no membership, nor is a look at the bills (`billing_manager`).
            let is_member = matches!(membership.role.as_str(), "admin" | "member");
            if membership.state == "active" && is_member {
                organizations.push(membership.organization);
            }
        }
        let wanted = &self.config.organizations;
        if !wanted.is_empty() {
            organizations.retain(|own| wanted.iter().any(|it| own.is(it)));
        }
        let is_member = wanted.is_empty() || !organizations.is_empty();
        let mut groups: Vec<GroupRef> = organizations.iter().map(Organization::group).collect();
        if !groups.is_empty() {
            let (what, url) = question("the account's teams", "/user/teams?per_page=100")?;
            let teams = self.list::<Team>(what, url, token, remembered).await?;
            let teams = teams.iter().filter(|team| {
                let mut own = organizations.iter();
                own.any(|own| own.id == team.organization.id)
            });
            groups.extend(teams.map(Team::group));
        }
        Ok(Person {
            user,
            groups,
            is_member,
        })
    }

    fn account_id(&self, user: &User) -> String {
        account_id(&self.config.url, &user.id.to_string())
    }

    fn page_of_github(&self, path: &str) -> Result<Url, Failure> {
        let text = format!("{}{path}", self.config.url);
        self.http.check("the address of GitHub", &text)
    }

    fn api(&self, path: &str) -> Result<Url, Failure> {
        let text = format!("{}{path}", self.config.api_url);
        self.http.check("the address of the API", &text)
    }

    /// All pages of a list.
    async fn list<T: Serialize + DeserializeOwned>(
        &self,
        what: &'static str,
        first: Url,
        token: &str,
        remembered: &mut Remembered,
    ) -> Result<Vec<T>, NoPage> {
        let mut all = Vec::new();
        let mut next = Some(first.clone());
        let mut pages = 0;
        while let Some(url) = next {
            pages += 1;
            if pages > pages::MAX_PAGES {
                return Err(Failure::GroupsUnknown("there are too many of them").into());
            }
            let (more, link) = self.page::<Vec<T>>(what, &url, token, remembered).await?;
            all.extend(more);
            next = link
                .map(|link| pages::next(&self.http, &first, &link))
                .transpose()?
                .flatten();
        }
        Ok(all)
    }

    /// One page, and the header that its kind of question needs: of the account the scopes, of a list the links.
    async fn page<T: Serialize + DeserializeOwned>(
        &self,
        what: &'static str,
        url: &Url,
        token: &str,
        remembered: &mut Remembered,
    ) -> Result<(T, Option<String>), NoPage> {
        self.rest.check()?;
        let mut question = Question::get(what, url)
            .bearer(token)?
            .header(VERSION.0, VERSION.1)?;
        if let Some(etag) = remembered.etag(url) {
            question = question.header(http::header::IF_NONE_MATCH, etag)?;
        }
        let answer = self.http.ask(question).await?;
        if answer
            .text(SSO)
            .is_some_and(|it| it.trim().starts_with("partial-results"))
        {
            let why = "it leaves out organisations for which the person must use single sign-on";
            return Err(Failure::GroupsUnknown(why).into());
        }
        match answer.status {
            StatusCode::OK => {
                let value: T = answer.json()?;
                let header = answer.text(SCOPES).filter(|_| url.query().is_none());
                let header = header.or_else(|| answer.text("link")).map(str::to_owned);
                let etag = answer.text("etag").map(str::to_owned);
                remembered.put(url, etag, &value, header.clone());
                Ok((value, header))
            }
            StatusCode::NOT_MODIFIED => remembered.get(url).ok_or_else(|| {
                let why = "it says that nothing has changed where nothing was known".to_owned();
                Failure::Malformed { what, why }.into()
            }),
            StatusCode::UNAUTHORIZED => {
                let words = said(&answer);
                // Any other 401 is not GitHub's word on the token.
                if words == "Bad credentials" {
                    return Err(NoPage::Nothing(Why::Revoked));
                }
                Err(answer.failure(&words).into())
            }
            StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS => {
                let words = said(&answer);
                if let Some(limited) = limit::of(&answer) {
                    self.rest.note(&limited);
                    return Err(limited.into());
                }
                if words.contains("suspended") {
                    return Err(NoPage::Nothing(Why::Suspended));
                }
                Err(answer.failure(&words).into())
            }
            _ => Err(answer.failure(&said(&answer)).into()),
        }
    }
}

/// Why there is no page.
enum NoPage {
    Nothing(Why),
    Failed(Failure),
}

impl From<Failure> for NoPage {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Organization {
    /// Whether a configured text means this one. One may be called like the id of another.
    fn is(&self, text: &str) -> bool {
        if looks_like_group_id(text) {
            text.eq_ignore_ascii_case(&format!("org-{}", self.id))
        } else {
            text.eq_ignore_ascii_case(&self.login)
        }
    }

    fn group(&self) -> GroupRef {
        GroupRef {
            id: format!("org-{}", self.id).into(),
            name: self.login.as_str().into(),
        }
    }
}

impl Team {
    fn group(&self) -> GroupRef {
        GroupRef {
            id: format!("team-{}", self.id).into(),
            name: format!("{}/{}", self.organization.login, self.slug).into(),
        }
    }
}

/// An endpoint of OAuth's that says no. The description is not looked at: it may quote what was sent.
fn refused(what: &'static str, error: &str) -> Failure {
    Failure::Refused {
        what,
        said: error
            .chars()
            .filter(|c| !c.is_control())
            .take(200)
            .collect(),
    }
}

fn said(answer: &Answer) -> String {
    answer.json::<Said>().unwrap_or_default().message
}
