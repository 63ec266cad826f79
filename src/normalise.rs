//! From fields found to canonical records: one form per identifier, UTC, one unit per measure.
//!
//! Total and fail-closed: every decoded row becomes either a row of `Clear` or one `Reject`. What a
//! field may hold and what becomes of it stands in the module that reads it; the tables are data
//! under `schemas/numbering`. A reject names a reason and an input column, never content.

mod address;
mod e164;
mod imei;
mod imsi;
mod input;
mod measures;
mod numbering;
mod party;
pub mod profile;
mod script;
pub(crate) mod selection;
mod sender;
#[cfg(test)]
mod tests;
mod time;
mod trie;
mod uri;
mod words;

use crate::normalise::e164::{Dialling, Form};
use crate::normalise::imsi::Networks;
use crate::normalise::input::{Inputs, Views};
use crate::normalise::party::Side;
use crate::normalise::profile::{AmbiguousTime, Profile, ProfileError};
use crate::normalise::time::{Format, LocalClock};
use crate::normalise::words::Presentation;
use crate::record::clear::{
    ABSENT_I64, ABSENT_U32, ABSENT_U64, Answered, CauseClass, Clear, Direction, IdColumn, Service,
};
use crate::record::decoded::{Decoded, Span};
use crate::record::field::{Codec, DurationUnit, Field, FieldSpec, TimeFormat};
use crate::record::identifier::{Country, Kind, Party};
use crate::record::plmn::Plmn;
use crate::record::reject::{Reason, Reject};
use crate::record::time::{Day, Epoch};
use jiff::tz::TimeZone;

/// Longest cell or trunk name.
const MAX_NAME: usize = 64;

/// Which event times are acceptable now.
pub struct Accept<'a> {
    pub earliest_ms: i64,
    pub latest_ms: i64,
    /// Epochs whose keys are held, ascending.
    pub epochs: &'a [Epoch],
}

/// A feed's profile and a mapping's fields, compiled. Shared by all threads.
pub struct Normaliser {
    dialling: Dialling,
    networks: &'static Networks,
    zone: TimeZone,
    ambiguous: AmbiguousTime,
    currency: Option<[u8; 3]>,
    inputs: Inputs,
    start: Format,
    answer: Format,
    end: Format,
    duration: DurationUnit,
    address_signed_le: bool,
    scale_up: u64,
    scale_down: u64,
    scale_charge: u64,
}

/// A refusal and the field it is about.
type Refused = (Reason, Field);

impl Normaliser {
    /// Refuses a profile that names an unknown zone or country, and a mapping without a start time
    /// or with charges in no currency.
    pub fn new(profile: &Profile, specs: &[FieldSpec]) -> Result<Normaliser, ProfileError> {
        let inputs = Inputs::new(specs);
        if !inputs.has(Field::Start) {
            return Err(ProfileError::new("start", "the mapping has no start time"));
        }
        let currency = profile.currency_code()?;
        if inputs.has(Field::Charge) && !inputs.has(Field::Currency) && currency.is_none() {
            return Err(ProfileError::new(
                "currency",
                "the mapping has charges without currency: state one in the profile",
            ));
        }
        let zone = TimeZone::get(&profile.zone).map_err(|_| {
            ProfileError::new("zone", "no such time zone; IANA names are needed, such as Europe/Brussels")
        })?;
        let codec = |field| specs.iter().find(|s| s.field == field).map(|s| &s.codec);
        let scale = |field| if let Some(Codec::Scaled(n)) = codec(field) { *n } else { 1 };
        let time = |field: Field| match codec(field) {
            Some(Codec::Time(format)) => Format::compile(field.name(), format),
            _ => Format::compile(field.name(), &TimeFormat::Rfc3339),
        };
        Ok(Normaliser {
            dialling: Dialling::new(profile)?,
            networks: Networks::shipped(),
            zone,
            ambiguous: profile.ambiguous_time,
            currency,
            start: time(Field::Start)?,
            answer: time(Field::Answer)?,
            end: time(Field::End)?,
            duration: if let Some(Codec::Duration(unit)) = codec(Field::Duration) {
                *unit
            } else {
                DurationUnit::Seconds
            },
            address_signed_le: codec(Field::Address) == Some(&Codec::Ipv4SignedLe),
            scale_up: scale(Field::BytesUp),
            scale_down: scale(Field::BytesDown),
            scale_charge: scale(Field::Charge),
            inputs,
        })
    }

    /// Canonical rows, and one reject per row that is not canonical. `Reject::record` and
    /// `Clear::record` index `decoded.records`. Pure; batches may be normalised in parallel.
    pub fn normalise(&self, decoded: &Decoded, accept: &Accept) -> (Clear, Vec<Reject>) {
        let mut batch = Batch {
            rules: self,
            views: self.inputs.views(decoded),
            clock: LocalClock::new(&self.zone),
            accept,
            epoch_ms: (0, 0),
            text: Vec::with_capacity(decoded.rows.len() * 64),
        };
        let mut clear = with_capacity(decoded.rows.len());
        let mut rejects = Vec::new();
        // One for all rows, filled and read in place: moving it costs more than reading some fields.
        let mut line = Line::default();
        for (row, &record) in decoded.rows.iter().enumerate() {
            let text_len = batch.text.len();
            match batch.row(row, &mut line) {
                Ok(()) => push(&mut clear, record, &line),
                Err((reason, field)) => {
                    zeroize::Zeroize::zeroize(&mut batch.text[text_len..]);
                    batch.text.truncate(text_len);
                    rejects.push(Reject { record, reason, column: batch.views.column(field) });
                }
            }
        }
        clear.text = batch.text;
        (clear, rejects)
    }
}

/// The state of one call of `normalise`.
struct Batch<'b> {
    rules: &'b Normaliser,
    views: Views<'b>,
    clock: LocalClock<'b>,
    accept: &'b Accept<'b>,
    /// First and past-last ms of the epoch that last had a key.
    epoch_ms: (i64, i64),
    /// Becomes `Clear::text`.
    text: Vec<u8>,
}

/// One canonical record on its way into the columns.
struct Line {
    service: Service,
    direction: Direction,
    start_ms: i64,
    duration_s: u32,
    answered: Answered,
    cause: CauseClass,
    bytes_up: u64,
    bytes_down: u64,
    charge_micro: i64,
    currency: [u8; 3],
    network: Plmn,
    home_network: Plmn,
    parties: [(Kind, Span); Party::COUNT],
    a_country: Country,
    b_country: Country,
    cell: Span,
    trunk_in: Span,
    trunk_out: Span,
    restricted: bool,
    sequence: u64,
}

impl Default for Line {
    fn default() -> Line {
        Line {
            service: Service::Voice,
            direction: Direction::Unknown,
            start_ms: 0,
            duration_s: ABSENT_U32,
            answered: Answered::Unknown,
            cause: CauseClass::Unknown,
            bytes_up: ABSENT_U64,
            bytes_down: ABSENT_U64,
            charge_micro: ABSENT_I64,
            currency: [0; 3],
            network: Plmn::NONE,
            home_network: Plmn::NONE,
            parties: [(Kind::Absent, Span::NONE); Party::COUNT],
            a_country: Country::NONE,
            b_country: Country::NONE,
            cell: Span::NONE,
            trunk_in: Span::NONE,
            trunk_out: Span::NONE,
            restricted: false,
            sequence: ABSENT_U64,
        }
    }
}

impl<'b> Batch<'b> {
    /// Fills every field of `line`; on a refusal it holds some of this row and some of another.
    fn row(&mut self, row: usize, line: &mut Line) -> Result<(), Refused> {
        let start_ms = self.start(row)?;
        let service =
            self.optional(Field::Service, row, Reason::InvalidService, words::service)?.unwrap_or(Service::Voice);
        let (answer, duration_s) = self.answer_and_duration(row, start_ms)?;
        line.start_ms = start_ms;
        line.service = service;
        line.duration_s = duration_s;
        line.cause =
            self.optional(Field::Cause, row, Reason::InvalidCause, words::cause)?.unwrap_or(CauseClass::Unknown);
        let answered = self.optional(Field::Answered, row, Reason::InvalidAnswered, words::answered)?;
        line.answered = answered.unwrap_or_else(|| self.was_answered(service, answer, duration_s));
        (line.charge_micro, line.currency) = self.charge(row)?;
        let direction = self.optional(Field::Direction, row, Reason::InvalidDirection, words::direction)?;
        line.direction = direction.unwrap_or(Direction::Unknown);
        line.bytes_up = self.volume(Field::BytesUp, row, self.rules.scale_up)?;
        line.bytes_down = self.volume(Field::BytesDown, row, self.rules.scale_down)?;
        line.network = self.network(row)?;
        line.cell = self.name(Field::Cell, row)?;
        line.trunk_in = self.name(Field::TrunkIn, row)?;
        line.trunk_out = self.name(Field::TrunkOut, row)?;
        line.sequence = self.sequence(row)?;
        self.numbers(row, line)?;
        self.devices(row, line)
    }

    fn start(&mut self, row: usize) -> Result<i64, Refused> {
        let refuse = |reason| Err((reason, Field::Start));
        let text = self.field(Field::Start, row, Reason::InvalidTime)?;
        if text.is_empty() {
            return refuse(Reason::MissingField);
        }
        let ms = self.rules.start.read(text, &mut self.clock, self.rules.ambiguous).map_err(|r| (r, Field::Start))?;
        if ms < self.accept.earliest_ms {
            return refuse(Reason::LateEvent);
        }
        if ms > self.accept.latest_ms {
            return refuse(Reason::FutureEvent);
        }
        if !(self.epoch_ms.0..self.epoch_ms.1).contains(&ms) {
            let epoch = Day::of_ms(ms).epoch();
            if self.accept.epochs.binary_search(&epoch).is_err() {
                return refuse(Reason::NoEpochKey);
            }
            self.epoch_ms = (epoch.first_day().start_ms(), epoch.next().first_day().start_ms());
        }
        Ok(ms)
    }

    /// The answer time (ms), and the duration: as stated, else from answer to end, else, where the
    /// mapping has no answer times, from start to end. A call with an end that was never answered
    /// lasted 0 s.
    fn answer_and_duration(&mut self, row: usize, start_ms: i64) -> Result<(Option<i64>, u32), Refused> {
        let answer = self.time(Field::Answer, row, self.rules.ambiguous)?;
        let stated = self.field(Field::Duration, row, Reason::InvalidDuration)?;
        if !stated.is_empty() {
            let stated = measures::duration(stated, self.rules.duration).map_err(|r| (r, Field::Duration))?;
            return Ok((answer, stated));
        }
        let Some(mut end) = self.time(Field::End, row, self.rules.ambiguous)? else { return Ok((answer, ABSENT_U32)) };
        let Some(from) = answer.or((!self.rules.inputs.has(Field::Answer)).then_some(start_ms)) else {
            return Ok((answer, 0));
        };
        if end < from {
            // The end of a call across the repeated hour is the later of the two instants it may mean.
            end = self.time(Field::End, row, AmbiguousTime::Later)?.unwrap_or(end);
        }
        let seconds = u32::try_from((end - from).div_euclid(1000)).ok().filter(|s| *s != ABSENT_U32);
        Ok((answer, seconds.ok_or((Reason::InvalidDuration, Field::End))?))
    }

    /// Where no field says so: an answer time decides, if the mapping has them; else, for voice,
    /// whether the call lasted longer than 0 s. Messages and data sessions are not answered.
    fn was_answered(&self, service: Service, answer: Option<i64>, duration_s: u32) -> Answered {
        match (answer, duration_s) {
            (Some(_), _) => Answered::Yes,
            _ if service != Service::Voice => Answered::Unknown,
            (None, _) if self.rules.inputs.has(Field::Answer) => Answered::No,
            (None, ABSENT_U32) => Answered::Unknown,
            (None, 0) => Answered::No,
            (None, _) => Answered::Yes,
        }
    }

    fn numbers(&mut self, row: usize, line: &mut Line) -> Result<(), Refused> {
        let names = line.service == Service::Sms;
        let shown = words::presentation(self.field(Field::APresentation, row, Reason::InvalidText).unwrap_or(b"?"));
        let (a, a_country) = self.number(Field::ANumber, Field::ATon, row, Side::Calling, names)?;
        let a = match (a.0, shown) {
            (Kind::Absent, Presentation::Restricted) => (Kind::Withheld, Span::NONE),
            (Kind::Absent, Presentation::Unavailable) => (Kind::Unavailable, Span::NONE),
            _ => a,
        };
        let (b, b_country) = self.number(Field::BNumber, Field::BTon, row, Side::Called, names)?;
        let (c, _) = self.number(Field::CNumber, Field::CTon, row, Side::Called, names)?;
        line.restricted = shown == Presentation::Restricted && a.0.is_hashed();
        line.parties[Party::A as usize] = a;
        line.parties[Party::B as usize] = b;
        line.parties[Party::C as usize] = c;
        (line.a_country, line.b_country) = (a_country, b_country);
        Ok(())
    }

    fn number(
        &mut self,
        field: Field,
        ton: Field,
        row: usize,
        side: Side,
        names: bool,
    ) -> Result<((Kind, Span), Country), Refused> {
        let text = self.field(field, row, Reason::InvalidNumber)?;
        if text.is_empty() {
            return Ok(((Kind::Absent, Span::NONE), Country::NONE));
        }
        let form = match self.views.text(ton, row) {
            Ok(ton) => self.rules.dialling.form(ton),
            Err(()) => Form::Bare,
        };
        let from = self.text.len();
        let (kind, country) =
            party::read(&self.rules.dialling, text, side, form, names, &mut self.text).map_err(|r| (r, field))?;
        Ok((self.identifier(kind, from), country))
    }

    fn devices(&mut self, row: usize, line: &mut Line) -> Result<(), Refused> {
        let imsi = self.field(Field::Imsi, row, Reason::InvalidImsi)?;
        let party = self.device(Field::Imsi, Kind::Imsi, imsi, imsi::read)?;
        line.parties[Party::Imsi as usize] = party;
        line.home_network = if party.0 == Kind::Imsi { self.rules.networks.of_digits(imsi) } else { Plmn::NONE };
        let imei = self.field(Field::Imei, row, Reason::InvalidImei)?;
        line.parties[Party::Imei as usize] = self.device(Field::Imei, Kind::Imei, imei, imei::read)?;
        let address = self.field(Field::Address, row, Reason::InvalidAddress)?;
        let read = if self.rules.address_signed_le { address::read_signed_le } else { address::read };
        line.parties[Party::Address as usize] = self.device(Field::Address, Kind::Ip, address, read)?;
        Ok(())
    }

    /// `read` appends the canonical form, or tells that the text is a placeholder.
    fn device(
        &mut self,
        field: Field,
        kind: Kind,
        text: &[u8],
        read: fn(&[u8], &mut Vec<u8>) -> Result<bool, Reason>,
    ) -> Result<(Kind, Span), Refused> {
        if text.is_empty() {
            return Ok((Kind::Absent, Span::NONE));
        }
        let from = self.text.len();
        let there = read(text, &mut self.text).map_err(|r| (r, field))?;
        Ok(self.identifier(if there { kind } else { Kind::Absent }, from))
    }

    /// Keeps what was appended since `from` only if there is somebody to hash.
    fn identifier(&mut self, kind: Kind, from: usize) -> (Kind, Span) {
        if !kind.is_hashed() {
            self.text.truncate(from);
            return (kind, Span::NONE);
        }
        (kind, Span { start: from as u32, len: (self.text.len() - from) as u32 })
    }

    fn charge(&self, row: usize) -> Result<(i64, [u8; 3]), Refused> {
        let text = self.field(Field::Charge, row, Reason::InvalidCharge)?;
        if text.is_empty() {
            return Ok((ABSENT_I64, [0; 3]));
        }
        let amount = measures::charge(text, self.rules.scale_charge).map_err(|r| (r, Field::Charge))?;
        let stated = self.optional(Field::Currency, row, Reason::InvalidCurrency, measures::currency)?;
        let currency = stated.or(self.rules.currency).ok_or((Reason::InvalidCurrency, Field::Currency))?;
        Ok((amount, currency))
    }

    fn volume(&self, field: Field, row: usize, scale: u64) -> Result<u64, Refused> {
        let read = |text: &[u8]| measures::volume(text, scale);
        Ok(self.optional(field, row, Reason::InvalidVolume, read)?.unwrap_or(ABSENT_U64))
    }

    fn network(&self, row: usize) -> Result<Plmn, Refused> {
        let read = |text: &[u8]| self.rules.networks.read(text);
        Ok(self.optional(Field::Network, row, Reason::InvalidNetwork, read)?.unwrap_or(Plmn::NONE))
    }

    /// A sequence number that is none is as good as absent: it serves gap detection only.
    fn sequence(&self, row: usize) -> Result<u64, Refused> {
        let text = self.field(Field::Sequence, row, Reason::InvalidText)?;
        Ok(measures::unsigned(text).unwrap_or(ABSENT_U64))
    }

    /// A cell or trunk: printable ASCII.
    fn name(&mut self, field: Field, row: usize) -> Result<Span, Refused> {
        let text = self.field(field, row, Reason::InvalidText)?;
        if text.is_empty() {
            return Ok(Span::NONE);
        }
        if text.len() > MAX_NAME || !text.iter().all(|b| (0x20..0x7f).contains(b)) {
            return Err((Reason::InvalidText, field));
        }
        Ok(crate::record::packed::append(&mut self.text, text))
    }

    fn time(&mut self, field: Field, row: usize, fold: AmbiguousTime) -> Result<Option<i64>, Refused> {
        let text = self.field(field, row, Reason::InvalidTime)?;
        if text.is_empty() {
            return Ok(None);
        }
        let format = if field == Field::Answer { &self.rules.answer } else { &self.rules.end };
        format.read(text, &mut self.clock, fold).map(Some).map_err(|r| (r, field))
    }

    fn optional<T>(
        &self,
        field: Field,
        row: usize,
        unlisted: Reason,
        read: impl FnOnce(&[u8]) -> Result<T, Reason>,
    ) -> Result<Option<T>, Refused> {
        let text = self.field(field, row, unlisted)?;
        if text.is_empty() {
            return Ok(None);
        }
        read(text).map(Some).map_err(|r| (r, field))
    }

    fn field(&self, field: Field, row: usize, unlisted: Reason) -> Result<&'b [u8], Refused> {
        self.views.text(field, row).map_err(|()| (unlisted, field))
    }
}

fn with_capacity(rows: usize) -> Clear {
    let mut clear = Clear::default();
    clear.record.reserve_exact(rows);
    clear.service.reserve_exact(rows);
    clear.direction.reserve_exact(rows);
    clear.start_ms.reserve_exact(rows);
    clear.duration_s.reserve_exact(rows);
    clear.answered.reserve_exact(rows);
    clear.cause.reserve_exact(rows);
    clear.bytes_up.reserve_exact(rows);
    clear.bytes_down.reserve_exact(rows);
    clear.charge_micro.reserve_exact(rows);
    clear.currency.reserve_exact(rows);
    clear.network.reserve_exact(rows);
    clear.home_network.reserve_exact(rows);
    for column in &mut clear.parties {
        *column = IdColumn { kinds: Vec::with_capacity(rows), spans: Vec::with_capacity(rows) };
    }
    clear.a_country.reserve_exact(rows);
    clear.b_country.reserve_exact(rows);
    clear.cell.reserve_exact(rows);
    clear.trunk_in.reserve_exact(rows);
    clear.trunk_out.reserve_exact(rows);
    clear.sensitive.reserve_exact(rows);
    clear.restricted.reserve_exact(rows);
    clear.sequence.reserve_exact(rows);
    clear
}

fn push(clear: &mut Clear, record: u32, line: &Line) {
    clear.record.push(record);
    clear.service.push(line.service);
    clear.direction.push(line.direction);
    clear.start_ms.push(line.start_ms);
    clear.duration_s.push(line.duration_s);
    clear.answered.push(line.answered);
    clear.cause.push(line.cause);
    clear.bytes_up.push(line.bytes_up);
    clear.bytes_down.push(line.bytes_down);
    clear.charge_micro.push(line.charge_micro);
    clear.currency.push(line.currency);
    clear.network.push(line.network);
    clear.home_network.push(line.home_network);
    for (column, (kind, span)) in clear.parties.iter_mut().zip(&line.parties) {
        column.kinds.push(*kind);
        column.spans.push(*span);
    }
    clear.a_country.push(line.a_country);
    clear.b_country.push(line.b_country);
    clear.cell.push(line.cell);
    clear.trunk_in.push(line.trunk_in);
    clear.trunk_out.push(line.trunk_out);
    clear.sensitive.push(line.parties.iter().any(|(kind, _)| kind.is_sensitive()));
    clear.restricted.push(line.restricted);
    clear.sequence.push(line.sequence);
}
