//! From an epoch's key to the keys of its domains (privacy.md 1.3). Only the vault can do this.

use crate::keys::DomainKey;
use crate::record::time::Epoch;
use hkdf::Hkdf;
use rand::RngCore;
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

/// The random key of one epoch. Never derived from anything longer-lived: what can be derived
/// again cannot be destroyed. No `Debug`, wiped when dropped.
pub struct EpochKey([u8; 32]);

impl EpochKey {
    pub fn random() -> EpochKey {
        let mut key = EpochKey([0; 32]);
        rand::rng().fill_bytes(&mut key.0);
        key
    }

    pub fn from_bytes(bytes: [u8; 32]) -> EpochKey {
        EpochKey(bytes)
    }

    /// For the sealed key file only.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// `HKDF-Expand(PRK, "cdrveil/v1/domain" ‖ lp(domain) ‖ lp(epoch), 32)`.
    pub fn domain(&self, domain: &str, epoch: Epoch) -> DomainKey {
        let mut info = b"cdrveil/v1/domain".to_vec();
        length_prefixed(&mut info, domain.as_bytes());
        length_prefixed(&mut info, epoch.to_string().as_bytes());
        let mut key = Zeroizing::new([0u8; 32]);
        self.expand(&info, &mut *key);
        DomainKey::from_bytes(*key)
    }

    /// 16 bytes that stand for the key in logs: they commit to it and tell nothing about it.
    pub fn commitment(&self) -> String {
        let mut bytes = [0u8; 16];
        self.expand(b"cdrveil/v1/commitment", &mut bytes);
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    fn expand(&self, info: &[u8], out: &mut [u8]) {
        Hkdf::<Sha256>::new(Some(b"cdrveil/v1/epoch"), &self.0)
            .expand(info, out)
            .expect("HKDF-SHA-256 gives up to 8160 bytes");
    }
}

impl Drop for EpochKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// `lp(x) = u16be(len) ‖ x`: makes the concatenation injective.
fn length_prefixed(out: &mut Vec<u8>, x: &[u8]) {
    let length = u16::try_from(x.len()).expect("domain names and epochs are short");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(x);
}

#[cfg(test)]
mod tests {
    use super::*;
    use hmac::{Hmac, KeyInit, Mac};

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// The plain construction, written out once more: label ‖ class ‖ lp(text), first 16 bytes.
    fn hmac16(key: &[u8; 32], label: &[u8], class: u8, text: &[u8]) -> [u8; 16] {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(label);
        mac.update(&[class]);
        mac.update(&(text.len() as u16).to_be_bytes());
        mac.update(text);
        mac.finalize().into_bytes()[..16].try_into().unwrap()
    }

    fn pseudonym(domain: &str, epoch: &str, class: u8, canonical: &str) -> [u8; 16] {
        let key = EpochKey::from_bytes(std::array::from_fn(|i| i as u8)).domain(domain, epoch.parse().unwrap());
        hmac16(key.expose(), b"cdrveil/v1/id", class, canonical.as_bytes())
    }

    #[test]
    fn domain_keys_match_the_documented_vectors() {
        let epoch_key = EpochKey::from_bytes(std::array::from_fn(|i| i as u8));
        for (domain, want) in [
            ("analytics", "c02015982c3ef16d984ed537f09f155bbb844a493971748e44c0b9c399a2adbc"),
            ("recipient:acme/contract-17", "a2d76533bc742e02c542287fcb19682746a47fd16d7130273dcecd93724bb402"),
        ] {
            assert_eq!(hex(epoch_key.domain(domain, "2026-11".parse().unwrap()).expose()), want, "{domain}");
        }
    }

    #[test]
    fn pseudonyms_match_the_documented_vectors() {
        for (domain, epoch, class, canonical, want) in [
            ("analytics", "2026-11", 1, "+447700900123", "a6b24c9d6ffce2eaf172864c65e5f8da"),
            ("analytics", "2026-11", 2, "001010123456789", "0880ac32d34274d1edfe6176b9937659"),
            ("analytics", "2026-11", 3, "26053179311383", "a6eda50c2bb57961bcdc964dd8dab20f"),
            ("analytics", "2026-12", 1, "+447700900123", "95c8ae373147a384d4fde581b66c124c"),
            ("recipient:acme/contract-17", "2026-11", 1, "+447700900123", "abda85855a56140b60764f7c098c8067"),
        ] {
            assert_eq!(hex(&pseudonym(domain, epoch, class, canonical)), want, "{domain} {epoch} class {class}");
        }
    }

    #[test]
    fn a_chained_export_matches_the_documented_vector() {
        let lake = pseudonym("analytics", "2026-11", 1, "+447700900123");
        let recipient = EpochKey::from_bytes(std::array::from_fn(|i| i as u8))
            .domain("recipient:acme/contract-17", "2026-11".parse().unwrap());
        assert_eq!(hex(&hmac16(recipient.expose(), b"cdrveil/v1/xp", 1, &lake)), "461009bbaecc28ea77c174355dadd9d0");
    }

    #[test]
    fn a_commitment_is_stable_and_is_no_domain_key() {
        let a = EpochKey::from_bytes([7; 32]);
        assert_eq!(a.commitment(), EpochKey::from_bytes([7; 32]).commitment());
        assert_ne!(a.commitment(), EpochKey::random().commitment());
        assert_ne!(a.commitment(), hex(&a.domain("analytics", "2026-11".parse().unwrap()).expose()[..16]));
    }
}
