//! The body of every answer; it carries the request's record to its end.

use super::record::Record;
use crate::proxy::AnswerBody;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::Full;
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

/// A cluster's body, or one of the gateway's own. When it ends, or the client goes away, the record is
/// written.
pub struct Body {
    inner: Inner,
    record: Option<Box<Record>>,
}

enum Inner {
    Cluster(AnswerBody),
    Full(Option<Bytes>),
    Own(Full<Bytes>),
}

impl Body {
    /// A body of the gateway's own.
    pub fn full(bytes: Bytes) -> Self {
        Self {
            inner: Inner::Full((!bytes.is_empty()).then_some(bytes)),
            record: None,
        }
    }

    /// No body.
    pub fn empty() -> Self {
        Self {
            inner: Inner::Full(None),
            record: None,
        }
    }

    pub(super) fn own(body: Full<Bytes>) -> Self {
        Self {
            inner: Inner::Own(body),
            record: None,
        }
    }

    pub(super) fn cluster(body: AnswerBody) -> Self {
        Self {
            inner: Inner::Cluster(body),
            record: None,
        }
    }

    pub(super) fn with_record(mut self, mut record: Box<Record>) -> Self {
        use http_body::Body as _;
        record.ended = self.is_end_stream();
        self.record = Some(record);
        self
    }

    fn count(&mut self, bytes: usize) {
        if let Some(record) = &mut self.record {
            record.sent += bytes as u64;
            record.measure.sent(bytes as u64);
        }
    }

    fn ended(&mut self) {
        if let Some(record) = &mut self.record {
            record.ended = true;
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = match &mut self.inner {
            Inner::Cluster(body) => ready!(Pin::new(body).poll_frame(context)),
            Inner::Full(bytes) => bytes.take().map(|bytes| Ok(Frame::data(bytes))),
            Inner::Own(body) => {
                ready!(Pin::new(body).poll_frame(context)).map(|frame| match frame {
                    Ok(frame) => Ok(frame),
                    Err(never) => match never {},
                })
            }
        };
        match &frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                self.count(bytes);
                // Servers do not ask again for the end of a body whose length they know.
                if self.is_end_stream() {
                    self.ended();
                }
            }
            Some(Err(_)) => {}
            None => self.ended(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Cluster(body) => body.is_end_stream(),
            Inner::Full(bytes) => bytes.is_none(),
            Inner::Own(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Cluster(body) => body.size_hint(),
            Inner::Full(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64))
            }
            Inner::Own(body) => body.size_hint(),
        }
    }
}
