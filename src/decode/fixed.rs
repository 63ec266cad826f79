//! One fixed-width record to its cells: byte ranges, without the blanks around the value.

use crate::decode::cells::{Cell, Fault};
use crate::record::decoded::Span;
use crate::record::reject::Reason;

/// A byte range of a record: `at` counts from 1, as column rulers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) at: u16,
    pub(crate) len: u16,
}

/// Fills `cells` with one cell per range; a range that the record does not reach is absent.
pub(crate) fn split(bytes: &[u8], record: Span, ranges: &[Range], cells: &mut Vec<Cell>) {
    cells.clear();
    let text = record.of(bytes);
    for range in ranges {
        let from = usize::from(range.at) - 1;
        let Some(part) = text.get(from..from + usize::from(range.len)) else {
            cells.push(Cell::NONE);
            continue;
        };
        let kept = part.trim_ascii_start();
        let skipped = part.len() - kept.len();
        cells.push(Cell::new(record.start as usize + from + skipped, kept.trim_ascii_end().len()));
    }
}

/// Refuses a call record that is not as long as the mapping says.
pub(crate) fn check_length(record: Span, length: u32) -> Result<(), Fault> {
    match record.len.cmp(&length) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Less => Err(Fault { reason: Reason::TruncatedRecord, column: 0 }),
        std::cmp::Ordering::Greater => Err(Fault { reason: Reason::ColumnCount, column: 0 }),
    }
}
