//! `Runtime::serve` inside the test: limits, probes, drains and cuts.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::StatusCode,
    routing::{get, post},
};
use campaign_runtime::{Bytes, Limits, Runtime, Shutdown};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
};

use crate::http::{self, PATIENCE, read_to_end};

/// Long enough that no test meets it by accident.
const LONG: Duration = Duration::from_mins(5);

struct Service {
    address: SocketAddr,
    shutdown: Shutdown,
    serving: JoinHandle<anyhow::Result<()>>,
}

impl Service {
    async fn start(deadline: Duration, router: Router, prepare: impl FnOnce(&mut Runtime)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let shutdown = Shutdown::new(deadline);
        let mut runtime = Runtime::for_test(listener, shutdown.clone());
        prepare(&mut runtime);
        Self {
            address: runtime.local_addr(),
            shutdown,
            serving: tokio::spawn(runtime.serve(router)),
        }
    }

    async fn end(self) -> anyhow::Result<()> {
        let serving = tokio::time::timeout(PATIENCE, self.serving).await;
        serving
            .expect("the service ends in time")
            .expect("serve does not panic")
    }

    async fn stop(self) -> anyhow::Result<()> {
        self.shutdown.stop();
        self.end().await
    }
}

/// A route that says when a request is in it, and answers when told to.
struct Gate {
    entered: Arc<Notify>,
    leave: Arc<Notify>,
}

impl Gate {
    fn new() -> Self {
        Self {
            entered: Arc::default(),
            leave: Arc::default(),
        }
    }

    fn router(&self) -> Router {
        let (entered, leave) = (self.entered.clone(), self.leave.clone());
        let handler = move || async move {
            entered.notify_one();
            leave.notified().await;
            "through\n"
        };
        Router::new().route("/gate", get(handler))
    }
}

#[tokio::test]
async fn the_probes_say_how_the_service_is() {
    let mut check = None;
    let service = Service::start(LONG, Router::new(), |runtime| {
        check = Some(runtime.health.register("ledger"));
    })
    .await;
    let check = check.expect("it was registered");
    assert_eq!(http::get(service.address, "/livez").await.status, 200);

    let starting = http::get(service.address, "/readyz").await;
    assert_eq!(starting.status, 503);
    check.ready();
    let ready = http::get(service.address, "/readyz").await;
    assert_eq!(ready.status, 200);
    assert!(
        ready
            .body
            .starts_with(r#"{"ready":true,"checks":[{"name":"ledger","#)
    );
    check.unready("Postgres is away");
    let unready = http::get(service.address, "/readyz").await;
    assert_eq!(unready.status, 503);
    assert!(unready.body.contains(r#""reason":"Postgres is away""#));

    let metrics = http::get(service.address, "/metrics").await;
    assert!(metrics.body.contains("process_resident_memory_bytes"));
    assert!(metrics.body.contains(r#"health_check_ready{check="ledger"} 0"#));
    service.stop().await.expect("a clean end");
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_unless_the_service_says_otherwise() {
    let router = Router::new()
        .route("/things", get(|| async { "things" }))
        .route("/gone", get(|| async { (StatusCode::NOT_FOUND, "my own") }));
    let service = Service::start(LONG, router, |_| {}).await;
    let missing = http::get(service.address, "/nothing").await;
    assert_eq!(&*missing.problem().detail, "there is nothing at /nothing");
    let wrong = http::request(service.address, "POST", "/things", "").await;
    assert_eq!(wrong.problem().status, 405);
    assert!(wrong.head.contains("allow: get,head"), "{wrong:?}");
    assert_eq!(http::get(service.address, "/gone").await.body, "my own");
    service.stop().await.expect("a clean end");

    let own = Router::new().fallback(|| async { (StatusCode::NOT_FOUND, "own fallback") });
    let service = Service::start(LONG, own, |_| {}).await;
    assert_eq!(http::get(service.address, "/x").await.body, "own fallback");
    service.stop().await.expect("a clean end");
}

#[tokio::test]
async fn a_soft_stop_lets_requests_and_tasks_finish() {
    let gate = Gate::new();
    let task_done = Arc::new(Notify::new());
    let service = Service::start(LONG, gate.router(), |runtime| {
        let (shutdown, task_done) = (runtime.shutdown.clone(), task_done.clone());
        runtime.spawn("worker", async move {
            shutdown.stopping().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            task_done.notify_one();
            Ok(())
        });
    })
    .await;
    // Kept open and idle: it must not hold the end up.
    let _idle = TcpStream::connect(service.address).await.expect("connects");
    let in_flight = tokio::spawn(http::get_owned(service.address, "/gate"));
    gate.entered.notified().await;

    service.shutdown.stop();
    tokio::time::timeout(PATIENCE, task_done.notified())
        .await
        .expect("the task finishes its work");
    assert!(!service.serving.is_finished(), "a request is in flight");
    gate.leave.notify_one();
    assert_eq!(in_flight.await.expect("answered").body, "through\n");
    let address = service.address;
    service.end().await.expect("a clean end");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_hard_stop_cuts_stuck_requests_and_tasks_and_says_so() {
    let gate = Gate::new();
    let service = Service::start(Duration::from_millis(100), gate.router(), |runtime| {
        runtime.spawn("stuck", std::future::pending());
    })
    .await;
    let stuck = tokio::spawn(http::try_request(service.address, "GET", "/gate", ""));
    gate.entered.notified().await;
    let begun = Instant::now();
    let error = service.stop().await.expect_err("something was cut");
    assert_eq!(error.to_string(), "the hard stop cut off 1 tasks and 1 requests");
    assert!(begun.elapsed() >= Duration::from_millis(100));
    assert!(stuck.await.expect("the client ends").is_none());
}

#[tokio::test]
async fn a_task_that_panics_or_fails_stops_the_service_with_its_error() {
    let service = Service::start(LONG, Router::new(), |runtime| {
        runtime.spawn("feeder", async { panic!("out of range") });
    })
    .await;
    let error = service.end().await.expect_err("a task panicked");
    assert_eq!(error.to_string(), "task feeder panicked: out of range");

    let service = Service::start(LONG, Router::new(), |runtime| {
        let spawner = runtime.spawner();
        runtime.spawn("parent", async move {
            spawner.spawn("child", async { anyhow::bail!("the lease is lost") });
            Ok(())
        });
    })
    .await;
    let error = service.end().await.expect_err("a task failed");
    assert_eq!(format!("{error:#}"), "task child failed: the lease is lost");
}

#[tokio::test]
async fn a_client_that_sends_its_head_slowly_is_cut() {
    let service = Service::start(LONG, Router::new(), |runtime| {
        runtime.limits.header_read_timeout = Duration::from_millis(100);
    })
    .await;
    let mut slow = TcpStream::connect(service.address).await.expect("connects");
    slow.write_all(b"GET /livez HTTP/1.1\r\nHost: sl")
        .await
        .expect("it writes");
    let begun = Instant::now();
    read_to_end(&mut slow).await;
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
    assert_eq!(http::get(service.address, "/livez").await.status, 200);
    service.stop().await.expect("a clean end");
}

#[tokio::test]
async fn a_client_that_sends_its_body_slowly_is_told_so_and_cut() {
    let router = Router::new().route("/take", post(|_: Bytes| async { "taken" }));
    let service = Service::start(LONG, router, |runtime| {
        runtime.limits.body_read_timeout = Duration::from_millis(300);
    })
    .await;
    let mut slow = TcpStream::connect(service.address).await.expect("connects");
    let head = b"POST /take HTTP/1.1\r\nHost: slow\r\nContent-Length: 1000\r\n\r\n";
    slow.write_all(head).await.expect("it writes");
    let begun = Instant::now();
    let (mut reader, mut writer) = slow.into_split();
    let trickle = tokio::spawn(async move {
        // Each byte comes well within the limit: it is the whole that counts.
        while writer.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let mut answer = [0; 64];
    let read = tokio::time::timeout(PATIENCE, reader.read(&mut answer)).await;
    let length = read.expect("in time").expect("an answer");
    assert!(
        answer[..length].starts_with(b"HTTP/1.1 408 "),
        "{:?}",
        &answer[..length]
    );
    assert!(begun.elapsed() >= Duration::from_millis(300));
    let cut = tokio::time::timeout(PATIENCE, trickle).await;
    cut.expect("the connection is closed").expect("no panic");
    service.stop().await.expect("a clean end");
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_cut() {
    // More than the kernel takes in between.
    let large = || async { vec![b'x'; 64 * 1024 * 1024] };
    let service = Service::start(LONG, Router::new().route("/large", get(large)), |runtime| {
        runtime.limits.connections = 1;
        runtime.limits.write_timeout = Duration::from_millis(200);
    })
    .await;
    let mut deaf = TcpStream::connect(service.address).await.expect("connects");
    deaf.write_all(b"GET /large HTTP/1.1\r\nHost: deaf\r\n\r\n")
        .await
        .expect("it writes");
    // There is room for one connection, so this one is answered when the other was cut.
    assert_eq!(http::get(service.address, "/livez").await.status, 200);
    drop(deaf);
    service.stop().await.expect("a clean end");
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_one_to_end() {
    let service = Service::start(LONG, Router::new(), |runtime| {
        runtime.limits.connections = 1;
    })
    .await;
    let first = TcpStream::connect(service.address).await.expect("connects");
    let mut second = tokio::spawn(http::get_owned(service.address, "/livez"));
    let early = tokio::time::timeout(Duration::from_millis(100), &mut second).await;
    assert!(early.is_err(), "the second connection was served");
    drop(first);
    assert_eq!(second.await.expect("answered").status, 200);
    service.stop().await.expect("a clean end");
}

#[tokio::test]
async fn time_size_and_panics_are_answered_with_problems() {
    let router = Router::new()
        .route("/large", post(|_: Bytes| async { "taken" }))
        .layer(DefaultBodyLimit::max(64))
        .route("/usual", post(|_: Bytes| async { "taken" }))
        .route("/never", get(std::future::pending::<&'static str>))
        .route("/panic", get(|| async { panic!("at the disco") as &str }));
    let service = Service::start(LONG, router, |runtime| {
        runtime.limits = Limits {
            request_timeout: Duration::from_millis(100),
            body_bytes: 16,
            ..Limits::default()
        };
    })
    .await;
    let body = "x".repeat(40);
    let usual = http::request(service.address, "POST", "/usual", &body).await;
    assert_eq!(usual.problem().status, 413);
    let large = http::request(service.address, "POST", "/large", &body).await;
    assert_eq!(large.status, 200, "a router may raise its own limit");
    let never = http::get(service.address, "/never").await;
    assert_eq!(never.problem().status, 503);
    let panicked = http::get(service.address, "/panic").await.problem();
    assert_eq!(panicked.status, 500);
    assert!(!panicked.to_string().contains("disco"), "{panicked}");
    service.stop().await.expect("a clean end");
}
