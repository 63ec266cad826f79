//! One block of generated calls, and every stage it goes through, one function each.

#![allow(dead_code, reason = "each benchmark uses a part of it")]

use cdrveil::decode::file::FileDecoder;
use cdrveil::decode::mapping::Mapping;
use cdrveil::decode::shipped::shipped;
use cdrveil::generalise::{TrunkList, generalise};
use cdrveil::generate::format::Format;
use cdrveil::generate::{self, Plan, country};
use cdrveil::keys::{DayKeys, DomainKey, EpochLease, KeyError, KeyRing, KeySource, SealingKey};
use cdrveil::normalise::profile::Profile;
use cdrveil::normalise::{Accept, Normaliser};
use cdrveil::pipeline::engine::contracts;
use cdrveil::pipeline::{Feed, Keys};
use cdrveil::record::clear::Clear;
use cdrveil::record::decoded::Decoded;
use cdrveil::record::packed::pack;
use cdrveil::record::raw::RawBatch;
use cdrveil::record::time::Day;
use cdrveil::record::veiled::{Coarse, Veils};
use cdrveil::seal::{BlockSealer, SealKind};
use cdrveil::sink::cdr::Constants;
use cdrveil::sink::encode::{Group, TableFormat};
use cdrveil::sink::evidence::Original;
use cdrveil::sink::identities::{SealedBefore, StageSerial};
use cdrveil::sink::{cdr, evidence, identities};
use cdrveil::tally::{Cube, Partial};
use cdrveil::vault::opener::OpeningKey;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

pub const FORMAT: Format = Format::GenericVoice;
/// The day of every call.
pub const DAY: Day = Day(20_778);

/// Writes `records` sound calls of one day.
pub fn calls(records: u64, to: &mut impl Write) -> std::io::Result<()> {
    let home = country::home("BE").expect("Belgium is a home country");
    let plan = Plan { format: FORMAT, records, subscribers: 10_000, first: DAY, days: 1, seed: 1, broken_ppm: 0, home };
    generate::write(&plan, to)
}

/// The feed of `calls`, as a site would have it.
pub fn feed() -> Feed {
    let (name, text) = shipped().iter().find(|(name, _)| *name == FORMAT.name()).expect("every format has a mapping");
    let mapping = Mapping::parse(name, text).expect("shipped mappings are sound");
    let profile = Profile { currency: Some("EUR".into()), ..Profile::of("BE", "Europe/Brussels") };
    Feed {
        name: (*name).to_owned(),
        normaliser: Normaliser::new(&profile, mapping.specs()).expect("the profile is sound"),
        mapping,
        profile_version: 1,
        profile_digest: profile.digest(),
        accept_late_days: Some(45),
        future_hours: 24,
        original: Original::Packed,
        trunks: TrunkList::default(),
        join_window_ms: 0,
        cube: Cube::traffic_hourly(),
    }
}

/// Fresh keys for the month of `DAY` and its neighbours.
pub fn ring() -> KeyRing {
    let public = || OpeningKey::random().public();
    let domain = |n: u8| DomainKey::from_bytes([n; 32]);
    let epoch = DAY.epoch();
    let epochs = [epoch.previous(), epoch, epoch.next()];
    let lease = || EpochLease {
        generation: 1,
        analytics: domain(1),
        tally: domain(2),
        identities: public(),
        recipients: [].into(),
    };
    let day_keys = || DayKeys { evidence: public(), quarantine: public() };
    KeyRing {
        file_key: [3; 32].into(),
        epochs: epochs.iter().map(|e| (*e, lease())).collect(),
        days: epochs.iter().flat_map(|e| e.days()).map(|d| (d, day_keys())).collect(),
    }
}

/// Leases `ring()` once.
#[derive(Default)]
pub struct Leased(AtomicBool);

impl KeySource for Leased {
    fn refresh(&self) -> Result<Option<KeyRing>, KeyError> {
        Ok((!self.0.swap(true, Ordering::SeqCst)).then(ring))
    }
}

/// Everything that the stages of one block need.
pub struct Block {
    pub records: u64,
    bytes: Vec<u8>,
    feed: Feed,
    keys: Keys,
    decoder: FileDecoder,
    constants: Constants,
    formats: [TableFormat; 3],
}

impl Block {
    pub fn new(records: u64) -> Block {
        let mut bytes = Vec::new();
        calls(records, &mut bytes).expect("a vector takes every write");
        let feed = feed();
        let format = |name: &str| {
            let contract = contracts().into_iter().find(|c| c.name == name).expect("a table of the pipeline");
            let lookup: &[&str] = match name {
                "evidence" => &["a_party", "b_party", "c_party", "imsi", "imei", "address"],
                _ => &[],
            };
            TableFormat::new(&contract, lookup).expect("the contract is sound")
        };
        Block {
            records,
            decoder: feed.mapping.open(&bytes).expect("generated for this mapping"),
            bytes,
            keys: Keys::new(ring()),
            constants: Constants { feed: feed.name.clone(), batch: "0".repeat(32), trunks: Vec::new() },
            formats: ["cdr", "evidence", "identities"].map(format),
            feed,
        }
    }

    pub fn input_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub fn raw(&self) -> RawBatch {
        RawBatch::of_file(self.bytes.clone(), 0, 0)
    }

    pub fn decode(&self, raw: RawBatch) -> Decoded {
        self.decoder.decode(raw)
    }

    pub fn normalise(&self, decoded: &Decoded) -> Clear {
        let (earliest_ms, latest_ms) = self.feed.window(DAY.start_ms() + 86_400_000);
        let accept = Accept { earliest_ms, latest_ms, epochs: &self.keys.epochs };
        let (clear, rejects) = self.feed.normaliser.normalise(decoded, &accept);
        assert!(rejects.is_empty() && clear.rows() as u64 == self.records, "generated calls are sound");
        clear
    }

    pub fn pseudonymise(&self, clear: &Clear) -> Veils {
        self.keys.veiler.veil(clear)
    }

    pub fn generalise(&self, clear: &Clear) -> Coarse {
        generalise(clear, &self.feed.trunks)
    }

    pub fn partial(&self) -> Partial {
        Partial::new(&self.feed.cube)
    }

    pub fn tally(&self, partial: &mut Partial, clear: &Clear, veils: &Veils) {
        partial.add(clear, veils);
    }

    /// Packs and seals every row, without encoding.
    pub fn seal(&self, clear: &Clear) -> Vec<u8> {
        let key = self.evidence_key();
        let mut sealer = BlockSealer::new(SealKind::Evidence, DAY.0, &DAY, key).expect("the key is sound");
        let (mut plain, mut out) = (Vec::new(), Vec::with_capacity(clear.rows() * 160));
        for row in 0..clear.rows() {
            plain.clear();
            pack(clear, row, &mut plain);
            sealer.seal(&plain, &mut out).expect("fewer rows than a block may have");
        }
        out
    }

    /// Sorts and encodes the lake's rows.
    pub fn encode(&self, veils: &Veils, coarse: &Coarse) -> Group {
        let order = cdr::order(veils, rows(veils));
        cdr::group(&self.formats[0], &self.constants, DAY, &order, veils, coarse).expect("the rows fit the contract")
    }

    /// Sorts, seals and encodes the originals.
    pub fn evidence(&self, decoded: &Decoded, clear: &Clear, veils: &Veils) -> Group {
        let parts = (clear, veils, decoded);
        evidence::group(&self.formats[1], self.evidence_key(), Original::Packed, DAY, rows(veils), parts)
            .expect("the rows fit the contract")
    }

    /// Seals and encodes every identity of the block, none of which was sealed before.
    pub fn identities(&self, clear: &Clear, veils: &Veils, cache: &mut SealedBefore) -> Vec<Group> {
        let epoch = DAY.epoch();
        let key = &self.keys.ring.epochs[&epoch].identities;
        let serial = StageSerial { own: 1, settled_below: 1, generation: 0 };
        identities::groups(&self.formats[2], key, epoch, &rows(veils), (clear, veils), (cache, serial))
            .expect("the rows fit the contract")
    }

    fn evidence_key(&self) -> &SealingKey {
        &self.keys.ring.days[&DAY].evidence
    }
}

fn rows(veils: &Veils) -> Vec<u32> {
    (0..veils.day.len() as u32).collect()
}
