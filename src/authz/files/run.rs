//! Runs the cases of a folder.
//!
//! Each is judged twice: by the compiled table, which a gateway decides by, and by the slow path that
//! explains. If they differ the case fails, whatever it expected.

use super::{
    Folder,
    cases::{Case, CaseFile, Expect},
};
use crate::authz::{
    RequestInfo,
    explain::{Explanation, Judge, Verdict, explain, text},
    files,
    policy::{Place, Policy, Who},
    question::Asked,
    raw::RawPolicy,
    rules,
};
use jiff::Timestamp;
use std::fmt;

/// How many cases there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// All of them.
    pub cases: usize,
    /// Those that failed.
    pub failed: usize,
}

/// A case that did not come out as it should. `Display` is what a person is shown.
#[derive(Debug)]
pub struct Failed {
    /// `file:line`.
    pub place: String,
    /// The case's name.
    pub name: String,
    /// What is wrong, in one line.
    pub message: String,
    /// What came out, if anything was judged.
    pub answer: Option<Box<Explanation>>,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "FAILED {}: {}", self.place, self.name)?;
        writeln!(f, "  {}", self.message)?;
        if let Some(answer) = &self.answer {
            for line in text::show(answer, None).lines() {
                writeln!(f, "  {line}")?;
            }
        }
        Ok(())
    }
}

/// Runs all cases of a folder that has no mistakes; answers with those that failed.
pub fn cases(folder: &Folder, now: Timestamp, totals: &mut Totals) -> Vec<Failed> {
    let mut failed = Vec::new();
    for file in &folder.cases {
        let compiled = Compiled::of(folder, file);
        for case in &file.cases {
            totals.cases += 1;
            if let Some(failure) = one(folder, file, &compiled, case, now) {
                totals.failed += 1;
                failed.push(failure);
            }
        }
    }
    failed
}

fn one(
    folder: &Folder,
    file: &CaseFile,
    compiled: &Compiled,
    case: &Case,
    now: Timestamp,
) -> Option<Failed> {
    let failed = |message: String, answer: Option<Explanation>| {
        Some(Failed {
            place: format!("{}:{}", file.file, case.line),
            name: case.name.clone(),
            message,
            answer: answer.map(Box::new),
        })
    };
    if case.cluster_rbac && folder.raw.is_empty() {
        let message = "asks for the cluster's RBAC, but the folder holds no manifests".to_owned();
        return failed(message, None);
    }
    let own_judges =
        !case.cluster_rbac && (folder.has_own || file.has_own || folder.raw.is_empty());
    let judge = if own_judges {
        Judge::Own(&file.own)
    } else {
        Judge::Cluster(&folder.raw)
    };
    let answer = explain(judge, &case.question, now);
    if let Some(message) = compiled.disagrees(judge, case, &answer, now) {
        return failed(message, Some(answer));
    }
    let wanted = match case.expect {
        Expect::Allow => Verdict::Allow,
        Expect::Deny => Verdict::Deny,
        Expect::Refuse => Verdict::Refuse,
    };
    if answer.decision != wanted {
        let message = format!("expected {}, got {}", wanted.word(), answer.decision.word());
        return failed(message, Some(answer));
    }
    let part = case.reason.as_deref()?;
    if answer.said().any(|text| text.contains(part)) {
        return None;
    }
    let message = format!(
        "{}, as expected, but no reason says {part:?}",
        wanted.word()
    );
    failed(message, Some(answer))
}

/// Both policies of a file of cases, as they are compiled for fast decisions.
struct Compiled {
    own: Policy,
    cluster: RawPolicy,
}

impl Compiled {
    fn of(folder: &Folder, file: &CaseFile) -> Self {
        let asked = file.cases.iter().filter_map(|case| case.question.place().0);
        Self {
            own: file.own.compile(asked),
            cluster: folder.raw.compile(),
        }
    }

    /// What is wrong if the compiled table says another thing than the explanation.
    fn disagrees(
        &self,
        judge: Judge<'_>,
        case: &Case,
        answer: &Explanation,
        now: Timestamp,
    ) -> Option<String> {
        let verdict = self.verdict(judge, case, answer, now);
        (verdict != answer.decision).then(|| {
            format!(
                "the compiled policy says {}, its explanation {}: a fault of this program, please report it",
                verdict.word(),
                answer.decision.word()
            )
        })
    }

    fn verdict(
        &self,
        judge: Judge<'_>,
        case: &Case,
        answer: &Explanation,
        now: Timestamp,
    ) -> Verdict {
        let groups: Vec<Box<str>> = answer
            .groups
            .iter()
            .map(|name| name.as_str().into())
            .collect();
        let who = Who {
            user: &answer.user,
            groups: &groups,
            shared: None,
        };
        let (cluster, inner) = case.question.place();
        let is_own = matches!(judge, Judge::Own(_));
        let target = if is_own {
            inner
        } else {
            case.question.target()
        };
        let info;
        let checks: Vec<_> = match &case.question.asked {
            Asked::Request { method, .. } => match RequestInfo::parse(method, target, false) {
                Ok(parsed) => {
                    info = parsed;
                    // An API server's authoriser is asked for the request itself alone.
                    info.checks().take(if is_own { 2 } else { 1 }).collect()
                }
                Err(_) => return Verdict::Refuse,
            },
            Asked::Attributes(asked) => vec![asked.attributes()],
        };
        let place = cluster.map_or(Place::Global, Place::Cluster);
        let everyones = files::built_in()
            .roles
            .get("authenticated")
            .filter(|_| cluster.is_none());
        let everyones = everyones.map(|role| role.object.spec.rules.as_slice());
        let allowed = checks.iter().all(|attrs| {
            if !is_own {
                return self.cluster.decide(&who, attrs).allowed();
            }
            self.own.decide(&who, place, attrs, now).allowed()
                || (cluster.is_none() && self.own.decide_in_projects(&who, attrs, now).allowed())
                || everyones
                    .iter()
                    .copied()
                    .flatten()
                    .any(|rule| rules::allows(rule, attrs))
        });
        if allowed {
            Verdict::Allow
        } else {
            Verdict::Deny
        }
    }
}
