//! A request body that leaves this process at most once, and proves it when it did not leave at all.
//!
//! There is no idempotency key in the Cloud API: a request that is written twice is two messages. The
//! HTTP stack underneath (hyper-util) silently moves a request to another connection when a reused one
//! turns out to be closed; it promises to do so only before writing, and reqwest has no switch for it.
//! This body makes the promise ours: it gives its bytes to whoever asks first, once, and cannot be
//! cloned, so no layer can replay it.
//!
//! The same gate is the evidence behind *not sent*: a server cannot accept a request whose body it never
//! had. [`Gate::revoke`] decides that race atomically: either the bytes were handed to a connection
//! (and anything may have happened), or they never will be, even if a connection task still holds the
//! request.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use tokio::sync::Notify;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

const WAITING: u8 = 0;
const HANDED_OVER: u8 = 1;
const REVOKED: u8 = 2;

/// What both ends know.
#[derive(Debug)]
struct Passage {
    state: AtomicU8,
    handed_over: Notify,
}

/// The sender's end: asks whether the body left.
#[derive(Debug)]
pub(crate) struct Gate(Arc<Passage>);

impl Gate {
    /// Returns once the bytes were handed to a connection; never if they are not. For one waiter.
    pub(crate) async fn handed_over(&self) {
        self.0.handed_over.notified().await;
    }

    /// True if the bytes have not left and now never will; false if they (maybe) left.
    pub(crate) fn revoke(&self) -> bool {
        match self
            .0
            .state
            .compare_exchange(WAITING, REVOKED, Ordering::AcqRel, Ordering::Acquire)
        {
            Ok(_) => true,
            Err(state) => state == REVOKED,
        }
    }
}

/// The connection's end.
#[derive(Debug)]
pub(crate) struct WriteOnce {
    bytes: Option<Bytes>,
    passage: Arc<Passage>,
}

impl WriteOnce {
    pub(crate) fn new(bytes: Bytes) -> (Self, Gate) {
        let passage = Arc::new(Passage {
            state: AtomicU8::new(WAITING),
            handed_over: Notify::new(),
        });
        let gate = Gate(Arc::clone(&passage));
        let bytes = Some(bytes);
        (Self { bytes, passage }, gate)
    }
}

/// The body was asked for after it was revoked.
#[derive(Debug, thiserror::Error)]
#[error("the request was given up before its body was written")]
pub(crate) struct Revoked;

impl Body for WriteOnce {
    type Data = Bytes;
    type Error = Revoked;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Revoked>>> {
        let Some(bytes) = self.bytes.take() else {
            return Poll::Ready(None);
        };
        let opened =
            self.passage
                .state
                .compare_exchange(WAITING, HANDED_OVER, Ordering::AcqRel, Ordering::Acquire);
        if opened.is_ok() {
            self.passage.handed_over.notify_one();
        }
        Poll::Ready(Some(opened.map(|_| Frame::data(bytes)).map_err(|_| Revoked)))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(body: &mut WriteOnce) -> Option<Result<Bytes, Revoked>> {
        let mut context = Context::from_waker(std::task::Waker::noop());
        match Pin::new(body).poll_frame(&mut context) {
            Poll::Ready(frame) => frame.map(|frame| frame.map(|frame| frame.into_data().expect("data"))),
            Poll::Pending => panic!("this body never waits"),
        }
    }

    #[test]
    fn what_was_handed_over_cannot_be_revoked_and_comes_only_once() {
        let (mut body, gate) = WriteOnce::new(Bytes::from_static(b"{}"));
        assert_eq!(poll(&mut body).expect("a frame").expect("open"), "{}");
        assert!(!gate.revoke());
        assert!(poll(&mut body).is_none());
    }

    #[test]
    fn what_was_revoked_never_leaves() {
        let (mut body, gate) = WriteOnce::new(Bytes::from_static(b"{}"));
        assert!(gate.revoke());
        assert!(gate.revoke(), "asking again gives the same answer");
        assert!(poll(&mut body).expect("a frame").is_err());
        assert!(poll(&mut body).is_none());
    }
}
