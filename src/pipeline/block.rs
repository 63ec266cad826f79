//! One block's way through the flow, top to bottom, on one thread.

use super::lane::LaneId;
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
use crate::sink::identities::{SealedBefore, StageSerial};
use crate::sink::quarantine::Refused;
use crate::sink::{SinkError, cdr, evidence, identities, quarantine};
use crate::tally::Partial;
use std::collections::{BTreeMap, HashMap};
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
    /// Whose stage it goes into, and which one of that lane's.
    pub lane: LaneId,
    pub serial: StageSerial,
    /// Order within the run, for sequence numbers.
    pub index: u64,
}

/// What a block became.
pub struct Done {
    pub groups: Vec<Group>,
    pub headed: Option<Headed>,
    pub counts: Counts,
    pub newest_ms: Option<i64>,
    pub epochs: Vec<Epoch>,
    pub sequence: Option<SequenceRun>,
    pub lane: LaneId,
    /// `StageSerial::own` of its job.
    pub stage: u32,
    pub index: u64,
}

/// Sealed blocks of refused records, and the header row that these stood under.
pub struct Headed {
    pub columns: Arc<[String]>,
    pub blocks: Vec<[u8; 16]>,
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
#[derive(Default)]
pub struct WorkerState {
    pub sealed_before: SealedBefore,
    /// What was tallied for each stage that is open.
    pub partials: HashMap<u32, Partial>,
}

/// A sequence number further than this from both its neighbours is a slip of the writer: taken for
/// true, one huge value would hide every later gap of the feed.
const PLAUSIBLE_JUMP: u64 = 1_000_000;

/// Takes one block from bytes (or fields) to encoded row groups of every table.
pub fn process(job: Job, feed: &Feed, formats: &Formats, state: &mut WorkerState) -> Result<Done, SinkError> {
    state.sealed_before.at_generation(job.serial.generation);
    let (decoded, header) = match job.work {
        Work::Raw(batch, decoder) => (decoder.decode(batch), decoder.header().cloned()),
        Work::Decoded(decoded) => (*decoded, None),
    };
    let accept = Accept { earliest_ms: job.window.0, latest_ms: job.window.1, epochs: &job.keys.epochs };
    let (clear, rejects) = feed.normaliser.normalise(&decoded, &accept);
    let mut counts = count(&decoded, &clear, &rejects)?;
    let veils = job.keys.veiler.veil(&clear);
    let coarse = generalise(&clear, &feed.trunks);
    let partial = state.partials.entry(job.serial.own).or_insert_with(|| Partial::new(&feed.cube));
    partial.add(&clear, &veils);

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
        let cache = (&mut state.sealed_before, job.serial);
        groups.extend(identities::groups(&formats.identities, &lease.identities, epoch, &rows, parts, cache)?);
    }
    let refused = refused(&decoded, &rejects, job.source);
    let mut headed = None;
    if !refused.is_empty() {
        let key =
            job.keys.ring.days.get(&job.arrival).ok_or_else(|| SinkError::NoKey { unit: job.arrival.to_string() })?;
        let whose = (job.constants.feed.as_str(), job.constants.batch.as_str());
        let sealed = quarantine::groups(&formats.quarantine, &key.quarantine, job.arrival, whose, &refused)?;
        groups.extend(sealed.groups);
        headed = header.map(|columns| Headed { columns, blocks: sealed.blocks });
    }
    if job.continuation {
        counts = Counts::default();
    }
    Ok(Done {
        groups,
        headed,
        counts,
        newest_ms: clear.start_ms.iter().copied().max(),
        epochs: by(&veils.epoch).into_iter().map(|e| e.0).collect(),
        sequence: sequence(&clear),
        lane: job.lane,
        stage: job.serial.own,
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
pub(super) fn count(decoded: &Decoded, clear: &Clear, rejects: &[Reject]) -> Result<Counts, SinkError> {
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

pub(super) fn refused<'a>(decoded: &'a Decoded, rejects: &[Reject], source: i32) -> Vec<Refused<'a>> {
    let one = |r: &Reject| {
        let place = decoded.place(r.record);
        Refused {
            source,
            line: place.line as i64 + 1,
            offset: place.offset as i64,
            reason: r.reason,
            column: i32::from(r.column),
            bytes: decoded.records[r.record as usize].of(&decoded.text),
        }
    };
    decoded.rejects.iter().chain(rejects).map(one).collect()
}

fn sequence(clear: &Clear) -> Option<SequenceRun> {
    let stated: Vec<u64> = clear.sequence.iter().copied().filter(|s| *s != ABSENT_U64).collect();
    let far = |other: Option<&u64>, n: u64| other.is_none_or(|o| o.abs_diff(n) > PLAUSIBLE_JUMP);
    let alone = |i: usize| {
        let before = i.checked_sub(1).and_then(|b| stated.get(b));
        stated.len() > 1 && far(before, stated[i]) && far(stated.get(i + 1), stated[i])
    };
    let mut numbers = (0..stated.len()).filter(|i| !alone(*i)).map(|i| stated[i]);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wild_sequence_number_hides_no_gap() {
        let far = 9_000_000_000;
        for (numbers, run) in [
            (&[1, 2, 5][..], Some((1, 5, 2))),
            (&[1, 2, far, 3, 6], Some((1, 6, 2))),
            (&[far, 7, 8], Some((7, 8, 0))),
            (&[7, 9, far], Some((7, 9, 1))),
            (&[far], Some((far, far, 0))),
            (&[1, ABSENT_U64, 3], Some((1, 3, 1))),
            // the writer began anew: two that follow one another are believed
            (&[1, far, far + 1], Some((far, far + 1, 0))),
            (&[1, far], None),
            (&[], None),
        ] {
            let mut clear = Clear::default();
            clear.sequence = numbers.to_vec();
            let found = sequence(&clear).map(|s| (s.first, s.last, s.missing));
            assert_eq!(found, run, "{numbers:?}");
        }
    }
}
