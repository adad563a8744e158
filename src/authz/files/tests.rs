use super::*;
use crate::authz::{Attributes, rules};
use crate::objects::RoleScope;

fn mistakes(text: &str) -> Vec<String> {
    let folder = load_text("p.yaml", text);
    folder.mistakes.iter().map(ToString::to_string).collect()
}

fn warnings(text: &str) -> Vec<String> {
    let folder = load_text("p.yaml", text);
    assert_eq!(mistakes(text), Vec::<String>::new());
    folder.warnings.iter().map(ToString::to_string).collect()
}

fn role(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: palisade.dev/v1alpha1\nkind: Role\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"
    )
}

fn binding(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: palisade.dev/v1alpha1\nkind: Binding\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"
    )
}

#[test]
fn the_built_in_roles_have_no_mistakes_and_no_warnings() {
    let text = include_str!("../../../policies/default.yaml");
    let mut documents = documents::Documents::default();
    documents.read(&Arc::from("default.yaml"), text);
    let mut report = Report::default();
    let own = own::collect(&OwnSource::default(), documents.own(), &mut report);
    documents.hand_over(&mut report);
    assert!(report.mistakes.is_empty(), "{:?}", report.mistakes);
    assert!(report.warnings.is_empty(), "{:?}", report.warnings);
    let names: Vec<_> = own.roles.keys().map(String::as_str).collect();
    let all = [
        "admin",
        "authenticated",
        "basic",
        "cluster-member",
        "cluster-owner",
        "cluster-viewer",
        "project-member",
        "project-owner",
        "project-viewer",
    ];
    assert_eq!(names, all);
}

/// What no built-in role of clusters below cluster-owner may do, in any namespace: docs/policy.md,
/// P3, P4 (docs/attacks.md) and CVE-2026-41052.
const FORBIDDEN: &[(&str, &str, &str)] = &[
    ("get", "", "secrets"),
    ("list", "", "secrets"),
    ("watch", "", "secrets"),
    ("create", "", "pods"),
    ("update", "", "pods"),
    ("patch", "", "pods"),
    ("patch", "", "pods/ephemeralcontainers"),
    ("create", "", "pods/binding"),
    ("create", "", "serviceaccounts/token"),
    ("create", "", "replicationcontrollers"),
    ("update", "", "replicationcontrollers"),
    ("create", "apps", "deployments"),
    ("patch", "apps", "deployments"),
    ("create", "apps", "daemonsets"),
    ("create", "apps", "statefulsets"),
    ("create", "apps", "replicasets"),
    ("create", "batch", "jobs"),
    ("patch", "batch", "cronjobs"),
    ("get", "", "nodes/proxy"),
    ("create", "", "nodes/proxy"),
    ("proxy", "", "nodes"),
    ("impersonate", "", "users"),
    ("impersonate", "", "groups"),
    ("impersonate", "", "serviceaccounts"),
    ("impersonate", "authentication.k8s.io", "uids"),
    ("escalate", "rbac.authorization.k8s.io", "clusterroles"),
    ("bind", "rbac.authorization.k8s.io", "clusterroles"),
    ("create", "rbac.authorization.k8s.io", "rolebindings"),
    ("create", "rbac.authorization.k8s.io", "clusterrolebindings"),
    ("patch", "rbac.authorization.k8s.io", "roles"),
    ("patch", "", "namespaces"),
    ("update", "", "namespaces"),
    ("update", "", "namespaces/finalize"),
    ("create", "", "namespaces"),
    ("patch", "", "nodes"),
    ("update", "", "nodes/status"),
    ("create", "", "persistentvolumes"),
    (
        "create",
        "admissionregistration.k8s.io",
        "mutatingwebhookconfigurations",
    ),
    (
        "patch",
        "admissionregistration.k8s.io",
        "validatingwebhookconfigurations",
    ),
    (
        "create",
        "admissionregistration.k8s.io",
        "mutatingadmissionpolicies",
    ),
    (
        "create",
        "apiextensions.k8s.io",
        "customresourcedefinitions",
    ),
    ("patch", "apiregistration.k8s.io", "apiservices"),
    (
        "create",
        "certificates.k8s.io",
        "certificatesigningrequests",
    ),
    (
        "update",
        "certificates.k8s.io",
        "certificatesigningrequests/approval",
    ),
    ("approve", "certificates.k8s.io", "signers"),
    ("create", "authentication.k8s.io", "tokenreviews"),
    ("create", "authorization.k8s.io", "subjectaccessreviews"),
];

/// What a role allows of this, by itself or by what it inherits.
fn rules_of<'a>(own: &'a OwnSource, role: &'a str) -> Vec<&'a crate::objects::rules::PolicyRule> {
    let spec = &own.roles[role].object.spec;
    let inherited = spec.inherits.iter().flat_map(|name| rules_of(own, name));
    spec.rules.iter().chain(inherited).collect()
}

fn holds_none_of(name: &str, forbidden: &[(&str, &str, &str)]) {
    let own = built_in();
    for rule in rules_of(own, name) {
        let all = rule.verbs.iter().chain(&rule.resources);
        let mut all = all.chain(&rule.api_groups);
        assert!(all.all(|entry| entry != "*"), "{name}: {rule:?}");
        for (verb, group, resource) in forbidden {
            let (main, sub) = resource.split_once('/').unwrap_or((resource, ""));
            let mut attrs = Attributes::of_resource(verb, group, main);
            attrs.subresource = sub;
            assert!(!rules::allows(rule, &attrs), "{name}: {verb} {resource}");
        }
    }
}

#[test]
fn no_built_in_role_below_owner_holds_a_way_to_more() {
    for name in ["cluster-member", "cluster-viewer", "basic"] {
        holds_none_of(name, FORBIDDEN);
    }
}

/// Whoever makes Pods in a namespace holds what its Secrets hold, so members of a project read them.
const OF_MEMBERS: &[(&str, &str)] = &[
    ("", "secrets"),
    ("", "pods"),
    ("", "pods/ephemeralcontainers"),
    ("", "replicationcontrollers"),
    ("apps", "daemonsets"),
    ("apps", "deployments"),
    ("apps", "replicasets"),
    ("apps", "statefulsets"),
    ("batch", "cronjobs"),
    ("batch", "jobs"),
];

/// What fences the namespaces of a project in is for others to set.
const FENCES: &[(&str, &str, &str)] = &[
    ("update", "", "resourcequotas"),
    ("delete", "", "resourcequotas"),
    ("patch", "", "limitranges"),
    ("delete", "", "namespaces"),
    ("patch", "", "namespaces/status"),
    ("create", "", "serviceaccounts/token"),
    ("create", "rbac.authorization.k8s.io", "roles"),
    ("delete", "rbac.authorization.k8s.io", "rolebindings"),
    ("escalate", "rbac.authorization.k8s.io", "roles"),
    ("bind", "rbac.authorization.k8s.io", "roles"),
    ("impersonate", "authentication.k8s.io", "userextras"),
    (
        "create",
        "authorization.k8s.io",
        "localsubjectaccessreviews",
    ),
    ("create", "palisade.dev", "roles"),
    ("patch", "palisade.dev", "projects"),
    ("create", "palisade.dev", "users"),
    ("update", "palisade.dev", "groups"),
];

// CVE-2026-41052, CVE-2023-32194: no role of a project sets what its namespaces are allowed.
#[test]
fn no_built_in_role_of_projects_holds_a_way_out_of_one() {
    let of_members =
        |(_, group, resource): &&(&str, &str, &str)| OF_MEMBERS.contains(&(*group, *resource));
    let rest = FORBIDDEN.iter().filter(|found| !of_members(found));
    let mut forbidden: Vec<_> = rest.copied().collect();
    forbidden.extend(FENCES);
    for name in ["project-viewer", "project-member", "project-owner"] {
        assert_eq!(built_in().roles[name].object.spec.scope, RoleScope::Project);
        holds_none_of(name, &forbidden);
    }
    // To look is not to deploy, and to deploy is not to open the network.
    holds_none_of("project-viewer", FORBIDDEN);
    let network = [("create", "networking.k8s.io", "networkpolicies")];
    holds_none_of("project-member", &network);
}

// F7: a misspelt key is not a wildcard.
#[test]
fn unknown_keys_are_mistakes_with_file_line_and_path() {
    let text = "apiVersion: palisade.dev/v1alpha1
kind: Role
metadata:
  name: reader
  namespace: x
spec:
  scope: cluster
  rules:
  - apiGroups: ['']
    resources: [secrets]
    resourceName: [one]
    verbs: [get]
---
apiVersion: palisade.dev/v1alpha1
kind: Binding
metadata: {name: b}
spec:
  role: reader
  subject: {kind: Person, name: jane}
  clusers: [prod]
";
    insta::assert_snapshot!(mistakes(text).join("\n"));
}

#[test]
fn all_mistakes_of_a_folder_are_told_at_once() {
    let text = [
        role("Bad_Name", "scope: cluster"),
        role("no-verb", "scope: cluster, rules: [{apiGroups: [''], resources: [pods]}]"),
        role("no-group", "scope: cluster, rules: [{resources: [pods], verbs: [get]}]"),
        role("nothing", "scope: cluster, rules: [{apiGroups: [''], verbs: [get]}]"),
        role(
            "mixed",
            "scope: cluster, rules: [{apiGroups: [''], resources: [pods], nonResourceURLs: [/x], verbs: [get]}]",
        ),
        role("project-url", "scope: project, rules: [{nonResourceURLs: [/x], verbs: [get]}]"),
        role("orphan", "scope: cluster, inherits: [cluster-veiwer]"),
        role("across", "scope: global, inherits: [cluster-viewer]"),
        role("a", "scope: cluster, inherits: [b]"),
        role("b", "scope: cluster, inherits: [c]"),
        role("c", "scope: cluster, inherits: [a]"),
        role("selfish", "scope: cluster, inherits: [selfish]"),
        role("everybody", "scope: global, inherits: [authenticated]"),
        role("b", "scope: cluster"),
        role("admin", "scope: global"),
        "apiVersion: palisade.dev/v1alpha1\nkind: Role\nmetadata: {name: spec-less}\n".to_owned(),
        binding("no-role", "role: '', subject: {kind: User, name: j}"),
        binding("unknown", "role: nobody-knows, subject: {kind: User, name: j}, allClusters: true"),
        binding("nowhere", "role: basic, subject: {kind: User, name: j}"),
        binding("twice", "role: basic, subject: {kind: User, name: j}, allClusters: true, clusters: [p]"),
        binding("global-on-a", "role: admin, subject: {kind: User, name: j}, clusters: [p]"),
        binding("project", "role: project-url, subject: {kind: User, name: j}"),
        binding("nobody", "role: basic, subject: {kind: User, name: ''}, allClusters: true"),
        binding("bad-cluster", "role: basic, subject: {kind: User, name: j}, clusters: [A/b]"),
        binding("all-tokens", "role: authenticated, subject: {kind: User, name: j}"),
        "apiVersion: palisade.dev/v1alpha1\nkind: Token\n".to_owned(),
        "apiVersion: palisade.dev/v1\nkind: Role\n".to_owned(),
        "apiVersion: rbac.authorization.k8s.io/v1beta1\nkind: Role\n".to_owned(),
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Rule\n".to_owned(),
        "apiVersion: apps/v1\nkind: Deployment\n".to_owned(),
        "apiVersion: palisade.dev/v1alpha1\nkind: PolicyCases\ncases: []\n".to_owned(),
        "just text\n".to_owned(),
    ]
    .join("---\n");
    insta::assert_snapshot!(mistakes(&text).join("\n"));
}

#[test]
fn what_can_never_match_is_warned_of() {
    let text = [
        role(
            "odd",
            "scope: cluster, rules: [{apiGroups: [core, apps/v1, 'a*'], resources: [Pods, 'pods/*', '*/*', 'po*', pod], \
             resourceNames: ['*'], verbs: [GET, 'ge*', read]}, \
             {nonResourceURLs: ['/a/*/b', 'healthz'], verbs: [get]}, \
             {apiGroups: [''], resources: [pods], resourceNames: [x], verbs: [create, deletecollection]}, \
             {apiGroups: [''], resources: [pods/exec], resourceNames: [x], verbs: [create]}, \
             {apiGroups: [''], resources: [pods/exec], resourceNames: [x], verbs: [create]}]",
        ),
        role("elsewhere", "scope: global, rules: [{apiGroups: [apps], resources: [deployments], verbs: [get]}]"),
        role("empty", "scope: cluster"),
        binding(
            "late",
            "role: basic, subject: {kind: User, name: '*'}, clusters: [p, p], expiresAt: 2020-01-01T00:00:00Z",
        ),
        binding("sys", "role: basic, subject: {kind: User, name: 'system:admin'}, clusters: [q]"),
        "apiVersion: palisade.dev/v1alpha1\nkind: Cluster\nmetadata: {name: p}\nspec: {}\n".to_owned(),
    ]
    .join("---\n");
    insta::assert_snapshot!(warnings(&text).join("\n"));
}

#[test]
fn a_built_in_role_may_stand_in_a_folder_unchanged() {
    let folder = load_text("d.yaml", include_str!("../../../policies/default.yaml"));
    assert!(folder.mistakes.is_empty(), "{:?}", folder.mistakes);
    assert!(folder.has_own);
    assert_eq!(folder.contents().roles, 0);
}

/// As kubectl 1.33 printed it, shortened.
const PRINTED: &str = r#"apiVersion: v1
items:
- apiVersion: rbac.authorization.k8s.io/v1
  kind: ClusterRole
  metadata:
    annotations:
      rbac.authorization.kubernetes.io/autoupdate: "true"
    creationTimestamp: "2026-11-22T10:00:00Z"
    labels:
      kubernetes.io/bootstrapping: rbac-defaults
    managedFields:
    - apiVersion: rbac.authorization.k8s.io/v1
      fieldsType: FieldsV1
      fieldsV1:
        f:rules: {}
      manager: kube-apiserver
      operation: Update
    name: system:basic-user
    resourceVersion: "72"
    uid: 8a6b5d7e-0000-4000-8000-000000000001
  rules:
  - apiGroups:
    - authorization.k8s.io
    resources:
    - selfsubjectaccessreviews
    verbs:
    - create
- aggregationRule:
    clusterRoleSelectors:
    - matchLabels:
        rbac.authorization.k8s.io/aggregate-to-view: "true"
  apiVersion: rbac.authorization.k8s.io/v1
  kind: ClusterRole
  metadata:
    name: view
    uid: 8a6b5d7e-0000-4000-8000-000000000002
  rules: null
- apiVersion: rbac.authorization.k8s.io/v1
  kind: ClusterRoleBinding
  metadata:
    name: system:basic-user
  roleRef:
    apiGroup: rbac.authorization.k8s.io
    kind: ClusterRole
    name: system:basic-user
  subjects:
  - apiGroup: rbac.authorization.k8s.io
    kind: Group
    name: system:authenticated
- apiVersion: v1
  kind: ServiceAccount
  metadata: {name: default, namespace: default}
kind: List
metadata:
  resourceVersion: ""
"#;

#[test]
fn printed_manifests_are_read_with_all_that_stands_in_them() {
    let folder = load_text("rbac.yaml", PRINTED);
    assert!(folder.mistakes.is_empty(), "{:?}", folder.mistakes);
    assert!(!folder.has_own);
    assert!(matches!(folder.judge(false), Judge::Cluster(_)));
    assert_eq!(folder.raw.cluster_roles.len(), 2);
    let user = &folder.raw.cluster_roles["system:basic-user"];
    assert_eq!(user.object.rules.len(), 1);
    assert_eq!(user.origin.rule(0).line, 22);
    // What a server printed is what it judges by: no aggregation here.
    assert!(folder.raw.cluster_roles["view"].object.rules.is_empty());
    let warned: Vec<_> = folder.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(warned[0].contains("has no controller"), "{warned:?}");
}

#[test]
fn a_typed_list_gives_its_items_their_kind() {
    let text = r#"{"kind":"RoleList","apiVersion":"rbac.authorization.k8s.io/v1","metadata":{},
        "items":[{"metadata":{"name":"r","namespace":"n"},"rules":[{"verbs":["get"],"apiGroups":[""],"resources":["pods"]}]}]}"#;
    let folder = load_text("rbac.json", text);
    assert!(folder.mistakes.is_empty(), "{:?}", folder.mistakes);
    let key = ("n".to_owned(), "r".to_owned());
    assert_eq!(folder.raw.roles[&key].object.rules[0].verbs, ["get"]);
    let empty = load_text("e.yaml", "kind: List\napiVersion: v1\nitems: null\n");
    assert!(empty.mistakes.is_empty() && empty.raw.is_empty());
    let nested = "kind: List\napiVersion: v1\nitems: [{kind: List, apiVersion: v1, items: []}]\n";
    assert_eq!(mistakes(nested).len(), 1);
}

#[test]
fn manifests_that_no_server_would_hold_are_mistakes() {
    let text = "apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: homeless}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: a}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: r}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: b}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: r}
subjects:
- {kind: ServiceAccount, name: s}
- {kind: Robot, name: s}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: b}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: r}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: r}
rules:
- {verbs: get}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: odd}
aggregationRule: {clusterRoleSelectors: [{matchExpressions: [{key: a, operator: Near}]}]}
";
    insta::assert_snapshot!(mistakes(text).join("\n"));
}

#[test]
fn a_misspelt_key_of_a_manifest_is_warned_of() {
    let text = "apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: r}
rules:
- apiGroups: ['']
  resources: [secrets]
  resourceName: [one]
  verbs: [get]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: b, namespace: n}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: gone}
";
    insta::assert_snapshot!(warnings(text).join("\n"));
}

#[test]
fn aggregated_roles_written_by_hand_are_filled_as_the_controller_fills_them() {
    let cluster_role = |name: &str, labels: &str, more: &str| {
        format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: {name}, labels: {{{labels}}}}}\n{more}\n---\n"
        )
    };
    let allows =
        |verb: &str| format!("rules: [{{apiGroups: [''], resources: [pods], verbs: [{verb}]}}]");
    let selects = |label: &str| {
        format!("aggregationRule: {{clusterRoleSelectors: [{{matchLabels: {{{label}: 'true'}}}}]}}")
    };
    let text = [
        cluster_role("a-get", "to-view: 'true'", &allows("get")),
        cluster_role("b-get", "to-view: 'true'", &allows("get")),
        cluster_role("c-list", "to-edit: 'true'", &allows("list")),
        cluster_role("view", "to-edit: 'true'", &selects("to-view")),
        cluster_role("edit", "", &selects("to-edit")),
        cluster_role("filled", "", &format!("{}\n{}", selects("to-edit"), allows("watch"))),
        cluster_role(
            "by-expression",
            "",
            "aggregationRule: {clusterRoleSelectors: [{matchExpressions: [{key: to-edit, operator: Exists}]}]}",
        ),
    ]
    .concat();
    let folder = load_text("r.yaml", &text);
    assert!(folder.mistakes.is_empty(), "{:?}", folder.mistakes);
    let verbs = |name: &str| -> Vec<String> {
        let role = &folder.raw.cluster_roles[name].object;
        role.rules
            .iter()
            .flat_map(|rule| rule.verbs.clone())
            .collect()
    };
    assert_eq!(verbs("view"), ["get"]);
    assert_eq!(verbs("edit"), ["list", "get"]);
    assert_eq!(verbs("filled"), ["watch"]);
    assert_eq!(verbs("by-expression"), ["list", "get"]);
}

#[test]
fn folders_are_walked_in_order_and_cases_make_a_policy_of_its_own() {
    let top = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = top.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write(
        "b/role.yaml",
        &role("one", "scope: cluster, inherits: [two]"),
    );
    write("a.yml", &role("two", "scope: cluster, inherits: [basic]"));
    write("notes.txt", "not policy");
    write(".hidden/x.yaml", "not: policy");
    write(
        "cases/deep/c.yaml",
        "apiVersion: palisade.dev/v1alpha1\nkind: PolicyCases\ncases:\n- {user: j, request: GET /version, expect: allow}\n",
    );
    write(
        "team/role.yaml",
        &role("one", "scope: cluster, inherits: [basic]"),
    );
    write(
        "team/cases/c.yaml",
        "apiVersion: palisade.dev/v1alpha1\nkind: PolicyCases\ncases:\n- {user: j, request: GET /version, expect: allow}\n",
    );
    #[cfg(unix)]
    std::os::unix::fs::symlink(top.path(), top.path().join("circle")).unwrap();
    let folders = load(top.path()).unwrap();
    assert_eq!(folders.len(), 2);
    for folder in &folders {
        assert!(folder.mistakes.is_empty(), "{:?}", folder.mistakes);
    }
    assert_eq!(folders[0].contents().roles, 2);
    assert_eq!(folders[0].cases.len(), 1);
    assert_eq!(folders[0].files, 3);
    assert_eq!(folders[1].contents().roles, 1);
    assert_eq!(load_policy(top.path()).unwrap().cases.len(), 0);
    assert!(load(&top.path().join("missing")).is_err());
}

#[test]
fn a_broken_file_does_not_hide_the_mistakes_of_the_others() {
    let text = format!(
        "{}---\nkind: [\n",
        role("x", "scope: cluster, inherits: [gone]")
    );
    assert_eq!(
        mistakes(&text).len(),
        1,
        "YAML that cannot be read has one mistake"
    );
    let top = tempfile::tempdir().unwrap();
    std::fs::write(top.path().join("a.yaml"), "kind: [").unwrap();
    std::fs::write(
        top.path().join("b.yaml"),
        role("x", "scope: cluster, inherits: [gone]"),
    )
    .unwrap();
    std::fs::write(top.path().join("c.yaml"), b"\xff\xfe").unwrap();
    assert!(matches!(load(top.path()), Err(FilesError::NotText(_))));
    std::fs::remove_file(top.path().join("c.yaml")).unwrap();
    let folders = load(top.path()).unwrap();
    assert_eq!(folders[0].mistakes.len(), 2, "{:?}", folders[0].mistakes);
}
