//! Two upgraded connections, joined.
//!
//! SPDY and WebSocket half-close in band, so relaying bytes is enough (kubernetes.md §4.4). When one side
//! ends, what it had sent is flushed to the other before both close: exit codes travel last.

use super::limits;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Bytes carried by an upgraded stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Client to cluster.
    pub up: u64,
    /// Cluster to client.
    pub down: u64,
}

/// Carries bytes between the two sides until both are done, one fails, or nothing moves for
/// [`limits::UPGRADE_IDLE`].
pub async fn join(client: hyper::upgrade::Upgraded, cluster: hyper::upgrade::Upgraded) -> Carried {
    let (client_read, client_write) = tokio::io::split(TokioIo::new(client));
    let (cluster_read, cluster_write) = tokio::io::split(TokioIo::new(cluster));
    let mut up = std::pin::pin!(pump(client_read, cluster_write));
    let mut down = std::pin::pin!(pump(cluster_read, client_write));
    tokio::select! {
        up = &mut up => {
            // The client is done talking; the cluster may still have an exit code to say.
            let down = timeout(limits::UPGRADE_LINGER, &mut down).await.unwrap_or(0);
            Carried { up, down }
        }
        down = &mut down => {
            let up = timeout(Duration::ZERO, &mut up).await.unwrap_or(0);
            Carried { up, down }
        }
    }
}

/// Copies until the reader ends or a side fails; then ends the writer's half.
async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> u64 {
    let mut buffer = vec![0; limits::UPGRADE_BUFFER];
    let mut carried = 0;
    while let Ok(Ok(count)) = timeout(limits::UPGRADE_IDLE, from.read(&mut buffer)).await {
        let Some(chunk) = buffer.get(..count).filter(|chunk| !chunk.is_empty()) else {
            break;
        };
        let write = async {
            to.write_all(chunk).await?;
            to.flush().await
        };
        if !matches!(timeout(limits::UPGRADE_IDLE, write).await, Ok(Ok(()))) {
            break;
        }
        carried += count as u64;
    }
    let _ = timeout(limits::UPGRADE_LINGER, to.shutdown()).await;
    carried
}
