//! What stands in a number field: a telephone number in some notation, a URI, a word that says
//! there is none, a sender's name, or a user name of an exchange.

use crate::normalise::e164::{Dialling, Form};
use crate::normalise::script;
use crate::normalise::sender;
use crate::normalise::uri;
use crate::record::identifier::{Country, Kind};
use crate::record::reject::Reason;

/// Whose number it is: an all-zero calling number is "none delivered", a called `0` is the operator.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Calling,
    Called,
}

/// Longest text that is looked at; longer is no identifier.
const MAX_TEXT: usize = 255;
/// Most symbols kept of a number; more is `NumberLength` in any case.
const MAX_SYMBOLS: usize = 48;
/// Calling line presentation per call (TS 22.030 clause 6.5.5), dialled before the number.
const PRESENTATION: [&[u8]; 2] = [b"*31#", b"#31#"];

pub(crate) type Reading = Result<(Kind, Country), Reason>;

/// Appends the canonical form to `out` and tells its class. `text` is trimmed. On an error `out`
/// may have grown.
pub(crate) fn read(
    dialling: &Dialling,
    text: &[u8],
    side: Side,
    form: Form,
    names: bool,
    out: &mut Vec<u8>,
) -> Reading {
    if text.is_empty() {
        return Ok((Kind::Absent, Country::NONE));
    }
    if form != Form::Alphanumeric {
        // Most numbers are nothing but digits, with or without a `+`.
        let digits = text.strip_prefix(b"+").unwrap_or(text);
        if (1..=MAX_SYMBOLS).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) {
            return digits_or_symbols(dialling, digits, digits.len() < text.len(), side, form, out);
        }
        let mut symbols = Symbols::default();
        if symbols.scan(text) {
            return number(dialling, &symbols, side, form, out);
        }
    }
    if text.len() > MAX_TEXT {
        return Err(Reason::InvalidNumber);
    }
    if text.is_ascii() {
        return other(dialling, text, side, form, names, out);
    }
    let mut folded = [0u8; MAX_TEXT];
    let len = script::fold(text, &mut folded).ok_or(Reason::InvalidNumber)?;
    let folded = folded[..len].trim_ascii();
    let mut symbols = Symbols::default();
    if form != Form::Alphanumeric && symbols.scan(folded) {
        return number(dialling, &symbols, side, form, out);
    }
    other(dialling, folded, side, form, names, out)
}

/// Everything that is not digits and their dressing.
fn other(dialling: &Dialling, text: &[u8], side: Side, form: Form, names: bool, out: &mut Vec<u8>) -> Reading {
    if text.is_empty() {
        return Ok((Kind::Absent, Country::NONE));
    }
    if let Some(kind) = word(text) {
        return Ok((kind, Country::NONE));
    }
    if text.iter().any(u8::is_ascii_control) {
        return Err(Reason::InvalidNumber);
    }
    if let Some(reading) = uri::read(dialling, text, side, out) {
        return reading;
    }
    if names || form == Form::Alphanumeric {
        // A helpline's digits are a helpline's, whatever the type of number says of them.
        if text.iter().all(u8::is_ascii_digit)
            && let Some(kind) = dialling.sensitive(text)
        {
            return Ok((kind, Country::NONE));
        }
        return sender::read(dialling.numbering(), text, out);
    }
    if text.iter().all(|&b| matches!(CLASS[usize::from(b)], Class::Plus | Class::Separator)) {
        return Err(Reason::NumberLength);
    }
    if text[0].is_ascii_digit() || matches!(text[0], b'+' | b'(') {
        return Err(Reason::InvalidNumber);
    }
    out.extend_from_slice(text);
    Ok((Kind::Opaque, Country::NONE))
}

/// Digits with what switches mix into them.
pub(crate) fn number(dialling: &Dialling, symbols: &Symbols, side: Side, form: Form, out: &mut Vec<u8>) -> Reading {
    if symbols.too_long {
        return Err(Reason::NumberLength);
    }
    digits_or_symbols(dialling, symbols.found(), symbols.plus, side, form, out)
}

fn digits_or_symbols(
    dialling: &Dialling,
    mut found: &[u8],
    plus: bool,
    side: Side,
    form: Form,
    out: &mut Vec<u8>,
) -> Reading {
    let form = if plus { Form::International } else { form };
    if form != Form::International {
        found = &found[dialling.porting_prefix(found)..];
        for presentation in PRESENTATION {
            found = found.strip_prefix(presentation).unwrap_or(found);
        }
        if found.len() > 7 {
            let routing = found.iter().take_while(|b| matches!(b, b'a'..=b'e')).count();
            found = &found[routing..];
        }
    }
    if found.is_empty() {
        return Err(Reason::NumberLength);
    }
    if found.iter().all(u8::is_ascii_digit) {
        if found.iter().all(|&b| b == b'0') && !plus {
            return zeros(dialling, found, side, out);
        }
        return dialling.read(found, form, out);
    }
    if matches!(found[0], b'*' | b'#') && !plus {
        return dialling.short(found, out);
    }
    Err(Reason::InvalidNumber)
}

/// `0`, `0000000000`: written by switches that got no calling number; Australia's emergency `000`
/// is in the tables and comes first.
fn zeros(dialling: &Dialling, digits: &[u8], side: Side, out: &mut Vec<u8>) -> Reading {
    let (kind, country) = dialling.short(digits, out)?;
    if kind.is_sensitive() || (side == Side::Called && digits.len() == 1) {
        return Ok((kind, country));
    }
    Ok((Kind::Unavailable, Country::NONE))
}

/// Words that exchanges write instead of a number (case does not matter).
pub(crate) fn word(text: &[u8]) -> Option<Kind> {
    const WORDS: [(&str, Kind); 29] = [
        ("-", Kind::Absent),
        ("--", Kind::Absent),
        ("null", Kind::Absent),
        ("(null)", Kind::Absent),
        ("<null>", Kind::Absent),
        ("\\n", Kind::Absent),
        ("none", Kind::Absent),
        ("n/a", Kind::Absent),
        ("anonymous", Kind::Withheld),
        ("anonymous@anonymous.invalid", Kind::Withheld),
        ("restricted", Kind::Withheld),
        ("withheld", Kind::Withheld),
        ("number withheld", Kind::Withheld),
        ("private", Kind::Withheld),
        ("private number", Kind::Withheld),
        ("blocked", Kind::Withheld),
        ("clir", Kind::Withheld),
        ("unavailable", Kind::Unavailable),
        ("not available", Kind::Unavailable),
        ("unknown", Kind::Unavailable),
        ("unknown caller", Kind::Unavailable),
        ("out of area", Kind::Unavailable),
        ("<unknown>", Kind::Unavailable),
        ("asreceived", Kind::Unavailable),
        ("payphone", Kind::Payphone),
        ("pay phone", Kind::Payphone),
        ("coin", Kind::Payphone),
        ("coin line", Kind::Payphone),
        ("public phone", Kind::Payphone),
    ];
    if text.len() > 28 {
        return None;
    }
    WORDS.iter().find(|(word, _)| text.eq_ignore_ascii_case(word.as_bytes())).map(|(_, kind)| *kind)
}

/// Digits and overdecadic symbols of a text, separators gone, post-dial digits dropped.
pub(crate) struct Symbols {
    buf: [u8; MAX_SYMBOLS],
    len: usize,
    plus: bool,
    too_long: bool,
}

impl Default for Symbols {
    fn default() -> Symbols {
        Symbols { buf: [0; MAX_SYMBOLS], len: 0, plus: false, too_long: false }
    }
}

impl Symbols {
    fn found(&self) -> &[u8] {
        &self.buf[..self.len]
    }

    /// True if the text is a number: digits, separators, one leading `+`, overdecadic symbols, and
    /// then perhaps an extension or post-dial digits. A text that starts with a letter is one only
    /// if at least seven digits follow its `a`–`e`.
    pub(crate) fn scan(&mut self, text: &[u8]) -> bool {
        let mut digits = 0usize;
        for (i, &b) in text.iter().enumerate() {
            match CLASS[usize::from(b)] {
                Class::Digit => {
                    self.push(b);
                    digits += 1;
                }
                Class::Separator => {}
                Class::Plus if !self.plus && (self.len == 0 || PRESENTATION.contains(&self.found())) => {
                    (self.plus, self.len, digits) = (true, 0, 0);
                }
                Class::Stop if digits > 0 => return self.is_number(digits),
                Class::Overdecadic => {
                    let rest = &text[i..];
                    if digits > 0 && rest.len() > 1 && rest[..2].eq_ignore_ascii_case(b"ex") {
                        return self.is_number(digits);
                    }
                    self.push(b.to_ascii_lowercase());
                }
                Class::StarHash => {
                    if digits > 0 && !matches!(self.buf[0], b'*' | b'#') {
                        return self.is_number(digits);
                    }
                    self.push(b);
                }
                Class::Filler if digits > 0 && text[i..].iter().all(|b| b.eq_ignore_ascii_case(&b'f')) => {
                    return self.is_number(digits);
                }
                _ => return false,
            }
        }
        digits > 0 && self.is_number(digits)
    }

    fn is_number(&self, digits: usize) -> bool {
        !matches!(self.buf[0], b'a'..=b'e') || digits >= 7
    }

    fn push(&mut self, b: u8) {
        match self.buf.get_mut(self.len) {
            Some(place) => {
                *place = b;
                self.len += 1;
            }
            None => self.too_long = true,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Digit,
    Separator,
    Plus,
    /// What follows is an extension or was dialled after the answer (may be a PIN: dropped).
    Stop,
    Overdecadic,
    StarHash,
    Filler,
    Other,
}

const CLASS: [Class; 256] = {
    let mut table = [Class::Other; 256];
    let mut b = 0;
    while b < 256 {
        table[b] = match b as u8 {
            b'0'..=b'9' => Class::Digit,
            b' ' | b'-' | b'.' | b'(' | b')' | b'/' => Class::Separator,
            b'+' => Class::Plus,
            b',' | b';' | b'p' | b'P' | b'w' | b'W' | b'x' | b'X' => Class::Stop,
            b'a'..=b'e' | b'A'..=b'E' => Class::Overdecadic,
            b'*' | b'#' => Class::StarHash,
            b'f' | b'F' => Class::Filler,
            _ => Class::Other,
        };
        b += 1;
    }
    table
};
