//! The signature of a webhook: `X-Hub-Signature-256: sha256=<hex>`.
//!
//! HMAC-SHA256 of the *raw* body with the app secret, so it is checked before anything is parsed
//! (Meta, "Webhooks from Meta: validating payloads").

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// The header that carries the signature.
pub const SIGNATURE_HEADER: &str = "x-hub-signature-256";

const PREFIX: &str = "sha256=";

/// The value of the header for this raw body.
pub fn sign(secret: &[u8], raw: &[u8]) -> String {
    format!("{PREFIX}{}", hex::encode(digest(secret, raw)))
}

/// Whether `header` signs this raw body; compared in constant time.
pub fn verify(secret: &[u8], raw: &[u8], header: &str) -> bool {
    let Some(digits) = header.trim().strip_prefix(PREFIX) else {
        return false;
    };
    let mut given = [0_u8; 32];
    if hex::decode_to_slice(digits, &mut given).is_err() {
        return false;
    }
    digest(secret, raw).ct_eq(&given).into()
}

fn digest(secret: &[u8], raw: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(raw);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_vector_is_reproduced() {
        // RFC 4231, test case 2.
        assert_eq!(
            sign(b"Jefe", b"what do ya want for nothing?"),
            "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn only_the_same_body_and_secret_verify() {
        let header = sign(b"secret", b"body");
        assert!(verify(b"secret", b"body", &header));
        assert!(verify(
            b"secret",
            b"body",
            &header.to_uppercase().replace("SHA256", "sha256")
        ));
        assert!(!verify(b"secret", b"body ", &header));
        assert!(!verify(b"Secret", b"body", &header));
        for wrong in [
            "",
            "sha256=",
            "sha256=zz",
            &header[7..],
            &header[..70],
            &format!("{header}00"),
        ] {
            assert!(!verify(b"secret", b"body", wrong), "{wrong:?}");
        }
    }
}
