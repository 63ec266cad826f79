//! Damage as real feeds show it. Each kind keeps the row on one line.

use std::ops::Range;

use super::random::Random;

/// Where, in the output buffer, the parts of the row stand that breakage goes for.
#[derive(Default)]
pub struct Marks {
    pub row: Range<usize>,
    pub time: Range<usize>,
    pub number: Range<usize>,
}

const KINDS: u64 = 8;

/// Damages the last row of `out`.
pub fn damage(out: &mut Vec<u8>, marks: &Marks, random: &mut Random) {
    let time = marks.time.clone();
    let number = marks.number.clone();
    match random.below(KINDS) {
        // a date that does not exist
        0 => out[time].iter_mut().filter(|b| b.is_ascii_digit()).for_each(|b| *b = b'9'),
        // no date at all
        1 => out[time].iter_mut().for_each(|b| *b = b'x'),
        // cut off: columns missing
        2 => out.truncate((marks.row.start + 1).max(time.start.min(number.start))),
        // letters in a number
        3 => drop(out.splice(number.start..number.start, *b"12x4y")),
        // a number of forty digits
        4 => drop(out.splice(number, [b'7'; 40])),
        // NUL
        5 => out.insert(number.start, 0),
        // not UTF-8
        6 => out.insert(number.start, 0xff),
        // an unbalanced quote
        _ => out.insert(number.start + usize::from(!number.is_empty()), b'"'),
    }
}
