//! Canonical fields, and how the text of each is to be read. A mapping (data under `schemas/cdr`)
//! names them; `decode` finds the text, `normalise` reads it.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Every field a mapping may fill. Whatever a mapping does not name is never kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Field {
    /// Event start; the only mandatory field.
    Start,
    Answer,
    End,
    Duration,
    ANumber,
    BNumber,
    /// Forwarded-to or third party.
    CNumber,
    Imsi,
    Imei,
    /// IP address or other access address of the served party.
    Address,
    /// Type of number / numbering plan of the field beside it (3GPP TS 29.002 coding).
    ATon,
    BTon,
    CTon,
    /// `allowed` or `restricted` (CLIR): the number is present but must not be shown.
    APresentation,
    Service,
    Direction,
    Answered,
    Cause,
    Cell,
    /// Serving network, as MCC and MNC.
    Network,
    TrunkIn,
    TrunkOut,
    Charge,
    Currency,
    BytesUp,
    BytesDown,
    /// Per-feed record sequence number, for gap detection.
    Sequence,
}

impl Field {
    pub const COUNT: usize = 27;
    pub const ALL: [Field; Field::COUNT] = [
        Field::Start,
        Field::Answer,
        Field::End,
        Field::Duration,
        Field::ANumber,
        Field::BNumber,
        Field::CNumber,
        Field::Imsi,
        Field::Imei,
        Field::Address,
        Field::ATon,
        Field::BTon,
        Field::CTon,
        Field::APresentation,
        Field::Service,
        Field::Direction,
        Field::Answered,
        Field::Cause,
        Field::Cell,
        Field::Network,
        Field::TrunkIn,
        Field::TrunkOut,
        Field::Charge,
        Field::Currency,
        Field::BytesUp,
        Field::BytesDown,
        Field::Sequence,
    ];

    /// Name in mapping files; also the column name of our own generic formats.
    pub fn name(self) -> &'static str {
        match self {
            Field::Start => "start",
            Field::Answer => "answer",
            Field::End => "end",
            Field::Duration => "duration",
            Field::ANumber => "a_number",
            Field::BNumber => "b_number",
            Field::CNumber => "c_number",
            Field::Imsi => "imsi",
            Field::Imei => "imei",
            Field::Address => "address",
            Field::ATon => "a_ton",
            Field::BTon => "b_ton",
            Field::CTon => "c_ton",
            Field::APresentation => "a_presentation",
            Field::Service => "service",
            Field::Direction => "direction",
            Field::Answered => "answered",
            Field::Cause => "cause",
            Field::Cell => "cell",
            Field::Network => "network",
            Field::TrunkIn => "trunk_in",
            Field::TrunkOut => "trunk_out",
            Field::Charge => "charge",
            Field::Currency => "currency",
            Field::BytesUp => "bytes_up",
            Field::BytesDown => "bytes_down",
            Field::Sequence => "sequence",
        }
    }

    pub fn from_name(name: &str) -> Option<Field> {
        Field::ALL.into_iter().find(|f| f.name() == name)
    }
}

/// How the text of a field is read.
#[derive(Clone, Debug, PartialEq)]
pub enum Codec {
    /// As it stands; each field then has its own reading in `normalise`.
    Plain,
    /// A date and time.
    Time(TimeFormat),
    /// A whole or decimal number of this unit.
    Duration(DurationUnit),
    /// Signed 32-bit decimal holding an IPv4 address, least significant octet first (Cisco CUCM).
    Ipv4SignedLe,
    /// A closed list of texts, each with the canonical word it stands for; `*` stands for any
    /// other non-empty text.
    Words(Arc<BTreeMap<String, String>>),
    /// A number to be multiplied by this (for instance kibibytes: 1024).
    Scaled(u64),
}

/// Formats of a point in time. Local formats take the feed's zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeFormat {
    /// RFC 3339 with offset or `Z`.
    Rfc3339,
    /// Seconds since 1970-01-01 UTC, with optional decimals.
    UnixSeconds,
    UnixMillis,
    UnixMicros,
    /// A strptime-like pattern of `%Y %m %d %H %M %S %f %y` and literal bytes; read in `zone`.
    Pattern {
        pattern: String,
        zone: TimeZoneChoice,
    },
}

/// Whose clock a local time is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeZoneChoice {
    /// The feed profile's zone.
    Feed,
    Utc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DurationUnit {
    Seconds,
    Millis,
    Micros,
    /// 10 ms ticks.
    Ticks10ms,
    /// `H:MM:SS`.
    Hms,
}

/// One canonical field of a mapping and how to read it.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldSpec {
    pub field: Field,
    pub codec: Codec,
    /// Texts that mean "nothing here" beside the empty one (for instance `0` in CUCM connect times).
    pub null: Vec<String>,
}
