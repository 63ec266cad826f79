//! # Threats
//!
//! **Enumeration.** There are some 10^11 telephone numbers, and a machine hashes millions a second.
//! So an unkeyed or publicly salted hash hides nothing, and a slow one little more: only a secret
//! key does, and it protects as long as it is secret. The key of a month *is* the mapping table of
//! that month; keys are random, monthly, held by few, and can be destroyed.
//!
//! **The known call.** Who took part in one call knows its second and length. With exact times in
//! the lake they would find their own row in it, and beside it the other party's pseudonym, and with
//! that a month of the other party's calls. So what stands beside a pseudonym is coarse by
//! construction: 15 minutes, buckets, no location. Exact measures go into tallies and into sealed
//! evidence only.
//!
//! **Order and timing.** Rows in arrival order would give the exact second back. Rows of a block are
//! sorted by pseudonym; what remains is the interval between two commits.
//!
//! **The oracle.** Who may feed records and read the lake can ask for any number's pseudonym. These
//! are two roles; `generate` uses ranges that are nobody's wherever such ranges exist.
//!
//! **Small cells.** A count of one is a person, and so is a difference of two published counts.
//! Cells are released under a threshold of distinct subscribers on each side and with dominance on
//! each sum; a later vintage of a cell is released only if what it adds passes by itself. Tokens such
//! as *withheld* count as nobody.
//!
//! **Sensitive calls.** A call to a helpline is told by its number alone. Sensitive numbers (data
//! under `schemas/numbering`, with source and date) become a category; the caller gets a random
//! pseudonym that links to nothing; the record counts in a national daily figure at most.
//!
//! **Leaks on the side.** Parsers quote their input in errors. No such message is passed on; errors
//! carry position and code. `tests/leaks.rs` runs marked identifiers along every path and looks for
//! their bytes in many encodings, with a planted control that must be found.
//!
//! **Hostile input.** A line of a gibibyte, a gzip bomb, an unbalanced quote, NUL: memory is bounded
//! whatever comes in, and what cannot be read goes to a sealed quarantine.
//!
//! **A captured ingest node** holds the keys of the months still open and what is in memory. It holds
//! nothing that opens what was sealed.
