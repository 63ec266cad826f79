//! Why a record was refused or left out. Codes and positions only, never content.

/// Reason codes of quarantined records: stable names that operators script against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Reason {
    ColumnCount,
    UnbalancedQuote,
    InvalidUtf8,
    NulByte,
    RecordTooLong,
    InvalidJson,
    MissingField,
    InvalidTime,
    NonexistentTime,
    AmbiguousTime,
    InvalidDuration,
    InvalidNumber,
    NumberLength,
    InvalidImsi,
    InvalidImei,
    InvalidAddress,
    InvalidUri,
    InvalidDirection,
    InvalidService,
    InvalidAnswered,
    InvalidVolume,
    InvalidCharge,
    InvalidCurrency,
    InvalidNetwork,
    InvalidCause,
    UnknownRecordType,
    LateEvent,
    FutureEvent,
    NoEpochKey,
    Unpaired,
    TruncatedRecord,
    InvalidText,
    MessageBomb,
    MessageDamaged,
    MessageUnsupported,
    MessageTooLong,
    MessageHeader,
}

impl Reason {
    pub const ALL: [Reason; 37] = [
        Reason::ColumnCount,
        Reason::UnbalancedQuote,
        Reason::InvalidUtf8,
        Reason::NulByte,
        Reason::RecordTooLong,
        Reason::InvalidJson,
        Reason::MissingField,
        Reason::InvalidTime,
        Reason::NonexistentTime,
        Reason::AmbiguousTime,
        Reason::InvalidDuration,
        Reason::InvalidNumber,
        Reason::NumberLength,
        Reason::InvalidImsi,
        Reason::InvalidImei,
        Reason::InvalidAddress,
        Reason::InvalidUri,
        Reason::InvalidDirection,
        Reason::InvalidService,
        Reason::InvalidAnswered,
        Reason::InvalidVolume,
        Reason::InvalidCharge,
        Reason::InvalidCurrency,
        Reason::InvalidNetwork,
        Reason::InvalidCause,
        Reason::UnknownRecordType,
        Reason::LateEvent,
        Reason::FutureEvent,
        Reason::NoEpochKey,
        Reason::Unpaired,
        Reason::TruncatedRecord,
        Reason::InvalidText,
        Reason::MessageBomb,
        Reason::MessageDamaged,
        Reason::MessageUnsupported,
        Reason::MessageTooLong,
        Reason::MessageHeader,
    ];

    /// The reason that has this code.
    pub fn of_code(code: &str) -> Option<Reason> {
        Reason::ALL.into_iter().find(|r| r.code() == code)
    }

    /// The stable code written to the quarantine table and the summary.
    pub fn code(self) -> &'static str {
        match self {
            Reason::ColumnCount => "column_count",
            Reason::UnbalancedQuote => "unbalanced_quote",
            Reason::InvalidUtf8 => "invalid_utf8",
            Reason::NulByte => "nul_byte",
            Reason::RecordTooLong => "record_too_long",
            Reason::InvalidJson => "invalid_json",
            Reason::MissingField => "missing_field",
            Reason::InvalidTime => "invalid_time",
            Reason::NonexistentTime => "nonexistent_time",
            Reason::AmbiguousTime => "ambiguous_time",
            Reason::InvalidDuration => "invalid_duration",
            Reason::InvalidNumber => "invalid_number",
            Reason::NumberLength => "number_length",
            Reason::InvalidImsi => "invalid_imsi",
            Reason::InvalidImei => "invalid_imei",
            Reason::InvalidAddress => "invalid_address",
            Reason::InvalidUri => "invalid_uri",
            Reason::InvalidDirection => "invalid_direction",
            Reason::InvalidService => "invalid_service",
            Reason::InvalidAnswered => "invalid_answered",
            Reason::InvalidVolume => "invalid_volume",
            Reason::InvalidCharge => "invalid_charge",
            Reason::InvalidCurrency => "invalid_currency",
            Reason::InvalidNetwork => "invalid_network",
            Reason::InvalidCause => "invalid_cause",
            Reason::UnknownRecordType => "unknown_record_type",
            Reason::LateEvent => "late_event",
            Reason::FutureEvent => "future_event",
            Reason::NoEpochKey => "no_epoch_key",
            Reason::Unpaired => "unpaired",
            Reason::TruncatedRecord => "truncated_record",
            Reason::InvalidText => "invalid_text",
            Reason::MessageBomb => "message_bomb",
            Reason::MessageDamaged => "message_damaged",
            Reason::MessageUnsupported => "message_unsupported",
            Reason::MessageTooLong => "message_too_long",
            Reason::MessageHeader => "message_header",
        }
    }
}

/// One refused record: which record of its `Decoded` batch, why, and (1-based) which input column
/// broke the rule, 0 when it was the record as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    pub record: u32,
    pub reason: Reason,
    pub column: u16,
}
