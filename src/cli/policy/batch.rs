//! `palisade policy explain --batch`: one JSON object a line in, one a line out, in order.
//!
//! What could go wrong: a line that stops the rest (it is answered `refuse` with an error instead), an
//! answer that the asker waits for in vain (each is flushed), a line without end (bounded).

use super::Failure;
use crate::{
    authz::{
        explain::{Explanation, Judge, broken, explain},
        question::{Question, ReviewSpec, Subject},
    },
    status::clock,
};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Read, Write},
};

/// A question is a few hundred bytes; a target of a cluster is at most some kilobytes.
const MAX_LINE: u64 = 1 << 20;

#[derive(Deserialize)]
struct Line {
    method: Option<String>,
    path: Option<String>,
    user: Option<String>,
    groups: Option<Vec<String>>,
    cluster: Option<String>,
    spec: Option<ReviewSpec>,
    #[serde(flatten)]
    unknown: BTreeMap<String, serde_json::Value>,
}

/// Answers all lines of standard input.
pub(super) fn run(judge: Judge<'_>, cluster: Option<&str>) -> Result<(), Failure> {
    match answer_all(judge, cluster, io::stdin().lock(), io::stdout().lock()) {
        // A reader that has gone away has what it wanted.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

fn answer_all(
    judge: Judge<'_>,
    cluster: Option<&str>,
    input: impl Read,
    mut output: impl Write,
) -> Result<(), Failure> {
    let mut input = BufReader::new(input);
    let mut line = Vec::new();
    while read_line(&mut input, &mut line).map_err(Failure::Input)? {
        let mut answer = serde_json::to_vec(&answer_line(judge, cluster, &line))
            .map_err(|error| Failure::Output(error.into()))?;
        answer.push(b'\n');
        output.write_all(&answer).map_err(Failure::Output)?;
        output.flush().map_err(Failure::Output)?;
    }
    Ok(())
}

/// Reads up to the next newline; of a line that is too long only the beginning is kept. False: the end.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut read = input.take(MAX_LINE + 1).read_until(b'\n', line)?;
    if read == 0 {
        return Ok(false);
    }
    let mut rest = Vec::new();
    while line.last() != Some(&b'\n') && line.len() as u64 > MAX_LINE && read > 0 {
        rest.clear();
        read = input.take(MAX_LINE).read_until(b'\n', &mut rest)?;
        if rest.last() == Some(&b'\n') {
            break;
        }
    }
    Ok(true)
}

fn answer_line(judge: Judge<'_>, cluster: Option<&str>, line: &[u8]) -> Explanation {
    if line.len() as u64 > MAX_LINE {
        return broken(&format!("the line is longer than {MAX_LINE} bytes"));
    }
    let parsed: Line = match serde_json::from_slice(line) {
        Ok(parsed) => parsed,
        Err(error) => return broken(&format!("not a question: {error}")),
    };
    let unknown: Vec<String> = parsed.unknown.keys().cloned().collect();
    match question(parsed, cluster) {
        Ok(question) => {
            let mut answer = explain(judge, &question, clock::now());
            if !unknown.is_empty() {
                let note = format!("passed over: {}", unknown.join(", "));
                answer.notes.push(note);
            }
            answer
        }
        Err(message) => broken(&message),
    }
}

fn question(line: Line, cluster: Option<&str>) -> Result<Question, String> {
    let cluster = line.cluster.or_else(|| cluster.map(str::to_owned));
    let names_somebody = line.user.is_some() || line.groups.is_some();
    match (line.method, line.path, line.spec) {
        (None, None, Some(spec)) if !names_somebody => spec.question(cluster),
        (None, None, Some(_)) => Err("user and groups of a spec stand inside it".to_owned()),
        (Some(method), Some(path), None) => {
            let subject = Subject {
                user: line.user.unwrap_or_default(),
                groups: line.groups.unwrap_or_default(),
            };
            Question::of_request(&method, &path, subject, cluster)
        }
        _ => Err("a question has method and path, or a spec".to_owned()),
    }
}
