//! The errors of the gateway's own API, of logins and of the pages.

use super::*;

pub(super) fn api_errors() -> Vec<(&'static str, Error)> {
    let user = || ObjectRef::of::<User>("jane");
    let all = vec![
        ("no such path", ApiError::NoSuchPath),
        ("no such object", ApiError::NotFound(user())),
        (
            "the name is taken",
            ApiError::AlreadyExists(user(), "".into()),
        ),
        (
            "written by somebody else in between",
            ApiError::Conflict(user(), "the object has been modified".to_owned()),
        ),
        (
            "wrong fields",
            ApiError::Invalid(user(), vec![Mistake::required("spec.x", "must be set")]),
        ),
        (
            "a body that cannot be read",
            ApiError::BadRequest("invalid JSON".to_owned()),
        ),
        ("a body that broke off", ApiError::BodyBroken),
        (
            "others' objects",
            ApiError::Forbidden("only an admin may do this".to_owned()),
        ),
        (
            "another method",
            ApiError::MethodNotAllowed("the path does not take PATCH".to_owned()),
        ),
        ("a large body", ApiError::TooLarge(1 << 20)),
        (
            "another content type",
            ApiError::UnsupportedMediaType("application/json"),
        ),
        (
            "no form that the client takes",
            ApiError::NotAcceptable("application/json"),
        ),
        ("a slow body", ApiError::BodyTimeout(10)),
        ("the store's queue is full", ApiError::Busy),
        (
            "a write while this replica cannot follow the store",
            ApiError::Behind,
        ),
        (
            "an object that the store does not take",
            ApiError::TooLargeToStore("more than 1,400,000 bytes at once"),
        ),
        (
            "the store does not answer",
            ApiError::Store(StoreError::Closed),
        ),
        (
            "the store failed in the middle of a write",
            ApiError::Uncertain(StoreError::Uncertain(Arc::new(std::fmt::Error))),
        ),
        ("no random bytes for a token", ApiError::NoRandomness),
        (
            "changing one's own password with a wrong current one",
            ApiError::Password(login::LoginError::WrongCurrent),
        ),
        (
            "syncing a cluster that has no credential",
            ApiError::Cluster(NotReady::Pending("prod".to_owned()).into()),
        ),
    ];
    let all = all.into_iter().chain(list_errors());
    all.map(|(when, error)| (when, error.into())).collect()
}

fn list_errors() -> Vec<(&'static str, ApiError)> {
    vec![
        (
            "a list of exactly an older state (`resourceVersionMatch=Exact`)",
            ApiError::Expired(12),
        ),
        (
            "a revision that the store has not reached",
            ApiError::TooNew {
                wanted: 90,
                current: 12,
            },
        ),
        (
            "a list without a limit over too many objects",
            ApiError::TooMany(10_000),
        ),
    ]
}

pub(super) fn login_errors() -> Vec<(&'static str, Error)> {
    use login::{LoginError as E, Refused};
    let all = vec![
        ("no such path", E::NoSuchPath),
        ("another method", E::Method("POST")),
        ("a body that cannot be read", E::Body("a login")),
        ("a large body", E::TooLarge),
        ("a slow body", E::BodyTimeout),
        ("an unknown provider", E::Provider),
        (
            "a wrong name, a wrong password, a disabled or machine user",
            E::Refused(Refused::WrongPassword),
        ),
        (
            "the right password of an account that is not listed",
            E::NotListed,
        ),
        (
            "the right password of an account whose name is somebody else's here",
            E::NoHandle(login::NoHandle::Taken("corp:jane".to_owned())),
        ),
        (
            "a directory does not answer",
            E::ProviderDown(Box::new(silent())),
        ),
        (
            "too many logins at a directory at the same time",
            E::ProviderBusy,
        ),
        ("a password for a provider of the browser's", E::ByBrowser),
        ("a password for a user of a provider", E::Foreign),
        ("renewing what is no session", E::NotASession),
        ("a wrong current password", E::WrongCurrent),
        (
            "a password against the rules",
            E::Rule(passwords::RuleError::Short),
        ),
        ("a password for a machine user", E::Machine),
        ("no such user", E::NoUser),
        ("changed by others again and again", E::Conflict),
        (
            "too many wrong passwords, for the account or from the address",
            E::Throttled(throttle::Throttled {
                limit: throttle::Limit::Account,
                wait: std::time::Duration::from_mins(5),
            }),
        ),
        (
            "too many logins at the same time",
            E::Passwords(passwords::PasswordError::Busy),
        ),
        ("the store does not answer", E::Store(uncertain())),
    ];
    let arrivals = arrivals().into_iter();
    let arrivals = arrivals.map(|(when, error)| (when, E::from(error)));
    all.into_iter()
        .chain(terminals())
        .chain(arrivals)
        .map(|(when, error)| (when, error.into()))
        .collect()
}

pub(super) fn web_errors() -> Vec<(&'static str, Error)> {
    use web::WebError as E;
    let all = vec![
        ("no such page", E::NoSuchPage),
        ("another method", E::Method("GET, HEAD")),
        (
            "a form that is none",
            E::Form(crate::request::form::FormError::Type),
        ),
        ("a form that breaks off", E::Broken),
        (
            "a login of a terminal that sends its code elsewhere",
            E::Authorize("redirect_uri"),
        ),
        ("a large form", E::TooLarge),
        ("a slow form", E::Timeout),
        ("a form that another site sent", E::CrossSite),
        ("a form of another browser or session", E::Stale),
        (
            "a login at a provider, begun at another host than `external_url`",
            E::Elsewhere("https://gate.example.com".to_owned()),
        ),
        (
            "two cookies of one name",
            E::Authn(AuthnError::Ambiguous("two cookies of one name")),
        ),
        (
            "whose session it is cannot be told",
            E::Authn(AuthnError::Unavailable(Unknowable::Loading)),
        ),
        (
            "the store does not answer",
            E::Login(login::LoginError::Store(uncertain())),
        ),
        ("a page cannot be written", E::Render(askama::Error::Fmt)),
        (
            "no random numbers",
            E::Randomness(crate::authn::NoRandomness),
        ),
    ];
    all.into_iter()
        .map(|(when, error)| (when, error.into()))
        .collect()
}

/// What logins by way of a browser meet.
fn terminals() -> Vec<(&'static str, login::LoginError)> {
    use login::LoginError as E;
    vec![
        (
            "too many wrong codes, or terminals or browsers that begin",
            E::TooManyCodes(std::time::Duration::from_secs(12)),
        ),
        (
            "too many terminals wait for an answer",
            E::TooManyGrants(Kind::Device),
        ),
        (
            "too many terminals were let in and have not come yet",
            E::TooManyGrants(Kind::Code),
        ),
        (
            "too many browsers come back from providers",
            E::TooManyGrants(Kind::State),
        ),
        ("a user code that is nobody's", E::UserCode),
    ]
}

/// Browsers that come back from a provider without an account.
fn arrivals() -> Vec<(&'static str, ArrivalError)> {
    let denied = ArrivalError::Denied {
        error: "access_denied".to_owned(),
        description: String::new(),
    };
    vec![
        (
            "a browser that comes back from a login that it did not begin, or twice",
            ArrivalError::Callback("its state is of another login"),
        ),
        ("a browser that comes back with a no", denied),
        (
            "an ID token that is not what it should be",
            ArrivalError::Token(TokenError::Signature),
        ),
        (
            "an account that cannot be used",
            ArrivalError::Account("its e-mail address is not verified"),
        ),
        (
            "a browser's provider does not answer",
            ArrivalError::Failed(redirect::Failure::Paused),
        ),
        (
            "a browser's provider wants to be left alone",
            ArrivalError::Failed(redirect::Failure::Limited {
                wait: std::time::Duration::from_mins(5),
                whole: Whole::Yes,
            }),
        ),
        (
            "a provider does not say which groups an account is in",
            ArrivalError::Failed(redirect::Failure::GroupsUnknown("there are too many")),
        ),
    ]
}

fn silent() -> Failure {
    Failure::SearchAccount("invalid credentials".to_owned())
}
