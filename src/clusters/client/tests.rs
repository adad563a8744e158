use super::*;
use crate::{
    clusters::registry,
    objects::{Cluster, ClusterSpec},
    proxy::{dial::Reach, endpoint},
};
use hyper::{server, service::service_fn};
use kept::KEEP;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use std::{
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
    time::sleep,
};
use tokio_rustls::TlsAcceptor;

/// A connection to a server that answers at once, or after an hour if the path says so; where one is kept, and the
/// server's end.
async fn connected() -> (Link, Arc<Kept>, JoinHandle<()>) {
    let (near, far) = tokio::io::duplex(1 << 16);
    let service = service_fn(|request: Request<Incoming>| async move {
        if request.uri().path() == "/slow" {
            sleep(Duration::from_hours(1)).await;
        }
        let body = Full::new(Bytes::from_static(b"rest"));
        Ok::<_, Infallible>(Response::new(body))
    });
    let server = tokio::spawn(async move {
        let connection = server::conn::http1::Builder::new();
        let _ = connection
            .serve_connection(TokioIo::new(far), service)
            .await;
    });
    let (sender, connection) = http1::handshake(TokioIo::new(near)).await.unwrap();
    let kept = Arc::<Kept>::default();
    (Link::drive(sender, connection, &kept), kept, server)
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(path)
        .header(header::HOST, "test")
        .body(Full::default())
        .unwrap()
}

async fn read(response: Response<Incoming>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_waits_for_too_long_is_closed() {
    let (mut link, kept, server) = connected().await;
    let response = link.sender.send_request(get("/")).await.unwrap();
    assert_eq!(read(response).await, "rest");
    link.wait(&mut *kept.lock().await);
    sleep(KEEP / 2).await;
    assert!(kept.lock().await.is_some());
    timeout(KEEP * 3, server).await.unwrap().unwrap();
    assert!(kept.lock().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_used_again_and_again_stays() {
    let (mut link, kept, server) = connected().await;
    for _ in 0..20 {
        let response = link.sender.send_request(get("/")).await.unwrap();
        assert_eq!(read(response).await, "rest");
        link.wait(&mut *kept.lock().await);
        sleep(KEEP.mul_f64(0.9)).await;
        let waiting = kept.lock().await.take().unwrap();
        link = waiting.take().unwrap();
    }
    assert!(!server.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_connection_with_an_answer_under_way_is_left_alone() {
    let (mut link, kept, server) = connected().await;
    let answer = link.sender.send_request(get("/slow"));
    link.wait(&mut *kept.lock().await);
    let response = timeout(KEEP * 1000, answer).await.unwrap().unwrap();
    assert_eq!(read(response).await, "rest");
    // And from then on it is one that waits.
    timeout(KEEP * 3, server).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_somebody_took_for_themselves_stays() {
    let (link, kept, server) = connected().await;
    sleep(KEEP * 100).await;
    assert!(kept.lock().await.is_none() && !server.is_finished());
    drop(link);
    timeout(KEEP, server).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_waits_again_is_closed_as_well() {
    let (link, kept, server) = connected().await;
    link.wait(&mut *kept.lock().await);
    let link = kept.lock().await.take().unwrap().take().unwrap();
    // Whoever looked after it has found nothing.
    sleep(KEEP * 3).await;
    assert!(!server.is_finished());
    link.wait(&mut *kept.lock().await);
    timeout(KEEP * 3, server).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_being_used_when_its_time_came_is_closed_later() {
    let (link, kept, server) = connected().await;
    link.wait(&mut *kept.lock().await);
    sleep(KEEP / 2).await;
    let mut using = kept.lock().await;
    let link = using.take().unwrap().take().unwrap();
    sleep(KEEP).await;
    assert!(!server.is_finished());
    link.wait(&mut using);
    drop(using);
    timeout(KEEP * 3, server).await.unwrap().unwrap();
}

/// A client of a server that answers `answers` requests on each connection, and closes it when it has read the next; and
/// how many connections there were.
async fn client_of_a_server_that_hangs_up(answers: usize) -> (Client, Arc<AtomicUsize>) {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca_params = CertificateParams::new(Vec::new()).unwrap();
    ca_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = ca_params.self_signed(&ca_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &Issuer::new(ca_params, ca_key));
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(endpoint::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.unwrap().der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Relaxed);
            let mut stream = acceptor.accept(stream).await.unwrap();
            let mut request = [0; 4096];
            for _ in 0..answers {
                if stream.read(&mut request).await.is_ok_and(|bytes| bytes > 0) {
                    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
            let _ = stream.read(&mut request).await;
        }
    });
    let spec = ClusterSpec {
        server: format!("https://localhost:{port}"),
        ca: ca.pem(),
        ..ClusterSpec::default()
    };
    let target = registry::target(&Cluster::new("fake", spec), Reach::ClustersAndLoopback);
    (Client::new(Arc::new(target.unwrap()), None), count)
}

// O7: a watch only reads, so it may be asked for again; a write is not.
#[tokio::test]
async fn a_watch_that_meets_the_end_of_a_kept_connection_is_asked_for_once_more() {
    let (client, connections) = client_of_a_server_that_hangs_up(1).await;
    client.send(Method::GET, "/list", None).await.unwrap();
    assert!(client.follow("/watch").await.is_ok());
    assert_eq!(connections.load(Relaxed), 2);

    let (client, connections) = client_of_a_server_that_hangs_up(1).await;
    client.send(Method::GET, "/list", None).await.unwrap();
    let write = client.send(Method::POST, "/write", None).await;
    assert!(matches!(write, Err(ClientError::Broken { .. })));
    assert_eq!(connections.load(Relaxed), 1);
}

#[tokio::test]
async fn a_watch_over_a_fresh_connection_is_asked_for_once() {
    let (client, connections) = client_of_a_server_that_hangs_up(0).await;
    let refused = client.follow("/watch").await;
    assert!(matches!(refused, Err(ClientError::Broken { .. })));
    assert_eq!(connections.load(Relaxed), 1);
}
