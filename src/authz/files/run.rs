//! Runs the cases of a folder.

use super::{
    Folder,
    cases::{Case, CaseFile, Expect},
};
use crate::authz::explain::{Explanation, Judge, Verdict, explain, text};
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
        for case in &file.cases {
            totals.cases += 1;
            if let Some(failure) = one(folder, file, case, now) {
                totals.failed += 1;
                failed.push(failure);
            }
        }
    }
    failed
}

fn one(folder: &Folder, file: &CaseFile, case: &Case, now: Timestamp) -> Option<Failed> {
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
