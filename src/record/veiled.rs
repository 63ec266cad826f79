//! Records after the veil: pseudonyms, tokens, coarse attributes. Safe to store in the lake.

use super::clear::{Answered, CauseClass, Direction, Service};
use super::identifier::{Country, Kind, Party};
use super::plmn::Plmn;
use super::time::{Day, Epoch};

/// Leftmost 16 bytes of the keyed hash (privacy.md 1.3).
pub type Pseudonym = [u8; 16];
/// Rightmost 16 bytes of the same hash: finds evidence, and only the key links the two.
pub type BlindIndex = [u8; 16];

/// By what a subscriber is counted: the two top bits of a tally token.
///
/// One person can be seen under each of them (a caller by number, the same one's data by SIM), and
/// only the vault could tell. So counts never add over namings: a side has at least as many
/// subscribers as the largest of them says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Naming {
    Number = 0,
    Imsi = 1,
    Uri = 2,
}

impl Naming {
    pub const COUNT: usize = 3;
    pub const ALL: [Naming; Naming::COUNT] = [Naming::Number, Naming::Imsi, Naming::Uri];

    /// How a party of this kind is named, if it is a subscriber: services, short codes, brands and
    /// what nobody could read are not known to be persons.
    pub fn of_kind(kind: Kind) -> Option<Naming> {
        match kind {
            Kind::E164 => Some(Naming::Number),
            Kind::Imsi => Some(Naming::Imsi),
            Kind::Uri => Some(Naming::Uri),
            _ => None,
        }
    }

    /// A token of this naming from a keyed hash; never 0.
    #[inline]
    pub fn token(self, hash: u64) -> u64 {
        (self as u64) << 62 | (hash >> 2).max(1)
    }

    #[inline]
    pub fn of_token(token: u64) -> Naming {
        match token >> 62 {
            0 => Naming::Number,
            1 => Naming::Imsi,
            _ => Naming::Uri,
        }
    }
}

/// One party column of a veiled batch.
#[derive(Default)]
pub struct VeiledColumn {
    pub kinds: Vec<Kind>,
    /// Zeros where `kinds` has nothing to hash.
    pub pseudonyms: Vec<Pseudonym>,
    pub blind: Vec<BlindIndex>,
    /// The pseudonym is fresh random (sensitive call, objector): it has no identity to escrow.
    pub random: Vec<bool>,
}

/// Pseudonyms and tally tokens of a batch, row for row with its `Clear`.
#[derive(Default)]
pub struct Veils {
    pub parties: [VeiledColumn; Party::COUNT],
    /// Keyed 64-bit token of the A side (MSISDN or URI, else IMSI), made by `Naming::token`; 0 where
    /// it is nobody.
    pub a_token: Vec<u64>,
    pub b_token: Vec<u64>,
    pub day: Vec<Day>,
    pub epoch: Vec<Epoch>,
}

/// Pseudonyms of one recipient, row for row with the `Veils` they were made of. A type of its own:
/// what is written for others takes nothing else, so a lake pseudonym cannot get there.
pub struct Exported {
    pub parties: [ExportedColumn; Party::COUNT],
    pub epoch: Vec<Epoch>,
}

/// One party column of an exported batch.
pub struct ExportedColumn {
    pub kinds: Vec<Kind>,
    /// Zeros where `kinds` has nothing to hash.
    pub pseudonyms: Vec<Pseudonym>,
    /// The pseudonym is fresh random and links to nothing.
    pub random: Vec<bool>,
}

/// Attributes that may stand beside a pseudonym, coarse by construction (privacy.md 2.3).
#[derive(Default)]
pub struct Coarse {
    pub service: Vec<Service>,
    pub direction: Vec<Direction>,
    /// Microseconds since 1970-01-01 UTC, floored to 15 minutes (to the day for sensitive calls).
    pub start_us: Vec<i64>,
    /// Lower bound of the duration bucket, seconds.
    pub duration: Vec<Option<i32>>,
    /// Lower bound of the volume bucket, octets up and down together.
    pub volume: Vec<Option<i64>>,
    /// Lower bound of the charge bucket, millionths of the currency.
    pub charge: Vec<Option<i64>>,
    pub currency: Vec<[u8; 3]>,
    pub answered: Vec<Answered>,
    pub cause: Vec<CauseClass>,
    pub a_country: Vec<Country>,
    pub b_country: Vec<Country>,
    pub home_network: Vec<Plmn>,
    pub visited_network: Vec<Plmn>,
    /// Index into the feed's allow-list of trunk groups plus one; 0 absent, `TRUNK_OTHER` not listed.
    pub trunk_in: Vec<u16>,
    pub trunk_out: Vec<u16>,
}

pub const TRUNK_OTHER: u16 = u16::MAX;
