//! Every setting there is: name, form, unit, default, meaning. The check, the overrides from the
//! environment and the file that `init` writes are all made from this one list.

use toml::Value;

/// What a value must look like.
#[derive(Clone, Copy)]
pub enum Form {
    /// A whole number, both bounds included.
    Integer {
        min: i64,
        max: i64,
    },
    /// The same, or one word.
    IntegerOr {
        min: i64,
        max: i64,
        word: &'static str,
    },
    Text,
    /// Text that may be empty.
    AnyText,
    Flag,
    OneOf(&'static [&'static str]),
    TextList,
    /// Two upper-case letters, ISO 3166-1 alpha-2.
    Country,
    /// Three upper-case letters, ISO 4217.
    Currency,
    /// A name of the IANA time zone database, or a fixed offset.
    Zone,
}

pub struct Setting {
    pub name: &'static str,
    pub form: Form,
    /// As it is written in TOML; empty where there is none and the setting may be left out.
    pub default: &'static str,
    /// Lines of the comment above the setting.
    pub meaning: &'static str,
}

pub struct Section {
    pub name: &'static str,
    pub meaning: &'static str,
    pub settings: &'static [Setting],
}

const fn setting(name: &'static str, form: Form, default: &'static str, meaning: &'static str) -> Setting {
    Setting { name, form, default, meaning }
}

/// All sections but the feeds.
pub const SECTIONS: &[Section] = &[
    Section {
        name: "site",
        meaning: "This site.",
        settings: &[setting("name", Form::Text, "\"cdrveil\"", "Shown in summaries and reports.")],
    },
    Section {
        name: "ingest",
        meaning: "The pipeline: CDR files in, pseudonymised lake out.",
        settings: &[
            setting(
                "workers",
                Form::Integer { min: 0, max: 256 },
                "0",
                "Threads that decode, pseudonymise and seal; 0 takes one per core.",
            ),
            setting(
                "block_bytes",
                Form::Integer { min: 65_536, max: 67_108_864 },
                "8388608",
                "Input handed to a worker at a time, in bytes of decompressed text. Memory grows with it.",
            ),
            setting(
                "block_rows",
                Form::Integer { min: 1_024, max: 262_144 },
                "131072",
                "Rows sealed under one data key and sorted together, at most.",
            ),
            setting(
                "max_record_bytes",
                Form::Integer { min: 256, max: 16_777_216 },
                "1048576",
                "A longer record is refused (sealed into the quarantine as far as this), in bytes.",
            ),
            setting(
                "max_ratio",
                Form::Integer { min: 2, max: 100_000 },
                "1000",
                "A compressed file that grows by more than this factor is refused as a decompression bomb.",
            ),
            setting(
                "orphan_after_hours",
                Form::Integer { min: 1, max: 8_760 },
                "24",
                "Files of a batch that was never committed are swept after this many hours; a writer gives up at half of it.",
            ),
            setting(
                "rescan_s",
                Form::Integer { min: 1, max: 86_400 },
                "30",
                "`ingest --watch` looks through its folders this often, in seconds, beside what the kernel reports.",
            ),
        ],
    },
    Section {
        name: "lake",
        meaning: "Delta tables under lake/ and vault/.",
        settings: &[setting(
            "compression_level",
            Form::Integer { min: 1, max: 19 },
            "1",
            "Zstandard level of Parquet files: 1 is fast, 19 is small.",
        )],
    },
    Section {
        name: "release",
        meaning: "What leaves the lake zone: aggregates that cannot single a person out.",
        settings: &[
            setting(
                "store",
                Form::Text,
                "\"lake/release.sqlite\"",
                "SQLite file that analysts query; relative to this file.",
            ),
            setting(
                "distinct_subscribers",
                Form::Integer { min: 2, max: 1_000_000 },
                "20",
                "A cell is withheld when fewer different subscribers stand behind it, on each side that the service has.",
            ),
            setting(
                "release_after_hours",
                Form::Integer { min: 0, max: 8_760 },
                "6",
                "A window waits this many hours after the watermark has passed its end.",
            ),
            setting(
                "idle_after_hours",
                Form::Integer { min: 0, max: 8_760 },
                "24",
                "A feed that has brought nothing for this many hours no longer holds windows back.",
            ),
            setting(
                "rounding_base",
                Form::Integer { min: 1, max: 1_000 },
                "5",
                "Counts are rounded to multiples of this.",
            ),
        ],
    },
    Section {
        name: "cubes",
        meaning: "Aggregates that are made.",
        settings: &[setting(
            "traffic_hourly",
            Form::Flag,
            "true",
            "Hour x service x direction x country A x country B x serving network.",
        )],
    },
];

/// Settings of `[feeds.NAME]`.
pub const FEED: &[Setting] = &[
    setting(
        "mapping",
        Form::Text,
        "",
        "How its records are read: the name of a shipped mapping, or the path of a .toml file (relative to this file).",
    ),
    setting(
        "kind",
        Form::OneOf(&["files", "append"]),
        "\"files\"",
        "\"files\": each file is complete and loaded whole. \"append\": one file grows and is rotated (Asterisk's Master.csv).",
    ),
    setting(
        "inbox",
        Form::Text,
        "",
        "Folder that `ingest --watch` takes files from (relative to this file). Default: inbox/NAME.",
    ),
    setting(
        "settle_s",
        Form::Integer { min: 0, max: 86_400 },
        "10",
        "A file is complete when it was renamed into the folder, or unchanged for this long, in seconds.",
    ),
    setting(
        "join_window_s",
        Form::Integer { min: 0, max: 604_800 },
        "14400",
        "For formats with two records per call: how long a half waits for the other, in seconds of event time.",
    ),
    setting(
        "idle_after_s",
        Form::Integer { min: 1, max: 31_536_000 },
        "3600",
        "A feed without files for this long is reported as idle, in seconds.",
    ),
];

/// Settings of `[feeds.NAME.profile]`: how the operator's switches write numbers and times.
pub const PROFILE: &[Setting] = &[
    setting(
        "version",
        Form::Integer { min: 1, max: 1_000_000 },
        "1",
        "Raise it with every change; it is stored with every batch.",
    ),
    setting("home_country", Form::Country, "", "Country of numbers without one, ISO 3166-1 alpha-2."),
    setting(
        "zone",
        Form::Zone,
        "\"UTC\"",
        "Zone of times that name none, as in the IANA database: \"Europe/Brussels\".",
    ),
    setting("currency", Form::Currency, "", "Currency of charges that name none, ISO 4217: \"EUR\"."),
    setting(
        "international_prefixes",
        Form::TextList,
        "",
        "Digits dialled before a country code. Default: those of the home country.",
    ),
    setting(
        "national_prefix",
        Form::AnyText,
        "",
        "Digit dialled before a national number. Default: that of the home country; empty: none.",
    ),
    setting("carrier_prefixes", Form::TextList, "", "Carrier selection codes to be removed."),
    setting("porting_prefixes", Form::TextList, "", "Routing numbers of number portability to be removed."),
    setting(
        "national_form",
        Form::OneOf(&["auto", "national", "international"]),
        "\"auto\"",
        "What digits without any prefix are: national numbers, a country code first, or judged by length. State it where \
         home numbers vary much in length (Germany, Austria, Italy).",
    ),
    setting(
        "ton",
        Form::OneOf(&["3gpp", "isup", "none"]),
        "\"3gpp\"",
        "Coding of type-of-number columns: TS 24.008, ITU-T Q.763, or not to be relied on.",
    ),
    setting(
        "ambiguous_time",
        Form::OneOf(&["earlier", "later", "reject"]),
        "\"earlier\"",
        "Which instant a local time means that occurs twice when clocks go back.",
    ),
    setting(
        "accept_late_days",
        Form::IntegerOr { min: 0, max: 36_500, word: "unlimited" },
        "45",
        "Older records go to quarantine, in days or \"unlimited\"; their epoch must exist too (cdrveil-vault epoch create).",
    ),
    setting(
        "future_hours",
        Form::Integer { min: 0, max: 8_760 },
        "24",
        "Records further ahead of the clock go to quarantine, in hours.",
    ),
    setting(
        "evidence",
        Form::OneOf(&["packed", "original"]),
        "\"packed\"",
        "What is sealed to the vault: the exact canonical record (\"packed\"), or the original bytes.",
    ),
    setting(
        "trunks",
        Form::TextList,
        "",
        "Trunk groups that may stand in the lake by name; all others become \"other\".",
    ),
];

impl Form {
    /// What is wrong with `value`, or nothing. Says what would be right.
    pub fn refuse(&self, value: &Value) -> Option<String> {
        match (self, value) {
            (Form::Integer { min, max }, Value::Integer(n)) if (min..=max).contains(&n) => None,
            (Form::Integer { min, max }, _) => Some(format!("must be a whole number from {min} to {max}")),
            (Form::IntegerOr { min, max, .. }, Value::Integer(n)) if (min..=max).contains(&n) => None,
            (Form::IntegerOr { word, .. }, Value::String(s)) if s == word => None,
            (Form::IntegerOr { min, max, word }, _) => {
                Some(format!("must be a whole number from {min} to {max}, or \"{word}\""))
            }
            (Form::Text, Value::String(s)) if !s.is_empty() => None,
            (Form::AnyText, Value::String(_)) => None,
            (Form::Text | Form::AnyText, _) => Some("must be text in quotes".into()),
            (Form::Flag, Value::Boolean(_)) => None,
            (Form::Flag, _) => Some("must be true or false".into()),
            (Form::OneOf(words), Value::String(s)) if words.contains(&s.as_str()) => None,
            (Form::OneOf(words), _) => Some(format!("must be one of \"{}\"", words.join("\", \""))),
            (Form::TextList, Value::Array(items)) if items.iter().all(Value::is_str) => None,
            (Form::TextList, _) => Some("must be a list of texts: [\"…\", \"…\"]".into()),
            (Form::Country, Value::String(s)) if upper_case(s, 2) => None,
            (Form::Country, _) => Some("must be two upper-case letters (ISO 3166-1 alpha-2), like \"BE\"".into()),
            (Form::Currency, Value::String(s)) if upper_case(s, 3) => None,
            (Form::Currency, _) => Some("must be three upper-case letters (ISO 4217), like \"EUR\"".into()),
            (Form::Zone, Value::String(s)) if zone_exists(s) => None,
            (Form::Zone, _) => Some("must be a time zone, like \"Europe/Brussels\", \"UTC\" or \"+02:00\"".into()),
        }
    }

    /// Reads the text of an environment variable in this form; lists are separated by commas.
    pub fn read(&self, text: &str) -> Value {
        let number = || text.trim().parse().map(Value::Integer).ok();
        let parsed = match self {
            Form::Integer { .. } | Form::IntegerOr { .. } => number(),
            Form::Flag => text.trim().parse().map(Value::Boolean).ok(),
            Form::TextList => {
                let items = text.split(',').map(str::trim).filter(|s| !s.is_empty());
                Some(Value::Array(items.map(|s| Value::String(s.into())).collect()))
            }
            Form::Text | Form::AnyText | Form::OneOf(_) | Form::Country | Form::Currency | Form::Zone => None,
        };
        parsed.unwrap_or_else(|| Value::String(text.into()))
    }
}

fn upper_case(s: &str, letters: usize) -> bool {
    s.len() == letters && s.bytes().all(|b| b.is_ascii_uppercase())
}

fn zone_exists(s: &str) -> bool {
    let offset = || -> Option<bool> {
        let (hours, minutes) = s.strip_prefix(['+', '-'])?.split_once(':')?;
        let number =
            |t: &str| (t.len() == 2 && t.bytes().all(|b| b.is_ascii_digit())).then(|| t.parse::<u8>().ok()).flatten();
        Some(number(hours)? <= 14 && number(minutes)? < 60)
    };
    offset().unwrap_or(false) || jiff::tz::TimeZone::get(s).is_ok()
}
