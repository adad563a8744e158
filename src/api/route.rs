//! Which of the API's paths a request is for.
//!
//! The alphabet of a segment is so small that it has one reading: no percent sign, no empty or dot
//! segment, no trailing slash. Everything else is 404, so a target that another parser could read
//! otherwise never gets further than this.

use crate::objects::{GROUP, VERSION};

/// One of the API's paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    /// `/version`
    Version,
    /// `/api`
    Api,
    /// `/apis`
    Apis,
    /// `/apis/GROUP`
    Group(&'static str),
    /// `/apis/GROUP/VERSION`
    GroupVersion(&'static str, &'a str),
    /// `/openapi/v2`
    OpenApiOld,
    /// `/openapi/v3`
    OpenApiIndex,
    /// `/openapi/v3/apis/GROUP/VERSION`
    OpenApi(&'static str, &'a str),
    /// `/policy/status`
    PolicyStatus,
    /// `/apis/authentication.k8s.io/VERSION/selfsubjectreviews`
    SelfSubjectReviews(&'a str),
    /// `/apis/authorization.k8s.io/v1/selfsubjectaccessreviews`
    SelfSubjectAccessReviews,
    /// `/apis/authorization.k8s.io/v1/selfsubjectrulesreviews`
    SelfSubjectRulesReviews,
    /// `/apis/palisade.dev/v1alpha1/RESOURCE[/NAME[/SUBRESOURCE]]`
    Object {
        resource: &'a str,
        name: Option<&'a str>,
        subresource: Option<&'a str>,
    },
}

/// The group of `selfsubjectreviews`.
pub(super) const AUTHENTICATION: &str = "authentication.k8s.io";

/// The group of `selfsubjectaccessreviews` and `selfsubjectrulesreviews`.
pub(super) const AUTHORIZATION: &str = "authorization.k8s.io";

/// All groups, in the order in which discovery tells them.
pub(super) const GROUPS: [&str; 3] = [GROUP, AUTHENTICATION, AUTHORIZATION];

/// Versions of `selfsubjectreviews`: kubectl 1.27 asks for the older ones.
const REVIEW_VERSIONS: [&str; 3] = ["v1", "v1beta1", "v1alpha1"];

impl<'a> Route<'a> {
    /// Reads a raw path (no query). `None`: no such path.
    pub(super) fn parse(raw_path: &'a str) -> Option<Self> {
        let segments: Vec<&str> = raw_path.strip_prefix('/')?.split('/').collect();
        if !segments.iter().all(|s| plain(s)) {
            return None;
        }
        match segments.as_slice() {
            ["version"] => Some(Self::Version),
            ["api"] => Some(Self::Api),
            ["apis"] => Some(Self::Apis),
            ["apis", group] => Some(Self::Group(known_group(group)?)),
            ["apis", group, version] => {
                let group = known_group(group)?;
                known_version(group, version).then_some(Self::GroupVersion(group, version))
            }
            ["policy", "status"] => Some(Self::PolicyStatus),
            ["openapi", "v2"] => Some(Self::OpenApiOld),
            ["openapi", "v3"] => Some(Self::OpenApiIndex),
            ["openapi", "v3", "apis", group, version] => {
                let group = known_group(group)?;
                known_version(group, version).then_some(Self::OpenApi(group, version))
            }
            ["apis", group, version, "selfsubjectreviews"] if *group == AUTHENTICATION => {
                known_version(group, version).then_some(Self::SelfSubjectReviews(version))
            }
            ["apis", AUTHORIZATION, "v1", "selfsubjectaccessreviews"] => {
                Some(Self::SelfSubjectAccessReviews)
            }
            ["apis", AUTHORIZATION, "v1", "selfsubjectrulesreviews"] => {
                Some(Self::SelfSubjectRulesReviews)
            }
            ["apis", group, version, resource, rest @ ..]
                if *group == GROUP && *version == VERSION =>
            {
                let (name, subresource) = match rest {
                    [] => (None, None),
                    [name] => (Some(*name), None),
                    [name, subresource] => (Some(*name), Some(*subresource)),
                    _ => return None,
                };
                Some(Self::Object {
                    resource,
                    name,
                    subresource,
                })
            }
            _ => None,
        }
    }
}

fn known_group(group: &str) -> Option<&'static str> {
    GROUPS.into_iter().find(|g| *g == group)
}

fn known_version(group: &str, version: &str) -> bool {
    versions_of(group).contains(&version)
}

/// The versions of a group, the preferred one first.
pub(super) fn versions_of(group: &str) -> &'static [&'static str] {
    match group {
        GROUP => &[VERSION],
        AUTHENTICATION => &REVIEW_VERSIONS,
        AUTHORIZATION => &["v1"],
        _ => &[],
    }
}

/// What every group, version, resource, handle, label and token id is made of.
fn plain(segment: &str) -> bool {
    // The colon is in `<provider>:<name>`.
    let ok = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.' | b':');
    !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_one_reading() {
        for odd in [
            "",
            "/",
            "//version",
            "/version/",
            "/apis//palisade.dev",
            "/apis/palisade.dev/v1alpha1/users/",
            "/apis/palisade.dev/v1alpha1/users/a%2Fb",
            "/apis/palisade.dev/v1alpha1/users/..",
            "/apis/palisade.dev/v1alpha1/users/../tokens",
            "/apis/palisade.dev/v1alpha1/users/a/password/x",
            "/apis/palisade.dev/v1alpha1/users/a;b",
            "/apis/palisade.dev/v1/users",
            "/%61pis/palisade.dev/v1alpha1/users",
            "/apis/apps/v1",
        ] {
            assert_eq!(Route::parse(odd), None, "{odd}");
        }
        assert_eq!(
            Route::parse("/apis/palisade.dev/v1alpha1/users/jane/password"),
            Some(Route::Object {
                resource: "users",
                name: Some("jane"),
                subresource: Some("password"),
            })
        );
        assert_eq!(
            Route::parse("/apis/authentication.k8s.io/v1beta1/selfsubjectreviews"),
            Some(Route::SelfSubjectReviews("v1beta1"))
        );
    }
}
