//! G5: whether a name is anybody's cannot be told by the time of a refusal.
//!
//! A real hash takes so long, and varies so much, that what happens around it drowns; a difference there
//! would show only after very many tries. So the code around the hash is timed with a hash of hardly any
//! cost, over ten thousand tries, and the whole with the real hash over a smaller sample.

use super::*;
use std::time::Instant;

/// Tries per name with the cheap hash.
const CHEAP: usize = 10_000;
/// Tries per name with the real one: some seconds.
const REAL: usize = 60;

/// Times of refusals of a known and of an unknown name, taken in turn, so that what slows the machine slows
/// both.
async fn times(world: &World, tries: usize) -> [Vec<f64>; 2] {
    let mut times = [Vec::with_capacity(tries), Vec::with_capacity(tries)];
    for round in 0..tries {
        // Who comes first changes: the first of a pair may find a colder cache.
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for who in order {
            let name = ["jane", "nobody"][who];
            let start = Instant::now();
            let (code, _) = world.password(name, "a wrong password").await;
            times[who].push(start.elapsed().as_secs_f64());
            assert_eq!(code, 401);
        }
    }
    times
}

async fn world(memory: u32) -> World {
    let mut world = World::new().await;
    let pace = Pace {
        tries: 1_000_000,
        interval: Duration::from_secs(1),
    };
    let settings = Settings {
        account: pace,
        source: Some(pace),
    };
    world.login.throttle = Throttle::new(Live::fixed(settings), 1);
    world.login.passwords = passwords::Passwords::costing(memory, 2, 8).unwrap();
    // With a hash of that cost.
    world.user("jane", UserSpec::default()).await;
    world
}

fn quantile(sorted: &[f64], part: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index of a small list"
    )]
    let at = ((sorted.len() - 1) as f64 * part) as usize;
    sorted[at]
}

/// By how much the two are apart for certain: of the differences of pairs the median, and of the range in which that lies
/// (but once in ten thousand times, by order statistics, whatever the distribution) the end that is nearer to nought. A
/// pair is taken together, so what slows the machine for a while is in neither; what it adds to single tries makes the
/// range wider.
fn certain([known, unknown]: &[Vec<f64>; 2]) -> f64 {
    /// The normal quantile of one half of one in ten thousand.
    const WIDTH: f64 = 3.89;
    let pairs = known.iter().zip(unknown);
    let mut differences: Vec<f64> = pairs.map(|(known, unknown)| known - unknown).collect();
    differences.sort_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, reason = "thousands of samples")]
    let half = WIDTH / 2.0 / (differences.len() as f64).sqrt();
    let low = quantile(&differences, 0.5 - half);
    let high = quantile(&differences, 0.5 + half);
    low.max(-high).max(0.0)
}

/// The two-sample Kolmogorov–Smirnov statistic, and the bound that equal distributions exceed once in ten
/// thousand times (Smirnov's asymptotic form).
fn separation(one: &[f64], other: &[f64]) -> (f64, f64) {
    #[expect(clippy::cast_precision_loss, reason = "thousands of samples")]
    let share = |sorted: &[f64], at: f64| {
        sorted.partition_point(|&time| time <= at) as f64 / sorted.len() as f64
    };
    let points = one.iter().chain(other);
    let statistic = points
        .map(|&at| (share(one, at) - share(other, at)).abs())
        .fold(0.0, f64::max);
    #[expect(clippy::cast_precision_loss, reason = "thousands of samples")]
    let (n, m) = (one.len() as f64, other.len() as f64);
    let once_in_ten_thousand = (-(0.5e-4_f64).ln() / 2.0).sqrt();
    (statistic, once_in_ten_thousand * ((n + m) / (n * m)).sqrt())
}

fn sorted(times: [Vec<f64>; 2]) -> [Vec<f64>; 2] {
    times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times
    })
}

// G5 (CVE-2026-32595)
#[tokio::test]
async fn around_the_hash_a_known_and_an_unknown_name_take_the_same() {
    let world = world(16).await;
    let times = times(&world, CHEAP).await;
    let difference = certain(&times);
    let [known, unknown] = sorted(times);
    let (statistic, bound) = separation(&known, &unknown);
    let medians = [quantile(&known, 0.5), quantile(&unknown, 0.5)];
    println!(
        "medians {medians:?} s, separation {statistic:.4}, chance {bound:.4}, apart {difference} s"
    );
    // What a real hash varies by from one try to the next is hundreds of microseconds: a difference of five
    // would take an attacker some ten thousand tries to see, and the throttle gives them ten, and one per
    // five minutes.
    assert!(difference < 5e-6, "{difference} s");
}

// The test above would see what takes longer for one of the two, also where tries vary by much more.
#[test]
fn a_difference_shows_among_tries_that_vary_by_more() {
    let times = |more: f64| {
        // Two that are spread evenly, over 300 µs, and not in step with each other.
        let spread = |round: usize, step: usize| {
            let place = u32::try_from(round * step % CHEAP).unwrap();
            1e-4 + 3e-8 * f64::from(place)
        };
        let known = (0..CHEAP).map(|round| spread(round, 3_571) + more);
        let unknown = (0..CHEAP).map(|round| spread(round, 6_737));
        [known.collect(), unknown.collect()]
    };
    assert!(certain(&times(0.0)).abs() < 1e-9);
    assert!(certain(&times(3e-5)) > 5e-6);
    assert!(certain(&times(-3e-5)) > 5e-6);
}

// G5 (CVE-2026-32595)
#[tokio::test]
async fn with_the_real_hash_the_two_cannot_be_told_apart() {
    let world = world(19 * 1024).await;
    let [known, unknown] = sorted(times(&world, REAL).await);
    let (statistic, bound) = separation(&known, &unknown);
    let spread = quantile(&known, 0.75) - quantile(&known, 0.25);
    println!("separation {statistic:.4}, chance {bound:.4}, spread {spread} s");
    assert!(statistic < bound, "{statistic} {bound}");
}

// G5 (CVE-2026-32595): the whole of the row, by hand: `cargo test --lib -- --ignored --nocapture timing`.
#[tokio::test]
#[ignore = "some ten minutes of a quiet machine"]
async fn with_the_real_hash_ten_thousand_tries_do_not_tell_the_two_apart() {
    let world = world(19 * 1024).await;
    let [known, unknown] = sorted(times(&world, CHEAP).await);
    let (statistic, bound) = separation(&known, &unknown);
    let medians = [quantile(&known, 0.5), quantile(&unknown, 0.5)];
    let spread = quantile(&known, 0.75) - quantile(&known, 0.25);
    println!(
        "medians {medians:?} s, separation {statistic:.4}, chance {bound:.4}, spread {spread} s"
    );
    assert!(statistic < bound, "{statistic} {bound}");
}

// The tests above would see a hash that is missing, or half of one.
#[tokio::test]
async fn a_name_that_costs_half_a_hash_would_be_seen() {
    let world = world(19 * 1024).await;
    let cheaper = passwords::Passwords::costing(19 * 512, 2, 8).unwrap();
    let mut both = [Vec::new(), Vec::new()];
    for _ in 0..REAL {
        for (hasher, times) in [&world.login.passwords, &cheaper].iter().zip(&mut both) {
            let password = Zeroizing::new("a wrong password".to_owned());
            let asker = passwords::Asker::Stranger;
            let start = Instant::now();
            hasher.verify(None, password, asker).await.unwrap();
            times.push(start.elapsed().as_secs_f64());
        }
    }
    let [whole, half] = sorted(both);
    let (statistic, bound) = separation(&whole, &half);
    assert!(statistic > bound, "{statistic} {bound}");
}
