//! Why cdrveil is as it is. Documentation only: it is built, linked and reviewed with the code.
//!
//! * [`threats`]: who attacks, with what, and what stands in the way.
//! * [`decisions`]: what was decided, what else there was, and the consequences, bad ones too.
//! * [`operations`]: what an operator meets: late files, rejects, restarts, the end of a month.
//! * [`quarantine`]: refused records: what there is, replays, discards.
//! * [`streams`]: Kafka feeds: options, secrets, lag, alerts.

pub mod decisions;
pub mod operations;
pub mod quarantine;
pub mod streams;
pub mod threats;
