//! `palisade policy status`: how a gateway's policy folder is.

use crate::{
    api::policy_status::PolicyStatus,
    cli::{
        output,
        run::{self, Failure},
        session::{GatewayArgs, connect},
        whoami::Output,
    },
};
use serde_json::Value;
use std::{fmt::Write as _, process::ExitCode};

/// Arguments of `palisade policy status`.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    gateway: GatewayArgs,
    /// Output format
    #[arg(long, short, value_name = "FORMAT")]
    output: Option<Output>,
}

pub(super) fn run(args: &Args) -> ExitCode {
    run::run(show(args))
}

async fn show(args: &Args) -> Result<(), Failure> {
    let gateway = connect(&args.gateway).await?;
    let path = "/policy/status";
    let status: PolicyStatus = gateway.http.get(path).await?;
    let text = match args.output {
        // Read as what it is, so that the two always agree.
        Some(Output::Json) => output::json(&serde_json::to_value(&status).unwrap_or(Value::Null)),
        None => text_of(&status),
    };
    run::print(&text)?;
    match &status.refused {
        None => Ok(()),
        Some(refused) => Err(Failure::said(format!(
            "what is in the folder now was not taken ({} mistake(s)); what counted before counts on",
            refused.mistakes.len()
        ))),
    }
}

fn text_of(status: &PolicyStatus) -> String {
    let PolicyStatus {
        since,
        roles,
        projects,
        bindings,
        ..
    } = status;
    let mut text = format!(
        "counts:    {roles} role(s), {projects} project(s), {bindings} binding(s), since {since}\n"
    );
    if let Some(refused) = &status.refused {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "refused:   since {}", refused.since);
        for mistake in &refused.mistakes {
            let _ = writeln!(text, "  {}", output::printable(mistake));
        }
    }
    if !status.remarks.is_empty() {
        text.push_str("remarks:\n");
    }
    for remark in &status.remarks {
        let _ = writeln!(text, "  {}", output::printable(remark));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::policy_status::Refused;

    #[test]
    fn what_counts_what_was_refused_and_what_is_odd_are_told_apart() {
        let status = PolicyStatus {
            since: "2026-03-01T09:00:00Z".parse().unwrap(),
            roles: 2,
            projects: 3,
            bindings: 5,
            refused: Some(Refused {
                since: "2026-03-01T10:00:00Z".parse().unwrap(),
                mistakes: vec!["/p/a.yaml:3:5: spec.role: there is no role \"x\"".to_owned()],
            }),
            remarks: vec!["a.yaml:9: Binding \"b\" does not count: \u{1b}[31m".to_owned()],
        };
        assert_eq!(
            text_of(&status),
            "counts:    2 role(s), 3 project(s), 5 binding(s), since 2026-03-01T09:00:00Z\n\
             refused:   since 2026-03-01T10:00:00Z\n  \
             /p/a.yaml:3:5: spec.role: there is no role \"x\"\n\
             remarks:\n  a.yaml:9: Binding \"b\" does not count: \u{fffd}[31m\n"
        );
    }
}
