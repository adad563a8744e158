//! The API server's audit log as the oracle: who the gateway said is asking, for every request; and the
//! gateway's own audit log beside it.

use super::world::{
    FORMER, LEAVER, MEMBER, OPERATOR, OWNER, PEEKER, RECORDED, ROBOT, VIEWER, World,
};
use crate::testkit::process::eventually;
use serde_json::{Value, json};
use std::{
    collections::{HashMap, HashSet},
    fs,
    sync::PoisonError,
};

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
        let ended: Vec<&Value> = new.iter().filter(|event| check(event)).collect();
        seen.0 = events.len();
        drop(seen);
        let ids: HashSet<&str> = ended.iter().map(|event| id_of(event)).collect();
        self.all_are_logged(&ids);
        self.all_are_recorded(&ended, &ids);
        ids.len()
    }

    /// The whole lines of the gateway's audit log.
    pub(super) fn recorded(&self) -> Vec<Value> {
        let file = self.gateway.state_dir().join("audit.log");
        let text = fs::read_to_string(file).expect("the gateway's audit log");
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let event = |line| serde_json::from_str(line).expect("an event is JSON");
        whole.lines().map(event).collect()
    }

    /// What the gateway recorded of these requests says the same as what the API server recorded.
    #[track_caller]
    fn all_are_recorded(&self, theirs: &[&Value], ids: &HashSet<&str>) {
        let ours = eventually(|| {
            let mut ours = HashMap::new();
            for event in self.recorded() {
                let id = id_of(&event).to_owned();
                if event["stage"] == "ResponseComplete" && ids.contains(&*id) {
                    let twice = ours.insert(id, event);
                    assert_eq!(twice, None, "one end for each request");
                }
            }
            (ours.len() == ids.len()).then_some(ours)
        });
        let ours =
            ours.expect("each request that reached the cluster has its end in the gateway's log");
        for theirs in theirs {
            let ours = &ours[id_of(theirs)];
            assert_eq!(told_by_us(ours), told_by_them(theirs), "{ours}\n{theirs}");
            let decision = &ours["annotations"]["authorization.k8s.io/decision"];
            assert_eq!(decision, "allow", "{ours}");
        }
    }

    /// The gateway writes its line at the end of an answer: a moment after the API server's.
    #[track_caller]
    fn all_are_logged(&self, ids: &HashSet<&str>) {
        let mut missing = None;
        eventually(|| {
            let log = self.gateway.log();
            let logged: HashSet<&str> = log.lines().filter_map(logged_id).collect();
            missing = ids.iter().find(|id| !logged.contains(*id)).copied();
            missing.is_none().then_some(())
        });
        assert_eq!(missing, None, "the gateway knows nothing of this request");
    }
}

fn logged_id(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once(" request id=")?;
    rest.split(' ').next()
}

fn id_of(event: &Value) -> &str {
    event["auditID"].as_str().expect("an id")
}

/// What both logs know of a request. The query is left out: the gateway's log has less of it.
#[derive(Debug, PartialEq)]
struct Told {
    path: String,
    verb: Value,
    object: Value,
    user: String,
    token: Value,
    agent: Value,
    code: Value,
}

#[track_caller]
fn told_by_them(event: &Value) -> Told {
    let person = &event["impersonatedUser"];
    let name = person["username"].as_str().expect("a name");
    Told {
        path: path(event).to_owned(),
        verb: event["verb"].clone(),
        object: object(event),
        user: name.trim_start_matches(PREFIX).to_owned(),
        token: person["extra"]["palisade.dev/token-id"].clone(),
        agent: event["userAgent"].clone(),
        code: event["responseStatus"]["code"].clone(),
    }
}

#[track_caller]
fn told_by_us(event: &Value) -> Told {
    let person = event.get("impersonatedUser").unwrap_or(&event["user"]);
    let path = path(event);
    let path = path.strip_prefix("/k8s/clusters/local").unwrap_or(path);
    Told {
        path: path.to_owned(),
        verb: event["verb"].clone(),
        object: object(event),
        user: person["username"].as_str().expect("a name").to_owned(),
        token: event["user"]["extra"]["palisade.dev/token-id"].clone(),
        agent: event["userAgent"].clone(),
        code: event["responseStatus"]["code"].clone(),
    }
}

#[track_caller]
fn path(event: &Value) -> &str {
    let uri = event["requestURI"].as_str().expect("a path");
    uri.split_once('?').map_or(uri, |(path, _)| path)
}

/// What is in the path; of an object that is written the API server knows more from its body: of one that is
/// made, its name.
fn object(event: &Value) -> Value {
    let mut object = event["objectRef"].clone();
    let made = event["verb"] == "create" && object.get("subresource").is_none();
    if let Some(fields) = object.as_object_mut() {
        let of_body = |key: &str| match key {
            "uid" | "resourceVersion" => true,
            "name" => made,
            _ => false,
        };
        fields.retain(|key, _| !of_body(key));
    }
    object
}

/// Checks one event; whether it carried a person and is a request's end.
#[track_caller]
fn check(event: &Value) -> bool {
    let account = event["user"]["username"].as_str().expect("an account");
    let person = &event["impersonatedUser"];
    if account != IMPERSONATOR {
        let ours = account.starts_with(ACCOUNTS);
        assert!(
            person.is_null() || !ours,
            "only one account carries people: {event}"
        );
        return false;
    }
    if person.is_null() {
        // The gateway's own look at the cluster: its health, whose token it was given, and whether the authoriser
        // lets it send a group already.
        let path = event["requestURI"].as_str().expect("a path");
        let own = [
            "/version",
            "/apis/authentication.k8s.io/v1/selfsubjectreviews",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        ];
        assert!(own.contains(&path), "{event}");
        return false;
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
    event["stage"] == "ResponseComplete"
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
        MEMBER | OPERATOR | RECORDED => "palisade:cluster:cluster-member",
        VIEWER | ROBOT | LEAVER | FORMER => "palisade:cluster:cluster-viewer",
        OWNER => "palisade:cluster:cluster-owner",
        PEEKER => "palisade:cluster:peeker",
        other => panic!("{other:?} got through to the cluster"),
    };
    vec![grant, "system:authenticated"]
}
