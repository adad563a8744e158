//! An OpenID provider (OpenID Connect Core 1.0, authorization code flow with PKCE).
//!
//! Its endpoints come from its discovery document, which must name the configured issuer to the letter; who somebody
//! is comes from an ID token that it signed for this client, for this login ([`token`]); an account is issuer and
//! subject together ([`account_id`]), so that no other issuer under the same name of a provider, and nobody who gets
//! somebody's old user name or e-mail address, is taken for them (L6 of docs/attacks.md).
//!
//! What an attacker would try: a token that is not signed, or signed with what is public (T1); one for another client,
//! another issuer, another login, another time (T2); the answer of another provider in place of this one's (the
//! parameter `iss`, RFC 9207); a discovery document that sends secrets somewhere (its addresses must be https, and each
//! is used for what it is alone).
//!
//! Groups that the provider leaves out because there are too many are not "no groups": nobody can tell then
//! ([`Failure::GroupsUnknown`]).

mod claims;
mod discovery;
mod keys;
mod token;

pub use discovery::Discovered;
pub use token::TokenError;

use super::{
    GroupRef, Standing,
    redirect::{
        Again, Arrival, ArrivalError, Begun, Failure, Fate, Grant, Kept, Pending, Reread,
        challenge,
        http::{Answer, Http, Question},
        random,
    },
};
use crate::config;
use aws_lc_rs::digest::{SHA256, digest};
use claims::{Claims, Groups};
use http::StatusCode;
use keys::Keys;
use serde::Deserialize;
use std::{fmt::Write as _, sync::Arc, time::Duration};
use token::Expected;
use url::Url;

/// The scope that makes it OpenID.
const OPENID: &str = "openid";

/// What the token endpoint says where its person must log in anew (RFC 6749, section 5.2; OpenID Connect Core 1.0, section
/// 3.1.2.6, which some also use here).
const ENDED: [&str; 4] = [
    "invalid_grant",
    "interaction_required",
    "login_required",
    "consent_required",
];

/// What reading an account again takes at most: discovery, a token, the keys, the keys once more, userinfo.
const QUESTIONS: u32 = 5;

/// An OpenID provider, with what it published last.
pub struct Oidc {
    config: config::Oidc,
    http: Http,
    discovered: Kept<Discovered>,
    keys: Kept<Keys>,
}

/// What the token endpoint gives (RFC 6749, section 5.1).
#[derive(Deserialize)]
struct Tokens {
    #[serde(default)]
    access_token: Grant,
    #[serde(default)]
    token_type: String,
    #[serde(default)]
    id_token: Option<Grant>,
    #[serde(default)]
    refresh_token: Option<Grant>,
}

/// What it says instead (RFC 6749, section 5.2).
#[derive(Default, Deserialize)]
struct TokenRefusal {
    #[serde(default)]
    error: String,
}

/// An answer of the token endpoint.
enum Exchanged {
    Tokens(Tokens),
    /// One of [`ENDED`]: the code or the refresh token is not, or no longer, good.
    Refused(String),
}

/// The immutable id of an account: good for a key of the store, and the same whatever case it is compared in, which a
/// subject is not.
pub fn account_id(issuer: &str, subject: &str) -> Box<str> {
    let mut bytes = (issuer.len() as u64).to_be_bytes().to_vec();
    bytes.extend_from_slice(issuer.as_bytes());
    bytes.extend_from_slice(subject.as_bytes());
    let mut id = String::new();
    for byte in digest(&SHA256, &bytes).as_ref() {
        // Writing to a string cannot fail.
        let _ = write!(id, "{byte:02x}");
    }
    id.into()
}

impl Oidc {
    /// One that nobody has asked yet.
    pub fn new(config: config::Oidc) -> Self {
        Self {
            http: Http::new(config.link.clone()),
            config,
            discovered: Kept::default(),
            keys: Kept::default(),
        }
    }

    /// What it was made with.
    pub fn config(&self) -> &config::Oidc {
        &self.config
    }

    /// How long reading an account again may take.
    pub(super) fn longest(&self) -> Duration {
        self.config.link.timeout.saturating_mul(QUESTIONS)
    }

    /// What the provider publishes of itself.
    pub async fn discover(&self) -> Result<Arc<Discovered>, Failure> {
        let read = discovery::read(&self.http, &self.config);
        Box::pin(self.discovered.get(read)).await
    }

    /// How many keys it signs with that can be used here.
    pub async fn count_keys(&self) -> Result<usize, Failure> {
        let discovered = self.discover().await?;
        Ok(self.keys(&discovered).await?.len())
    }

    pub(super) async fn begin(
        &self,
        mut pending: Pending,
        redirect_uri: &str,
    ) -> Result<Begun, Failure> {
        let discovered = self.discover().await?;
        let nonce = random()?;
        let mut url = discovered.authorization_endpoint.clone();
        let scopes: Vec<&str> = std::iter::once(OPENID)
            .chain(self.config.scopes.iter().map(String::as_str))
            .collect();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.config.client.id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("scope", &scopes.join(" "))
            .append_pair("state", pending.state())
            .append_pair("nonce", &nonce)
            .append_pair("code_challenge", &challenge(&pending.verifier))
            .append_pair("code_challenge_method", "S256")
            .extend_pairs(self.config.prompt.iter().map(|prompt| ("prompt", prompt)));
        pending.nonce = Some(nonce);
        Ok(Begun {
            url: url.into(),
            pending,
        })
    }

    pub(super) async fn finish(
        &self,
        pending: &Pending,
        code: &str,
        iss: Option<&str>,
        redirect_uri: &str,
    ) -> Result<Arrival, ArrivalError> {
        let discovered = self.discover().await?;
        // Before the code goes anywhere: the answer of another provider must not be redeemed at this one.
        match iss {
            Some(iss) if iss != self.config.issuer => {
                return Err(ArrivalError::Callback("another issuer has answered"));
            }
            None if discovered.names_itself => {
                return Err(ArrivalError::Callback(
                    "it does not say which issuer answered",
                ));
            }
            Some(_) | None => {}
        }
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", &pending.verifier),
        ];
        let tokens = match self.exchange(&discovered, &fields).await? {
            Exchanged::Tokens(tokens) => tokens,
            Exchanged::Refused(why) => return Err(ArrivalError::Code(why)),
        };
        let Some(id_token) = &tokens.id_token else {
            return Err(TokenError::Missing.into());
        };
        let expected = Expected {
            nonce: pending.nonce.as_deref(),
            ..self.expected(&tokens)
        };
        let said = self
            .verify(&discovered, id_token.expose(), &expected)
            .await?;
        let subject = said.subject.clone();
        let claims = Claims::new(said.claims);
        let claims = self
            .complete(&discovered, &tokens, &subject, claims)
            .await?;
        let groups = self.groups(&claims)?;
        Ok(Arrival {
            id: account_id(&self.config.issuer, &subject),
            name: claims.name(&self.config, &subject).into(),
            handle: claims.handle(&self.config)?.into(),
            display_name: claims
                .text(&self.config.display_name_claim)
                .unwrap_or_default()
                .to_owned(),
            groups,
            grant: tokens.refresh_token,
        })
    }

    /// What the provider says of an account now.
    pub(super) async fn again(&self, id: &str, grant: &Grant) -> Reread {
        let fields = [
            ("grant_type", "refresh_token"),
            ("refresh_token", grant.expose()),
        ];
        let exchanged = async {
            let discovered = self.discover().await;
            let discovered = discovered.map_err(|failure| (failure, Fate::GoesOn))?;
            let exchanged = self
                .exchange(&discovered, &fields)
                .await
                .map_err(|failure| {
                    let fate = if failure.spends_nothing() {
                        Fate::GoesOn
                    } else {
                        Fate::Unknown
                    };
                    (failure, fate)
                })?;
            Ok((discovered, exchanged))
        };
        let (discovered, mut tokens) = match Box::pin(exchanged).await {
            Ok((discovered, Exchanged::Tokens(tokens))) => (discovered, tokens),
            Ok((_, Exchanged::Refused(_))) => return Ok(Again::refused(Standing::Ended)).into(),
            Err((failure, fate)) => {
                return Reread {
                    outcome: Err(failure),
                    fate,
                };
            }
        };
        // The old one may be of no use from now on: the new one is kept, whatever else goes wrong. Without a new one the
        // old one goes on (RFC 6749, section 6).
        let grant = tokens.refresh_token.take();
        Reread {
            outcome: Box::pin(self.read_again(&discovered, &tokens, id)).await,
            fate: grant.map_or(Fate::GoesOn, Fate::Replaced),
        }
    }

    async fn read_again(
        &self,
        discovered: &Discovered,
        tokens: &Tokens,
        id: &str,
    ) -> Result<Again, Failure> {
        let is_it = |subject: &str| *account_id(&self.config.issuer, subject) == *id;
        let (subject, claims) = match &tokens.id_token {
            Some(id_token) => {
                let expected = self.expected(tokens);
                let said = self.verify(discovered, id_token.expose(), &expected).await;
                let said = said.map_err(|error| {
                    if let ArrivalError::Failed(failure) = error {
                        return failure;
                    }
                    Failure::Malformed {
                        what: "a refresh",
                        why: error.to_string(),
                    }
                })?;
                (said.subject.clone(), Claims::new(said.claims))
            }
            // It may leave the ID token out (OpenID Connect Core 1.0, section 12.2).
            None if self.config.userinfo => {
                let info = self.userinfo(discovered, tokens).await?;
                // A provider that says groups in ID tokens alone leaves them out here: that says nothing of them.
                if self
                    .config
                    .groups_claim
                    .as_ref()
                    .is_some_and(|it| !info.has(it))
                {
                    return Err(Failure::GroupsUnknown(
                        "its answer to a refresh token has no ID token, and userinfo leaves the claim out",
                    ));
                }
                (info.subject()?.to_owned(), info)
            }
            None => {
                return Err(Failure::GroupsUnknown(
                    "its answer to a refresh token has no ID token, and userinfo is not switched on",
                ));
            }
        };
        if !is_it(&subject) {
            // A token of somebody else's: whatever happened, it is not this account's word.
            return Ok(Again::refused(Standing::Ended));
        }
        let claims = if tokens.id_token.is_some() {
            self.complete(discovered, tokens, &subject, claims).await?
        } else {
            claims
        };
        Ok(Again {
            standing: Standing::Active,
            name: Some(claims.name(&self.config, &subject).into()),
            groups: self.groups(&claims)?,
        })
    }

    fn expected<'a>(&'a self, tokens: &'a Tokens) -> Expected<'a> {
        Expected {
            issuer: &self.config.issuer,
            client_id: &self.config.client.id,
            nonce: None,
            access_token: tokens.access_token.expose(),
        }
    }

    /// The claims, with those of the userinfo endpoint behind them where that is switched on.
    async fn complete(
        &self,
        discovered: &Discovered,
        tokens: &Tokens,
        subject: &str,
        claims: Claims,
    ) -> Result<Claims, Failure> {
        if !self.config.userinfo {
            return Ok(claims);
        }
        let info = self.userinfo(discovered, tokens).await?;
        // OpenID Connect Core 1.0, section 5.3.2: else it is of somebody else.
        if info.subject()? != subject {
            return Err(Failure::Malformed {
                what: "the userinfo endpoint",
                why: "it is about another subject than the ID token".to_owned(),
            });
        }
        Ok(claims.or(info))
    }

    async fn userinfo(&self, discovered: &Discovered, tokens: &Tokens) -> Result<Claims, Failure> {
        let Some(url) = &discovered.userinfo_endpoint else {
            return Err(Failure::Lacking("it has no userinfo endpoint"));
        };
        if !tokens.token_type.eq_ignore_ascii_case("bearer")
            || tokens.access_token.expose().is_empty()
        {
            return Err(Failure::Lacking("it gives no bearer token"));
        }
        let question =
            Question::get("the userinfo endpoint", url).bearer(tokens.access_token.expose())?;
        Ok(Claims::new(self.http.ask(question).await?.success()?))
    }

    fn groups(&self, claims: &Claims) -> Result<Vec<GroupRef>, Failure> {
        let Some(claim) = &self.config.groups_claim else {
            return Ok(Vec::new());
        };
        match claims.groups(claim)? {
            Groups::Known(groups) => Ok(groups),
            Groups::Elsewhere => Err(Failure::GroupsUnknown(
                "there are too many for a token, and it names another place (groups overage)",
            )),
        }
    }

    async fn keys(&self, discovered: &Discovered) -> Result<Arc<Keys>, Failure> {
        let read = keys::read(&self.http, &discovered.jwks_uri, &self.config.algorithms);
        Box::pin(self.keys.get(read)).await
    }

    async fn verify(
        &self,
        discovered: &Discovered,
        id_token: &str,
        expected: &Expected<'_>,
    ) -> Result<token::Verified, ArrivalError> {
        let head = token::head(id_token)?;
        let keys = self.keys(discovered).await?;
        match keys.find(&head) {
            Ok(key) => return Ok(token::verify(id_token, &head, key, expected)?),
            Err(TokenError::UnknownKey) => {}
            Err(other) => return Err(other.into()),
        }
        // Signed with a key that was not there a while ago, or that nobody has.
        let read = keys::read(&self.http, &discovered.jwks_uri, &self.config.algorithms);
        let newer = Box::pin(self.keys.newer(&keys, read)).await?;
        let newer = newer.ok_or(TokenError::UnknownKey)?;
        let key = newer.find(&head)?;
        Ok(token::verify(id_token, &head, key, expected)?)
    }

    /// Asks the token endpoint, as this client.
    async fn exchange(
        &self,
        discovered: &Discovered,
        fields: &[(&str, &str)],
    ) -> Result<Exchanged, Failure> {
        const WHAT: &str = "the token endpoint";
        let client = &self.config.client;
        let secret = self.http.secret(client).await?;
        let mut fields = fields.to_vec();
        let url: &Url = &discovered.token_endpoint;
        let question = match &secret {
            Some(secret) if discovered.takes_basic => {
                Question::post(WHAT, url, &fields).basic(&client.id, secret)?
            }
            secret => {
                fields.push(("client_id", &client.id));
                fields.extend(
                    secret
                        .iter()
                        .map(|secret| ("client_secret", secret.as_str())),
                );
                Question::post(WHAT, url, &fields)
            }
        };
        let answer = self.http.ask(question).await?;
        if answer.status == StatusCode::OK {
            return Ok(Exchanged::Tokens(answer.json()?));
        }
        refusal(&answer)
    }
}

fn refusal(answer: &Answer) -> Result<Exchanged, Failure> {
    let said: TokenRefusal = answer.json().unwrap_or_default();
    let is_refusal = ENDED.contains(&said.error.as_str());
    if answer.status.is_client_error() && is_refusal {
        Ok(Exchanged::Refused(said.error))
    } else {
        // The description is not looked at: some quote what they were sent.
        Err(answer.failure(&said.error))
    }
}
