//! Canonical records in clear. They live in memory only, between `normalise` and `seal`.

use super::decoded::Span;
use super::identifier::{Country, Kind, Party};
use super::plmn::Plmn;

/// What the call was; the `service` column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Service {
    Voice = 0,
    Sms = 1,
    Data = 2,
}

impl Service {
    pub const ALL: [Service; 3] = [Service::Voice, Service::Sms, Service::Data];

    pub fn name(self) -> &'static str {
        match self {
            Service::Voice => "voice",
            Service::Sms => "sms",
            Service::Data => "data",
        }
    }
}

/// Mobile originated, mobile terminated, transit, or not stated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Direction {
    Unknown = 0,
    Originating = 1,
    Terminating = 2,
    Transit = 3,
}

impl Direction {
    pub const ALL: [Direction; 4] =
        [Direction::Unknown, Direction::Originating, Direction::Terminating, Direction::Transit];

    pub fn name(self) -> &'static str {
        match self {
            Direction::Unknown => "unknown",
            Direction::Originating => "MO",
            Direction::Terminating => "MT",
            Direction::Transit => "transit",
        }
    }
}

/// Whether the call was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Answered {
    Unknown = 0,
    No = 1,
    Yes = 2,
}

/// Release cause, coarse (from ITU-T Q.850 cause values or SIP status codes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum CauseClass {
    Unknown = 0,
    /// Normal clearing (Q.850 16, 31; SIP 200).
    Normal = 1,
    /// User busy (17; SIP 486, 600).
    Busy = 2,
    /// No answer, user absent (18, 19, 20; SIP 408, 480, 487).
    NoAnswer = 3,
    /// Rejected by the user (21; SIP 403, 603).
    Rejected = 4,
    /// No such number or destination (1, 2, 3, 22, 27, 28; SIP 404, 410, 484).
    NoRoute = 5,
    /// Congestion or network failure (34, 38, 41, 42, 44, 47; SIP 5xx).
    Network = 6,
    Other = 7,
}

impl CauseClass {
    pub const ALL: [CauseClass; 8] = [
        CauseClass::Unknown,
        CauseClass::Normal,
        CauseClass::Busy,
        CauseClass::NoAnswer,
        CauseClass::Rejected,
        CauseClass::NoRoute,
        CauseClass::Network,
        CauseClass::Other,
    ];

    pub fn name(self) -> &'static str {
        match self {
            CauseClass::Unknown => "unknown",
            CauseClass::Normal => "normal",
            CauseClass::Busy => "busy",
            CauseClass::NoAnswer => "no_answer",
            CauseClass::Rejected => "rejected",
            CauseClass::NoRoute => "no_route",
            CauseClass::Network => "network",
            CauseClass::Other => "other",
        }
    }
}

/// One identifier column: a class or token per row, and where its canonical form stands.
#[derive(Default)]
pub struct IdColumn {
    pub kinds: Vec<Kind>,
    /// Into `Clear::text`; `Span::NONE` where `kinds` says there is nothing to hash.
    pub spans: Vec<Span>,
}

/// A columnar batch of canonical records; every vector has one entry per row.
///
/// No `Debug`, and wiped when dropped.
#[derive(Default)]
pub struct Clear {
    /// Canonical forms of identifiers and texts, one after another.
    pub text: Vec<u8>,
    /// Index into `Decoded::records` of the raw record each row came from.
    pub record: Vec<u32>,
    pub service: Vec<Service>,
    pub direction: Vec<Direction>,
    /// Event start, milliseconds since 1970-01-01 UTC.
    pub start_ms: Vec<i64>,
    /// Seconds; `ABSENT_U32` where not stated.
    pub duration_s: Vec<u32>,
    pub answered: Vec<Answered>,
    pub cause: Vec<CauseClass>,
    /// Octets; `ABSENT_U64` where not stated.
    pub bytes_up: Vec<u64>,
    pub bytes_down: Vec<u64>,
    /// Millionths of the currency unit; `ABSENT_I64` where not stated.
    pub charge_micro: Vec<i64>,
    /// ISO 4217; zeros where not stated.
    pub currency: Vec<[u8; 3]>,
    /// Serving (visited) network.
    pub network: Vec<Plmn>,
    /// Home network, from the IMSI.
    pub home_network: Vec<Plmn>,
    pub parties: [IdColumn; Party::COUNT],
    pub a_country: Vec<Country>,
    pub b_country: Vec<Country>,
    /// Into `text`.
    pub cell: Vec<Span>,
    pub trunk_in: Vec<Span>,
    pub trunk_out: Vec<Span>,
    /// The other end is a sensitive service: nobody in this record may be linkable.
    pub sensitive: Vec<bool>,
    /// Presentation restricted (CLIR); the number is still there.
    pub restricted: Vec<bool>,
    /// Feed sequence number; `ABSENT_U64` where not stated.
    pub sequence: Vec<u64>,
}

pub const ABSENT_U32: u32 = u32::MAX;
pub const ABSENT_U64: u64 = u64::MAX;
pub const ABSENT_I64: i64 = i64::MIN;

impl Clear {
    pub fn rows(&self) -> usize {
        self.start_ms.len()
    }

    /// The canonical form in one party column of one row; empty where there is nothing to hash.
    pub fn identifier(&self, party: Party, row: usize) -> &[u8] {
        self.parties[party as usize].spans[row].of(&self.text)
    }
}

impl Drop for Clear {
    fn drop(&mut self) {
        wipe(&mut self.text);
    }
}

/// Overwrites a buffer that held clear bytes, whatever it grew to, before its memory goes on to
/// others. As fast as memory takes it: `zeroize` writes byte by byte, which shows at megabytes a
/// block.
pub fn wipe(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.resize(buffer.capacity(), 0);
    std::hint::black_box(&*buffer);
    buffer.clear();
}
