//! `palisade sessions`: where one is logged in, and ending that; for administrators those of others.
//!
//! A session is a token that a login made, so the rights are those of `palisade token`. What could go wrong: an id
//! of a token for programs, which this command leaves alone.

use super::{
    output::{self, Format, OutputArgs, Table},
    own::{Listed, Own, Row},
    run::{self, Failure},
    session::GatewayArgs,
    whoami::{self, UserInfo},
};
use crate::objects::{Token, TokenKind};
use http::StatusCode;
use serde_json::Value;
use std::process::ExitCode;

/// Extra of a self review: the token that asks.
const TOKEN_ID: &str = "palisade.dev/token-id";
/// Columns of the gateway that say something about a session, in order, and what they are called here.
const COLUMNS: [(&str, &str); 6] = [
    ("Name", "Id"),
    ("Kind", "Kind"),
    ("Display Name", "Login of"),
    ("Age", "Since"),
    ("Last Used", "Last Used"),
    ("Expires", "Expires"),
];
/// Where the login came from, in the object; an older gateway does not know.
const ADDRESS: &str = "/status/address";

/// Arguments of `palisade sessions`.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Show sessions; this is what `palisade sessions` alone does
    List(ListArgs),
    /// End sessions: they are refused from the next request on
    End(EndArgs),
}

#[derive(clap::Args)]
struct ListArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
    /// Those of this user; for administrators
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(clap::Args)]
struct EndArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
    /// Ids, as `palisade sessions` shows them
    #[arg(required_unless_present = "others", value_name = "ID")]
    ids: Vec<String>,
    /// All but the one that this command uses
    #[arg(long, conflicts_with = "ids")]
    others: bool,
    /// Those of this user; for administrators
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

/// Runs `palisade sessions`.
pub fn run(args: &Args) -> ExitCode {
    match &args.command {
        None => run::run(list(&args.list)),
        Some(Command::List(args)) => run::run(list(args)),
        Some(Command::End(args)) => run::run(end(args)),
    }
}

async fn list(args: &ListArgs) -> Result<(), Failure> {
    let own = Own::connect(&args.gateway).await?;
    let me = whoami::ask(own.http()).await?;
    let sessions = sessions(&own, args.user.as_deref(), &me).await?;
    match args.output.output {
        Format::Table | Format::Wide if sessions.rows().is_empty() => {
            run::tell("no sessions found");
            Ok(())
        }
        Format::Table | Format::Wide => run::print(&table(&sessions, own_id(&me))),
        format @ (Format::Json | Format::Yaml | Format::Name) => sessions.print::<Token>(format),
    }
}

async fn end(args: &EndArgs) -> Result<(), Failure> {
    let own = Own::connect(&args.gateway).await?;
    let me = whoami::ask(own.http()).await?;
    let sessions = sessions(&own, args.user.as_deref(), &me).await?;
    let ids: Vec<&str> = if args.others {
        sessions.names().filter(|id| *id != own_id(&me)).collect()
    } else {
        args.ids.iter().map(String::as_str).collect()
    };
    // Before the first is ended: a mistake ends none.
    for id in &ids {
        if !sessions.names().any(|known| known == *id) {
            return Err(unknown(id, args.user.as_deref()));
        }
    }
    if ids.is_empty() {
        run::tell("there are no others");
    }
    for id in ids {
        match own.delete::<Token>(id).await {
            Ok(()) => {}
            // It has ended by itself since.
            Err(Failure::Http(error)) if error.code() == Some(StatusCode::NOT_FOUND) => {}
            Err(other) => return Err(other),
        }
        let more = if id == own_id(&me) {
            ", the one that this command used: run palisade login"
        } else {
            ""
        };
        run::print(&format!("ended {id}{more}\n"))?;
    }
    Ok(())
}

fn unknown(id: &str, user: Option<&str>) -> Failure {
    let of = user.map_or(String::new(), |user| {
        format!(" of {}", output::printable(user))
    });
    Failure::said(format!(
        "{} is no session{of}: palisade sessions shows their ids, and tokens are revoked by palisade token revoke",
        output::printable(id)
    ))
}

/// The caller's, or those of a user.
async fn sessions(own: &Own, user: Option<&str>, me: &UserInfo) -> Result<Listed, Failure> {
    // Asked for by name: an administrator sees everybody's, and a listing has an end.
    let of = format!("spec.user.name={}", user.unwrap_or(&me.username));
    let mut tokens = own.list_where::<Token>(&of).await?;
    let owner = |row: &Row| match user {
        Some(user) => field(row, "/spec/user/name") == Some(user),
        None => field(row, "/spec/user/uid") == Some(me.uid.as_str()),
    };
    tokens.retain(|row| owner(row) && is_session(row));
    Ok(tokens)
}

/// Made by a login, of whatever kind.
fn is_session(row: &Row) -> bool {
    let kind = row.object.pointer("/spec/kind").cloned();
    let kind = kind.map(serde_json::from_value::<TokenKind>);
    !matches!(kind, None | Some(Ok(TokenKind::Pat)))
}

fn field<'a>(row: &'a Row, path: &str) -> Option<&'a str> {
    row.object.pointer(path).and_then(Value::as_str)
}

fn own_id(me: &UserInfo) -> &str {
    let values = me.extra.get(TOKEN_ID).map(Vec::as_slice);
    values
        .unwrap_or_default()
        .first()
        .map_or("", String::as_str)
}

/// The gateway's columns, with a mark at the session that asks.
fn table(sessions: &Listed, own: &str) -> String {
    let known = |(theirs, ours)| Some((sessions.column(theirs)?, ours));
    let columns: Vec<(usize, &str)> = COLUMNS.into_iter().filter_map(known).collect();
    let heads = columns.iter().map(|(_, ours)| *ours);
    let mut table = Table::new(heads.chain(["From", ""]));
    for row in sessions.rows() {
        let cells = columns.iter().map(|(at, _)| row.cell(*at));
        let mark = if field(row, "/metadata/name") == Some(own) {
            "this one"
        } else {
            ""
        };
        let from = field(row, ADDRESS).unwrap_or_default();
        table.row(cells.chain([from.to_owned(), mark.to_owned()]));
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn listed() -> Listed {
        let row = |id: &str, kind: &str, what: &str| {
            json!({
                "cells": [id, "jane", what, kind, "all", "15h", "2m", "1h"],
                "object": {
                    "metadata": {"name": id},
                    "spec": {"kind": kind, "user": {"name": "jane"}},
                    "status": {"address": "203.0.113.7"},
                },
            })
        };
        serde_json::from_value(json!({
            "columnDefinitions": [
                {"name": "Name"}, {"name": "User"}, {"name": "Display Name"}, {"name": "Kind"},
                {"name": "Clusters"}, {"name": "Expires"}, {"name": "Last Used"}, {"name": "Age"},
            ],
            "rows": [
                row("s1", "ses", "palisade 1.0 on laptop"),
                row("p1", "pat", "ci"),
                row("w1", "web", "Firefox"),
            ],
        }))
        .unwrap()
    }

    #[test]
    fn what_a_login_made_is_a_session_and_the_own_one_is_marked() {
        let mut listed = listed();
        listed.retain(is_session);
        assert_eq!(
            table(&listed, "s1"),
            "ID   KIND   LOGIN OF                 SINCE   LAST USED   EXPIRES   FROM\n\
             s1   ses    palisade 1.0 on laptop   1h      2m          15h       203.0.113.7   this one\n\
             w1   web    Firefox                  1h      2m          15h       203.0.113.7\n"
        );
    }
}
