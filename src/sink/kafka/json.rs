//! A veiled record as one JSON object (RFC 8259), every field in it, nulls included.

use super::fields::{Row, Writer};
use crate::record::time::Day;
use crate::record::veiled::Pseudonym;
use std::io::Write;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

pub(super) fn write(row: &Row<'_>, out: &mut Vec<u8>) {
    out.push(b'{');
    row.write(&mut Json { out });
    out.push(b'}');
}

struct Json<'a> {
    out: &'a mut Vec<u8>,
}

impl Json<'_> {
    fn name(&mut self, name: &str) {
        if !self.out.ends_with(b"{") {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        self.out.write_fmt(text).expect("memory can be written to");
    }

    fn number_or_null(&mut self, name: &str, value: Option<impl std::fmt::Display>) {
        self.name(name);
        match value {
            Some(value) => self.put(format_args!("{value}")),
            None => self.out.extend_from_slice(b"null"),
        }
    }
}

impl Writer for Json<'_> {
    fn text(&mut self, name: &'static str, value: &str) {
        self.text_or_null(name, Some(value));
    }

    fn text_or_null(&mut self, name: &'static str, value: Option<&str>) {
        self.name(name);
        serde_json::to_writer(&mut *self.out, &value).expect("text is always JSON");
    }

    fn int(&mut self, name: &'static str, value: i32) {
        self.number_or_null(name, Some(value));
    }

    fn int_or_null(&mut self, name: &'static str, value: Option<i32>) {
        self.number_or_null(name, value);
    }

    fn long_or_null(&mut self, name: &'static str, value: Option<i64>) {
        self.number_or_null(name, value);
    }

    fn flag_or_null(&mut self, name: &'static str, value: Option<bool>) {
        self.number_or_null(name, value);
    }

    fn time(&mut self, name: &'static str, ms: i64) {
        self.name(name);
        let day = Day::of_ms(ms);
        let seconds = (ms - day.start_ms()).div_euclid(1000);
        self.put(format_args!("\"{day}T{:02}:{:02}:{:02}Z\"", seconds / 3600, seconds / 60 % 60, seconds % 60));
    }

    fn pseudonym_or_null(&mut self, name: &'static str, value: Option<&Pseudonym>) {
        self.name(name);
        match value {
            Some(id) => {
                self.out.push(b'"');
                self.out.extend(id.iter().flat_map(|b| [b >> 4, b & 15]).map(|digit| DIGITS[usize::from(digit)]));
                self.out.push(b'"');
            }
            None => self.out.extend_from_slice(b"null"),
        }
    }
}
