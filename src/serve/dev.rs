//! What `--dev` makes for itself: a state folder with a certificate authority, a certificate and a
//! configuration file.
//!
//! The authority's key never leaves the folder; its certificate is the last of the chain that the server
//! sends, so that `--ca-sum` can name it. The server's certificate and the configuration are made anew at
//! every start (the issuer stays, so nothing that clients hold changes); the authority only when it is
//! about to end.
//!
//! What could go wrong: somebody trusts this authority beyond the gateway, and then loses the folder. So it
//! may sign no other authority and no name but those under `localhost` (name constraints, RFC 5280
//! section 4.2.1.10; addresses are not constrained, since `--listen` may name any).

use super::{
    state::{StateError, make_folder},
    tls::{self, TlsError},
};
use crate::{
    config::{self, Config, LogLevel, yaml::Mistake},
    status::clock,
};
use aws_lc_rs::digest;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType,
};
use std::{
    fmt::Write as _,
    fs, io,
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Where the state is if nobody says: visible, beside what one is working on.
pub const DEFAULT_FOLDER: &str = ".palisade";
/// Life of the server's certificate, made at each start: browsers accept 398 days at most.
const LEAF_LIFE: SignedDuration = SignedDuration::from_hours(397 * 24);
/// Life of the authority: longer than anybody keeps a development folder.
const CA_LIFE: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);
/// Certificates begin a day back: clocks differ, and rcgen takes whole days.
const BEFORE: SignedDuration = SignedDuration::from_hours(24);

/// Why the development folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// The folder.
    #[error(transparent)]
    Folder(#[from] StateError),
    /// A file in it.
    #[error("cannot {doing} {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// A verb.
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Making a certificate.
    #[error("cannot make the development certificates")]
    Certificate(#[from] rcgen::Error),
    /// Reading one back.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The configuration made here is not taken.
    #[error("the development configuration is wrong: {0}")]
    Config(Mistake),
}

/// A development gateway's files and configuration.
pub struct Dev {
    /// What to serve with.
    pub config: Config,
    /// Where it is written: `palisade admin init --config` takes it.
    pub config_file: PathBuf,
    /// PEM of the authority.
    pub ca_file: PathBuf,
    /// SHA-256 of the authority's DER in lower-case hex: `--ca-sum`.
    pub ca_sum: String,
    /// Where a kubeconfig for this gateway goes.
    pub kubeconfig: PathBuf,
}

/// Makes what is missing in `folder`, for a gateway that listens at these addresses and logs from this level on.
pub fn prepare(
    folder: &Path,
    listen: SocketAddr,
    admin: SocketAddr,
    level: LogLevel,
) -> Result<Dev, DevError> {
    make_folder(folder)?;
    let folder = std::path::absolute(folder).map_err(file_error(folder, "find"))?;
    let ca_file = folder.join("ca.pem");
    let ca_key = authority(&folder, &ca_file)?;
    let issuer = Issuer::new(authority_params()?, ca_key);
    let key = KeyPair::generate()?;
    let leaf = leaf_params(listen.ip())?.signed_by(&key, &issuer)?;
    let chain = format!("{}{}", leaf.pem(), read(&ca_file)?);
    write(&folder.join("tls.pem"), &chain, 0o644)?;
    write(&folder.join("tls.key"), &key.serialize_pem(), 0o600)?;
    let config_file = folder.join("palisade.yaml");
    let text = config_text(listen, admin, level);
    write(&config_file, &text, 0o644)?;
    let config = config::read(&text, &folder).map_err(|mistakes| {
        let nothing = || Mistake::at(&config::yaml::Node::empty(), "", "no mistake is named");
        DevError::Config(mistakes.into_iter().next().unwrap_or_else(nothing))
    })?;
    Ok(Dev {
        config,
        config_file,
        ca_sum: sum(&ca_file)?,
        ca_file,
        kubeconfig: folder.join("kubeconfig"),
    })
}

/// The configuration file of a development gateway.
fn config_text(listen: SocketAddr, admin: SocketAddr, level: LogLevel) -> String {
    let host = match listen.ip() {
        ip if ip.is_loopback() || ip.is_unspecified() => "localhost".to_owned(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let port = listen.port();
    let level = level.as_str();
    format!(
        "\
# Made by `palisade serve --dev` at every start: changes here are lost.
listen: '{listen}'
admin_listen: '{admin}'
external_url: https://{host}:{port}
tls: {{cert_file: tls.pem, key_file: tls.key}}
state: {{store: state.db, key_file: keys}}
# On Ctrl-C nobody wants to see a watch end.
drain: {{deadline: 2s}}
# A cluster on this very machine is what one develops with.
clusters: {{danger_allow_loopback_clusters: true}}
audit: {{output: file, path: audit.log}}
log: {{level: {level}}}
"
    )
}

/// The authority's key; makes a new authority if there is none, or if it ends before a certificate of
/// today would.
fn authority(folder: &Path, cert: &Path) -> Result<KeyPair, DevError> {
    let key_file = folder.join("ca.key");
    let until_file = folder.join("ca.until");
    let lasts = || -> Option<bool> {
        let until: Timestamp = fs::read_to_string(&until_file).ok()?.trim().parse().ok()?;
        Some(cert.exists() && until > clock::now().checked_add(LEAF_LIFE).ok()?)
    };
    if key_file.exists() && lasts().unwrap_or(false) {
        return Ok(KeyPair::from_pem(&read(&key_file)?)?);
    }
    let key = KeyPair::generate()?;
    let params = authority_params()?;
    let made = params.self_signed(&key)?;
    write(&key_file, &key.serialize_pem(), 0o600)?;
    write(cert, &made.pem(), 0o644)?;
    // Last: without it the next start makes all three anew.
    write(&until_file, &format!("{}\n", from_now(CA_LIFE)), 0o644)?;
    Ok(key)
}

fn authority_params() -> Result<CertificateParams, DevError> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = named("Palisade development authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName("localhost".to_owned())],
        excluded_subtrees: Vec::new(),
    });
    set_life(&mut params, CA_LIFE);
    Ok(params)
}

fn leaf_params(listen: IpAddr) -> Result<CertificateParams, DevError> {
    // No `*.localhost`: a wildcard over a single label makes rustls refuse the whole certificate, since
    // the authority's name constraints cannot be checked against it.
    let mut params = CertificateParams::new(["localhost".to_owned()])?;
    let mut addresses = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    if !listen.is_unspecified() && !addresses.contains(&listen) {
        addresses.push(listen);
    }
    let addresses = addresses.into_iter().map(SanType::IpAddress);
    params.subject_alt_names.extend(addresses);
    params.distinguished_name = named("Palisade development gateway");
    // rustls takes no authority's certificate as a server's own.
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    set_life(&mut params, LEAF_LIFE);
    Ok(params)
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// This far from now; the edges of time are far from any clock.
fn from_now(distance: SignedDuration) -> Timestamp {
    let now = clock::now();
    now.checked_add(distance).unwrap_or(now)
}

/// Good from a day back until this far from now.
fn set_life(params: &mut CertificateParams, life: SignedDuration) {
    let day = |time: Timestamp| {
        let day = time.to_zoned(TimeZone::UTC).date();
        let (month, day_of_month) = (day.month().unsigned_abs(), day.day().unsigned_abs());
        rcgen::date_time_ymd(i32::from(day.year()), month, day_of_month)
    };
    params.not_before = day(from_now(-BEFORE));
    params.not_after = day(from_now(life));
}

/// SHA-256 of the first certificate's DER.
fn sum(file: &Path) -> Result<String, DevError> {
    let chain = tls::read_chain(file)?;
    let mut text = String::new();
    for certificate in chain.iter().take(1) {
        for byte in digest::digest(&digest::SHA256, certificate).as_ref() {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
    }
    Ok(text)
}

fn file_error(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> DevError {
    let path = path.to_owned();
    move |source| DevError::File {
        path,
        doing,
        source,
    }
}

fn read(path: &Path) -> Result<String, DevError> {
    fs::read_to_string(path).map_err(file_error(path, "read"))
}

/// Writes beside the file and then in its place: a start that is killed leaves the old one.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), DevError> {
    let beside = path.with_added_extension("new");
    let written = || -> io::Result<()> {
        // A left-over of a killed start may have another mode.
        if beside.exists() {
            fs::remove_file(&beside)?;
        }
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    written().map_err(file_error(path, "write"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{
        RootCertStore,
        client::{WebPkiServerVerifier, danger::ServerCertVerifier},
        pki_types::{CertificateDer, ServerName, UnixTime},
    };
    use std::{os::unix::fs::PermissionsExt, sync::Arc};

    fn loopback(port: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, port).into()
    }

    #[test]
    fn a_second_start_keeps_the_authority_and_renews_the_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dev");
        let one = prepare(&path, loopback(8443), loopback(8444), LogLevel::Info).unwrap();
        let leaf = fs::read(&one.config.tls.cert_file).unwrap();
        let two = prepare(&path, loopback(9443), loopback(9444), LogLevel::Info).unwrap();
        assert_eq!(one.ca_sum, two.ca_sum);
        assert_eq!(one.ca_sum.len(), 64);
        assert_ne!(leaf, fs::read(&two.config.tls.cert_file).unwrap());
        assert_eq!(two.config.external_url.as_str(), "https://localhost:9443");
        assert!(two.config.clusters.danger_allow_loopback_clusters);
        for (file, mode) in [("ca.key", 0o600), ("tls.key", 0o600)] {
            let found = fs::metadata(path.join(file)).unwrap().permissions().mode();
            assert_eq!(found & 0o777, mode, "{file}");
        }
        // The pair is one that the server takes, with the authority at the end of the chain.
        tls::load(&two.config.tls.cert_file, &two.config.tls.key_file).unwrap();
        let chain = tls::read_chain(&two.config.tls.cert_file).unwrap();
        assert_eq!(chain[1], tls::read_chain(&two.ca_file).unwrap()[0]);
        is_taken_by_clients(&chain);
    }

    /// Under the authority as the only root, as with `--ca-sum`.
    fn is_taken_by_clients(chain: &[CertificateDer<'static>]) {
        let mut roots = RootCertStore::empty();
        roots.add(chain[1].clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = verifier.build().unwrap();
        let check = |name: &str| {
            let name = ServerName::try_from(name.to_owned()).unwrap();
            verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], UnixTime::now())
        };
        for name in ["localhost", "127.0.0.1", "::1"] {
            check(name).unwrap();
        }
        assert!(check("example.com").is_err());
    }

    #[test]
    fn an_authority_that_ends_soon_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let one = prepare(folder.path(), loopback(1), loopback(2), LogLevel::Info).unwrap();
        let soon = from_now(LEAF_LIFE - BEFORE);
        fs::write(folder.path().join("ca.until"), soon.to_string()).unwrap();
        let two = prepare(folder.path(), loopback(1), loopback(2), LogLevel::Info).unwrap();
        assert_ne!(one.ca_sum, two.ca_sum);
    }

    #[test]
    fn other_addresses_are_named() {
        let text = config_text(
            "192.0.2.7:443".parse().unwrap(),
            loopback(2),
            LogLevel::Info,
        );
        assert!(text.contains("external_url: https://192.0.2.7:443\n"));
        let text = config_text(
            "[2001:db8::7]:443".parse().unwrap(),
            loopback(2),
            LogLevel::Info,
        );
        assert!(text.contains("external_url: https://[2001:db8::7]:443\n"));
        let text = config_text("0.0.0.0:443".parse().unwrap(), loopback(2), LogLevel::Info);
        assert!(text.contains("external_url: https://localhost:443\n"));
    }
}
