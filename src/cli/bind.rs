//! `palisade bind`: somebody gets a role, somewhere, until some time.

use super::{
    own::Own,
    run::{self, Failure},
    session::GatewayArgs,
};
use crate::{
    config::duration,
    objects::{Binding, BindingSpec, Subject, SubjectKind},
    status::clock,
};
use aws_lc_rs::rand;
use jiff::{SignedDuration, Timestamp};
use std::{collections::BTreeMap, process::ExitCode};

/// Longest name of a binding: a DNS label.
const MAX_NAME: usize = 63;
/// Bytes of randomness at the end of a name that nobody chose: five characters.
const SUFFIX: usize = 5;

const EXAMPLES: &str = "Examples:
  palisade bind cluster-viewer --group web-team --all-clusters
  palisade bind cluster-member --user alice --cluster prod-eu --cluster prod-us
  palisade bind cluster-owner --user bob --selector env=dev,team=web --expires 8h
  palisade bind project-member --user carol --project shop
  palisade bind admin --user alice                       # the gateway itself";

/// Arguments of `palisade bind`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The role; `palisade role list` shows them
    role: String,
    #[command(flatten)]
    subject: SubjectArgs,
    #[command(flatten)]
    place: PlaceArgs,
    /// Name of the binding; without it, one is made from role and subject
    #[arg(long)]
    name: Option<String>,
    /// When it ends: after a time (8h, 30d) or at an instant (2026-12-31T18:00:00Z)
    #[arg(long, value_name = "WHEN", value_parser = parse_end)]
    expires: Option<End>,
    #[command(flatten)]
    gateway: GatewayArgs,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct SubjectArgs {
    /// Who gets the role: a user, by handle
    #[arg(short, long)]
    user: Option<String>,
    /// Who gets the role: a group
    #[arg(short, long)]
    group: Option<String>,
}

/// Where it holds: for a role of scope cluster on which clusters, for one of scope project in which project.
#[derive(clap::Args)]
#[group(required = false, multiple = false)]
struct PlaceArgs {
    /// On this cluster; may be given several times
    #[arg(short, long = "cluster", value_name = "CLUSTER")]
    clusters: Vec<String>,
    /// On clusters with these labels, also those registered later
    #[arg(short = 'l', long, value_name = "K=V,…", value_parser = parse_selector)]
    selector: Option<Labels>,
    /// On every cluster, also those registered later
    #[arg(long)]
    all_clusters: bool,
    /// In the namespaces of this project
    #[arg(short, long)]
    project: Option<String>,
}

/// When a binding ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    After(SignedDuration),
    At(Timestamp),
}

/// Labels of a selector.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Labels(BTreeMap<String, String>);

/// Runs `palisade bind`.
pub fn run(args: Args) -> ExitCode {
    run::run(async {
        let own = Own::connect(&args.gateway).await?;
        let binding = binding(args)?;
        let made = own.create(&binding).await.map_err(|failure| {
            let text = failure.to_string();
            let role = &binding.spec.role;
            if binding.spec.project.is_empty() && text.contains("spec.clusters: Required value") {
                return Failure::said(format!(
                    "{role} is a role on clusters: say where, by --cluster, --selector or --all-clusters"
                ));
            }
            if text.contains("spec.project: Required value") {
                return Failure::said(format!(
                    "{role} is a role in projects: say in which, by --project"
                ));
            }
            failure
        })?;
        let spec = &made.spec;
        let end = spec.expires_at.map(|end| format!(", until {end}"));
        run::print(&format!(
            "binding {} made: {} holds {} {}{}\n",
            made.metadata.name,
            spec.subject.name,
            spec.role,
            place(spec),
            end.unwrap_or_default()
        ))
    })
}

fn binding(args: Args) -> Result<Binding, Failure> {
    let (kind, subject) = match (args.subject.user, args.subject.group) {
        (Some(user), _) => (SubjectKind::User, user),
        (None, Some(group)) => (SubjectKind::Group, group),
        (None, None) => return Err(Failure::said("say who: --user or --group")),
    };
    let name = match args.name {
        Some(name) => name,
        None => made_name(&args.role, &subject)?,
    };
    let expires_at = args.expires.map(End::instant).transpose()?;
    let spec = BindingSpec {
        role: args.role,
        subject: Subject {
            kind,
            name: subject,
            uid: String::new(),
        },
        all_clusters: args.place.all_clusters,
        clusters: args.place.clusters,
        cluster_selector: args
            .place
            .selector
            .map(|labels| labels.0)
            .unwrap_or_default(),
        project: args.place.project.unwrap_or_default(),
        expires_at,
        ..BindingSpec::default()
    };
    Ok(Binding::new(name, spec))
}

impl End {
    fn instant(self) -> Result<Timestamp, Failure> {
        match self {
            Self::At(instant) => Ok(instant),
            Self::After(duration) => clock::now()
                .checked_add(duration)
                .map(clock::whole_seconds)
                .map_err(|_| Failure::said("--expires is beyond the end of time")),
        }
    }
}

fn parse_end(text: &str) -> Result<End, String> {
    if let Some(duration) = duration::parse(text) {
        let duration = SignedDuration::try_from(duration);
        return duration.map(End::After).map_err(|error| error.to_string());
    }
    let instant = text.parse::<Timestamp>();
    instant
        .map(|at| End::At(clock::whole_seconds(at)))
        .map_err(|_| {
            "must be a time such as 8h or 30d, or an instant such as 2026-12-31T18:00:00Z"
                .to_owned()
        })
}

fn parse_selector(text: &str) -> Result<Labels, String> {
    let mut labels = BTreeMap::new();
    for term in text.split(',') {
        match term.split_once('=') {
            Some((key, value))
                if !key.is_empty() && !key.ends_with('!') && !value.starts_with('=') =>
            {
                if labels.insert(key.to_owned(), value.to_owned()).is_some() {
                    return Err(format!("the label {key:?} is there twice"));
                }
            }
            Some(_) | None => {
                return Err(format!(
                    "{term:?} must be label=value: a binding selects by equality"
                ));
            }
        }
    }
    Ok(Labels(labels))
}

/// `cluster-viewer-alice-x3k9d`: says what it is, and is not taken.
fn made_name(role: &str, subject: &str) -> Result<String, Failure> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = [0_u8; SUFFIX];
    rand::fill(&mut random).map_err(|_| Failure::said("this machine gives no random numbers"))?;
    let letters = random
        .iter()
        .filter_map(|byte| LETTERS.get(usize::from(byte & 31)));
    let suffix: String = letters.map(|letter| char::from(*letter)).collect();
    let stem = format!("{role}-{subject}").to_ascii_lowercase();
    let stem = stem
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    let stem: String = stem.take(MAX_NAME - 1 - SUFFIX).collect();
    Ok(format!("{}-{suffix}", stem.trim_matches('-')))
}

fn place(spec: &BindingSpec) -> String {
    if spec.all_clusters {
        return "on all clusters".to_owned();
    }
    if !spec.clusters.is_empty() {
        return format!("on {}", spec.clusters.join(", "));
    }
    if !spec.project.is_empty() {
        return format!("in project {}", spec.project);
    }
    if spec.cluster_selector.is_empty() {
        return "on the gateway".to_owned();
    }
    let terms = spec.cluster_selector.iter();
    let terms: Vec<String> = terms.map(|(key, value)| format!("{key}={value}")).collect();
    format!("on clusters with {}", terms.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::check_label;
    use clap::Parser;

    #[derive(clap::Parser)]
    struct Parsed {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<Args, String> {
        let words = line.split(' ');
        let parsed = Parsed::try_parse_from(std::iter::once("bind").chain(words));
        parsed
            .map(|parsed| parsed.args)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_line_becomes_a_binding() {
        let line = "cluster-owner --user bob -l env=dev,team=web --expires 8h --name b1";
        let before = clock::now();
        let made = binding(parse(line).unwrap()).unwrap();
        assert_eq!(made.metadata.name, "b1");
        let spec = made.spec;
        assert_eq!(
            (spec.role.as_str(), spec.subject.name.as_str()),
            ("cluster-owner", "bob")
        );
        assert_eq!(spec.subject.kind, SubjectKind::User);
        assert_eq!(place(&spec), "on clusters with env=dev,team=web");
        let lasts = before.duration_until(spec.expires_at.unwrap());
        assert!((lasts - SignedDuration::from_hours(8)).abs() < SignedDuration::from_secs(5));

        let line = "cluster-viewer --group web -c a --cluster b --expires 2026-12-31T18:00:00Z";
        let spec = binding(parse(line).unwrap()).unwrap().spec;
        assert_eq!(spec.subject.kind, SubjectKind::Group);
        assert_eq!(place(&spec), "on a, b");
        assert_eq!(spec.expires_at.unwrap().to_string(), "2026-12-31T18:00:00Z");

        let line = "project-member -u a --project shop";
        let spec = binding(parse(line).unwrap()).unwrap().spec;
        assert_eq!(place(&spec), "in project shop");

        let spec = binding(parse("admin --user a").unwrap()).unwrap().spec;
        assert_eq!(place(&spec), "on the gateway");
    }

    #[test]
    fn what_is_ambiguous_is_refused() {
        for line in [
            "cluster-owner",
            "cluster-owner --user a --group b",
            "cluster-owner --user a --cluster b --all-clusters",
            "cluster-owner --user a --selector env=dev --cluster b",
            "project-owner --user a --project b --cluster c",
            "cluster-owner --user a --selector env",
            "cluster-owner --user a --selector env!=dev",
            "cluster-owner --user a --selector env==dev",
            "cluster-owner --user a --selector env=dev,env=prod",
            "cluster-owner --user a --selector =dev",
            "cluster-owner --user a --expires soon",
            "cluster-owner --user a --expires 8",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_made_name_is_a_label_whatever_it_is_made_of() {
        for (role, subject) in [
            ("cluster-viewer", "alice"),
            ("cluster-viewer", "github:Alice.B_c"),
            (&*"r".repeat(63), &*"s".repeat(63)),
            ("-", "-"),
        ] {
            let name = made_name(role, subject).unwrap();
            assert_ne!(name, made_name(role, subject).unwrap());
            if role != "-" {
                assert_eq!(check_label(&name), Ok(()), "{name}");
            }
        }
        assert!(
            made_name("cluster-viewer", "alice")
                .unwrap()
                .starts_with("cluster-viewer-alice-")
        );
    }
}
