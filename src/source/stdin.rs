//! Standard input as a source: no position to return to and no protection against re-delivery.

use crate::record::raw::Framing;
use crate::source::{Blocks, Limits, SourceError, from_reader};

/// What messages call standard input.
pub const NAME: &str = "standard input";

/// Reads standard input to its end; compression is told by content as for files.
pub fn open(framing: Framing, limits: Limits) -> Result<Blocks, SourceError> {
    from_reader(Box::new(std::io::stdin()), NAME, framing, limits)
}
