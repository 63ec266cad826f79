//! One synthetic event, before any format: who, with whom, where, how long, at what price.

use super::calendar::{Hour, MS_PER_HOUR};
use super::country::Country;
use super::random::Random;
use super::subscriber::{Address, Line, Population, foreign_imsi, foreign_line};
use super::zipf::Zipf;
use crate::record::clear::{Direction, Service};
use crate::record::time::MS_PER_DAY;

/// What stands in a number field.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    Line(Line),
    /// Dialled as it stands: emergency, helplines, short codes.
    Short(u64),
    /// An alphanumeric SMS sender.
    Brand(&'static str),
    Withheld,
    Unavailable,
}

pub struct Event {
    pub service: Service,
    pub direction: Direction,
    /// UTC, milliseconds.
    pub start_ms: i64,
    /// Local time minus UTC.
    pub offset_s: i32,
    pub ring_s: u64,
    /// Conversation or session, seconds; 0 for SMS and unanswered calls.
    pub duration_s: u64,
    pub answered: bool,
    /// ITU-T Q.850.
    pub cause: u64,
    pub a: Peer,
    pub b: Peer,
    /// Forwarded-to.
    pub c: Option<Line>,
    /// Of the subscriber whose network wrote the record; none in transit.
    pub served: Option<Served>,
    pub trunk_in: Option<Trunk>,
    pub trunk_out: Option<Trunk>,
    /// Ten-thousandths of the home currency; none where the served party does not pay.
    pub charge: Option<u64>,
    pub bytes_up: u64,
    pub bytes_down: u64,
    /// Unstructured bits for call ids and the like.
    pub id: [u64; 2],
}

pub struct Served {
    pub imsi: u64,
    pub imei14: u64,
    pub country: &'static Country,
    pub mnc: u64,
    pub area: u64,
    pub cell: u64,
    pub address: Address,
}

/// An interconnect route to a country.
pub struct Trunk {
    pub country: &'static Country,
    pub number: u64,
}

const BRANDS: [&str; 8] = ["MYBANK", "PARCEL", "PHARMACY", "TAXI24", "WEBSHOP", "AIRLINE", "CITYINFO", "VERIFY"];
/// Unanswered calls end with one of these Q.850 causes.
const FAILURES: [u64; 12] = [17, 17, 17, 18, 19, 19, 19, 20, 1, 21, 34, 38];

/// Draws events.
pub struct Source<'a> {
    pub people: &'a Population,
    pub callers: &'a Zipf,
}

impl Source<'_> {
    pub fn draw(&self, service: Service, hour: &Hour, random: &mut Random) -> Event {
        let who = self.callers.draw(random);
        let start_ms = hour.start_ms + random.below(MS_PER_HOUR as u64) as i64;
        let id = [random.bits(), random.bits()];
        let mut event = Event {
            service,
            direction: direction(service, random),
            start_ms,
            offset_s: hour.offset_s,
            ring_s: 0,
            duration_s: 0,
            answered: true,
            cause: 16,
            a: Peer::Unavailable,
            b: Peer::Unavailable,
            c: None,
            served: None,
            trunk_in: None,
            trunk_out: None,
            charge: None,
            bytes_up: 0,
            bytes_down: 0,
            id,
        };
        let (number, served) = self.served(who, start_ms, random);
        let abroad = served.country.iso != self.people.home.iso;
        self.parties(&mut event, who, number, random);
        if event.direction != Direction::Transit {
            event.served = Some(served);
        }
        match service {
            Service::Voice => self.voice(&mut event, who, abroad, random),
            Service::Sms => event.charge = pays(event.direction).then_some(if abroad { 2500 } else { 900 }),
            Service::Data => data(&mut event, abroad, random),
        }
        event
    }

    /// The subscriber, or now and then a visitor from abroad on the home network.
    fn served(&self, who: u32, start_ms: i64, random: &mut Random) -> (Line, Served) {
        let home = self.people.home;
        if random.chance(15, 1000) {
            let visitor = random.below(20_000);
            let from = self.people.other_country(visitor);
            let (area, cell) = self.people.home_cell(visitor as u32);
            let served = Served {
                imsi: foreign_imsi(from, visitor),
                imei14: 35_990_000_000_000 + visitor,
                country: home,
                mnc: home.networks[0],
                area,
                cell,
                address: self.people.address(visitor as u32),
            };
            return (foreign_line(from, visitor), served);
        }
        let country = self.people.whereabouts(who, start_ms.div_euclid(MS_PER_DAY) as u64);
        let moved = random.chance(3, 10);
        let (area, cell) = self.people.home_cell(if moved { random.bits() as u32 } else { who });
        let served = Served {
            imsi: self.people.imsi(who),
            imei14: self.people.imei14(who),
            country,
            mnc: country.networks[0],
            area,
            cell,
            address: self.people.address(who),
        };
        (self.people.line(who), served)
    }

    fn parties(&self, event: &mut Event, who: u32, number: Line, random: &mut Random) {
        let number = Peer::Line(number);
        (event.a, event.b) = match (event.service, event.direction) {
            (Service::Data, _) => (number, Peer::Unavailable),
            (_, Direction::Terminating) => (self.caller_of(who, event.service, random), number),
            (Service::Sms, _) => (number, self.texted_by(who, random)),
            (_, Direction::Transit) => self.transit(event, random),
            _ => (number, self.called_by(who, random)),
        };
    }

    fn called_by(&self, who: u32, random: &mut Random) -> Peer {
        let home = self.people.home;
        match random.below(10_000) {
            0..6_200 => self.friend(who, random),
            6_200..7_000 => Peer::Line(self.people.line(self.callers.draw(random))),
            7_000..8_200 => Peer::Line(self.people.landline(who, random.below(6))),
            8_200..9_000 => self.foreign(who, random),
            9_000..9_350 => {
                Peer::Line(Line { calling_code: home.calling_code, national: home.toll_free.nth(random.below(40) * 7) })
            }
            9_350..9_650 => Peer::Short(home.short_codes.nth(random.below(60) * 11)),
            9_650..9_670 => Peer::Short(random.pick(home.emergency)),
            9_670..9_690 => Peer::Short(random.pick(home.helplines)),
            _ => Peer::Line(Line { calling_code: home.calling_code, national: home.mobile.nth(random.bits()) }),
        }
    }

    fn caller_of(&self, who: u32, service: Service, random: &mut Random) -> Peer {
        match (service, random.below(1000)) {
            (Service::Sms, 0..250) => Peer::Brand(random.pick(&BRANDS)),
            (Service::Sms, 250..300) => Peer::Short(self.people.home.short_codes.nth(random.below(60) * 11)),
            (Service::Voice, 0..40) => Peer::Withheld,
            (Service::Voice, 40..50) => Peer::Unavailable,
            (Service::Voice, 50..170) => Peer::Line(self.people.landline(who, random.below(6))),
            (_, 300..370) => self.foreign(who, random),
            _ => self.friend(who, random),
        }
    }

    fn texted_by(&self, who: u32, random: &mut Random) -> Peer {
        match random.below(1000) {
            0..40 => Peer::Short(self.people.home.short_codes.nth(random.below(60) * 11)),
            40..110 => self.foreign(who, random),
            _ => self.friend(who, random),
        }
    }

    /// Nearer friends more often.
    fn friend(&self, who: u32, random: &mut Random) -> Peer {
        let which = random.below(24).min(random.below(24));
        Peer::Line(self.people.line(self.people.friend(who, which)))
    }

    /// People call the same few countries and numbers abroad.
    fn foreign(&self, who: u32, random: &mut Random) -> Peer {
        let which = u64::from(who) * 4 + random.below(4);
        Peer::Line(foreign_line(self.people.other_country(which / 2), which))
    }

    /// A call that only passes through: from abroad to abroad or to another network at home.
    fn transit(&self, event: &mut Event, random: &mut Random) -> (Peer, Peer) {
        let from = self.people.other_country(random.bits());
        let to = self.people.other_country(random.bits());
        event.trunk_in = Some(Trunk { country: from, number: 1 + random.below(3) });
        event.trunk_out = Some(Trunk { country: to, number: 1 + random.below(3) });
        (Peer::Line(foreign_line(from, random.bits())), Peer::Line(foreign_line(to, random.bits())))
    }

    fn voice(&self, event: &mut Event, who: u32, abroad: bool, random: &mut Random) {
        event.ring_s = 2 + random.below(23);
        event.answered = random.chance(72, 100);
        if event.answered {
            event.duration_s = duration(random, 12);
        } else {
            event.cause = random.pick(&FAILURES);
        }
        if event.direction == Direction::Terminating && random.chance(3, 100) {
            event.c = Some(self.people.line(self.people.friend(who, 0)));
        }
        let foreign = |peer| matches!(peer, Peer::Line(l) if l.calling_code != self.people.home.calling_code);
        let (from_abroad, to_abroad) = (foreign(event.a), foreign(event.b));
        if event.direction == Direction::Originating {
            let per_minute = if abroad || to_abroad { 3900 } else { 1100 };
            event.charge = Some(if event.answered { 400 + event.duration_s * per_minute / 60 } else { 0 });
        }
        if event.direction == Direction::Originating && to_abroad {
            event.trunk_out = Some(self.trunk_for(event.b, random));
        }
        if event.direction == Direction::Terminating && from_abroad {
            event.trunk_in = Some(self.trunk_for(event.a, random));
        }
    }

    fn trunk_for(&self, peer: Peer, random: &mut Random) -> Trunk {
        let code = if let Peer::Line(line) = peer { line.calling_code } else { 0 };
        let country = super::country::COUNTRIES.iter().find(|c| c.calling_code == code).unwrap_or(self.people.home);
        Trunk { country, number: 1 + random.below(3) }
    }
}

fn direction(service: Service, random: &mut Random) -> Direction {
    match (service, random.below(100)) {
        (Service::Data, _) | (_, 0..55) => Direction::Originating,
        (Service::Voice, 95..) => Direction::Transit,
        _ => Direction::Terminating,
    }
}

fn pays(direction: Direction) -> bool {
    direction == Direction::Originating
}

/// Seconds, about evenly spread over the magnitudes below 2^`magnitudes`, with a hump at minutes.
fn duration(random: &mut Random, magnitudes: u64) -> u64 {
    let magnitude = (random.below(magnitudes) + random.below(magnitudes)).div_ceil(2);
    (1 << magnitude) + random.below(1 << magnitude)
}

fn data(event: &mut Event, abroad: bool, random: &mut Random) {
    event.duration_s = duration(random, 13);
    event.bytes_down = duration(random, 30);
    event.bytes_up = event.bytes_down / (4 + random.below(20)) + random.below(2000);
    let mebibytes = (event.bytes_down + event.bytes_up) >> 20;
    event.charge = Some(mebibytes * if abroad { 20 } else { 5 });
}
