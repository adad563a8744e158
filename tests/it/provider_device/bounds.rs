//! How often a provider is asked, by whom, and when not.

use super::*;

// P14, CVE-2024-58259: a few who ask and ask leave the provider's turns to everybody else.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_has_so_many_questions_at_a_provider_and_others_have_theirs() {
    let world = World::new(ON).await;
    let mut begun = Vec::new();
    for _ in 0..45 {
        begun.push(world.begin().await);
    }
    let mut told = Vec::new();
    // Each code may be asked about twice at once.
    for one in begun[1..].iter().chain(&begun[1..]) {
        told.push(error(&poll(&world.gate, code(one)).await));
    }
    let pending = |told: &&String| *told == "authorization_pending";
    assert!(told.iter().take_while(pending).count() >= 60, "{told:?}");
    assert!(told.iter().any(|it| it == "slow_down"), "{told:?}");
    assert_eq!(told.iter().filter(pending).count(), world.asked());
    let first = code(&begun[0]);
    let answer = poll_from(ELSEWHERE, &world.gate, first).await;
    assert_eq!(error(&answer), "authorization_pending");
    world.gate.stop().await;
}

// Whoever goes on asking is shut out for longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_wants_no_more_questions_is_left_alone_for_a_while() {
    let token = "/login/oauth/access_token";
    let second = "You have exceeded a secondary rate limit.";
    for (at, said, wait) in [
        (
            token,
            Said::answer(429, &json!({})).with("retry-after", "30"),
            "30",
        ),
        (token, Said::answer(403, &json!({"message": second})), "60"),
        (
            "/login/device/code",
            Said::answer(403, &json!({})).with("x-ratelimit-remaining", "0"),
            "60",
        ),
    ] {
        let world = World::new(ON).await;
        let (first, other) = (world.begin().await, world.begin().await);
        world
            .github
            .instead(move |asked| (asked.path == at).then(|| said.clone()));
        let answer = if at == token {
            poll(&world.gate, code(&first)).await
        } else {
            begin(&world.gate, &BEGINS).await
        };
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert_eq!(answer.headers["retry-after"], wait);
        let before = (
            world.asked(),
            world.github.site.asked("/login/device/code").len(),
        );
        world.github.behave();
        for answer in [
            poll(&world.gate, code(&first)).await,
            poll_from(ELSEWHERE, &world.gate, code(&other)).await,
            begin(&world.gate, &BEGINS).await,
        ] {
            assert_eq!(answer.status, 503, "{}", answer.text());
            assert!(answer.headers.contains_key("retry-after"));
        }
        let after = (
            world.asked(),
            world.github.site.asked("/login/device/code").len(),
        );
        assert_eq!(after, before, "nobody is asked meanwhile");
        world.gate.stop().await;
    }
    // Another 403 is no word on that.
    let world = World::new(ON).await;
    let begun = world.begin().await;
    world
        .github
        .instead(move |asked| (asked.path == token).then(|| Said::answer(403, &json!({}))));
    assert_eq!(poll(&world.gate, code(&begun)).await.status, 503);
    world.github.behave();
    let answer = poll(&world.gate, code(&begun)).await;
    assert_eq!(error(&answer), "authorization_pending");
    world.gate.stop().await;
}

// GitHub's yes is told once: not when nobody can be asked then whose it is.
#[tokio::test(flavor = "multi_thread")]
async fn no_code_is_used_up_while_the_api_takes_no_questions() {
    let world = World::new(ON).await;
    let (first, other) = (world.begin().await, world.begin().await);
    for begun in [&first, &other] {
        let user_code = begun["user_code"].as_str().unwrap();
        world.github.typed(user_code, Typed::By(OCTO));
    }
    world.github.instead(|asked| {
        let limited = || Said::answer(429, &json!({})).with("retry-after", "30");
        (asked.path == "/api/v3/user").then(limited)
    });
    assert_eq!(poll(&world.gate, code(&first)).await.status, 503);
    assert_eq!(world.asked(), 1);
    let answer = poll(&world.gate, code(&other)).await;
    assert_eq!(answer.status, 503);
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(world.asked(), 1);
    world.gate.stop().await;
}

// As of the gateway's own codes: an office pays for what comes to nothing, wherever its people go with their machines.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_began_is_given_theirs_back_from_wherever_the_terminal_asks() {
    let world = World::new(ON).await;
    let begun = world.begin().await;
    let mut last = begin(&world.gate, &BEGINS).await;
    for _ in 0..60 {
        if last.status == 429 {
            break;
        }
        last = begin(&world.gate, &BEGINS).await;
    }
    assert_eq!(last.status, 429, "{}", last.text());
    let user_code = begun["user_code"].as_str().unwrap();
    world.github.typed(user_code, Typed::By(OCTO));
    let done = poll_from(ELSEWHERE, &world.gate, code(&begun)).await;
    assert_eq!(done.status, 201, "{}", done.text());
    assert_eq!(begin(&world.gate, &BEGINS).await.status, 200);
    world.gate.stop().await;
}
