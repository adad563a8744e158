//! `palisade bindings`: who holds which role, where, and until when.

use super::{
    output::OutputArgs,
    own::{Own, Row},
    run::{self, Failure},
    session::GatewayArgs,
};
use crate::objects::{Binding, BindingSpec, Cluster, Project, SubjectKind};
use std::process::ExitCode;

/// Arguments of `palisade bindings`.
#[derive(clap::Args)]
pub struct Args {
    /// Those that name this user, not those of the user's groups
    #[arg(short, long, conflicts_with = "group")]
    user: Option<String>,
    /// Those that name this group
    #[arg(short, long)]
    group: Option<String>,
    /// Those that hold on this cluster
    #[arg(short, long)]
    cluster: Option<String>,
    /// Those in this project
    #[arg(short, long)]
    project: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// Runs `palisade bindings`.
pub fn run(args: &Args) -> ExitCode {
    run::run(async {
        let own = Own::connect(&args.gateway).await?;
        let place = match &args.cluster {
            Some(name) => Some(Place::find(&own, name).await?),
            None => None,
        };
        let mut listed = own.list::<Binding>().await?;
        listed.retain(|row| is_wanted(row, args, place.as_ref()));
        listed.print::<Binding>(args.output.output)
    })
}

/// Whether a row is a binding in this project.
pub(super) fn is_in(row: &Row, project: &str) -> bool {
    let found = row.object.pointer("/spec/project");
    found.and_then(serde_json::Value::as_str) == Some(project)
}

/// A cluster, and the names of its projects: a binding in one of them holds on the cluster too.
struct Place {
    cluster: Cluster,
    projects: Vec<String>,
}

impl Place {
    async fn find(own: &Own, name: &str) -> Result<Self, Failure> {
        let cluster = own.get::<Cluster>(name).await?;
        let listed = own.list::<Project>().await?;
        let projects = listed.objects().filter_map(|object| {
            let project: Project = serde_json::from_value(object.clone()).ok()?;
            (project.spec.cluster == name).then_some(project.metadata.name)
        });
        let projects = projects.collect();
        Ok(Self { cluster, projects })
    }
}

/// Whether the options want this binding; one that cannot be read is not hidden.
fn is_wanted(row: &Row, args: &Args, place: Option<&Place>) -> bool {
    let Ok(Binding { spec, .. }) = serde_json::from_value::<Binding>(row.object.clone()) else {
        return true;
    };
    let names = |kind: SubjectKind, name: &Option<String>| {
        name.as_ref()
            .is_none_or(|name| spec.subject.kind == kind && spec.subject.name == *name)
    };
    names(SubjectKind::User, &args.user)
        && names(SubjectKind::Group, &args.group)
        && args
            .project
            .as_ref()
            .is_none_or(|project| spec.project == *project)
        && place.is_none_or(|place| {
            covers(&spec, &place.cluster) || place.projects.contains(&spec.project)
        })
}

fn covers(spec: &BindingSpec, cluster: &Cluster) -> bool {
    let labels = &cluster.metadata.labels;
    let selects = || {
        let mut terms = spec.cluster_selector.iter();
        !spec.cluster_selector.is_empty()
            && terms.all(|(key, value)| labels.get(key) == Some(value))
    };
    spec.all_clusters || spec.clusters.contains(&cluster.metadata.name) || selects()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::ClusterSpec;
    use std::collections::BTreeMap;

    fn labels(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
        let labels = labels.iter();
        labels
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn bindings_of_a_cluster_are_those_that_hold_there() {
        let mut cluster = Cluster::new("prod", ClusterSpec::default());
        cluster.metadata.labels = labels(&[("env", "prod")]);
        let on = |name: &str| BindingSpec {
            clusters: vec![name.to_owned()],
            ..BindingSpec::default()
        };
        let with = |selector: &[(&str, &str)]| BindingSpec {
            cluster_selector: labels(selector),
            ..BindingSpec::default()
        };
        let everywhere = BindingSpec {
            all_clusters: true,
            ..BindingSpec::default()
        };
        for spec in [everywhere, on("prod"), with(&[("env", "prod")])] {
            assert!(covers(&spec, &cluster), "{spec:?}");
        }
        for spec in [
            BindingSpec::default(),
            on("dev"),
            with(&[("env", "dev")]),
            with(&[("env", "prod"), ("x", "y")]),
        ] {
            assert!(!covers(&spec, &cluster), "{spec:?}");
        }
    }
}
