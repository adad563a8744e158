//! What `kubectl get` prints.

use super::*;
use crate::objects::{ClusterSpec, RoleSpec, UserSpec};

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";

async fn table(world: &World, path: &str) -> Value {
    let request = Request::builder()
        .uri(format!("{BASE}/{path}"))
        .header("accept", TABLE)
        .body(Full::<Bytes>::default())
        .unwrap();
    let got = world
        .send(&caller("root", "u-root", Reach::All), request)
        .await;
    assert_eq!(got.0, 200, "{}", got.1);
    got.1
}

/// The table as kubectl prints it with `-o wide`.
fn print(table: &Value) -> String {
    let columns = table["columnDefinitions"].as_array().unwrap();
    let header: Vec<String> = columns
        .iter()
        .map(|c| c["name"].as_str().unwrap().to_uppercase())
        .collect();
    let mut lines = vec![header.join(" | ")];
    for row in table["rows"].as_array().unwrap() {
        let cells = row["cells"].as_array().unwrap();
        assert_eq!(cells.len(), columns.len());
        let cells: Vec<&str> = cells.iter().map(|cell| cell.as_str().unwrap()).collect();
        lines.push(cells.join(" | "));
    }
    lines.join("\n")
}

/// One or more of each kind.
async fn furnished() -> World {
    let world = World::new().await;
    let ann = UserSpec {
        display_name: "Ann Lee".to_owned(),
        machine: true,
        disabled: true,
        ..UserSpec::default()
    };
    world.put(User::new("ann", ann), "u-ann").await;
    let member = |name: &str| Member {
        name: name.to_owned(),
        uid: format!("u-{name}"),
    };
    let spec = GroupSpec {
        members: ["jane", "root", "ann", "bob", "eve"].map(member).into(),
        ..GroupSpec::default()
    };
    world.put(Group::new("ops", spec), "g-ops").await;
    world
        .put(
            Role::new(
                "mine",
                RoleSpec {
                    inherits: vec!["viewer".to_owned()],
                    ..RoleSpec::default()
                },
            ),
            "r",
        )
        .await;
    for (name, place) in [
        ("all", json!({"allClusters": true})),
        (
            "label",
            json!({"clusterSelector": {"env": "prod", "tier": "1"}}),
        ),
        (
            "some",
            json!({"clusters": ["a"], "expiresAt": "2999-01-01T00:00:00Z"}),
        ),
    ] {
        let mut spec =
            json!({"role": "viewer", "subject": {"kind": "Group", "name": "ops", "uid": "g-ops"}});
        spec.as_object_mut()
            .unwrap()
            .extend(place.as_object().unwrap().clone());
        world
            .put(
                Binding::new(name, serde_json::from_value(spec).unwrap()),
                "b",
            )
            .await;
    }
    let mut prod = Cluster::new("prod", ClusterSpec::default());
    prod.spec.server = "https://prod.example:6443".to_owned();
    world.put(prod, "c").await;
    world
}

#[tokio::test]
async fn tables_say_what_people_want_to_know() {
    let world = furnished().await;
    let mut all = Vec::new();
    for path in ["bindings", "clusters", "groups", "roles", "users"] {
        all.push(print(&table(&world, path).await));
    }
    let text = all.join("\n\n");
    // An age is a second or two; the far end drifts with the years.
    let text = masked(&text);
    insta::assert_snapshot!(text);
    world
        .put_token(("jane", "u-jane"), TokenKind::Pat, in_hours(-1))
        .await;
    let tokens = print(&table(&world, "tokens").await);
    let line = tokens.lines().nth(1).unwrap().split_once(" | ").unwrap().1;
    assert!(
        line.starts_with("jane | <none> | pat | all | expired | "),
        "{line}"
    );
}

/// Masks ages, and the years until 2999.
fn masked(text: &str) -> String {
    let mask = |cell: &str| {
        let unit = cell
            .strip_suffix(['s', 'y'])
            .is_some_and(|n| n.parse::<u32>().is_ok());
        let pair = cell.ends_with('d') && cell.contains('y');
        if unit || pair {
            "AGE".to_owned()
        } else {
            cell.to_owned()
        }
    };
    let line = |line: &str| line.split(" | ").map(mask).collect::<Vec<_>>().join(" | ");
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_row_carries_what_was_asked_of_its_object() {
    let world = World::new().await;
    let one = table(&world, "users/jane").await;
    assert_eq!(
        (&one["kind"], &one["apiVersion"]),
        (&json!("Table"), &json!("meta.k8s.io/v1"))
    );
    let object = &one["rows"][0]["object"];
    assert_eq!(
        (&object["kind"], &object["metadata"]["name"]),
        (&json!("PartialObjectMetadata"), &json!("jane"))
    );
    let whole = table(&world, "users?includeObject=Object").await;
    assert_eq!(whole["rows"][0]["object"]["kind"], "User");
    let none = table(&world, "users?includeObject=None").await;
    assert_eq!(none["rows"][0]["object"], Value::Null);
    let page = table(&world, "users?limit=1").await;
    assert!(page["metadata"]["continue"].is_string());
}
