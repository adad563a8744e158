//! What stands before the load: two upstreams, a filled store, and the proxies between them.

use crate::{
    load::Aim,
    proc::{self, LOAD_CPU, PROXY_CPU, Process},
    tls::Files,
};
use anyhow::{Context as _, Result, bail};
use http::HeaderValue;
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

/// Programs that were built before.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The gateway as it is shipped.
    pub palisade: PathBuf,
    /// The seeder and the counting builds.
    pub world: PathBuf,
    /// This program.
    pub load: PathBuf,
}

/// How much a store holds.
#[derive(Clone, Copy, Debug, clap::Args, serde::Serialize, serde::Deserialize)]
pub struct Sizes {
    /// Users
    #[arg(long, default_value_t = 1_000)]
    pub users: usize,
    /// Tokens, one drawn at random for each request
    #[arg(long, default_value_t = 10_000)]
    pub tokens: usize,
    /// Bindings
    #[arg(long, default_value_t = 1_000)]
    pub bindings: usize,
    /// Clusters
    #[arg(long, default_value_t = 20)]
    pub clusters: usize,
}

/// Folder, certificates and upstreams.
pub struct World {
    /// Everything is in here.
    pub folder: PathBuf,
    /// Certificates.
    pub files: Files,
    /// The programs.
    pub programs: Programs,
    /// Speaks HTTP/1.1 alone.
    pub h1: Upstream,
    /// Speaks HTTP/2 (and HTTP/1.1 for upgrades).
    pub h2: Upstream,
}

/// One upstream.
pub struct Upstream {
    process: Process,
    /// Where it listens.
    pub port: u16,
    /// Where it says its counts.
    pub control: u16,
}

impl Upstream {
    fn start(world: &Path, load: &Path, alpn: &[&str]) -> Result<Self> {
        let folder = world.display().to_string();
        let program = load.display().to_string();
        let mut command = vec![program.as_str(), "upstream", "--folder", &folder];
        for name in alpn {
            command.extend(["--alpn", name]);
        }
        let mut process = Process::start(LOAD_CPU, &command, &world.join("upstream.log"))?;
        let ports = process.ready()?;
        Ok(Self {
            port: ports[0],
            control: ports[1],
            process,
        })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

impl World {
    /// Makes the folder and starts the upstreams.
    pub fn start(folder: PathBuf, programs: Programs) -> Result<Self> {
        fs::create_dir_all(&folder)?;
        let files = Files::make(&folder)?;
        let h1 = Upstream::start(&folder, &programs.load, &["http/1.1"])?;
        let h2 = Upstream::start(&folder, &programs.load, &["h2", "http/1.1"])?;
        Ok(Self {
            folder,
            files,
            programs,
            h1,
            h2,
        })
    }
}

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Debian's.
    HAProxy,
    /// Debian's.
    Nginx,
    /// The bare proxy.
    Rp,
    /// The gateway.
    Gateway,
    /// Another build of it.
    Before,
    /// No proxy at all.
    Direct,
}

/// Which protocol the upstream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// HTTP/1.1
    H1,
    /// HTTP/2
    H2,
}

/// A running proxy, with an address for each kind of upstream.
pub struct Proxy {
    process: Process,
    h1: Option<SocketAddr>,
    h2: Option<SocketAddr>,
    /// The gateway's alone: its tokens, and its log.
    pub gateway: Option<Gateway>,
}

/// What is known of a gateway's store.
pub struct Gateway {
    /// `Bearer …`
    pub tokens: Arc<Vec<HeaderValue>>,
    /// `Bearer …` of an admin.
    pub admin: HeaderValue,
    /// `Bearer …` of the user with many bindings.
    pub heavy: HeaderValue,
    /// `Bearer …` of the user with many groups.
    pub crowd: HeaderValue,
    /// `Bearer …` of tokens of the right form that nobody holds.
    pub strangers: Vec<HeaderValue>,
    /// Grows by a line a request.
    pub log: PathBuf,
    /// Where its metrics are.
    pub admin_port: u16,
}

impl Proxy {
    /// The process to be measured.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Waits until it has nothing to do by itself, for two minutes at most: a gateway reads and writes policy in its
    /// clusters when it starts. Seconds that it took.
    pub async fn at_rest(&self) -> Result<f64> {
        proc::at_rest(self.pid(), Duration::from_mins(2)).await
    }

    /// Where it takes requests for that upstream; `None` if it cannot reach such a one.
    pub fn address(&self, side: Side) -> Option<SocketAddr> {
        match side {
            Side::H1 => self.h1,
            Side::H2 => self.h2,
        }
    }

    /// Throws the log away: a run writes gigabytes.
    pub fn trim(&self) -> Result<()> {
        if let Some(gateway) = &self.gateway {
            fs::File::options()
                .write(true)
                .open(&gateway.log)?
                .set_len(0)?;
        }
        Ok(())
    }
}

fn counts_at(port: u16) -> String {
    format!("PALISADE_LOAD_COUNTS={port}")
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Names of the clusters behind an upstream: even ones speak HTTP/1.1, odd ones HTTP/2.
pub fn prefixes(side: Side, clusters: usize) -> Vec<String> {
    let first = usize::from(side == Side::H2);
    (first..clusters)
        .step_by(2)
        .map(|number| format!("/k8s/clusters/c{number}"))
        .collect()
}

impl World {
    /// HAProxy: one thread, both upstreams.
    pub fn haproxy(&self) -> Result<Proxy> {
        let (h1, h2) = (proc::free_port()?, proc::free_port()?);
        let (cert, ca) = (self.files.both.display(), self.files.ca.display());
        let config = format!(
            "\
global
  nbthread 1
  maxconn 8000
  tune.ssl.cachesize 0
  ssl-default-bind-options ssl-min-ver TLSv1.3 no-tls-tickets
  ssl-default-server-options ssl-min-ver TLSv1.3
defaults
  mode http
  option http-keep-alive
  http-reuse always
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout tunnel 1h
frontend f1
  bind 127.0.0.1:{h1} ssl crt {cert} alpn h2,http/1.1
  default_backend b1
frontend f2
  bind 127.0.0.1:{h2} ssl crt {cert} alpn h2,http/1.1
  default_backend b2
backend b1
  server s 127.0.0.1:{} ssl verify required ca-file {ca} alpn http/1.1
backend b2
  # HTTP/2 has no reason phrase; without one HAProxy's HTTP/1.1 answers are taken for broken by some clients.
  http-response set-status 200 reason OK if {{ status 200 }}
  server s 127.0.0.1:{} ssl verify required ca-file {ca} alpn h2
",
            self.h1.port, self.h2.port
        );
        let path = self.folder.join("haproxy.cfg");
        fs::write(&path, config)?;
        let log = self.folder.join("haproxy.log");
        let path = path.display().to_string();
        let command = ["haproxy", "-db", "-f", &path];
        let mut process = Process::start(PROXY_CPU, &command, &log)?;
        process.listens(h2).context("haproxy.log tells why")?;
        Ok(Proxy {
            process,
            h1: Some(local(h1)),
            h2: Some(local(h2)),
            gateway: None,
        })
    }

    /// nginx: one worker; it has no HTTP/2 to upstreams.
    pub fn nginx(&self) -> Result<Proxy> {
        let port = proc::free_port()?;
        let folder = self.folder.join("nginx");
        fs::create_dir_all(&folder)?;
        let (cert, key) = (self.files.cert.display(), self.files.key.display());
        let config = format!(
            "\
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/pid;
error_log {folder}/error.log error;
events {{ worker_connections 16000; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  keepalive_requests 100000000; keepalive_timeout 1h;
  proxy_max_temp_file_size 0;
  ssl_protocols TLSv1.3; ssl_session_cache off; ssl_session_tickets off;
  map $http_upgrade $connection_upgrade {{ default Upgrade; '' ''; }}
  upstream u {{ server 127.0.0.1:{up}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} ssl http2;
    ssl_certificate {cert}; ssl_certificate_key {key};
    location / {{
      proxy_pass https://u;
      proxy_http_version 1.1;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header Upgrade $http_upgrade;
      proxy_ssl_protocols TLSv1.3;
      proxy_ssl_verify on; proxy_ssl_trusted_certificate {ca}; proxy_ssl_name localhost;
      proxy_read_timeout 1h; proxy_send_timeout 1h;
    }}
  }}
}}
",
            folder = folder.display(),
            up = self.h1.port,
            ca = self.files.ca.display(),
        );
        let path = folder.join("nginx.conf");
        fs::write(&path, config)?;
        let log = self.folder.join("nginx.log");
        let path = path.display().to_string();
        let mut process = Process::start(PROXY_CPU, &["nginx", "-c", &path], &log)?;
        process.listens(port).context("nginx/error.log tells why")?;
        Ok(Proxy {
            process,
            h1: Some(local(port)),
            h2: None,
            gateway: None,
        })
    }

    /// The bare proxy; with a port: the build that counts allocations, and tells them there.
    pub fn rp(&self, counts: Option<u16>) -> Result<Proxy> {
        let (program, counts) = match counts {
            Some(port) => (&self.programs.world, counts_at(port)),
            None => (&self.programs.load, "LC_ALL=C".to_owned()),
        };
        let (program, folder) = (
            program.display().to_string(),
            self.folder.display().to_string(),
        );
        let (h1, h2) = (self.h1.port.to_string(), self.h2.port.to_string());
        let mut command = vec!["env", &counts, program.as_str(), "rp"];
        command.extend(["--folder", &folder, "--h1", &h1, "--h2", &h2]);
        let mut process = Process::start(PROXY_CPU, &command, &self.folder.join("rp.log"))?;
        let ports = process.ready()?;
        Ok(Proxy {
            process,
            h1: Some(local(ports[0])),
            h2: Some(local(ports[1])),
            gateway: None,
        })
    }

    /// Fills a store in `name`, unless it is there.
    pub fn seed(&self, name: &str, sizes: Sizes, heavy: usize) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        if folder.join("admin").exists() {
            return Ok(folder);
        }
        fs::create_dir_all(&folder)?;
        // Nothing is measured meanwhile: it may have both cores.
        let status = Command::new("taskset")
            .args(["-c", &format!("{PROXY_CPU},{LOAD_CPU}")])
            .arg(&self.programs.world)
            .arg("seed")
            .arg(&folder)
            .args(["--ca".as_ref(), self.files.ca.as_os_str()])
            .args(["--h1", &self.h1.port.to_string()])
            .args(["--h2", &self.h2.port.to_string()])
            .args(["--users", &sizes.users.to_string()])
            .args(["--tokens", &sizes.tokens.to_string()])
            .args(["--bindings", &sizes.bindings.to_string()])
            .args(["--clusters", &sizes.clusters.to_string()])
            .args(["--heavy", &heavy.to_string()])
            .status()?;
        if !status.success() {
            bail!("the store could not be filled");
        }
        Ok(folder)
    }

    /// The gateway with the store of `seed`; with a port: the build that counts allocations, and tells them there.
    pub fn gateway(&self, store: &Path, counts: Option<u16>) -> Result<Proxy> {
        self.gateway_of(&self.programs.palisade, store, counts)
    }

    /// The same of this build.
    pub fn gateway_of(&self, palisade: &Path, store: &Path, counts: Option<u16>) -> Result<Proxy> {
        let (port, admin_port) = (proc::free_port()?, proc::free_port()?);
        let config = format!(
            "\
listen: 127.0.0.1:{port}
admin_listen: 127.0.0.1:{admin_port}
external_url: https://localhost:{port}
tls: {{cert_file: '{cert}', key_file: '{key}'}}
state: {{store: state.db, key_file: keys}}
clusters: {{danger_allow_loopback_clusters: true, health_interval: 5m}}
log: {{format: json}}
audit: {{output: file, path: audit.log}}
",
            cert = self.files.cert.display(),
            key = self.files.key.display(),
        );
        let path = store.join("palisade.yaml");
        fs::write(&path, config)?;
        let counted = counts.is_some();
        let (program, counts) = match counts {
            Some(port) => (self.programs.world.as_path(), counts_at(port)),
            None => (palisade, "LC_ALL=C".to_owned()),
        };
        let (program, path) = (program.display().to_string(), path.display().to_string());
        let mut command = vec!["env", &counts, program.as_str()];
        if counted {
            command.push("gateway");
        }
        command.extend(["serve", "--config", &path]);
        let log = store.join("gateway.log");
        let mut process = Process::start(PROXY_CPU, &command, &log)?;
        ready(&mut process, admin_port).with_context(|| format!("{} tells why", log.display()))?;
        let bearer = |token: &str| HeaderValue::try_from(format!("Bearer {token}"));
        let list = |name: &str| -> Result<Vec<HeaderValue>> {
            let text = fs::read_to_string(store.join(name))?;
            Ok(text.lines().map(bearer).collect::<Result<_, _>>()?)
        };
        let read = |name: &str| -> Result<HeaderValue> {
            Ok(bearer(fs::read_to_string(store.join(name))?.trim())?)
        };
        let gateway = Gateway {
            tokens: Arc::new(list("tokens")?),
            admin: read("admin")?,
            heavy: read("heavy")?,
            crowd: read("crowd")?,
            strangers: list("strangers")?,
            log,
            admin_port,
        };
        Ok(Proxy {
            process,
            h1: Some(local(port)),
            h2: Some(local(port)),
            gateway: Some(gateway),
        })
    }

    /// What the load of one target aims at. All proxies get the same requests, the gateway's tokens too.
    pub fn aim(
        &self,
        address: SocketAddr,
        tokens: &Arc<Vec<HeaderValue>>,
        prefixes: Vec<String>,
    ) -> Result<Aim> {
        Aim::new(address, &self.files.ca, Arc::clone(tokens), prefixes)
    }

    /// The upstream of that protocol.
    pub fn upstream(&self, side: Side) -> &Upstream {
        match side {
            Side::H1 => &self.h1,
            Side::H2 => &self.h2,
        }
    }
}

/// What the admin listener answers.
fn admin(port: u16, path: &str) -> Result<String> {
    use std::io::{Read as _, Write as _};
    let mut stream = TcpStream::connect(local(port))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

impl Gateway {
    /// Attempts to connect to this cluster so far, by the gateway's own metrics.
    pub fn dials(&self, cluster: &str) -> Result<u64> {
        let of = format!("cluster=\"{cluster}\"");
        let text = admin(self.admin_port, "/metrics")?;
        let lines = text.lines().filter(|line| {
            line.starts_with("palisade_upstream_handshakes_total{") && line.contains(&of)
        });
        let counts: Vec<u64> = lines
            .map(|line| Ok(line.rsplit(' ').next().unwrap_or_default().parse()?))
            .collect::<Result<_>>()?;
        if counts.is_empty() {
            bail!("no handshakes of {cluster} in the metrics");
        }
        Ok(counts.iter().sum())
    }
}

/// Waits for `/readyz` to say 200.
fn ready(process: &mut Process, port: u16) -> Result<()> {
    process.listens(port)?;
    let end = Instant::now() + proc::PATIENCE;
    loop {
        match admin(port, "/readyz") {
            Ok(answer) if answer.starts_with("HTTP/1.1 200") => return Ok(()),
            Err(error) if Instant::now() > end => return Err(error),
            // It still reads its store, and has little time for others.
            Ok(_) | Err(_) => {}
        }
        process.lives()?;
        if Instant::now() > end {
            bail!("the gateway does not get ready");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
