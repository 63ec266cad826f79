//! Classes of identifiers and the tokens that stand where there is nobody to hash.

/// What stands in a party column. Values 1–15 are the class byte of the pseudonym construction
/// (design: privacy.md 1.3 and 2.2); values from 32 are tokens, which are never hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// The record has nothing in this field.
    Absent = 0,
    E164 = 1,
    Imsi = 2,
    /// First 14 digits of IMEI or IMEISV.
    Imei = 3,
    Iccid = 4,
    /// SIP or tel URI that is not a telephone number.
    Uri = 5,
    /// Short code or national-only number, with the country it is dialled in.
    Short = 6,
    /// Public service number (0800, voicemail); a pseudonym class of its own.
    Service = 8,
    Alphanumeric = 10,
    Ip = 11,
    Opaque = 15,
    /// Presentation withheld by the caller and no number delivered.
    Withheld = 32,
    Unavailable = 33,
    Payphone = 34,
    Emergency = 40,
    Helpline = 41,
    /// Alphanumeric sender on the public list of brands.
    Brand = 49,
}

impl Kind {
    pub const ALL: [Kind; 17] = [
        Kind::Absent,
        Kind::E164,
        Kind::Imsi,
        Kind::Imei,
        Kind::Iccid,
        Kind::Uri,
        Kind::Short,
        Kind::Service,
        Kind::Alphanumeric,
        Kind::Ip,
        Kind::Opaque,
        Kind::Withheld,
        Kind::Unavailable,
        Kind::Payphone,
        Kind::Emergency,
        Kind::Helpline,
        Kind::Brand,
    ];

    /// Name in the lake's `…_kind` columns.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Absent => "absent",
            Kind::E164 => "e164",
            Kind::Imsi => "imsi",
            Kind::Imei => "imei",
            Kind::Iccid => "iccid",
            Kind::Uri => "uri",
            Kind::Short => "short",
            Kind::Service => "service",
            Kind::Alphanumeric => "alphanumeric",
            Kind::Ip => "ip",
            Kind::Opaque => "opaque",
            Kind::Withheld => "withheld",
            Kind::Unavailable => "unavailable",
            Kind::Payphone => "payphone",
            Kind::Emergency => "emergency",
            Kind::Helpline => "helpline",
            Kind::Brand => "brand",
        }
    }

    pub fn from_byte(b: u8) -> Option<Kind> {
        Kind::ALL.into_iter().find(|k| *k as u8 == b)
    }

    /// True if there is a canonical identifier to make a pseudonym of.
    #[inline]
    pub fn is_hashed(self) -> bool {
        (1..=15).contains(&(self as u8))
    }

    /// True for the far end of a call that must not be linked to its caller (privacy.md 2.5).
    #[inline]
    pub fn is_sensitive(self) -> bool {
        matches!(self, Kind::Emergency | Kind::Helpline)
    }
}

/// The identifier columns of a record, in the order of every table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Party {
    A = 0,
    B = 1,
    /// Forwarded-to.
    C = 2,
    Imsi = 3,
    Imei = 4,
    Address = 5,
}

impl Party {
    pub const COUNT: usize = 6;
    pub const ALL: [Party; Party::COUNT] = [Party::A, Party::B, Party::C, Party::Imsi, Party::Imei, Party::Address];

    /// Column name in `cdr` and `evidence`.
    pub fn column(self) -> &'static str {
        match self {
            Party::A => "a_party",
            Party::B => "b_party",
            Party::C => "c_party",
            Party::Imsi => "imsi",
            Party::Imei => "imei",
            Party::Address => "address",
        }
    }
}

/// ISO 3166-1 alpha-2, or `Country::NONE`, or `Country::OTHER` (rare, satellite and shared codes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Country(pub [u8; 2]);

impl Country {
    pub const NONE: Country = Country([0, 0]);
    /// `ZZ` of ISO 3166-1's user-assigned range; shown as `other-intl`.
    pub const OTHER: Country = Country(*b"ZZ");

    pub fn name(&self) -> Option<&str> {
        match *self {
            Country::NONE => None,
            Country::OTHER => Some("other-intl"),
            _ => std::str::from_utf8(&self.0).ok(),
        }
    }

    /// Two capital ASCII letters.
    pub fn parse(s: &str) -> Option<Country> {
        match s.as_bytes() {
            [a, b] if a.is_ascii_uppercase() && b.is_ascii_uppercase() => Some(Country([*a, *b])),
            _ => None,
        }
    }
}
