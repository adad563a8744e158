//! Which state of the store a read is to show: `resourceVersion` and `resourceVersionMatch`.
//!
//! There is one state to show, the present, and it is never older than what anybody was told before. So a
//! read that takes anything, or anything not older than some revision, is served; one that wants exactly an
//! older state is 410, because showing the present for it would be a wrong answer.

use super::ApiError;
use super::query::Query;
use crate::store::{Revision, Store};

/// What a read asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Any state, or the newest.
    Present,
    /// This state or a newer one.
    NotOlderThan(Revision),
    /// This state.
    Exactly(Revision),
}

impl Wanted {
    /// Reads the parameters of a read of one object.
    ///
    /// # Errors
    /// 400: no number.
    pub(super) fn of_get(query: &Query) -> Result<Self, ApiError> {
        match query.get("resourceVersion") {
            None | Some("0") => Ok(Self::Present),
            Some(text) => revision(text).map(Self::NotOlderThan),
        }
    }

    /// Reads the parameters of a list.
    ///
    /// # Errors
    /// 400: they mean nothing, or nothing together.
    pub(super) fn of_list(query: &Query) -> Result<Self, ApiError> {
        let bad = |text: &str| Err(ApiError::BadRequest(text.to_owned()));
        if query.get("sendInitialEvents").is_some() {
            return bad("sendInitialEvents is for watches alone");
        }
        let version = query.get("resourceVersion");
        let matching = query.get("resourceVersionMatch");
        if query.get("continue").is_some() {
            if version.is_some_and(|version| version != "0") {
                return bad("specifying resource version is not allowed when using continue");
            }
            if matching.is_some() {
                return bad("resourceVersionMatch is forbidden when continue is provided");
            }
            return Ok(Self::Present);
        }
        match (version, matching) {
            (None, Some(_)) => {
                bad("resourceVersionMatch is forbidden unless resourceVersion is provided")
            }
            (Some("0"), Some("Exact")) => {
                bad("resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"")
            }
            (Some(text), Some("Exact")) => revision(text).map(Self::Exactly),
            (_, None | Some("NotOlderThan")) => Self::of_get(query),
            (_, Some(other)) => bad(&format!(
                "resourceVersionMatch: Unsupported value: {other:?}: supported values: \"Exact\", \"NotOlderThan\""
            )),
        }
    }

    /// Whether the store can show it.
    ///
    /// # Errors
    /// 504: a revision that is not there yet. 410: one that is not there any more.
    pub(super) async fn check(self, store: &Store) -> Result<(), ApiError> {
        let (Self::NotOlderThan(wanted) | Self::Exactly(wanted)) = self else {
            return Ok(());
        };
        let current = store.revision().await?;
        if wanted > current {
            return Err(ApiError::TooNew { wanted, current });
        }
        if wanted < current && matches!(self, Self::Exactly(_)) {
            return Err(ApiError::Expired(wanted));
        }
        Ok(())
    }
}

impl Wanted {
    /// The same, of what was read: something may have been written since the check.
    pub(super) fn check_read(self, read: Option<Revision>) -> Result<(), ApiError> {
        match (self, read) {
            (Self::Exactly(wanted), Some(read)) if read != wanted => Err(ApiError::Expired(wanted)),
            _ => Ok(()),
        }
    }
}

fn revision(text: &str) -> Result<Revision, ApiError> {
    text.parse()
        .map_err(|_| ApiError::BadRequest(format!("invalid resource version: {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_mean_what_kubernetes_means() {
        for (query, expected) in [
            ("", Wanted::Present),
            ("resourceVersion=0", Wanted::Present),
            ("resourceVersion=", Wanted::Present),
            (
                "resourceVersion=0&resourceVersionMatch=NotOlderThan",
                Wanted::Present,
            ),
            ("resourceVersion=7", Wanted::NotOlderThan(7)),
            (
                "resourceVersion=7&resourceVersionMatch=NotOlderThan",
                Wanted::NotOlderThan(7),
            ),
            (
                "resourceVersion=7&resourceVersionMatch=Exact",
                Wanted::Exactly(7),
            ),
            ("continue=x", Wanted::Present),
            ("continue=x&resourceVersion=0", Wanted::Present),
        ] {
            assert_eq!(
                Wanted::of_list(&Query::parse(query)).unwrap(),
                expected,
                "{query}"
            );
        }
        for bad in [
            "resourceVersion=x",
            "resourceVersion=-1",
            "resourceVersionMatch=Exact",
            "resourceVersion=0&resourceVersionMatch=Exact",
            "resourceVersion=7&resourceVersionMatch=Newest",
            "continue=x&resourceVersion=7",
            "continue=x&resourceVersionMatch=Exact",
            "sendInitialEvents=true",
        ] {
            let error = Wanted::of_list(&Query::parse(bad)).unwrap_err();
            assert_eq!(error.status().code, 400, "{bad}");
        }
    }

    #[tokio::test]
    async fn only_what_there_is_can_be_shown() {
        let store = Store::memory();
        for key in ["/a", "/b"] {
            let txn = crate::store::Txn::new().put(key, b"x".to_vec());
            store.txn(txn).await.unwrap();
        }
        let now = store.revision().await.unwrap();
        for (wanted, code) in [
            (Wanted::Present, None),
            (Wanted::NotOlderThan(1), None),
            (Wanted::NotOlderThan(now), None),
            (Wanted::NotOlderThan(now + 1), Some(504)),
            (Wanted::Exactly(now), None),
            (Wanted::Exactly(now - 1), Some(410)),
            (Wanted::Exactly(now + 1), Some(504)),
        ] {
            let found = wanted.check(&store).await;
            assert_eq!(
                found.err().map(|error| error.status().code),
                code,
                "{wanted:?}"
            );
        }
    }
}
