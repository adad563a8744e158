//! Any text as a policy file: it is read or refused with places that exist, and what is read decides alike
//! in the compiled tables and in the path that explains.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade::authz::{
    RequestInfo,
    explain::{Judge, Verdict, explain, text},
    files::load_text,
    policy::{Place, Who},
    question::{Question, Subject},
    rules,
};
use palisade::status::clock;

/// One of each: a list, a named object, a subresource that needs two verbs, a plain path.
const REQUESTS: [&str; 4] = [
    "GET /api/v1/namespaces/default/pods?watch=1",
    "DELETE /apis/apps/v1/namespaces/default/deployments/web",
    "GET /api/v1/namespaces/default/pods/web-0/exec",
    "GET /healthz",
];
const GROUP: &str = "devs";
const USER: &str = "jane";

fuzz_target!(|input: &str| {
    let folder = load_text("fuzz.yaml", input);
    // A carriage return alone ends a line in YAML too.
    let lines = u64::try_from(input.matches(['\n', '\r']).count() + 1).unwrap_or(u64::MAX);
    for found in folder.mistakes.iter().chain(&folder.warnings) {
        assert!(found.mistake.line <= lines + 1, "{found}");
        assert!(!found.mistake.message.is_empty());
    }
    if !folder.mistakes.is_empty() {
        return;
    }
    let now = clock::now();
    let groups: [Box<str>; 1] = [GROUP.into()];
    let cluster = folder.raw.compile();
    for line in REQUESTS {
        for place in [None, Some("prod")] {
            let subject = Subject {
                user: USER.to_owned(),
                groups: vec![GROUP.to_owned()],
            };
            let question = Question::of_line(line, subject, place.map(str::to_owned));
            let question = question.expect("the requests above are requests");
            let info = RequestInfo::parse(question.method(), question.target(), false);
            let info = info.expect("the requests above are plain");

            let answer = explain(Judge::Cluster(&folder.raw), &question, now);
            let who = Who {
                user: USER,
                groups: &groups,
                shared: None,
            };
            let allowed = cluster.decide(&who, &info.attributes()).allowed();
            assert_eq!(
                answer.decision == Verdict::Allow,
                allowed,
                "the cluster's: {line}"
            );
            assert!(!text::show(&answer, Some(line)).is_empty());

            let answer = explain(Judge::Own(&folder.own), &question, now);
            let own = folder.own.compile(place);
            let held: Vec<Box<str>> = answer
                .groups
                .iter()
                .map(|name| name.as_str().into())
                .collect();
            let who = Who {
                user: USER,
                groups: &held,
                shared: None,
            };
            let at = place.map_or(Place::Global, Place::Cluster);
            let everyones = &folder.own.roles["authenticated"].object.spec.rules;
            let everybody = place.is_none()
                && everyones
                    .iter()
                    .any(|rule| rules::allows(rule, &info.attributes()));
            let attrs = info.attributes();
            let members = place.is_none() && own.decide_in_projects(&who, &attrs, now).allowed();
            let allowed = everybody || members || own.decide_request(&who, at, &info, now).allowed();
            assert_eq!(
                answer.decision == Verdict::Allow,
                allowed,
                "our own: {line}"
            );
            assert!(!text::show(&answer, Some(line)).is_empty());
        }
    }
});
