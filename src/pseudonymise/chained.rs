//! A recipient's pseudonyms, made of the lake's (privacy.md 1.3, chaining mode):
//! `HMAC-SHA-256(K_recipient, "cdrveil/v1/xp" ‖ class ‖ lp(pseudonym))`, its left 16 bytes.
//!
//! Whoever holds the recipient's key and the lake can match what the recipient returns, without the
//! vault opening a number. Two recipients have nothing in common.

use super::hmac::IdHasher;
use crate::keys::KeyRing;
use crate::record::identifier::Kind;
use crate::record::time::Epoch;
use crate::record::veiled::{Exported, ExportedColumn, Pseudonym, VeiledColumn, Veils};
use std::collections::BTreeMap;

/// The ring lacks keys of a recipient, be it for one epoch.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("recipient `{recipient}` has no key for {epoch} in ingest/keys.age")]
pub struct NoRecipientKey {
    pub recipient: String,
    pub epoch: Epoch,
}

/// Keyed states of one recipient for every leased epoch. No `Debug`.
pub struct Chain {
    epochs: BTreeMap<Epoch, IdHasher>,
}

impl Chain {
    pub fn new(ring: &KeyRing, recipient: &str) -> Result<Chain, NoRecipientKey> {
        let hasher = |epoch: &Epoch| {
            let key = ring.epochs[epoch].recipients.get(recipient);
            let key = key.ok_or_else(|| NoRecipientKey { recipient: recipient.to_owned(), epoch: *epoch })?;
            Ok((*epoch, IdHasher::new(key)))
        };
        Ok(Chain { epochs: ring.epochs.keys().map(hasher).collect::<Result<_, _>>()? })
    }

    /// The recipient's pseudonyms in place of the lake's. Random ones are drawn anew each time and
    /// stay as they are: there is nothing to match them with.
    ///
    /// # Panics
    /// If a row's epoch is not leased: `normalise` has refused such rows before.
    pub fn export(&self, veils: Veils) -> Exported {
        let Veils { parties, epoch, .. } = veils;
        Exported { parties: parties.map(|column| self.column(column, &epoch)), epoch }
    }

    fn column(&self, column: VeiledColumn, epochs: &[Epoch]) -> ExportedColumn {
        let VeiledColumn { kinds, mut pseudonyms, random, .. } = column;
        for (row, epoch) in epochs.iter().enumerate() {
            if kinds[row].is_hashed() && !random[row] {
                pseudonyms[row] = self.of(*epoch, kinds[row], &pseudonyms[row]);
            }
        }
        ExportedColumn { kinds, pseudonyms, random }
    }

    fn of(&self, epoch: Epoch, kind: Kind, lake: &Pseudonym) -> Pseudonym {
        let state = self.epochs.get(&epoch).expect("normalise admits leased epochs only");
        let mut out = [0; 16];
        out.copy_from_slice(&state.hash_chained(kind as u8, lake)[..16]);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{DomainKey, EpochLease, SealingKey};
    use crate::record::identifier::Party;
    use zeroize::Zeroizing;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        std::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
    }

    const RECIPIENT: &str = "acme/contract-17";

    /// November and December 2026, with the documented key of November.
    fn ring() -> KeyRing {
        let november = bytes("a2d76533bc742e02c542287fcb19682746a47fd16d7130273dcecd93724bb402");
        let lease = |key| EpochLease {
            generation: 1,
            analytics: DomainKey::from_bytes([1; 32]),
            tally: DomainKey::from_bytes([2; 32]),
            identities: SealingKey(Vec::new()),
            recipients: BTreeMap::from([(RECIPIENT.to_owned(), DomainKey::from_bytes(key))]),
        };
        let epochs = [("2026-11", november), ("2026-12", [3; 32])];
        KeyRing {
            file_key: Zeroizing::new([0; 32]),
            epochs: epochs.into_iter().map(|(e, key)| (e.parse().unwrap(), lease(key))).collect(),
            days: BTreeMap::new(),
        }
    }

    #[test]
    fn a_chained_pseudonym_is_the_documented_one_and_random_ones_stay() {
        let lake: Pseudonym = bytes("a6b24c9d6ffce2eaf172864c65e5f8da");
        let epoch = |text: &str| text.parse::<Epoch>().unwrap();
        let mut veils = Veils { epoch: vec![epoch("2026-11"), epoch("2026-11"), epoch("2026-12")], ..Veils::default() };
        for party in Party::ALL {
            veils.parties[party as usize] = VeiledColumn {
                kinds: vec![Kind::E164, Kind::E164, Kind::E164],
                pseudonyms: vec![lake; 3],
                blind: vec![[9; 16]; 3],
                random: vec![false, true, false],
            };
        }
        veils.parties[Party::C as usize].kinds = vec![Kind::Withheld; 3];
        veils.parties[Party::C as usize].pseudonyms = vec![[0; 16]; 3];
        let exported = Chain::new(&ring(), RECIPIENT).unwrap().export(veils);
        let a = &exported.parties[Party::A as usize];
        assert_eq!(a.pseudonyms[0], bytes("461009bbaecc28ea77c174355dadd9d0"));
        assert_eq!(a.pseudonyms[1], lake);
        assert!(a.pseudonyms[2] != lake && a.pseudonyms[2] != a.pseudonyms[0], "another month, another key");
        assert_eq!(exported.parties[Party::C as usize].pseudonyms, vec![[0; 16]; 3], "nobody has no pseudonym");
    }

    #[test]
    fn the_class_is_part_of_a_chained_pseudonym() {
        let chain = Chain::new(&ring(), RECIPIENT).unwrap();
        let epoch = "2026-11".parse().unwrap();
        assert_ne!(chain.of(epoch, Kind::E164, &[5; 16]), chain.of(epoch, Kind::Imsi, &[5; 16]));
    }

    #[test]
    fn one_epoch_without_a_key_is_told() {
        let mut ring = ring();
        assert!(Chain::new(&ring, "desk").is_err());
        let december = "2026-12".parse().unwrap();
        ring.epochs.get_mut(&december).unwrap().recipients.clear();
        let error = Chain::new(&ring, RECIPIENT).err().unwrap();
        assert_eq!(error, NoRecipientKey { recipient: RECIPIENT.into(), epoch: december });
    }
}
