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
mod person;

pub use limit::Whole;

use super::{
    Standing,
    ids::is_number,
    redirect::{
        Again, Arrival, ArrivalError, Begun, Failure, Grant, Pending, Reread, challenge,
        http::{Http, Question},
    },
};
use crate::config;
use device::Devices;
use http::StatusCode;
use limit::Rest;
use pages::{Memory, Remembered};
use person::{Told, User, Why, said};
use serde::Deserialize;
use url::Url;

/// Reads the person's own organisations and teams.
const SCOPE: &str = "read:org";

/// A GitHub.
pub struct Github {
    config: config::Github,
    http: Http,
    /// Terminals that log in by a code.
    devices: Devices,
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
            devices: Devices::default(),
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
