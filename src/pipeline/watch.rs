//! The endless run over a watched folder: files as they become complete, until told to stop.

use super::PipelineError;
use super::engine::Engine;
use super::run::{Input, Loader};
use super::summary::{Fate, Observer};
use crate::source::Limits;
use crate::source::folder::Watch;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long the folder is waited on before keys, halves and the stop signal are looked at again.
const PAUSE: Duration = Duration::from_millis(500);

/// Loads what completes in `inbox` until `stop` is set; what is staged then is committed.
pub fn watch(
    engine: &mut Engine<'_>,
    inbox: &Path,
    settle: Duration,
    limits: Limits,
    stop: &AtomicBool,
    clock: Arc<dyn crate::clock::Clock>,
    observer: &mut dyn Observer,
) -> Result<(), PipelineError> {
    let mut folder = Watch::new(inbox, settle, clock)?;
    let mut loader = Loader { engine, limits, shared: Vec::new(), taken: 0, last: false, observer };
    while !stop.load(Ordering::SeqCst) {
        let candidates = folder.next(PAUSE);
        loader.engine.refresh_keys()?;
        for candidate in &candidates {
            if stop.load(Ordering::SeqCst) {
                break;
            }
            if loader.load(&Input::File(candidate.path.clone()))? == Fate::Waiting {
                folder.again(candidate);
            }
        }
        loader.expire_halves()?;
        loader.commit_shared(false)?;
    }
    Ok(())
}
