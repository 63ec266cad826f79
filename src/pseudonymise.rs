//! The one place where clear becomes veiled.
//!
//! `pseudonym ‖ blind index = HMAC-SHA-256(K_dom, "cdrveil/v1/id" ‖ class ‖ lp(canonical))`
//! (construction v1, design privacy.md 1.3): the left 16 bytes go to the lake, the right 16 find
//! evidence in the vault. Epoch by event time, in UTC.

pub mod hmac;
pub mod twin;

use crate::keys::KeyRing;
use crate::record::clear::Clear;
use crate::record::identifier::{Kind, Party};
use crate::record::time::{Day, Epoch};
use crate::record::veiled::{VeiledColumn, Veils};
use hmac::IdHasher;
use rand::RngCore;
use siphasher::sip::SipHasher24;
use std::collections::BTreeMap;

/// Keyed states of every leased epoch, ready for use by many threads. No `Debug`.
pub struct Veiler {
    epochs: BTreeMap<Epoch, EpochState>,
}

struct EpochState {
    ids: IdHasher,
    tokens: SipHasher24,
}

impl Veiler {
    pub fn new(ring: &KeyRing) -> Veiler {
        let epochs = ring.epochs.iter().map(|(epoch, lease)| {
            let token_key: &[u8; 16] = lease.tally.expose()[..16].try_into().expect("16 of 32 bytes");
            let state =
                EpochState { ids: IdHasher::new(&lease.analytics), tokens: SipHasher24::new_with_key(token_key) };
            (*epoch, state)
        });
        Veiler { epochs: epochs.collect() }
    }

    /// Pseudonyms, blind indices and tally tokens of every row.
    ///
    /// Rows of sensitive calls get fresh random pseudonyms and no token, so that nothing links
    /// them; their blind indices stay true, because evidence must be found.
    ///
    /// # Panics
    /// If a row's epoch is not leased: `normalise` has refused such rows before.
    pub fn veil(&self, clear: &Clear) -> Veils {
        let rows = clear.rows();
        let mut veils = Veils::default();
        veils.day.reserve_exact(rows);
        veils.epoch.reserve_exact(rows);
        let mut last = (Day(i32::MIN), Epoch(i32::MIN));
        for &ms in &clear.start_ms {
            let day = Day::of_ms(ms);
            if day != last.0 {
                last = (day, day.epoch());
            }
            veils.day.push(last.0);
            veils.epoch.push(last.1);
        }
        for party in Party::ALL {
            veils.parties[party as usize] = self.column(clear, party, &veils.epoch);
        }
        let (a, b) = self.tokens(clear, &veils);
        (veils.a_token, veils.b_token) = (a, b);
        veils
    }

    fn column(&self, clear: &Clear, party: Party, epochs: &[Epoch]) -> VeiledColumn {
        let ids = &clear.parties[party as usize];
        let rows = clear.rows();
        let mut out = VeiledColumn {
            kinds: ids.kinds.clone(),
            pseudonyms: vec![[0; 16]; rows],
            blind: vec![[0; 16]; rows],
            random: vec![false; rows],
        };
        let mut state = Cached::new(self);
        let mut rng = rand::rng();
        for (row, &epoch) in epochs.iter().enumerate() {
            let kind = ids.kinds[row];
            if !kind.is_hashed() {
                continue;
            }
            let hash = state.of(epoch).ids.hash(kind as u8, ids.spans[row].of(&clear.text));
            out.blind[row].copy_from_slice(&hash[16..]);
            if clear.sensitive[row] {
                rng.fill_bytes(&mut out.pseudonyms[row]);
                out.random[row] = true;
            } else {
                out.pseudonyms[row].copy_from_slice(&hash[..16]);
            }
        }
        out
    }

    /// Tokens count people: the A side is its number, else its IMSI; 0 is nobody.
    fn tokens(&self, clear: &Clear, veils: &Veils) -> (Vec<u64>, Vec<u64>) {
        let rows = clear.rows();
        let (mut a, mut b) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        let [pa, pb, _, imsi, ..] = &veils.parties;
        let mut state = Cached::new(self);
        for row in 0..rows {
            let tokens = &state.of(veils.epoch[row]).tokens;
            let of = |column: &VeiledColumn| {
                let somebody =
                    column.kinds[row].is_hashed() && !column.random[row] && column.kinds[row] != Kind::Service;
                if somebody { tokens.hash(&column.pseudonyms[row]).max(1) } else { 0 }
            };
            let token = of(pa);
            a.push(if token != 0 || pa.kinds[row].is_hashed() { token } else { of(imsi) });
            b.push(of(pb));
        }
        (a, b)
    }
}

/// Rows come in runs of one epoch: look its state up once per run.
struct Cached<'a> {
    veiler: &'a Veiler,
    last: Option<(Epoch, &'a EpochState)>,
}

impl<'a> Cached<'a> {
    fn new(veiler: &'a Veiler) -> Cached<'a> {
        Cached { veiler, last: None }
    }

    fn of(&mut self, epoch: Epoch) -> &'a EpochState {
        match self.last {
            Some((e, state)) if e == epoch => state,
            _ => {
                let state = self.veiler.epochs.get(&epoch).expect("normalise admits leased epochs only");
                self.last = Some((epoch, state));
                state
            }
        }
    }
}
