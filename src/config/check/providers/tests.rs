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
