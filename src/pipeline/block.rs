//! One block's way through the flow, top to bottom, on one thread.

use super::{Feed, Keys};
use crate::decode::file::FileDecoder;
use crate::generalise::generalise;
use crate::lake::batches::Counts;
use crate::normalise::Accept;
use crate::record::clear::{ABSENT_U64, Clear};
use crate::record::decoded::Decoded;
use crate::record::raw::RawBatch;
use crate::record::reject::Reject;
use crate::record::time::{Day, Epoch};
use crate::sink::cdr::Constants;
use crate::sink::encode::{Group, TableFormat};
use crate::sink::identities::SealedBefore;
use crate::sink::quarantine::Refused;
use crate::sink::{SinkError, cdr, evidence, identities, quarantine};
use crate::tally::{Cube, Partial};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows of one row group at most: a sealed block, and what keeps memory flat.
pub const BLOCK_ROWS: usize = 131_072;

/// How each table's blocks are encoded.
pub struct Formats {
    pub cdr: Arc<TableFormat>,
    pub evidence: Arc<TableFormat>,
    pub identities: Arc<TableFormat>,
    pub quarantine: Arc<TableFormat>,
}

/// A block as it enters: raw, or already decoded where halves had to be joined in order.
pub enum Work {
    Raw(RawBatch, Arc<FileDecoder>),
    Decoded(Box<Decoded>),
}

/// What a block is judged and sealed under.
pub struct Job {
    pub work: Work,
    pub keys: Arc<Keys>,
    pub constants: Arc<Constants>,
    /// First and last acceptable event time.
    pub window: (i64, i64),
    pub arrival: Day,
    /// Index into the manifest's sources.
    pub source: i32,
    /// A later piece of a record too long to be one: sealed, but not counted again.
    pub continuation: bool,
    /// Moves when a stage was dropped.
    pub generation: u64,
    /// Order within the run, for sequence numbers.
    pub index: u64,
}

/// What a block became.
pub struct Done {
    pub groups: Vec<Group>,
    pub counts: Counts,
    pub newest_ms: Option<i64>,
    pub epochs: Vec<Epoch>,
    pub sequence: Option<SequenceRun>,
    pub index: u64,
}

/// Sequence numbers of a block in file order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceRun {
    pub first: u64,
    pub last: u64,
    /// Numbers skipped inside the block.
    pub missing: u64,
}

/// What one worker keeps between blocks.
pub struct WorkerState {
    pub sealed_before: SealedBefore,
    pub partial: Partial,
    pub generation: u64,
}

impl WorkerState {
    /// Forgets what it did for a stage that was dropped.
    pub fn at_generation(&mut self, generation: u64, cube: &Cube) {
        self.sealed_before.at_generation(generation);
        if self.generation != generation {
            self.partial = Partial::new(cube);
            self.generation = generation;
        }
    }
}

/// Takes one block from bytes (or fields) to encoded row groups of every table.
pub fn process(job: Job, feed: &Feed, formats: &Formats, state: &mut WorkerState) -> Result<Done, SinkError> {
    state.at_generation(job.generation, &feed.cube);
    let mut decoded = match job.work {
        Work::Raw(batch, decoder) => decoder.decode(batch),
        Work::Decoded(decoded) => *decoded,
    };
    let accept = Accept { earliest_ms: job.window.0, latest_ms: job.window.1, epochs: &job.keys.epochs };
    let (clear, rejects) = feed.normaliser.normalise(&decoded, &accept);
    let mut counts = count(&decoded, &clear, &rejects)?;
    let veils = job.keys.veiler.veil(&clear);
    let coarse = generalise(&clear, &feed.trunks);
    state.partial.add(&clear, &veils);

    let mut groups = Vec::new();
    for (day, rows) in by(&veils.day) {
        let day_keys = job.keys.ring.days.get(&day).ok_or_else(|| SinkError::NoKey { unit: day.to_string() })?;
        for rows in rows.chunks(BLOCK_ROWS) {
            let order = cdr::order(&veils, rows.to_vec());
            groups.push(cdr::group(&formats.cdr, &job.constants, day, &order, &veils, &coarse)?);
            let parts = (&clear, &veils, &decoded);
            let sealed = evidence::group(&formats.evidence, &day_keys.evidence, feed.original, day, order, parts)?;
            groups.push(sealed);
        }
    }
    for (epoch, rows) in by(&veils.epoch) {
        let lease = job.keys.ring.epochs.get(&epoch).ok_or_else(|| SinkError::NoKey { unit: epoch.to_string() })?;
        let parts = (&clear, &veils);
        let cache = &mut state.sealed_before;
        groups.extend(identities::groups(&formats.identities, &lease.identities, epoch, &rows, parts, cache)?);
    }
    let refused = refused(&decoded, &rejects, job.source);
    if !refused.is_empty() {
        let key =
            job.keys.ring.days.get(&job.arrival).ok_or_else(|| SinkError::NoKey { unit: job.arrival.to_string() })?;
        let whose = (job.constants.feed.as_str(), job.constants.batch.as_str());
        groups.extend(quarantine::groups(&formats.quarantine, &key.quarantine, job.arrival, whose, &refused)?);
    }
    if job.continuation {
        counts = Counts::default();
    }
    // Everything of the block is sealed: its memory goes on to others without it.
    decoded.text.fill(0);
    std::hint::black_box(&decoded.text);
    Ok(Done {
        groups,
        counts,
        newest_ms: clear.start_ms.iter().copied().max(),
        epochs: by(&veils.epoch).into_iter().map(|e| e.0).collect(),
        sequence: sequence(&clear),
        index: job.index,
    })
}

/// Row numbers by unit of key; a block has one or few.
fn by<K: Copy + Ord>(units: &[K]) -> Vec<(K, Vec<u32>)> {
    let mut groups: BTreeMap<K, Vec<u32>> = BTreeMap::new();
    let mut at = 0;
    for run in units.chunk_by(|a, b| a == b) {
        groups.entry(run[0]).or_default().extend(at as u32..(at + run.len()) as u32);
        at += run.len();
    }
    groups.into_iter().collect()
}

/// Every record of the block is a row, a reject or dropped by a named rule; anything else stops
/// the run. Halves are in the caller's balance.
fn count(decoded: &Decoded, clear: &Clear, rejects: &[Reject]) -> Result<Counts, SinkError> {
    let mut counts = Counts {
        records_in: decoded.records.len() as u64,
        veiled: clear.rows() as u64,
        quarantined: (decoded.rejects.len() + rejects.len()) as u64,
        ..Counts::default()
    };
    for reject in decoded.rejects.iter().chain(rejects) {
        *counts.quarantined_by.entry(reject.reason.code().to_owned()).or_default() += 1;
    }
    for (rule, n) in &decoded.dropped {
        counts.dropped += n;
        *counts.dropped_by.entry(rule.to_string()).or_default() += n;
    }
    let whole = clear.rows() + rejects.len() == decoded.rows.len();
    if whole { Ok(counts) } else { Err(SinkError::Unbalanced) }
}

fn refused<'a>(decoded: &'a Decoded, rejects: &[Reject], source: i32) -> Vec<Refused<'a>> {
    let one = |r: &Reject| {
        let span = decoded.records[r.record as usize];
        Refused {
            source,
            line: (decoded.first_line + u64::from(decoded.lines[r.record as usize]) + 1) as i64,
            offset: (decoded.offset + u64::from(span.start)) as i64,
            reason: r.reason,
            column: i32::from(r.column),
            bytes: span.of(&decoded.text),
        }
    };
    decoded.rejects.iter().chain(rejects).map(one).collect()
}

fn sequence(clear: &Clear) -> Option<SequenceRun> {
    let mut numbers = clear.sequence.iter().copied().filter(|s| *s != ABSENT_U64);
    let first = numbers.next()?;
    let mut run = SequenceRun { first, last: first, missing: 0 };
    for n in numbers {
        if n > run.last {
            run.missing += n - run.last - 1;
            run.last = n;
        }
    }
    Some(run)
}
