//! From a token to its user, whatever becomes of either.

use super::*;

// L6: a token leads to its user, whatever comes first, and to nobody who has the handle later.
#[test]
fn a_token_finds_its_user_in_whatever_order_both_are_written() {
    let mut world = World::new();
    let early = world.token(JANE, |_| ());
    assert_eq!(refusal(world.ask(early.expose())), refused(Refusal::NoUser));
    world.user("jane", "uid-1");
    assert!(world.ask(early.expose()).is_ok());
    world.user("jane", "uid-2");
    let later = world.token(("jane", "uid-2"), |_| ());
    assert_eq!(refusal(world.ask(early.expose())), refused(Refusal::NoUser));
    assert_eq!(world.ask(later.expose()).ok().unwrap().user_uid(), "uid-2");
    world.delete::<User>("jane");
    assert_eq!(refusal(world.ask(later.expose())), refused(Refusal::NoUser));
    world.user("jane", "uid-1");
    assert!(world.ask(early.expose()).is_ok());
    // Neighbours in the order of names are somebody else.
    world.user("jane.doe", "uid-1");
    world.user_with(
        "jane",
        "uid-1",
        UserSpec {
            disabled: true,
            ..UserSpec::default()
        },
        0,
    );
    assert_eq!(
        refusal(world.ask(early.expose())),
        refused(Refusal::Disabled)
    );
}

#[test]
fn a_token_that_is_given_to_somebody_else_is_theirs() {
    let mut world = World::new();
    world.user("jane", "uid-1");
    world.user("joe", "uid-3");
    let token = world.token(JANE, |_| ());
    let id = token.id();
    let given = Token::new(
        id.as_str(),
        TokenSpec {
            user: member("joe", "uid-3"),
            expires_at: Some(now() + SignedDuration::from_hours(1)),
            ..TokenSpec::default()
        },
    );
    let private = TokenPrivate {
        sha256: token.sha256_hex(),
        password_epoch: 0,
    };
    world.put(id.as_str(), given, private);
    assert_eq!(world.ask(token.expose()).ok().unwrap().handle(), "joe");
    let ids = |world: &World, name, uid| world.index.tokens_of(name, uid).len();
    assert_eq!(
        (ids(&world, "jane", "uid-1"), ids(&world, "joe", "uid-3")),
        (0, 1)
    );
    // What becomes of the one is nothing to the other's token.
    let disabled = || UserSpec {
        disabled: true,
        ..UserSpec::default()
    };
    world.user_with("jane", "uid-1", disabled(), 0);
    assert_eq!(world.ask(token.expose()).ok().unwrap().handle(), "joe");
    world.user_with("joe", "uid-3", disabled(), 0);
    let told = refused(Refusal::Disabled);
    assert_eq!(refusal(world.ask(token.expose())), told);
    world.delete::<Token>(id.as_str());
    assert_eq!(ids(&world, "joe", "uid-3"), 0);
}

#[test]
fn all_tokens_of_a_user_learn_what_becomes_of_them() {
    let mut world = World::new();
    world.user("jane", "uid-1");
    let tokens = [(); 3].map(|()| world.token(JANE, |_| ()));
    let disabled = UserSpec {
        disabled: true,
        ..UserSpec::default()
    };
    world.user_with("jane", "uid-1", disabled, 0);
    for token in &tokens {
        let told = refused(Refusal::Disabled);
        assert_eq!(refusal(world.ask(token.expose())), told);
    }
    world.user("jane", "uid-1");
    for token in &tokens {
        assert!(world.ask(token.expose()).is_ok());
    }
}
