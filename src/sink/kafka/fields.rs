//! The fields of a veiled record, in the order of `schemas/kafka/cdr.veiled.avsc`. Both encodings go
//! through this one list.

use super::Outlet;
use crate::lake::tables::CANON;
use crate::record::clear::Answered;
use crate::record::identifier::Party;
use crate::record::veiled::{Coarse, Exported, Pseudonym, TRUNK_OTHER};

/// One record of a block.
pub(super) struct Row<'a> {
    pub(super) at: usize,
    pub(super) exported: &'a Exported,
    pub(super) coarse: &'a Coarse,
    pub(super) outlet: &'a Outlet,
}

/// What writes a field: an encoding.
pub(super) trait Writer {
    fn text(&mut self, name: &'static str, value: &str);
    fn text_or_null(&mut self, name: &'static str, value: Option<&str>);
    fn int(&mut self, name: &'static str, value: i32);
    fn int_or_null(&mut self, name: &'static str, value: Option<i32>);
    fn long_or_null(&mut self, name: &'static str, value: Option<i64>);
    fn flag_or_null(&mut self, name: &'static str, value: Option<bool>);
    /// Milliseconds since 1970-01-01 UTC.
    fn time(&mut self, name: &'static str, ms: i64);
    fn pseudonym_or_null(&mut self, name: &'static str, value: Option<&Pseudonym>);
}

/// Names of a party's two fields.
const PARTIES: [(Party, &str, &str); Party::COUNT] = [
    (Party::A, "a_party", "a_party_kind"),
    (Party::B, "b_party", "b_party_kind"),
    (Party::C, "c_party", "c_party_kind"),
    (Party::Imsi, "imsi", "imsi_kind"),
    (Party::Imei, "imei", "imei_kind"),
    (Party::Address, "address", "address_kind"),
];

impl Row<'_> {
    pub(super) fn write(&self, to: &mut impl Writer) {
        let (at, coarse) = (self.at, self.coarse);
        to.text("epoch", &self.exported.epoch[at].to_string());
        to.text("service", coarse.service[at].name());
        to.text("direction", coarse.direction[at].name());
        to.time("start", coarse.start_us[at].div_euclid(1000));
        to.int_or_null("duration", coarse.duration[at]);
        to.long_or_null("volume", coarse.volume[at]);
        to.long_or_null("charge", coarse.charge[at]);
        let currency = coarse.currency[at];
        to.text_or_null("currency", std::str::from_utf8(&currency).ok().filter(|_| currency != [0; 3]));
        to.flag_or_null("answered", answered(coarse.answered[at]));
        to.text("cause_class", coarse.cause[at].name());
        for (party, name, kind) in PARTIES {
            let column = &self.exported.parties[party as usize];
            to.pseudonym_or_null(name, column.kinds[at].is_hashed().then(|| &column.pseudonyms[at]));
            to.text(kind, column.kinds[at].name());
        }
        to.text_or_null("a_country", coarse.a_country[at].name());
        to.text_or_null("b_country", coarse.b_country[at].name());
        for (name, network) in
            [("home_network", coarse.home_network[at]), ("visited_network", coarse.visited_network[at])]
        {
            to.text_or_null(name, (!network.is_none()).then(|| network.to_string()).as_deref());
        }
        to.text_or_null("trunk_in", self.trunk(coarse.trunk_in[at]));
        to.text_or_null("trunk_out", self.trunk(coarse.trunk_out[at]));
        to.text("feed", &self.outlet.feed);
        to.int("canon", CANON);
    }

    fn trunk(&self, index: u16) -> Option<&str> {
        match index {
            0 => None,
            TRUNK_OTHER => Some("other"),
            listed => self.outlet.trunks.get(usize::from(listed) - 1).map(String::as_str),
        }
    }
}

fn answered(value: Answered) -> Option<bool> {
    match value {
        Answered::Unknown => None,
        Answered::No => Some(false),
        Answered::Yes => Some(true),
    }
}
