//! What stays open: watches, upgraded streams, idle connections.

use super::{Aim, Burst, Client, Meter, Profile, Proto, clients};
use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::client::TlsStream;

/// Watches.
#[derive(Clone, Copy, Debug)]
pub struct Watches {
    /// Protocol of the client side.
    pub proto: Proto,
    /// Connections.
    pub connections: usize,
    /// Watches on each (1 on HTTP/1.1).
    pub streams: usize,
    /// Milliseconds between two events of each; 0: none.
    pub every: u64,
}

/// Watches that stand; dropped, they end.
pub struct Open {
    /// The connections live as long.
    _clients: Vec<Client>,
    bodies: Vec<Incoming>,
}

/// Opens watches and waits for the first event of each.
pub async fn hold(aim: &Aim, of: Watches) -> Result<Open> {
    let headers = Profile::Controller.headers();
    let mut bodies = Vec::new();
    let mut open = clients(aim, of.proto, of.connections).await?;
    let path = format!("/api/v1/pods?watch=1&resourceVersion={}", of.every);
    for client in &mut open {
        for _ in 0..of.streams {
            let request = aim.request(of.proto, &headers, &path);
            let response = match client {
                Client::H1(sender) => sender.send_request(request).await?,
                Client::H2(sender) => sender.send_request(request).await?,
            };
            if response.status() != 200 {
                bail!("a watch was answered with {}", response.status());
            }
            let mut body = response.into_body();
            body.frame().await.context("no first event")??;
            bodies.push(body);
        }
    }
    Ok(Open {
        _clients: open,
        bodies,
    })
}

/// How long watches run before their events count.
const SETTLE: Duration = Duration::from_millis(400);

/// Counts the events of these watches for some time.
pub async fn watches(
    aim: &Aim,
    of: Watches,
    length: Duration,
    meter: &mut impl Meter,
) -> Result<Burst> {
    let mut open = hold(aim, of).await?;
    let events = Rc::new(Cell::new(0));
    let mut all = std::pin::pin!(join_all(open.bodies.iter_mut().map(|body| {
        let events = Rc::clone(&events);
        async move {
            let mut bytes = 0;
            while let Some(Ok(frame)) = body.frame().await {
                bytes += frame.data_ref().map_or(0, Bytes::len);
                while bytes >= 1024 {
                    bytes -= 1024;
                    events.set(events.get() + 1);
                }
            }
        }
    })));
    // What came while the others were opened is read first.
    let mut ended = timeout(SETTLE, &mut all).await.is_ok();
    events.set(0);
    meter.start()?;
    ended |= timeout(length, &mut all).await.is_ok();
    meter.stop()?;
    if ended {
        bail!("the watches ended by themselves");
    }
    Ok(Burst {
        done: events.get(),
        bytes: events.get() * 1024,
        ..Burst::default()
    })
}

/// Connections that have done what `path` says (nothing: the handshake alone) and then idle.
pub async fn idle(aim: &Aim, proto: Proto, count: usize, path: Option<&str>) -> Result<impl Sized> {
    let headers = Profile::Kubectl.headers();
    let mut open = Vec::new();
    let mut bare = Vec::new();
    for _ in 0..count {
        let Some(path) = path else {
            bare.push(aim.connect(proto).await?);
            continue;
        };
        let mut client = aim.client(proto).await?;
        let got = client.send(aim.request(proto, &headers, path)).await?;
        if got.status != 200 {
            bail!("answered with {}", got.status);
        }
        open.push(client);
    }
    Ok((open, bare))
}

/// Bytes of one exec message: a key press with its framing, generously.
const MESSAGE: usize = 128;

/// Sessions that send a message, wait for its echo, and send the next.
pub async fn echo(
    aim: &Aim,
    sessions: usize,
    trips: usize,
    meter: &mut impl Meter,
) -> Result<Burst> {
    let mut open = Vec::new();
    for _ in 0..sessions {
        open.push(
            upgrade(
                aim,
                "/api/v1/namespaces/default/pods/p/exec?command=sh&stdin=true",
            )
            .await?,
        );
    }
    meter.start()?;
    let parts = join_all(open.iter_mut().map(|stream| async move {
        let mut burst = Burst::default();
        let mut buffer = [b'x'; MESSAGE];
        for _ in 0..trips {
            let began = Instant::now();
            stream.write_all(&buffer).await?;
            stream.flush().await?;
            stream.read_exact(&mut buffer).await?;
            burst.nanos.push(began.elapsed().as_nanos() as u64);
            burst.done += 1;
        }
        anyhow::Ok(burst)
    }))
    .await;
    meter.stop()?;
    let mut burst = Burst::default();
    for part in parts {
        burst.add(part?);
    }
    Ok(burst)
}

/// One port-forward that carries so many bytes down.
pub async fn forward(aim: &Aim, bytes: u64, meter: &mut impl Meter) -> Result<Burst> {
    let mut stream = upgrade(aim, "/api/v1/namespaces/default/pods/p/portforward").await?;
    meter.start()?;
    stream.write_u64(bytes).await?;
    stream.flush().await?;
    let mut buffer = vec![0; 64 << 10];
    let mut left = bytes;
    while left > 0 {
        let read = stream.read(&mut buffer).await? as u64;
        if read == 0 {
            bail!("the stream ended {left} bytes early");
        }
        left -= read;
    }
    meter.stop()?;
    Ok(Burst {
        done: 1,
        bytes: bytes as usize,
        ..Burst::default()
    })
}

/// An upgraded stream, as kubectl asks for it.
async fn upgrade(aim: &Aim, path: &str) -> Result<TlsStream<TcpStream>> {
    let mut stream = aim.connect(Proto::H1).await?;
    let token = aim.token();
    let request = format!(
        "POST {}{path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: kubectl/v1.36.3 (linux/amd64) kubernetes/0f3a1b2\r\n\
         Content-Length: 0\r\nAuthorization: {}\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\
         X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n",
        aim.prefix(),
        aim.address,
        token.to_str()?
    );
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    if !head.starts_with(b"HTTP/1.1 101") {
        bail!("no 101: {}", String::from_utf8_lossy(&head));
    }
    Ok(stream)
}
