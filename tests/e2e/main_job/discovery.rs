//! What every kubectl asks before anything else.

use super::world::{MEMBER, VIEWER, World, with_each};
use crate::testkit::{cluster::kubectls, process::run};

#[test]
fn every_kubectl_discovers_the_cluster_and_lists_its_objects() {
    let world = World::shared();
    with_each(&kubectls(), |version, program| {
        let mia = || world.kubectl(MEMBER, program);
        let pods = run(mia().args(["get", "pods"])).ok();
        assert!(
            pods.starts_with("NAME") && pods.contains("shell"),
            "{version}: {pods}"
        );
        let names = run(mia().args(["get", "pods,configmaps", "-A", "-o", "name"])).ok();
        assert!(names.contains("pod/web"), "{version}: {names}");
        let resources = run(mia().args(["api-resources", "--api-group=apps", "-o", "name"])).ok();
        let mut resources: Vec<&str> = resources.lines().collect();
        resources.sort_unstable();
        let apps = [
            "controllerrevisions.apps",
            "daemonsets.apps",
            "deployments.apps",
            "replicasets.apps",
            "statefulsets.apps",
        ];
        assert_eq!(resources, apps, "{version}");
        let explained = run(mia().args(["explain", "pods.spec.containers.image"])).ok();
        assert!(
            explained.contains("Container image name"),
            "{version}: {explained}"
        );

        let vic = || world.kubectl_static(VIEWER, program);
        let nodes = run(vic().args(["get", "nodes", "-o", "jsonpath={.items[*].kind}"])).ok();
        assert_eq!(nodes, "Node", "{version}");
        let about = run(vic().args(["version", "-o", "json"])).ok();
        assert!(about.contains("\"serverVersion\""), "{version}: {about}");
    });
    assert!(world.check_audit() > 0);
}
