//! An operator's kubeconfig, read as kubectl reads it (client-go `tools/clientcmd`), and used once.
//!
//! What it holds speaks to the cluster from this process and goes nowhere else: not to the gateway, not
//! to a file, not into an error. What cannot be honoured is refused with a sentence instead of being
//! passed over: a proxy, impersonation, a connection without verification.

use super::http::{HttpClient, HttpError, Options, Trust};
use crate::{
    config::yaml,
    proxy::endpoint::{ClientCertificate, EndpointError, ServerUrl},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, de::DeserializeOwned};
use std::{
    fs, io,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

mod exec;

/// A kubeconfig or a file that it names; the largest in use hold a few hundred clusters.
const MAX_BYTES: u64 = 4 << 20;

/// Why a kubeconfig cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not a kubeconfig.
    #[error("{}: {why}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Something in it that is not done here.
    #[error("{0}")]
    Refused(String),
    /// The credential plugin.
    #[error("the credential plugin {command:?} failed: {why}")]
    Plugin {
        /// As it stands in the kubeconfig.
        command: String,
        /// What became of it.
        why: String,
    },
    /// Certificates, keys, tokens.
    #[error("{0}")]
    Endpoint(#[from] EndpointError),
    /// The client for it.
    #[error(transparent)]
    Http(#[from] HttpError),
}

/// Where a cluster is, and how an operator proves who they are. No `Debug`.
pub struct Operator {
    /// `https://host:port[/path]`
    pub server: String,
    /// PEM; none: the public web PKI.
    pub ca: Option<String>,
    /// Name in the server's certificate, if it is not the URL's host.
    pub tls_server_name: Option<String>,
    /// The context that was used.
    pub context: String,
    token: Option<Zeroizing<String>>,
    certificate: Option<Pair>,
}

/// A client certificate and its key, PEM.
struct Pair {
    certificate: String,
    key: Zeroizing<String>,
}

impl Operator {
    /// Reads a kubeconfig; runs its credential plugin, if it has one.
    pub async fn read(path: &Path, context: Option<&str>) -> Result<Self, OperatorError> {
        let kubeconfig = Kubeconfig::read(path)?;
        let (name, context) = kubeconfig.context(path, context)?;
        let cluster = named(&kubeconfig.clusters, &context.cluster)
            .ok_or_else(|| content(path, format!("it has no cluster {:?}", context.cluster)))?;
        let no_user = User::default();
        let user = match context.user.as_str() {
            "" => &no_user,
            user => named(&kubeconfig.users, user)
                .ok_or_else(|| content(path, format!("it has no user {user:?}")))?,
        };
        let folder = path.parent().unwrap_or(Path::new("."));
        let ca = cluster.trust(folder)?;
        user.refuse_what_is_not_done()?;
        let mut operator = Self {
            server: cluster.server.clone(),
            ca,
            tls_server_name: given(&cluster.tls_server_name),
            context: name,
            token: user.token(folder)?,
            certificate: user.certificate(folder)?,
        };
        if let Some(plugin) = &user.exec
            && operator.token.is_none()
            && operator.certificate.is_none()
        {
            let credential = exec::run(plugin, folder, &operator).await?;
            operator.token = credential.token;
            operator.certificate = credential.certificate;
        }
        Ok(operator)
    }

    /// Speaks to the cluster as the operator.
    pub fn client(&self) -> Result<HttpClient, OperatorError> {
        let certificate = self
            .certificate
            .as_ref()
            .map(|pair| ClientCertificate::from_pem(&pair.certificate, &pair.key))
            .transpose()?;
        let options = Options {
            trust: self.ca.clone().map_or(Trust::WebPki, Trust::Ca),
            token: self.token.as_ref().map(|token| token.as_str()),
            certificate,
            tls_server_name: self.tls_server_name.as_deref(),
            limit: None,
        };
        Ok(HttpClient::new(&self.server, options)?)
    }
}

/// `v1` Config, as far as it is used; everything else in it is taken and passed by.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Kubeconfig {
    current_context: String,
    contexts: Vec<Named<Context>>,
    clusters: Vec<Named<Cluster>>,
    users: Vec<Named<User>>,
}

/// An entry of one of the lists: the object stands under the list's singular.
#[derive(Deserialize)]
struct Named<T> {
    name: String,
    #[serde(
        alias = "context",
        alias = "cluster",
        alias = "user",
        default = "Option::default"
    )]
    value: Option<T>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Context {
    cluster: String,
    user: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Cluster {
    server: String,
    tls_server_name: String,
    insecure_skip_tls_verify: bool,
    certificate_authority: String,
    certificate_authority_data: String,
    proxy_url: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct User {
    client_certificate: String,
    client_certificate_data: String,
    client_key: String,
    client_key_data: String,
    token: String,
    #[serde(rename = "tokenFile")]
    token_file: String,
    username: String,
    auth_provider: Option<serde::de::IgnoredAny>,
    exec: Option<exec::Plugin>,
    #[serde(rename = "as")]
    impersonate: String,
    as_uid: String,
    as_groups: Vec<String>,
}

impl Kubeconfig {
    fn read(path: &Path) -> Result<Self, OperatorError> {
        let text = read(path)?;
        let node = match yaml::parse(&text) {
            Ok(nodes) => nodes.into_iter().next(),
            Err(mistake) => return Err(content(path, mistake.to_string())),
        };
        match node {
            Some(node) => load(path, &node),
            None => Err(content(path, "it is empty")),
        }
    }

    /// The context that is meant, and its name.
    fn context(
        &self,
        path: &Path,
        wanted: Option<&str>,
    ) -> Result<(String, &Context), OperatorError> {
        let name = wanted.unwrap_or(&self.current_context);
        let all = || {
            let names: Vec<&str> = self.contexts.iter().map(|entry| &*entry.name).collect();
            names.join(", ")
        };
        if name.is_empty() {
            let why = format!(
                "it has no current context; give one by --context: {}",
                all()
            );
            return Err(content(path, why));
        }
        named(&self.contexts, name)
            .map(|context| (name.to_owned(), context))
            .ok_or_else(|| content(path, format!("it has no context {name:?}, but: {}", all())))
    }
}

impl Cluster {
    /// Checks what is asked of the connection, and gives the CA.
    fn trust(&self, folder: &Path) -> Result<Option<String>, OperatorError> {
        if self.insecure_skip_tls_verify {
            return Err(OperatorError::Refused(
                "the kubeconfig says insecure-skip-tls-verify: a cluster is not registered over a \
                 connection that anybody could have answered; put its CA into \
                 certificate-authority-data"
                    .to_owned(),
            ));
        }
        if !self.proxy_url.is_empty() {
            return Err(OperatorError::Refused(
                "the kubeconfig reaches the cluster through a proxy (proxy-url), which neither this \
                 command nor the gateway does"
                    .to_owned(),
            ));
        }
        ServerUrl::parse(&self.server)?;
        // The data wins over the file, as in client-go.
        if let Some(data) = given(&self.certificate_authority_data) {
            let pem = decode("certificate-authority-data", &data)?;
            return Ok(Some(pem.to_string()));
        }
        given(&self.certificate_authority)
            .map(|file| read(&folder.join(file)))
            .transpose()
            .map(|pem| pem.map(|pem| pem.to_string()))
    }
}

impl User {
    fn refuse_what_is_not_done(&self) -> Result<(), OperatorError> {
        let refused = |text: &str| Err(OperatorError::Refused(text.to_owned()));
        if !self.impersonate.is_empty() || !self.as_uid.is_empty() || !self.as_groups.is_empty() {
            return refused(
                "the kubeconfig's user acts as somebody else (as, as-uid, as-groups): use one that \
                 acts as itself",
            );
        }
        if !self.username.is_empty() {
            return refused(
                "the kubeconfig's user has a name and a password, which no supported API server takes",
            );
        }
        if self.auth_provider.is_some() {
            return refused(
                "the kubeconfig's user has an auth-provider, which kubectl removed in 1.26: use its \
                 exec plugin",
            );
        }
        Ok(())
    }

    /// `tokenFile` wins over `token`.
    fn token(&self, folder: &Path) -> Result<Option<Zeroizing<String>>, OperatorError> {
        if let Some(file) = given(&self.token_file) {
            let text = read(&folder.join(file))?;
            return Ok(Some(Zeroizing::new(text.trim().to_owned())));
        }
        Ok(given(&self.token).map(Zeroizing::new))
    }

    fn certificate(&self, folder: &Path) -> Result<Option<Pair>, OperatorError> {
        let part = |field: &str, data: &str, file: &str| match (given(data), given(file)) {
            (Some(data), _) => decode(field, &data).map(Some),
            (None, Some(file)) => read(&folder.join(file)).map(Some),
            (None, None) => Ok(None),
        };
        let certificate = part(
            "client-certificate-data",
            &self.client_certificate_data,
            &self.client_certificate,
        )?;
        let key = part("client-key-data", &self.client_key_data, &self.client_key)?;
        match (certificate, key) {
            (Some(certificate), Some(key)) => Ok(Some(Pair {
                certificate: certificate.to_string(),
                key,
            })),
            (None, None) => Ok(None),
            (Some(_), None) | (None, Some(_)) => Err(OperatorError::Refused(
                "the kubeconfig's user has a client certificate without its key, or the other way round"
                    .to_owned(),
            )),
        }
    }
}

fn named<'l, T>(list: &'l [Named<T>], name: &str) -> Option<&'l T> {
    let found = list.iter().find(|entry| entry.name == name);
    found.and_then(|entry| entry.value.as_ref())
}

fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn content(path: &Path, why: impl Into<String>) -> OperatorError {
    OperatorError::Content {
        path: path.to_owned(),
        why: why.into(),
    }
}

fn load<T: DeserializeOwned>(path: &Path, node: &yaml::Node) -> Result<T, OperatorError> {
    yaml::load(node).map_err(|mistakes| {
        // Places only: what stands there may be a key.
        let places: Vec<String> = mistakes
            .iter()
            .map(|mistake| format!("line {}: {}", mistake.line, mistake.path))
            .collect();
        content(path, format!("not a kubeconfig ({})", places.join("; ")))
    })
}

fn decode(field: &str, data: &str) -> Result<Zeroizing<String>, OperatorError> {
    let wrong =
        || OperatorError::Refused(format!("{field} in the kubeconfig is not base64 of PEM"));
    let bytes = BASE64_STANDARD.decode(data.trim()).map_err(|_| wrong())?;
    String::from_utf8(bytes)
        .map(Zeroizing::new)
        .map_err(|_| wrong())
}

/// Reads a text file of a bounded size.
pub(super) fn read(path: &Path) -> Result<Zeroizing<String>, OperatorError> {
    let cannot = |source| OperatorError::File {
        path: path.to_owned(),
        source,
    };
    let size = fs::metadata(path).map_err(cannot)?.len();
    if size > MAX_BYTES {
        return Err(content(
            path,
            format!("it is larger than {MAX_BYTES} bytes"),
        ));
    }
    fs::read_to_string(path).map(Zeroizing::new).map_err(cannot)
}

#[cfg(test)]
mod tests;
