//! Nobody gives what they do not hold, where they do not hold it, nor for longer.

use super::super::access::Operation;
use super::super::authority::Authority;
use super::super::draft::Draft;
use super::super::query::DryRun;
use super::super::resource::Context;
use super::super::{bound, settle};
use super::*;
use crate::objects::{ClusterSpec, GROUP, Project, ProjectSpec};
use crate::store::StoreError;

mod clerks;

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> PolicyRule {
    let own = |list: &[&str]| list.iter().map(ToString::to_string).collect();
    PolicyRule {
        verbs: own(verbs),
        api_groups: vec![group.to_owned()],
        resources: own(resources),
        ..PolicyRule::default()
    }
}

fn subject(kind: SubjectKind, name: &str) -> Subject {
    Subject {
        kind,
        name: name.to_owned(),
        uid: format!("u-{name}"),
    }
}

fn in_project(name: &str, role: &str, user: &str, project: &str) -> Value {
    let mut binding = binding(name, role, user);
    binding["spec"]["project"] = project.into();
    binding
}

fn binding_of(name: &str, role: &str, user: &str, project: &str) -> Binding {
    let spec = BindingSpec {
        role: role.to_owned(),
        subject: subject(SubjectKind::User, user),
        project: project.to_owned(),
        project_uid: format!("u-{project}"),
        ..BindingSpec::default()
    };
    Binding::new(name, spec)
}

fn forbidden(got: &Got, why: &str) {
    assert_eq!(got.0, 403, "{}", got.1);
    assert!(message(got).contains(why), "{}", message(got));
}

impl World {
    /// The cluster `prod` with the projects `shop` and `store`. Roles of scope project: `worker` makes Pods, `reader`
    /// reads Secrets, `owner` is a worker who manages members. `jane` owns the shop, `mia` holds nothing.
    async fn with_projects() -> Self {
        let world = Self::new().await;
        world.put_user("mia", "u-mia").await;
        world
            .put(Cluster::new("prod", ClusterSpec::default()), "u-prod")
            .await;
        for (name, namespaces) in [("shop", ["shop", "shop-*"]), ("store", ["store", "goods"])] {
            let spec = ProjectSpec {
                cluster: "prod".to_owned(),
                namespaces: namespaces.map(str::to_owned).into(),
                ..ProjectSpec::default()
            };
            let uid = format!("u-{name}");
            world.put(Project::new(name, spec), &uid).await;
        }
        let pods = rule("", &["pods"], &["get", "list", "create"]);
        let members = rule(
            GROUP,
            &["bindings"],
            &["get", "list", "create", "update", "delete"],
        );
        let all = RoleScope::Project;
        world.role("worker", all, &[], vec![pods.clone()]).await;
        world.role("owner", all, &["worker"], vec![members]).await;
        let secrets = rule("", &["secrets"], &["get"]);
        world.role("reader", all, &[], vec![secrets]).await;
        world
            .role("pods", RoleScope::Cluster, &[], vec![pods])
            .await;
        world.bind_in("janes", "owner", "jane", "shop", None).await;
        world
    }

    async fn role(&self, name: &str, scope: RoleScope, inherits: &[&str], rules: Vec<PolicyRule>) {
        let spec = RoleSpec {
            scope,
            inherits: inherits.iter().map(ToString::to_string).collect(),
            rules,
            ..RoleSpec::default()
        };
        self.put(Role::new(name, spec), &format!("r-{name}")).await;
    }

    /// Past the API.
    async fn bind_in(
        &self,
        name: &str,
        role: &str,
        user: &str,
        project: &str,
        expires_at: Option<Timestamp>,
    ) {
        let spec = BindingSpec {
            role: role.to_owned(),
            subject: subject(SubjectKind::User, user),
            project: project.to_owned(),
            project_uid: format!("u-{project}"),
            expires_at,
            ..BindingSpec::default()
        };
        self.put(Binding::new(name, spec), &format!("b-{name}"))
            .await;
    }

    /// A role on `prod`, past the API.
    async fn bind_on_prod(&self, name: &str, role: &str, subject: Subject) {
        let spec = BindingSpec {
            role: role.to_owned(),
            subject,
            clusters: vec!["prod".to_owned()],
            ..BindingSpec::default()
        };
        self.put(Binding::new(name, spec), &format!("b-{name}"))
            .await;
    }
}

#[tokio::test]
async fn owners_manage_the_members_of_their_project() {
    let world = World::with_projects().await;
    world.bind_in("other", "worker", "mia", "store", None).await;
    let got = world
        .jane(
            "POST",
            "bindings",
            in_project("mias", "worker", "mia", "shop"),
        )
        .await;
    assert_eq!(got.0, 201, "{}", got.1);
    assert_eq!(got.1["spec"]["projectUid"], "u-shop");
    // What one holds oneself one may give, also the owner's role.
    let second = in_project("second", "owner", "mia", "shop");
    assert_eq!(world.jane("POST", "bindings", second).await.0, 201);
    // They see the bindings of their project, and no others.
    let seen = world.jane("GET", "bindings", Value::Null).await;
    assert_eq!(names(&seen), ["janes", "mias", "second"]);
    let mut mias = world.jane("GET", "bindings/mias", Value::Null).await.1;
    mias["spec"]["expiresAt"] = in_hours(2).to_string().into();
    assert_eq!(world.jane("PUT", "bindings/mias", mias).await.0, 200);
    for name in ["mias", "second"] {
        let got = world
            .jane("DELETE", &format!("bindings/{name}"), Value::Null)
            .await;
        assert_eq!(got.0, 200, "{}", got.1);
    }
}

// CVE-2019-14436, CVE-2022-31247, CVE-2021-36784: an owner makes no more of their role than it is.
#[tokio::test]
async fn owners_give_nothing_beyond_their_project_and_their_role() {
    let world = World::with_projects().await;
    world.bind_in("other", "worker", "mia", "store", None).await;
    world.bind_in("strong", "reader", "mia", "shop", None).await;
    let more = "it gives rights that they do not hold in project \"shop\" for good: {APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}";
    let stronger = in_project("x", "reader", "mia", "shop");
    forbidden(&world.jane("POST", "bindings", stronger).await, more);
    // Nor is it theirs to take what they could not give.
    forbidden(
        &world.jane("DELETE", "bindings/strong", Value::Null).await,
        more,
    );
    let mut by_uid = in_project("x", "worker", "mia", "store");
    by_uid["spec"]["projectUid"] = "u-shop".into();
    let mut everywhere = binding("x", "pods", "jane");
    everywhere["spec"]["allClusters"] = true.into();
    let mut other = world.root("GET", "bindings/other", Value::Null).await.1;
    other["spec"]["expiresAt"] = in_hours(1).to_string().into();
    for (method, path, body) in [
        (
            "POST",
            "bindings",
            in_project("x", "worker", "mia", "store"),
        ),
        // The same words for a project that is not there.
        (
            "POST",
            "bindings",
            in_project("x", "worker", "mia", "nowhere"),
        ),
        ("POST", "bindings", by_uid),
        ("POST", "bindings", everywhere),
        ("POST", "bindings", binding("x", "admin", "jane")),
        ("GET", "bindings/other", Value::Null),
        ("PUT", "bindings/other", other),
        ("DELETE", "bindings/other", Value::Null),
        ("DELETE", "bindings/nowhere", Value::Null),
        ("GET", "projects/store", Value::Null),
        (
            "POST",
            "projects",
            json!({"metadata": {"name": "x"}, "spec": {"cluster": "prod"}}),
        ),
        ("DELETE", "projects/shop", Value::Null),
        (
            "POST",
            "roles",
            json!({"metadata": {"name": "x"}, "spec": {"scope": "project"}}),
        ),
        ("DELETE", "roles/worker", Value::Null),
        ("POST", "groups", group("x", &["jane"])),
        ("POST", "clusters", cluster("x")),
        ("GET", "users", Value::Null),
    ] {
        let got = world.jane(method, path, body).await;
        assert_eq!(got.0, 403, "{method} {path}: {}", got.1);
    }
    let got = world.jane("DELETE", "bindings/other", Value::Null).await;
    forbidden(&got, "without a role of scope global you reach");
}

// What a binding is it stays: its role, its project, and no cluster beside it.
#[tokio::test]
async fn a_binding_of_a_project_becomes_none_of_anything_else() {
    let world = World::with_projects().await;
    let janes = world.jane("GET", "bindings/janes", Value::Null).await.1;
    for (field, value) in [
        ("role", json!("reader")),
        ("project", json!("store")),
        ("projectUid", json!("u-store")),
        ("allClusters", json!(true)),
        ("clusters", json!(["prod"])),
        ("clusterSelector", json!({"a": "b"})),
    ] {
        let mut changed = janes.clone();
        changed["spec"][field] = value;
        let got = world.jane("PUT", "bindings/janes", changed).await;
        assert!([403, 422].contains(&got.0), "{field}: {}", got.1);
    }
    let mut both = in_project("x", "worker", "mia", "shop");
    both["spec"]["clusters"] = json!(["prod"]);
    let got = world.jane("POST", "bindings", both).await;
    forbidden(&got, "on cluster \"prod\" for good");
    let mut mixed = in_project("x", "worker", "mia", "shop");
    mixed["spec"]["projectUid"] = "u-store".into();
    let got = world.jane("POST", "bindings", mixed).await;
    assert_eq!(got.0, 403, "{}", got.1);
}

// F3: what a review says of bindings is what requests are answered.
#[tokio::test]
async fn reviews_know_what_owners_may_do() {
    let world = World::with_projects().await;
    world.bind_in("other", "worker", "mia", "store", None).await;
    let review = async |caller: &Caller, verb: &str, name: &str| {
        let asked = json!({"group": GROUP, "resource": "bindings", "verb": verb, "name": name});
        let body = json!({"spec": {"resourceAttributes": asked}});
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let got = world.ask(caller, "POST", path, &body).await;
        got.1["status"]["allowed"].as_bool().unwrap()
    };
    let jane = caller("jane", "u-jane", Reach::Own);
    let mia = caller("mia", "u-mia", Reach::Own);
    for (verb, name, allowed) in [
        ("list", "", true),
        ("create", "", true),
        ("delete", "janes", true),
        ("delete", "other", false),
        ("delete", "nowhere", false),
        ("get", "root", false),
        ("deletecollection", "", false),
    ] {
        assert_eq!(review(&jane, verb, name).await, allowed, "{verb} {name}");
        assert!(!review(&mia, verb, name).await, "mia {verb} {name}");
    }
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let rules = |got: Got| got.1["status"]["resourceRules"].to_string();
    let janes = rules(world.ask(&jane, "POST", path, &json!({"spec": {}})).await);
    assert!(
        janes.contains("bindings") && !janes.contains("pods"),
        "{janes}"
    );
    let mias = rules(world.ask(&mia, "POST", path, &json!({"spec": {}})).await);
    assert!(!mias.contains("bindings"), "{mias}");
}

#[tokio::test]
async fn a_member_manages_nobody() {
    let world = World::with_projects().await;
    world.bind_in("mias", "worker", "mia", "shop", None).await;
    let mia = caller("mia", "u-mia", Reach::Own);
    for (method, path, body) in [
        ("POST", "bindings", in_project("x", "worker", "mia", "shop")),
        ("DELETE", "bindings/janes", Value::Null),
        // Not even their own: it says what somebody else decided.
        ("DELETE", "bindings/mias", Value::Null),
    ] {
        let got = world.ask(&mia, method, path, &body).await;
        assert_eq!(got.0, 403, "{method} {path}: {}", got.1);
    }
    let seen = world.ask(&mia, "GET", "projects", &Value::Null).await;
    assert_eq!(names(&seen), ["shop"]);
}

#[tokio::test]
async fn nobody_gives_for_longer_than_they_hold() {
    let world = World::with_projects().await;
    let end = in_hours(2);
    world
        .bind_in("janes", "owner", "jane", "shop", Some(end))
        .await;
    let ask = async |until: Option<Timestamp>| {
        let mut wanted = in_project("mias", "worker", "mia", "shop");
        if let Some(until) = until {
            wanted["spec"]["expiresAt"] = until.to_string().into();
        }
        world.jane("POST", "bindings", wanted).await
    };
    forbidden(&ask(None).await, "in project \"shop\" for good");
    forbidden(&ask(Some(in_hours(3))).await, "in project \"shop\" until 2");
    assert_eq!(ask(Some(end)).await.0, 201);
    // Nor is what was given made to last.
    let mut mias = world.jane("GET", "bindings/mias", Value::Null).await.1;
    mias["spec"].as_object_mut().unwrap().remove("expiresAt");
    let got = world.jane("PUT", "bindings/mias", mias).await;
    forbidden(&got, "for good");
}

// R4: a body may come slowly; who was logged out, or whose session ended, meanwhile writes nothing more.
#[tokio::test]
async fn a_session_that_is_gone_writes_nothing() {
    let world = World::with_projects().await;
    let root = caller("root", "u-root", Reach::All);
    let body = json!({"metadata": {"name": "made"}});
    let key = crate::objects::Token::key(SESSION);
    let gone = crate::store::follow::Change::Delete { key, revision: 1 };
    world.api.index.apply(&gone).unwrap();
    let got = world.ask(&root, "POST", "groups", &body).await;
    assert_eq!(got.0, 403, "{}", got.1);
    // The same as somebody else: it is their own session that counts.
    let acting = Caller {
        acting: Some("mia".into()),
        ..root
    };
    let got = world.ask(&acting, "POST", "groups", &body).await;
    assert_eq!(got.0, 403, "{}", got.1);
    world.know_session();
    let root = caller("root", "u-root", Reach::All);
    let got = world.ask(&root, "POST", "groups", &body).await;
    assert_eq!(got.0, 201, "{}", got.1);
}

#[tokio::test]
async fn a_right_that_is_gone_gives_nothing() {
    let world = World::with_projects().await;
    let wanted = in_project("mias", "worker", "mia", "shop");
    // The role shrinks: an owner who is no worker makes none.
    world.role("worker", RoleScope::Project, &[], vec![]).await;
    let gone = world.root("DELETE", "roles/worker", Value::Null).await;
    assert_eq!(gone.0, 409, "owners inherit from it: {}", gone.1);
    let mut disabled = world.root("GET", "users/jane", Value::Null).await.1;
    disabled["spec"]["disabled"] = true.into();
    assert_eq!(world.root("PUT", "users/jane", disabled).await.0, 200);
    let got = world.jane("POST", "bindings", wanted.clone()).await;
    assert_eq!(got.0, 403, "{}", got.1);
    let ended = in_hours(-1);
    let world = World::with_projects().await;
    world
        .bind_in("janes", "owner", "jane", "shop", Some(ended))
        .await;
    assert_eq!(world.jane("POST", "bindings", wanted).await.0, 403);
}

fn compared(draft: &Draft) -> Vec<&str> {
    let compares = draft.txn.compares.iter();
    let mut keys: Vec<&str> = compares.map(|compare| compare.key.as_str()).collect();
    keys.sort_unstable();
    keys
}

// What proves the right is compared in the transaction of the write: there is no moment between the two.
#[tokio::test]
async fn all_that_proves_a_right_is_compared_in_the_write() {
    let world = World::with_projects().await;
    world
        .put(Group::new("team", GroupSpec::default()), "u-team")
        .await;
    let jane = caller("jane", "u-jane", Reach::Own);
    let cx = Context {
        api: &world.api,
        caller: &jane,
        dry_run: DryRun::No,
    };
    let authority = Authority::of(&cx, ObjectRef::of::<Binding>("x"));
    let given = binding_of("x", "worker", "mia", "shop").spec;
    let mut draft = Draft::default();
    authority.must_hold(&mut draft, &given).await.unwrap();
    let proof = [
        Binding::key("janes"),
        Project::key("shop"),
        Role::key("owner"),
        // By inheritance, and as what is given.
        Role::key("worker"),
        User::key("jane"),
    ];
    assert_eq!(compared(&draft), proof);
    // Each of them, changed in between, makes the write fail.
    for key in proof {
        let found = world.store.get(&key).await.unwrap().unwrap();
        let again = Txn::new().put(key.clone(), found.value);
        world.store.txn(again).await.unwrap();
        let mut txn = draft.txn.clone().put("/palisade/x", b"{}".to_vec());
        txn.compares.retain(|compare| compare.key == key);
        let written = world.store.txn(txn).await;
        assert!(matches!(written, Err(StoreError::Conflict { .. })), "{key}");
    }
    // What others hold is a list: it is compared by the key that every binding of it writes.
    let root = caller("root", "u-root", Reach::All);
    let cx = Context {
        caller: &root,
        ..cx
    };
    let list = bound::settled(&cx, &mut Draft::default(), "u-team").await;
    assert_eq!(
        list.unwrap()
            .grants_of(SubjectKind::Group, "u-team")
            .count(),
        0
    );
    let mut draft = Draft::default();
    let read = bound::settled(&cx, &mut draft, "u-mia").await;
    read.unwrap();
    let made = world
        .root(
            "POST",
            "bindings",
            in_project("mias", "worker", "mia", "shop"),
        )
        .await;
    assert_eq!(made.0, 201);
    let written = world
        .store
        .txn(draft.txn.put("/palisade/x", b"{}".to_vec()))
        .await;
    assert!(matches!(written, Err(StoreError::Conflict { .. })));
}

// The same for the role that lets one write the kind at all, and by a group.
#[tokio::test]
async fn what_lets_one_write_a_kind_is_compared_too() {
    let world = World::with_projects().await;
    let users = rule(GROUP, &["users"], &["create"]);
    world
        .give("jane", "u-jane", "clerk", vec![users.clone()])
        .await;
    let jane = caller("jane", "u-jane", Reach::All);
    let cx = Context {
        api: &world.api,
        caller: &jane,
        dry_run: DryRun::No,
    };
    let mut draft = Draft::default();
    settle::prove::<User>(&cx, &mut draft, &Operation::Create)
        .await
        .unwrap();
    let proof = [
        Binding::key("clerk-jane"),
        Role::key("clerk"),
        User::key("jane"),
    ];
    assert_eq!(compared(&draft), proof);
    for op in [
        Operation::Delete("mia"),
        Operation::Sub("mia", "password", "update"),
    ] {
        let refused = settle::prove::<User>(&cx, &mut Draft::default(), &op).await;
        assert_eq!(refused.unwrap_err().status().code, 403, "{op:?}");
    }
    let members = vec![Member {
        name: "mia".to_owned(),
        uid: "u-mia".to_owned(),
    }];
    let team = GroupSpec {
        members,
        ..GroupSpec::default()
    };
    world.put(Group::new("team", team), "u-team").await;
    let spec = BindingSpec {
        role: "clerk".to_owned(),
        subject: subject(SubjectKind::Group, "team"),
        ..BindingSpec::default()
    };
    world.put(Binding::new("teams", spec), "b-teams").await;
    let mia = Caller {
        groups: ["u-team".into()].into(),
        ..caller("mia", "u-mia", Reach::All)
    };
    let cx = Context { caller: &mia, ..cx };
    let mut draft = Draft::default();
    settle::prove::<User>(&cx, &mut draft, &Operation::Create)
        .await
        .unwrap();
    let proof = [
        Binding::key("teams"),
        Group::key("team"),
        Role::key("clerk"),
        User::key("mia"),
    ];
    assert_eq!(compared(&draft), proof);
    // A group that was removed is nobody's, though the request said that its caller is in it.
    assert_eq!(
        world.root("DELETE", "groups/team", Value::Null).await.0,
        200
    );
    let refused = settle::prove::<User>(&cx, &mut Draft::default(), &Operation::Create).await;
    assert_eq!(refused.unwrap_err().status().code, 403);
}

// Another replica has written, and this one cannot follow: it cannot tell who holds what.
#[tokio::test]
async fn a_replica_that_cannot_follow_the_store_writes_nothing() {
    let mut world = World::with_projects().await;
    let user = |name: &str| json!({"metadata": {"name": name}});
    let written = Txn::new().put("/palisade/x", b"{}".to_vec());
    world.store.txn(written.clone()).await.unwrap();
    assert_eq!(world.root("POST", "users", user("a")).await.0, 201);
    world.following.abort();
    let _aborted = (&mut world.following).await;
    world.store.txn(written).await.unwrap();
    tokio::time::pause();
    for (method, path, body) in [
        ("POST", "users", user("b")),
        (
            "PUT",
            "users/root/password",
            json!({"password": "correct horse battery"}),
        ),
        ("DELETE", "users/jane", Value::Null),
    ] {
        let got = world.root(method, path, body).await;
        assert_eq!(got.0, 503, "{method} {path}: {}", got.1);
        assert!(
            message(&got).contains("has not seen everything"),
            "{}",
            got.1
        );
    }
    assert_eq!(world.root("GET", "users/jane", Value::Null).await.0, 200);
}

// Who lists what is theirs does not have everybody's read: members of projects are many, and so are bindings.
#[tokio::test]
async fn a_list_of_ones_own_reads_no_more_than_that() {
    let world = World::with_projects().await;
    for n in 0..300 {
        world
            .bind_in(&format!("many-{n}"), "worker", "mia", "store", None)
            .await;
    }
    let Store::Memory(memory) = &world.store else {
        panic!("another store");
    };
    for (path, expected) in [("bindings", vec!["janes"]), ("projects", vec!["shop"])] {
        let before = memory.reads();
        let seen = world.jane("GET", path, Value::Null).await;
        assert_eq!(names(&seen), expected);
        let reads = memory.reads() - before;
        assert!(reads < 10, "{path}: {reads} keys were read");
    }
    let selected = "bindings?fieldSelector=spec.project%3Dstore";
    let seen = world.root("GET", selected, Value::Null).await;
    assert_eq!(names(&seen).len(), 300);
}
