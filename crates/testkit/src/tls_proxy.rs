//! TLS in front of a server that speaks plain text, as a load balancer puts it there.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::private_ca::ServerCertificate;
use crate::{free_port, or_panic};

/// A running proxy; dropping it closes its connections.
#[derive(Debug)]
pub struct TlsProxy {
    port: u16,
    task: AbortHandle,
}

impl TlsProxy {
    /// Listens on a free loopback port, and passes what it decrypts on to `upstream` (`host:port`).
    pub async fn start(upstream: impl Into<String>, certificate: &ServerCertificate) -> Self {
        or_panic(
            "start a TLS proxy",
            Self::try_start(upstream.into(), certificate).await,
        )
    }

    /// The port, on `127.0.0.1`; a client may call that by any name it resolves to it.
    pub fn port(&self) -> u16 {
        self.port
    }

    async fn try_start(upstream: String, certificate: &ServerCertificate) -> anyhow::Result<Self> {
        let acceptor = TlsAcceptor::from(Arc::new(server_config(certificate)?));
        let port = free_port();
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).await?;
        let task = tokio::spawn(serve(listener, acceptor, upstream)).abort_handle();
        Ok(Self { port, task })
    }
}

impl Drop for TlsProxy {
    fn drop(&mut self) {
        self.task.abort(); // its connections are in a JoinSet of that task and end with it
    }
}

fn server_config(certificate: &ServerCertificate) -> anyhow::Result<ServerConfig> {
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(certificate.certificate_pem.as_bytes()).collect();
    let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.as_bytes()).context("read the key")?;
    Ok(
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain?, key)?,
    )
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, upstream: String) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            Ok((client, _)) = listener.accept() => {
                connections.spawn(connection(client, acceptor.clone(), upstream.clone()));
            }
        }
    }
}

/// One client, from accept to close. Errors end it, as they would end a connection without a proxy.
async fn connection(client: TcpStream, acceptor: TlsAcceptor, upstream: String) {
    let _ = client.set_nodelay(true);
    let Ok(mut client) = acceptor.accept(client).await else {
        return;
    };
    if let Ok(mut server) = TcpStream::connect(upstream).await {
        let _ = server.set_nodelay(true);
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}
