//! Where the servers and mocks of one system listen.

/// Ports of the loopback interface.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) redis: u16,
    pub(crate) postgres: u16,
    /// The `message-svc` that receives the webhooks.
    pub(crate) messenger: u16,
    pub(crate) erp: u16,
    pub(crate) whatsapp: u16,
}

/// The port of `host:port` or of a URL.
pub(crate) fn port_of(address: &str) -> u16 {
    let authority = address.split("://").last().unwrap_or(address);
    let authority = authority.split('/').next().unwrap_or(authority);
    let port = authority.rsplit(':').next().and_then(|port| port.parse().ok());
    port.unwrap_or_else(|| panic!("{address} has a port"))
}
