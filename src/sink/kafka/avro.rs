//! A veiled record in Avro's binary encoding (Apache Avro specification 1.12, "Binary encoding"),
//! behind the framing of schema registries: a zero byte, then the schema's number in 4 bytes,
//! big-endian. Whatever may be null is a union of null and one type, null first.

use super::fields::{Row, Writer};
use crate::record::veiled::Pseudonym;

pub(super) fn write(row: &Row<'_>, schema_id: u32, out: &mut Vec<u8>) {
    out.push(0);
    out.extend_from_slice(&schema_id.to_be_bytes());
    row.write(&mut Avro { out });
}

struct Avro<'a> {
    out: &'a mut Vec<u8>,
}

impl Avro<'_> {
    /// int and long: zigzag, then base 128 with the lowest digits first.
    fn number(&mut self, value: i64) {
        let mut rest = ((value << 1) ^ (value >> 63)) as u64;
        while rest > 0x7f {
            self.out.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.out.push(rest as u8);
    }

    fn string(&mut self, value: &str) {
        self.number(value.len() as i64);
        self.out.extend_from_slice(value.as_bytes());
    }

    /// The branch of a union; true: a value follows.
    fn is_there<T>(&mut self, value: &Option<T>) -> bool {
        self.number(i64::from(value.is_some()));
        value.is_some()
    }
}

impl Writer for Avro<'_> {
    fn text(&mut self, _: &'static str, value: &str) {
        self.string(value);
    }

    fn text_or_null(&mut self, _: &'static str, value: Option<&str>) {
        self.is_there(&value);
        if let Some(value) = value {
            self.string(value);
        }
    }

    fn int(&mut self, _: &'static str, value: i32) {
        self.number(i64::from(value));
    }

    fn int_or_null(&mut self, name: &'static str, value: Option<i32>) {
        self.long_or_null(name, value.map(i64::from));
    }

    fn long_or_null(&mut self, _: &'static str, value: Option<i64>) {
        self.is_there(&value);
        if let Some(value) = value {
            self.number(value);
        }
    }

    fn flag_or_null(&mut self, _: &'static str, value: Option<bool>) {
        self.is_there(&value);
        self.out.extend(value.map(u8::from));
    }

    fn time(&mut self, _: &'static str, ms: i64) {
        self.number(ms);
    }

    fn pseudonym_or_null(&mut self, _: &'static str, value: Option<&Pseudonym>) {
        self.is_there(&value);
        self.out.extend(value.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(write: impl FnOnce(&mut Avro<'_>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut Avro { out: &mut out });
        out
    }

    /// Examples of the specification, and the borders of a byte and of the type.
    #[test]
    fn numbers_are_those_of_the_specification() {
        for (value, bytes) in [
            (0, &[0u8][..]),
            (-1, &[1]),
            (1, &[2]),
            (-2, &[3]),
            (2, &[4]),
            (-64, &[0x7f]),
            (64, &[0x80, 0x01]),
            (i64::MAX, &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
            (i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        ] {
            assert_eq!(encoded(|a| a.number(value)), bytes, "{value}");
        }
        assert_eq!(encoded(|a| a.text("", "foo")), [0x06, 0x66, 0x6f, 0x6f]);
        assert_eq!(encoded(|a| a.text_or_null("", None)), [0]);
        assert_eq!(encoded(|a| a.text_or_null("", Some("a"))), [2, 2, 0x61]);
        assert_eq!(encoded(|a| a.flag_or_null("", Some(true))), [2, 1]);
        assert_eq!(encoded(|a| a.pseudonym_or_null("", Some(&[7; 16]))), [&[2u8][..], &[7; 16]].concat());
    }
}
