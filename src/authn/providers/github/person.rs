//! What a token says of its person: who they are, and which organisations and teams they are in.

use super::{
    Github, SCOPE, limit, looks_like_group_id,
    pages::{self, Remembered},
};
use crate::authn::providers::{
    GroupRef,
    redirect::{
        Failure,
        http::{Answer, Question},
    },
};
use http::{HeaderName, StatusCode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use url::Url;

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

#[derive(Serialize, Deserialize)]
pub(super) struct User {
    pub(super) id: u64,
    pub(super) login: String,
    #[serde(default)]
    pub(super) name: Option<String>,
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
pub(super) enum Told {
    Person(Person),
    /// It says nothing any more, or not enough.
    Nothing(Why),
}

pub(super) struct Person {
    pub(super) user: User,
    pub(super) groups: Vec<GroupRef>,
    /// Whether one of the configured organisations is among them.
    pub(super) is_member: bool,
}

pub(super) enum Why {
    Revoked,
    Suspended,
    Scope,
    /// GitHub does not say what the token may do.
    Unsaid,
}

impl Github {
    /// Who has this token, and which groups they are in.
    pub(super) async fn ask(
        &self,
        token: &str,
        remembered: &mut Remembered,
    ) -> Result<Told, Failure> {
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

pub(super) fn said(answer: &Answer) -> String {
    answer.json::<Said>().unwrap_or_default().message
}
