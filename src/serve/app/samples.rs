//! What `/metrics` asks for at every scrape: what a part knows of itself without counting.

use crate::{
    authn::passwords::Passwords,
    clusters::{Registry, registry::Entry},
    objects::{Health, Step},
    observe::{
        audit::Counts,
        metrics::{
            Family, Metrics,
            catalog::{self as c, Metric},
            labels::{AuditEnd, ClusterHealth, ClusterStep, ClusterWrite},
            meter,
        },
    },
    store::follow::Follower,
};
use std::{
    fmt,
    sync::{Arc, atomic::Ordering::Relaxed},
};

/// Registers all of them.
pub(super) fn register(
    metrics: &Metrics,
    follower: &Follower,
    registry: &Arc<Registry>,
    passwords: &Passwords,
    audit: &Arc<Counts>,
) {
    of_store(metrics, follower);
    of_audit(metrics, audit);
    of_clusters(metrics, registry);
    of_standing(metrics, registry);
    let own = passwords.clone();
    metrics.sample(&c::HASHES_RUNNING, move |f| {
        f.gauge(&[], whole(own.running()))
    });
    let own = passwords.clone();
    metrics.sample(&c::HASHES_WAITING, move |f| {
        f.gauge(&[], whole(own.waiting()))
    });
}

fn of_store(metrics: &Metrics, follower: &Follower) {
    let own = follower.clone();
    metrics.sample(&c::STORE_REVISION, move |f| {
        f.gauge(&[], whole(own.heard()))
    });
    let own = follower.clone();
    metrics.sample(&c::STORE_APPLIED, move |f| {
        f.gauge(&[], whole(own.applied()))
    });
    let own = follower.clone();
    metrics.sample(&c::STORE_AGE, move |f| match own.age() {
        Some(age) => f.level(&[], age.as_secs_f64()),
        None => Ok(()),
    });
    let own = follower.clone();
    metrics.sample(&c::STORE_BREAKS, move |f| f.count(&[], own.breaks()));
}

fn of_audit(metrics: &Metrics, audit: &Arc<Counts>) {
    let own = Arc::clone(audit);
    metrics.sample(&c::AUDIT_QUEUE, move |f| f.gauge(&[], own.queued.get()));
    let own = Arc::clone(audit);
    metrics.sample(&c::AUDIT_EVENTS, move |f| {
        let ends = [
            (AuditEnd::Written, &own.written),
            (AuditEnd::Dropped, &own.dropped),
            (AuditEnd::LeftOut, &own.left_out),
        ];
        let mut ends = ends.into_iter();
        ends.try_for_each(|(end, counted)| f.count(&[end.into()], counted.get()))
    });
    let own = Arc::clone(audit);
    metrics.sample(&c::AUDIT_REFUSALS, move |f| f.count(&[], own.refused.get()));
    let own = Arc::clone(audit);
    metrics.sample(&c::AUDIT_FAILURES, move |f| {
        f.count(&[], own.failures.get())
    });
    let own = Arc::clone(audit);
    metrics.sample(&c::AUDIT_FAILING, move |f| f.gauge(&[], own.failing.get()));
}

fn of_clusters(metrics: &Metrics, registry: &Arc<Registry>) {
    let own = Arc::clone(registry);
    metrics.sample(&c::CLUSTERS, move |f| {
        f.gauge(&[], whole(own.names().len()))
    });
    each(metrics, registry, &c::CLUSTER_HEALTH, |f, name, entry| {
        let now = health(entry.report().health);
        let mut all = <ClusterHealth as strum::VariantArray>::VARIANTS.iter();
        all.try_for_each(|state| f.gauge(&[name, (*state).into()], i64::from(*state == now)))
    });
    each(
        metrics,
        registry,
        &c::CREDENTIAL_EXPIRY,
        |f, name, entry| {
            let Some(held) = &entry.credential else {
                return Ok(());
            };
            let ends = held.impersonator.expires_at.min(held.reconciler.expires_at);
            f.gauge(&[name], ends.as_second())
        },
    );
}

/// How clusters stand to policy.
fn of_standing(metrics: &Metrics, registry: &Arc<Registry>) {
    each(metrics, registry, &c::CLUSTER_STEP, |f, name, entry| {
        let now = step(entry.standing().view().status.state);
        let mut all = <ClusterStep as strum::VariantArray>::VARIANTS.iter();
        all.try_for_each(|state| f.gauge(&[name, (*state).into()], i64::from(*state == now)))
    });
    each(metrics, registry, &c::CLUSTER_BEHIND, |f, name, entry| {
        f.gauge(&[name], whole(entry.standing().view().status.behind))
    });
    each(metrics, registry, &c::CLUSTER_FOREIGN, |f, name, entry| {
        f.gauge(&[name], whole(entry.standing().view().status.foreign))
    });
    each(metrics, registry, &c::CLUSTER_WRITES, |f, name, entry| {
        let tally = &entry.standing().tally;
        let results = [
            (ClusterWrite::Written, &tally.writes),
            (ClusterWrite::Removed, &tally.removals),
            (ClusterWrite::Failed, &tally.failures),
        ];
        let mut results = results.into_iter();
        results.try_for_each(|(result, counted)| {
            f.count(&[name, result.into()], counted.load(Relaxed))
        })
    });
    each(metrics, registry, &c::CLUSTER_DRIFT, |f, name, entry| {
        f.count(&[name], entry.standing().tally.drift.load(Relaxed))
    });
    each(metrics, registry, &c::CLUSTER_LISTS, |f, name, entry| {
        f.count(&[name], entry.standing().tally.lists.load(Relaxed))
    });
}

/// Writes a metric for every cluster, up to the bound on series.
fn each(
    metrics: &Metrics,
    registry: &Arc<Registry>,
    metric: &'static Metric,
    write: impl Fn(&mut Family<'_>, &str, &Entry) -> fmt::Result + Send + Sync + 'static,
) {
    let registry = Arc::clone(registry);
    metrics.sample(metric, move |f| {
        let mut names = registry.names();
        names.sort_unstable();
        names.truncate(meter::CLUSTERS);
        for name in names {
            if let Some(entry) = registry.entry(&name) {
                write(f, &name, &entry)?;
            }
        }
        Ok(())
    });
}

fn health(health: Health) -> ClusterHealth {
    match health {
        Health::Ready => ClusterHealth::Ready,
        Health::Down => ClusterHealth::Down,
        Health::Refused => ClusterHealth::Refused,
        Health::Pending => ClusterHealth::Pending,
        Health::Unknown => ClusterHealth::Unknown,
    }
}

fn step(step: Step) -> ClusterStep {
    match step {
        Step::InStep => ClusterStep::InStep,
        Step::Behind => ClusterStep::Behind,
        Step::Unknown => ClusterStep::Unknown,
    }
}

/// Numbers that are counted one by one fit.
fn whole(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
