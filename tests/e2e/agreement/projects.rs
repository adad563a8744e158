//! Our decision where there are projects, and that of a real API server which the loop has told of them.
//!
//! A policy folder is generated: roles of both scopes that inherit, projects by name and by glob, people in groups,
//! bindings with and without an end. A gateway takes the folder and brings it to a real cluster. Then some thousands
//! of requests are decided by the compiled policy, and the API server is asked of each for the very groups that the
//! gateway would send with it, also where it sends none because it refuses. The slow path that explains must say the
//! same: it alone can know of a binding that ended, or a glob that does not match, what the cluster was told by the
//! same code. Some hundreds are sent through the gateway, which must answer as was decided.
//!
//! Where the gateway refuses what the cluster would allow, the reason is one of [`REASONS`], which docs/policy.md
//! lists.

use super::{OF_EACH_FEATURE, SHOWN, random, server, setting};
use crate::testkit::{
    cluster::LocalCluster,
    gateway::GatewayProcess,
    process::{eventually, run},
};
use asked::{FEATURES, Sent};
use folder::{CLUSTER, Tenants};
use palisade::{
    authz::{
        RequestInfo,
        explain::{Judge, Verdict, explain},
        policy::{Carried, Place, Policy, Who},
        project_uid,
        question::{Question, Subject},
    },
    objects::grant_group::GrantGroup,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs};

mod asked;
mod folder;
mod live;

/// Requests of one run.
const REQUESTS: usize = 5_000;
/// Of which so many are sent through the gateway.
const LIVE: usize = 400;

/// How often the patience of one wait is taken for the cluster to be told of everything.
const WAITS: usize = 4;

/// Why the gateway refuses what the cluster would allow, in the words of docs/policy.md.
const REASONS: [&str; 3] = [ODD_TARGET, NO_ROLE, CREATE_TOO];
const ODD_TARGET: &str = "target that two programs could read differently is answered 400";
const NO_ROLE: &str = "`no_grant`";
const CREATE_TOO: &str = "also `create` is asked";

/// What is to be compared.
struct Decided {
    allowed: bool,
    /// What the API server is asked; nothing if no attributes could be read from the request.
    review: Option<Value>,
    /// If it is refused, and the cluster may well allow it.
    reason: Option<&'static str>,
}

fn decide(policy: &Policy, tenants: &Tenants, sent: &Sent) -> Decided {
    let Ok(info) = RequestInfo::parse(sent.method, &sent.target, false) else {
        return Decided {
            allowed: false,
            review: None,
            reason: Some(ODD_TARGET),
        };
    };
    let groups: Vec<Box<str>> = tenants.groups_of(&sent.user);
    let who = Who {
        user: &sent.user,
        groups: &groups,
        shared: None,
    };
    let now = palisade::status::clock::now();
    let place = Place::Cluster(CLUSTER);
    let attributes = info.attributes();
    let allowed = policy.decide_request(&who, place, &info, now).allowed();
    let reason = if allowed {
        None
    } else if !policy.holds_any(&who, CLUSTER, now) {
        Some(NO_ROLE)
    } else {
        let first = policy.decide(&who, place, &attributes, now).allowed();
        first.then_some(CREATE_TOO)
    };
    let grants = policy.grants(&who, CLUSTER, Carried::of(&attributes), now, usize::MAX - 1);
    let mut groups: Vec<String> = grants
        .iter()
        .map(|grant| match grant.group() {
            // Offline a project counts by its name; the gateway gives it a uid.
            GrantGroup::Project { uid, role } => {
                let uid = &project_uid(uid);
                GrantGroup::Project { uid, role }.to_string()
            }
            cluster @ GrantGroup::Cluster { .. } => cluster.to_string(),
        })
        .collect();
    // An API server adds it to whoever is impersonated.
    groups.push("system:authenticated".to_owned());
    let asked = if attributes.is_resource {
        json!({"resourceAttributes": {
            "verb": attributes.verb, "group": attributes.api_group, "version": attributes.api_version,
            "resource": attributes.resource, "subresource": attributes.subresource,
            "name": attributes.name, "namespace": attributes.namespace}})
    } else {
        json!({"nonResourceAttributes": {"verb": attributes.verb, "path": attributes.path}})
    };
    let mut review = json!({"user": format!("palisade:{}", sent.user), "groups": groups});
    let (Value::Object(all), Value::Object(asked)) = (&mut review, asked) else {
        panic!("both are objects")
    };
    all.extend(asked);
    Decided {
        allowed,
        review: Some(review),
        reason,
    }
}

/// Whether the slow path allows it.
fn explained(tenants: &Tenants, sent: &Sent) -> bool {
    let groups = tenants.groups_of(&sent.user);
    let subject = Subject {
        user: sent.user.clone(),
        groups: groups.into_iter().map(String::from).collect(),
    };
    let cluster = Some(CLUSTER.to_owned());
    let question = Question::of_request(sent.method, &sent.target, subject, cluster).unwrap();
    let now = palisade::status::clock::now();
    explain(Judge::Own(&tenants.folder.own), &question, now).decision == Verdict::Allow
}

/// A gateway with the folder, and the cluster told of all that is in it.
fn bring(cluster: &LocalCluster, tenants: &Tenants) -> GatewayProcess {
    let mut gateway = GatewayProcess::start();
    gateway.login("admin", &gateway.password).ok();
    let admin = |gateway: &GatewayProcess, arguments: &[&str]| {
        run(gateway.cli("admin").args(arguments)).ok()
    };
    let kubeconfig = cluster.admin_kubeconfig.to_str().unwrap();
    let label = ["--label", folder::LABEL];
    let add = [
        "cluster",
        "add",
        CLUSTER,
        "--kubeconfig",
        kubeconfig,
        "--yes",
    ];
    admin(&gateway, &[&add[..], &label[..]].concat());
    for user in &tenants.users {
        admin(&gateway, &["user", "add", user, "--machine"]);
    }
    for (group, members) in &tenants.members {
        let mut add = vec!["group", "add", group.as_str()];
        for member in members {
            add.extend(["--member", member]);
        }
        admin(&gateway, &add);
    }
    let policies = gateway.state_dir().join("policies");
    fs::create_dir(&policies).unwrap();
    fs::copy(&tenants.file, policies.join("tenants.json")).unwrap();
    gateway.restart(|config| format!("{config}policies: policies\n"));
    let in_step = || {
        let shown = admin(&gateway, &["cluster", "show", CLUSTER, "-o", "json"]);
        let shown: Value = serde_json::from_str(&shown).unwrap();
        folder::is_in_step(&shown).then_some(())
    };
    let shown = || admin(&gateway, &["cluster", "show", CLUSTER]);
    // Some four hundred writes, twenty a second.
    let in_the_end = (0..WAITS).find_map(|_| eventually(in_step));
    assert!(in_the_end.is_some(), "{}", shown());
    gateway
}

/// What came of all of them.
struct Tally {
    all: usize,
    allowed: usize,
    reasons: BTreeMap<&'static str, usize>,
    /// Of each feature those that the cluster denies, and those that it allows.
    features: BTreeMap<&'static str, [usize; 2]>,
    mismatches: Vec<String>,
}

impl Tally {
    fn of(sent: &[Sent], decided: &[Decided], mut answers: impl Iterator<Item = bool>) -> Self {
        let mut tally = Self {
            all: sent.len(),
            allowed: 0,
            reasons: REASONS.map(|reason| (reason, 0)).into(),
            features: FEATURES.map(|feature| (feature, [0, 0])).into(),
            mismatches: Vec::new(),
        };
        for (sent, decided) in sent.iter().zip(decided) {
            let theirs = decided.review.is_some() && answers.next().unwrap();
            tally.allowed += usize::from(theirs);
            for feature in &sent.features {
                tally.features.get_mut(feature).unwrap()[usize::from(theirs)] += 1;
            }
            match decided.reason {
                Some(reason) if theirs || decided.review.is_none() => {
                    *tally.reasons.get_mut(reason).unwrap() += 1;
                }
                _ if decided.allowed == theirs => {}
                _ => tally.mismatches.push(format!(
                    "gateway {}, cluster {theirs}: {sent:?} {:?}",
                    decided.allowed, decided.review
                )),
            }
        }
        assert!(answers.next().is_none());
        tally
    }

    fn report(&self) -> String {
        let reasons = self.reasons.iter();
        let reasons = reasons.map(|(reason, number)| {
            format!("  {number:>5} refused before the cluster is asked: {reason}\n")
        });
        let features = self.features.iter().map(|(feature, [no, yes])| {
            format!(
                "  {feature:<24} {:>5} requests, {yes:>5} allowed\n",
                no + yes
            )
        });
        reasons.chain(features).collect()
    }

    /// All that is asked of a run of full length.
    fn check(&self, seed: u64) {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/policy.md");
        let page = fs::read_to_string(page).unwrap();
        for reason in self.reasons.keys() {
            assert!(page.contains(reason), "docs/policy.md has no {reason:?}");
        }
        if self.all < REQUESTS {
            return;
        }
        for (reason, number) in &self.reasons {
            assert!(
                *number > 0,
                "nothing was refused for {reason:?}, seed {seed}"
            );
        }
        for (feature, [no, yes]) in &self.features {
            let all = no + yes;
            assert!(all >= OF_EACH_FEATURE, "{feature}: {all}, seed {seed}");
            let both = yes * 20 >= all && no * 20 >= all;
            assert!(both, "{feature}: {yes} of {all} allowed, seed {seed}");
        }
        let share = |part: usize| part * 100 / self.all;
        let (yes, no) = (self.allowed, self.all - self.allowed);
        assert!(
            share(yes) >= 30 && share(no) >= 30,
            "{yes} allowed, seed {seed}"
        );
    }
}

#[test]
fn with_projects_the_gateway_decides_as_the_cluster_does() {
    let seed = setting("PALISADE_AGREEMENT_SEED").unwrap_or_else(random::from_the_clock);
    eprintln!("PALISADE_AGREEMENT_SEED={seed}");
    let wanted = setting("PALISADE_AGREEMENT_REVIEWS")
        .and_then(|number| usize::try_from(number).ok())
        .unwrap_or(REQUESTS);
    let mut random = random::Random::new(seed);
    let cluster = LocalCluster::start();
    let top = tempfile::tempdir().unwrap();
    let tenants = folder::generate(top.path(), &cluster, &mut random);
    let policy = tenants.compile();
    let gateway = bring(&cluster, &tenants);

    let sent = asked::generate(&tenants, &policy, &mut random, wanted);
    let decided = sent.iter().map(|sent| decide(&policy, &tenants, sent));
    let decided: Vec<Decided> = decided.collect();
    for (sent, decided) in sent.iter().zip(&decided) {
        assert_eq!(explained(&tenants, sent), decided.allowed, "{sent:?}");
    }
    let specs = decided.iter().filter_map(|it| it.review.as_ref());
    let answers = server::review_all(&cluster, &specs.collect::<Vec<_>>());
    let mut tally = Tally::of(&sent, &decided, answers.into_iter());
    let number = tally.mismatches.len();
    tally.mismatches.truncate(SHOWN);
    assert!(
        number == 0,
        "{number} of {wanted} differ, seed {seed}:\n{}",
        tally.mismatches.join("\n")
    );
    let through = live::send(&gateway, &sent, &decided, LIVE);
    let (yes, no) = (tally.allowed, tally.all - tally.allowed);
    eprintln!("{wanted} requests, {yes} allowed, {no} denied; {through} sent through the gateway");
    eprintln!("{}", tally.report());
    tally.check(seed);
}
