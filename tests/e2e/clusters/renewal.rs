//! Tokens of the accounts, and a cluster that goes away.

use super::world::{LIFE, PATIENCE, World};
use crate::testkit::cluster::LocalCluster;
use palisade::{
    clusters::{IMPERSONATOR, kube},
    objects::Health,
    proxy::endpoint,
};
use std::{sync::Arc, time::Duration};

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_renewed_in_time_and_the_data_path_takes_the_new_one() {
    let world = World::new(Duration::from_secs(3)).await;
    world.connect().await;
    let first = world.held(IMPERSONATOR).await;
    let target = {
        let upstream = world
            .clusters
            .registry()
            .upstream("prod")
            .expect("a data path");
        Arc::clone(upstream.endpoint().target())
    };
    let renewed = async {
        while *world.held(IMPERSONATOR).await == *first {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, renewed)
        .await
        .expect("renewed");
    let token = world.held(IMPERSONATOR).await;
    let bearer = endpoint::bearer(&token).expect("a token");
    let seen = async {
        loop {
            let upstream = world
                .clusters
                .registry()
                .upstream("prod")
                .expect("a data path");
            let endpoint = upstream.endpoint();
            if endpoint.authorization() == bearer {
                assert!(
                    Arc::ptr_eq(endpoint.target(), &target),
                    "connections live on"
                );
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, seen)
        .await
        .expect("taken over");
    let who = kube::who_am_i(&world.speak(&token))
        .await
        .expect("it is good");
    assert_eq!(who, "system:serviceaccount:palisade-system:impersonator");
    world.until_health(Health::Ready).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_goes_away_is_known_to_be_down() {
    let mut world = World::new(LIFE).await;
    world.connect().await;
    world.until_health(Health::Ready).await;
    let upstream = world
        .clusters
        .registry()
        .upstream("prod")
        .expect("a data path");
    assert!(upstream.state().down().is_none());
    let local = std::mem::replace(
        &mut world.local,
        tokio::task::spawn_blocking(LocalCluster::start)
            .await
            .expect("another"),
    );
    tokio::task::spawn_blocking(move || drop(local))
        .await
        .expect("stopped");
    let about = world.until_health(Health::Down).await;
    assert!(about.starts_with("v1."), "the version stays known: {about}");
    assert!(about.contains("127.0.0.1"), "{about}");
    assert!(upstream.state().down().is_some());
}
