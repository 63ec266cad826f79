//! Short texts that stand in the batch log and are not ours to show there: file names, header rows.
//! AES-256-GCM under a key that is derived from the site's file key for one purpose.

use super::Keys;
use crate::pseudonymise::hmac::keyed_bytes;
use crate::seal::SealError;
use aes_gcm::aead::Aead;
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use rand::RngCore;
use zeroize::Zeroizing;

/// Nonce, ciphertext and tag in hex. The nonce is random: at 2^32 texts under one key two would meet
/// with probability 2^-33.
pub(super) fn encrypt(keys: &Keys, purpose: &[u8], plain: &[u8]) -> Result<String, SealError> {
    let mut nonce = [0u8; 12];
    rand::rng().fill_bytes(&mut nonce);
    let body = cipher(keys, purpose).encrypt(&Nonce::from(nonce), plain).map_err(|_| SealError::Seal)?;
    Ok(nonce.iter().chain(&body).map(|b| format!("{b:02x}")).collect())
}

/// What was encrypted for this purpose; `None` for anything else.
pub(super) fn decrypt(keys: &Keys, purpose: &[u8], text: &str) -> Option<Vec<u8>> {
    let bytes: Option<Vec<u8>> =
        (0..text.len() / 2).map(|i| u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()).collect();
    let bytes = bytes?;
    let (nonce, body) = bytes.split_at_checked(12)?;
    cipher(keys, purpose).decrypt(&Nonce::from(<[u8; 12]>::try_from(nonce).ok()?), body).ok()
}

fn cipher(keys: &Keys, purpose: &[u8]) -> Aes256Gcm {
    let key = Zeroizing::new(keyed_bytes(&keys.ring.file_key, purpose));
    Aes256Gcm::new_from_slice(&*key).expect("32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::KeyRing;
    use std::collections::BTreeMap;

    fn keys(byte: u8) -> Keys {
        let (epochs, days) = (BTreeMap::new(), BTreeMap::new());
        Keys::new(KeyRing { file_key: Zeroizing::new([byte; 32]), epochs, days })
    }

    #[test]
    fn a_text_is_read_back_under_its_key_and_purpose_only() {
        let text = encrypt(&keys(1), b"a", b"start,a_number").unwrap();
        assert_eq!(decrypt(&keys(1), b"a", &text).as_deref(), Some(&b"start,a_number"[..]));
        assert_ne!(text, encrypt(&keys(1), b"a", b"start,a_number").unwrap(), "equal texts look different");
        assert!(!text.contains("number") && text.bytes().all(|b| b.is_ascii_hexdigit()));
        let cut = &text[..text.len() - 2];
        for (keys, purpose, text) in [
            (keys(2), &b"a"[..], &*text),
            (keys(1), b"b", &text),
            (keys(1), b"a", cut),
            (keys(1), b"a", ""),
            (keys(1), b"a", "zz"),
        ] {
            assert_eq!(decrypt(&keys, purpose, text), None);
        }
    }
}
