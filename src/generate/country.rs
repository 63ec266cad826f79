//! What a country looks like in call records: numbering, networks, services.
//!
//! Numbers of other countries are taken from ranges that the regulator keeps for film and fiction,
//! where one is documented: Ofcom (GB 07700 900xxx, 020 7946 0xxx), Arcep (FR 06 39 98 xx xx,
//! 01 99 00 xx xx), Bundesnetzagentur (DE 0171 39200xx, 0176 040690xx, 030 23125xxx), PTS
//! (SE 070-174 06xx, 08-465 004xx), ComReg (IE 020 91x xxxx), NANPA (US 555-01xx). No such range
//! is large enough for a home network of millions, so home subscribers are spread over the
//! country's mobile ranges: synthetic, but such a number may exist. Never dial one.

/// National numbers: a leading part, then `digits` more.
pub struct Range {
    pub leads: &'static [u64],
    pub digits: u32,
}

impl Range {
    pub fn size(&self) -> u64 {
        self.leads.len() as u64 * 10u64.pow(self.digits)
    }

    /// The `i`-th number of the range, modulo its size.
    pub fn nth(&self, i: u64) -> u64 {
        let (i, block) = (i % self.size(), 10u64.pow(self.digits));
        self.leads[(i / block) as usize] * block + i % block
    }
}

pub struct Country {
    pub iso: &'static str,
    pub calling_code: u64,
    pub zone: &'static str,
    pub currency: &'static str,
    pub mcc: u64,
    /// Two-digit mobile network codes.
    pub networks: &'static [u64],
    /// Where a home network's subscribers live; empty for countries that are only called.
    pub mobile: Range,
    /// Where the numbers of this country come from when another is home.
    pub abroad: Range,
    pub landline: Range,
    pub toll_free: Range,
    pub emergency: &'static [u64],
    pub helplines: &'static [u64],
    pub short_codes: Range,
}

/// All that may be home have trunk prefix 0 and international prefix 00.
pub static COUNTRIES: [Country; 9] = [
    Country {
        iso: "BE",
        calling_code: 32,
        zone: "Europe/Brussels",
        currency: "EUR",
        mcc: 206,
        networks: &[1, 10, 20],
        mobile: Range { leads: &[46, 47, 48, 49], digits: 7 },
        abroad: Range { leads: &[47000], digits: 4 },
        landline: Range { leads: &[25, 26, 27], digits: 6 },
        toll_free: Range { leads: &[8001], digits: 4 },
        emergency: &[112, 112, 112, 100, 101],
        helplines: &[116123, 116000, 116111, 1712, 1813, 106, 107],
        short_codes: Range { leads: &[3, 4, 8], digits: 3 },
    },
    Country {
        iso: "NL",
        calling_code: 31,
        zone: "Europe/Amsterdam",
        currency: "EUR",
        mcc: 204,
        networks: &[4, 8, 16],
        mobile: Range { leads: &[61, 62, 63, 64, 65], digits: 7 },
        abroad: Range { leads: &[61000], digits: 4 },
        landline: Range { leads: &[207], digits: 6 },
        toll_free: Range { leads: &[8000], digits: 3 },
        emergency: &[112],
        helplines: &[113, 116000, 116111, 116123],
        short_codes: Range { leads: &[3, 4, 7], digits: 3 },
    },
    Country {
        iso: "FR",
        calling_code: 33,
        zone: "Europe/Paris",
        currency: "EUR",
        mcc: 208,
        networks: &[1, 10, 15, 20],
        mobile: Range { leads: &[61, 62, 66, 67, 68], digits: 7 },
        abroad: Range { leads: &[63998], digits: 4 },
        landline: Range { leads: &[19900], digits: 4 },
        toll_free: Range { leads: &[80500], digits: 4 },
        emergency: &[112, 112, 15, 17, 18],
        helplines: &[3114, 3919, 116000, 119],
        short_codes: Range { leads: &[3, 7], digits: 4 },
    },
    Country {
        iso: "DE",
        calling_code: 49,
        zone: "Europe/Berlin",
        currency: "EUR",
        mcc: 262,
        networks: &[1, 2, 3],
        mobile: Range { leads: &[1511, 1512, 1514, 1515], digits: 7 },
        abroad: Range { leads: &[17139200, 176040690], digits: 2 },
        landline: Range { leads: &[3023125], digits: 3 },
        toll_free: Range { leads: &[800555], digits: 4 },
        emergency: &[112, 112, 110],
        helplines: &[116000, 116111, 116123, 116016],
        short_codes: Range { leads: &[2, 3, 8], digits: 4 },
    },
    Country {
        iso: "GB",
        calling_code: 44,
        zone: "Europe/London",
        currency: "GBP",
        mcc: 234,
        networks: &[10, 15, 20, 30],
        mobile: Range { leads: &[74, 75], digits: 8 },
        abroad: Range { leads: &[7700900], digits: 3 },
        landline: Range { leads: &[2079460], digits: 3 },
        toll_free: Range { leads: &[8081570], digits: 3 },
        emergency: &[112, 999, 999],
        helplines: &[116000, 116111, 116123],
        short_codes: Range { leads: &[6, 8], digits: 4 },
    },
    Country {
        iso: "IE",
        calling_code: 353,
        zone: "Europe/Dublin",
        currency: "EUR",
        mcc: 272,
        networks: &[1, 3, 5],
        mobile: Range { leads: &[83, 85, 86, 87, 89], digits: 7 },
        abroad: Range { leads: &[2091], digits: 5 },
        landline: Range { leads: &[15], digits: 6 },
        toll_free: Range { leads: &[18005], digits: 5 },
        emergency: &[112, 999],
        helplines: &[116000, 116111, 116123],
        short_codes: Range { leads: &[50, 51], digits: 3 },
    },
    Country {
        iso: "SE",
        calling_code: 46,
        zone: "Europe/Stockholm",
        currency: "SEK",
        mcc: 240,
        networks: &[1, 7, 8],
        mobile: Range { leads: &[70, 72, 73, 76, 79], digits: 7 },
        abroad: Range { leads: &[70174061, 70174062, 70174063, 70174064, 70174065], digits: 1 },
        landline: Range { leads: &[8465004], digits: 2 },
        toll_free: Range { leads: &[2050], digits: 4 },
        emergency: &[112],
        helplines: &[116000, 116111, 116123],
        short_codes: Range { leads: &[71, 72], digits: 3 },
    },
    Country {
        iso: "US",
        calling_code: 1,
        zone: "America/New_York",
        currency: "USD",
        mcc: 310,
        networks: &[26, 30, 41],
        mobile: Range { leads: &[], digits: 0 },
        abroad: Range { leads: &[20255501, 21255501, 31255501, 41555501, 61755501], digits: 2 },
        landline: Range { leads: &[20255501], digits: 2 },
        toll_free: Range { leads: &[80055501], digits: 2 },
        emergency: &[911],
        helplines: &[988],
        short_codes: Range { leads: &[2, 3], digits: 4 },
    },
    Country {
        iso: "AT",
        calling_code: 43,
        zone: "Europe/Vienna",
        currency: "EUR",
        mcc: 232,
        networks: &[1, 3, 5],
        mobile: Range { leads: &[660, 664, 676, 699], digits: 7 },
        abroad: Range { leads: &[664000], digits: 4 },
        landline: Range { leads: &[15], digits: 6 },
        toll_free: Range { leads: &[80010], digits: 4 },
        emergency: &[112, 133, 144],
        helplines: &[142, 147, 116000, 116111, 116123],
        short_codes: Range { leads: &[8], digits: 4 },
    },
];

/// A country that can be home, by its ISO 3166 code.
pub fn home(iso: &str) -> Option<&'static Country> {
    COUNTRIES.iter().find(|c| c.iso.eq_ignore_ascii_case(iso) && c.mobile.size() > 0)
}

/// Codes that `home` takes.
pub fn homes() -> Vec<&'static str> {
    COUNTRIES.iter().filter(|c| c.mobile.size() > 0).map(|c| c.iso).collect()
}
