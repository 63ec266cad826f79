//! A finite run: files and standard input, each loaded whole or not at all.

use super::block::Work;
use super::engine::{Engine, Progress};
use super::summary::{Fate, FileReport, Observer};
use super::{Feed, PipelineError};
use crate::decode::file::FileDecoder;
use crate::failpoint;
use crate::lake::batches::Source;
use crate::record::raw::RawBatch;
use crate::record::reject::Reason;
use crate::sink::quarantine::Refused;
use crate::source::{Blocks, Finished, Limits, SourceError, files, stdin};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file of at most this many batches is read whole before anything of it is staged, so that many
/// small files can share one batch and one of them can still be refused.
const SMALL_BATCHES: usize = 2;
/// Small files are committed together up to this many decompressed bytes.
const SHARED_BYTES: u64 = 256 << 20;

/// What is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    File(PathBuf),
    Stdin,
}

impl Input {
    fn name(&self) -> String {
        match self {
            Input::File(path) => path.display().to_string(),
            Input::Stdin => "-".to_owned(),
        }
    }
}

/// Loads `inputs` in order and commits; the run is over when this returns.
pub fn run(
    engine: &mut Engine<'_>,
    inputs: &[Input],
    limits: Limits,
    observer: &mut dyn Observer,
) -> Result<(), PipelineError> {
    let mut loader = Loader::new(engine, limits, observer);
    for (i, input) in inputs.iter().enumerate() {
        loader.last = i + 1 == inputs.len();
        loader.load(input)?;
    }
    loader.expire_halves()?;
    loader.commit_shared(true)?;
    loader.engine.summary.files.sort_by_key(|f| f.input);
    Ok(())
}

/// Loads one input after the other; small ones wait in `shared` for their common commit.
pub struct Loader<'e, 'a> {
    pub engine: &'e mut Engine<'a>,
    pub limits: Limits,
    /// Small files staged and not committed, with their reports.
    pub shared: Vec<(PathBuf, FileReport)>,
    /// Inputs taken so far.
    pub taken: usize,
    /// The run ends with this input.
    pub last: bool,
    pub observer: &'e mut dyn Observer,
}

/// A file's way through: staged, or settled without.
enum Staged {
    Small(FileReport),
    Settled(FileReport),
}

impl<'e, 'a> Loader<'e, 'a> {
    pub fn new(engine: &'e mut Engine<'a>, limits: Limits, observer: &'e mut dyn Observer) -> Loader<'e, 'a> {
        Loader { engine, limits, shared: Vec::new(), taken: 0, last: false, observer }
    }
}

impl Loader<'_, '_> {
    /// Loads one input. Files that cannot be loaded are reported, not errors.
    pub fn load(&mut self, input: &Input) -> Result<Fate, PipelineError> {
        let staged = self.stage(input)?;
        self.taken += 1;
        match staged {
            Staged::Settled(mut report) => {
                report.input = self.taken;
                let fate = report.fate;
                self.settle(report);
                Ok(fate)
            }
            Staged::Small(mut report) => {
                report.input = self.taken;
                let path = match input {
                    Input::File(path) => path.clone(),
                    Input::Stdin => PathBuf::from("-"),
                };
                self.shared.push((path, report));
                if self.engine.staged_bytes() > SHARED_BYTES {
                    self.commit_shared(false)?;
                }
                Ok(Fate::Loaded)
            }
        }
    }

    fn stage(&mut self, input: &Input) -> Result<Staged, PipelineError> {
        let name = input.name();
        let feed = Arc::clone(&self.engine.setting.feed);
        let mut blocks = match open(input, &feed, self.limits) {
            Ok(blocks) => blocks,
            Err(e) => return Ok(Staged::Settled(refused(&name, &e))),
        };
        if let Input::File(path) = input {
            let number = self.engine.halves.number(path);
            blocks = blocks.numbered(number);
        }
        self.observer.file_begins(&name, blocks.total_raw_bytes());
        failpoint::reached("file.opened");
        let decoder = match blocks.head() {
            Ok(head) => match feed.mapping.open(head) {
                Ok(decoder) => Arc::new(decoder),
                Err(e) => return Ok(Staged::Settled(unreadable(&name, "mapping", &e.to_string(), true))),
            },
            Err(e) => return Ok(Staged::Settled(refused(&name, &e))),
        };
        let mut first = Vec::new();
        while first.len() < SMALL_BATCHES {
            match blocks.next() {
                Ok(Some(batch)) => first.push(batch),
                Ok(None) => return self.stage_small(input, &name, blocks, first, &decoder),
                Err(e) => return Ok(Staged::Settled(refused(&name, &e))),
            }
        }
        self.load_large(input, &name, blocks, first, &decoder).map(Staged::Settled)
    }

    /// The whole file is in memory and known to be complete.
    fn stage_small(
        &mut self,
        input: &Input,
        name: &str,
        blocks: Blocks,
        mut batches: Vec<RawBatch>,
        decoder: &Arc<FileDecoder>,
    ) -> Result<Staged, PipelineError> {
        if let [whole] = &mut batches[..]
            && whole.bytes.len() <= self.limits.max_record_bytes
        {
            self.engine.setting.feed.mapping.mark_document(whole);
        }
        let finished = match blocks.finish() {
            Ok(finished) => finished,
            Err(e) => return Ok(Staged::Settled(refused(name, &e))),
        };
        if finished.bytes == 0 {
            return Ok(Staged::Settled(report(name, Fate::Empty, 0, 0)));
        }
        let identity = self.identity(input, &finished);
        if identity.as_deref().is_some_and(|i| self.engine.knows(i)) {
            let known = FileReport { identity, ..report(name, Fate::AlreadyLoaded, 0, finished.bytes) };
            return Ok(Staged::Settled(known));
        }
        let before = self.engine.staged_records();
        let mut oversize = None;
        for batch in batches {
            self.submit(batch, decoder, &mut oversize)?;
        }
        self.engine.drain()?;
        let records = self.engine.staged_records() - before;
        self.engine.end_source(source(identity.clone(), &finished, records))?;
        self.observer.progress(finished.bytes, self.engine.summary.records_in + self.engine.staged_records());
        Ok(Staged::Small(FileReport { identity, ..report(name, Fate::Loaded, records, finished.bytes) }))
    }

    /// A batch of its own, given up if the file turns out to be broken or known.
    fn load_large(
        &mut self,
        input: &Input,
        name: &str,
        mut blocks: Blocks,
        first: Vec<RawBatch>,
        decoder: &Arc<FileDecoder>,
    ) -> Result<FileReport, PipelineError> {
        self.commit_shared(false)?;
        let mut oversize = None;
        for batch in first {
            self.submit(batch, decoder, &mut oversize)?;
        }
        loop {
            match blocks.next() {
                Ok(Some(batch)) => self.submit(batch, decoder, &mut oversize)?,
                Ok(None) => break,
                Err(e) => return self.give_up(refused(name, &e)),
            }
            let records = self.engine.summary.records_in + self.engine.staged_records();
            self.observer.progress(blocks.raw_bytes_read(), records);
        }
        let finished = match blocks.finish() {
            Ok(finished) => finished,
            Err(e) => return self.give_up(refused(name, &e)),
        };
        let identity = self.identity(input, &finished);
        if identity.as_deref().is_some_and(|i| self.engine.knows(i)) {
            return self.give_up(FileReport { identity, ..report(name, Fate::AlreadyLoaded, 0, finished.bytes) });
        }
        self.engine.drain()?;
        let records = self.engine.staged_records();
        self.engine.end_source(source(identity.clone(), &finished, records))?;
        if self.last {
            self.expire_halves()?;
        }
        match self.engine.commit(self.last, self.observer)? {
            Progress::Committed => Ok(FileReport { identity, ..report(name, Fate::Loaded, records, finished.bytes) }),
            Progress::Dropped => {
                self.engine.restore_halves()?;
                Ok(report(name, Fate::AlreadyLoaded, 0, finished.bytes))
            }
        }
    }

    fn give_up(&mut self, report: FileReport) -> Result<FileReport, PipelineError> {
        self.engine.abandon()?;
        self.engine.restore_halves()?;
        Ok(report)
    }

    /// Hands a batch to the workers; where calls must be joined, decoding stays in order.
    pub(super) fn submit(
        &mut self,
        batch: RawBatch,
        decoder: &Arc<FileDecoder>,
        oversize: &mut Option<u64>,
    ) -> Result<(), PipelineError> {
        let continuation = batch.oversize && *oversize == Some(batch.first_line);
        *oversize = batch.oversize.then_some(batch.first_line);
        if !self.engine.setting.feed.mapping.joins() {
            return self.engine.submit(Work::Raw(batch, Arc::clone(decoder)), continuation);
        }
        let now = self.engine.setting.clock.now_ms();
        let (decoded, joined) = self.engine.halves.absorb(decoder.decode(batch), now);
        self.engine.count_joined(joined);
        self.engine.submit(Work::Decoded(Box::new(decoded)), continuation)
    }

    /// Halves whose window is over go to quarantine as `unpaired`; lost ones are counted.
    pub fn expire_halves(&mut self) -> Result<(), PipelineError> {
        let before = self.engine.setting.clock.now_ms() - self.engine.setting.feed.join_window_ms;
        let expired = self.engine.halves.expire(before);
        let lost = self.engine.halves.lost;
        if lost > 0 {
            self.engine.count_dropped("open_half_lost", lost);
            self.engine.halves.lost = 0;
        }
        for (rule, n) in &expired.dropped {
            self.engine.count_dropped(rule, *n);
        }
        let refused: Vec<Refused<'_>> = expired
            .unpaired
            .iter()
            .map(|u| Refused {
                source: -1,
                line: u.at.line as i64 + 1,
                offset: u.at.offset as i64,
                reason: Reason::Unpaired,
                column: 0,
                bytes: &u.raw,
            })
            .collect();
        self.engine.quarantine(&refused)
    }

    /// Commits the small files that wait. If another process loaded some of them meanwhile, the
    /// others are staged again.
    pub fn commit_shared(&mut self, finished: bool) -> Result<(), PipelineError> {
        match self.engine.commit(finished, self.observer)? {
            Progress::Committed => {
                for (_, report) in std::mem::take(&mut self.shared) {
                    self.settle(report);
                }
                Ok(())
            }
            Progress::Dropped => {
                self.engine.restore_halves()?;
                for (path, report) in std::mem::take(&mut self.shared) {
                    if path == Path::new("-") {
                        return Err(PipelineError::Overtaken { feed: report.path });
                    }
                    self.load(&Input::File(path))?;
                }
                self.commit_shared(finished)
            }
        }
    }

    pub(super) fn settle(&mut self, report: FileReport) {
        self.observer.file_ends(&report);
        self.engine.summary.files.push(report);
    }

    fn identity(&self, input: &Input, finished: &Finished) -> Option<String> {
        match input {
            Input::File(_) => Some(self.engine.file_identity(&finished.sha256)),
            Input::Stdin => None,
        }
    }
}

fn open(input: &Input, feed: &Feed, limits: Limits) -> Result<Blocks, SourceError> {
    match input {
        Input::File(path) => files::open(path, feed.mapping.framing(), limits),
        Input::Stdin => stdin::open(feed.mapping.framing(), limits),
    }
}

fn source(file: Option<String>, finished: &Finished, records: u64) -> Source {
    Source { file, offset: 0, bytes: finished.bytes, records }
}

pub(super) fn report(path: &str, fate: Fate, records: u64, bytes: u64) -> FileReport {
    FileReport { path: path.to_owned(), fate, reason: None, records, bytes, usage: false, identity: None, input: 0 }
}

pub(super) fn refused(path: &str, error: &SourceError) -> FileReport {
    let fate = if error.waits() { Fate::Waiting } else { Fate::Refused };
    let usage =
        matches!(error, SourceError::Missing { .. } | SourceError::NotAFile { .. } | SourceError::NotAFolder { .. });
    FileReport { fate, ..unreadable(path, error.code(), &error.to_string(), usage) }
}

pub(super) fn unreadable(path: &str, code: &str, words: &str, usage: bool) -> FileReport {
    let reason = Some(format!("{code}: {words}"));
    FileReport {
        path: path.to_owned(),
        fate: Fate::Refused,
        reason,
        records: 0,
        bytes: 0,
        usage,
        identity: None,
        input: 0,
    }
}
