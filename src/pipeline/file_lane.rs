//! What feeds of files ask of the engine: their one lane, whole files, growing files, halves.

use super::block::Work;
use super::engine::Engine;
use super::lane::{Batch, FILES, LaneId, move_to};
use super::{Keys, PipelineError};
use crate::failpoint;
use crate::lake::batches::{AppendPosition, BatchLog, Source};
use crate::pseudonymise::hmac::keyed_digest;
use crate::sink::SinkError;
use crate::sink::quarantine::{self, Refused};
use std::sync::Arc;

/// The only lane of a feed of files is the first one.
pub(super) const LANE: LaneId = LaneId(0);

pub(super) fn open(engine: &mut Engine<'_>) -> Result<(), PipelineError> {
    let id = engine.open_lane(FILES)?;
    debug_assert_eq!(id, LANE);
    Ok(())
}

impl Engine<'_> {
    /// Forgets what a dropped stage absorbed: open halves are again those of the newest manifest,
    /// which may be another process's.
    pub fn restore_halves(&mut self) -> Result<(), PipelineError> {
        let feed = Arc::clone(&self.setting.feed);
        if !feed.mapping.joins() {
            return Ok(());
        }
        let log = BatchLog::new(&self.setting.site.join("lake"), &feed.name, FILES);
        let newest = log.last()?;
        let open = if newest > 0 { log.read(newest)?.open } else { Vec::new() };
        self.halves.restore(&open, &feed, &self.keys, self.setting.forget_open)
    }

    /// How a finished file is recognised: HMAC(site file key, SHA-256 of its content), hex.
    pub fn file_identity(&self, sha256: &[u8; 32]) -> String {
        keyed_digest(&self.keys.ring.file_key, sha256)
    }

    /// Whether a file of this content is loaded, or staged to be.
    pub fn knows(&self, identity: &str) -> bool {
        let staged = self.staged().iter().flat_map(|b| &b.sources).any(|s| s.file.as_deref() == Some(identity));
        staged || self.lane(LANE).log.ledger().knows(identity)
    }

    /// How far each growing file was loaded.
    pub fn positions(&self) -> &[AppendPosition] {
        &self.lane(LANE).positions
    }

    pub fn position(&self, path: &str) -> Option<&AppendPosition> {
        self.positions().iter().find(|p| p.path == path)
    }

    /// The next commit moves this growing file to `position`, with everything staged so far.
    pub fn stage_position(&mut self, position: AppendPosition) {
        move_to(&mut self.batch(LANE).moved, position);
    }

    pub fn has_staged(&self) -> bool {
        self.staged().is_some()
    }

    /// Decompressed bytes staged since the last commit.
    pub fn staged_bytes(&self) -> u64 {
        self.staged().map_or(0, Batch::bytes)
    }

    /// Records taken in since the last commit.
    pub fn staged_records(&self) -> u64 {
        self.staged().map_or(0, |b| b.counts.records_in)
    }

    /// Sends one block of the next source to the workers.
    pub fn submit(&mut self, work: Work, continuation: bool) -> Result<(), PipelineError> {
        self.submit_to(LANE, work, continuation)
    }

    /// Waits for the workers and notes `source` as staged whole.
    pub fn end_source(&mut self, source: Source) -> Result<(), PipelineError> {
        self.drain()?;
        self.batch(LANE).sources.push(source);
        failpoint::reached("file.staged");
        Ok(())
    }

    /// Drops everything staged since the last commit: nothing of it was loaded.
    pub fn abandon(&mut self) -> Result<(), PipelineError> {
        self.drop_stage(LANE)
    }

    /// Counts halves that were joined into rows.
    pub fn count_joined(&mut self, joined: u64) {
        self.batch(LANE).counts.joined += joined;
    }

    /// Counts records that a named rule dropped outside a block.
    pub fn count_dropped(&mut self, rule: &str, n: u64) {
        let counts = &mut self.batch(LANE).counts;
        counts.dropped += n;
        *counts.dropped_by.entry(rule.to_owned()).or_default() += n;
    }

    /// Seals records that were refused outside a block (halves that never found their other half).
    pub fn quarantine(&mut self, refused: &[Refused<'_>]) -> Result<(), PipelineError> {
        if refused.is_empty() {
            return Ok(());
        }
        let formats = Arc::clone(&self.formats);
        let keys: Arc<Keys> = Arc::clone(&self.keys);
        let batch = self.batch(LANE);
        let day = batch.arrival;
        let key = keys.ring.days.get(&day).ok_or_else(|| SinkError::NoKey { unit: day.to_string() })?;
        let whose = (batch.constants.feed.as_str(), batch.constants.batch.as_str());
        for group in quarantine::groups(&formats.quarantine, &key.quarantine, day, whose, refused)?.groups {
            batch.stage.append(group)?;
        }
        batch.counts.quarantined += refused.len() as u64;
        for r in refused {
            *batch.counts.quarantined_by.entry(r.reason.code().to_owned()).or_default() += 1;
        }
        Ok(())
    }

    fn staged(&self) -> Option<&Batch> {
        self.lane(LANE).open.as_ref()
    }
}
