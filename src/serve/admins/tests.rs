use super::*;

fn secret(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}

async fn user(store: &Store, handle: &str) -> Stored<User> {
    decode(&store.get(&User::key(handle)).await.unwrap().unwrap()).unwrap()
}

async fn bindings(store: &Store) -> Vec<BindingSpec> {
    let listing = store.list(&Binding::prefix(), 100, None).await.unwrap();
    let specs = listing
        .items
        .iter()
        .map(|item| decode::<Binding>(item).unwrap().object.spec);
    specs.collect()
}

#[test]
fn generated_passwords_are_accepted_and_differ() {
    let (one, two) = (generate_password().unwrap(), generate_password().unwrap());
    assert_ne!(one, two);
    assert_eq!(one.len(), 27);
    assert!(check_rules("admin", &one).is_ok());
}

#[tokio::test]
async fn first_admin_gets_user_and_binding_in_one_write() {
    let store = Store::memory();
    assert_eq!(find_admin(&store).await.unwrap(), None);
    assert!(is_first_start(&store).await.unwrap());
    let password = generate_password().unwrap();
    make_admin(
        &store,
        "root",
        password.clone(),
        Grants::Admin,
        Existing::Refuse,
    )
    .await
    .unwrap();
    assert_eq!(store.revision().await.unwrap(), 1);
    assert!(!is_first_start(&store).await.unwrap());
    let root = user(&store, "root").await;
    let specs = bindings(&store).await;
    assert_eq!(specs.len(), 1);
    assert_eq!(
        (specs[0].role.as_str(), specs[0].all_clusters),
        ("admin", false)
    );
    assert_eq!(specs[0].subject.uid, root.object.metadata.uid);
    let hash = root.private.password.map(Zeroizing::new);
    assert!(
        Passwords::new(1, 0)
            .unwrap()
            .verify(hash, password, crate::authn::passwords::Asker::Known)
            .await
            .unwrap()
    );
    assert_eq!(find_admin(&store).await.unwrap().as_deref(), Some("root"));
}

#[tokio::test]
async fn second_admin_is_refused_and_reset_gives_a_new_password() {
    let store = Store::memory();
    let first = secret("a first long password");
    make_admin(
        &store,
        "root",
        first,
        Grants::AdminAndClusters,
        Existing::Refuse,
    )
    .await
    .unwrap();
    let before = user(&store, "root").await;
    for handle in ["root", "other"] {
        let password = secret("barrel anvil rain horse");
        let made = make_admin(&store, handle, password, Grants::Admin, Existing::Refuse).await;
        let error = made.unwrap_err().to_string();
        assert!(
            error.contains("exists already: root") && error.contains("--reset"),
            "{error}"
        );
    }
    let second = secret("staple anvil rain second");
    make_admin(
        &store,
        "root",
        second,
        Grants::AdminAndClusters,
        Existing::Reset,
    )
    .await
    .unwrap();
    let after = user(&store, "root").await;
    assert_eq!(after.object.metadata.uid, before.object.metadata.uid);
    assert_eq!(
        after.private.password_epoch,
        before.private.password_epoch + 1
    );
    assert_ne!(after.private.password, before.private.password);
    assert_eq!(bindings(&store).await.len(), 2);
}

#[tokio::test]
async fn disabled_admins_and_expired_bindings_do_not_count() {
    let store = Store::memory();
    let password = secret("a first long password");
    make_admin(&store, "root", password, Grants::Admin, Existing::Refuse)
        .await
        .unwrap();
    let mut root = user(&store, "root").await;
    root.object.spec.disabled = true;
    store
        .txn(Txn::new().put(User::key("root"), root.encode()))
        .await
        .unwrap();
    assert_eq!(find_admin(&store).await.unwrap(), None);
    // Reset enables again.
    let password = secret("staple anvil rain second");
    make_admin(&store, "root", password, Grants::Admin, Existing::Reset)
        .await
        .unwrap();
    assert_eq!(find_admin(&store).await.unwrap().as_deref(), Some("root"));

    let item = store
        .list(&Binding::prefix(), 1, None)
        .await
        .unwrap()
        .items
        .remove(0);
    let mut binding = decode::<Binding>(&item).unwrap();
    binding.object.spec.expires_at = Some(clock::now());
    store
        .txn(Txn::new().put(&item.key, binding.encode()))
        .await
        .unwrap();
    assert_eq!(find_admin(&store).await.unwrap(), None);
}

#[tokio::test]
async fn names_machines_and_passwords_are_checked() {
    let store = Store::memory();
    let make = |handle: &'static str, password: &str| {
        let (store, password) = (store.clone(), secret(password));
        async move {
            let made = make_admin(&store, handle, password, Grants::Admin, Existing::Refuse);
            made.await.unwrap_err().to_string()
        }
    };
    assert!(
        make("Root", "a long password")
            .await
            .contains("is no user name")
    );
    assert!(
        make("system-root", "a long password")
            .await
            .contains("reserved")
    );
    assert!(make("root", "short").await.contains("not taken"));
    let mut robot = new_user("robot");
    robot.object.spec.machine = true;
    store
        .txn(Txn::new().put(User::key("robot"), robot.encode()))
        .await
        .unwrap();
    let refused = make("robot", "a long password").await;
    assert!(refused.contains("exists and is no admin"), "{refused}");
    let password = secret("a long password");
    let reset = make_admin(&store, "robot", password, Grants::Admin, Existing::Reset).await;
    assert!(reset.unwrap_err().to_string().contains("machine user"));
}

#[tokio::test]
async fn an_admin_by_a_group_is_found() {
    let store = Store::memory();
    let mut jane = User::new("jane", UserSpec::default());
    jane.metadata.uid = "u-jane".to_owned();
    let member = Member {
        name: "jane".to_owned(),
        uid: "u-jane".to_owned(),
    };
    let spec = crate::objects::GroupSpec {
        members: vec![member],
        ..Default::default()
    };
    let mut group = Group::new("ops", spec);
    group.metadata.uid = "g-ops".to_owned();
    let subject = |uid: &str| Subject {
        kind: SubjectKind::Group,
        name: "ops".to_owned(),
        uid: uid.to_owned(),
    };
    for (uid, found) in [("g-older", None), ("g-ops", Some("jane"))] {
        let spec = BindingSpec {
            role: ADMIN_ROLE.to_owned(),
            subject: subject(uid),
            ..BindingSpec::default()
        };
        let binding = Stored::new(
            Binding::new("b", spec),
            <Binding as Kind>::Private::default(),
        );
        let txn = Txn::new()
            .put(
                User::key("jane"),
                Stored::new(jane.clone(), UserPrivate::default()).encode(),
            )
            .put(
                Group::key("ops"),
                Stored::new(group.clone(), <Group as Kind>::Private::default()).encode(),
            )
            .put(Binding::key("b"), binding.encode());
        store.txn(txn).await.unwrap();
        assert_eq!(find_admin(&store).await.unwrap().as_deref(), found);
    }
}

#[tokio::test]
async fn a_removed_users_name_is_not_given_again() {
    let store = Store::memory();
    let grave = Txn::new().put(tombstone("root"), b"{}".to_vec());
    store.txn(grave).await.unwrap();
    for existing in [Existing::Refuse, Existing::Reset] {
        let password = secret("a first long password");
        let made = make_admin(&store, "root", password, Grants::Admin, existing).await;
        assert!(matches!(made, Err(AdminError::Removed(_))));
    }
}
