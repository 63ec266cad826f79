//! The one place where clear becomes veiled.
//!
//! `pseudonym ‖ blind index = HMAC-SHA-256(K_dom, "cdrveil/v1/id" ‖ class ‖ lp(canonical))`
//! (construction v1, design privacy.md 1.3): the left 16 bytes go to the lake, the right 16 find
//! evidence in the vault. Epoch by event time, in UTC.

pub mod chained;
pub mod hmac;
pub mod twin;

use crate::keys::KeyRing;
use crate::record::clear::{Clear, Direction};
use crate::record::identifier::Party;
use crate::record::time::{Day, Epoch};
use crate::record::veiled::{Naming, VeiledColumn, Veils};
use hmac::IdHasher;
use rand::RngCore;
use siphasher::sip::SipHasher24;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// Keyed states of every leased epoch, ready for use by many threads. No `Debug`.
pub struct Veiler {
    epochs: BTreeMap<Epoch, EpochState>,
}

struct EpochState {
    ids: IdHasher,
    /// Key of the tally tokens; a hasher is made of it per use, as `SipHasher24` cannot be wiped.
    tokens: Zeroizing<[u8; 16]>,
}

impl Veiler {
    pub fn new(ring: &KeyRing) -> Veiler {
        let epochs = ring.epochs.iter().map(|(epoch, lease)| {
            let mut tokens = Zeroizing::new([0; 16]);
            tokens.copy_from_slice(&lease.tally.expose()[..16]);
            (*epoch, EpochState { ids: IdHasher::new(&lease.analytics), tokens })
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

    /// Tokens count people: the A side is its number or URI, else its IMSI, which is the called
    /// party's in a terminating record and then says nothing of the caller; 0 is nobody.
    fn tokens(&self, clear: &Clear, veils: &Veils) -> (Vec<u64>, Vec<u64>) {
        let rows = clear.rows();
        let (mut a, mut b) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        let [pa, pb, _, imsi, ..] = &veils.parties;
        let mut state = Cached::new(self);
        for row in 0..rows {
            let tokens = SipHasher24::new_with_key(&state.of(veils.epoch[row]).tokens);
            let of = |column: &VeiledColumn| match Naming::of_kind(column.kinds[row]) {
                Some(naming) if !column.random[row] => naming.token(tokens.hash(&column.pseudonyms[row])),
                _ => 0,
            };
            let token = of(pa);
            let known = token != 0 || clear.direction[row] == Direction::Terminating;
            a.push(if known { token } else { of(imsi) });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{DomainKey, EpochLease, SealingKey};
    use crate::record::clear::IdColumn;
    use crate::record::decoded::Span;
    use crate::record::identifier::Kind;

    /// One row of each: a caller's number present or not, originating or terminating.
    fn clear(rows: &[(bool, Direction)]) -> Clear {
        let mut clear = Clear::default();
        clear.text.extend_from_slice(b"+32470000001206010000000001");
        let column = |kind: Kind, span: Span| IdColumn { kinds: vec![kind; rows.len()], spans: vec![span; rows.len()] };
        clear.parties = Party::ALL.map(|p| match p {
            Party::Imsi => column(Kind::Imsi, Span { start: 12, len: 15 }),
            Party::A => column(Kind::E164, Span { start: 0, len: 12 }),
            _ => column(Kind::Absent, Span::NONE),
        });
        for (row, (known, direction)) in rows.iter().enumerate() {
            if !known {
                clear.parties[Party::A as usize].kinds[row] = Kind::Withheld;
                clear.parties[Party::A as usize].spans[row] = Span::NONE;
            }
            clear.direction.push(*direction);
            clear.start_ms.push(1_700_000_000_000);
            clear.sensitive.push(false);
        }
        clear
    }

    fn veiler() -> Veiler {
        let lease = EpochLease {
            generation: 1,
            analytics: DomainKey::from_bytes([1; 32]),
            tally: DomainKey::from_bytes([2; 32]),
            identities: SealingKey(Vec::new()),
            recipients: BTreeMap::new(),
        };
        let epoch = Day::of_ms(1_700_000_000_000).epoch();
        Veiler::new(&KeyRing {
            file_key: Zeroizing::new([0; 32]),
            epochs: BTreeMap::from([(epoch, lease)]),
            days: BTreeMap::new(),
        })
    }

    #[test]
    fn the_called_subscriber_is_never_counted_as_the_caller() {
        use Direction::{Originating, Terminating};
        let rows = [(true, Originating), (false, Originating), (true, Terminating), (false, Terminating)];
        let veils = veiler().veil(&clear(&rows));
        let [known, by_imsi, called_by_known, called_by_nobody] = veils.a_token[..] else { panic!("four rows") };
        assert_ne!(known, 0);
        assert_ne!(by_imsi, 0);
        assert_ne!(by_imsi, known);
        assert_eq!(called_by_known, known);
        assert_eq!(called_by_nobody, 0);
        assert_eq!((Naming::of_token(known), Naming::of_token(by_imsi)), (Naming::Number, Naming::Imsi));
    }

    #[test]
    fn only_subscribers_are_counted_each_by_what_names_it() {
        for kind in Kind::ALL {
            let mut clear = clear(&[(true, Direction::Terminating)]);
            clear.parties[Party::A as usize].kinds[0] = kind;
            let token = veiler().veil(&clear).a_token[0];
            let naming = match kind {
                Kind::E164 => Some(Naming::Number),
                Kind::Imsi => Some(Naming::Imsi),
                Kind::Uri => Some(Naming::Uri),
                _ => None,
            };
            assert_eq!((token != 0).then(|| Naming::of_token(token)), naming, "{kind:?}");
            // an extension or an alias stands for whoever holds the SIM
            clear.direction[0] = Direction::Originating;
            let token = veiler().veil(&clear).a_token[0];
            assert_eq!(Naming::of_token(token), naming.unwrap_or(Naming::Imsi), "{kind:?}");
            assert_ne!(token, 0);
        }
    }

    #[test]
    fn sensitive_rows_get_fresh_pseudonyms_and_no_token_but_true_blind_indices() {
        let mut clear = clear(&[(true, Direction::Originating); 3]);
        clear.sensitive = vec![false, true, true];
        let veils = veiler().veil(&clear);
        let a = &veils.parties[Party::A as usize];
        assert_eq!(a.random, [false, true, true]);
        assert!(a.pseudonyms[0] != a.pseudonyms[1] && a.pseudonyms[1] != a.pseudonyms[2]);
        assert_eq!(a.blind[0], a.blind[2]);
        assert_eq!(veils.a_token[1..], [0, 0]);
    }
}
