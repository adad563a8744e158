//! A real OpenID provider (issuer.mjs), with a certificate of its own.

use super::node::{Node, nothing};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer as Authority, KeyPair};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// What the gateway knows it by.
const SECRET: &str = "canary-7f3k of the client";

/// A running provider.
pub(super) struct Issuer {
    /// `https://127.0.0.1:PORT`.
    pub(super) url: String,
    pub(super) ca_pem: String,
    node: Node,
    folder: tempfile::TempDir,
}

impl Issuer {
    /// Sends people back to `redirect_uri`.
    pub(super) fn start(redirect_uri: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let files = Files::write(folder.path());
        let uris = json!([redirect_uri]).to_string();
        let environment = [
            ("PALISADE_TLS_CERT", text(&files.cert)),
            ("PALISADE_TLS_KEY", text(&files.key)),
            ("PALISADE_CLIENT_SECRET", SECRET),
            ("PALISADE_REDIRECT_URIS", &uris),
        ];
        let node = Node::start("issuer.mjs", &environment);
        fs::write(folder.path().join("secret"), SECRET).expect("it can be written");
        Self {
            url: node.ready.clone(),
            ca_pem: files.ca_pem,
            node,
            folder,
        }
    }

    /// The gateway's configuration of it.
    pub(super) fn config(&self) -> String {
        format!(
            "    oidc:
      issuer: {}
      client_id: palisade
      client_secret_file: {}
      scopes: [profile, groups, offline_access]
      ca_file: {}
",
            self.url,
            self.folder.path().join("secret").display(),
            self.folder.path().join("ca.pem").display(),
        )
    }

    /// Makes an account, or gives it other groups.
    pub(super) fn account(&self, id: &str, handle: &str, groups: &[&str]) {
        let claims = json!({
            "preferred_username": handle,
            "name": format!("{handle} of the company"),
            "groups": groups,
        });
        let given = json!({"account": id, "claims": claims});
        self.node.must("account", given);
    }

    pub(super) fn remove(&self, id: &str) {
        self.node.must("remove", json!({"account": id}));
    }

    /// How often refresh tokens were taken.
    pub(super) fn refreshes(&self) -> u64 {
        let seen: Value = self.node.must("seen", nothing());
        seen["refreshes"].as_u64().expect("a number")
    }
}

struct Files {
    cert: PathBuf,
    key: PathBuf,
    ca_pem: String,
}

impl Files {
    /// For 127.0.0.1, by an authority of its own, which is in the chain.
    fn write(folder: &Path) -> Self {
        let ca_key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_pem = params.self_signed(&ca_key).expect("an authority").pem();
        let authority = Authority::new(params, ca_key);
        let key = KeyPair::generate().expect("a key");
        let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
        let leaf = leaf.signed_by(&key, &authority).expect("a certificate");
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).expect("it can be written");
            path
        };
        write("ca.pem", &ca_pem);
        Self {
            cert: write("cert.pem", &format!("{}{ca_pem}", leaf.pem())),
            key: write("key.pem", &key.serialize_pem()),
            ca_pem,
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path")
}
