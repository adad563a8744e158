//! `palisade project`, and `bind` and `unbind` with `--project`: the real program against a gateway.

use crate::admin_commands::Desk;
use palisade::objects::{Cluster, ClusterPrivate, ClusterSpec};

/// Bob and carol, the group `team` with carol, and the cluster `prod`.
async fn desk() -> Desk {
    let desk = Desk::new().await;
    desk.gate.user("bob").await;
    desk.gate.user("carol").await;
    desk.gate.group("team", &["carol"]).await;
    let prod = Cluster::new("prod", ClusterSpec::default());
    desk.gate.put(prod, ClusterPrivate::default()).await;
    desk
}

/// Without what is different in each run.
fn steady(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let words = line.split_whitespace().map(|word| match word {
            word if word.len() == 36 && word.matches('-').count() == 4 => "UID",
            word if word.ends_with('s') && word.trim_end_matches('s').parse::<u8>().is_ok() => {
                "AGE"
            }
            word => word,
        });
        words.collect::<Vec<_>>().join(" ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_is_made_shown_joined_and_removed() {
    let desk = desk().await;
    let made = desk
        .ok("project add shop --cluster prod --namespace shop --namespace shop-* --description Sells")
        .await;
    assert_eq!(
        made.out,
        "project shop made: the namespaces shop, shop-* of cluster prod\n"
    );
    desk.ok("project add later -c prod").await;
    insta::assert_snapshot!(steady(&desk.ok("project list").await.out), @r"
    NAME CLUSTER NAMESPACES AGE
    later prod <none> AGE
    shop prod shop,shop-* AGE
    ");
    let bound = desk
        .ok("bind project-owner --user bob --project shop --name bobs")
        .await;
    assert_eq!(
        bound.out,
        "binding bobs made: bob holds project-owner in project shop\n"
    );
    let team = desk
        .ok("bind project-viewer --group team -p shop --expires 8h --name teams")
        .await;
    assert!(team.out.contains("in project shop, until 2"), "{team:?}");
    let members = steady(&desk.ok("project members shop").await.out);
    let members = [" 8h ", " 7h59m ", " 7h "]
        .iter()
        .fold(members, |shown, left| shown.replace(left, " SOON "));
    insta::assert_snapshot!(members, @r"
    NAME ROLE SUBJECT SCOPE EXPIRES AGE
    bobs project-owner User bob project shop never AGE
    teams project-viewer Group team project shop SOON AGE
    ");
    assert_eq!(desk.ok("project members later").await.out, "");
    let shown = desk.ok("project show shop -o json").await.out;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        shown["spec"]["namespaces"],
        serde_json::json!(["shop", "shop-*"])
    );
    let more = desk.ok("project add-namespace shop bank shop").await;
    assert_eq!(more.out, "now in project shop: bank, shop\n");
    let less = desk.ok("project remove-namespace shop bank").await;
    assert_eq!(less.out, "now not in project shop: bank\n");
    let again = desk.ok("project remove-namespace shop bank").await;
    assert_eq!(again.out, "already not in project shop: bank\n");
    assert_eq!(
        desk.ok("project remove shop").await.out,
        "project shop removed\n"
    );
    assert_eq!(desk.ok("bindings --user bob").await.out, "");
    desk.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_taken_out_by_what_they_hold() {
    let desk = desk().await;
    desk.ok("project add shop -c prod -n shop").await;
    for line in [
        "bind project-owner --user bob --project shop --name a",
        "bind project-viewer --user bob --project shop --name b",
        "bind project-member --group team --project shop --name c",
    ] {
        desk.ok(line).await;
    }
    let one = desk
        .ok("unbind --project shop --user bob --role project-owner")
        .await;
    assert_eq!(one.out, "binding a removed\n");
    assert_eq!(
        desk.ok("unbind -p shop -g team").await.out,
        "binding c removed\n"
    );
    desk.refused(
        "unbind -p shop -u carol",
        "carol has no binding in project shop",
    )
    .await;
    assert_eq!(
        desk.ok("unbind -p shop -u bob").await.out,
        "binding b removed\n"
    );
    for line in [
        "unbind",
        "unbind -p shop",
        "unbind a -p shop -u bob",
        "unbind a --role x",
    ] {
        let ended = desk.run_as("", line, "").await;
        assert_eq!(ended.code, Some(2), "{line}: {ended:?}");
    }
    desk.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_at_the_terminal_manages_their_members_and_no_more() {
    let desk = desk().await;
    desk.ok("project add shop -c prod -n shop").await;
    desk.ok("project add store -c prod -n store").await;
    desk.ok("bind project-owner --user bob --project shop")
        .await;
    let hour = jiff::SignedDuration::from_hours(1);
    let token = desk.gate.token("bob", &[], hour).await;
    let bob = async |line: &str| desk.run_as(&token, line, "").await;
    let made = bob("bind project-member --user carol --project shop --name carols").await;
    assert_eq!(made.code, Some(0), "{made:?}");
    let seen = bob("project members shop -o name").await;
    assert_eq!(seen.out.lines().count(), 2, "{seen:?}");
    assert_eq!(bob("project list -o name").await.out.lines().count(), 1);
    for (line, why) in [
        (
            "bind project-member --user carol --project store",
            "is forbidden",
        ),
        (
            "bind cluster-viewer --user bob --all-clusters",
            "is forbidden",
        ),
        ("project add mine -c prod -n mine", "is forbidden"),
        ("project add-namespace shop store", "is forbidden"),
        ("project remove shop", "is forbidden"),
        ("project show store", "is forbidden"),
        ("user list", "is forbidden"),
    ] {
        let refused = bob(line).await;
        assert_eq!(refused.code, Some(1), "{line}: {refused:?}");
        assert!(refused.err.contains(why), "{line}: {refused:?}");
    }
    let gone = bob("unbind --project shop --user carol").await;
    assert_eq!(gone.out, "binding carols removed\n", "{gone:?}");
    desk.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_that_cannot_be_is_refused_with_the_reason() {
    let desk = desk().await;
    desk.ok("project add shop -c prod -n shop -n shop-*").await;
    for (line, why) in [
        ("project add shop -c prod", "already exists"),
        ("project add x -c nope", "spec.cluster: Not found"),
        (
            "project add x -c prod -n shop-eu",
            "a namespace belongs to one project",
        ),
        (
            "project add x -c prod -n *-eu",
            "a namespace belongs to one project",
        ),
        ("project add x -c prod -n kube-system", "spec.namespaces[0]"),
        ("project add x -c prod -n a*b*", "spec.namespaces[0]"),
        ("project add X -c prod", "metadata.name"),
        ("project show nope", "not found"),
        ("project members nope", "not found"),
        ("project remove nope", "not found"),
        ("project add-namespace nope x", "not found"),
        (
            "bind project-member --user bob",
            "say in which, by --project",
        ),
        (
            "bind project-member --user bob --project nope",
            "spec.project: Not found",
        ),
        (
            "bind cluster-viewer --user bob --project shop",
            "only a role of scope project",
        ),
        (
            "bind project-member --user bob --all-clusters",
            "say in which, by --project",
        ),
    ] {
        desk.refused(line, why).await;
    }
    desk.gate.stop().await;
}
