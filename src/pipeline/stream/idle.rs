//! When a run with `--until-idle` is over: nothing came for that long, and by the brokers' own word
//! nothing is left.

use super::Conductor;
use super::track::Track;
use crate::lake::batches::BatchLog;
use crate::pipeline::PipelineError;
use crate::pipeline::idle::HANDING_OVER;
use std::time::{Duration, Instant};

impl Conductor<'_, '_> {
    pub(super) fn is_over(&mut self) -> Result<bool, PipelineError> {
        let Some(patience) = self.stream.until_idle else { return Ok(false) };
        let at_end = self.tracks.iter().all(|t| t.checked && t.is_at_end());
        let now = Instant::now();
        let Some(lasts) = self.idle.lasts(at_end, now) else { return Ok(false) };
        if lasts < patience || !self.idle.may_ask(now) {
            return Ok(false);
        }
        match self.is_at_the_brokers_end(lasts) {
            Ok(over) => Ok(over),
            Err(PipelineError::Kafka(e)) if e.is_retriable() => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// What was heard last may be old: a broker that hangs tells nothing new.
    fn is_at_the_brokers_end(&mut self, lasts: Duration) -> Result<bool, PipelineError> {
        for track in &mut self.tracks {
            let (_, high) = self.consumer.bounds(&track.partition)?;
            track.ends(high);
        }
        if !self.tracks.iter().all(Track::is_at_end) {
            self.idle.restless();
            return Ok(false);
        }
        // The group may hold a partition for a member that is gone, until its session has ended.
        // Whoever has it after that is alive, and brings it to its end.
        Ok(lasts >= self.consumer.session() + HANDING_OVER || self.others_are_at_the_end()?)
    }

    /// By the batch log, partitions that others have are read to their end.
    fn others_are_at_the_end(&self) -> Result<bool, PipelineError> {
        let setting = &self.engine.setting;
        for partition in self.consumer.partitions()? {
            if self.tracks.iter().any(|t| t.partition == partition) {
                continue;
            }
            let log = BatchLog::new(&setting.site.join("lake"), &setting.feed.name, &partition.name());
            let next = match log.last()? {
                0 => None,
                number => log.read(number)?.stream.map(|s| s.next_offset),
            };
            let (low, high) = self.consumer.bounds(&partition)?;
            if next.unwrap_or(low) < high {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
