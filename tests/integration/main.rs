//! The programs as their users meet them: sites made, files loaded and tables read back through the
//! real binaries, and compared with readers and recounts that are not ours.
//!
//! Needs what `tests/run` installs (CDRVEIL_TEST_PYTHON, CDRVEIL_TEST_SPARK_JARS). A missing tool is
//! a failure, never a skip.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

mod append;
mod compaction;
mod contract;
mod disk;
mod errors;
mod hostile;
mod kafka;
mod kills;
mod power;
mod quarantine;
mod recount;
mod sealed;
mod site;
mod soak;
mod sources;
mod twin;
mod two_processes;
