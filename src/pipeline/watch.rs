//! The endless run over a watched folder: files as they become complete, until told to stop.

use super::PipelineError;
use super::engine::Engine;
use super::run::{Input, Loader, report};
use super::seen::{Seen, State};
use super::summary::{Fate, Observer};
use crate::clock::Clock;
use crate::source::Limits;
use crate::source::folder::Watch;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long the folder is waited on before keys, halves and the stop signal are looked at again.
const PAUSE: Duration = Duration::from_millis(500);

/// Loads what completes in `inbox` until `stop` says so; what is staged then is committed.
pub fn watch(
    engine: &mut Engine<'_>,
    inbox: &Path,
    settle: Duration,
    limits: Limits,
    stop: &dyn Fn() -> bool,
    clock: Arc<dyn Clock>,
    observer: &mut dyn Observer,
) -> Result<(), PipelineError> {
    let mut folder = Watch::new(inbox, settle, clock)?;
    let mut seen = Seen::open(engine.setting.site, &engine.setting.feed.name, engine);
    let mut loader = Loader::new(engine, limits, observer);
    while !stop() {
        let candidates = folder.next(PAUSE);
        loader.engine.refresh_keys()?;
        let mut states: HashMap<String, (PathBuf, State)> = HashMap::new();
        let reported = loader.engine.summary.files.len();
        for candidate in &candidates {
            if stop() {
                break;
            }
            let path = &candidate.path;
            if seen.knows(path, loader.engine) {
                loader.settle(report(&path.display().to_string(), Fate::AlreadyLoaded, 0, 0));
                continue;
            }
            if let Some(state) = State::of(path) {
                states.insert(path.display().to_string(), (path.clone(), state));
            }
            if loader.load(&Input::File(path.clone()))? == Fate::Waiting {
                folder.again(candidate);
            }
        }
        loader.expire_halves()?;
        loader.commit_shared(false)?;
        // Only now is what was staged loaded.
        for report in &loader.engine.summary.files[reported..] {
            if let (Some(identity), Some((path, state))) = (&report.identity, states.remove(&report.path)) {
                seen.remember(&path, state, identity.clone(), loader.engine.setting.clock);
            }
        }
        loader.engine.summary.tidy(reported);
        seen.save(inbox, false);
    }
    seen.save(inbox, true);
    Ok(())
}
