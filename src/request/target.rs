//! Where a request goes: a cluster, the gateway's own API, or something public.
//!
//! Routing refuses nothing and looks nothing up: whether a cluster exists is an answer only for those who
//! hold a grant on it. The cluster prefix is cut byte for byte from the raw target; what is left is what is
//! authorised *and* what is forwarded.

use super::Head;
use std::borrow::Cow;

/// The path prefix of clusters.
const CLUSTERS: &str = "/k8s/clusters/";
/// The path prefix of login calls, the only ones without a credential.
const LOGIN: &str = "/v1/login/";

/// Reads targets for one configuration.
#[derive(Clone, Debug, Default)]
pub struct Router {
    /// `.gate.example.com`, lower-case with a leading dot: hosts below it are clusters.
    suffix: Option<Box<str>>,
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A cluster by name, which may not exist.
    Cluster(ClusterTarget),
    /// The gateway's own API.
    Own,
    /// Login: no credential needed.
    Login,
    /// The gateway's own pages, for browsers.
    Web,
}

/// A request to a cluster: which one, and where its own target begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterTarget {
    /// The name as written.
    pub name: Box<str>,
    /// Bytes of the raw target that come before the cluster's own.
    pub cut: usize,
}

impl ClusterTarget {
    /// The target as the cluster sees it: the raw bytes after the prefix, and `/` where none is left of
    /// the path.
    pub fn rest<'h>(&self, head: &'h Head) -> Cow<'h, str> {
        let rest = head.raw_target().get(self.cut..).unwrap_or_default();
        if rest.starts_with('/') {
            Cow::Borrowed(rest)
        } else {
            Cow::Owned(format!("/{rest}"))
        }
    }
}

impl Router {
    /// A router; `base_domain` as in the config (`gate.example.com`).
    pub fn new(base_domain: Option<&str>) -> Self {
        let suffix = base_domain.map(|domain| {
            format!(".{}", domain.trim_matches('.').to_ascii_lowercase()).into_boxed_str()
        });
        Self { suffix }
    }

    /// Where this request goes.
    pub fn route(&self, head: &Head) -> Target {
        if let Some(name) = self.cluster_host(head.host()) {
            return Target::Cluster(ClusterTarget {
                name: name.into(),
                cut: 0,
            });
        }
        let raw = head.raw_target();
        if let Some(rest) = raw.strip_prefix(CLUSTERS) {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let name = rest.get(..end).unwrap_or_default();
            let cut = CLUSTERS.len() + end;
            return Target::Cluster(ClusterTarget {
                name: name.into(),
                cut,
            });
        }
        let path = head.raw_path();
        if path.starts_with(LOGIN) {
            return Target::Login;
        }
        if is_page(path) {
            return Target::Web;
        }
        Target::Own
    }

    fn cluster_host<'h>(&self, host: Option<&'h str>) -> Option<&'h str> {
        let suffix = self.suffix.as_deref()?;
        let name = host?.strip_suffix(suffix)?;
        (!name.is_empty()).then_some(name)
    }
}

/// Exactly the pages, byte for byte: another spelling of one is none.
fn is_page(path: &str) -> bool {
    matches!(
        path,
        "/" | "/login" | "/logout" | "/authorize" | "/device" | "/sessions"
    ) || path.starts_with("/login/")
        || path.starts_with("/assets/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn route(domain: Option<&str>, host: &str, target: &str) -> (Target, String) {
        let request = Request::get(target).header("host", host).body(()).unwrap();
        let (head, ()) = Head::split(request).unwrap();
        let target = Router::new(domain).route(&head);
        let rest = match &target {
            Target::Cluster(cluster) => cluster.rest(&head),
            Target::Own | Target::Login | Target::Web => head.raw_target().into(),
        };
        let rest = rest.into_owned();
        (target, rest)
    }

    fn cluster(name: &str, cut: usize) -> Target {
        Target::Cluster(ClusterTarget {
            name: name.into(),
            cut,
        })
    }

    #[test]
    fn prefix_is_cut_byte_for_byte() {
        let cases = [
            (
                "/k8s/clusters/a/api/v1//x%2e?y",
                cluster("a", 15),
                "/api/v1//x%2e?y",
            ),
            ("/k8s/clusters/a", cluster("a", 15), "/"),
            ("/k8s/clusters/a?x=1", cluster("a", 15), "/?x=1"),
            ("/k8s/clusters//api", cluster("", 14), "/api"),
            ("/k8s/clusters/..%2fb/api", cluster("..%2fb", 20), "/api"),
        ];
        for (raw, target, rest) in cases {
            assert_eq!(route(None, "gate", raw), (target, rest.to_owned()), "{raw}");
        }
    }

    #[test]
    fn only_the_exact_prefix_is_a_cluster() {
        for raw in [
            "/K8s/clusters/a/api",
            "/k8s//clusters/a",
            "/%6b8s/clusters/a/api",
            "/api/v1",
        ] {
            assert_eq!(route(None, "gate", raw).0, Target::Own, "{raw}");
        }
        assert_eq!(route(None, "gate", "/v1/login/password").0, Target::Login);
        for page in [
            "/",
            "/login",
            "/login/local",
            "/device?user_code=x",
            "/assets/a/../b",
        ] {
            assert_eq!(route(None, "gate", page).0, Target::Web, "{page}");
        }
        for none in [
            "//",
            "/Login",
            "/login%2f",
            "/device/",
            "/loginx",
            "/x/../login",
            "/./",
        ] {
            assert_eq!(route(None, "gate", none).0, Target::Own, "{none}");
        }
    }

    // P12: a cluster's host name serves that cluster alone, whatever the path says.
    #[test]
    fn cluster_host_wins_over_every_path() {
        let domain = Some("Gate.example.");
        for raw in [
            "/",
            "/k8s/clusters/other/api",
            "/v1/login/password",
            "/login",
            "/device",
            "/apis",
        ] {
            let (target, rest) = route(domain, "prod.gate.example:6443", raw);
            assert_eq!(target, cluster("prod", 0));
            assert_eq!(rest, raw);
        }
        assert_eq!(
            route(domain, "prod.gate.example.", "/").0,
            cluster("prod", 0)
        );
        assert_eq!(route(domain, "gate.example", "/apis").0, Target::Own);
        assert_eq!(route(domain, "a.b.gate.example", "/").0, cluster("a.b", 0));
    }
}
