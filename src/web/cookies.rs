//! The cookies that the pages set.
//!
//! All have the prefix `__Host-`: a browser takes them from this very host over TLS alone, and sends them to no
//! other, so that a neighbour below the same domain can neither read nor plant them (G7). None is readable by
//! script, of which there is none. `Lax`: a link from elsewhere, and a provider that sends somebody back, find the
//! session; a form from elsewhere does not.

use http::HeaderValue;
use std::time::Duration;

/// The session.
pub(super) const SESSION: &str = "__Host-palisade";
/// What tokens of forms are made of before there is a session.
pub(super) const FORM: &str = "__Host-palisade-form";
/// Says at a login that its account's person was here before (`authn::Device`); opens nothing.
pub(super) const KNOWN: &str = "__Host-palisade-known";

/// A login at a provider that has begun, sealed: only where it was begun it can end.
pub(super) const LOGIN: &str = "__Host-palisade-login";

/// Sets a cookie; without an age it ends with the browser. `value` is visible ASCII without `;`.
pub(super) fn set(name: &str, value: &str, age: Option<Duration>) -> Option<HeaderValue> {
    let age = age.map_or(String::new(), |age| format!("; Max-Age={}", age.as_secs()));
    let text = format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax{age}");
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Takes a cookie away.
pub(super) fn clear(name: &str) -> Option<HeaderValue> {
    set(name, "", Some(Duration::ZERO))
}
