//! Giving refused records up: an empty batch that says so.

use super::uid;
use crate::clock::Clock;
use crate::lake::LakeError;
use crate::lake::batches::{Counts, FORMAT, Manifest};
use crate::lake::durable::random_name;
use crate::lake::resolved::{Handle, Outcome, REPLAY, Replay, Resolved};
use crate::pipeline::engine::contracts;
use crate::pipeline::{Feed, PipelineError};
use crate::record::reject::Reason;
use crate::sink::commit::{Committer, Outcome as Put};
use std::collections::BTreeMap;
use std::path::Path;

/// Records durably that these rows are given up. No key is needed, and no row is removed. Returns how
/// many of them had been resolved already.
pub fn discard(
    site: &Path,
    feed: &Feed,
    clock: &dyn Clock,
    mut rows: Vec<(Handle, Reason)>,
    note: Option<&str>,
) -> Result<u64, PipelineError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(LakeError::io("cannot start a runtime in", site))?;
    let mut committer = runtime.block_on(Committer::open(site, &contracts()))?;
    let (mut log, newest) = runtime.block_on(committer.open_log(site, &feed.name, REPLAY))?;
    let mut manifest = empty(feed, clock);
    manifest.watermark_ms = newest.and_then(|m| m.watermark_ms);
    let selected = rows.len();
    loop {
        let resolved = Resolved::of_feed(&site.join("lake"), &feed.name)?;
        rows.retain(|(handle, _)| resolved.decision(*handle).is_none());
        if rows.is_empty() {
            return Ok(selected as u64);
        }
        let decided = rows.iter().map(|(handle, reason)| (*handle, Outcome::Discarded, reason.code()));
        manifest.replay = Some(Replay { uid: uid(), note: note.map(str::to_owned), ..Replay::of(decided) });
        let mut outcomes = runtime.block_on(committer.commit(&mut [(&mut log, &mut manifest)]))?;
        match outcomes.remove(0) {
            Put::Committed(_) => return Ok((selected - rows.len()) as u64),
            Put::Overtaken(other) => manifest.watermark_ms = manifest.watermark_ms.max(other.watermark_ms),
        }
    }
}

/// A manifest that adds nothing.
fn empty(feed: &Feed, clock: &dyn Clock) -> Manifest {
    Manifest {
        format: FORMAT,
        feed: feed.name.clone(),
        partition: REPLAY.to_owned(),
        number: 0,
        batch: random_name(),
        committed_ms: clock.now_ms(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        mapping: feed.mapping.name().to_owned(),
        mapping_version: feed.mapping.version(),
        mapping_digest: feed.mapping.digest().to_owned(),
        profile_version: feed.profile_version,
        profile_digest: feed.profile_digest.clone(),
        sources: Vec::new(),
        counts: Counts::default(),
        epochs: Vec::new(),
        watermark_ms: None,
        finished: true,
        last_sequence: None,
        adds: BTreeMap::new(),
        open: Vec::new(),
        append: Vec::new(),
        stream: None,
        headers: Vec::new(),
        replay: None,
    }
}
