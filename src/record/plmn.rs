//! Mobile networks: MCC and MNC (ITU-T E.212).

use std::fmt;

/// A public land mobile network. `Plmn::NONE` where a record names none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Plmn(pub u32);

impl Plmn {
    pub const NONE: Plmn = Plmn(0);

    /// `mcc` of three digits (200–999), `mnc` of `mnc_digits` (2 or 3) digits.
    pub fn new(mcc: u32, mnc: u32, mnc_digits: u32) -> Option<Plmn> {
        let fits = match mnc_digits {
            2 => mnc < 100,
            3 => mnc < 1000,
            _ => false,
        };
        (fits && (200..1000).contains(&mcc)).then_some(Plmn(mcc * 10_000 + mnc * 10 + mnc_digits))
    }

    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    pub fn mcc(self) -> u32 {
        self.0 / 10_000
    }
}

impl fmt::Display for Plmn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mcc, mnc, width) = (self.0 / 10_000, self.0 / 10 % 1000, (self.0 % 10) as usize);
        write!(f, "{mcc:03}-{mnc:0width$}")
    }
}
