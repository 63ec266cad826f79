//! Digits, signs and spaces of other scripts to ASCII.

/// Zero of each script whose digits stand in a row (Unicode category Nd, those in telephone use).
const ZEROS: [u32; 24] = [
    0x0660, 0x06F0, 0x07C0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6, 0x0D66, 0x0DE6, 0x0E50,
    0x0ED0, 0x0F20, 0x1040, 0x17E0, 0x1810, 0x1946, 0x19D0, 0xA620, 0xABF0, 0xFF10,
];

/// Writes `text` to `out`: digits and full-width forms as ASCII, dashes as `-`, spaces as one
/// space, invisible marks gone, everything else as it is. `None` if it is not UTF-8 or too long.
pub(crate) fn fold(text: &[u8], out: &mut [u8]) -> Option<usize> {
    let text = std::str::from_utf8(text).ok()?;
    let mut len = 0;
    for c in text.chars() {
        let Some(c) = fold_char(c) else { continue };
        let end = len + c.len_utf8();
        c.encode_utf8(out.get_mut(len..end)?);
        len = end;
    }
    Some(len)
}

/// `None` for marks that are not seen: joiners, direction marks, byte order mark, soft hyphen.
fn fold_char(c: char) -> Option<char> {
    let code = c as u32;
    if code < 0x80 {
        return Some(c);
    }
    if let Some(zero) = ZEROS.iter().find(|&&zero| (zero..zero + 10).contains(&code)) {
        return char::from_u32(0x30 + code - zero);
    }
    match code {
        0x00AD | 0x061C | 0x180E | 0x200B..=0x200F | 0x202A..=0x202E | 0x2060..=0x2064 | 0x2066..=0x2069 | 0xFEFF => {
            None
        }
        0x00A0 | 0x1680 | 0x2000..=0x200A | 0x202F | 0x205F | 0x3000 => Some(' '),
        0x2010..=0x2015 | 0x2212 | 0xFE58 | 0xFE63 => Some('-'),
        0xFE62 => Some('+'),
        0xFF01..=0xFF5E => char::from_u32(code - 0xFEE0),
        _ => Some(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> String {
        let mut out = [0; 255];
        let len = fold(text.as_bytes(), &mut out).unwrap();
        String::from_utf8(out[..len].to_vec()).unwrap()
    }

    #[test]
    fn digits_of_every_listed_script_become_ascii() {
        for zero in ZEROS {
            let text: String = (0..10).map(|d| char::from_u32(zero + d).unwrap()).collect();
            assert_eq!(folded(&text), "0123456789", "{zero:x}");
            assert!(text.chars().all(char::is_numeric), "{zero:x} is no digit");
        }
    }

    #[test]
    fn full_width_signs_dashes_and_invisible_marks() {
        assert_eq!(folded("＋３２\u{2011}（４７０）\u{200e}\u{a0}１２"), "+32-(470) 12");
        assert_eq!(folded("Ａb\u{e9}"), "Ab\u{e9}");
        assert_eq!(fold(&[0xff, 0xfe], &mut [0; 9]), None);
        assert_eq!(fold("éé".as_bytes(), &mut [0; 3]), None);
    }
}
