//! The endless form: every file of an inbox that does not look rotated is followed.
//!
//! Usually that is one file. A file that appears later is followed too; one that looks like a
//! rotated file is read in its turn as part of the one it was rotated from, and an archive of
//! another name is loaded whole.

use super::{Follower, Found, Step, commit, find, of_error};
use crate::pipeline::PipelineError;
use crate::pipeline::engine::Engine;
use crate::pipeline::run::{Input, Loader, refused, report};
use crate::pipeline::summary::{Fate, FileReport, Observer};
use crate::source::append::lives;
use crate::source::{Limits, SourceError};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long new records may stay uncommitted, and how often there is a commit while they trickle.
const COMMIT_EVERY: Duration = Duration::from_secs(5);
const COMMIT_BYTES: u64 = 64 << 20;
/// How often the files are looked at while nothing comes.
const PAUSE: Duration = Duration::from_millis(200);
const SCAN_EVERY: Duration = Duration::from_secs(2);

/// Follows the files of `inbox` until `stop` says so; what is staged then is committed.
pub fn watch(
    engine: &mut Engine<'_>,
    inbox: &Path,
    limits: Limits,
    from_start: bool,
    stop: &dyn Fn() -> bool,
    observer: &mut dyn Observer,
) -> Result<(), PipelineError> {
    let loader = Loader::new(engine, limits, observer);
    let mut inbox = Inbox { dir: inbox, from_start, loader, followers: Vec::new(), settled: HashMap::new() };
    let (mut next_scan, mut committed) = (Instant::now(), None);
    while !stop() {
        inbox.loader.engine.refresh_keys()?;
        if Instant::now() >= next_scan {
            let reported = inbox.loader.engine.summary.files.len();
            inbox.scan()?;
            inbox.loader.engine.summary.tidy(reported);
            next_scan = Instant::now() + SCAN_EVERY;
        }
        let enough = inbox.advance()?;
        // The first rows after a start or a pause at once: a position inside a file finds it again
        // however it is rotated, the mere start of one does not.
        let due = committed.is_none_or(|at: Instant| at.elapsed() >= COMMIT_EVERY);
        if inbox.loader.engine.has_staged() && (enough || due) {
            inbox.commit()?;
            committed = Some(Instant::now());
        }
        if !enough {
            std::thread::sleep(PAUSE);
        }
    }
    inbox.end()
}

struct Inbox<'p, 'e, 'a> {
    dir: &'p Path,
    from_start: bool,
    loader: Loader<'e, 'a>,
    followers: Vec<Follower>,
    /// Files that are not followed, and their size and change when that was decided.
    settled: HashMap<OsString, (u64, i64, i64)>,
}

impl Inbox<'_, '_, '_> {
    fn scan(&mut self) -> Result<(), PipelineError> {
        let entries = fs::read_dir(self.dir).map_err(|error| io(self.dir, error))?;
        let mut names: Vec<OsString> = entries.filter_map(|e| e.ok().map(|e| e.file_name())).collect();
        names.sort();
        for name in names.iter().filter(|name| is_finished_name(name)) {
            let path = self.dir.join(name);
            let Some(meta) = fs::symlink_metadata(&path).ok().filter(Metadata::is_file) else { continue };
            let state = (meta.size(), meta.mtime(), meta.mtime_nsec());
            let followed = self.followers.iter().any(|f| f.path() == path);
            if !followed && self.settled.get(name) != Some(&state) && self.take(&path)? {
                self.settled.insert(name.clone(), state);
            }
        }
        self.settled.retain(|name, _| names.binary_search(name).is_ok());
        Ok(())
    }

    /// Follows or loads a file that was not seen before; true if it is settled as it stands.
    fn take(&mut self, path: &Path) -> Result<bool, PipelineError> {
        let name = path.display().to_string();
        let lives = lives(path);
        if !lives.is_empty() {
            let is_followed = |live: &PathBuf| live.exists() || self.followers.iter().any(|f| f.path() == live);
            if !lives.iter().any(is_followed) {
                let reason = "rotated: by its name it belongs to a growing file that is not here; name it on the command line to load it";
                self.loader.settle(FileReport { reason: Some(reason.into()), ..report(&name, Fate::Waiting, 0, 0) });
            }
            return Ok(true);
        }
        match find(self.loader.engine, path, self.loader.limits) {
            Ok(Found::Growing(place)) => {
                let follower = Follower::new(&self.loader, &place, self.from_start)?;
                self.loader.observer.file_begins(&name, None);
                self.followers.push(follower);
                // Its start at once: should it be rotated before its first commit, it is still found.
                if !self.followers.iter().any(|f| f.inside_record) {
                    commit(&mut self.followers, &mut self.loader, false)?;
                }
                Ok(true)
            }
            Ok(Found::Whole) => {
                // In a batch of its own, between those of the growing files.
                self.commit()?;
                let fate = self.loader.load(&Input::File(path.to_owned()))?;
                self.loader.commit_shared(false)?;
                Ok(fate != Fate::Waiting)
            }
            Err(e) => {
                self.loader.settle(refused(&name, &e));
                Ok(!e.waits())
            }
        }
    }

    /// Lets every follower stage what is new; true if it is time to commit.
    fn advance(&mut self) -> Result<bool, PipelineError> {
        let mut enough = false;
        for follower in &mut self.followers {
            match follower.advance(&mut self.loader, COMMIT_BYTES) {
                Ok(step) => enough |= step == Step::Enough,
                Err(e) => {
                    // The feed stops here: what the others staged since the last commit is read again.
                    let name = follower.path().display().to_string();
                    if let Ok(report) = of_error(&name, e) {
                        self.loader.settle(report);
                    }
                    return Err(PipelineError::Stopped { feed: self.loader.engine.setting.feed.name.clone() });
                }
            }
        }
        Ok(enough)
    }

    /// Commits, unless a record is under way that is too long to be one.
    fn commit(&mut self) -> Result<(), PipelineError> {
        if self.loader.engine.has_staged() && !self.followers.iter().any(|f| f.inside_record) {
            commit(&mut self.followers, &mut self.loader, false)?;
        }
        Ok(())
    }

    fn end(mut self) -> Result<(), PipelineError> {
        self.commit()?;
        self.loader.engine.abandon()?;
        for follower in &self.followers {
            let report = follower.report(&follower.path().display().to_string());
            self.loader.settle(report);
        }
        Ok(())
    }
}

fn is_finished_name(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    let unfinished: [&[u8]; 4] = [b".tmp", b".part", b".filepart", b"~"];
    !bytes.starts_with(b".") && !unfinished.iter().any(|ending| bytes.ends_with(ending))
}

fn io(path: &Path, error: std::io::Error) -> SourceError {
    SourceError::Io { path: path.to_owned(), error }
}
