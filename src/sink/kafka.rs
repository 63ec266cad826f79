//! Veiled records and refused ones as Kafka messages, written in transactions.
//!
//! What a message holds is a contract: `schemas/kafka/`. Records come as `Exported`, under the
//! pseudonyms of one recipient; refused ones are sealed here as rows of `vault/quarantine` are.

mod avro;
mod base64;
pub mod dead_letter;
mod fields;
mod json;
pub mod producer;
pub mod slot;

use self::fields::Row;
use crate::record::identifier::Party;
use crate::record::veiled::{Coarse, Exported, Pseudonym};
use rand::Rng;

/// How a record is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// One object, every field in it.
    Json,
    /// The framing of schema registries, then Avro's binary encoding.
    Avro { schema_id: u32 },
}

/// What is the same for every record of a feed.
pub struct Outlet {
    pub feed: String,
    /// Names of the feed's listed trunk groups.
    pub trunks: Vec<String>,
    pub encoding: Encoding,
}

/// One message on its way.
pub struct Message<'a> {
    /// The recipient's pseudonym of the A party; none where it is nobody, or random.
    pub key: Option<Pseudonym>,
    /// Milliseconds since 1970-01-01 UTC.
    pub timestamp_ms: i64,
    pub value: &'a [u8],
}

/// Veiled records of one block, to be written in the order of `order`.
pub struct Veiled {
    pub exported: Exported,
    pub coarse: Coarse,
    order: Vec<u32>,
}

impl Veiled {
    /// Ordered by A-party pseudonym, then B; ties in random order: as in `cdr`, the order must not
    /// tell who called when within the quarter of an hour.
    pub fn new(exported: Exported, coarse: Coarse) -> Veiled {
        let [a, b, ..] = &exported.parties;
        let mut rng = rand::rng();
        let mut keyed: Vec<(Pseudonym, Pseudonym, u32, u32)> = (0..exported.epoch.len())
            .map(|row| (a.pseudonyms[row], b.pseudonyms[row], rng.random(), row as u32))
            .collect();
        keyed.sort_unstable();
        let order = keyed.into_iter().map(|k| k.3).collect();
        Veiled { exported, coarse, order }
    }

    pub fn rows(&self) -> usize {
        self.order.len()
    }

    /// Hands every record to `send`, as a message that is not stamped later than `latest_ms`.
    pub fn messages<E>(
        &self,
        outlet: &Outlet,
        latest_ms: i64,
        mut send: impl FnMut(Message<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut value = Vec::with_capacity(1024);
        for &row in &self.order {
            let row = Row { at: row as usize, exported: &self.exported, coarse: &self.coarse, outlet };
            value.clear();
            match outlet.encoding {
                Encoding::Json => json::write(&row, &mut value),
                Encoding::Avro { schema_id } => avro::write(&row, schema_id, &mut value),
            }
            let start_ms = self.coarse.start_us[row.at].div_euclid(1000);
            // Brokers refuse what is stamped far ahead of their clock, and librdkafka takes 0 for now.
            let timestamp_ms = start_ms.min(latest_ms).max(1);
            send(Message { key: self.key(row.at), timestamp_ms, value: &value })?;
        }
        Ok(())
    }

    fn key(&self, row: usize) -> Option<Pseudonym> {
        let a = &self.exported.parties[Party::A as usize];
        (a.kinds[row].is_hashed() && !a.random[row]).then(|| a.pseudonyms[row])
    }
}

#[cfg(test)]
mod tests;
