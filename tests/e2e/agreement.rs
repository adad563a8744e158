//! Our decision and a real API server's, on the same RBAC objects.
//!
//! Objects are generated and written to the server; what `kubectl get` prints of all its objects, its own
//! `system:` ones among them, is our policy folder. Then a few thousand generated SubjectAccessReviews are
//! answered by the server, by the compiled policy, by the slow path that explains, and by
//! `palisade policy explain --batch`. All must agree.
//!
//! The seed is printed; `PALISADE_AGREEMENT_SEED` sets it, `PALISADE_AGREEMENT_REVIEWS` the number.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use crate::testkit::cluster::LocalCluster;
use palisade::authz::{
    explain::{Judge, Verdict, explain},
    files::{Folder, load_policy},
    policy::Who,
    question::{Asked, ReviewSpec},
};
use reviews::{FEATURES, Review};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Output, Stdio},
};

mod objects;
mod projects;
mod random;
mod requests;
mod reviews;
mod server;

/// Reviews of one run.
const REVIEWS: usize = 5_000;
/// Whole requests of one run.
const REQUESTS: usize = 1_000;
/// Reviews that speak to one feature, at least.
const OF_EACH_FEATURE: usize = 200;
/// Longest line of a mismatch report; a broken evaluator has thousands.
const SHOWN: usize = 10;

#[expect(clippy::disallowed_methods, reason = "the seed is the test's to set")]
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    output
}

/// What the server holds, as kubectl prints it, in a policy folder.
fn dump(cluster: &LocalCluster, folder: &Path, format: &str) -> Folder {
    let kinds = "clusterroles,clusterrolebindings,roles,rolebindings";
    let mut get = cluster.kubectl();
    get.args(["get", kinds, "-A", "--show-managed-fields", "-o", format]);
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(
        folder.join(format!("rbac.{format}")),
        succeed(&mut get).stdout,
    )
    .unwrap();
    let read = load_policy(folder).unwrap();
    assert!(read.mistakes.is_empty(), "{:?}", read.mistakes);
    assert!(!read.has_own);
    read
}

/// What our code says of a review, asked in two ways that must be one.
fn ours(folder: &Folder, table: &palisade::authz::raw::RawPolicy, spec: &Value) -> Verdict {
    let parsed: ReviewSpec = serde_json::from_value(spec.clone()).unwrap();
    let question = parsed.question(None).unwrap();
    let slow = explain(
        Judge::Cluster(&folder.raw),
        &question,
        palisade::status::clock::now(),
    );
    let Asked::Attributes(asked) = &question.asked else {
        panic!("a review asks by attributes")
    };
    let groups: Vec<Box<str>> = question
        .subject
        .groups
        .iter()
        .map(|g| g.as_str().into())
        .collect();
    let who = Who {
        user: &question.subject.user,
        groups: &groups,
        shared: None,
    };
    let fast = table.decide(&who, &asked.attributes()).allowed();
    assert_eq!(
        slow.decision == Verdict::Allow,
        fast,
        "explain and table: {spec}"
    );
    slow.decision
}

/// What the real binary says to each question, line by line.
fn batch(policies: &Path, questions: &[Value]) -> Vec<Value> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_palisade"))
        .args(["policy", "explain", "--batch", "--policies"])
        .arg(policies)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut lines = Vec::new();
    for question in questions {
        serde_json::to_writer(&mut lines, question).unwrap();
        lines.push(b'\n');
    }
    // A thread of its own: answers come while questions are still being written.
    let writer = std::thread::spawn(move || input.write_all(&lines));
    let output = BufReader::new(child.stdout.take().unwrap());
    let answers = output
        .lines()
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect();
    writer.join().unwrap().unwrap();
    assert!(child.wait().unwrap().success());
    answers
}

/// Reviews for each feature, and how many of them were allowed.
fn tally(reviews: &[Review], allowed: &[bool]) -> BTreeMap<&'static str, (usize, usize)> {
    let mut tally: BTreeMap<_, _> = FEATURES.iter().map(|name| (*name, (0, 0))).collect();
    for (review, allowed) in reviews.iter().zip(allowed) {
        for feature in &review.features {
            let entry = tally.get_mut(feature).unwrap();
            entry.0 += 1;
            entry.1 += usize::from(*allowed);
        }
    }
    tally
}

/// The same for whole requests: the server's 403, or anything else, against the batch's decision. Answers
/// with the number of those denied.
fn requests_agree(
    cluster: &LocalCluster,
    policies: &Path,
    reviews: &[Review],
    random: &mut random::Random,
) -> usize {
    let asked = requests::from_reviews(reviews, random, REQUESTS);
    let refused = server::ask_all(cluster, &asked);
    let questions: Vec<Value> = asked.iter().map(requests::Asked::line).collect();
    let answers = batch(policies, &questions);
    let mut mismatches = Vec::new();
    for ((question, refused), answer) in questions.iter().zip(&refused).zip(&answers) {
        let theirs = if *refused { "deny" } else { "allow" };
        if answer["decision"] != theirs {
            mismatches.push(format!("server {theirs}: {question}\n  {answer}"));
        }
    }
    let number = mismatches.len();
    mismatches.truncate(SHOWN);
    assert!(
        number == 0,
        "{number} requests differ:\n{}",
        mismatches.join("\n")
    );
    let denied = refused.iter().filter(|refused| **refused).count();
    assert!(
        denied * 5 >= refused.len() && denied * 5 <= refused.len() * 4,
        "{denied}"
    );
    denied
}

#[test]
fn decisions_equal_those_of_a_real_api_server() {
    let seed = setting("PALISADE_AGREEMENT_SEED").unwrap_or_else(random::from_the_clock);
    eprintln!("PALISADE_AGREEMENT_SEED={seed}");
    let wanted = setting("PALISADE_AGREEMENT_REVIEWS")
        .and_then(|number| usize::try_from(number).ok())
        .unwrap_or(REVIEWS);
    let mut random = random::Random::new(seed);

    let cluster = LocalCluster::start();
    let top = tempfile::tempdir().unwrap();
    objects::create(&cluster, top.path(), &mut random);
    let folder = dump(&cluster, &top.path().join("yaml"), "yaml");
    let as_json = dump(&cluster, &top.path().join("json"), "json");
    let table = folder.raw.compile();

    let reviews = reviews::generate(&folder.raw, &mut random, wanted);
    let specs: Vec<&Value> = reviews.iter().map(|review| &review.spec).collect();
    let allowed = server::review_all(&cluster, &specs);
    let questions: Vec<Value> = specs.iter().map(|spec| json!({ "spec": spec })).collect();
    let lines = batch(&top.path().join("json"), &questions);
    assert_eq!((allowed.len(), lines.len()), (specs.len(), specs.len()));

    let json_table = as_json.raw.compile();
    let mut mismatches = Vec::new();
    for ((spec, allowed), line) in specs.iter().zip(&allowed).zip(&lines) {
        let theirs = if *allowed {
            Verdict::Allow
        } else {
            Verdict::Deny
        };
        let by_yaml = ours(&folder, &table, spec);
        let by_json = ours(&as_json, &json_table, spec);
        let by_batch = &line["decision"];
        if by_yaml != theirs || by_json != theirs || by_batch != theirs.word() {
            mismatches.push(format!(
                "server {theirs:?}, yaml {by_yaml:?}, json {by_json:?}, batch {by_batch}: {spec}"
            ));
        }
    }
    let number = mismatches.len();
    mismatches.truncate(SHOWN);
    assert!(
        number == 0,
        "{number} of {wanted} differ, seed {seed}:\n{}",
        mismatches.join("\n")
    );

    let denied = requests_agree(&cluster, &top.path().join("yaml"), &reviews, &mut random);
    eprintln!("{REQUESTS} requests, {denied} denied");

    let yes = allowed.iter().filter(|allowed| **allowed).count();
    eprintln!(
        "{} reviews, {yes} allowed, {} denied",
        allowed.len(),
        allowed.len() - yes
    );
    for (feature, (all, yes)) in tally(&reviews, &allowed) {
        eprintln!("  {feature:<32} {all:>5} reviews, {yes:>5} allowed");
        if wanted >= REVIEWS {
            assert!(
                all >= OF_EACH_FEATURE,
                "{feature}: {all} reviews, seed {seed}"
            );
            let both = yes * 20 >= all && (all - yes) * 20 >= all;
            assert!(both, "{feature}: {yes} of {all} allowed, seed {seed}");
        }
    }
    let share = |part: usize| part * 100 / allowed.len();
    assert!(
        share(yes) >= 30 && share(allowed.len() - yes) >= 30,
        "{yes} allowed, seed {seed}"
    );
}
