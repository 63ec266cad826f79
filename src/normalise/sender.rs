//! Alphanumeric senders of messages (TS 23.040 9.1.2.5: at most 11 characters).

use crate::normalise::numbering::Numbering;
use crate::record::identifier::{Country, Kind};
use crate::record::reject::Reason;

const MAX_CHARS: usize = 11;

/// `text` is trimmed, full-width forms are ASCII already. Canonical: upper case, runs of spaces as
/// one. A name on the list of brands is a token: it is nobody's.
pub(crate) fn read(numbering: &Numbering, text: &[u8], out: &mut Vec<u8>) -> Result<(Kind, Country), Reason> {
    let name = std::str::from_utf8(text).map_err(|_| Reason::InvalidNumber)?;
    let start = out.len();
    let (mut chars, mut spaced) = (0, false);
    for c in name.chars() {
        if c == ' ' && spaced {
            continue;
        }
        spaced = c == ' ';
        chars += 1;
        if c.is_control() || chars > MAX_CHARS {
            return Err(Reason::InvalidNumber);
        }
        for upper in c.to_uppercase() {
            out.extend_from_slice(upper.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    if numbering.is_brand(&out[start..]) {
        out.truncate(start);
        return Ok((Kind::Brand, Country::NONE));
    }
    Ok((Kind::Alphanumeric, Country::NONE))
}
