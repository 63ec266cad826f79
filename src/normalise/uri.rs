//! `tel:`, `sip:` and `sips:` URIs (RFC 3966, RFC 3261), with or without a display name.

use crate::normalise::e164::{Dialling, Form};
use crate::normalise::party::{self, Reading, Side, Symbols};
use crate::record::identifier::{Country, Kind};
use crate::record::reject::Reason;

/// `None` if the text is no URI and has no display name. `text` is trimmed, without controls, and
/// at most 255 bytes long.
pub(crate) fn read(dialling: &Dialling, text: &[u8], side: Side, out: &mut Vec<u8>) -> Option<Reading> {
    if let Some(open) = text.iter().rposition(|&b| b == b'<') {
        let inner = &text[open + 1..];
        let Some(close) = inner.iter().position(|&b| b == b'>') else { return Some(Err(Reason::InvalidUri)) };
        return Some(addressed(dialling, inner[..close].trim_ascii(), side, out));
    }
    if let Some(rest) = after_scheme(text, b"tel:") {
        return Some(telephone(dialling, rest, side, out));
    }
    if let Some(rest) = after_scheme(text, b"sips:").or_else(|| after_scheme(text, b"sip:")) {
        return Some(sip(dialling, rest, side, out));
    }
    if after_scheme(text, b"urn:service:sos").is_some() {
        return Some(Ok((Kind::Emergency, Country::NONE)));
    }
    let at = text.iter().position(|&b| b == b'@')?;
    let user_has_scheme = text[..at].contains(&b':');
    (!user_has_scheme && !text.contains(&b' ')).then(|| sip(dialling, text, side, out))
}

/// What stood between `<` and `>`: a URI, or the bare number or name of a caller-id string.
fn addressed(dialling: &Dialling, inner: &[u8], side: Side, out: &mut Vec<u8>) -> Reading {
    party::read(dialling, inner, side, Form::Bare, false, out)
}

/// The part after `tel:`. A `phone-context` that is a number says where a local number is valid.
fn telephone(dialling: &Dialling, rest: &[u8], side: Side, out: &mut Vec<u8>) -> Reading {
    let mut decoded = [0u8; 256];
    let rest = percent_decode(rest, &mut decoded).ok_or(Reason::InvalidUri)?;
    let mut parts = rest.split(|&b| b == b';');
    let number = parts.next().unwrap_or_default().trim_ascii();
    let context = parts.find_map(|p| after_scheme(p, b"phone-context=")).filter(|c| c.starts_with(b"+"));
    local(dialling, number, context, side, out).unwrap_or(Err(Reason::InvalidUri))
}

/// The part after `sip:`, or a bare `user@host`.
fn sip(dialling: &Dialling, rest: &[u8], side: Side, out: &mut Vec<u8>) -> Reading {
    let rest = rest.split(|&b| b == b'?').next().unwrap_or_default();
    if rest.iter().any(|&b| b == b' ' || b == b'"') {
        return Err(Reason::InvalidUri);
    }
    let (userinfo, host) = match rest.iter().rposition(|&b| b == b'@') {
        Some(at) => (&rest[..at], &rest[at + 1..]),
        None => (&b""[..], rest),
    };
    let has_user = userinfo.len() + host.len() < rest.len();
    let host = host.split(|&b| b == b';').next().unwrap_or_default();
    // Cut before decoding: an escaped `;` or `:` belongs to the name.
    let mut parts = userinfo.split(|&b| b == b';');
    let user = parts.next().unwrap_or_default().split(|&b| b == b':').next().unwrap_or_default();
    let (mut user_buf, mut context_buf) = ([0u8; 256], [0u8; 256]);
    let user = percent_decode(user, &mut user_buf).ok_or(Reason::InvalidUri)?;
    let context = parts.find_map(|p| after_scheme(p, b"phone-context=")).unwrap_or_default();
    let context =
        Some(percent_decode(context, &mut context_buf).ok_or(Reason::InvalidUri)?).filter(|c| c.starts_with(b"+"));
    if host.is_empty() || (has_user && user.is_empty()) {
        return Err(Reason::InvalidUri);
    }
    if host.eq_ignore_ascii_case(b"anonymous.invalid") {
        return Ok((Kind::Withheld, Country::NONE));
    }
    if let Some(kind) = party::word(user) {
        return Ok((kind, Country::NONE));
    }
    if let Some(reading) = local(dialling, user, context, side, out) {
        return reading;
    }
    canonical(user, host, out)
}

/// Reads a user part or subscriber as a number; `None` if it is a name.
fn local(dialling: &Dialling, number: &[u8], context: Option<&[u8]>, side: Side, out: &mut Vec<u8>) -> Option<Reading> {
    let mut symbols = Symbols::default();
    if !symbols.scan(number) {
        return None;
    }
    let Some(context) = context.filter(|_| !number.starts_with(b"+")) else {
        return Some(party::number(dialling, &symbols, side, Form::Bare, out));
    };
    let mut joined = [0u8; 128];
    let (Some(room), tail) = (joined.get_mut(..context.len() + number.len()), context.len()) else {
        return Some(Err(Reason::NumberLength));
    };
    room[..tail].copy_from_slice(context);
    room[tail..].copy_from_slice(number);
    let mut symbols = Symbols::default();
    if !symbols.scan(room) {
        return Some(Err(Reason::InvalidUri));
    }
    Some(party::number(dialling, &symbols, side, Form::International, out))
}

/// `sip:user@host`: user as it is, host in lower case, standard ports, parameters and headers gone.
fn canonical(user: &[u8], host: &[u8], out: &mut Vec<u8>) -> Reading {
    let host = host.strip_suffix(b":5060").or_else(|| host.strip_suffix(b":5061")).unwrap_or(host);
    let fits = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    if host.is_empty() || !host.iter().all(fits) || user.iter().any(|b| b.is_ascii_control()) {
        return Err(Reason::InvalidUri);
    }
    out.extend_from_slice(b"sip:");
    if !user.is_empty() {
        out.extend_from_slice(user);
        out.push(b'@');
    }
    out.extend(host.iter().map(u8::to_ascii_lowercase));
    Ok((Kind::Uri, Country::NONE))
}

fn after_scheme<'t>(text: &'t [u8], scheme: &[u8]) -> Option<&'t [u8]> {
    let (head, rest) = text.split_at_checked(scheme.len())?;
    head.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// `None` for a broken escape or a decoded control.
fn percent_decode<'b>(text: &[u8], buf: &'b mut [u8; 256]) -> Option<&'b [u8]> {
    let (mut from, mut len) = (0, 0);
    while from < text.len() {
        let mut b = text[from];
        from += 1;
        if b == b'%' {
            let digits = std::str::from_utf8(text.get(from..from + 2)?).ok()?;
            b = u8::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))?;
            from += 2;
            if b.is_ascii_control() {
                return None;
            }
        }
        *buf.get_mut(len)? = b;
        len += 1;
    }
    Some(&buf[..len])
}
