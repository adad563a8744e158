//! What a directory has to do for many people who have sessions.

use super::{
    refused::ask,
    samba::PASSWORD,
    slapd::{self, Slapd},
};
use crate::testkit::{gateway::GatewayProcess, process::eventually};
use std::{
    env, fs, thread,
    time::{Duration, Instant},
};

/// So many people if nobody says otherwise. `PALISADE_DIRECTORY_USERS=10000`, with the interval that is the default, takes
/// a quarter of an hour.
const USERS: usize = 100;
/// People of one team; teams are in one group of all.
const TEAM: usize = 50;
/// Logins at the same time.
const AT_ONCE: usize = 8;
/// Between two readings of one account, for so few.
const SHORT: Duration = Duration::from_secs(20);
/// The default, for many.
const LONG: Duration = Duration::from_mins(5);

#[expect(
    clippy::disallowed_methods,
    reason = "how many there are, is whoever runs the test to say"
)]
fn users() -> usize {
    let given = env::var("PALISADE_DIRECTORY_USERS").ok();
    given.map_or(USERS, |text| text.parse().expect("a number"))
}

fn people(count: usize) -> String {
    use std::fmt::Write as _;
    let mut ldif = String::new();
    let mut teams = Vec::new();
    for first in (0..count).step_by(TEAM) {
        let mut members = String::new();
        for number in first..count.min(first + TEAM) {
            let dn = Slapd::dn(&format!("load{number}"));
            write!(
                ldif,
                "dn: {dn}\nobjectClass: inetOrgPerson\nsn: X\nuid: load{number}\nuserPassword: {PASSWORD}\n\n"
            )
            .expect("a string");
            writeln!(members, "member: {dn}").expect("a string");
        }
        let dn = format!("cn=team{first},ou=groups,{}", slapd::BASE);
        writeln!(ldif, "dn: {dn}\nobjectClass: groupOfNames\n{members}").expect("a string");
        teams.push(format!("member: {dn}\n"));
    }
    let dn = format!("cn=everybody,ou=groups,{}", slapd::BASE);
    writeln!(
        ldif,
        "dn: {dn}\nobjectClass: groupOfNames\n{}",
        teams.concat()
    )
    .expect("a string");
    ldif
}

fn provider(people: &Slapd, interval: Duration) -> String {
    format!(
        "providers:
  people:
    access: {{groups: [everybody]}}
    refresh: {{interval: {}s, max_age: 1h}}
    ldap:
      directory: openldap
      hosts: [{}]
      ca_file: {}
      bind_dn: cn=gate,ou=people,{base}
      bind_password_file: {}
      base_dn: {base}
",
        interval.as_secs(),
        people.address,
        people.certificate.ca.display(),
        people.secret.display(),
        base = slapd::BASE,
    )
}

/// What the directory has done so far.
#[derive(Debug)]
struct Work {
    searches: u64,
    /// Processor time, in hundredths of a second.
    ticks: u64,
    at: Instant,
}

fn work(people: &Slapd) -> Work {
    let stat = fs::read_to_string(format!("/proc/{}/stat", people.id())).expect("its process");
    let behind = stat.rsplit_once(')').expect("a name").1;
    let fields: Vec<&str> = behind.split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<u64>().expect("a number");
    Work {
        searches: people.searches(),
        ticks: ticks(11) + ticks(12),
        at: Instant::now(),
    }
}

/// Accounts that were read again so far, and those that could not be.
fn read_again(gateway: &GatewayProcess) -> [u64; 2] {
    let metrics = gateway.admin_get("/metrics").unwrap_or_default();
    ["same", "failed"].map(|result| {
        let series = format!("palisade_account_refreshes_total{{result=\"{result}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&*series));
        line.map_or(0, |value| value.parse().expect("a number"))
    })
}

#[test]
fn many_people_cost_their_directory_a_stated_load() {
    let count = users();
    let interval = if count > 5_000 { LONG } else { SHORT };
    let mut gateway = GatewayProcess::start();
    let people = thread::scope(|scope| scope.spawn(Slapd::start).join().expect("slapd"));
    people.add(&self::people(count));
    gateway.restart(|text| format!("{text}{}", provider(&people, interval)));
    let begun = Instant::now();
    log_in(&gateway, count);
    let logins = begun.elapsed();
    // From here on all of them are read again and again; the first time at once, if the logins took longer than that.
    let settled = Instant::now() + interval;
    while Instant::now() < settled {
        let _ = eventually(|| (Instant::now() >= settled).then_some(()));
    }
    let (before, read_before) = (work(&people), read_again(&gateway));
    let until = before.at + interval;
    while Instant::now() < until {
        let _ = eventually(|| (Instant::now() >= until).then_some(()));
    }
    let (after, read_after) = (work(&people), read_again(&gateway));
    let took = after.at - before.at;
    let searches = after.searches - before.searches;
    let read = read_after[0] - read_before[0];
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let per_second = searches as f64 / took.as_secs_f64();
    println!(
        "{count} people, logged in within {logins:.0?}: in {took:.0?} {read} readings took {searches} searches, \
         {per_second:.1} a second, and {} s of the directory's processor",
        (after.ticks - before.ticks) / 100,
    );
    assert_eq!(read_after[1], 0, "{}", gateway.log());
    let all = u64::try_from(count).expect("few");
    // Each is read in the last quarter of the interval, or at the look before: once, and never more than twice.
    assert!(read >= all, "{read} of {all}");
    assert!(read <= 2 * all, "{read} of {all}");
    // One for a batch of fifty accounts, and for each one for each level of its groups: team, everybody, nothing.
    assert!(
        searches <= read * 3 + read / 50 + 40,
        "{searches} for {read}"
    );
}

fn log_in(gateway: &GatewayProcess, count: usize) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        for first in (0..count).step_by(AT_ONCE) {
            let names: Vec<String> = (first..count.min(first + AT_ONCE))
                .map(|number| format!("load{number}"))
                .collect();
            let asked = names
                .iter()
                .map(|name| ask(gateway, "people", name, PASSWORD));
            for (answer, name) in futures_util::future::join_all(asked)
                .await
                .iter()
                .zip(&names)
            {
                assert_eq!(answer.0, 201, "{name}");
            }
        }
    });
}
