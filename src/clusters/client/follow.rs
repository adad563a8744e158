//! An answer without end, line by line: a watch.
//!
//! It takes the connection that was kept, or a fresh one, for itself; that ends with it. What could go wrong: a line
//! without end (bounded), a peer that is gone without saying so (the caller bounds how long it waits for a line).

use super::{Answer, Client, ClientError, Waiting, kept::Link, refusal};
use bytes::{Bytes, BytesMut};
use http::Method;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::timeout;

/// Bound on one line: an object has at most 1.5 MiB in etcd, and as JSON hardly more than twice that.
pub const MAX_LINE: usize = 8 << 20;

/// The lines of one answer.
pub struct Follow {
    body: Incoming,
    buffer: BytesMut,
    /// So much of the buffer has no line end.
    scanned: usize,
    address: String,
    /// The connection lives as long as this.
    _link: Link,
}

impl Client {
    /// GET of an answer that goes on. Err unless the status is 200 to 299.
    pub async fn follow(&self, path: &str) -> Result<Follow, ClientError> {
        let request = self.request(Method::GET, path, None)?;
        let open = async {
            let kept = self.kept.lock().await.take();
            let (link, response) = match kept.and_then(Waiting::take) {
                Some(kept) => match self.ask(Some(kept), request.clone()).await {
                    // The server closed it in this very moment. What only reads may be asked again (O7).
                    Err(ClientError::Broken { .. }) => self.ask(None, request).await?,
                    asked => asked?,
                },
                None => self.ask(None, request).await?,
            };
            if response.status().is_success() {
                return Ok((link, response.into_body()));
            }
            let answer: Answer = self.collect(response).await?;
            link.wait(&mut *self.kept.lock().await);
            Err(ClientError::Refused(Box::new(refusal(&answer))))
        };
        let opened = timeout(self.limit, open).await;
        let (link, body) = opened.map_err(|_| self.timed_out())??;
        Ok(Follow {
            body,
            buffer: BytesMut::new(),
            scanned: 0,
            address: self.address(),
            _link: link,
        })
    }
}

impl Follow {
    /// The next line, without its end; `None` when the answer is over. Nothing is lost if the future is
    /// dropped.
    pub async fn line(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let fresh = self.buffer.get(self.scanned..).unwrap_or_default();
            if let Some(at) = fresh.iter().position(|&byte| byte == b'\n') {
                let mut line = self.buffer.split_to(self.scanned + at + 1);
                line.truncate(self.scanned + at);
                self.scanned = 0;
                if line.is_empty() {
                    continue;
                }
                return Ok(Some(line.freeze()));
            }
            self.scanned = self.buffer.len();
            if self.scanned > MAX_LINE {
                return Err(ClientError::TooLarge {
                    address: self.address.clone(),
                });
            }
            let Some(frame) = self.body.frame().await else {
                return Ok(None);
            };
            let frame = frame.map_err(|source| ClientError::Broken {
                address: self.address.clone(),
                source,
            })?;
            if let Ok(data) = frame.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }
}
