use crate::config::{AccessMode, GroupLookup, Ldap, Provider, Source, Transport, read};
use std::{path::Path, time::Duration};

const CORP: &str = "\
external_url: https://gate.example.com
tls: {cert_file: cert.pem, key_file: key.pem}
state: {store: state.db, key_file: keys}
providers:
  corp:
    access: {groups: [developers]}
    ldap:
      directory: active_directory
      hosts: [DC1.corp.example, 'dc2.corp.example:3269']
      bind_dn: gate@corp.example
      bind_password_file: secret
      base_dn: DC=corp,DC=example
";

fn told(text: &str) -> String {
    let read = read(text, Path::new("/etc/palisade"));
    let mistakes = read.err().unwrap_or_default();
    let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

fn corp(text: &str) -> Provider {
    let mut config = read(text, Path::new("/etc/palisade")).unwrap();
    config.providers.remove("corp").unwrap()
}

fn ldap(text: &str) -> Ldap {
    match corp(text).source {
        Source::Ldap(ldap) => ldap,
        other @ (Source::Github(_) | Source::Oidc(_)) => panic!("{other:?}"),
    }
}

#[test]
fn a_provider_has_its_defaults() {
    let corp = corp(CORP);
    assert_eq!(corp.display_name, "corp");
    assert_eq!(corp.access.mode, AccessMode::Restricted);
    assert!(!corp.primary && !corp.disabled);
    assert_eq!(corp.refresh_interval, Duration::from_mins(5));
    assert_eq!(corp.refresh_max_age, Duration::from_hours(1));
    let ldap = ldap(CORP);
    let hosts: Vec<String> = ldap.hosts.iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["dc1.corp.example:636", "dc2.corp.example:3269"]);
    assert_eq!(ldap.transport, Transport::Ldaps);
    assert_eq!(ldap.user_base_dn, "DC=corp,DC=example");
    assert_eq!(ldap.handle_attribute, "sAMAccountName");
    assert_eq!(ldap.bind_password_file, Path::new("/etc/palisade/secret"));
    assert_eq!(ldap.group_lookup, GroupLookup::Auto);
}

#[test]
fn the_least_that_an_openldap_needs_is_a_search_for_groups() {
    let text = CORP.replace("active_directory", "openldap");
    assert_eq!(ldap(&text).group_lookup, GroupLookup::Search);
    assert_eq!(ldap(&text).handle_attribute, "uid");
}

#[test]
fn every_mistake_of_a_provider_is_told_at_its_place() {
    let with = |from: &str, to: &str| told(&CORP.replace(from, to));
    let anyone = "access: {mode: danger_anyone, users: [jane]}";
    for (from, to, line) in [
        (
            "  corp:",
            "  local:",
            "5:3: providers.local: is the name of the gateway's own accounts",
        ),
        (
            "  corp:",
            "  Corp:",
            "5:3: providers.Corp: the name must be 1 to 63",
        ),
        (
            "  corp:",
            "  systems:",
            "providers.systems: names that start with",
        ),
        (
            "access: {groups: [developers]}",
            "primary: false",
            "providers.corp.access: nobody is listed",
        ),
        (
            "access: {groups: [developers]}",
            anyone,
            "danger_anyone lets in who is not listed too",
        ),
        (
            "developers",
            "' '",
            "providers.corp.access.groups[0]: is empty",
        ),
        (
            "DC1.corp.example",
            "ldaps://dc1",
            "9:15: providers.corp.ldap.hosts[0]: \"ldaps://dc1\" is not a host",
        ),
        (
            "gate@corp.example",
            "''",
            "providers.corp.ldap.bind_dn: is required",
        ),
        (
            "bind_password_file: secret",
            "bind_password: secret",
            "unknown",
        ),
        (
            "active_directory",
            "edirectory",
            "providers.corp.ldap.directory",
        ),
    ] {
        let told = with(from, to);
        assert!(told.contains(line), "{to}: {told}");
    }
}

#[test]
fn what_a_directory_cannot_do_is_a_mistake() {
    for (line, why) in [
        ("login_filter: (uid=jane)", "must hold {login}"),
        ("login_filter: '(uid={login}'", "is not an LDAP filter"),
        // As it is asked for whoever is logged in.
        (
            "login_filter: '(cn={login}*)'",
            "with * in the place of {login}",
        ),
        (
            "login_filter: '(uid:caseExactMatch:={login})'",
            "with * in the place of {login}",
        ),
        ("group_lookup: search", "is auto or in_chain"),
        (
            "srv_domain: corp.example",
            "hosts: is written only without srv_domain",
        ),
        ("srv_domain: corp", "is not a DNS name"),
        ("name_server: ns1", "is not an address and a port"),
        ("timeout: 1h", "1h is not between 100ms and 1m"),
    ] {
        let told = told(&format!("{CORP}      {line}\n"));
        assert!(told.contains(why), "{line}: {told}");
    }
    let with = |from: &str, to: &str| told(&CORP.replace(from, to));
    let refresh = "    refresh: {interval: 5m, max_age: 6m}\n    ldap:";
    let told = with("    ldap:", refresh);
    assert!(
        told.contains("refresh.max_age: must be at least twice providers.corp.refresh.interval"),
        "{told}"
    );
}

#[test]
fn two_providers_are_not_both_primary() {
    let (head, one) = CORP.split_once("providers:\n").unwrap();
    let one = one.replace("    ldap:", "    primary: true\n    ldap:");
    let two = one.replace("corp:", "dept:");
    let told = told(&format!("{head}providers:\n{one}{two}"));
    assert!(
        told.contains("providers.dept.primary: \"corp\" is the primary provider already"),
        "{told}"
    );
}

const SSO: &str = "\
external_url: https://gate.example.com
tls: {cert_file: cert.pem, key_file: key.pem}
state: {store: state.db, key_file: keys}
providers:
  sso:
    access: {groups: [developers]}
    oidc:
      issuer: https://login.example/realms/a/
      client_id: palisade
";

const HUB: &str = "\
external_url: https://gate.example.com
tls: {cert_file: cert.pem, key_file: key.pem}
state: {store: state.db, key_file: keys}
providers:
  hub:
    github:
      client_id: Ov23li
      client_secret_file: secret
      organizations: [acme, org-7]
";

fn one(text: &str) -> Provider {
    let config = read(text, Path::new("/etc/palisade")).unwrap();
    config.providers.into_values().next().unwrap()
}

#[test]
fn an_openid_provider_has_its_defaults() {
    let Source::Oidc(oidc) = one(SSO).source else {
        panic!("it is one");
    };
    assert_eq!(
        oidc.issuer, "https://login.example/realms/a/",
        "to the letter"
    );
    assert_eq!(oidc.client.secret_file, None);
    assert_eq!(oidc.scopes, ["profile", "email"]);
    assert_eq!(oidc.groups_claim.as_deref(), Some("groups"));
    assert_eq!(oidc.algorithms.len(), 9);
    assert_eq!(oidc.link.timeout, Duration::from_secs(10));
}

#[test]
fn a_github_lets_the_members_of_its_organisations_in_and_knows_where_its_api_is() {
    let hub = one(HUB);
    assert_eq!(hub.access.groups, ["acme", "org-7"]);
    let listed = HUB.replace(
        "    github:",
        "    access: {groups: [acme/ops]}\n    github:",
    );
    assert_eq!(one(&listed).access.groups, ["acme/ops"]);
    let api = |url: &str| {
        let text = HUB.replace("client_id:", &format!("url: {url}\n      client_id:"));
        match one(&text).source {
            Source::Github(github) => (github.url, github.api_url),
            other @ (Source::Ldap(_) | Source::Oidc(_)) => panic!("{other:?}"),
        }
    };
    for (url, api_url) in [
        ("https://github.com", "https://api.github.com"),
        ("https://acme.ghe.com/", "https://api.acme.ghe.com"),
        (
            "https://git.corp.example:8443",
            "https://git.corp.example:8443/api/v3",
        ),
        (
            "https://corp.example/git/",
            "https://corp.example/git/api/v3",
        ),
        ("https://evilghe.com", "https://evilghe.com/api/v3"),
    ] {
        let (own, found) = api(url);
        assert_eq!(
            (own.as_str(), found.as_str()),
            (url.trim_end_matches('/'), api_url)
        );
    }
}

#[test]
fn a_provider_is_one_thing() {
    let none = SSO.split_once("    oidc:").unwrap().0;
    let said = told(none);
    assert!(
        said.contains("providers.sso: says nothing of where it is: write one of the sections"),
        "{said}"
    );
    let both = format!("{SSO}    github: {{client_id: a, client_secret_file: b}}\n");
    let said = told(&both);
    assert!(said.contains("providers.sso: is one thing"), "{said}");
}

// T1
#[test]
fn every_mistake_of_an_openid_provider_is_told_at_its_place() {
    for (from, to, line) in [
        (
            "https://login",
            "http://login",
            "providers.sso.oidc.issuer: \"http://login.example/realms/a/\" is not an https:// URL",
        ),
        ("https://login", "login", "is not a URL"),
        ("realms/a/", "a?x=1", "has a query"),
        ("realms/a/", "a#x", "has a fragment"),
        (
            "login.example",
            "jane@login.example",
            "has a name or a password in it",
        ),
        (
            "client_id: palisade",
            "client_id: ''",
            "providers.sso.oidc.client_id: is required",
        ),
        (
            "client_id:",
            "algorithms: [none]\n      client_id:",
            "algorithms[0]: \"none\" is none of RS256",
        ),
        (
            "client_id:",
            "algorithms: [HS256]\n      client_id:",
            "algorithms[0]: \"HS256\" is none of",
        ),
        (
            "client_id:",
            "algorithms: []\n      client_id:",
            "no ID token could be verified",
        ),
        (
            "client_id:",
            "scopes: [a b]\n      client_id:",
            "scopes[0]: \"a b\" is not a scope",
        ),
        (
            "client_id:",
            "prompt: none\n      client_id:",
            "prompt: \"none\" is none of login",
        ),
        (
            "client_id:",
            "client_secret: x\n      client_id:",
            "unknown",
        ),
        (
            "client_id:",
            "timeout: 1h\n      client_id:",
            "is not between",
        ),
    ] {
        let said = told(&SSO.replacen(from, to, 1));
        assert!(said.contains(line), "{to}: {said}");
    }
}

#[test]
fn every_mistake_of_a_github_is_told_at_its_place() {
    for (from, to, line) in [
        (
            "client_id: Ov23li",
            "client_id: ''",
            "providers.hub.github.client_id: is required",
        ),
        (
            "client_secret_file: secret",
            "client_secret_file: ''",
            "is required",
        ),
        (
            "organizations: [acme, org-7]",
            "organizations: []",
            "nobody is listed",
        ),
        (
            "client_id:",
            "url: http://localhost\n      client_id:",
            "is not an https:// URL",
        ),
        (
            "client_id:",
            "api_url: ftp://a\n      client_id:",
            "api_url: \"ftp://a\" is not",
        ),
    ] {
        let said = told(&HUB.replacen(from, to, 1));
        assert!(said.contains(line), "{to}: {said}");
    }
}
