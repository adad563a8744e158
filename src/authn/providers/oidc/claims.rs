//! What a provider says of an account, and what of it is used.

use super::super::{
    GroupRef,
    ldap::MAX_GROUPS,
    redirect::{ArrivalError, Failure},
};
use crate::config;
use serde_json::{Map, Value};

/// Characters of a group's name.
const MAX_NAME: usize = 256;

/// The claims of an ID token or of the userinfo endpoint.
pub(super) struct Claims(Map<String, Value>);

/// Groups, as far as the provider says them.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Groups {
    /// These. A claim that is not there says that there are none: providers leave out empty lists.
    Known(Vec<GroupRef>),
    /// They are too many, and it says where else they could be asked for (OpenID Connect Core 1.0, section 5.6.2).
    Elsewhere,
}

impl Claims {
    pub(super) fn new(claims: Map<String, Value>) -> Self {
        Self(claims)
    }

    /// With those of `other` where these are silent.
    pub(super) fn or(mut self, other: Self) -> Self {
        for (name, value) in other.0 {
            self.0.entry(name).or_insert(value);
        }
        self
    }

    /// The subject of a userinfo answer.
    pub(super) fn subject(&self) -> Result<&str, Failure> {
        self.text("sub").ok_or_else(|| Failure::Malformed {
            what: "the userinfo endpoint",
            why: "it names no subject".to_owned(),
        })
    }

    /// A claim of this name, or one in a claim: `realm_access.roles`. Names with dots in them come first: some are URLs.
    fn find(&self, path: &str) -> Option<&Value> {
        if let Some(value) = self.0.get(path) {
            return Some(value);
        }
        let mut parts = path.split('.');
        let first = self.0.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.as_object()?.get(part))
    }

    /// Whether it says anything under this name, or where else it could be asked for.
    pub(super) fn has(&self, path: &str) -> bool {
        self.find(path).is_some() || !matches!(self.groups(path), Ok(Groups::Known(_)))
    }

    /// A claim that is a text and not empty.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.find(path)?.as_str().filter(|text| !text.is_empty())
    }

    /// What the account is called; its subject if it is called nothing that can be trusted.
    pub(super) fn name<'a>(&'a self, config: &config::Oidc, subject: &'a str) -> &'a str {
        self.called_by(&config.handle_claim, subject)
    }

    fn called_by<'a>(&'a self, claim: &str, subject: &'a str) -> &'a str {
        let text = self.text(claim).filter(|_| self.may_be_called_by(claim));
        text.unwrap_or(subject)
    }

    /// Whoever may write any address into their account could come by anybody's name.
    fn may_be_called_by(&self, claim: &str) -> bool {
        claim != "email" || self.0.get("email_verified") == Some(&Value::Bool(true))
    }

    /// What a new user's handle is made of; empty if there is nothing that it could be made of.
    pub(super) fn handle(&self, config: &config::Oidc) -> Result<String, ArrivalError> {
        let claim = &*config.handle_claim;
        if !self.may_be_called_by(claim) {
            return Err(ArrivalError::Account("its e-mail address is not verified"));
        }
        let text = self.text(claim).unwrap_or_default();
        let text = text.split_once('@').map_or(text, |(name, _)| name);
        Ok(text.to_lowercase())
    }

    /// The groups in this claim.
    pub(super) fn groups(&self, claim: &str) -> Result<Groups, Failure> {
        let Some(value) = self.find(claim) else {
            let top = claim.split('.').next().unwrap_or(claim);
            let elsewhere = self.0.get("_claim_names").and_then(Value::as_object);
            let elsewhere =
                elsewhere.is_some_and(|it| it.contains_key(claim) || it.contains_key(top));
            // What Entra ID says in place of the list where a token must be short.
            let has_groups = self.0.get("hasgroups");
            let has_groups = has_groups
                .is_some_and(|it| *it == Value::Bool(true) || it.as_str() == Some("true"));
            return Ok(if elsewhere || has_groups {
                Groups::Elsewhere
            } else {
                Groups::Known(Vec::new())
            });
        };
        let one = std::slice::from_ref(value);
        let all = match value {
            Value::Array(all) => all.as_slice(),
            Value::String(_) => one,
            Value::Null => &[],
            Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
                return Err(Failure::GroupsUnknown(
                    "the claim is neither a text nor a list",
                ));
            }
        };
        if all.len() > MAX_GROUPS {
            return Err(Failure::GroupsUnknown("there are too many of them"));
        }
        let groups: Option<Vec<GroupRef>> = all.iter().map(|it| group(it.as_str()?)).collect();
        groups
            .map(Groups::Known)
            .ok_or(Failure::GroupsUnknown("one of them is no name"))
    }
}

/// A group, whose name is its id.
fn group(name: &str) -> Option<GroupRef> {
    let good = !name.is_empty()
        && name.chars().count() <= MAX_NAME
        && !name.chars().any(char::is_control)
        && name.trim() == name;
    good.then(|| GroupRef {
        id: name.into(),
        name: name.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claims(value: Value) -> Claims {
        Claims::new(serde_json::from_value(value).unwrap())
    }

    fn names(value: Value, claim: &str) -> Result<Vec<String>, String> {
        match claims(value).groups(claim) {
            Ok(Groups::Known(groups)) => {
                Ok(groups.iter().map(|group| group.name.to_string()).collect())
            }
            Ok(Groups::Elsewhere) => Err("elsewhere".to_owned()),
            Err(failure) => Err(failure.to_string()),
        }
    }

    #[test]
    fn groups_are_read_where_the_configuration_says() {
        let roles = json!({"realm_access": {"roles": ["a", "b"]}, "groups": "one"});
        assert_eq!(
            names(roles.clone(), "realm_access.roles").unwrap(),
            ["a", "b"]
        );
        assert_eq!(names(roles.clone(), "groups").unwrap(), ["one"]);
        assert!(
            names(roles.clone(), "realm_access.roles.x")
                .unwrap()
                .is_empty()
        );
        assert!(names(roles, "roles").unwrap().is_empty());
        let url =
            json!({"https://a.example/groups": ["x"], "https://a": {"example/groups": ["y"]}});
        assert_eq!(names(url, "https://a.example/groups").unwrap(), ["x"]);
    }

    #[test]
    fn groups_that_are_left_out_for_their_number_are_not_no_groups() {
        for overage in [
            json!({"_claim_names": {"groups": "src1"}, "_claim_sources": {}}),
            json!({"hasgroups": true}),
            json!({"hasgroups": "true"}),
        ] {
            assert_eq!(names(overage, "groups").unwrap_err(), "elsewhere");
        }
        let other = json!({"_claim_names": {"address": "src1"}, "hasgroups": false});
        assert!(names(other, "groups").unwrap().is_empty());
    }

    // L6
    #[test]
    fn an_address_that_is_not_verified_is_nobodys_name() {
        for (verified, name) in [
            (json!(true), "jane@a.example"),
            (json!(false), "5f1c"),
            (json!("true"), "5f1c"),
            (Value::Null, "5f1c"),
        ] {
            let claims = claims(json!({"email": "jane@a.example", "email_verified": verified}));
            assert_eq!(claims.called_by("email", "5f1c"), name);
        }
        assert_eq!(
            claims(json!({"preferred_username": "jane"})).called_by("preferred_username", "5f1c"),
            "jane"
        );
    }

    #[test]
    fn groups_that_cannot_be_read_are_not_no_groups() {
        for odd in [
            json!(7),
            json!(true),
            json!({"a": 1}),
            json!(["a", 7]),
            json!(["a", ""]),
            json!(["a", " b"]),
            json!(["a", "b\nc"]),
            json!(["x".repeat(MAX_NAME + 1)]),
            json!(vec!["x"; MAX_GROUPS + 1]),
        ] {
            let told = names(json!({"groups": odd}), "groups").unwrap_err();
            assert!(told.contains("does not say which groups"), "{told}");
        }
        assert!(names(json!({"groups": null}), "groups").unwrap().is_empty());
    }
}
