//! Named steps at which a test may end the process, as `kill -9` would.
//!
//! `CDRVEIL_FAILPOINT=step:n` ends the process the n-th time it reaches `step`. Nothing else can be
//! done with it: no step is skipped, no result changes. Unset, a step costs one atomic load.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Every step of the lake's side, in the order a batch passes them. Tests draw from this list.
pub const STEPS: [&str; 15] = [
    "file.opened",
    "block.staged",
    "file.staged",
    "stage.finished",
    "tally.written",
    "manifest.before",
    "manifest.put",
    "commit.cdr",
    "commit.tally",
    "commit.evidence",
    "commit.identities",
    "commit.quarantine",
    "commit.done",
    "recover.before",
    "recover.done",
];

/// Steps of the Kafka sink: records are in a transaction, offsets too, and it is committed.
pub const SINK_STEPS: [&str; 3] = ["sink.sent", "sink.offsets", "sink.committed"];

/// Steps of a replay beside those of its batch: in the vault, before a record is released; then in
/// ingest, when every record of a batch was judged.
pub const REPLAY_STEPS: [&str; 2] = ["vault.release", "replay.judged"];

/// The steps of a compaction, by themselves: ingest never comes by.
pub const COMPACTION_STEPS: [&str; 5] =
    ["compact.before", "compact.written", "compact.merged", "compact.fenced", "compact.done"];

struct Armed {
    step: String,
    left: AtomicU64,
}

#[expect(clippy::disallowed_methods, reason = "a test hook: configuration must not be able to set it")]
fn armed() -> Option<&'static Armed> {
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    ARMED
        .get_or_init(|| {
            let text = std::env::var("CDRVEIL_FAILPOINT").ok()?;
            let (step, n) = text.split_once(':')?;
            Some(Armed { step: step.to_owned(), left: AtomicU64::new(n.parse().ok()?) })
        })
        .as_ref()
}

/// Ends the process here if a test asked for it.
pub fn reached(step: &str) {
    let Some(armed) = armed() else { return };
    if armed.step == step && armed.left.fetch_sub(1, Ordering::SeqCst) == 1 {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}
