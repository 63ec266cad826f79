//! HMAC-SHA-256 (RFC 2104) with both keyed states computed once, for messages of one block.
//!
//! An identifier's message is 16 bytes plus its canonical form; up to 39 bytes of that, inner hash
//! and padding fit one SHA-256 block (FIPS 180-4), so a pseudonym costs two compressions. Longer
//! ones take the plain road. `twin` is the same in library calls, for tests and for long messages.

use crate::keys::DomainKey;
use sha2::block_api::compress256;
use zeroize::Zeroize;

/// What is hashed: an identifier, or a pseudonym on its way to a recipient.
const LABEL: &[u8; 13] = b"cdrveil/v1/id";
const LABEL_CHAINED: &[u8; 13] = b"cdrveil/v1/xp";
const IV: [u32; 8] = [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];
/// Longest canonical form whose message and padding fit one block: 64 − 9 (padding) − 16 (prefix).
pub const ONE_BLOCK: usize = 39;

/// The two keyed states of one domain key. No `Debug`, no `Clone`; wiped when dropped.
pub struct IdHasher {
    inner: [u32; 8],
    outer: [u32; 8],
}

impl IdHasher {
    pub fn new(key: &DomainKey) -> IdHasher {
        IdHasher::keyed(key.expose())
    }

    fn keyed(key: &[u8; 32]) -> IdHasher {
        let state = |pad: u8| {
            let mut block = [pad; 64];
            for (b, k) in block.iter_mut().zip(key) {
                *b ^= k;
            }
            let mut state = IV;
            compress256(&mut state, &[block]);
            block.zeroize();
            state
        };
        IdHasher { inner: state(0x36), outer: state(0x5c) }
    }

    /// The 32-byte HMAC of one identifier: pseudonym ‖ blind index.
    pub fn hash(&self, class: u8, canonical: &[u8]) -> [u8; 32] {
        self.labelled(LABEL, class, canonical)
    }

    /// The 32-byte HMAC of one pseudonym, under a recipient's key (chaining mode).
    pub fn hash_chained(&self, class: u8, pseudonym: &[u8; 16]) -> [u8; 32] {
        self.labelled(LABEL_CHAINED, class, pseudonym)
    }

    fn labelled(&self, label: &[u8; 13], class: u8, canonical: &[u8]) -> [u8; 32] {
        let mut inner = self.inner;
        if canonical.len() <= ONE_BLOCK {
            let mut block = [0u8; 64];
            block[..13].copy_from_slice(label);
            block[13] = class;
            block[15] = canonical.len() as u8;
            block[16..16 + canonical.len()].copy_from_slice(canonical);
            block[16 + canonical.len()] = 0x80;
            // Message length in bits, after the 64 bytes of the key pad.
            block[56..].copy_from_slice(&((64 + 16 + canonical.len() as u64) * 8).to_be_bytes());
            compress256(&mut inner, &[block]);
        } else {
            long_message(&mut inner, label, class, canonical);
        }
        self.outer_hash(&inner)
    }

    fn outer_hash(&self, inner: &[u32; 8]) -> [u8; 32] {
        let mut block = [0u8; 64];
        block[..32].copy_from_slice(&bytes(inner));
        block[32] = 0x80;
        block[56..].copy_from_slice(&(96u64 * 8).to_be_bytes());
        let mut outer = self.outer;
        compress256(&mut outer, &[block]);
        bytes(&outer)
    }
}

impl Drop for IdHasher {
    fn drop(&mut self) {
        self.inner.zeroize();
        self.outer.zeroize();
    }
}

/// HMAC-SHA-256 of short `data` under the site's file key.
pub fn keyed_bytes(key: &[u8; 32], data: &[u8]) -> [u8; 32] {
    // not the library's: its states stay in memory
    let hasher = IdHasher::keyed(key);
    let mut inner = hasher.inner;
    padded(&mut inner, data.to_vec());
    hasher.outer_hash(&inner)
}

/// As `keyed_bytes`, in hex.
pub fn keyed_digest(key: &[u8; 32], data: &[u8]) -> String {
    keyed_bytes(key, data).iter().map(|b| format!("{b:02x}")).collect()
}

/// Rare (long URIs): the padded message is built on the heap.
fn long_message(state: &mut [u32; 8], label: &[u8; 13], class: u8, canonical: &[u8]) {
    let mut message = Vec::with_capacity(canonical.len() + 96);
    message.extend_from_slice(label);
    message.push(class);
    message.extend_from_slice(&(canonical.len() as u16).to_be_bytes());
    message.extend_from_slice(canonical);
    padded(state, message);
}

/// The rest of a message that follows the key pad; wiped.
fn padded(state: &mut [u32; 8], mut message: Vec<u8>) {
    message.reserve_exact(72);
    let bits = (64 + message.len() as u64) * 8;
    message.push(0x80);
    while message.len() % 64 != 56 {
        message.push(0);
    }
    message.extend_from_slice(&bits.to_be_bytes());
    let (blocks, _) = message.as_chunks::<64>();
    compress256(state, blocks);
    message.zeroize();
}

fn bytes(state: &[u32; 8]) -> [u8; 32] {
    let mut out = [0u8; 32];
    for (chunk, word) in out.chunks_exact_mut(4).zip(state) {
        chunk.copy_from_slice(&word.to_be_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pseudonymise::twin;
    use hmac::{Hmac, KeyInit, Mac};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_the_plain_twin(key: [u8; 32], class: u8, id in proptest::collection::vec(any::<u8>(), 0..200)) {
            let fast = IdHasher::new(&DomainKey::from_bytes(key));
            prop_assert_eq!(fast.hash(class, &id), twin::hash(&DomainKey::from_bytes(key), class, &id));
            let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
            mac.update(&id);
            prop_assert_eq!(keyed_bytes(&key, &id), <[u8; 32]>::from(mac.finalize().into_bytes()));
        }
    }

    #[test]
    fn every_length_around_the_block_border_agrees() {
        let key = || DomainKey::from_bytes([7; 32]);
        let fast = IdHasher::new(&key());
        for n in 0..130 {
            let id = vec![b'9'; n];
            assert_eq!(fast.hash(1, &id), twin::hash(&key(), 1, &id), "{n} bytes");
        }
    }
}
