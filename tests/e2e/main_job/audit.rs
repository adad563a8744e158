//! The API server's audit log as the oracle: who the gateway said is asking, for every request.

use super::world::{FORMER, LEAVER, MEMBER, OPERATOR, OWNER, PEEKER, ROBOT, VIEWER, World};
use crate::testkit::process::eventually;
use serde_json::{Value, json};
use std::{collections::HashSet, sync::PoisonError};

/// The account whose requests carry people.
const IMPERSONATOR: &str = "system:serviceaccount:palisade-system:impersonator";
/// All accounts of the gateway.
const ACCOUNTS: &str = "system:serviceaccount:palisade-system:";
/// The grant group of those in the group `operators`.
const OPERATORS_GRANT: &str = "palisade:cluster:cluster-member";
/// Name of a user on a cluster.
const PREFIX: &str = "palisade:";

/// Which events were looked at already.
#[derive(Default)]
pub(super) struct Seen(usize);

impl World {
    /// Holds every new event of the audit log against what the gateway may send, and its id against the
    /// gateway's own log. Returns how many events were people's.
    #[track_caller]
    pub(super) fn check_audit(&self) -> usize {
        let mut seen = self.audited.lock().unwrap_or_else(PoisonError::into_inner);
        let events = self.local.audit_events();
        let new = &events[seen.0..];
        let mut ids = HashSet::new();
        for event in new {
            if let Some(id) = check(event) {
                ids.insert(id);
            }
        }
        seen.0 = events.len();
        drop(seen);
        self.all_are_logged(&ids);
        ids.len()
    }

    /// The gateway writes its line at the end of an answer: a moment after the API server's.
    #[track_caller]
    fn all_are_logged(&self, ids: &HashSet<String>) {
        let mut missing = None;
        eventually(|| {
            let log = self.gateway.log();
            let logged: HashSet<&str> = log.lines().filter_map(logged_id).collect();
            missing = ids.iter().find(|id| !logged.contains(id.as_str())).cloned();
            missing.is_none().then_some(())
        });
        assert_eq!(missing, None, "the gateway knows nothing of this request");
    }
}

fn logged_id(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once(" request id=")?;
    rest.split(' ').next()
}

/// Checks one event; its id if it carried a person and has ended.
#[track_caller]
fn check(event: &Value) -> Option<String> {
    let account = event["user"]["username"].as_str().expect("an account");
    let person = &event["impersonatedUser"];
    if account != IMPERSONATOR {
        let ours = account.starts_with(ACCOUNTS);
        assert!(
            person.is_null() || !ours,
            "only one account carries people: {event}"
        );
        return None;
    }
    if person.is_null() {
        // The gateway's own look at the cluster: its health, and whose token it was given.
        let path = event["requestURI"].as_str().expect("a path");
        let own = [
            "/version",
            "/apis/authentication.k8s.io/v1/selfsubjectreviews",
        ];
        assert!(own.contains(&path), "{event}");
        return None;
    }
    let name = person["username"].as_str().expect("a name");
    let handle = name.strip_prefix(PREFIX);
    let handle = handle.unwrap_or_else(|| panic!("not the gateway's name: {event}"));
    let extra = person["extra"].as_object().expect("extras");
    let acting = extra.get("palisade.dev/acting-user");
    let mut expected = expected_groups(handle);
    if acting.is_some() && groups(person).contains(&OPERATORS_GRANT) {
        // `--as-group=operators`, on top of what is bound to the user themselves.
        expected.push(OPERATORS_GRANT);
        expected.sort_unstable();
        expected.dedup();
    }
    assert_eq!(groups(person), expected, "{event}");
    let uid = person["uid"].as_str().unwrap_or_default();
    assert_eq!(uid.len(), 36, "a user's uid: {event}");
    let token = &extra["palisade.dev/token-id"];
    let token = token[0].as_str().unwrap_or_default();
    assert_eq!(token.len(), 16, "a token's id: {event}");
    match acting {
        // Whoever acts as another is named, and is one who may.
        Some(acting) => assert_eq!(acting, &json!([OWNER]), "{event}"),
        // Nobody sets an extra for themselves.
        None => assert_eq!(extra.len(), 1, "{event}"),
    }
    let own = extra.keys().filter(|key| key.starts_with("palisade.dev/"));
    assert_eq!(own.count(), 1 + usize::from(acting.is_some()), "{event}");
    (event["stage"] == "ResponseComplete")
        .then(|| event["auditID"].as_str().expect("an id").to_owned())
}

fn groups(person: &Value) -> Vec<&str> {
    let groups = person["groups"].as_array().expect("groups");
    let mut groups: Vec<&str> = groups.iter().filter_map(Value::as_str).collect();
    groups.sort_unstable();
    groups
}

/// Exactly the roles that they hold, and the one that the cluster itself adds.
fn expected_groups(handle: &str) -> Vec<&'static str> {
    let grant = match handle {
        MEMBER | OPERATOR => "palisade:cluster:cluster-member",
        VIEWER | ROBOT | LEAVER | FORMER => "palisade:cluster:cluster-viewer",
        OWNER => "palisade:cluster:cluster-owner",
        PEEKER => "palisade:cluster:peeker",
        other => panic!("{other:?} got through to the cluster"),
    };
    vec![grant, "system:authenticated"]
}
