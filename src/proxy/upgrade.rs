//! Two upgraded connections, joined.
//!
//! SPDY and WebSocket half-close in band, so relaying bytes is enough (kubernetes.md §4.4). When one side
//! ends, what it had sent is flushed to the other before both close: exit codes travel last. A client
//! that still talks then (a ping, the answer to a close frame) is listened to until it has read
//! everything: closing a socket with unread bytes would have the kernel throw away what is still to be
//! sent.

use super::{
    exit::{Exit, Peek},
    limits,
};
use crate::observe::metrics::{labels::Direction, meter::Stream};
use hyper_util::rt::TokioIo;
use std::{
    pin::pin,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

/// Bytes carried by an upgraded stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Client to cluster.
    pub up: u64,
    /// Cluster to client.
    pub down: u64,
    /// How the command ended, if it was one.
    pub exit: Option<Exit>,
    /// The gateway ended it.
    pub cut: bool,
}

/// What both directions share.
struct Moving<'s> {
    began: Instant,
    /// Milliseconds after `began` at which a byte last moved, in either direction.
    last: AtomicU64,
    up: AtomicU64,
    down: AtomicU64,
    counted: Option<&'s Stream>,
}

impl Moving<'_> {
    fn moved(&self, way: Direction, count: usize) {
        self.last.store(self.millis(), Relaxed);
        let carried = match way {
            Direction::ToCluster => &self.up,
            Direction::ToClient => &self.down,
        };
        carried.fetch_add(count as u64, Relaxed);
        if let Some(stream) = self.counted {
            stream.carried(way, count as u64);
        }
    }

    fn idle(&self) -> Duration {
        Duration::from_millis(self.millis().saturating_sub(self.last.load(Relaxed)))
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Carries bytes between the two sides until both are done, one fails, nothing moves in either direction for
/// [`limits::UPGRADE_IDLE`], or `cut`. `peek` sees what the cluster sends.
pub(super) async fn join(
    client: hyper::upgrade::Upgraded,
    cluster: hyper::upgrade::Upgraded,
    counted: Option<&Stream>,
    peek: Peek,
    cut: &CancellationToken,
) -> Carried {
    let (client, cluster) = (TokioIo::new(client), TokioIo::new(cluster));
    carry(client, cluster, counted, peek, cut).await
}

async fn carry<C, K>(
    client: C,
    cluster: K,
    counted: Option<&Stream>,
    mut peek: Peek,
    cut: &CancellationToken,
) -> Carried
where
    C: AsyncRead + AsyncWrite + Unpin,
    K: AsyncRead + AsyncWrite + Unpin,
{
    let moving = Moving {
        began: Instant::now(),
        last: AtomicU64::new(0),
        up: AtomicU64::new(0),
        down: AtomicU64::new(0),
        counted,
    };
    let (client_read, client_write) = tokio::io::split(client);
    let (cluster_read, cluster_write) = tokio::io::split(cluster);
    {
        let unseen = |_: &[u8]| ();
        let seen = |bytes: &[u8]| peek.see(bytes);
        let mut up = pin!(pump(
            client_read,
            cluster_write,
            &moving,
            Direction::ToCluster,
            unseen
        ));
        let mut down = pin!(pump(
            cluster_read,
            client_write,
            &moving,
            Direction::ToClient,
            seen
        ));
        let both = async {
            tokio::select! {
                // The client is gone or done talking; the cluster may still have an exit code to say.
                () = &mut up => drop(timeout(limits::UPGRADE_LINGER, &mut down).await),
                // The cluster said all; the client is listened to until it has heard it.
                () = &mut down => drop(timeout(limits::UPGRADE_LINGER, &mut up).await),
            }
        };
        // Also while one of them lingers.
        cut.run_until_cancelled(both).await;
    }
    Carried {
        up: moving.up.load(Relaxed),
        down: moving.down.load(Relaxed),
        exit: peek.exit(),
        cut: cut.is_cancelled(),
    }
}

/// Copies until the reader ends, then ends the writer's half. Once the writer fails, what is read is
/// thrown away: whoever still talks to a side that is gone is heard out. `seen` gets what was read, after
/// it was sent on.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    moving: &Moving<'_>,
    way: Direction,
    mut seen: impl FnMut(&[u8]),
) {
    let mut buffer = vec![0; limits::UPGRADE_BUFFER];
    let mut open = true;
    loop {
        let count = match timeout(limits::UPGRADE_IDLE, from.read(&mut buffer)).await {
            Ok(Ok(count)) => count,
            // Silent on this side; the other may be talking (the output of `logs -f` over a WebSocket).
            Err(_) if moving.idle() < limits::UPGRADE_IDLE => continue,
            Ok(Err(_)) | Err(_) => break,
        };
        let Some(chunk) = buffer.get(..count).filter(|chunk| !chunk.is_empty()) else {
            break;
        };
        if !open {
            // The client is gone; how the command ended is told all the same.
            seen(chunk);
            continue;
        }
        let write = async {
            to.write_all(chunk).await?;
            to.flush().await
        };
        open = matches!(timeout(limits::UPGRADE_IDLE, write).await, Ok(Ok(())));
        if open {
            moving.moved(way, count);
        }
        seen(chunk);
    }
    let _ = timeout(limits::UPGRADE_LINGER, to.shutdown()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    // The end of an exec: the cluster says its last and closes while the client still pings.
    #[tokio::test]
    async fn the_tail_arrives_though_the_client_keeps_talking() {
        let (mut client, gate_client) = tokio::io::duplex(64);
        let (mut cluster, gate_cluster) = tokio::io::duplex(8192);
        let carrying = tokio::spawn(async move {
            let cut = CancellationToken::new();
            carry(gate_client, gate_cluster, None, Peek::Nothing, &cut).await
        });
        let said = vec![b'x'; 100_000];
        let tail = said.clone();
        tokio::spawn(async move {
            cluster.write_all(&tail).await.unwrap();
            cluster.shutdown().await.unwrap();
        });
        let mut heard = Vec::new();
        let mut buffer = [0; 50];
        loop {
            // Somebody reads the pings until the end: else this would block for ever.
            client.write_all(b"p").await.unwrap();
            match client.read(&mut buffer).await.unwrap() {
                0 => break,
                count => heard.extend_from_slice(&buffer[..count]),
            }
        }
        assert_eq!(heard.len(), said.len());
        drop(client);
        assert_eq!(carrying.await.unwrap().down, 100_000);
    }

    // Four hours of silence on one side are no reason to cut the other.
    #[tokio::test(start_paused = true)]
    async fn one_silent_direction_is_not_idle() {
        let (mut client, gate_client) = tokio::io::duplex(64);
        let (mut cluster, gate_cluster) = tokio::io::duplex(64);
        let carrying = tokio::spawn(async move {
            let cut = CancellationToken::new();
            carry(gate_client, gate_cluster, None, Peek::Nothing, &cut).await
        });
        let mut byte = [0];
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_hours(1)).await;
            cluster.write_all(b"x").await.unwrap();
            client.read_exact(&mut byte).await.unwrap();
        }
        tokio::time::sleep(Duration::from_hours(9)).await;
        // Nothing in either direction for longer than the limit: ended.
        assert_eq!(client.read(&mut byte).await.unwrap(), 0);
        drop((client, cluster));
        let carried = Carried {
            down: 10,
            ..Carried::default()
        };
        assert_eq!(carrying.await.unwrap(), carried);
    }
}
