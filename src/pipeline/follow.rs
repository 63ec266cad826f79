//! Feeds of kind `append`: files that grow for ever and are rotated (Asterisk's `Master.csv`).
//!
//! The position of each growing file (keyed digest of what was read of it, offset of the last whole
//! record) is committed with the rows it brought, so a restart goes on at the last commit, and of
//! two processes on one feed the slower one drops its stage and reads on from the other's position.
//! `once` takes what is new in named files, `watch` follows an inbox until told to stop.

use super::PipelineError;
use super::engine::{Engine, Progress};
use super::run::{Input, Loader, refused, report, unreadable};
use super::summary::{Fate, FileReport, Observer};
use crate::decode::file::FileDecoder;
use crate::lake::batches::{AppendPosition, Source};
use crate::pseudonymise::hmac::keyed_bytes;
use crate::record::raw::RawBatch;
use crate::source::append::recognise::{Recognised, recognise};
use crate::source::append::{Append, Keyed, Position, lives};
use crate::source::{Limits, SourceError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

pub mod inbox;

/// Input bytes staged before a commit, at most (and one batch more).
const COMMIT_BYTES: u64 = 256 << 20;

/// Loads what is new in each of `inputs`; the run is over when this returns. With `from_start`, a
/// file whose earlier content is gone is taken as new.
pub fn once(
    engine: &mut Engine<'_>,
    inputs: &[Input],
    limits: Limits,
    from_start: bool,
    observer: &mut dyn Observer,
) -> Result<(), PipelineError> {
    let mut loader = Loader::new(engine, limits, observer);
    for (i, input) in inputs.iter().enumerate() {
        loader.last = i + 1 == inputs.len();
        let found = match input {
            Input::File(path) => find(loader.engine, path, limits),
            Input::Stdin => Ok(Found::Whole),
        };
        match found {
            Ok(Found::Whole) => {
                loader.load(input)?;
                loader.commit_shared(loader.last)?;
            }
            Ok(Found::Growing(place)) => {
                let Input::File(named) = input else { continue };
                let report = grow(&mut loader, named, place, from_start)?;
                loader.settle(report);
            }
            Err(e) => {
                let Input::File(named) = input else { continue };
                loader.settle(refused(&named.display().to_string(), &e));
            }
        }
    }
    // Nothing is staged; at most it must still be said that the run is over.
    loader.commit_shared(true)
}

/// What a file of an append feed is.
pub(super) enum Found {
    /// It does not grow: an archive, or one that was rotated away. Loaded as feeds of files are.
    Whole,
    Growing(Place),
}

/// A growing file, and where to go on with it.
pub(super) struct Place {
    path: PathBuf,
    /// `AppendPosition::path`.
    key: String,
    from: Option<Position>,
}

/// Finds out by name, then by content, how far the file at `path` was read.
pub(super) fn find(engine: &Engine<'_>, path: &Path, limits: Limits) -> Result<Found, SourceError> {
    let rotated_from = lives(path);
    // A rotated file belongs to the one it was rotated from, if that one is followed: in its turn.
    for path in std::iter::once(path).chain(rotated_from.iter().map(PathBuf::as_path)) {
        let key = path_key(engine, path);
        if let Some(position) = engine.position(&key) {
            return Ok(Found::Growing(Place { path: path.to_owned(), key, from: position_of(position) }));
        }
    }
    let known: Vec<Position> = engine.positions().iter().map(|p| position_of(p).unwrap_or(NOWHERE)).collect();
    let Recognised { end, known, packed } = recognise(path, &known, &keyed(engine), limits)?;
    let new = Place { path: path.to_owned(), key: path_key(engine, path), from: None };
    Ok(match known.map(|i| &engine.positions()[i]) {
        // A copy or a new name of a growing file: what it brings beyond moves that file's position.
        Some(position) => Found::Growing(Place { key: position.path.clone(), from: position_of(position), ..new }),
        None if packed || !rotated_from.is_empty() => Found::Whole,
        None if engine.knows(&hex(&end.prefix)) => Found::Growing(Place { from: Some(end), ..new }),
        None => Found::Growing(new),
    })
}

/// Reads `place` to its present end, committing on the way.
fn grow(
    loader: &mut Loader<'_, '_>,
    named: &Path,
    place: Place,
    from_start: bool,
) -> Result<FileReport, PipelineError> {
    let name = named.display().to_string();
    let followed = Follower::new(loader, &place, from_start);
    let mut follower = match followed {
        Ok(follower) => follower,
        Err(e) => return Ok(refused(&name, &e)),
    };
    loader.observer.file_begins(&name, std::fs::metadata(&place.path).ok().map(|m| m.len()));
    loop {
        let caught_up = match follower.advance(loader, COMMIT_BYTES) {
            Ok(step) => step == Step::CaughtUp,
            Err(e) => {
                loader.engine.abandon()?;
                return Ok(FileReport { records: follower.records, ..of_error(&name, e)? });
            }
        };
        if caught_up && follower.inside_record {
            loader.engine.abandon()?;
            break;
        }
        let kept = commit(std::slice::from_mut(&mut follower), loader, loader.last && caught_up)?;
        let records = loader.engine.summary.records_in;
        loader.observer.progress(follower.bytes, records);
        if caught_up && kept {
            break;
        }
    }
    Ok(follower.report(&name))
}

/// A failure of the file itself as a report; any other one stops the run.
fn of_error(name: &str, error: PipelineError) -> Result<FileReport, PipelineError> {
    match error {
        PipelineError::Source(e) => Ok(refused(name, &e)),
        PipelineError::Open(e) => Ok(unreadable(name, "mapping", &e.to_string(), true)),
        e => Err(e),
    }
}

/// Commits what `followers` have staged with their positions. False when another process was
/// first: then all of them stand where that one left them.
pub(super) fn commit(
    followers: &mut [Follower],
    loader: &mut Loader<'_, '_>,
    finished: bool,
) -> Result<bool, PipelineError> {
    for follower in followers.iter_mut() {
        follower.stage(loader.engine)?;
    }
    match loader.engine.commit(finished, loader.observer)? {
        Progress::Committed => {
            followers.iter_mut().for_each(Follower::took_effect);
            Ok(true)
        }
        Progress::Dropped => {
            for follower in followers {
                follower.go_back(loader)?;
            }
            Ok(false)
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Everything that is there was handed to the workers.
    CaughtUp,
    /// There is more, and it is time to commit.
    Enough,
}

/// One growing file between two commits.
pub(super) struct Follower {
    path: PathBuf,
    key: String,
    append: Append,
    /// File number of `append` that `decoder` and `stretch` are of.
    part: u32,
    decoder: Option<Arc<FileDecoder>>,
    /// End of what the workers were handed; at first the start of the file, if it is new.
    at: Option<Position>,
    /// What the last commit said; `at` moves away from it.
    committed: Option<Position>,
    /// The stretch of the present part since the last commit.
    stretch: Option<Stretch>,
    /// A batch that must wait until what is before it is committed, and its end.
    held: Option<(RawBatch, Option<Position>)>,
    oversize: Option<u64>,
    /// The last piece handed out ends inside a record that is too long: no place to go on from.
    pub(super) inside_record: bool,
    staged: (u64, u64),
    /// Committed by this run.
    records: u64,
    bytes: u64,
    known_before: bool,
}

struct Stretch {
    offset: u64,
    bytes: u64,
    records_before: u64,
}

impl Follower {
    pub(super) fn new(loader: &Loader<'_, '_>, place: &Place, from_start: bool) -> Result<Follower, SourceError> {
        let opened = resume(loader, &place.path, place.from);
        let (append, from) = match opened {
            Err(SourceError::PrefixChanged { .. }) if from_start => (resume(loader, &place.path, None)?, None),
            other => (other?, place.from),
        };
        // A place that no manifest tells yet (the content was loaded as a file) is committed as well.
        let committed = loader.engine.position(&place.key).and_then(position_of);
        Ok(Follower {
            path: place.path.clone(),
            key: place.key.clone(),
            known_before: from.is_some_and(|p| p.offset > 0),
            at: from.or(append.beginning()),
            append,
            part: 0,
            decoder: None,
            committed,
            stretch: None,
            held: None,
            oversize: None,
            inside_record: false,
            staged: (0, 0),
            records: 0,
            bytes: 0,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Hands what is new to the workers, up to about `most` bytes since the last commit.
    pub(super) fn advance(&mut self, loader: &mut Loader<'_, '_>, most: u64) -> Result<Step, PipelineError> {
        while let Some((batch, end)) = self.next()? {
            // Pieces of an endless record are given up together, so they begin a batch of their own.
            if batch.oversize && !self.inside_record && loader.engine.has_staged() {
                self.held = Some((batch, end));
                return Ok(Step::Enough);
            }
            if batch.file != self.part {
                self.end_part(loader.engine, batch.file)?;
            }
            self.submit(loader, batch)?;
            self.at = end;
            let staged = self.stretch.as_ref().map_or(0, |s| s.bytes) + self.staged.1;
            if staged >= most && !self.inside_record {
                return Ok(Step::Enough);
            }
        }
        if !self.inside_record {
            // Another file may stage next, and blocks are of the source that ends after them.
            self.end_stretch(loader.engine, None)?;
        }
        Ok(Step::CaughtUp)
    }

    fn next(&mut self) -> Result<Option<(RawBatch, Option<Position>)>, PipelineError> {
        if let Some(held) = self.held.take() {
            return Ok(Some(held));
        }
        let batch = self.append.next()?;
        Ok(batch.map(|batch| (batch, self.append.position())))
    }

    fn submit(&mut self, loader: &mut Loader<'_, '_>, batch: RawBatch) -> Result<(), PipelineError> {
        let decoder = match &self.decoder {
            Some(decoder) => Arc::clone(decoder),
            None => {
                let decoder = Arc::new(loader.engine.setting.feed.mapping.open(self.append.head())?);
                Arc::clone(self.decoder.insert(decoder))
            }
        };
        let records_before = loader.engine.staged_records();
        let stretch = self.stretch.get_or_insert(Stretch { offset: batch.offset, bytes: 0, records_before });
        stretch.bytes += batch.bytes.len() as u64;
        self.inside_record = batch.oversize && !batch.bytes.ends_with(b"\n");
        loader.submit(batch, &decoder, &mut self.oversize)
    }

    /// The present file was read to its end and has a successor: from now on it is known as a whole.
    fn end_part(&mut self, engine: &mut Engine<'_>, next: u32) -> Result<(), PipelineError> {
        let whole = self.at.map(|p| hex(&p.prefix));
        self.end_stretch(engine, whole)?;
        (self.part, self.decoder, self.oversize, self.inside_record) = (next, None, None, false);
        Ok(())
    }

    fn end_stretch(&mut self, engine: &mut Engine<'_>, whole: Option<String>) -> Result<(), PipelineError> {
        let (offset, bytes, before) = match self.stretch.take() {
            Some(s) => (s.offset, s.bytes, Some(s.records_before)),
            None if whole.is_none() => return Ok(()),
            None => (self.at.map_or(0, |p| p.offset), 0, None),
        };
        engine.drain()?;
        let records = before.map_or(0, |before| engine.staged_records() - before);
        self.staged = (self.staged.0 + records, self.staged.1 + bytes);
        engine.end_source(Source { file: whole, offset, bytes, records })
    }

    /// Puts the stretch and the position into the batch under construction.
    fn stage(&mut self, engine: &mut Engine<'_>) -> Result<(), PipelineError> {
        self.end_stretch(engine, None)?;
        if let Some(at) = self.at.filter(|at| self.committed.is_none_or(|c| c != *at)) {
            engine.stage_position(AppendPosition {
                path: self.key.clone(),
                prefix: hex(&at.prefix),
                offset: at.offset,
                inode: at.inode,
            });
        }
        Ok(())
    }

    fn took_effect(&mut self) {
        self.committed = self.at;
        self.records += self.staged.0;
        self.bytes += self.staged.1;
        self.staged = (0, 0);
    }

    /// Goes on from where the newest manifest says.
    fn go_back(&mut self, loader: &Loader<'_, '_>) -> Result<(), PipelineError> {
        let from = loader.engine.position(&self.key).and_then(position_of);
        self.append = resume(loader, &self.path, from)?;
        (self.part, self.decoder, self.at, self.committed) = (0, None, from, from);
        (self.stretch, self.held, self.oversize, self.inside_record) = (None, None, None, false);
        self.staged = (0, 0);
        self.known_before |= from.is_some_and(|p| p.offset > 0);
        Ok(())
    }

    pub(super) fn report(&self, name: &str) -> FileReport {
        let waiting = self.append.pending();
        let fate = match (self.bytes, waiting) {
            (1.., _) => Fate::Loaded,
            (0, _) if self.known_before => Fate::AlreadyLoaded,
            (0, 0) => Fate::Empty,
            (0, _) => Fate::Waiting,
        };
        let reason = (waiting > 0).then(|| format!("growing: the record in its last {waiting} bytes has no end yet"));
        FileReport { reason, ..report(name, fate, self.records, self.bytes) }
    }
}

fn resume(loader: &Loader<'_, '_>, path: &Path, from: Option<Position>) -> Result<Append, SourceError> {
    let framing = loader.engine.setting.feed.mapping.framing();
    Append::resume(path, from, keyed(loader.engine), framing, loader.limits)
}

/// Which growing file: keyed, as a path may say more than it should. The folder is resolved, the
/// name is not: it is the name that the writer opens again after a rotation.
fn path_key(engine: &Engine<'_>, path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let resolved = absolute.parent().and_then(|p| p.canonicalize().ok());
    let whole = resolved.zip(absolute.file_name()).map_or(absolute.clone(), |(folder, name)| folder.join(name));
    let mut text = b"append-path:".to_vec();
    text.extend_from_slice(whole.as_os_str().as_encoded_bytes());
    hex(&keyed_bytes(&engine.keys().ring.file_key, &text))
}

/// As `Engine::file_identity`: a file that was read to its end is known as a whole.
fn keyed(engine: &Engine<'_>) -> Keyed {
    let key = Zeroizing::new(*engine.keys().ring.file_key);
    Box::new(move |digest| keyed_bytes(&key, &digest))
}

/// Matches nothing.
const NOWHERE: Position = Position { prefix: [0; 32], offset: 0, inode: 0 };

fn position_of(stored: &AppendPosition) -> Option<Position> {
    let mut prefix = [0u8; 32];
    for (i, byte) in prefix.iter_mut().enumerate() {
        *byte = u8::from_str_radix(stored.prefix.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(Position { prefix, offset: stored.offset, inode: stored.inode })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
