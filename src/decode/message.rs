//! Fitting a mapping to messages: as to files, but one after the other, and many alike.

use crate::decode::json;
use crate::decode::lines::{BYTE_ORDER_MARK, Records};
use crate::decode::mapping::{Header, Mapping, Rules, Shape};
use crate::decode::open::{FileDecoder, OpenError, Resolver, fit, is_data, layout_of, split_header};
use crate::record::decoded::Span;
use crate::record::raw::{Holds, MessageMark, RawBatch};

/// The header row of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderRow {
    /// Without line end.
    pub span: Span,
    /// Where what follows it begins.
    pub body: usize,
    /// Lines before that.
    pub lines: u32,
}

impl Mapping {
    /// Whether columns are found by a header row.
    pub fn has_header(&self) -> bool {
        matches!(self.rules.shape, Shape::Delimited { header: Header::Named | Header::Strict, .. })
    }

    /// Arrangements of columns that the mapping knows, at least one.
    pub fn layouts(&self) -> usize {
        self.rules.layouts.len()
    }

    /// The first record that is neither skipped nor a comment.
    pub fn header_row(&self, message: &[u8]) -> Option<HeaderRow> {
        let at = if message.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        let mut records = Records::new(message, at, self.rules.framing);
        let row = records.by_ref().find(|row| is_data(&self.rules, row, message))?;
        Some(HeaderRow { span: row.span, body: records.at().min(message.len()), lines: records.line() })
    }

    /// For records under this header row (without line end).
    pub fn open_header(&self, row: &[u8]) -> Result<FileDecoder, OpenError> {
        let Shape::Delimited { dialect, .. } = &self.rules.shape else { return Err(OpenError::NoHeader) };
        let names = split_header(dialect, row)?;
        let header = names.as_slice().into();
        Ok(FileDecoder { header: Some(header), ..self.open_names(names)? })
    }

    /// For records without a header row, whose columns are known by these names.
    pub fn open_columns(&self, columns: &[String]) -> Result<FileDecoder, OpenError> {
        self.open_names(columns.to_vec())
    }

    fn open_names(&self, names: Vec<String>) -> Result<FileDecoder, OpenError> {
        if !self.has_header() {
            return Err(OpenError::NoHeader);
        }
        FileDecoder::under_header(self.rules.clone(), None, names)
    }

    /// For records of one layout, by its number.
    pub fn open_layout(&self, layout: usize) -> Result<FileDecoder, OpenError> {
        fit(&self.rules, &self.rules.layouts[layout], Resolver::default())
    }

    /// The number of the layout that the records of a message have.
    pub fn layout_of(&self, message: &[u8]) -> usize {
        match &self.rules.shape {
            Shape::Delimited { dialect, header: Header::None } => layout_of(&self.rules, dialect, message),
            _ => 0,
        }
    }

    /// Whether a message is one JSON document on several lines. One whose first line is a document
    /// by itself, or that does not end where its first document does, is taken line by line.
    pub fn is_document(&self, message: &[u8]) -> bool {
        is_json(&self.rules) && json::is_one_document(message)
    }

    /// The same for a file that is all in `batch`: `mod_json_cdr` and others write one for each call.
    pub fn mark_document(&self, batch: &mut RawBatch) {
        if !batch.oversize && self.is_document(&batch.bytes) {
            batch.messages = vec![MessageMark { start: 0, first_line: 0, offset: 0, holds: Holds::Document }];
        }
    }
}

fn is_json(rules: &Rules) -> bool {
    matches!(rules.shape, Shape::Json)
}
