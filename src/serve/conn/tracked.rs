//! A body that counts as "under way" until it ends or is dropped.

use super::Running;
use http_body::{Body, Frame, SizeHint};
use std::{
    pin::Pin,
    task::{Context, Poll},
};

pin_project_lite::pin_project! {
    /// An answer's body, with the request that it belongs to.
    pub(super) struct Tracked<B> {
        #[pin]
        body: B,
        running: Running,
    }
}

impl<B> Tracked<B> {
    pub(super) fn new(body: B, running: Running) -> Self {
        Self { body, running }
    }
}

impl<B: Body> Body for Tracked<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(context)
    }
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
