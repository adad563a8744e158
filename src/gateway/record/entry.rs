//! From what is known of a request to its audit event. Runs on the audit log's own thread.

use super::{
    Failure, FailureKind,
    notes::Note,
    words::{Word, Words, cut},
};
use crate::{
    api::login::{About, Deed, Seen},
    authn::{GroupNames, Identity, Index, TokenId},
    authz::Assumed,
    objects::GROUP,
    observe::audit::event::{
        Event, Extra, Note as Text, ObjectRef, ResponseStatus, Shown, Stage, User,
    },
    proxy::Exit,
    request::RequestId,
};
use http::Method;
use jiff::Timestamp;
use std::{net::IpAddr, sync::Arc, time::Duration};

/// Groups of one user that are named, so that a line stays a line.
const GROUPS: usize = 64;
/// Longest reason (bytes): a refusal quotes names out of the target.
const REASON: usize = 1024;

/// What an event is made of. No `Debug`: it holds an identity.
pub struct Entry {
    pub(super) id: RequestId,
    pub(super) stage: Stage,
    pub(super) arrived: Timestamp,
    pub(super) at: Timestamp,
    pub(super) took: Duration,
    pub(super) peer: IpAddr,
    pub(super) method: Method,
    pub(super) words: Words,
    /// Parameters of the query that are not told.
    pub(super) hidden: usize,
    pub(super) who: Option<Identity>,
    /// What a login came to.
    pub(super) login: Seen,
    pub(super) acts_as: Option<Arc<Assumed>>,
    pub(super) allowed_by: Option<Arc<str>>,
    pub(super) code: u16,
    pub(super) failure: Option<Failure>,
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) exit: Option<Exit>,
    pub(super) ended: bool,
    /// Events of strangers that were left out before this one.
    pub(super) left_out: u64,
}

impl Entry {
    /// Appends the event's line; `index` knows the names of groups.
    pub fn write(&self, index: &Index, line: &mut Vec<u8>) {
        let (method, token) = (self.method.as_str(), self.token());
        let groups = index.group_names();
        let lower;
        let mut event = Event::new(Shown(&self.id), self.stage, Shown(&self.peer));
        event.request_uri = self.words.get(Word::Target);
        event.verb = match self.words.get(Word::Verb) {
            // Not read as far as that.
            "" => {
                lower = method.to_ascii_lowercase();
                &lower
            }
            verb => verb,
        };
        event.user = self.user(token.as_ref(), &groups);
        let acts_as = self.acts_as.as_ref();
        event.impersonated_user = acts_as.map(|other| assumed(other, &groups));
        event.user_agent = self.words.get(Word::Agent);
        event.object_ref = self.object_ref();
        event.response_status = Some(self.response_status());
        event.request_received_timestamp = self.arrived;
        event.stage_timestamp = self.at;
        self.annotate(&mut event);
        event.write(line);
    }

    fn token(&self) -> Option<TokenId> {
        let login = self.login.who.as_ref().map(|(_, token)| *token);
        self.who.as_ref().map(Identity::token_id).or(login)
    }

    /// `token` is theirs.
    fn user<'e>(&'e self, token: Option<&'e TokenId>, known: &'e GroupNames<'_>) -> User<'e> {
        let user = match (&self.who, &self.login.who) {
            (Some(who), _) => who.user(),
            (None, Some((user, _))) => user,
            (None, None) => return User::default(),
        };
        User {
            username: &user.handle,
            uid: &user.uid,
            groups: names(&user.groups, known),
            extra: token.map_or(Extra::None, |token| {
                Extra::One("palisade.dev/token-id", Shown(token))
            }),
        }
    }

    /// What a reader looks for by name, whatever its path.
    fn deed(&self) -> Option<&'static str> {
        let is = |word, text| self.words.get(word) == text;
        match self.login.deed {
            Some(Deed::Login) => Some("login"),
            Some(Deed::Renewal) => Some("renewal"),
            Some(Deed::Logout) => Some("logout"),
            Some(Deed::SessionEnd) => Some("session-end"),
            Some(Deed::GrantGiven) => Some("terminal-login-allowed"),
            Some(Deed::GrantRefused) => Some("terminal-login-refused"),
            None => {
                let password = is(Word::Group, GROUP)
                    && is(Word::Resource, "users")
                    && is(Word::Subresource, "password");
                (password && self.who.is_some()).then_some("password-change")
            }
        }
    }

    fn object_ref(&self) -> Option<ObjectRef<'_>> {
        let resource = self.words.get(Word::Resource);
        (!resource.is_empty()).then(|| ObjectRef {
            resource,
            namespace: self.words.get(Word::Namespace),
            name: self.words.get(Word::Name),
            api_group: self.words.get(Word::Group),
            api_version: self.words.get(Word::Version),
            subresource: self.words.get(Word::Subresource),
        })
    }

    fn response_status(&self) -> ResponseStatus<'_> {
        match &self.failure {
            Some(failure) => ResponseStatus::failure(self.code, failure.reason, failure.message()),
            None => ResponseStatus::answered(self.code),
        }
    }

    fn annotate<'e>(&'e self, event: &mut Event<'e>) {
        let forbidden = self
            .failure
            .as_ref()
            .filter(|failure| failure.kind == FailureKind::Forbidden);
        let mut say = |note: Note, text| event.annotate(note.key(), text);
        if let Some(failure) = forbidden {
            say(Note::Decision, Text::Text("forbid"));
            say(Note::Reason, Text::Text(failure.why()));
        } else if let Some(role) = &self.allowed_by {
            say(Note::Decision, Text::Text("allow"));
            say(Note::Reason, Text::Role(role));
        }
        if let Some(deed) = self.deed() {
            say(Note::Deed, Text::Text(deed));
        }
        if let Some(user) = &self.login.tried {
            say(Note::Tried, Text::Text(&user.handle));
        }
        match self.login.about.as_deref() {
            Some(About::Tokens(ids)) => say(Note::Ended, Text::Text(ids)),
            Some(About::Terminal { client, address }) => {
                say(Note::Terminal, Text::Text(client));
                if let Some(address) = address {
                    say(Note::Address, Text::Text(address));
                }
            }
            None => {}
        }
        let cluster = self.words.get(Word::Cluster);
        if !cluster.is_empty() {
            say(Note::Cluster, Text::Text(cluster));
        }
        if self.hidden > 0 {
            say(Note::Hidden, Text::Number(self.hidden as u64));
        }
        if self.left_out > 0 {
            say(Note::LeftOut, Text::Number(self.left_out));
        }
        if self.stage == Stage::ResponseStarted {
            return;
        }
        say(Note::Duration, Text::Length(self.took));
        say(Note::Sent, Text::Number(self.sent));
        if self.received > 0 {
            say(Note::Received, Text::Number(self.received));
        }
        if let Some(exit) = self.exit {
            let exit = match exit {
                Exit::Code(code) => Text::Code(code),
                Exit::Failed => Text::Text("failed"),
                Exit::Unknown => Text::Text("unknown"),
            };
            say(Note::Exit, exit);
        }
        if !self.ended {
            say(Note::Cut, Text::Text("true"));
        }
    }
}

fn assumed<'e>(other: &'e Assumed, known: &'e GroupNames<'_>) -> User<'e> {
    // What stands in an extra is nobody's business; the cluster's own audit log has it.
    let keys = other.extras().iter().map(|extra| extra.key.as_ref());
    User {
        username: other.handle(),
        uid: other.uid(),
        groups: names(other.groups(), known),
        extra: Extra::Keys(keys.collect()),
    }
}

fn names<'e>(groups: &'e [Box<str>], known: &'e GroupNames<'_>) -> Vec<&'e str> {
    let uids = groups.iter().take(GROUPS).map(AsRef::as_ref);
    // A group that was removed in this very moment has its uid left.
    uids.map(|uid| known.of(uid).unwrap_or(uid)).collect()
}

impl Failure {
    fn message(&self) -> &str {
        cut(&self.text, REASON)
    }

    /// The message without the name of the stage in front.
    fn why(&self) -> &str {
        let message = self.message();
        message.split_once(": ").map_or(message, |(_, why)| why)
    }
}

#[cfg(test)]
mod tests;
