//! Telephone numbers by their digits: E.164, short codes and sensitive services.

use crate::normalise::numbering::{Numbering, Plan};
use crate::normalise::profile::{NationalForm, Profile, ProfileError, TonCoding};
use crate::normalise::trie::Position;
use crate::record::identifier::{Country, Kind};
use crate::record::reject::Reason;

/// Most digits of a number after all prefixes; ITU-T says 15, but longer ones exist (privacy.md 2.1).
const MAX_DIGITS: usize = 20;

/// What the record says the digits are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `+` or type of number "international".
    International,
    /// Type of number "national".
    National,
    /// Type of number "subscriber", "dedicated" or "abbreviated": dialled as it stands.
    AsDialled,
    /// A sender's name, not a number.
    Alphanumeric,
    /// Prefixes and the profile decide.
    Bare,
}

/// A profile's dialling rules, ready for use.
pub(crate) struct Dialling {
    numbering: &'static Numbering,
    home: &'static Plan,
    /// Where national numbers go on in the tables.
    home_at: Position,
    /// Longest first, as are the other lists.
    international: Vec<Vec<u8>>,
    trunk: Vec<u8>,
    carrier: Vec<Vec<u8>>,
    porting: Vec<Vec<u8>>,
    form: NationalForm,
    ton: TonCoding,
}

type Reading = Result<(Kind, Country), Reason>;

impl Dialling {
    pub(crate) fn new(profile: &Profile) -> Result<Dialling, ProfileError> {
        let numbering = Numbering::shipped();
        let home = numbering
            .plan_of(profile.home()?)
            .ok_or_else(|| ProfileError::new("home_country", "no numbering plan is known for this country"))?;
        let mut international = match &profile.international_prefixes {
            Some(stated) => prefixes("international_prefixes", stated, is_digit)?,
            None => home.international.iter().cloned().chain([b"00".to_vec()]).collect(),
        };
        longest_first(&mut international);
        let trunk = match &profile.national_prefix {
            None => home.trunk.clone(),
            Some(none) if none.is_empty() => Vec::new(),
            Some(stated) => prefixes("national_prefix", std::slice::from_ref(stated), is_digit)?.swap_remove(0),
        };
        Ok(Dialling {
            numbering,
            home,
            home_at: numbering.position(home),
            international,
            trunk,
            carrier: prefixes("carrier_prefixes", &profile.carrier_prefixes, is_digit)?,
            porting: prefixes("porting_prefixes", &profile.porting_prefixes, is_symbol)?,
            form: profile.national_form,
            ton: profile.ton,
        })
    }

    pub(crate) fn numbering(&self) -> &'static Numbering {
        self.numbering
    }

    /// Length of the porting prefix that `symbols` (digits, `a`–`e`, `*`, `#`) begins with.
    pub(crate) fn porting_prefix(&self, symbols: &[u8]) -> usize {
        self.porting.iter().find(|p| symbols.len() > p.len() && symbols.starts_with(p)).map_or(0, Vec::len)
    }

    /// Reads a type-of-number column; empty or meaningless is `Bare`.
    pub(crate) fn form(&self, ton: &[u8]) -> Form {
        if ton.is_empty() || self.ton == TonCoding::None {
            return Form::Bare;
        }
        for (word, form) in [
            ("international", Form::International),
            ("national", Form::National),
            ("alphanumeric", Form::Alphanumeric),
            ("subscriber", Form::AsDialled),
            ("abbreviated", Form::AsDialled),
        ] {
            if ton.eq_ignore_ascii_case(word.as_bytes()) {
                return form;
            }
        }
        match (self.ton, type_of_number(self.ton, ton)) {
            (TonCoding::ThreeGpp, Some(1)) | (TonCoding::Isup, Some(4)) => Form::International,
            (TonCoding::ThreeGpp, Some(2)) | (TonCoding::Isup, Some(3)) => Form::National,
            (TonCoding::ThreeGpp, Some(5)) => Form::Alphanumeric,
            (TonCoding::ThreeGpp, Some(4 | 6)) | (TonCoding::Isup, Some(1)) => Form::AsDialled,
            _ => Form::Bare,
        }
    }

    /// Appends the canonical form of `digits` (ASCII `0`–`9`, at least one) to `out`.
    pub(crate) fn read(&self, digits: &[u8], form: Form, out: &mut Vec<u8>) -> Reading {
        match form {
            Form::International => self.international(digits, out),
            Form::National => self.national(digits, out),
            Form::AsDialled => self.short(digits, out),
            Form::Bare | Form::Alphanumeric => self.bare(digits, true, out),
        }
    }

    /// Appends `CC#symbols`: a short code, feature code or national-only number of the home country.
    pub(crate) fn short(&self, symbols: &[u8], out: &mut Vec<u8>) -> Reading {
        if let Some(kind) = self.sensitive(symbols) {
            return Ok((kind, self.home.country));
        }
        short_of(self.home, symbols, out)
    }

    /// Calling code first. Also undoes what people and switches do: `00` after a `+`, the trunk
    /// prefix of `+44 (0)20`, the `1` that Mexican mobile numbers once had.
    fn international(&self, digits: &[u8], out: &mut Vec<u8>) -> Reading {
        let digits = match digits {
            [b'0', ..] => self.after_international_prefix(digits).ok_or(Reason::InvalidNumber)?,
            _ => digits,
        };
        if digits[0] == b'0' {
            return Err(Reason::InvalidNumber);
        }
        let mut walk = self.numbering.walk(digits);
        let Some((index, code_len)) = walk.plan else {
            return if digits.len() <= 6 {
                self.short(digits, out)
            } else {
                whole(digits, Kind::E164, Country::OTHER, out)
            };
        };
        let mut plan = self.numbering.plan(index);
        let (code, mut national) = digits.split_at(usize::from(code_len));
        let mut rebuilt = [0u8; 64];
        let mut digits = digits;
        if let Some(parts) = tidied(plan, national) {
            let mut len = 0;
            for part in [code].iter().chain(&parts) {
                let Some(room) = rebuilt.get_mut(len..len + part.len()) else { return Err(Reason::NumberLength) };
                room.copy_from_slice(part);
                len += part.len();
            }
            digits = &rebuilt[..len];
            walk = self.numbering.walk(digits);
            plan = walk.plan.map_or(plan, |(index, _)| self.numbering.plan(index));
            national = &digits[code.len()..];
        }
        if let Some(kind) = walk.sensitive {
            return Ok((kind, plan.country));
        }
        if digits.len() <= 6
            && let Some(kind) = self.sensitive(digits)
        {
            return Ok((kind, self.home.country));
        }
        if national.len() < plan.shortest() {
            return short_of(plan, national, out);
        }
        whole(digits, if walk.service { Kind::Service } else { Kind::E164 }, plan.country, out)
    }

    fn national(&self, digits: &[u8], out: &mut Vec<u8>) -> Reading {
        if let Some(kind) = self.sensitive(digits) {
            return Ok((kind, self.home.country));
        }
        let digits = self.home.selection.behind(digits).unwrap_or(digits);
        let number = match digits.strip_prefix(&self.trunk[..]) {
            Some(rest) if !self.trunk.is_empty() && (self.trunk == b"0" || self.home.possible(rest.len())) => rest,
            _ => digits,
        };
        self.national_significant(number, digits, out)
    }

    fn national_significant(&self, number: &[u8], dialled: &[u8], out: &mut Vec<u8>) -> Reading {
        if number.len() < self.home.shortest() {
            return match self.sensitive(number) {
                Some(kind) => Ok((kind, self.home.country)),
                None => short_of(self.home, dialled, out),
            };
        }
        self.with_home_code(number, |whole| self.international(whole, out))
    }

    fn bare(&self, digits: &[u8], may_select: bool, out: &mut Vec<u8>) -> Reading {
        if let Some(kind) = self.sensitive(digits) {
            return Ok((kind, self.home.country));
        }
        if may_select && let Some(prefix) = self.carrier.iter().find(|p| digits.starts_with(p)) {
            let rest = &digits[prefix.len()..];
            if rest.len() >= self.home.shortest() {
                return self.bare(rest, false, out);
            }
        }
        if let Some(rest) = self.after_international_prefix(digits) {
            return self.international(rest, out);
        }
        if let Some(rest) = self.home.selection.behind(digits) {
            return self.national(rest, out);
        }
        if !self.trunk.is_empty()
            && let Some(rest) = digits.strip_prefix(&self.trunk[..])
            && (self.trunk == b"0" || self.home.possible(rest.len()))
        {
            return self.national_significant(rest, digits, out);
        }
        self.without_prefix(digits, out)
    }

    fn without_prefix(&self, digits: &[u8], out: &mut Vec<u8>) -> Reading {
        if self.form == NationalForm::International
            && let Some(kind) = self.numbering.walk(digits).sensitive
        {
            return Ok((kind, self.home.country));
        }
        let few = digits.len() < self.home.shortest_subscriber;
        if few || (digits.len() <= 6 && !self.home.trunk.is_empty()) {
            return short_of(self.home, digits, out);
        }
        match self.form {
            NationalForm::National => self.national_significant(digits, digits, out),
            NationalForm::International => self.international(digits, out),
            NationalForm::Auto => {
                let home = digits.strip_prefix(&self.home.code[..]);
                if home.is_some_and(|rest| self.home.possible(rest.len())) {
                    self.international(digits, out)
                } else if self.home.possible(digits.len()) || self.home.selection.argentine_mobile(digits).is_some() {
                    self.national_significant(digits, digits, out)
                } else if digits[0] != b'0' && self.numbering.walk(digits).plan.is_some() {
                    self.international(digits, out)
                } else {
                    short_of(self.home, digits, out)
                }
            }
        }
    }

    /// What follows an international prefix. Where several fit (`00` and a carrier's `0015`), the
    /// shortest that leaves a possible number is meant, else the longest.
    fn after_international_prefix<'d>(&self, digits: &'d [u8]) -> Option<&'d [u8]> {
        let fitting = || self.international.iter().filter_map(|p| digits.strip_prefix(&p[..]));
        let longest = fitting().next()?;
        let rest = match fitting().nth(1) {
            None => longest,
            Some(_) => fitting().rev().find(|rest| self.is_possible(rest)).unwrap_or(longest),
        };
        (!rest.is_empty() && rest[0] != b'0').then_some(rest)
    }

    /// An assigned calling code, and as many digits as numbers under it have.
    fn is_possible(&self, digits: &[u8]) -> bool {
        self.numbering.walk(digits).plan.is_some_and(|(index, code_len)| {
            let national = &digits[usize::from(code_len)..];
            let begins = digits[0] != b'1' || national.first().is_some_and(|b| *b >= b'2');
            begins && self.numbering.plan(index).possible(national.len())
        })
    }

    pub(crate) fn sensitive(&self, dialled: &[u8]) -> Option<Kind> {
        self.numbering.walk_from(self.home_at, dialled).sensitive
    }

    fn with_home_code<T>(&self, number: &[u8], then: impl FnOnce(&[u8]) -> T) -> T {
        let mut whole = [0u8; 72];
        let code = &self.home.code;
        let number = &number[..number.len().min(whole.len() - code.len())];
        whole[..code.len()].copy_from_slice(code);
        whole[code.len()..code.len() + number.len()].copy_from_slice(number);
        then(&whole[..code.len() + number.len()])
    }
}

/// `+` and the digits.
fn whole(digits: &[u8], kind: Kind, country: Country, out: &mut Vec<u8>) -> Reading {
    if digits.len() > MAX_DIGITS {
        return Err(Reason::NumberLength);
    }
    out.push(b'+');
    out.extend_from_slice(digits);
    Ok((kind, country))
}

fn short_of(plan: &Plan, symbols: &[u8], out: &mut Vec<u8>) -> Reading {
    if symbols.is_empty() || symbols.len() > MAX_DIGITS {
        return Err(Reason::NumberLength);
    }
    out.extend_from_slice(&plan.code);
    out.push(b'#');
    out.extend_from_slice(symbols);
    Ok((Kind::Short, plan.country))
}

/// The national number in parts, where it is not written as abroad: a carrier's code, a trunk `0`
/// or Mexico's former mobile `1` before it, or Argentina's mobile `15` inside it.
fn tidied<'n>(plan: &Plan, national: &'n [u8]) -> Option<[&'n [u8]; 3]> {
    let number = match plan.selection.behind(national).unwrap_or(national) {
        [b'0', rest @ ..] if plan.trunk == b"0" && rest.first().is_some_and(|&b| b != b'0') => rest,
        [b'1', rest @ ..] if plan.code == b"52" && rest.len() == 10 => rest,
        whole => whole,
    };
    match plan.selection.argentine_mobile(number) {
        Some((area, subscriber)) => Some([b"9", area, subscriber]),
        None => (number.len() < national.len()).then_some([number, b"", b""]),
    }
}

/// The number behind a TON digit, or inside the octet `91` (hexadecimal) or `145` (decimal).
fn type_of_number(coding: TonCoding, text: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(text).ok()?;
    match (coding, text.len()) {
        (_, 1) => text.parse().ok(),
        (TonCoding::ThreeGpp, 2) => u8::from_str_radix(text, 16).ok().map(|octet| octet >> 4 & 7),
        (TonCoding::ThreeGpp, 3) => text.parse::<u8>().ok().map(|octet| octet >> 4 & 7),
        _ => text.parse().ok(),
    }
}

fn prefixes(setting: &'static str, stated: &[String], allowed: fn(u8) -> bool) -> Result<Vec<Vec<u8>>, ProfileError> {
    let mut list = Vec::new();
    for prefix in stated {
        let prefix = prefix.to_ascii_lowercase().into_bytes();
        if prefix.is_empty() || prefix.len() > 12 || !prefix.iter().all(|&b| allowed(b)) {
            return Err(ProfileError::new(setting, "a prefix is 1 to 12 digits"));
        }
        list.push(prefix);
    }
    longest_first(&mut list);
    Ok(list)
}

fn longest_first(list: &mut [Vec<u8>]) {
    list.sort_by_key(|p| std::cmp::Reverse(p.len()));
}

fn is_digit(b: u8) -> bool {
    b.is_ascii_digit()
}

fn is_symbol(b: u8) -> bool {
    b.is_ascii_digit() || matches!(b, b'a'..=b'e' | b'*' | b'#')
}
