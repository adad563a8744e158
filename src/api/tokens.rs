//! Tokens: made for oneself, or for others by whoever holds all that they hold; never wider than the token that asks, and never
//! longer-lived than a token that asks. A session may make tokens that outlive it. The text is in the answer to the creation and nowhere else.

use super::access::Operation;
use super::authority::{Authority, Lasts};
use super::clusters;
use super::draft::Draft;
use super::error::{ApiError, Mistake, ObjectRef};
use super::groups::fill_uid;
use super::query::DryRun;
use super::resource::{self, Context, Resource};
use super::settle;
use super::table::{self, Column};
use super::{Api, Caller, Reach, body};
use crate::authn::{TokenId, TokenText};
use crate::objects::{
    Cluster, Kind, NameError, Stored, Token, TokenKind, TokenPrivate, TokenStatus, User,
};
use crate::status::clock;
use crate::store::StoreError;
use jiff::Timestamp;
use serde_json::Value;
use std::borrow::Cow;

/// Tokens of one user, sessions apart: a leaking script must not fill the store.
const MAX_TOKENS: usize = 100;
/// Clusters in the scope of one token.
const MAX_CLUSTERS: usize = 64;
/// Expired tokens of the same user that a creation takes away.
const MAX_SWEPT: usize = 16;
/// How often a creation is tried anew because its user or a cluster was changed in between.
const ATTEMPTS: usize = 4;

impl Resource for Token {
    const COLUMNS: &'static [Column] = &[
        Column::shown("Name", "The token's public id"),
        Column::shown("User", "Whose it is"),
        Column::shown("Display Name", "What it is for"),
        Column::shown(
            "Kind",
            "pat: made by hand; ses: made by a login; web: a browser's session",
        ),
        Column::shown("Clusters", "What it is good for"),
        Column::shown("Expires", "Time until it is refused"),
        Column::shown("Last Used", "Time since a request came with it"),
        Column::shown("Age", "Time since it was made"),
    ];

    const FIELDS: &'static [&'static str] = &["spec.user.name", "spec.kind"];

    fn field(&self, path: &str) -> Cow<'_, str> {
        match path {
            "spec.user.name" => (&self.spec.user.name).into(),
            "spec.kind" => self.spec.kind.as_str().into(),
            _ => Cow::Borrowed(""),
        }
    }

    fn cells(&self, now: Timestamp) -> Vec<Value> {
        let clusters = if self.spec.clusters.is_empty() {
            "all".into()
        } else {
            table::joined(self.spec.clusters.iter().map(String::as_str))
        };
        vec![
            self.metadata.name.as_str().into(),
            self.spec.user.name.as_str().into(),
            table::or_none(&self.spec.display_name),
            self.spec.kind.as_str().into(),
            clusters,
            table::until(self.spec.expires_at, now),
            table::since(self.status.last_used, now),
            table::age(self, now),
        ]
    }

    fn check_name(_: &str) -> Result<(), NameError> {
        // Made by the gateway.
        Ok(())
    }

    fn show(&mut self, api: &Api, _: &Caller) {
        let id = TokenId::parse(&self.metadata.name);
        self.status.last_used = id.and_then(|id| api.index.last_use(id));
    }

    fn is_own(&self, _: &Api, caller: &Caller) -> bool {
        *self.spec.user.uid == *caller.user_uid
    }

    fn own_names(api: &Api, caller: &Caller) -> Option<Vec<String>> {
        let tokens = api.index.tokens_of(&caller.handle, &caller.user_uid);
        let mut names: Vec<String> = tokens.iter().map(|token| token.id.to_string()).collect();
        names.sort_unstable();
        Some(names)
    }

    async fn admit_new(
        &mut self,
        _: &Context<'_>,
        draft: &mut Draft,
    ) -> Result<TokenPrivate, ApiError> {
        // A token without a secret is good for nothing: `create` below is the way.
        draft.wrong(Mistake::forbidden(
            "metadata.name",
            "the gateway names tokens",
        ));
        Ok(TokenPrivate::default())
    }

    async fn admit_change(
        &mut self,
        _: &Context<'_>,
        old: &Stored<Self>,
        draft: &mut Draft,
    ) -> Result<TokenPrivate, ApiError> {
        draft.same("spec", &old.object.spec, &self.spec);
        self.status = old.object.status.clone();
        Ok(old.private.clone())
    }
}

/// Makes a token.
pub(super) async fn create(cx: &Context<'_>, bytes: &[u8]) -> Result<Token, ApiError> {
    let wanted: Token = body::object(bytes)?;
    for _ in 0..ATTEMPTS {
        let mut token = wanted.clone();
        let mut draft = Draft::default();
        let text = TokenText::generate(TokenKind::Pat).map_err(|_| ApiError::NoRandomness)?;
        name(&mut token, &text, &mut draft);
        for_whom(&mut token, cx, &mut draft).await?;
        lifetime(&mut token, cx, &mut draft);
        scope(&token, cx, &mut draft).await?;
        if cx.dry_run == DryRun::No {
            make_room(&token, cx, &mut draft).await?;
        }
        let private = TokenPrivate {
            sha256: text.sha256_hex(),
            ..TokenPrivate::default()
        };
        let stored = Stored::new(token, private);
        draft.put(&stored, 0);
        match cx.commit(draft.finish::<Token>("")?).await {
            Ok(revision) => {
                let mut token = resource::shown(cx, stored.object, revision);
                token.status.token = revision.map(|_| text.expose().to_owned());
                return Ok(token);
            }
            Err(StoreError::Conflict { .. }) => {}
            Err(other) => return Err(other.into()),
        }
    }
    Err(resource::busy::<Token>(""))
}

fn name(token: &mut Token, text: &TokenText, draft: &mut Draft) {
    if !token.metadata.name.is_empty() {
        draft.wrong(Mistake::forbidden(
            "metadata.name",
            "the gateway names tokens; leave it out",
        ));
    }
    draft.check_meta(&token.metadata);
    draft.check_text("spec.displayName", &token.spec.display_name);
    if token.spec.kind != TokenKind::Pat {
        let detail = "sessions are made by a login";
        let kind = token.spec.kind.as_str();
        draft.wrong(Mistake::invalid("spec.kind", kind, detail));
    }
    if token.spec.renewable_until.is_some() {
        draft.wrong(Mistake::forbidden(
            "spec.renewableUntil",
            "only sessions are renewed",
        ));
    }
    token.metadata.name = text.id().to_string();
    token.metadata.uid = uuid::Uuid::new_v4().to_string();
    token.metadata.creation_timestamp = Some(clock::whole_seconds(clock::now()));
    token.metadata.resource_version.clear();
    token.status = TokenStatus::default();
}

/// Whose it will be. Who makes a token for somebody else can be them, so they must hold all that the other holds.
async fn for_whom(token: &mut Token, cx: &Context<'_>, draft: &mut Draft) -> Result<(), ApiError> {
    let user = &mut token.spec.user;
    if user.name.is_empty() {
        (*cx.caller.handle).clone_into(&mut user.name);
    }
    if *user.name != *cx.caller.handle && cx.caller.reach == Reach::Own {
        return Err(ApiError::Forbidden(format!(
            "tokens.palisade.dev is forbidden: User {:?} cannot make tokens for others: it takes a role of scope global that allows it",
            cx.caller.handle
        )));
    }
    let Some((found, key)) = cx.load::<User>(&user.name).await? else {
        draft.wrong(Mistake::not_found("spec.user.name", &user.name));
        return Ok(());
    };
    draft.refers_to(&key);
    if *user.name != *cx.caller.handle {
        settle::prove::<Token>(cx, draft, &Operation::Create).await?;
    }
    let authority = Authority::of(cx, ObjectRef::of::<Token>(&token.metadata.name));
    authority
        .must_hold_all_of_user(draft, &found.object, Lasts::ForGood)
        .await?;
    fill_uid(
        draft,
        "spec.user.uid",
        &mut user.uid,
        &found.object.metadata.uid,
    );
    Ok(())
}

/// A token never lives longer than the one that makes it; a session, which is renewed by use, makes tokens
/// up to the configured length.
fn lifetime(token: &mut Token, cx: &Context<'_>, draft: &mut Draft) {
    let now = clock::now();
    let limits = cx.api.limits.get();
    let longest = now
        .saturating_add(limits.token_max_life)
        .unwrap_or(Timestamp::MAX);
    let bound = match cx.caller.token_kind {
        TokenKind::Ses => longest,
        // A browser's session calls no API; should one ever, it gets the narrow bound.
        TokenKind::Pat | TokenKind::Web => longest.min(cx.caller.token_expires_at),
    };
    let usual = now
        .saturating_add(limits.token_life)
        .unwrap_or(Timestamp::MAX);
    let end = token.spec.expires_at.unwrap_or_else(|| usual.min(bound));
    if end <= now {
        draft.wrong(Mistake::invalid(
            "spec.expiresAt",
            &end.to_string(),
            "must be in the future",
        ));
    } else if end > longest {
        let detail = format!("must be at most {} from now", days(limits.token_max_life));
        draft.wrong(Mistake::invalid("spec.expiresAt", &end.to_string(), detail));
    } else if end > bound {
        let detail = format!(
            "a token cannot outlive the token that makes it, which ends at {}; log in to make one that lives longer",
            clock::whole_seconds(cx.caller.token_expires_at)
        );
        draft.wrong(Mistake::forbidden("spec.expiresAt", detail));
    }
    token.spec.expires_at = Some(clock::whole_seconds(end));
}

fn days(life: std::time::Duration) -> String {
    format!("{} days", life.as_secs() / 86_400)
}

/// A token is good for clusters that are there, and never for more than the token that makes it. To whom
/// only their own is open, a cluster on which they hold nothing is not there.
async fn scope(token: &Token, cx: &Context<'_>, draft: &mut Draft) -> Result<(), ApiError> {
    let names = &token.spec.clusters;
    if let Some(own) = &cx.caller.token_clusters {
        let within = !names.is_empty() && names.iter().all(|n| own.iter().any(|o| **o == **n));
        if !within {
            let detail = "a token is never good for more clusters than the token that makes it";
            draft.wrong(Mistake::forbidden("spec.clusters", detail));
        }
    }
    let visible = |c: &Cluster| cx.caller.reach == Reach::All || c.is_own(cx.api, cx.caller);
    clusters::named((names, MAX_CLUSTERS), cx, draft, visible).await
}

/// Takes away some of the user's expired tokens, and refuses when there are too many others.
async fn make_room(token: &Token, cx: &Context<'_>, draft: &mut Draft) -> Result<(), ApiError> {
    let now = clock::now();
    let user = &token.spec.user;
    let mut living = 0;
    let mut swept = 0;
    for entry in cx.api.index.tokens_of(&user.name, &user.uid) {
        if now < entry.expires_at {
            living += usize::from(entry.kind == TokenKind::Pat);
        } else if swept < MAX_SWEPT {
            swept += 1;
            if let Some(found) = cx.api.store.get(&Token::key(entry.id.as_str())).await? {
                draft.delete(&found.key, found.mod_revision);
            }
        }
    }
    if living >= MAX_TOKENS {
        let why = format!(
            "User {:?} has {living} tokens, and {MAX_TOKENS} are the most: delete one first",
            user.name
        );
        return Err(ApiError::Conflict(ObjectRef::of::<Token>(""), why));
    }
    Ok(())
}
