//! cdrveil: call detail records (CDRs) made safe to analyse.
//!
//! The modules are listed in the order a record passes them; `manual` explains the why. What this
//! library does not do: it never writes a clear identifier anywhere but sealed to the vault's
//! public key, and nothing in the ingest flow can open what it sealed.

#![warn(unreachable_pub)]

pub mod manual;

// nouns, no I/O
pub mod clock;
pub mod failpoint;
pub mod keys;
pub mod record;
pub mod seal;

// neighbours
pub mod kafka;

// the flow, in order
pub mod source;
pub mod decode;
pub mod normalise;
pub mod pseudonymise;
pub mod generalise;
pub mod tally;
pub mod lake;
pub mod sink;
pub mod pipeline;

// beside the flow
pub mod generate;
pub mod keyfile;
pub mod release;
pub mod publish;
pub mod query;
pub mod steward;
pub mod vault;

// edges
pub mod telemetry;
pub mod serve;
pub mod shutdown;
pub mod config;
pub mod cli;
