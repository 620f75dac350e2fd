//! The HTTP listener: every client is bounded in connections, in time and in size.
//!
//! axum's own `serve` bounds neither how many connections there are nor how long a client may take to
//! send its request's head, and cannot cut what is stuck when the time is over; so connections are
//! accepted here, each as a task that knows both stops.

use std::{
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, extract::ConnectInfo};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::task::TaskTracker;

use crate::{
    body_deadline::BodyDeadline, http_settings::Limits, layers::answer, shutdown::Shutdown,
    write_timeout::WriteTimeout,
};

/// How long clients should keep idle connections to a service: less than the service does, so that
/// the client closes first and never writes a request into a connection that is being closed.
pub const CLIENT_IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// The largest head (request line and headers) of a request.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// The pause after an accept that failed for lack of something (descriptors, memory).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections and serves `app` on them.
pub(crate) struct Server {
    pub(crate) app: Router,
    pub(crate) limits: Limits,
    pub(crate) shutdown: Shutdown,
    pub(crate) connections: TaskTracker,
    /// Connections that the hard stop found with a request in flight.
    pub(crate) cut: Arc<AtomicUsize>,
}

impl Server {
    /// Accepts until the soft stop, then closes the listener.
    pub(crate) async fn accept(&self, listener: TcpListener) {
        let slots = Arc::new(Semaphore::new(self.limits.connections));
        loop {
            let next = async {
                let slot = slots.clone().acquire_owned().await;
                let slot = slot.expect("the semaphore is never closed");
                (slot, listener.accept().await)
            };
            let Some((slot, accepted)) = self.shutdown.run_until_stopping(next).await else {
                return;
            };
            match accepted {
                Ok((stream, peer)) => {
                    let connection = self.serve(stream, peer);
                    self.connections.spawn(async move {
                        let gauge = ::metrics::gauge!("http_server_connections");
                        gauge.increment(1.0);
                        connection.await;
                        gauge.decrement(1.0);
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(error = %error, "a connection could not be accepted");
                    self.shutdown.sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn serve(&self, stream: TcpStream, peer: SocketAddr) -> impl Future<Output = ()> + use<> {
        let app = self.app.clone();
        let (shutdown, cut) = (self.shutdown.clone(), self.cut.clone());
        let Limits {
            body_read_timeout,
            write_timeout,
            ..
        } = self.limits;
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_read_timeout)
            .max_buf_size(MAX_HEAD_BYTES);
        async move {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(error = %error, "TCP_NODELAY was refused");
            }
            let service = service_fn(move |mut request: hyper::Request<Incoming>| {
                request.extensions_mut().insert(ConnectInfo(peer));
                let body = |incoming| Body::new(BodyDeadline::new(incoming, body_read_timeout));
                answer(app.clone(), request.map(body))
            });
            let stream = TokioIo::new(WriteTimeout::new(stream, write_timeout));
            let mut connection = pin!(builder.serve_connection(stream, service));
            let outcome = tokio::select! {
                biased;
                outcome = connection.as_mut() => outcome,
                () = shutdown.stopping() => {
                    // An idle connection closes at once, a busy one after its answer.
                    connection.as_mut().graceful_shutdown();
                    tokio::select! {
                        biased;
                        outcome = connection.as_mut() => outcome,
                        () = shutdown.stopping_now() => {
                            cut.fetch_add(1, Ordering::Relaxed);
                            return;
                        }
                    }
                }
            };
            if let Err(error) = outcome {
                // The client's doing (slow, gone, not HTTP): nothing for an operator to mend.
                tracing::debug!(error = %error, "a connection ended early");
            }
        }
    }
}
