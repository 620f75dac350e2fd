//! Each way in which a network fails.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use testkit::{FaultProxy, Mode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Long enough for anything that is going to happen on loopback.
const SOON: Duration = Duration::from_secs(5);
/// Long enough to believe that nothing happens.
const NEVER: Duration = Duration::from_millis(100);

/// A server that answers every byte with the next letter, and tells the test what arrived.
async fn upstream() -> (SocketAddr, mpsc::UnboundedReceiver<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    let (arrived, arrivals) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let arrived = arrived.clone();
            tokio::spawn(async move {
                while let Ok(byte) = client.read_u8().await {
                    let _ = arrived.send(byte);
                    let _ = client.write_u8(byte + 1).await;
                }
            });
        }
    });
    (address, arrivals)
}

async fn proxy() -> (FaultProxy, mpsc::UnboundedReceiver<u8>) {
    let (address, arrivals) = upstream().await;
    (FaultProxy::start(address.to_string()).await, arrivals)
}

async fn ask(connection: &mut TcpStream, byte: u8) -> std::io::Result<u8> {
    connection.write_u8(byte).await?;
    timeout(SOON, connection.read_u8())
        .await
        .expect("something happens soon")
}

async fn connect(proxy: &FaultProxy) -> TcpStream {
    TcpStream::connect(proxy.address())
        .await
        .expect("the proxy accepts")
}

#[tokio::test]
async fn passes_everything_in_both_directions() {
    let (proxy, mut arrivals) = proxy().await;
    let mut connection = connect(&proxy).await;
    assert_eq!(ask(&mut connection, b'a').await.expect("an answer"), b'b');
    assert_eq!(arrivals.recv().await, Some(b'a'));
}

#[tokio::test]
async fn delays_each_direction() {
    let (proxy, _arrivals) = proxy().await;
    let mut connection = connect(&proxy).await;
    let delay = Duration::from_millis(60);
    proxy.set(Mode::Delay(delay)).await;
    let begun = Instant::now();
    assert_eq!(ask(&mut connection, b'a').await.expect("an answer"), b'b');
    assert!(begun.elapsed() >= 2 * delay, "took {:?}", begun.elapsed());
}

#[tokio::test]
async fn throttles_by_what_passes() {
    const BYTES: u32 = 200;
    let (proxy, mut arrivals) = proxy().await;
    let mut connection = connect(&proxy).await;
    let per_second = NonZeroU32::new(BYTES * 4).expect("not zero");
    proxy.set(Mode::Throttle(per_second)).await;
    let begun = Instant::now();
    connection
        .write_all(&[b'a'; BYTES as usize])
        .await
        .expect("the kernel takes it");
    for _ in 0..BYTES {
        assert_eq!(timeout(SOON, arrivals.recv()).await.expect("soon"), Some(b'a'));
    }
    assert!(
        begun.elapsed() >= Duration::from_millis(245),
        "took {:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_blackhole_holds_bytes_until_it_ends() {
    let (proxy, mut arrivals) = proxy().await;
    let mut connection = connect(&proxy).await;
    proxy.set(Mode::Blackhole).await;
    connection.write_u8(b'a').await.expect("the kernel takes it");
    assert!(timeout(NEVER, arrivals.recv()).await.is_err(), "nothing arrives");
    proxy.set(Mode::Pass).await;
    assert_eq!(
        timeout(SOON, connection.read_u8())
            .await
            .expect("soon")
            .expect("an answer"),
        b'b'
    );
    assert_eq!(arrivals.recv().await, Some(b'a'));
}

#[tokio::test]
async fn a_request_arrives_and_its_answer_is_lost() {
    let (proxy, mut arrivals) = proxy().await;
    let mut connection = connect(&proxy).await;
    proxy.set(Mode::DropReplies).await;
    connection.write_u8(b'a').await.expect("the proxy takes it");
    assert_eq!(timeout(SOON, arrivals.recv()).await.expect("soon"), Some(b'a'));
    assert!(
        timeout(NEVER, connection.read_u8()).await.is_err(),
        "no answer comes back"
    );
    proxy.set(Mode::Reset).await;
    let error = timeout(SOON, connection.read_u8())
        .await
        .expect("soon")
        .expect_err("the connection is gone");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn cuts_open_and_new_connections() {
    let (proxy, _arrivals) = proxy().await;
    let mut connection = connect(&proxy).await;
    ask(&mut connection, b'a').await.expect("an answer");
    proxy.set(Mode::Cut).await;
    for mut connection in [connection, connect(&proxy).await] {
        let error = timeout(SOON, connection.read_u8())
            .await
            .expect("soon")
            .expect_err("it closes");
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }
    proxy.set(Mode::Pass).await;
    assert_eq!(
        ask(&mut connect(&proxy).await, b'x').await.expect("an answer"),
        b'y'
    );
}

#[tokio::test]
async fn refuses_new_connections_until_told_otherwise() {
    let (proxy, _arrivals) = proxy().await;
    proxy.set(Mode::Refuse).await;
    let error = TcpStream::connect(proxy.address())
        .await
        .expect_err("nothing listens");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    proxy.set(Mode::Pass).await;
    assert_eq!(
        ask(&mut connect(&proxy).await, b'x').await.expect("an answer"),
        b'y'
    );
}
