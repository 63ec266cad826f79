//! Closed lists of words: service, direction, answered, cause, presentation.

use crate::normalise::measures::unsigned;
use crate::record::clear::{Answered, CauseClass, Direction, Service};
use crate::record::reject::Reason;

/// Whether a caller's number may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presentation {
    Allowed,
    Restricted,
    Unavailable,
}

fn is(text: &[u8], words: &[&str]) -> bool {
    words.iter().any(|w| text.eq_ignore_ascii_case(w.as_bytes()))
}

pub(crate) fn service(text: &[u8]) -> Result<Service, Reason> {
    Service::ALL.into_iter().find(|s| is(text, &[s.name()])).ok_or(Reason::InvalidService)
}

/// `MO`, `MT`, `transit`, their long names, `unknown`. Words like "inbound" are a matter of whose
/// point of view it is, so a mapping must translate them.
pub(crate) fn direction(text: &[u8]) -> Result<Direction, Reason> {
    match text {
        _ if is(text, &["MO", "MOC", "originating"]) => Ok(Direction::Originating),
        _ if is(text, &["MT", "MTC", "terminating"]) => Ok(Direction::Terminating),
        _ if is(text, &["transit"]) => Ok(Direction::Transit),
        _ if is(text, &["unknown"]) => Ok(Direction::Unknown),
        _ => Err(Reason::InvalidDirection),
    }
}

pub(crate) fn answered(text: &[u8]) -> Result<Answered, Reason> {
    match text {
        _ if is(text, &["yes", "true", "1", "answered"]) => Ok(Answered::Yes),
        _ if is(text, &["no", "false", "0", "unanswered"]) => Ok(Answered::No),
        _ if is(text, &["unknown"]) => Ok(Answered::Unknown),
        _ => Err(Reason::InvalidAnswered),
    }
}

/// Presentation indicator as a word or as in TS 24.008 (0 allowed, 1 restricted, 2 unavailable).
/// A word that is not known counts as restricted: the careful reading.
pub(crate) fn presentation(text: &[u8]) -> Presentation {
    let starts = |word: &str| text.len() >= word.len() && text[..word.len()].eq_ignore_ascii_case(word.as_bytes());
    match text {
        _ if text.is_empty() || text == b"0" || starts("allowed") => Presentation::Allowed,
        _ if text == b"2" || starts("unavailable") => Presentation::Unavailable,
        _ => Presentation::Restricted,
    }
}

/// A Q.850 cause value (0–127), a SIP status (200–699), another number (`Other`: systems have
/// their own), or one of the words below.
pub(crate) fn cause(text: &[u8]) -> Result<CauseClass, Reason> {
    if let Some(number) = unsigned(text) {
        return Ok(match number {
            0..=127 => q850(number as u8),
            200..=699 => sip(number as u16),
            _ => CauseClass::Other,
        });
    }
    if let Some(class) = CauseClass::ALL.into_iter().find(|c| is(text, &[c.name()])) {
        return Ok(class);
    }
    CAUSES.iter().find(|(word, _)| is(text, &[word])).map(|(_, class)| *class).ok_or(Reason::InvalidCause)
}

fn q850(value: u8) -> CauseClass {
    match value {
        0 => CauseClass::Unknown,
        16 | 31 => CauseClass::Normal,
        17 => CauseClass::Busy,
        18..=20 => CauseClass::NoAnswer,
        21 => CauseClass::Rejected,
        1..=3 | 22 | 27 | 28 => CauseClass::NoRoute,
        34 | 38 | 41 | 42 | 44 | 47 => CauseClass::Network,
        _ => CauseClass::Other,
    }
}

fn sip(status: u16) -> CauseClass {
    match status {
        200..=299 => CauseClass::Normal,
        486 | 600 => CauseClass::Busy,
        408 | 480 | 487 => CauseClass::NoAnswer,
        403 | 603 => CauseClass::Rejected,
        404 | 410 | 484 | 604 => CauseClass::NoRoute,
        500..=599 => CauseClass::Network,
        _ => CauseClass::Other,
    }
}

/// Names of causes in logs of exchanges: Q.850 names as FreeSWITCH writes them, its own, and
/// Asterisk's dispositions.
const CAUSES: [(&str, CauseClass); 58] = [
    ("NORMAL_CLEARING", CauseClass::Normal),
    ("ANSWERED", CauseClass::Normal),
    ("NO ANSWER", CauseClass::NoAnswer),
    ("USER_BUSY", CauseClass::Busy),
    ("NO_ANSWER", CauseClass::NoAnswer),
    ("ORIGINATOR_CANCEL", CauseClass::NoAnswer),
    ("NO_USER_RESPONSE", CauseClass::NoAnswer),
    ("FAILED", CauseClass::Network),
    ("CONGESTION", CauseClass::Network),
    ("CANCEL", CauseClass::NoAnswer),
    ("UNSPECIFIED", CauseClass::Unknown),
    ("NONE", CauseClass::Unknown),
    ("NORMAL_UNSPECIFIED", CauseClass::Normal),
    ("SUCCESS", CauseClass::Normal),
    ("PICKED_OFF", CauseClass::Normal),
    ("LOSE_RACE", CauseClass::Normal),
    ("BLIND_TRANSFER", CauseClass::Normal),
    ("ATTENDED_TRANSFER", CauseClass::Normal),
    ("ALLOTTED_TIMEOUT", CauseClass::NoAnswer),
    ("PROGRESS_TIMEOUT", CauseClass::NoAnswer),
    ("MEDIA_TIMEOUT", CauseClass::Network),
    ("SUBSCRIBER_ABSENT", CauseClass::NoAnswer),
    ("USER_NOT_REGISTERED", CauseClass::NoAnswer),
    ("CALL_REJECTED", CauseClass::Rejected),
    ("USER_CHALLENGE", CauseClass::Rejected),
    ("UNALLOCATED_NUMBER", CauseClass::NoRoute),
    ("NO_ROUTE_TRANSIT_NET", CauseClass::NoRoute),
    ("NO_ROUTE_DESTINATION", CauseClass::NoRoute),
    ("NUMBER_CHANGED", CauseClass::NoRoute),
    ("DESTINATION_OUT_OF_ORDER", CauseClass::NoRoute),
    ("INVALID_NUMBER_FORMAT", CauseClass::NoRoute),
    ("NORMAL_CIRCUIT_CONGESTION", CauseClass::Network),
    ("NETWORK_OUT_OF_ORDER", CauseClass::Network),
    ("NORMAL_TEMPORARY_FAILURE", CauseClass::Network),
    ("SWITCH_CONGESTION", CauseClass::Network),
    ("REQUESTED_CHAN_UNAVAIL", CauseClass::Network),
    ("GATEWAY_DOWN", CauseClass::Network),
    ("CHANNEL_UNACCEPTABLE", CauseClass::Other),
    ("EXCHANGE_ROUTING_ERROR", CauseClass::Other),
    ("FACILITY_REJECTED", CauseClass::Other),
    ("FACILITY_NOT_SUBSCRIBED", CauseClass::Other),
    ("OUTGOING_CALL_BARRED", CauseClass::Other),
    ("INCOMING_CALL_BARRED", CauseClass::Other),
    ("BEARERCAPABILITY_NOTAUTH", CauseClass::Other),
    ("BEARERCAPABILITY_NOTAVAIL", CauseClass::Other),
    ("BEARERCAPABILITY_NOTIMPL", CauseClass::Other),
    ("SERVICE_UNAVAILABLE", CauseClass::Other),
    ("SERVICE_NOT_IMPLEMENTED", CauseClass::Other),
    ("INCOMPATIBLE_DESTINATION", CauseClass::Other),
    ("MANDATORY_IE_MISSING", CauseClass::Other),
    ("PROTOCOL_ERROR", CauseClass::Other),
    ("INTERWORKING", CauseClass::Other),
    ("RECOVERY_ON_TIMER_EXPIRE", CauseClass::Other),
    ("MANAGER_REQUEST", CauseClass::Other),
    ("SYSTEM_SHUTDOWN", CauseClass::Other),
    ("CRASH", CauseClass::Other),
    ("EXCHANGE", CauseClass::Other),
    ("INVALID_PROFILE", CauseClass::Other),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_by_number_and_by_word() {
        for (text, class) in [
            ("16", CauseClass::Normal),
            ("17", CauseClass::Busy),
            ("200", CauseClass::Normal),
            ("487", CauseClass::NoAnswer),
            ("503", CauseClass::Network),
            ("393216", CauseClass::Other),
            ("0", CauseClass::Unknown),
            ("normal_clearing", CauseClass::Normal),
            ("BUSY", CauseClass::Busy),
            ("no_route", CauseClass::NoRoute),
            ("no answer", CauseClass::NoAnswer),
        ] {
            assert_eq!(cause(text.as_bytes()), Ok(class), "{text}");
        }
        assert_eq!(cause(b"sunspots"), Err(Reason::InvalidCause));
        assert_eq!(cause(b"-1"), Err(Reason::InvalidCause));
    }

    #[test]
    fn words_outside_the_lists_are_refused() {
        assert_eq!(direction(b"mo"), Ok(Direction::Originating));
        assert_eq!(direction(b"inbound"), Err(Reason::InvalidDirection));
        assert_eq!(service(b"SMS"), Ok(Service::Sms));
        assert_eq!(service(b"fax"), Err(Reason::InvalidService));
        assert_eq!(answered(b"maybe"), Err(Reason::InvalidAnswered));
        assert_eq!(presentation(b"prohib_passed_screen"), Presentation::Restricted);
        assert_eq!(presentation(b"allowed_not_screened"), Presentation::Allowed);
    }
}
