use super::*;

const SMALLEST: &str = "\
external_url: https://gate.example.com
tls: {cert_file: tls/cert.pem, key_file: /etc/tls/key.pem}
state: {store: state.db, key_file: keys}
";

fn told(text: &str) -> Vec<String> {
    read(text, Path::new("/etc/palisade"))
        .err()
        .unwrap_or_default()
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn smallest_file_has_every_default() {
    let config = read(SMALLEST, Path::new("/etc/palisade")).unwrap();
    assert_eq!(config.listen.port(), 8443);
    assert!(config.admin_listen.ip().is_loopback());
    assert_eq!(
        config.tls.cert_file,
        Path::new("/etc/palisade/tls/cert.pem")
    );
    assert_eq!(config.tls.key_file, Path::new("/etc/tls/key.pem"));
    assert_eq!(config.sessions.lifetime, Duration::from_hours(16));
    assert_eq!(config.sessions.max_age, Duration::from_hours(7 * 24));
    assert_eq!(config.tokens.max_lifetime, Duration::from_hours(366 * 24));
    assert_eq!(config.base_domain, None);
    assert!(!config.clusters.danger_allow_loopback_clusters);
    assert_eq!(config.external_url.port(), 443);
}

#[test]
fn a_collector_is_a_url_and_takes_a_program_that_can_export() {
    let with = |tracing: &str| told(&format!("{SMALLEST}tracing: {{otlp: {{{tracing}}}}}\n"));
    assert_eq!(with("endpoint: ''"), Vec::<String>::new());
    for url in ["http://[::1]:4318", "https://collector.example/"] {
        let told = with(&format!("endpoint: '{url}'")).join("\n");
        assert_eq!(told.is_empty(), trace::BUILT_IN, "{told}");
        let told_so = told.contains("tracing.otlp.endpoint: takes a palisade that was built with")
            && told.contains("the cargo feature `otlp`");
        assert_ne!(told_so, trace::BUILT_IN, "{told}");
    }
    for (url, why) in [
        ("collector:4318", "must begin with http:// or https://"),
        ("http://a.example/v1/traces", "must end after host and port"),
        ("http://key@a.example", "a URL with a user in it"),
    ] {
        let told = with(&format!("endpoint: '{url}'")).join("\n");
        assert!(told.contains(why), "{told}");
    }
    let told = with("endpoint: 'http://a.example', ca_file: ca.pem").join("\n");
    let why = "tracing.otlp.ca_file: is written only with an https:// URL";
    assert!(told.contains(why), "{told}");
}

#[test]
fn every_mistake_is_told_at_once_with_its_line() {
    let text = "\
listen: 8443
admin_listen: localhost
external_url: http://gate/path
base_domain: K8s.Example.com
tls:
  cert_fil: a
  key_file: 7
  handshake_timeout: 10
state:
  store: s.db
  store: t.db
sessions:
  lifetime: 16 hours
  max_age: 365d
tokens: {default_lifetime: 90d, max_lifetime: 30d}
limits:
  h2_streams: 0
  header_bytes: -1
clusters:
  danger_allow_loopback_clusters: yes
log: {format: xml}
";
    assert_eq!(
        told(text),
        [
            "1:1: listen: expected a string, found the number 8443",
            "2:1: admin_listen: \"localhost\" is not an address and a port, such as 0.0.0.0:8443 or [::]:8443",
            "3:1: external_url: \"http://gate/path\" must begin with https://",
            "4:1: base_domain: \"K8s.Example.com\" is not a DNS name in lower case with a dot in it, such as k8s.example.com",
            "5:1: tls.cert_file: is required",
            "6:3: tls.cert_fil: unknown key \"cert_fil\", did you mean \"cert_file\"?",
            "7:3: tls.key_file: expected a string, found the number 7",
            "8:3: tls.handshake_timeout: expected a string, found the number 10",
            "9:1: state.key_file: is required",
            "11:3: state.store: the key \"store\" is written twice, first on line 10",
            "13:3: sessions.lifetime: \"16 hours\" is not a duration; write 500ms, 90s, 5m, 16h or 7d",
            "14:3: sessions.max_age: 365d is not between 1m and 90d",
            "15:33: tokens.max_lifetime: must not be below tokens.default_lifetime",
            "17:3: limits.h2_streams: 0 is not between 1 and 10000",
            "18:3: limits.header_bytes: expected a whole number from 0 to 4294967295, found the number -1",
            "20:3: clusters.danger_allow_loopback_clusters: expected true or false, found the text \"yes\"",
            "21:7: log.format: unknown value \"xml\"; known here: text, json",
        ]
    );
}

#[test]
fn empty_file_names_what_is_required() {
    assert_eq!(
        told("# nothing\n"),
        [
            "1:1: external_url: is required",
            "1:1: state.key_file: is required",
            "1:1: state.store: is required",
            "1:1: tls.cert_file: is required",
            "1:1: tls.key_file: is required",
        ]
    );
}

#[test]
fn addresses_and_files_must_differ() {
    let text =
        SMALLEST.replace("key_file: keys", "key_file: state.db") + "admin_listen: 0.0.0.0:8443\n";
    assert_eq!(
        told(&text),
        [
            "3:26: state.key_file: must be another file than state.store",
            "4:1: admin_listen: must be another address than listen",
        ]
    );
}

#[test]
fn the_audit_log_goes_to_one_place() {
    let told = |audit: &str| told(&format!("{SMALLEST}audit: {audit}\n"));
    for good in [
        "{output: off}",
        "{output: stdout}",
        "{output: file, path: audit.log, max_size: 64KiB, max_files: 0}",
    ] {
        assert_eq!(told(good), [""; 0], "{good}");
    }
    for (bad, mistake) in [
        (
            "{output: file}",
            "audit.path: is required with audit.output: file",
        ),
        (
            "{path: audit.log}",
            "audit.path: is written only with audit.output: file",
        ),
        (
            "{output: file, path: state.db}",
            "audit.path: must be another file than store, keys and certificate",
        ),
        (
            "{max_size: 100MB}",
            "audit.max_size: \"100MB\" is not a size; write 64KiB, 100MiB or 1GiB",
        ),
        (
            "{max_size: 1KiB}",
            "audit.max_size: 1KiB is not between 64KiB and 1024GiB",
        ),
        (
            "{queue: 1}",
            "audit.queue: 1 is not between 100 and 1000000",
        ),
    ] {
        let told = told(bad);
        assert!(told.len() == 1 && told[0].ends_with(mistake), "{told:?}");
    }
}

#[test]
fn external_urls_are_strict() {
    for wrong in [
        "gate.example.com",
        "https://",
        "https://u@gate",
        "https://gate/k8s",
        "https://gate?x=1",
        "ftp://gate",
    ] {
        assert!(ExternalUrl::parse(wrong).is_err(), "{wrong}");
    }
    let url = ExternalUrl::parse("https://[::1]:8443/").unwrap();
    assert_eq!(
        (url.as_str(), url.host(), url.port()),
        ("https://[::1]:8443", "[::1]", 8443)
    );
}

#[test]
fn base_domain_finds_one_label() {
    let domain = BaseDomain::parse("k8s.example.com").unwrap();
    assert_eq!(domain.label_of("prod.K8s.example.com"), Some("prod"));
    for other in [
        "k8s.example.com",
        ".k8s.example.com",
        "a.b.k8s.example.com",
        "prodk8s.example.com",
        "example.com",
        "",
    ] {
        assert_eq!(domain.label_of(other), None, "{other}");
    }
    for wrong in [
        "localhost",
        "-a.example.com",
        "a..b",
        "a_b.example.com",
        "a.b.",
    ] {
        assert!(BaseDomain::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn an_address_that_takes_all_wants_a_port_of_its_own() {
    for (listen, admin, overlap) in [
        ("0.0.0.0:8443", "127.0.0.1:8443", true),
        ("'[::]:8443'", "127.0.0.1:8443", true),
        ("127.0.0.1:8443", "0.0.0.0:8443", true),
        ("0.0.0.0:8443", "'[::1]:8443'", false),
        ("127.0.0.1:8443", "127.0.0.2:8443", false),
        ("0.0.0.0:8443", "127.0.0.1:8444", false),
    ] {
        let text = format!("{SMALLEST}listen: {listen}\nadmin_listen: {admin}\n");
        let read = read(&text, Path::new("/"));
        assert_eq!(read.is_err(), overlap, "{listen} {admin}");
    }
}
