//! Bytes to fields: where each mapped field of each record stands. What a field says is read later,
//! in `normalise`.
//!
//! Everything a format is, is data: a mapping file under `schemas/cdr` (its manual is the README
//! there). `mapping` reads such a file, `open` fits it to one input file (header, layout), `message` to
//! messages, `file` drives the record loop; `delimited`, `fixed` and `json` find the cells of one record; `join`
//! makes calls of records that hold half a call.
//!
//! No message of this module quotes a record: errors carry a position and a rule.

pub(crate) mod cells;
pub(crate) mod delimited;
pub mod file;
pub(crate) mod fixed;
pub mod join;
pub(crate) mod json;
pub(crate) mod lines;
pub mod mapping;
pub mod message;
pub mod open;
pub mod shipped;
