//! `/sessions`: where somebody is logged in, and ending that.

use super::{
    Body, Web, WebError,
    form::Form,
    page::{Frame, render},
    visit::{Visit, see_other},
};
use crate::{
    authn::{Identity, TokenFacts, TokenId},
    objects::{Kind as _, Stored, Token, TokenKind},
};
use askama::Template;
use http::{Response, StatusCode};
use jiff::Timestamp;

/// Rows of each table: a person has a few of each, and each is one read of the store.
const ROWS: usize = 50;
/// Where the forms go.
const ACTION: &str = "/sessions";

/// A session or a token.
struct Row {
    id: String,
    what: String,
    kind: &'static str,
    from: String,
    since: String,
    used: String,
    ends: String,
    current: bool,
}

#[derive(Template)]
#[template(path = "sessions.html")]
struct List {
    frame: Frame,
    done: Option<&'static str>,
    token: String,
    sessions: Vec<Row>,
    tokens: Vec<Row>,
    /// Sessions besides this one.
    others: usize,
    more: bool,
}

impl Web {
    /// Lists them.
    pub(super) async fn list(&self, visit: &mut Visit<'_>) -> Result<Response<Body>, WebError> {
        let identity = match visit.identified() {
            Ok(identity) => identity.clone(),
            Err(login) => return Ok(visit.answer(*login)),
        };
        let (sessions, tokens) = self.of(&identity, visit.now);
        let more = sessions.len() > ROWS || tokens.len() > ROWS;
        let others = sessions.iter().filter(|it| it.id != identity.token_id());
        let page = List {
            frame: self.frame(visit),
            done: match visit.parameter("ended").as_deref() {
                Some("one") => Some("It is ended."),
                Some("others") => Some("All other sessions are ended."),
                Some(_) | None => None,
            },
            token: visit.token(ACTION),
            others: others.count(),
            sessions: self.rows(&sessions, &identity, visit.now).await?,
            tokens: self.rows(&tokens, &identity, visit.now).await?,
            more,
        };
        let page = render(StatusCode::OK, &page)?;
        Ok(visit.answer(page))
    }

    /// Ends one, or all others. Somebody else's id is nobody's here.
    pub(super) async fn end(
        &self,
        visit: &mut Visit<'_>,
        form: &Form,
    ) -> Result<Response<Body>, WebError> {
        let identity = match visit.identified() {
            Ok(identity) => identity.clone(),
            Err(login) => return Ok(visit.answer(*login)),
        };
        visit.check(form, ACTION)?;
        let (sessions, tokens) = self.of(&identity, visit.now);
        if form.get("others") == "1" {
            let others = sessions.iter().map(|it| it.id);
            let others: Vec<TokenId> = others.filter(|id| *id != identity.token_id()).collect();
            visit.seen.ends(&others);
            self.login.end_all(&others).await?;
            let count = others.len();
            tracing::info!(user = identity.handle(), count, "all other sessions ended");
            return Ok(visit.answer(see_other("/sessions?ended=others")));
        }
        let mut all = sessions.iter().chain(&tokens);
        let found = all.find(|it| it.id.as_str() == form.get("id"));
        let Some(found) = found else {
            // It has ended by itself, or on another page.
            return Ok(visit.answer(see_other(ACTION)));
        };
        visit.seen.ends([&found.id]);
        self.login.end(found.id).await?;
        tracing::info!(user = identity.handle(), token = %found.id, "session or token ended by its user");
        Ok(visit.answer(see_other("/sessions?ended=one")))
    }

    /// Sessions and tokens that have not ended; the newest end first.
    fn of(&self, identity: &Identity, now: Timestamp) -> (Vec<TokenFacts>, Vec<TokenFacts>) {
        let epoch = identity.user().password_epoch;
        let index = &self.login.index;
        let mut all = index.tokens_of(identity.handle(), identity.user_uid());
        all.retain(|it| {
            now < it.expires_at && (!it.kind.is_session() || it.password_epoch == epoch)
        });
        all.sort_by_key(|it| std::cmp::Reverse((it.id == identity.token_id(), it.expires_at)));
        all.into_iter().partition(|it| it.kind.is_session())
    }

    async fn rows(
        &self,
        entries: &[TokenFacts],
        identity: &Identity,
        now: Timestamp,
    ) -> Result<Vec<Row>, WebError> {
        let mut rows = Vec::new();
        for entry in entries.iter().take(ROWS) {
            let key = Token::key(entry.id.as_str());
            let store = &self.login.store;
            // One that ended since is left out.
            let Some(kv) = store
                .get(&key)
                .await
                .map_err(crate::api::login::LoginError::from)?
            else {
                continue;
            };
            let stored = Stored::<Token>::decode(&key, &kv.value, kv.mod_revision);
            let token = stored.map_err(crate::api::login::LoginError::from)?.object;
            let ends = match entry.kind {
                TokenKind::Pat => token.spec.expires_at,
                TokenKind::Ses | TokenKind::Web => token.spec.renewable_until,
            };
            let made = token.metadata.creation_timestamp;
            // Known by the minute; none was before the login.
            let used = self.login.index.last_use(entry.id);
            rows.push(Row {
                id: entry.id.to_string(),
                what: match token.spec.display_name {
                    name if name.is_empty() => "without a name".to_owned(),
                    name => name,
                },
                kind: match entry.kind {
                    TokenKind::Pat => "token",
                    TokenKind::Ses => "terminal",
                    TokenKind::Web => "browser",
                },
                from: token
                    .status
                    .address
                    .map_or("–".to_owned(), |it| it.to_canonical().to_string()),
                since: ago(made, now),
                used: ago(used.map(|it| it.max(made.unwrap_or(it))), now),
                ends: ends.map_or("–".to_owned(), |end| format!("in {}", span(now, end))),
                current: entry.id == identity.token_id(),
            });
        }
        Ok(rows)
    }
}

/// How long ago, in words.
pub(super) fn ago(time: Option<Timestamp>, now: Timestamp) -> String {
    match time {
        None => "–".to_owned(),
        Some(time) if time.duration_until(now).as_mins() < 1 => "just now".to_owned(),
        Some(time) => format!("{} ago", span(time, now)),
    }
}

/// In the largest unit that there are two of.
fn span(from: Timestamp, to: Timestamp) -> String {
    let minutes = from.duration_until(to).as_mins().max(1);
    let counted = |count: i64, unit: &str| match count {
        1 => format!("1 {unit}"),
        count => format!("{count} {unit}s"),
    };
    match minutes {
        0..120 => counted(minutes, "minute"),
        120..2880 => counted(minutes / 60, "hour"),
        _ => counted(minutes / 1440, "day"),
    }
}
