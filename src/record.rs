//! The nouns of the flow, one type per hop: `RawBatch → Decoded → Clear → Veiled`.
//!
//! A batch is columnar at every hop: one vector per field, no allocation per record. Clear and
//! veiled are different types, and none of the types that can hold an identifier has `Debug`.

pub mod clear;
pub mod decoded;
pub mod field;
pub mod identifier;
pub mod packed;
pub mod plmn;
pub mod raw;
pub mod reject;
pub mod time;
pub mod veiled;
