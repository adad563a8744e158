//! Where a directory of a test is: an address, a folder, a certificate.

use super::samba::PASSWORD;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use std::{
    fs,
    net::{IpAddr, Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Once,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

/// Installs what is missing, once.
fn installed() {
    static DONE: Once = Once::new();
    DONE.call_once(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/directories/install.sh");
        let status = Command::new(script)
            .status()
            .expect("install.sh can be run");
        assert!(status.success(), "install.sh failed: {status}");
    });
}

/// A loopback address on which nothing listens at the ports of LDAP.
fn address() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let id = std::process::id()
            .wrapping_mul(37)
            .wrapping_add(NEXT.fetch_add(1, Relaxed));
        let [_, b, c, d] = id.to_be_bytes();
        // Away from 127.0.0.0/16, which others use.
        let address = Ipv4Addr::new(127, 64 + b % 128, c, 1 + d % 250);
        let free = |port| TcpListener::bind((address, port)).is_ok();
        if free(389) && free(636) {
            return address;
        }
    }
}

/// What every directory of a test has.
pub(super) struct Place {
    pub(super) address: Ipv4Addr,
    pub(super) certificate: Certificate,
    /// File with the password of the account that searches.
    pub(super) secret: PathBuf,
    pub(super) folder: tempfile::TempDir,
}

impl Place {
    pub(super) fn new() -> Self {
        installed();
        let folder = tempfile::tempdir().expect("a folder");
        let address = address();
        let secret = folder.path().join("secret");
        fs::write(&secret, format!("{PASSWORD}\n")).expect("it can be written");
        Self {
            address,
            certificate: certificate(folder.path(), address),
            secret,
            folder,
        }
    }
}

/// Files of one server's certificate.
pub(super) struct Certificate {
    pub(super) ca: PathBuf,
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
    pub(super) ca_pem: String,
}

/// A certificate for this address, by an authority of its own.
fn certificate(folder: &Path, address: Ipv4Addr) -> Certificate {
    let ca_key = KeyPair::generate().expect("a key");
    let mut ca = CertificateParams::new(Vec::new()).expect("parameters");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name
        .push(DnType::CommonName, "directory ca");
    let ca_pem = ca.self_signed(&ca_key).expect("an authority").pem();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().expect("a key");
    let mut leaf = CertificateParams::new(Vec::new()).expect("parameters");
    leaf.subject_alt_names = vec![SanType::IpAddress(IpAddr::V4(address))];
    let leaf = leaf.signed_by(&key, &issuer).expect("a certificate");
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).expect("it can be written");
        path
    };
    let files = Certificate {
        ca: write("ca.pem", &ca_pem),
        cert: write("cert.pem", &leaf.pem()),
        key: write("key.pem", &key.serialize_pem()),
        ca_pem,
    };
    // Samba takes no key that others may read.
    let mode = Command::new("chmod").arg("600").arg(&files.key).status();
    assert!(mode.expect("chmod").success());
    files
}
