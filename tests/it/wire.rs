//! Bytes that no honest client sends: request smuggling (P7) and HTTP/2 floods (S1, S3), against the
//! listener itself.

use crate::tls;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming};
use palisade::{
    config::live::{Bound, Live},
    observe::metrics::Metrics,
    request::conn::ConnInfo,
    serve::{
        conn::Settings,
        listen::{Listener, Shared},
    },
};
use rustls::{
    pki_types::CertificateDer,
    version::{TLS12, TLS13},
};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::client::TlsStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

const PATIENCE: Duration = Duration::from_secs(10);

/// `METHOD path body`, one for each request that reached the handler with its whole body.
type Seen = Arc<Mutex<Vec<String>>>;

struct Server {
    address: SocketAddr,
    root: CertificateDer<'static>,
    seen: Seen,
}

impl Server {
    async fn start() -> Self {
        let (config, root) = tls::server();
        let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = listener.address();
        let shared = Shared {
            tls: config,
            places: Bound::new(10),
            settings: Live::fixed(Settings {
                handshake_timeout: PATIENCE,
                header_timeout: PATIENCE,
                idle_timeout: PATIENCE,
                header_bytes: 16 << 10,
                h2_streams: 100,
                h2_ping_interval: PATIENCE,
            }),
            metrics: Arc::new(Metrics::new()),
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
            open: TaskTracker::new(),
            answers: TaskTracker::new(),
        };
        let seen = Seen::default();
        let noted = Arc::clone(&seen);
        let handler = move |_: Arc<ConnInfo>, request: Request<Incoming>| {
            let noted = Arc::clone(&noted);
            async move {
                let (head, body) = request.into_parts();
                if let Ok(body) = body.collect().await {
                    let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
                    noted.lock().unwrap().push(format!(
                        "{} {} {body}",
                        head.method,
                        head.uri.path()
                    ));
                }
                Response::new(Full::new(Bytes::from_static(b"answered")))
            }
        };
        tokio::spawn(listener.run(shared, handler));
        Self {
            address,
            root,
            seen,
        }
    }

    async fn connect(&self, alpn: &str) -> TlsStream<TcpStream> {
        let config = tls::client(&self.root, &[&TLS12, &TLS13], &[alpn]);
        tls::connect(self.address, config).await.unwrap()
    }

    /// Sends bytes on a fresh HTTP/1.1 connection and reads until the server closes it.
    async fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect("http/1.1").await;
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        // Cut without a close_notify, which rustls calls an unexpected end.
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn take_seen(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }

    /// An honest client still gets its answer.
    async fn is_well(&self) {
        let answer = self
            .exchange(b"GET /well HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

// P7: what two parsers could read differently is refused, and the connection closed.
#[tokio::test]
async fn ambiguous_heads_are_400_and_end_the_connection() {
    let server = Server::start().await;
    let second = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for (name, head) in [
        ("two lengths", "Content-Length: 5\r\nContent-Length: 6\r\n"),
        ("a list of lengths", "Content-Length: 5, 6\r\n"),
        ("a signed length", "Content-Length: +5\r\n"),
        ("an unknown coding", "Transfer-Encoding: xchunked\r\n"),
        ("chunked not last", "Transfer-Encoding: chunked, gzip\r\n"),
        ("space before colon", "Content-Length : 5\r\n"),
        ("folded line", "X-A: b\r\n c: d\r\n"),
        ("no colon", "Content-Length 5\r\n"),
        ("NUL in a value", "X-A: b\0c\r\n"),
        (
            "bare CR in a value",
            "X-A: b\rTransfer-Encoding: chunked\r\n",
        ),
    ] {
        let request = format!("POST /first HTTP/1.1\r\nHost: a\r\n{head}\r\nhello{second}");
        let answer = server.exchange(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{name}: {answer}");
        assert_eq!(server.take_seen(), Vec::<String>::new(), "{name}");
    }
    let old = format!(
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{second}"
    );
    assert!(
        server
            .exchange(old.as_bytes())
            .await
            .starts_with("HTTP/1.1 400")
    );
    assert_eq!(server.take_seen(), Vec::<String>::new());
}

// P7: length and coding together. The coding counts (RFC 9112, section 6.3) and the connection ends, so
// what follows is never a request.
#[tokio::test]
async fn length_beside_chunked_is_one_request_and_the_end() {
    let server = Server::start().await;
    for head in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    ] {
        let request = format!(
            "POST /first HTTP/1.1\r\nHost: a\r\n{head}\r\n3\r\nabc\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
        );
        let answer = server.exchange(request.as_bytes()).await;
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
        let seen = server.take_seen();
        assert!(seen.is_empty() || seen == ["POST /first abc"], "{seen:?}");
    }
}

// P7: a chunk's end is exactly where it says.
#[tokio::test]
async fn broken_chunks_never_reach_the_handler_whole() {
    let server = Server::start().await;
    for chunks in [
        "5\r\nabc\r\n0\r\n\r\n",
        "3\r\nabcX0\r\n\r\n",
        "3 \nabc\r\n0\r\n\r\n",
        "-3\r\nabc\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFFF\r\nabc",
    ] {
        let request = format!(
            "POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{chunks}"
        );
        let mut stream = server.connect("http/1.1").await;
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .unwrap();
        assert_eq!(server.take_seen(), Vec::<String>::new(), "{chunks:?}");
    }
    server.is_well().await;
}

/// An HTTP/2 frame (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;

/// `:method GET`, `:scheme https`, `:path /`, and `:authority a` as a literal (RFC 7541, appendix A).
const GET: &[u8] = &[0x82, 0x87, 0x84, 0x41, 0x01, b'a'];
/// The same with POST.
const POST: &[u8] = &[0x83, 0x87, 0x84, 0x41, 0x01, b'a'];

impl Server {
    /// Sends frames of a flood until the server ends the connection; returns how many it took. Reads
    /// what comes meanwhile, so that it is the server who gives up and not a full socket.
    async fn flood(&self, first: &[u8], mut next: impl FnMut(u32) -> Vec<u8>) -> u32 {
        /// More than any bound in h2.
        const MANY: u32 = 200_000;
        let stream = self.connect("h2").await;
        let (mut reader, mut writer) = tokio::io::split(stream);
        let ended = tokio::spawn(async move {
            let mut sink = vec![0; 16 << 10];
            while reader.read(&mut sink).await.is_ok_and(|read| read > 0) {}
        });
        writer
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await
            .unwrap();
        writer.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        writer.write_all(first).await.unwrap();
        for sent in 0..MANY {
            if ended.is_finished() {
                return sent;
            }
            let bytes = next(sent);
            match timeout(PATIENCE, writer.write_all(&bytes)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return sent,
            }
        }
        panic!("the server took {MANY} frames");
    }
}

// S3: CVE-2024-27316 and its kin.
#[tokio::test]
async fn continuation_flood_ends_the_connection() {
    let server = Server::start().await;
    let first = frame(HEADERS, 0, 1, GET);
    // A literal header without indexing, `x: yyyy…`, in each.
    let mut block = vec![0x00, 0x01, b'x', 0x7f, 0x81, 0x07];
    block.extend(vec![b'y'; 1024]);
    let sent = server
        .flood(&first, |_| frame(CONTINUATION, 0, 1, &block))
        .await;
    assert!(sent < 20_000, "{sent}");
    assert_eq!(server.take_seen(), Vec::<String>::new());
    server.is_well().await;
}

// S1: CVE-2023-44487.
#[tokio::test]
async fn rapid_reset_ends_the_connection() {
    let server = Server::start().await;
    let flood = |sent: u32| {
        let stream = 1 + 2 * sent;
        let mut bytes = frame(HEADERS, 0x5, stream, GET);
        bytes.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        bytes
    };
    let sent = server.flood(&[], flood).await;
    assert!(sent < 100_000, "{sent}");
    server.is_well().await;
}

// S3: RUSTSEC-2026-0258.
#[tokio::test]
async fn empty_data_flood_ends_the_connection() {
    let server = Server::start().await;
    let first = frame(HEADERS, 0x4, 1, POST);
    server.flood(&first, |_| frame(DATA, 0, 1, &[])).await;
    assert_eq!(server.take_seen(), Vec::<String>::new());
    server.is_well().await;
}

// S3: answers to PING and SETTINGS are not queued without end for a client that does not read.
#[tokio::test]
async fn ping_and_settings_floods_of_a_deaf_client_are_held_back() {
    let server = Server::start().await;
    for bytes in [frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, 0, 0, &[])] {
        let mut stream = server.connect("h2").await;
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await
            .unwrap();
        stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        let many = bytes.repeat(1_000);
        let mut sent: usize = 0;
        // Until the sockets' buffers are full, or the server ends it: 64 MiB of frames are neither.
        while let Ok(Ok(())) = timeout(Duration::from_millis(500), stream.write_all(&many)).await {
            sent += many.len();
            assert!(sent < 64 << 20, "the server reads on and on");
        }
        server.is_well().await;
    }
}

// P7: an HTTP/2 body that is not as long as its Content-Length says.
#[tokio::test]
async fn h2_length_mismatch_never_reaches_the_handler_whole() {
    let server = Server::start().await;
    for (length, body) in [("2", "hello"), ("9", "hello")] {
        let mut stream = server.connect("h2").await;
        let mut head = POST.to_vec();
        // Literal, never indexed, name from the static table (28: content-length).
        head.extend([0x1f, 0x0d, 0x01]);
        head.extend(length.bytes());
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await
            .unwrap();
        for bytes in [
            frame(SETTINGS, 0, 0, &[]),
            frame(HEADERS, 0x4, 1, &head),
            frame(DATA, 0x1, 1, body.as_bytes()),
        ] {
            stream.write_all(&bytes).await.unwrap();
        }
        // A stream error: RST_STREAM on stream 1, before or in place of an answer.
        let reset = async {
            loop {
                let mut head = [0; 9];
                stream.read_exact(&mut head).await.unwrap();
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                let mut payload = vec![0; usize::try_from(length).unwrap()];
                stream.read_exact(&mut payload).await.unwrap();
                if head[3] == RST_STREAM {
                    break;
                }
            }
        };
        timeout(PATIENCE, reset).await.unwrap();
        assert_eq!(server.take_seen(), Vec::<String>::new(), "{length}");
    }
}

// P7: CR and LF in an HTTP/2 value would be a new line upstream.
#[tokio::test]
async fn line_breaks_in_h2_values_never_reach_the_handler() {
    let server = Server::start().await;
    let mut head = GET.to_vec();
    head.extend([0x00, 0x01, b'x', 0x06]);
    head.extend(b"a\r\nb:c");
    let mut stream = server.connect("h2").await;
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    stream
        .write_all(&frame(HEADERS, 0x5, 1, &head))
        .await
        .unwrap();
    let mut answer = vec![0; 4096];
    // SETTINGS first; then the connection's or the stream's error.
    let read = timeout(PATIENCE, stream.read(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(read > 0);
    server.is_well().await;
    let seen = server.take_seen();
    assert!(
        seen.iter().all(|line| line.starts_with("GET /well")),
        "{seen:?}"
    );
}
