//! A password as Postgres stores it (SCRAM-SHA-256, RFC 5802 and RFC 7677), so that it need not be told.

use super::SALT_BYTES;
use crate::{Result, StoreError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// What Postgres itself takes.
const ITERATIONS: u32 = 4_096;

type Key = [u8; 32];

/// `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`.
pub(super) fn stored_form(password: &str, salt: [u8; SALT_BYTES]) -> Result<String> {
    // Others would have to be normalised first (RFC 4013), or the server would not know them again.
    if password.is_empty() || !password.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Err(StoreError::Conflict(
            "the password of a role is empty or has other characters than printable ASCII".to_owned(),
        ));
    }
    let salted = salted_password(password.as_bytes(), salt);
    let stored_key = Sha256::digest(hmac(&salted, &[b"Client Key"]));
    let server_key = hmac(&salted, &[b"Server Key"]);
    let [salt, stored_key, server_key] =
        [&salt[..], &stored_key[..], &server_key[..]].map(|bytes| STANDARD.encode(bytes));
    Ok(format!(
        "SCRAM-SHA-256${ITERATIONS}:{salt}${stored_key}:{server_key}"
    ))
}

/// `Hi` of RFC 5802: PBKDF2 with one block.
fn salted_password(password: &[u8], salt: [u8; SALT_BYTES]) -> Key {
    let mut round = hmac(password, &[&salt, &1_u32.to_be_bytes()]);
    let mut sum = round;
    for _ in 1..ITERATIONS {
        round = hmac(password, &[&round]);
        for (sum, byte) in sum.iter_mut().zip(round) {
            *sum ^= byte;
        }
    }
    sum
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Key {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length is a key");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677, section 3: password `pencil`, 4096 iterations.
    #[test]
    fn the_keys_are_those_of_the_example_in_the_standard() {
        let salt: [u8; 16] = STANDARD
            .decode("W22ZaJ0SNY7soEsUEjb6gQ==")
            .expect("base64")
            .try_into()
            .expect("16 bytes");
        let message = "n=user,r=rOprNGfwEbeRWgbNEkqO,\
                       r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
                       c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let stored = stored_form("pencil", salt).expect("a password");
        let (_, server_key) = stored.rsplit_once(':').expect("its last part");
        let server_key = STANDARD.decode(server_key).expect("base64");
        let signature = STANDARD.encode(hmac(&server_key, &[message.as_bytes()]));
        assert_eq!(signature, "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn what_would_have_to_be_normalised_is_refused() {
        for password in ["", "senha-ç", "tab\t"] {
            assert!(stored_form(password, [0; SALT_BYTES]).is_err(), "{password:?}");
        }
    }
}
