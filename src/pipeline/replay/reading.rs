//! How records are read that stand alone: each under the header row or the layout that it had among
//! others.

use super::{Opened, Replayer, Rules, Verdict, is_message};
use crate::decode::file::FileDecoder;
use crate::lake::batches::{self, BatchLog};
use crate::lake::resolved::REPLAY;
use crate::pipeline::engine::Engine;
use crate::pipeline::messages::{Assembler, Piece};
use crate::pipeline::{PipelineError, headers};
use crate::record::raw::Holds;
use crate::source::Limits;
use crate::source::kafka::messages::{Collecting, lines};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

impl Replayer<'_, '_> {
    /// The records that are not refused, as messages whose offset is their index, with what reads them.
    pub(super) fn pieces(&self, records: &[Opened], verdicts: &[Verdict]) -> Result<Vec<Piece>, PipelineError> {
        let mapping = &self.engine.setting.feed.mapping;
        let mut shelf = Shelf { replayer: self, kinds: HashMap::new(), ready: Vec::new() };
        let mut assembler = match self.rules.message_limits {
            Some(limits) => Some(Assembler::new(mapping, &self.rules.configured_columns, limits)?),
            None => None,
        };
        let mut unpacked = Vec::new();
        for (index, (record, verdict)) in records.iter().zip(verdicts).enumerate() {
            match (&mut assembler, verdict) {
                (_, Verdict::Refused(_)) => {}
                (Some(assembler), _) if is_message(record.reason) => {
                    assembler.push(index as i64, Some(&record.bytes), None, &mut unpacked);
                }
                _ => shelf.place(index, record)?,
            }
        }
        if let Some(assembler) = &mut assembler {
            let _ = assembler.flush(&mut unpacked);
        }
        let mut pieces = shelf.hand_out();
        pieces.append(&mut unpacked);
        Ok(pieces)
    }

    /// Column names of the records of one block.
    fn columns(&self, block: &[u8; 16]) -> &[String] {
        let Rules { given_columns, configured_columns, .. } = &self.rules;
        match self.recorded.get(block) {
            _ if !given_columns.is_empty() => given_columns,
            Some(recorded) => recorded,
            None => configured_columns,
        }
    }
}

/// Header rows by block, as the manifests of the feed's other partitions keep them.
pub(super) fn recorded_columns(
    engine: &Engine<'_>,
    blocks: &HashSet<[u8; 16]>,
) -> Result<HashMap<[u8; 16], Arc<[String]>>, PipelineError> {
    let lake = engine.setting.site.join("lake");
    let mut known = HashMap::new();
    for (feed, partition) in batches::partitions(&lake)? {
        if feed != engine.setting.feed.name || partition == REPLAY {
            continue;
        }
        let log = BatchLog::new(&lake, &feed, &partition);
        for number in log.numbers()? {
            headers::open(engine.keys(), &log.read(number)?, |block| blocks.contains(block), &mut known);
        }
    }
    Ok(known)
}

/// What tells one decoder from another.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Kind {
    Columns(Vec<String>),
    Layout(usize),
}

/// Records by the decoder that reads them.
struct Shelf<'r, 'e, 'a> {
    replayer: &'r Replayer<'e, 'a>,
    kinds: HashMap<Kind, Held>,
    ready: Vec<Piece>,
}

struct Held {
    decoder: Arc<FileDecoder>,
    records: Collecting,
    bytes: usize,
    lines: usize,
}

impl Shelf<'_, '_, '_> {
    fn place(&mut self, index: usize, record: &Opened) -> Result<(), PipelineError> {
        let mapping = &self.replayer.engine.setting.feed.mapping;
        let Limits { batch_bytes, batch_lines, .. } = self.replayer.rules.limits;
        let kind = if mapping.has_header() {
            Kind::Columns(self.replayer.columns(&record.handle.block).to_vec())
        } else {
            Kind::Layout(mapping.layout_of(&record.bytes))
        };
        if !self.kinds.contains_key(&kind) {
            let decoder = Arc::new(match &kind {
                Kind::Columns(names) => mapping.open_columns(names)?,
                Kind::Layout(layout) => mapping.open_layout(*layout)?,
            });
            self.kinds.insert(kind.clone(), Held { decoder, records: Collecting::default(), bytes: 0, lines: 0 });
        }
        let held = self.kinds.get_mut(&kind).expect("it was put there if it was missing");
        let lines = lines(&record.bytes);
        if held.bytes + record.bytes.len() > batch_bytes || held.lines + lines > batch_lines {
            held.hand_out(&mut self.ready);
        }
        // An empty line was a record where it stood; as a message it would be none.
        let whole = record.bytes.is_empty() || mapping.is_document(&record.bytes);
        let holds = if whole { Holds::Document } else { Holds::Records };
        let line = u32::try_from(record.line.saturating_sub(1)).unwrap_or(0);
        held.records.push(index as i64, line, holds, &record.bytes);
        held.bytes += record.bytes.len();
        held.lines += lines;
        Ok(())
    }

    fn hand_out(mut self) -> Vec<Piece> {
        for held in self.kinds.values_mut() {
            held.hand_out(&mut self.ready);
        }
        self.ready
    }
}

impl Held {
    fn hand_out(&mut self, ready: &mut Vec<Piece>) {
        if let Some(batch) = self.records.take() {
            ready.push(Piece { batch, decoder: Arc::clone(&self.decoder), continuation: false });
        }
        (self.bytes, self.lines) = (0, 0);
    }
}
