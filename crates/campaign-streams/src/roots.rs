//! The authorities that `rediss://` trusts: the client takes either the system's or others, and both are meant.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// PEM of `further` and of the system's authorities.
pub(crate) fn with_system(further: &[u8]) -> Vec<u8> {
    let mut pem = further.to_vec();
    for certificate in rustls_native_certs::load_native_certs().certs {
        pem.extend_from_slice(b"\n-----BEGIN CERTIFICATE-----\n");
        pem.extend_from_slice(STANDARD.encode(&certificate).as_bytes());
        pem.extend_from_slice(b"\n-----END CERTIFICATE-----\n");
    }
    pem
}
