//! The gateway's own pages: choosing a provider, logging in, confirming the login of a terminal, sessions.
//!
//! Guarantees: everything works without script, which the pages do not have; whatever text comes from outside is
//! escaped by the templates, and a strict Content-Security-Policy stands behind that; a form is taken only from
//! the gateway's own origin and only with the token that was put into it ([`form`]); after a login a browser is
//! sent to one of these pages and nowhere else ([`next`]); a browser's session counts on these pages alone and
//! from its cookie alone (`authn::Credential`), so that no page elsewhere can make a browser call an API with it.
//!
//! What an attacker would try: a link that has somebody confirm the attacker's own terminal (the confirmation shows
//! who asks and from where, and a code to compare), a form elsewhere that submits here (G7), a cookie that was
//! planted before the login (a login always makes a new session, and `__Host-` cookies come from this host alone),
//! a redirect to a look-alike (G3), markup in a name (CVE-2024-52281), bodies without end (CVE-2024-58259).
//!
//! Left to others: who somebody is (`api::login`), which host names are pages at all (`request::target`).

mod agent;
mod assets;
mod authorize;
mod cookies;
mod device;
mod error;
mod form;
mod next;
mod page;
mod password;
mod redirect;
mod route;
mod sessions;
mod visit;

pub use error::WebError;
pub use page::error as error_page;

use crate::{
    api::login::{Login, Seen},
    authn::Authn,
    config::{ExternalUrl, live::Live},
};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use route::Route;
use std::{net::IpAddr, sync::Arc};
use visit::Visit;

/// A page, or what belongs to one.
pub type Body = Full<Bytes>;

/// What the pages stand on.
pub struct Web {
    /// Logs people in and out.
    pub login: Arc<Login>,
    /// Whose session a cookie is.
    pub authn: Authn,
    /// How browsers reach the gateway.
    pub external_url: Live<ExternalUrl>,
}

impl Web {
    /// Answers a request for a page, from a browser at `peer`.
    pub async fn handle<B>(
        &self,
        peer: IpAddr,
        request: Request<B>,
        seen: &mut Seen,
    ) -> Result<Response<Body>, WebError>
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        let route = Route::parse(head.uri.path()).ok_or(WebError::NoSuchPage)?;
        route.takes(&head.method)?;
        if let Route::Asset(name) = route {
            return assets::answer(name, &head.headers);
        }
        if head.method == Method::POST {
            form::check_origin(&head.headers, &self.external_url.get())?;
            let form = form::read(&head.headers, body).await?;
            // After the form, which may come slowly: who was shown out meanwhile does nothing more.
            let mut visit = Visit::begin(self, (peer, route), &head, seen)?;
            return Box::pin(self.take(route, &mut visit, &form)).await;
        }
        let mut visit = Visit::begin(self, (peer, route), &head, seen)?;
        if let Some(identity) = &visit.identity {
            self.login.touch(identity, visit.now).await;
        }
        self.show(route, &mut visit).await
    }

    /// What a GET is answered.
    async fn show(
        &self,
        route: Route<'_>,
        visit: &mut Visit<'_>,
    ) -> Result<Response<Body>, WebError> {
        match route {
            Route::Front => self.front(visit),
            Route::Login => self.choose(visit),
            Route::Provider(name) => self.ask(name, visit),
            Route::Callback(name) => Box::pin(self.arrive(name, visit)).await,
            Route::Sessions => self.list(visit).await,
            Route::Device => self.device(visit),
            Route::Authorize => self.authorize(visit),
            Route::Logout | Route::Asset(_) => Err(WebError::NoSuchPage),
        }
    }

    /// What a form is answered.
    async fn take(
        &self,
        route: Route<'_>,
        visit: &mut Visit<'_>,
        form: &form::Form,
    ) -> Result<Response<Body>, WebError> {
        match route {
            Route::Provider(name) => self.log_in(name, visit, form).await,
            Route::Logout => self.log_out(visit, form).await,
            Route::Sessions => self.end(visit, form).await,
            Route::Device => self.answer_device(visit, form).await,
            Route::Authorize => self.answer_authorize(visit, form).await,
            Route::Front | Route::Login | Route::Callback(_) | Route::Asset(_) => {
                Err(WebError::NoSuchPage)
            }
        }
    }
}
