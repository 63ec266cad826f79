//! Facts about a subscriber, each a function of seed and index: nothing is stored, and the same
//! subscriber has the same number, SIM, phone, home cell and friends in every record.

use super::country::{COUNTRIES, Country};
use super::random::{mix, mix_below};

/// An E.164 number in parts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Line {
    pub calling_code: u64,
    pub national: u64,
}

/// The subscribers of one home network, and the foreign ones who visit it.
pub struct Population {
    pub home: &'static Country,
    pub size: u32,
    seed: u64,
}

/// An index is spread over `0..n` one to one by a prime that does not divide `n`: one each for
/// numbers, SIMs and phones, so that none can be read off another.
const NUMBERS: u64 = 15_485_863;
const SIMS: u64 = 32_452_843;
const PHONES: u64 = 49_979_687;
const FRIENDS: u64 = 24;
/// Type allocation codes (made up) with a million serial numbers each.
const DEVICE_MODELS: u64 = 40;

impl Population {
    pub fn new(home: &'static Country, size: u32, seed: u64) -> Population {
        Population { home, size, seed: mix(seed) }
    }

    pub fn line(&self, who: u32) -> Line {
        let national = self.home.mobile.nth(self.spread(who, NUMBERS, self.home.mobile.size()));
        Line { calling_code: self.home.calling_code, national }
    }

    /// 15 digits.
    pub fn imsi(&self, who: u32) -> u64 {
        imsi(self.home, mix_below(self.seed ^ u64::from(who), 8) / 5, self.spread(who, SIMS, 10_000_000_000))
    }

    /// The 14 digits that identify a phone.
    pub fn imei14(&self, who: u32) -> u64 {
        let device = self.spread(who, PHONES, DEVICE_MODELS * 1_000_000);
        35_000_000_000_000 + (device / 1_000_000 * 1_237 + 104) * 1_000_000 + device % 1_000_000
    }

    /// One of the people this subscriber calls most.
    pub fn friend(&self, who: u32, which: u64) -> u32 {
        mix_below(self.fact(who, 1 + which % FRIENDS), u64::from(self.size)) as u32
    }

    /// A landline this subscriber calls.
    pub fn landline(&self, who: u32, which: u64) -> Line {
        let national = self.home.landline.nth(mix(self.fact(who, 100 + which)));
        Line { calling_code: self.home.calling_code, national }
    }

    /// The country this subscriber is in that day.
    pub fn whereabouts(&self, who: u32, day: u64) -> &'static Country {
        let abroad = mix_below(self.fact(who, 1000 + day / 3), 1000) < 30;
        if abroad { self.other_country(self.fact(who, 2000 + day / 3)) } else { self.home }
    }

    /// Any country but home.
    pub fn other_country(&self, x: u64) -> &'static Country {
        let country = &COUNTRIES[mix_below(x, COUNTRIES.len() as u64) as usize];
        let next = &COUNTRIES[(mix_below(x, COUNTRIES.len() as u64) as usize + 1) % COUNTRIES.len()];
        if country.iso == self.home.iso { next } else { country }
    }

    /// Area code and cell of where this subscriber mostly is.
    pub fn home_cell(&self, who: u32) -> (u64, u64) {
        let cell = mix_below(self.fact(who, 3000), 4000);
        (1000 + cell / 40, 10_000 + cell)
    }

    /// An IPv4 address of the operator's shared range (RFC 6598) or an IPv6 one of the
    /// documentation prefix (RFC 3849), by subscriber.
    pub fn address(&self, who: u32) -> Address {
        let bits = mix(self.fact(who, 4000));
        if bits & 3 == 0 { Address::V6(bits >> 16) } else { Address::V4((bits >> 8) as u32 & 0x003f_ffff) }
    }

    fn fact(&self, who: u32, which: u64) -> u64 {
        mix(self.seed ^ u64::from(who)).wrapping_add(which.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn spread(&self, who: u32, prime: u64, n: u64) -> u64 {
        (u64::from(who) * prime + mix(self.seed ^ prime) % n) % n
    }
}

/// Where a data session is.
pub enum Address {
    /// The lower 22 bits within 100.64.0.0/10.
    V4(u32),
    /// Below 2001:db8::/32.
    V6(u64),
}

/// A number of that country, out of its fiction range where it has one.
pub fn foreign_line(country: &Country, x: u64) -> Line {
    Line { calling_code: country.calling_code, national: country.abroad.nth(x) }
}

/// A SIM of that country.
pub fn foreign_imsi(country: &Country, x: u64) -> u64 {
    imsi(country, x, 9_900_000_000 + x % 100_000_000)
}

fn imsi(country: &Country, network: u64, subscriber: u64) -> u64 {
    let mnc = country.networks[(network % country.networks.len() as u64) as usize];
    (country.mcc * 100 + mnc) * 10_000_000_000 + subscriber
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::generate::country::{home, homes};

    #[test]
    fn no_two_subscribers_share_number_sim_or_phone() {
        for iso in homes() {
            let people = Population::new(home(iso).unwrap(), 300_000, 5);
            let numbers: HashSet<u64> = (0..people.size).map(|w| people.line(w).national).collect();
            let sims: HashSet<u64> = (0..people.size).map(|w| people.imsi(w)).collect();
            let phones: HashSet<u64> = (0..people.size).map(|w| people.imei14(w)).collect();
            assert_eq!((numbers.len(), sims.len(), phones.len()), (300_000, 300_000, 300_000), "{iso}");
        }
    }

    #[test]
    fn home_numbers_are_valid_ones_of_their_country() {
        for country in COUNTRIES.iter().filter(|c| c.mobile.size() > 0) {
            let block = 10u64.pow(country.mobile.digits);
            for i in 0..country.mobile.size() / block * 20 {
                let text = format!("+{}{}", country.calling_code, country.mobile.nth(i * block / 20 + i * 7919 % 1000));
                let parsed = phonenumber::parse(None, &text).unwrap();
                assert!(phonenumber::is_valid(&parsed), "{text}");
            }
        }
    }

    /// libphonenumber knows no fiction ranges, so these are parsed only.
    #[test]
    fn other_numbers_keep_their_country_and_digits() {
        for country in &COUNTRIES {
            for range in [&country.abroad, &country.landline, &country.toll_free] {
                for i in [0, range.size() / 2, range.size() - 1] {
                    let text = format!("+{}{}", country.calling_code, range.nth(i));
                    let parsed = phonenumber::parse(None, &text).unwrap();
                    let read = (u64::from(parsed.code().value()), parsed.national().value());
                    assert_eq!(read, (country.calling_code, range.nth(i)), "{text}");
                }
            }
        }
    }
}
