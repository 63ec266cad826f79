//! The feed profile: what a mapping cannot know about the network a file comes from.

use crate::record::identifier::Country;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Version of the canonical forms this code makes. A change of any canonical form is a re-key
/// event for the identifiers it touches (privacy.md 2.2), so it is part of every profile digest.
pub const CANON_VERSION: u32 = 1;

/// One feed's profile, as it stands in the site's configuration.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Raised by the operator whenever the profile changes; stored with every batch.
    #[serde(default = "one")]
    pub version: u32,
    /// ISO 3166-1 alpha-2 code of the country whose dialling rules the numbers follow.
    pub home_country: String,
    /// IANA name of the zone of local times.
    #[serde(default = "utc")]
    pub zone: String,
    /// ISO 4217 code for charges whose records name no currency.
    #[serde(default)]
    pub currency: Option<String>,
    /// Prefixes dialled before a foreign number. Unset: those of the home country, and `00`.
    #[serde(default)]
    pub international_prefixes: Option<Vec<String>>,
    /// Trunk prefix. Unset: the home country's; empty: none.
    #[serde(default)]
    pub national_prefix: Option<String>,
    /// Carrier selection codes; removed, and what follows is read anew.
    #[serde(default)]
    pub carrier_prefixes: Vec<String>,
    /// Routing numbers put before a ported number (digits, and `a` to `e`, `*`, `#` of TBCD); removed.
    #[serde(default)]
    pub porting_prefixes: Vec<String>,
    /// What digits without any prefix are.
    #[serde(default)]
    pub national_form: NationalForm,
    /// How type-of-number columns are coded.
    #[serde(default)]
    pub ton: TonCoding,
    /// Events older than this when they arrive go to quarantine.
    #[serde(default)]
    pub accept_late_days: AcceptLate,
    /// Events further ahead than this go to quarantine.
    #[serde(default = "day_of_hours")]
    pub future_hours: u32,
    /// What is sealed as evidence: the packed canonical record, or the original bytes.
    #[serde(default)]
    pub evidence: Evidence,
    /// Trunk groups that may be named in the lake; all others become one value.
    #[serde(default)]
    pub trunks: Vec<String>,
    /// Which instant a local time means that occurs twice when clocks go back.
    #[serde(default)]
    pub ambiguous_time: AmbiguousTime,
}

/// What a number without `+`, international or trunk prefix is. Never guessed from other records:
/// the digits and the profile alone decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NationalForm {
    /// A national number of the home country.
    National,
    /// Calling code and national number.
    International,
    /// In this order: six digits or fewer are a short code (unless the home country has no trunk
    /// prefix and subscribers with so few); home calling code followed by a possible length, so
    /// international; possible length of a home number, so national; fewer digits than any home
    /// subscriber has, so a short code; any assigned calling code, so international; else a
    /// national-only number (class short). Where home numbers vary much in length (Germany,
    /// Austria, Italy) a foreign number without prefix may be read as national: such feeds state
    /// `national` or `international`.
    #[default]
    Auto,
}

/// Coding of type-of-number columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TonCoding {
    /// TS 24.008: 0 unknown, 1 international, 2 national, 3 network, 4 dedicated, 5 alphanumeric,
    /// 6 abbreviated; or the whole octet in hexadecimal or decimal (91, 145).
    #[default]
    #[serde(rename = "3gpp")]
    ThreeGpp,
    /// ITU-T Q.763 nature of address: 1 subscriber, 2 unknown, 3 national, 4 international.
    Isup,
    /// The column says nothing reliable.
    None,
}

/// A bound on lateness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "DaysOrWord", into = "DaysOrWord")]
pub enum AcceptLate {
    Days(u32),
    Unlimited,
}

impl Default for AcceptLate {
    fn default() -> AcceptLate {
        AcceptLate::Days(45)
    }
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(untagged)]
enum DaysOrWord {
    Days(u32),
    Word(String),
}

impl TryFrom<DaysOrWord> for AcceptLate {
    type Error = &'static str;

    fn try_from(text: DaysOrWord) -> Result<AcceptLate, &'static str> {
        match text {
            DaysOrWord::Days(days) => Ok(AcceptLate::Days(days)),
            DaysOrWord::Word(word) if word == "unlimited" => Ok(AcceptLate::Unlimited),
            DaysOrWord::Word(_) => Err("a number of days or \"unlimited\" is needed"),
        }
    }
}

impl From<AcceptLate> for DaysOrWord {
    fn from(bound: AcceptLate) -> DaysOrWord {
        match bound {
            AcceptLate::Days(days) => DaysOrWord::Days(days),
            AcceptLate::Unlimited => DaysOrWord::Word("unlimited".into()),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    #[default]
    Packed,
    Original,
}

/// The hour that clocks repeat.
///
/// The default is `earlier`: rejecting would take an hour of every local-time feed each autumn,
/// and the error of the choice is one hour at most. The end of a call is read as the later
/// instant when the earlier one would lie before its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AmbiguousTime {
    #[default]
    Earlier,
    Later,
    Reject,
}

/// What is wrong with a profile, or with a mapping in its light. Configuration only, no record.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {message}")]
pub struct ProfileError {
    /// Name of the setting, or of the mapped field.
    pub setting: &'static str,
    pub message: String,
}

impl ProfileError {
    pub(crate) fn new(setting: &'static str, message: impl Into<String>) -> ProfileError {
        ProfileError { setting, message: message.into() }
    }
}

impl Profile {
    /// A profile with every default.
    pub fn of(home_country: &str, zone: &str) -> Profile {
        Profile {
            version: one(),
            home_country: home_country.into(),
            zone: zone.into(),
            currency: None,
            international_prefixes: None,
            national_prefix: None,
            carrier_prefixes: Vec::new(),
            porting_prefixes: Vec::new(),
            national_form: NationalForm::default(),
            ton: TonCoding::default(),
            accept_late_days: AcceptLate::default(),
            future_hours: day_of_hours(),
            evidence: Evidence::default(),
            trunks: Vec::new(),
            ambiguous_time: AmbiguousTime::default(),
        }
    }

    /// First and last acceptable event start in ms, for records that arrive at `now_ms`.
    pub fn window_ms(&self, now_ms: i64) -> (i64, i64) {
        let earliest = match self.accept_late_days {
            AcceptLate::Days(days) => now_ms - i64::from(days) * 86_400_000,
            AcceptLate::Unlimited => i64::MIN,
        };
        (earliest, now_ms + i64::from(self.future_hours) * 3_600_000)
    }

    /// 16 hex digits that change with any setting that could change a record.
    pub fn digest(&self) -> String {
        let text = serde_json::to_string(self).expect("a profile has only strings and numbers");
        let hash = Sha256::digest(format!("cdrveil/canon/{CANON_VERSION}/{text}"));
        hash[..8].iter().map(|b| format!("{b:02x}")).collect()
    }

    pub(crate) fn home(&self) -> Result<Country, ProfileError> {
        Country::parse(&self.home_country).ok_or_else(|| {
            ProfileError::new("home_country", "two capital letters of ISO 3166-1 are needed, such as BE")
        })
    }

    pub(crate) fn currency_code(&self) -> Result<Option<[u8; 3]>, ProfileError> {
        match self.currency.as_deref().map(str::as_bytes) {
            None => Ok(None),
            Some(&[a, b, c]) if [a, b, c].iter().all(u8::is_ascii_uppercase) => Ok(Some([a, b, c])),
            Some(_) => Err(ProfileError::new("currency", "three capital letters of ISO 4217 are needed, such as EUR")),
        }
    }
}

fn one() -> u32 {
    1
}

fn utc() -> String {
    "UTC".into()
}

fn day_of_hours() -> u32 {
    24
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_strict_and_its_defaults_are_documented_ones() {
        let profile: Profile = toml::from_str("home_country = \"BE\"").unwrap();
        assert_eq!(profile, Profile::of("BE", "UTC"));
        assert_eq!(profile.window_ms(0), (-45 * 86_400_000, 86_400_000));
        for wrong in [
            "",
            "home_country = \"BE\"\nhome = \"x\"",
            "home_country = \"BE\"\naccept_late_days = \"ever\"",
            "home_country = \"BE\"\naccept_late_days = -1",
            "home_country = \"BE\"\nton = \"q931\"",
        ] {
            assert!(toml::from_str::<Profile>(wrong).is_err(), "{wrong}");
        }
        let late: Profile = toml::from_str("home_country = \"BE\"\naccept_late_days = \"unlimited\"").unwrap();
        assert_eq!(late.window_ms(5).0, i64::MIN);
    }

    #[test]
    fn every_setting_changes_the_digest() {
        let base = Profile::of("BE", "UTC");
        let mut seen = std::collections::BTreeSet::from([base.digest()]);
        let changes: [fn(&mut Profile); 8] = [
            |p| p.version = 2,
            |p| p.home_country = "FR".into(),
            |p| p.zone = "Europe/Brussels".into(),
            |p| p.national_form = NationalForm::International,
            |p| p.ton = TonCoding::Isup,
            |p| p.carrier_prefixes = vec!["1066".into()],
            |p| p.porting_prefixes = vec!["1066".into()],
            |p| p.ambiguous_time = AmbiguousTime::Reject,
        ];
        for change in changes {
            let mut profile = base.clone();
            change(&mut profile);
            assert!(seen.insert(profile.digest()));
        }
        assert_eq!(base.digest().len(), 16);
    }
}
