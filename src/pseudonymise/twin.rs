//! The plain twin of `hmac`: the same construction in library calls.

use crate::keys::DomainKey;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// `HMAC-SHA-256(K_dom, "cdrveil/v1/id" ‖ class ‖ lp(canonical))`, 32 bytes.
pub fn hash(key: &DomainKey, class: u8, canonical: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose()).expect("HMAC takes keys of any length");
    mac.update(b"cdrveil/v1/id");
    mac.update(&[class]);
    mac.update(&(canonical.len() as u16).to_be_bytes());
    mac.update(canonical);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known-answer vectors of design privacy.md 1.3, epoch 2026-11, domain analytics.
    #[test]
    fn known_answers() {
        let key = "c02015982c3ef16d984ed537f09f155bbb844a493971748e44c0b9c399a2adbc";
        let key: Vec<u8> = (0..32).map(|i| u8::from_str_radix(&key[2 * i..2 * i + 2], 16).unwrap()).collect();
        let key = DomainKey::from_bytes(key.try_into().unwrap());
        for (class, canonical, pseudonym) in [
            (1, "+447700900123", "a6b24c9d6ffce2eaf172864c65e5f8da"),
            (2, "001010123456789", "0880ac32d34274d1edfe6176b9937659"),
            (3, "26053179311383", "a6eda50c2bb57961bcdc964dd8dab20f"),
        ] {
            let hash = hash(&key, class, canonical.as_bytes());
            let hex: String = hash[..16].iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(hex, pseudonym, "class {class}");
            assert_eq!(crate::pseudonymise::hmac::IdHasher::new(&key).hash(class, canonical.as_bytes()), hash);
        }
    }
}
