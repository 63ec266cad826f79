//! One delimited record to its cells (RFC 4180 with any delimiter and quote).

use crate::decode::cells::{Cell, Fault};
use crate::record::decoded::Span;
use crate::record::reject::Reason;

/// How records of a delimited format are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dialect {
    pub(crate) delimiter: u8,
    /// `None`: quotes are ordinary bytes.
    pub(crate) quote: Option<u8>,
    /// Spaces between a delimiter and an opening quote are not part of the value.
    pub(crate) space_before_quote: bool,
}

impl Dialect {
    /// Fills `cells` with one cell per column. A quote that opens must close, and what follows it
    /// must be a delimiter or the end; a quote inside an unquoted value is refused as well, since
    /// it is what a torn record looks like.
    pub(crate) fn split(&self, bytes: &[u8], record: Span, cells: &mut Vec<Cell>) -> Result<(), Fault> {
        cells.clear();
        let base = record.start as usize;
        let text = record.of(bytes);
        match self.quote {
            Some(quote) if memchr::memchr(quote, text).is_some() => self.split_quoted(text, base, quote, cells),
            _ => {
                self.split_plain(text, base, cells);
                Ok(())
            }
        }
    }

    fn split_plain(&self, text: &[u8], base: usize, cells: &mut Vec<Cell>) {
        let mut from = 0;
        for i in memchr::memchr_iter(self.delimiter, text) {
            cells.push(Cell::new(base + from, i - from));
            from = i + 1;
        }
        cells.push(Cell::new(base + from, text.len() - from));
    }

    fn split_quoted(&self, text: &[u8], base: usize, quote: u8, cells: &mut Vec<Cell>) -> Result<(), Fault> {
        let mut at = 0;
        loop {
            let open = at + self.spaces_before_quote(&text[at..], quote);
            let end = if text.get(open) == Some(&quote) {
                let (cell, end) = quoted_cell(text, open + 1, base, quote).ok_or_else(|| torn(cells))?;
                if end < text.len() && text[end] != self.delimiter {
                    return Err(torn(cells));
                }
                cells.push(cell);
                end
            } else {
                let end = memchr::memchr(self.delimiter, &text[at..]).map_or(text.len(), |i| at + i);
                if memchr::memchr(quote, &text[at..end]).is_some() {
                    return Err(torn(cells));
                }
                cells.push(Cell::new(base + at, end - at));
                end
            };
            if end == text.len() {
                return Ok(());
            }
            at = end + 1;
        }
    }

    fn spaces_before_quote(&self, text: &[u8], quote: u8) -> usize {
        if !self.space_before_quote {
            return 0;
        }
        let spaces = text.iter().take_while(|b| **b == b' ').count();
        if text.get(spaces) == Some(&quote) { spaces } else { 0 }
    }
}

/// The cell that begins at `from` (after its opening quote), and the index after its closing quote.
fn quoted_cell(text: &[u8], from: usize, base: usize, quote: u8) -> Option<(Cell, usize)> {
    let mut at = from;
    let mut doubled = false;
    loop {
        let close = at + memchr::memchr(quote, &text[at..])?;
        if text.get(close + 1) != Some(&quote) {
            let cell = Cell { doubled, ..Cell::new(base + from, close - from) };
            return Some((cell, close + 1));
        }
        doubled = true;
        at = close + 2;
    }
}

fn torn(cells: &[Cell]) -> Fault {
    Fault { reason: Reason::UnbalancedQuote, column: u16::try_from(cells.len() + 1).unwrap_or(u16::MAX) }
}
