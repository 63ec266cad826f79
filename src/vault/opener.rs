//! Opens what `seal` sealed: a block's header with the private key of its unit, then single rows.

use crate::keys::SealingKey;
use crate::seal::{Aead, HEADER_LEN, Kdf, Kem, SealKind, TAG_LEN, block_info, row_aad, row_nonce};
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit, Nonce, Tag};
use hpke::{Deserializable, OpModeR, Serializable};
use rand::RngCore;
use std::fmt::Display;
use zeroize::{Zeroize, Zeroizing};

/// X-Wing private key of one unit, as its 32-byte seed. No `Debug`, wiped when dropped.
pub struct OpeningKey([u8; 32]);

impl OpeningKey {
    pub fn random() -> OpeningKey {
        let mut seed = OpeningKey([0; 32]);
        rand::rng().fill_bytes(&mut seed.0);
        seed
    }

    pub fn from_seed(seed: [u8; 32]) -> OpeningKey {
        OpeningKey(seed)
    }

    /// The seed, for the sealed key file only.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The half that ingest may hold.
    pub fn public(&self) -> SealingKey {
        SealingKey(<Kem as hpke::Kem>::sk_to_pk(&self.private()).to_bytes().to_vec())
    }

    fn private(&self) -> <Kem as hpke::Kem>::PrivateKey {
        <Kem as hpke::Kem>::PrivateKey::from_bytes(&self.0).expect("every 32 bytes are an X-Wing seed")
    }
}

impl Drop for OpeningKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Why something did not open. Deliberately says no more: a wrong key, kind, unit, block or row and
/// a changed byte look the same.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("a block header has {0} bytes instead of {HEADER_LEN}")]
    HeaderLength(usize),
    #[error("a block header does not open: it was changed, or sealed for another day, epoch or table")]
    Header,
    #[error("row {0} does not open: it was changed, or belongs to another block")]
    Row(u32),
}

/// Opens the rows of one block, in any order.
pub struct BlockOpener {
    kind: SealKind,
    unit: i32,
    block: [u8; 16],
    cipher: Aes256Gcm,
}

impl BlockOpener {
    /// The arguments of `BlockSealer::new` with the private half of the key, and what it stored.
    pub fn new(
        kind: SealKind,
        unit: i32,
        name: &impl Display,
        with: &OpeningKey,
        block: [u8; 16],
        header: &[u8],
    ) -> Result<BlockOpener, OpenError> {
        if header.len() != HEADER_LEN {
            return Err(OpenError::HeaderLength(header.len()));
        }
        let (encapsulated, wrapped) = header.split_at(HEADER_LEN - 32 - TAG_LEN);
        let encapsulated = <Kem as hpke::Kem>::EncappedKey::from_bytes(encapsulated).map_err(|_| OpenError::Header)?;
        let info = block_info(kind, name);
        let mut context = hpke::setup_receiver::<Aead, Kdf, Kem>(&OpModeR::Base, &with.private(), &encapsulated, &info)
            .map_err(|_| OpenError::Header)?;
        let key = Zeroizing::new(context.open(wrapped, &block).map_err(|_| OpenError::Header)?);
        let cipher = Aes256Gcm::new_from_slice(&key).map_err(|_| OpenError::Header)?;
        Ok(BlockOpener { kind, unit, block, cipher })
    }

    /// Replaces the content of `plain` with the row that was sealed; empties it on failure.
    pub fn open(&self, row: u32, sealed: &[u8], plain: &mut Vec<u8>) -> Result<(), OpenError> {
        plain.zeroize();
        let Some(length) = sealed.len().checked_sub(TAG_LEN) else { return Err(OpenError::Row(row)) };
        let (body, tag) = sealed.split_at(length);
        let tag = Tag::try_from(tag).map_err(|_| OpenError::Row(row))?;
        plain.extend_from_slice(body);
        let aad = row_aad(self.kind, self.unit, &self.block, row);
        let nonce = Nonce::from(row_nonce(row));
        self.cipher.decrypt_inout_detached(&nonce, &aad, InOutBuf::from(plain.as_mut_slice()), &tag).map_err(|_| {
            plain.zeroize();
            OpenError::Row(row)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::time::{Day, Epoch};
    use crate::seal::BlockSealer;

    const DAY: Day = Day(20_779);

    fn sealed(rows: &[&[u8]]) -> (OpeningKey, [u8; 16], Vec<u8>, Vec<Vec<u8>>) {
        let key = OpeningKey::random();
        let mut sealer = BlockSealer::new(SealKind::Evidence, DAY.0, &DAY, &key.public()).unwrap();
        let rows = rows
            .iter()
            .map(|plain| {
                let mut out = Vec::new();
                sealer.seal(plain, &mut out).unwrap();
                out
            })
            .collect();
        (key, sealer.block(), sealer.header().to_vec(), rows)
    }

    #[test]
    fn what_seal_sealed_opens_in_any_order() {
        let plains: [&[u8]; 4] = [b"first", b"", &[0xff; 5000], b"last"];
        let (key, block, header, rows) = sealed(&plains);
        let key = OpeningKey::from_seed(*key.expose());
        let opener = BlockOpener::new(SealKind::Evidence, DAY.0, &DAY, &key, block, &header).unwrap();
        let mut plain = Vec::new();
        for i in [2usize, 0, 3, 1, 2] {
            opener.open(i as u32, &rows[i], &mut plain).unwrap();
            assert_eq!(plain, plains[i]);
        }
    }

    #[test]
    fn an_identity_block_is_bound_to_its_epoch() {
        let (key, epoch) = (OpeningKey::random(), "2026-11".parse::<Epoch>().unwrap());
        let mut sealer = BlockSealer::new(SealKind::Identity, epoch.0, &epoch, &key.public()).unwrap();
        let mut row = Vec::new();
        sealer.seal(b"x", &mut row).unwrap();
        let open = |e: Epoch| BlockOpener::new(SealKind::Identity, e.0, &e, &key, sealer.block(), sealer.header());
        open(epoch).unwrap().open(0, &row, &mut Vec::new()).unwrap();
        assert_eq!(open(epoch.next()).err(), Some(OpenError::Header));
    }

    #[test]
    fn nothing_opens_under_another_key_kind_unit_block_or_header() {
        let (key, block, header, _) = sealed(&[b"x"]);
        let other = Day(DAY.0 + 1);
        let mut changed_block = block;
        changed_block[0] ^= 1;
        let try_open = |kind, unit: i32, name: &Day, key: &OpeningKey, block, header: &[u8]| {
            BlockOpener::new(kind, unit, name, key, block, header).err()
        };
        assert_eq!(try_open(SealKind::Evidence, DAY.0, &DAY, &key, block, &header), None);
        for refused in [
            try_open(SealKind::Quarantine, DAY.0, &DAY, &key, block, &header),
            try_open(SealKind::Evidence, other.0, &other, &key, block, &header),
            try_open(SealKind::Evidence, DAY.0, &DAY, &OpeningKey::random(), block, &header),
            try_open(SealKind::Evidence, DAY.0, &DAY, &key, changed_block, &header),
        ] {
            assert_eq!(refused, Some(OpenError::Header));
        }
        for at in [0, 31, 1119, 1120, HEADER_LEN - 1] {
            let mut changed = header.clone();
            changed[at] ^= 0x80;
            assert!(try_open(SealKind::Evidence, DAY.0, &DAY, &key, block, &changed).is_some(), "byte {at}");
        }
        assert_eq!(
            try_open(SealKind::Evidence, DAY.0, &DAY, &key, block, &header[1..]),
            Some(OpenError::HeaderLength(HEADER_LEN - 1))
        );
    }

    #[test]
    fn a_row_opens_only_as_itself() {
        let (key, block, header, rows) = sealed(&[b"row zero", b"row one"]);
        let opener = BlockOpener::new(SealKind::Evidence, DAY.0, &DAY, &key, block, &header).unwrap();
        let mut plain = b"left over".to_vec();
        for (row, bytes) in [
            (1, rows[0].clone()),
            (0, rows[1].clone()),
            (2, rows[0].clone()),
            (0, rows[0][1..].to_vec()),
            (0, vec![]),
            (0, vec![0; TAG_LEN - 1]),
        ] {
            assert_eq!(opener.open(row, &bytes, &mut plain), Err(OpenError::Row(row)));
            assert!(plain.is_empty());
        }
        for at in 0..rows[0].len() {
            let mut changed = rows[0].clone();
            changed[at] ^= 1;
            assert!(opener.open(0, &changed, &mut plain).is_err(), "byte {at}");
        }
        // The row's own day is in the associated data too, not only in the header.
        let moved = BlockOpener::new(SealKind::Evidence, DAY.0 + 1, &DAY, &key, block, &header).unwrap();
        assert_eq!(moved.open(0, &rows[0], &mut plain), Err(OpenError::Row(0)));
        let other = sealed(&[b"row zero"]);
        assert!(opener.open(0, &other.3[0], &mut plain).is_err());
    }
}
