//! What may be shown of a tally, and to whom.
//!
//! In this order, decided for the internal audience first (what it is denied, the external one is
//! denied too):
//!
//! 1. thresholds: at least k distinct subscribers on each side that the service has;
//! 2. dominance: no sum of which one party makes more than 50 %, or two more than 80 %, judged by
//!    upper bounds; charges are not shown outside as long as partners are not counted;
//! 3. complementary suppression: `traffic_hourly` publishes no margin. Its cells are disjoint, no
//!    published value is the sum of others, so a withheld cell stands in no equation with
//!    published ones, and there is nothing to protect by withholding more. `Cube::parse` refuses a
//!    cube with margins until this module can protect them;
//! 4. rounding to the measure's base.
//!
//! A window is released as a vintage. Later records make the next one only if what they add to
//! what was published passes every rule as a cell by itself, so the difference of two vintages is
//! a cell that could have been published. A party count moves only when at least k parties are new.
//! Nothing is rewritten.

pub mod released;
pub mod rules;
pub mod table;
pub mod window;
