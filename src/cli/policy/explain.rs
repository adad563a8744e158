//! `palisade policy explain`.
#![expect(clippy::print_stderr, reason = "a command speaks to a person")]

use super::{Failure, batch, judge, policy, print, tell};
use crate::{
    authz::{
        explain::{Verdict, explain, text},
        question::{AskedAttributes, Question, Subject},
    },
    status::clock,
};
use std::{path::PathBuf, process::ExitCode};

/// Arguments of `palisade policy explain`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Method of the request.
    #[arg(long, default_value = "GET", conflicts_with = "batch")]
    method: String,
    /// Path of the request, with its query: the cluster's own if --cluster is given, else the gateway's
    /// (/k8s/clusters/NAME/… or its own API).
    #[arg(
        long,
        required_unless_present_any = ["batch", "acts_as"],
        conflicts_with_all = ["batch", "acts_as"]
    )]
    path: Option<String>,
    #[command(flatten)]
    acting: Acting,
    /// Name of the user.
    #[arg(long, conflicts_with = "batch")]
    user: Option<String>,
    /// A group of the user; may be given several times.
    #[arg(long = "group", value_name = "GROUP", conflicts_with = "batch")]
    groups: Vec<String>,
    /// The cluster that is asked about. In a batch: for lines that name none.
    #[arg(long)]
    cluster: Option<String>,
    /// The policy folder; without it the built-in roles, which nobody is bound to.
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// Judge by the RBAC manifests of the folder, though it holds roles and bindings of the gateway.
    #[arg(long)]
    cluster_rbac: bool,
    /// How to answer.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// End with 1 if the decision is another.
    #[arg(long, value_enum, conflicts_with = "batch")]
    expect: Option<Expected>,
    /// Read one JSON object a line from standard input, and answer each with one, in order.
    #[arg(long)]
    batch: bool,
}

/// Instead of a request: whether the user may act as another.
#[derive(clap::Args)]
struct Acting {
    /// Instead of a path: whether the user may act as this one (kubectl --as).
    #[arg(
        long = "as",
        id = "acts_as",
        value_name = "NAME",
        conflicts_with = "batch"
    )]
    user: Option<String>,
    /// … in this group; may be given several times.
    #[arg(
        long = "as-group",
        id = "as_group",
        value_name = "GROUP",
        requires = "acts_as"
    )]
    groups: Vec<String>,
    /// … with this uid.
    #[arg(
        long = "as-uid",
        id = "as_uid",
        value_name = "UID",
        requires = "acts_as"
    )]
    uid: Option<String>,
    /// … with this extra; may be given several times.
    #[arg(long = "as-user-extra", id = "as_user_extra", value_name = "KEY=VALUE", requires = "acts_as", value_parser = extra)]
    extras: Vec<(String, String)>,
}

fn extra(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Output {
    Text,
    Json,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Expected {
    Allow,
    Deny,
    Refuse,
}

impl Expected {
    fn verdict(self) -> Verdict {
        match self {
            Self::Allow => Verdict::Allow,
            Self::Deny => Verdict::Deny,
            Self::Refuse => Verdict::Refuse,
        }
    }
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let folder = policy(args.policies.as_deref())?;
    if !folder.mistakes.is_empty() {
        tell(&folder);
        eprintln!("error: {} is no policy as it stands", folder.path.display());
        return Ok(ExitCode::FAILURE);
    }
    let judge = judge(&folder, args.cluster_rbac).map_err(Failure::Arguments)?;
    if args.batch {
        batch::run(judge, args.cluster.as_deref())?;
        return Ok(ExitCode::SUCCESS);
    }
    let subject = Subject {
        user: args.user.clone().unwrap_or_default(),
        groups: args.groups.clone(),
    };
    if subject.user.is_empty() && subject.groups.is_empty() {
        let message = "say who asks: --user, --group or both".to_owned();
        return Err(Failure::Arguments(message));
    }
    let mut shown = String::new();
    let mut questions = args.questions(&subject)?.into_iter();
    let (asked, answer) = loop {
        let (asked, question) = questions
            .next()
            .ok_or_else(|| Failure::Arguments("say what is asked: --path or --as".to_owned()))?;
        let answer = explain(judge, &question, clock::now());
        // The first that is not allowed is the answer to all.
        if answer.decision != Verdict::Allow || questions.len() == 0 {
            break (asked, answer);
        }
        shown = shown + &text::show(&answer, asked.as_deref()) + "\n";
    };
    if args.output == Output::Json {
        let json =
            serde_json::to_string_pretty(&answer).map_err(|error| Failure::Output(error.into()))?;
        print(&format!("{json}\n"))?;
    } else {
        shown.push_str(&text::show(&answer, asked.as_deref()));
        print(&shown)?;
    }
    let unexpected = args
        .expect
        .map(Expected::verdict)
        .filter(|wanted| *wanted != answer.decision);
    if let Some(wanted) = unexpected {
        eprintln!(
            "error: expected {}, got {}",
            wanted.word(),
            answer.decision.word()
        );
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

impl Args {
    /// What is asked, each as it was typed, if it was: a request, or the rights that acting as another takes.
    fn questions(&self, subject: &Subject) -> Result<Vec<(Option<String>, Question)>, Failure> {
        let Some(user) = &self.acting.user else {
            let path = self.path.as_deref().unwrap_or_default();
            let cluster = self.cluster.clone();
            let question = Question::of_request(&self.method, path, subject.clone(), cluster)
                .map_err(Failure::Arguments)?;
            return Ok(vec![(Some(format!("{} {path}", self.method)), question)]);
        };
        let right = |group: &str, resource: &str, subresource: &str, name: &str| {
            let asked = AskedAttributes {
                verb: "impersonate".to_owned(),
                group: group.to_owned(),
                resource: resource.to_owned(),
                subresource: subresource.to_owned(),
                name: name.to_owned(),
                ..AskedAttributes::default()
            };
            Question::of_attributes(asked, subject.clone(), self.cluster.clone())
                .map(|question| (None, question))
                .map_err(Failure::Arguments)
        };
        let authentication = "authentication.k8s.io";
        let acting = &self.acting;
        let user = std::iter::once(right("", "users", "", user));
        let groups = acting
            .groups
            .iter()
            .map(|name| right("", "groups", "", name));
        let extras = acting.extras.iter();
        let extras = extras.map(|(key, value)| right(authentication, "userextras", key, value));
        let uid = acting
            .uid
            .iter()
            .map(|uid| right(authentication, "uids", "", uid));
        user.chain(groups).chain(extras).chain(uid).collect()
    }
}
