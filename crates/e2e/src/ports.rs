//! Where the parts of a system listen.

/// Ports that others must know before the programs run.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    /// Of the first `message-svc`.
    pub messenger: u16,
    /// Of the ERP.
    pub erp: u16,
    /// Of WhatsApp.
    pub whatsapp: u16,
}

/// The `host:port` of a URL.
pub(crate) fn address_of(url: &str) -> String {
    let authority = url.split("://").last().unwrap_or(url);
    let authority = authority.split('/').next().unwrap_or(authority);
    let address = authority.rsplit('@').next().unwrap_or(authority);
    address.to_owned()
}
