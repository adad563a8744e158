use super::*;
use hyper::{server, service::service_fn};
use kept::KEEP;
use std::convert::Infallible;
use tokio::{task::JoinHandle, time::sleep};

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
