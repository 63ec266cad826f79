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
        let text = record.of(bytes);
        match self.quote {
            Some(quote) if memchr::memchr(quote, text).is_some() => {
                cells.clear();
                self.split_quoted(text, record.start as usize, quote, cells)
            }
            _ => {
                self.split_plain(bytes, record, cells);
                Ok(())
            }
        }
    }

    /// A record of a batch in which the quote does not occur at all.
    pub(crate) fn split_plain(&self, bytes: &[u8], record: Span, cells: &mut Vec<Cell>) {
        cells.clear();
        let base = record.start as usize;
        let text = record.of(bytes);
        let mut from = 0;
        let mut cut = |at: usize| {
            cells.push(Cell::new(base + from, at - from));
            from = at + 1;
        };
        let (windows, rest) = text.as_chunks::<64>();
        for (n, window) in windows.iter().enumerate() {
            each_bit(places(window, self.delimiter), |bit| cut(n * 64 + bit));
        }
        let mut last = [0; 64];
        last[..rest.len()].copy_from_slice(rest);
        // The padding may equal the delimiter.
        let real = (1u64 << rest.len()) - 1;
        each_bit(places(&last, self.delimiter) & real, |bit| cut(windows.len() * 64 + bit));
        cut(text.len());
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

/// Bit `i` is set where `window[i]` is `byte`. Cells are a few bytes long, so that a search per cell
/// (`memchr`) costs more than looking at all bytes once, eight at a time.
fn places(window: &[u8; 64], byte: u8) -> u64 {
    const LOW7: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let pattern = u64::from_le_bytes([byte; 8]);
    let (words, _) = window.as_chunks::<8>();
    words.iter().enumerate().fold(0, |bits, (n, word)| {
        let x = u64::from_le_bytes(*word) ^ pattern;
        // The high bit of every byte of `x` that is 0, without a carry from one byte to the next.
        let zero = !(((x & LOW7) + LOW7) | x | LOW7);
        // The product gathers the eight high bits, in order, in its top byte.
        bits | ((zero >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) << (n * 8)
    })
}

fn each_bit(mut bits: u64, mut then: impl FnMut(usize)) {
    while bits != 0 {
        then(bits.trailing_zeros() as usize);
        bits &= bits - 1;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::cells::Text;
    use crate::decode::lines::Records;
    use crate::record::raw::Framing;
    use proptest::prelude::*;

    const CSV: Dialect = Dialect { delimiter: b',', quote: Some(b'"'), space_before_quote: false };

    fn split(dialect: Dialect, text: &str) -> Result<Vec<String>, Fault> {
        let mut cells = Vec::new();
        let record = Span { start: 0, len: text.len() as u32 };
        dialect.split(text.as_bytes(), record, &mut cells)?;
        let mut text = Text { raw: text.as_bytes().to_vec(), tail: Vec::new() };
        let quote = dialect.quote.unwrap_or(0);
        let read = |cell: &Cell| {
            let viewed = text.value(*cell, quote).into_owned();
            let span = text.settle(*cell, quote);
            assert_eq!(text.get(span), viewed);
            String::from_utf8(viewed).unwrap()
        };
        Ok(cells.iter().map(read).collect())
    }

    #[test]
    fn cells_and_torn_quotes() {
        let spaced = Dialect { space_before_quote: true, ..CSV };
        let pipes = Dialect { delimiter: b'|', quote: None, space_before_quote: false };
        let good: [(Dialect, &str, &[&str]); 9] = [
            (CSV, "a,b", &["a", "b"]),
            (CSV, ",", &["", ""]),
            (CSV, "\"\",\"\"", &["", ""]),
            (CSV, "\"a,b\",c", &["a,b", "c"]),
            (CSV, "\"\"\"a\"\"\",\"\"\"\"", &["\"a\"", "\""]),
            (CSV, "a, b ", &["a", " b "]),
            (spaced, "\"a\", \"b\", c", &["a", "b", " c"]),
            (pipes, "a|\"b|c\"d", &["a", "\"b", "c\"d"]),
            (pipes, "||", &["", "", ""]),
        ];
        for (dialect, text, want) in good {
            assert_eq!(split(dialect, text).unwrap(), want, "{text}");
        }
        let torn = [("\"a", 1), ("a,\"b\"\"", 2), ("\"a\"b,c", 1), ("a\"b", 1), ("a,b,c\"", 3), ("a, \"b\"", 2)];
        for (text, column) in torn {
            assert_eq!(split(CSV, text), Err(Fault { reason: Reason::UnbalancedQuote, column }), "{text}");
        }
    }

    fn by_csv_crate(bytes: &[u8]) -> Vec<Vec<String>> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
        reader.records().map(|r| r.unwrap().iter().map(str::to_owned).collect()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// Cells of any bytes, windows of 64 crossed or not, are those of the obvious way.
        #[test]
        fn plain_cells_are_what_a_search_byte_by_byte_finds(
            bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(b','), Just(0x80 | b','), any::<u8>()], 0..200),
            delimiter in prop_oneof![Just(b','), Just(0u8), any::<u8>()],
        ) {
            let dialect = Dialect { delimiter, quote: None, space_before_quote: false };
            let record = Span { start: 0, len: bytes.len() as u32 };
            let mut cells = Vec::new();
            dialect.split_plain(&bytes, record, &mut cells);
            let found: Vec<&[u8]> = cells.iter().map(|c| c.span().of(&bytes)).collect();
            prop_assert_eq!(found, bytes.split(|b| *b == delimiter).collect::<Vec<_>>());
        }

        /// Whatever the csv crate writes is read back as it was, line ends inside quotes included.
        #[test]
        fn reads_what_the_csv_crate_writes(
            table in prop::collection::vec(prop::collection::vec("[a-c\", \n0-9é]{0,6}", 1..6), 0..8),
            always in any::<bool>(),
            crlf in any::<bool>(),
        ) {
            let mut writer = csv::WriterBuilder::new()
                .flexible(true)
                .quote_style(if always { csv::QuoteStyle::Always } else { csv::QuoteStyle::Necessary })
                .terminator(if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') })
                .from_writer(Vec::new());
            for row in &table {
                writer.write_record(row).unwrap();
            }
            let bytes = writer.into_inner().unwrap();
            let found: Vec<Vec<String>> = Records::new(&bytes, 0, Framing::QuotedLines { quote: b'"' })
                .map(|r| split(CSV, std::str::from_utf8(r.span.of(&bytes)).unwrap()).unwrap())
                .collect();
            prop_assert_eq!(found, table);
        }

        /// A record that is accepted has the cells that the csv crate finds; hostile quoting included.
        #[test]
        fn agrees_with_the_csv_crate_on_what_it_accepts(text in "[ab,\" é]{1,16}") {
            if let Ok(cells) = split(CSV, &text) {
                prop_assert_eq!(vec![cells], by_csv_crate(text.as_bytes()));
            }
        }
    }
}
