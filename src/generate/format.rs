//! The formats: how an event becomes a row of each.

pub mod asterisk;
pub mod cucm;
pub mod fixed_width;
pub mod freeswitch;
pub mod generic;
pub mod json_lines;
pub mod kamailio;

use super::breakage::Marks;
use super::country::Country;
use super::event::Event;
use super::random::Random;
use crate::record::clear::Service;

/// A format that `generate` writes; named as the shipped mappings are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    GenericVoice,
    GenericSms,
    GenericData,
    Asterisk,
    Freeswitch,
    CiscoCucm,
    Kamailio,
    FixedWidth,
    JsonLines,
}

impl Format {
    pub const ALL: [Format; 9] = [
        Format::GenericVoice,
        Format::GenericSms,
        Format::GenericData,
        Format::Asterisk,
        Format::Freeswitch,
        Format::CiscoCucm,
        Format::Kamailio,
        Format::FixedWidth,
        Format::JsonLines,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Format::GenericVoice => "generic-voice",
            Format::GenericSms => "generic-sms",
            Format::GenericData => "generic-data",
            Format::Asterisk => "asterisk",
            Format::Freeswitch => "freeswitch",
            Format::CiscoCucm => "cisco-cucm",
            Format::Kamailio => "kamailio",
            Format::FixedWidth => "fixed-width",
            Format::JsonLines => "json-lines",
        }
    }

    pub fn from_name(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|f| f.name() == name)
    }

    pub(super) fn service(self, random: &mut Random) -> Service {
        match self {
            Format::GenericSms => Service::Sms,
            Format::GenericData => Service::Data,
            Format::JsonLines => {
                [Service::Voice, Service::Voice, Service::Sms, Service::Data][random.below(4) as usize]
            }
            _ => Service::Voice,
        }
    }

    /// What stands before the first row; `ms` is the time of the first event.
    pub(super) fn head(self, out: &mut Vec<u8>, ms: i64) {
        match self {
            Format::GenericVoice => out.extend_from_slice(generic::VOICE_HEADER),
            Format::GenericSms => out.extend_from_slice(generic::SMS_HEADER),
            Format::GenericData => out.extend_from_slice(generic::DATA_HEADER),
            Format::CiscoCucm => cucm::header(out),
            Format::FixedWidth => fixed_width::header(out, ms),
            _ => {}
        }
    }

    /// What stands after the last row.
    pub(super) fn tail(self, out: &mut Vec<u8>, rows: u64, ms: i64) {
        if self == Format::FixedWidth {
            fixed_width::trailer(out, rows, ms);
        }
    }
}

/// Everything a row is written from.
pub struct Row<'a> {
    pub event: &'a Event,
    pub home: &'a Country,
    /// Counted from 0.
    pub number: u64,
}

/// Writes a row of any format but Kamailio's, without its line end.
pub(super) fn write(format: Format, row: &Row, out: &mut Vec<u8>, marks: &mut Marks, random: &mut Random) {
    match format {
        Format::GenericVoice => generic::voice(row, out, marks, random),
        Format::GenericSms => generic::sms(row, out, marks, random),
        Format::GenericData => generic::data(row, out, marks, random),
        Format::Asterisk => asterisk::row(row, out, marks, random),
        Format::Freeswitch => freeswitch::row(row, out, marks, random),
        Format::CiscoCucm => cucm::row(row, out, marks, random),
        Format::FixedWidth => fixed_width::row(row, out, marks, random),
        Format::JsonLines => json_lines::row(row, out, marks, random),
        Format::Kamailio => kamailio::invite(row, out, marks, random),
    }
}

/// Runs `write` and says which bytes it wrote.
fn mark(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> std::ops::Range<usize> {
    let start = out.len();
    write(out);
    start..out.len()
}
