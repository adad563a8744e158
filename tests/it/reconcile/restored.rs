//! A cluster whose store was put back from a copy, and one whose watch says what nobody can read.

use super::*;

const RUNNER: &str = "clusterroles/palisade:cluster:runner";

fn verbs(fake: &FakeCluster) -> Option<Value> {
    Some(fake.get(RUNNER)?["rules"][0]["verbs"].clone())
}

// Rights that were taken away after the copy was made are in it; nothing says so: a watch from a version that is still
// to come is silent.
#[tokio::test]
async fn a_cluster_that_was_put_back_from_a_copy_is_brought_in_step_again() {
    comes_back_from_a_copy(false).await;
}

// `etcdutl snapshot restore --bump-revision --mark-compacted`: every watch is told, and the objects have old versions.
#[tokio::test]
async fn a_cluster_that_was_put_back_and_counts_on_is_brought_in_step_again() {
    comes_back_from_a_copy(true).await;
}

async fn comes_back_from_a_copy(counts_on: bool) {
    let (gate, fake) = world().await;
    gate.role_with("runner", "pods", &["get", "create"]).await;
    add_role(&gate, "passing").await;
    until("it is known", &gate, || sends(&gate, "runner")).await;
    until_in_step(&gate).await;
    let copy = fake.copy();
    gate.role_with("runner", "pods", &["get"]).await;
    gate.delete::<Role>("passing").await;
    let passing = |fake: &FakeCluster| fake.paths().iter().any(|path| path.ends_with("passing"));
    until("it shrinks", &gate, || verbs(&fake) == Some(json!(["get"]))).await;
    until("it goes", &gate, || !passing(&fake)).await;
    add_role(&gate, "late").await;

    fake.put_back(copy, counts_on);
    assert_eq!(verbs(&fake), Some(json!(["get", "create"])));
    assert!(passing(&fake));
    until("it shrinks again", &gate, || {
        verbs(&fake) == Some(json!(["get"]))
    })
    .await;
    until("it goes again", &gate, || !passing(&fake)).await;
    let late = "clusterroles/palisade:cluster:late";
    until("it comes again", &gate, || fake.get(late).is_some()).await;
    until_in_step(&gate).await;
    // And it goes on from there.
    fake.delete(late);
    until("it is put back", &gate, || fake.get(late).is_some()).await;
    gate.stop().await;
}

#[tokio::test]
async fn a_watch_that_nobody_can_read_is_opened_ever_more_seldom_and_told_once() {
    let (gate, fake) = world().await;
    let opened = || {
        let calls = fake.calls();
        let of = |target: &str| target.contains("/rolebindings?") && target.contains("watch=1");
        calls.iter().filter(|call| of(&call.target)).count()
    };
    let before = opened();
    fake.babble("rolebindings");
    let troubled = || sync(&gate).message.contains("event");
    until("it is told", &gate, troubled).await;
    let mut told = true;
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        told &= troubled();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(told, "it is not taken back with every try");
    // After 0.1 s, and each time twice as long, with a third more or less.
    let tries = opened() - before;
    assert!((2..=8).contains(&tries), "{tries}");
    // Once it has forgotten that, all is well.
    fake.forget();
    until("it is read again", &gate, || !troubled()).await;
    until_in_step(&gate).await;
    gate.stop().await;
}
