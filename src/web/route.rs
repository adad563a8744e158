//! Which page a path is, and what may be done there.

use super::WebError;
use http::Method;

/// A page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route<'p> {
    /// `/`
    Front,
    /// `/login`: where is your account?
    Login,
    /// `/login/<provider>`
    Provider(&'p str),
    /// `/login/<provider>/callback`
    Callback(&'p str),
    /// `/logout`
    Logout,
    /// `/sessions`
    Sessions,
    /// `/device`: a terminal shows a code.
    Device,
    /// `/authorize`: a terminal opened this browser.
    Authorize,
    /// `/assets/<name>`
    Asset(&'p str),
}

impl<'p> Route<'p> {
    /// Reads a raw path. Nothing is decoded: no name here has a character that needs it.
    pub(super) fn parse(path: &'p str) -> Option<Self> {
        if let Some(name) = path.strip_prefix("/assets/") {
            return Some(Self::Asset(name));
        }
        if let Some(rest) = path.strip_prefix("/login/") {
            let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
            let is_name = |name: &str| !name.is_empty() && name.bytes().all(plain);
            return match rest.strip_suffix("/callback") {
                Some(name) => is_name(name).then_some(Self::Callback(name)),
                None => is_name(rest).then_some(Self::Provider(rest)),
            };
        }
        match path {
            "/" => Some(Self::Front),
            "/login" => Some(Self::Login),
            "/logout" => Some(Self::Logout),
            "/sessions" => Some(Self::Sessions),
            "/device" => Some(Self::Device),
            "/authorize" => Some(Self::Authorize),
            _ => None,
        }
    }

    /// Whether a login begins or ends here, whoever was logged in before.
    pub(super) fn is_of_logins(self) -> bool {
        match self {
            Self::Login | Self::Provider(_) | Self::Callback(_) | Self::Logout => true,
            Self::Front | Self::Sessions | Self::Device | Self::Authorize | Self::Asset(_) => false,
        }
    }

    /// Whether the page takes the method: the request's own and no other, whatever a form or a header says
    /// (CVE-2026-88804).
    pub(super) fn takes(self, method: &Method) -> Result<(), WebError> {
        let reads = matches!(*method, Method::GET | Method::HEAD);
        let (good, allowed) = match self {
            Self::Callback(_) => (*method == Method::GET, "GET"),
            Self::Front | Self::Login | Self::Asset(_) => (reads, "GET, HEAD"),
            Self::Logout => (*method == Method::POST, "POST"),
            Self::Provider(_) | Self::Sessions | Self::Device | Self::Authorize => {
                (reads || *method == Method::POST, "GET, HEAD, POST")
            }
        };
        if good {
            Ok(())
        } else {
            Err(WebError::Method(allowed))
        }
    }
}
