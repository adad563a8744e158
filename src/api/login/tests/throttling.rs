//! Tries are counted, and nobody is kept out by a stranger.

use super::*;

fn home() -> IpAddr {
    IpAddr::from([203, 0, 113, 7])
}

fn street() -> IpAddr {
    IpAddr::from([198, 51, 100, 9])
}

impl World {
    fn at(&mut self, peer: IpAddr) -> &mut Self {
        self.peer = peer;
        self
    }

    /// A stranger at an account until it is closed to strangers.
    async fn hammer(&mut self, name: &str) {
        self.at(street());
        for _ in 0..10 {
            assert_eq!(self.password(name, "a wrong password").await.0, 401);
        }
        assert_eq!(self.password(name, PASSWORD).await.0, 429);
    }

    /// Gives jane a password hash that nobody can check.
    async fn break_hash(&self) {
        let mut user = User::new("jane", UserSpec::default());
        user.metadata.uid = "uid-jane".to_owned();
        let private = UserPrivate {
            password: Some("$argon2id$nonsense".to_owned()),
            ..UserPrivate::default()
        };
        self.put("jane", user, private).await;
    }
}

// G6, G5: past the bound the answer is 429 with a time, before any hash is computed, and the same for
// accounts that there are and others.
#[tokio::test]
async fn too_many_wrong_passwords_are_429_for_known_and_unknown_alike() {
    let mut world = World::new().await;
    world.at(street());
    let mut answers = [Vec::new(), Vec::new()];
    for _ in 0..13 {
        for (name, answers) in ["jane", "nobody"].iter().zip(&mut answers) {
            let (code, mut body) = world.password(name, "a wrong password").await;
            if code == 429 {
                // Some of the five minutes may be over.
                let seconds = body["details"]["retryAfterSeconds"].take().as_u64();
                assert!(
                    seconds.is_some_and(|it| (250..=300).contains(&it)),
                    "{seconds:?}"
                );
            }
            answers.push((code, body));
        }
    }
    let [known, unknown] = answers;
    assert_eq!(known, unknown);
    let codes: Vec<u16> = known.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, [[401; 10].as_slice(), &[429; 3]].concat());
    let (_, body) = known.last().unwrap();
    assert_eq!(body["reason"], "TooManyRequests");
    let message = body["message"].as_str().unwrap();
    assert!(message.starts_with("Too many wrong passwords; try again in 5 minutes"));
    assert_eq!(world.ended(LoginEnd::Refused), 20);
    assert_eq!(world.ended(LoginEnd::ThrottledAccount), 6);
    // A hash that was looked at would be a 503.
    world.break_hash().await;
    assert_eq!(world.password("jane", PASSWORD).await.0, 429);
}

// G6: the lockout that a stranger causes is one of strangers.
#[tokio::test]
async fn whoever_logged_in_before_on_this_device_gets_in_while_a_stranger_hammers() {
    let mut world = World::new().await;
    let (_, first) = world.at(home()).password("jane", PASSWORD).await;
    let device = &first["device"];
    assert!(device.is_string(), "{first}");
    world.hammer("jane").await;
    let hotel = IpAddr::from([192, 0, 2, 200]);
    assert_eq!(world.at(hotel).password("jane", PASSWORD).await.0, 429);
    let (code, again) = world.on_device("jane", PASSWORD, device).await;
    assert_eq!(code, 201, "{again}");
    // The new proof is of the same device, and as good.
    let (code, _) = world.on_device("jane", PASSWORD, &again["device"]).await;
    assert_eq!(code, 201);
    // For another account it is worth nothing.
    world.user("bob", UserSpec::default()).await;
    world.hammer("bob").await;
    assert_eq!(world.on_device("bob", PASSWORD, device).await.0, 429);
}

#[tokio::test]
async fn a_proof_outlives_a_change_of_the_password() {
    let mut world = World::new().await;
    let (_, first) = world.at(home()).password("jane", PASSWORD).await;
    world
        .change(Proof::Administrator(Vec::new()), "a better password")
        .await
        .unwrap();
    world.hammer("jane").await;
    let answer = world
        .on_device("jane", "a better password", &first["device"])
        .await;
    assert_eq!(answer.0, 201);
}

#[tokio::test]
async fn whoever_logged_in_before_from_this_address_gets_in_while_a_stranger_hammers() {
    let mut world = World::new().await;
    assert_eq!(world.at(home()).password("jane", PASSWORD).await.0, 201);
    world.hammer("jane").await;
    assert_eq!(world.at(home()).password("jane", PASSWORD).await.0, 201);
}

// G6: a device has its own bound.
#[tokio::test]
async fn a_stolen_proof_buys_ten_tries() {
    let mut world = World::new().await;
    let (_, first) = world.at(home()).password("jane", PASSWORD).await;
    world.at(street());
    let mut codes = Vec::new();
    for _ in 0..12 {
        let answer = world
            .on_device("jane", "a wrong password", &first["device"])
            .await;
        codes.push(answer.0);
    }
    assert_eq!(codes, [[401; 10].as_slice(), &[429; 2]].concat());
    assert_eq!(world.ended(LoginEnd::ThrottledKnown), 2);
    assert_eq!(world.at(home()).password("jane", PASSWORD).await.0, 201);
}

#[tokio::test]
async fn what_is_no_proof_is_no_error() {
    let world = World::new().await;
    for odd in [
        json!(""),
        json!("v1.x.y"),
        json!("x".repeat(10_000)),
        Value::Null,
    ] {
        assert_eq!(world.on_device("jane", PASSWORD, &odd).await.0, 201);
        assert_eq!(world.on_device("nobody", PASSWORD, &odd).await.0, 401);
    }
}

// T5: nobody pays for what could not be told, and nothing of it is remembered.
#[tokio::test]
async fn errors_are_not_counted_as_wrong_passwords() {
    let mut world = World::new().await;
    world.break_hash().await;
    for _ in 0..30 {
        assert_eq!(world.password("jane", PASSWORD).await.0, 503);
    }
    assert_eq!(world.ended(LoginEnd::Unavailable), 30);
    world.user("jane", UserSpec::default()).await;
    assert_eq!(world.password("jane", PASSWORD).await.0, 201);
    world.at(street()).login.passwords = passwords::Passwords::new(1, 0).unwrap();
    let place = world.login.passwords.occupy();
    for _ in 0..12 {
        assert_eq!(world.password("jane", "x").await.0, 429);
    }
    drop(place);
    assert_eq!(world.ended(LoginEnd::Busy), 12);
    assert_eq!(world.password("jane", PASSWORD).await.0, 201);
}

// Strangers who take every place in the hasher's queue do not keep out people who were there before.
#[tokio::test]
async fn a_full_queue_of_strangers_has_room_for_somebody_known() {
    let mut world = World::new().await;
    let (_, first) = world.at(home()).password("jane", PASSWORD).await;
    world.at(street()).login.passwords = passwords::Passwords::new(1, 0).unwrap();
    let (stranger, other, jane) = tokio::join!(
        world.password("nobody", "x"),
        world.password("nobody-else", "x"),
        world.on_device("jane", PASSWORD, &first["device"]),
    );
    assert_eq!((stranger.0, other.0, jane.0), (401, 429, 201));
}

// Whoever holds a stolen token does not find out the password with it.
#[tokio::test]
async fn guesses_of_the_current_password_are_bounded() {
    let world = World::new().await;
    for _ in 0..10 {
        let answer = world
            .change(current("a wrong one"), "a better password")
            .await;
        assert!(matches!(answer, Err(LoginError::WrongCurrent)));
    }
    let answer = world.change(current(PASSWORD), "a better password").await;
    assert!(matches!(answer, Err(LoginError::Throttled(_))));
    world
        .change(Proof::Administrator(Vec::new()), "set by an admin")
        .await
        .unwrap();
    assert_eq!(world.password("jane", "set by an admin").await.0, 201);
}

#[tokio::test]
async fn right_passwords_are_never_too_many() {
    let world = World::new().await;
    for _ in 0..30 {
        assert_eq!(world.password("jane", PASSWORD).await.0, 201);
    }
    let jane = world.login.index.user("jane").unwrap();
    assert_eq!(world.login.kept_from(&jane), None);
}
