//! Records of a batch by its framing, with their line numbers.

use crate::record::decoded::Span;
use crate::record::raw::Framing;

/// One record: its bytes without line end, and the number of its first line in the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) span: Span,
    pub(crate) line: u32,
}

/// Every record that has at least one byte; empty lines are counted as lines, not as records.
pub(crate) struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
    line: u32,
    framing: Framing,
}

impl<'a> Records<'a> {
    /// `at`: where to begin (3 after a byte order mark).
    pub(crate) fn new(bytes: &'a [u8], at: usize, framing: Framing) -> Records<'a> {
        Records { bytes, at, line: 0, framing }
    }

    /// Where the next record would begin, and its line: behind the last line end that was passed.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn line(&self) -> u32 {
        self.line
    }

    /// Index of the line feed that ends the record beginning at `self.at`, and the lines inside it.
    fn end(&self) -> (usize, u32) {
        let rest = &self.bytes[self.at..];
        match self.framing {
            Framing::Lines => (memchr::memchr(b'\n', rest).map_or(self.bytes.len(), |i| self.at + i), 0),
            Framing::QuotedLines { quote } => {
                let (mut inside, mut lines, mut first) = (false, 0, None);
                for i in memchr::memchr2_iter(b'\n', quote, rest) {
                    if rest[i] == quote {
                        inside = !inside;
                    } else if inside {
                        lines += 1;
                        first = first.or(Some(self.at + i));
                    } else {
                        return (self.at + i, lines);
                    }
                }
                // Open at the end of the batch: the quote is broken, and the record is its first line, as
                // in `source`. Else a torn record would take the rest of its batch with it.
                match first {
                    Some(first) if inside => (first, 0),
                    _ => (self.bytes.len(), lines),
                }
            }
        }
    }
}

impl Iterator for Records<'_> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        while self.at < self.bytes.len() {
            let (start, line) = (self.at, self.line);
            let (end, inner) = self.end();
            self.at = end + 1;
            self.line += inner + 1;
            let trimmed = if end > start && self.bytes[end - 1] == b'\r' { end - 1 } else { end };
            if trimmed > start {
                return Some(Record { span: Span { start: start as u32, len: (trimmed - start) as u32 }, line });
            }
        }
        None
    }
}

pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

#[cfg(test)]
mod tests {
    use super::*;

    fn records(bytes: &[u8], framing: Framing) -> Vec<(&[u8], u32)> {
        Records::new(bytes, 0, framing).map(|r| (r.span.of(bytes), r.line)).collect()
    }

    #[test]
    fn line_ends_and_empty_lines() {
        let cases: [(&[u8], Vec<(&[u8], u32)>); 5] = [
            (b"", vec![]),
            (b"\n\r\n\n", vec![]),
            (b"a\r\nb\n\nc", vec![(b"a", 0), (b"b", 1), (b"c", 3)]),
            (b"a\rb\n", vec![(b"a\rb", 0)]),
            (b"\"a\nb\"\nc", vec![(b"\"a", 0), (b"b\"", 1), (b"c", 2)]),
        ];
        for (bytes, want) in cases {
            assert_eq!(records(bytes, Framing::Lines), want);
        }
    }

    #[test]
    fn quoted_line_ends_belong_to_the_record() {
        let got = records(b"\"a\n\"\"b\",1\n\n\"c\",2\n", Framing::QuotedLines { quote: b'"' });
        assert_eq!(got, [(&b"\"a\n\"\"b\",1"[..], 0), (b"\"c\",2", 3)]);
        let torn = records(b"x,\"never closed\ny\n", Framing::QuotedLines { quote: b'"' });
        assert_eq!(torn, [(&b"x,\"never closed"[..], 0), (b"y", 1)]);
    }
}
