//! Closed loops: the next request when the last is answered.

use super::{Aim, Burst, Client, Meter, Profile, Proto, Unmeasured, clients};
use anyhow::Result;
use futures_util::future::{join_all, try_join_all};
use http::{HeaderMap, HeaderValue};
use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

/// Many equal GETs.
#[derive(Clone, Debug)]
pub struct Gets {
    /// Protocol of the client side.
    pub proto: Proto,
    /// Connections.
    pub connections: usize,
    /// Requests at a time on each (1 on HTTP/1.1).
    pub streams: usize,
    /// In all.
    pub requests: usize,
    /// Headers.
    pub profile: Profile,
    /// Behind the cluster's prefix.
    pub path: String,
    /// Bytes of each answer.
    pub bytes: usize,
}

/// Opens the connections, warms each, and makes the requests.
pub async fn closed(aim: &Aim, gets: &Gets, meter: &mut impl Meter) -> Result<Burst> {
    let headers = gets.profile.headers();
    let mut open = clients(aim, gets.proto, gets.connections).await?;
    let mut burst = Burst::default();
    for got in join_all(open.iter_mut().map(|client| {
        let request = aim.request(gets.proto, &headers, &gets.path);
        client.send(request)
    }))
    .await
    {
        got?;
    }
    let left = Rc::new(Cell::new(gets.requests));
    let mut workers = Vec::new();
    for client in open {
        for _ in 1..gets.streams {
            workers.push(client.shared()?);
        }
        workers.push(client);
    }
    meter.start()?;
    let parts = join_all(
        workers
            .iter_mut()
            .map(|client| work(aim, gets, &headers, client, Rc::clone(&left))),
    )
    .await;
    meter.stop()?;
    for part in parts {
        burst.add(part);
    }
    burst.all_right()
}

/// Some requests over both protocols, so that what is made once is made.
pub async fn warm(aim: &Aim) -> Result<()> {
    for proto in [Proto::H1, Proto::H2] {
        let gets = Gets {
            proto,
            connections: 4,
            streams: if proto == Proto::H1 { 1 } else { 8 },
            requests: 1_000,
            profile: Profile::Kubectl,
            path: "/api/v1/namespaces/default/pods/b1024".to_owned(),
            bytes: 1024,
        };
        closed(aim, &gets, &mut Unmeasured).await?;
    }
    Ok(())
}

async fn work(
    aim: &Aim,
    gets: &Gets,
    headers: &HeaderMap,
    client: &mut Client,
    left: Rc<Cell<usize>>,
) -> Burst {
    let mut burst = Burst::default();
    while left.get() > 0 {
        left.set(left.get() - 1);
        let request = aim.request(gets.proto, headers, &gets.path);
        let began = Instant::now();
        let got = client.send(request).await;
        burst.count(&got, Some(gets.bytes), began);
        if got.is_err() {
            break;
        }
    }
    burst
}

/// New connections with one request each, some at a time; what is counted is connections.
pub async fn connects(
    aim: &Aim,
    proto: Proto,
    parallel: usize,
    count: usize,
    meter: &mut impl Meter,
) -> Result<Burst> {
    let headers = Profile::Kubectl.headers();
    let left = Rc::new(Cell::new(count));
    meter.start()?;
    let parts = join_all((0..parallel).map(|_| async {
        let mut burst = Burst::default();
        while left.get() > 0 {
            left.set(left.get() - 1);
            let began = Instant::now();
            let got = async {
                let mut client = aim.client(proto).await?;
                let path = "/api/v1/namespaces/default/pods/b1024";
                client.send(aim.request(proto, &headers, path)).await
            };
            burst.count(&got.await, Some(1024), began);
        }
        burst
    }))
    .await;
    meter.stop()?;
    let mut burst = Burst::default();
    for part in parts {
        burst.add(part);
    }
    burst.all_right()
}

/// API groups that an old kubectl asks for, one request each.
const GROUPS: usize = 60;

/// Old kubectl: a new connection, `/api` and `/apis`, then every group at once. Counts requests.
pub async fn discovery(aim: &Aim, people: usize, meter: &mut impl Meter) -> Result<Burst> {
    let headers = Profile::Kubectl.headers();
    let mut burst = Burst::default();
    meter.start()?;
    for _ in 0..people {
        let mut client = aim.client(Proto::H2).await?;
        // One person is one token.
        let aim = aim.with_tokens(vec![aim.token()]);
        for path in ["/api", "/apis"] {
            let began = Instant::now();
            let got = client.send(aim.request(Proto::H2, &headers, path)).await;
            burst.count(&got, None, began);
        }
        let all = (0..GROUPS).map(|group| {
            let path = format!("/apis/group{group}.example.com/v1?limit=4096");
            let request = aim.request(Proto::H2, &headers, &path);
            let client = client.shared();
            async move {
                let began = Instant::now();
                anyhow::Ok((client?.send(request).await, began))
            }
        });
        for (got, began) in try_join_all(all).await? {
            burst.count(&got, Some(4096), began);
        }
    }
    meter.stop()?;
    burst.all_right()
}

/// Strangers with tokens that nobody made, as fast as they are refused; ends at the deadline. The tokens are of the
/// right form, so that each must be looked up.
pub async fn flood(
    aim: &Aim,
    tokens: Vec<HeaderValue>,
    connections: usize,
    until: Duration,
) -> Result<Burst> {
    let aim = aim.with_tokens(tokens);
    let headers = Profile::Controller.headers();
    let mut open = clients(&aim, Proto::H1, connections).await?;
    let end = Instant::now() + until;
    let parts = join_all(open.iter_mut().map(|client| async {
        let mut burst = Burst::default();
        while Instant::now() < end {
            let path = "/api/v1/namespaces/default/pods/b1024";
            let request = aim.request(Proto::H1, &headers, path);
            let began = Instant::now();
            let got = client.send(request).await;
            burst.count(&got, None, began);
            if got.is_err() {
                // Thrown out: comes back, as floods do.
                match aim.client(Proto::H1).await {
                    Ok(new) => *client = new,
                    Err(_) => break,
                }
            }
        }
        burst
    }))
    .await;
    let mut burst = Burst::default();
    for part in parts {
        burst.add(part);
    }
    Ok(burst)
}
