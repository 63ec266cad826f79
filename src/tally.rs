//! Counting before anything is released: cells of a cube, their sums, and who is behind them.
//!
//! `Partial` is the hot end (a block of records in, cells out), `contract` how partials stand in
//! the lake table `tally`, `windows` when a window may be judged. Nothing here is safe to publish:
//! cells hold keyed tokens and exact sums; `release` decides.

pub mod cell;
pub mod contract;
pub mod contributors;
pub mod cube;
pub mod distinct;
pub mod partial;
pub mod windows;

pub use contract::{delta_columns, schema};
pub use cube::Cube;
pub use partial::Partial;
