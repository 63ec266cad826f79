//! When a run with `--until-idle` is over for the sink.

use super::Conductor;
use super::track::Track;
use crate::kafka::KafkaError;
use crate::pipeline::PipelineError;
use crate::pipeline::idle::HANDING_OVER;
use std::time::{Duration, Instant};

impl Conductor<'_> {
    pub(super) fn is_over(&mut self) -> Result<bool, PipelineError> {
        let Some(patience) = self.flow.until_idle else { return Ok(false) };
        let at_end = self.tracks.iter().all(Track::is_at_end);
        let now = Instant::now();
        let Some(lasts) = self.idle.lasts(at_end, now) else { return Ok(false) };
        if lasts < patience || !self.idle.may_ask(now) {
            return Ok(false);
        }
        match self.is_at_the_brokers_end(lasts) {
            Ok(over) => Ok(over),
            Err(e) if e.is_retriable() => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// What was heard last may be old: a broker that hangs tells nothing new.
    fn is_at_the_brokers_end(&mut self, lasts: Duration) -> Result<bool, KafkaError> {
        for track in &mut self.tracks {
            let (_, high) = self.consumer.bounds(&track.partition)?;
            track.ends(high);
        }
        if !self.tracks.iter().all(Track::is_at_end) {
            self.idle.restless();
            return Ok(false);
        }
        // As on the lake's side: the group may hold partitions for a member that is gone.
        Ok(lasts >= self.consumer.session() + HANDING_OVER || self.others_are_at_the_end()?)
    }

    /// By the group's offsets, partitions that others have are read to their end.
    fn others_are_at_the_end(&self) -> Result<bool, KafkaError> {
        let mut others = self.consumer.partitions()?;
        others.retain(|p| self.tracks.iter().all(|t| t.partition != *p));
        if others.is_empty() {
            return Ok(true);
        }
        for (partition, next) in self.consumer.committed(&others)? {
            let (low, high) = self.consumer.bounds(&partition)?;
            if next.unwrap_or(low) < high {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
