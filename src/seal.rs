//! Sealing to the vault: public keys only, no opener.
//!
//! A *block* (at most `MAX_BLOCK_ROWS` rows) of one kind and one unit (day or epoch) gets a fresh
//! data key, sealed once by HPKE (RFC 9180 base mode, X-Wing KEM); each row is then AES-256-GCM
//! under that key with its row number as nonce. The data key is dropped with the sealer, so only
//! the holder of the unit's private key can open a row. Layouts: `schemas/lake/sealed.md`.

use crate::keys::SealingKey;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit, Nonce};
use hpke::{Deserializable, OpModeS, Serializable};
use rand::RngCore;
use std::fmt::Display;
use zeroize::Zeroizing;

pub type Kem = hpke::kem::XWing;
pub type Kdf = hpke::kdf::HkdfSha256;
pub type Aead = hpke::aead::AesGcm256;

/// Bound of rows under one data key; keeps memory bounded, far from any AES-GCM limit.
pub const MAX_BLOCK_ROWS: usize = 262_144;
/// Encapsulated key (1120) + data key (32) + tag (16).
pub const HEADER_LEN: usize = 1168;
/// AES-GCM tag on every row.
pub const TAG_LEN: usize = 16;

/// What a sealed row is; part of the associated data, so rows cannot change tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SealKind {
    Evidence = 1,
    Identity = 2,
    Quarantine = 3,
}

impl SealKind {
    pub fn name(self) -> &'static str {
        match self {
            SealKind::Evidence => "evidence",
            SealKind::Identity => "identities",
            SealKind::Quarantine => "quarantine",
        }
    }
}

/// The HPKE `info` of a block: purpose and retention unit.
pub fn block_info(kind: SealKind, unit: &impl Display) -> Vec<u8> {
    format!("cdrveil/v1/escrow|{}|{unit}", kind.name()).into_bytes()
}

/// Associated data of a row: kind (1) ‖ unit (4, big-endian days or months) ‖ block (16) ‖ row (4).
pub fn row_aad(kind: SealKind, unit: i32, block: &[u8; 16], row: u32) -> [u8; 25] {
    let mut aad = [0u8; 25];
    aad[0] = kind as u8;
    aad[1..5].copy_from_slice(&unit.to_be_bytes());
    aad[5..21].copy_from_slice(block);
    aad[21..25].copy_from_slice(&row.to_be_bytes());
    aad
}

/// Nonce of a row: its number, big-endian in 96 bits.
pub fn row_nonce(row: u32) -> [u8; 12] {
    let mut nonce = [0u8; 12];
    nonce[8..].copy_from_slice(&row.to_be_bytes());
    nonce
}

#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("a public sealing key is damaged; make the ingest key file anew from the vault")]
    BadPublicKey,
    #[error("sealing failed")]
    Seal,
}

/// Seals the rows of one block. Dropping it forgets the data key.
pub struct BlockSealer {
    kind: SealKind,
    unit: i32,
    block: [u8; 16],
    header: Vec<u8>,
    cipher: Aes256Gcm,
    next: u32,
}

impl BlockSealer {
    /// Opens a block for `unit`, named `name` in the HPKE info (a day or an epoch).
    pub fn new(kind: SealKind, unit: i32, name: &impl Display, to: &SealingKey) -> Result<BlockSealer, SealError> {
        let public = <Kem as hpke::Kem>::PublicKey::from_bytes(&to.0).map_err(|_| SealError::BadPublicKey)?;
        let info = block_info(kind, name);
        let (enc, mut context) =
            hpke::setup_sender::<Aead, Kdf, Kem>(&OpModeS::Base, &public, &info).map_err(|_| SealError::Seal)?;
        let mut key = Zeroizing::new([0u8; 32]);
        let mut block = [0u8; 16];
        rand::rng().fill_bytes(&mut *key);
        rand::rng().fill_bytes(&mut block);
        let mut header = enc.to_bytes().to_vec();
        header.extend_from_slice(&context.seal(&*key, &block).map_err(|_| SealError::Seal)?);
        let cipher = Aes256Gcm::new_from_slice(&*key).map_err(|_| SealError::Seal)?;
        Ok(BlockSealer { kind, unit, block, header, cipher, next: 0 })
    }

    pub fn header(&self) -> &[u8] {
        &self.header
    }

    pub fn block(&self) -> [u8; 16] {
        self.block
    }

    /// Seals `plain` as the next row, appends ciphertext and tag to `out`, and returns the row
    /// number. Numbers are never reused: this is the only way to draw one.
    pub fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<u32, SealError> {
        if self.next as usize >= MAX_BLOCK_ROWS {
            return Err(SealError::Seal);
        }
        let row = self.next;
        self.next += 1;
        let at = out.len();
        out.extend_from_slice(plain);
        let aad = row_aad(self.kind, self.unit, &self.block, row);
        let tag = self
            .cipher
            .encrypt_inout_detached(&Nonce::from(row_nonce(row)), &aad, InOutBuf::from(&mut out[at..]))
            .map_err(|_| SealError::Seal)?;
        out.extend_from_slice(&tag);
        Ok(row)
    }
}
