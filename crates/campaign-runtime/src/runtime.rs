//! What a service's body is given: when to stop, where to say how it is, and what keeps its tasks.
//!
//! No task dies silently: one that fails or panics stops the whole service with its error, so that the
//! orchestrator starts it again in a known state, rather than a half that looks alive.

use std::{
    net::SocketAddr,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, anyhow};
use futures::FutureExt;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::{
    health::Health,
    http_settings::Limits,
    layers::{panic_text, surround},
    metrics,
    server::Server,
    shutdown::Shutdown,
};

/// How long tasks have after the hard stop to be dropped.
pub(crate) const HARD_STOP_GRACE: Duration = Duration::from_millis(500);

/// What a service's body is given.
#[derive(Debug)]
pub struct Runtime {
    /// When to stop.
    pub shutdown: Shutdown,
    /// Where to say whether there is progress.
    pub health: Health,
    /// Every task of the service; the end waits for them. [`Runtime::spawn`] is the way in that also
    /// watches how they end.
    pub tasks: TaskTracker,
    /// The bounds of the listener, to be changed before [`Runtime::serve`].
    pub limits: Limits,
    listener: TcpListener,
    local_addr: SocketAddr,
    end: Arc<End>,
}

/// Spawns tasks of the service from within its tasks. Clones share one state.
#[derive(Clone, Debug)]
pub struct Spawner {
    shutdown: Shutdown,
    tasks: TaskTracker,
    end: Arc<End>,
}

/// How the tasks ended.
#[derive(Debug, Default)]
struct End {
    /// The first failure: those after it are mostly its consequences.
    failure: Mutex<Option<anyhow::Error>>,
    /// Tasks that the hard stop found unfinished.
    cut: AtomicUsize,
}

impl Runtime {
    /// A runtime on an address that is listened on already, from now on: a second service that cannot
    /// have the address fails before it has done anything.
    pub(crate) fn new(listener: TcpListener, limits: Limits, shutdown: Shutdown) -> std::io::Result<Self> {
        Ok(Self {
            shutdown,
            health: Health::default(),
            tasks: TaskTracker::new(),
            limits,
            local_addr: listener.local_addr()?,
            listener,
            end: Arc::default(),
        })
    }

    /// A runtime for a service inside a test: the caller holds the listener's address and the stop.
    pub fn for_test(listener: TcpListener, shutdown: Shutdown) -> Self {
        metrics::install_recorder();
        Self::new(listener, Limits::default(), shutdown).expect("a bound listener has an address")
    }

    /// The address that is listened on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Spawns tasks as [`Runtime::spawn`] does, and can be cloned into them.
    pub fn spawner(&self) -> Spawner {
        Spawner {
            shutdown: self.shutdown.clone(),
            tasks: self.tasks.clone(),
            end: self.end.clone(),
        }
    }

    /// Spawns a task whose error or panic stops the service with that error.
    ///
    /// `Ok` means that its work is done. The task should end by itself at the soft stop; at the hard
    /// stop it is dropped.
    pub fn spawn<F>(&self, name: &'static str, task: F) -> JoinHandle<()>
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.spawner().spawn(name, task)
    }

    /// Serves `router` and `/livez`, `/readyz`, `/metrics` until the soft stop, then waits for
    /// requests and tasks until the hard one.
    ///
    /// To be called early: until then nobody is answered, the liveness probe neither. What takes long
    /// at the start (connecting, migrating, reading back) belongs in a task with a readiness check.
    ///
    /// An error if a task failed, or if the hard stop cut something off.
    pub async fn serve(self, router: axum::Router) -> anyhow::Result<()> {
        let spawner = self.spawner();
        let server = Server {
            app: surround(router, &self.limits, self.health, self.shutdown.clone()),
            limits: self.limits,
            shutdown: self.shutdown.clone(),
            connections: TaskTracker::new(),
            cut: Arc::default(),
        };
        let _enforcer = AbortOnDropHandle::new(tokio::spawn(self.shutdown.enforce_deadline()));
        let _upkeep = AbortOnDropHandle::new(tokio::spawn(metrics::upkeep()));

        tracing::info!(address = %self.local_addr, "listening");
        server.accept(self.listener).await;
        tracing::info!(
            connections = server.connections.len(),
            tasks = spawner.tasks.len(),
            "stopping: finishing what is in flight"
        );
        server.connections.close();
        tokio::join!(server.connections.wait(), spawner.drain());
        spawner.outcome(server.cut.load(Ordering::Relaxed))
    }
}

impl Spawner {
    /// As [`Runtime::spawn`].
    pub fn spawn<F>(&self, name: &'static str, task: F) -> JoinHandle<()>
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let Self { shutdown, end, .. } = self.clone();
        let task = Box::pin(task); // what follows moves it several times
        self.tasks.spawn(async move {
            let outcome = tokio::select! {
                biased;
                outcome = AssertUnwindSafe(task).catch_unwind() => outcome,
                () = shutdown.stopping_now() => {
                    tracing::warn!(task = name, "the hard stop cut a task off");
                    end.cut.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            };
            let failure = match outcome {
                Ok(Ok(())) => return tracing::debug!(task = name, "a task is done"),
                Ok(Err(error)) => error.context(format!("task {name} failed")),
                Err(panic) => anyhow!("task {name} panicked: {}", panic_text(&*panic)),
            };
            end.fail(failure);
            shutdown.stop();
        })
    }

    /// Waits for the tasks, until a while after the hard stop.
    pub(crate) async fn drain(&self) {
        self.tasks.close();
        let given_up = async {
            self.shutdown.stopping_now().await;
            tokio::time::sleep(HARD_STOP_GRACE).await;
        };
        tokio::select! {
            () = self.tasks.wait() => {}
            () = given_up => {}
        }
    }

    /// How it all ended, with `requests_cut` requests cut off. A failure is given out once.
    pub(crate) fn outcome(&self, requests_cut: usize) -> anyhow::Result<()> {
        let failure = self.end.failure();
        if let Some(failure) = failure {
            return Err(failure);
        }
        let tasks_cut = self.end.cut.swap(0, Ordering::Relaxed) + self.tasks.len();
        if tasks_cut + requests_cut == 0 {
            return Ok(());
        }
        Err(anyhow!(
            "the hard stop cut off {tasks_cut} tasks and {requests_cut} requests"
        ))
    }
}

impl End {
    fn fail(&self, failure: anyhow::Error) {
        let mut first = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if first.is_some() {
            tracing::warn!(error = format!("{failure:#}"), "another task failed too");
        } else {
            *first = Some(failure);
        }
    }

    fn failure(&self) -> Option<anyhow::Error> {
        let mut first = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        first.take()
    }
}

/// Listens on `address`.
pub(crate) async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address} (LISTEN_ADDR)"))
}
