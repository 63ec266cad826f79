//! Refused records: raw bytes sealed, beside them only position and reason.

use super::SinkError;
use super::encode::{Cells, Group, TableFormat, constant, symbols};
use super::evidence::SealedRows;
use crate::keys::SealingKey;
use crate::record::reject::Reason;
use crate::record::time::Day;
use crate::seal::{BlockSealer, MAX_BLOCK_ROWS, SealKind};
use arrow::array::{Int32Array, Int64Array};
use std::sync::Arc;

/// One refused record with its bytes. No `Debug`.
pub struct Refused<'a> {
    pub source: i32,
    /// 1-based.
    pub line: i64,
    pub offset: i64,
    pub reason: Reason,
    pub column: i32,
    pub bytes: &'a [u8],
}

/// Refused records, sealed and encoded.
#[derive(Default)]
pub struct Quarantined {
    pub groups: Vec<Group>,
    /// Ids of the sealed blocks, one for each group.
    pub blocks: Vec<[u8; 16]>,
}

/// Seals and encodes refused records under the key of the day they arrived on.
pub fn groups(
    format: &TableFormat,
    key: &SealingKey,
    arrival: Day,
    (feed, batch): (&str, &str),
    refused: &[Refused<'_>],
) -> Result<Quarantined, SinkError> {
    let mut done = Quarantined::default();
    for chunk in refused.chunks(MAX_BLOCK_ROWS) {
        let (group, block) = group(format, key, arrival, (feed, batch), chunk)?;
        done.groups.push(group);
        done.blocks.push(block);
    }
    Ok(done)
}

fn group(
    format: &TableFormat,
    key: &SealingKey,
    arrival: Day,
    (feed, batch): (&str, &str),
    refused: &[Refused<'_>],
) -> Result<(Group, [u8; 16]), SinkError> {
    let mut sealer = BlockSealer::new(SealKind::Quarantine, arrival.0, &arrival, key)?;
    let mut sealed = SealedRows::with_capacity(refused.len(), 256);
    for r in refused {
        sealed.push(&mut sealer, r.bytes)?;
    }
    let reasons = Reason::ALL.iter().map(|r| r.code().to_owned()).collect();
    let mut columns = vec![
        constant(feed, refused.len()),
        constant(batch, refused.len()),
        Cells::Array(Arc::new(Int32Array::from_iter_values(refused.iter().map(|r| r.source)))),
        Cells::Array(Arc::new(Int64Array::from_iter_values(refused.iter().map(|r| r.line)))),
        Cells::Array(Arc::new(Int64Array::from_iter_values(refused.iter().map(|r| r.offset)))),
        symbols(refused.iter().map(|r| Some(r.reason as u16)), reasons),
        Cells::Array(Arc::new(Int32Array::from_iter_values(refused.iter().map(|r| r.column)))),
    ];
    columns.extend(sealed.finish(&sealer));
    Ok((format.encode(arrival.to_string(), refused.len(), columns)?, sealer.block()))
}
