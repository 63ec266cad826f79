//! Every setting there is: name, form, unit, default, meaning. The check, the overrides from the
//! environment and the file that `init` writes are all made from this one list.

use super::form::Form;

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
                "commit_interval",
                Form::Duration { min_ms: 100, max_ms: 600_000 },
                "\"15s\"",
                "Kafka feeds commit this often to lake and vault, as \"500ms\", \"15s\", \"2m\". Shorter is fresher; longer makes fewer, larger files.",
            ),
            setting(
                "stop_within",
                Form::Duration { min_ms: 1_000, max_ms: 3_600_000 },
                "\"30s\"",
                "After SIGTERM what is staged is committed; when that takes longer than this, it is given up and read again at the next start.",
            ),
        ],
    },
    Section {
        name: "telemetry",
        meaning: "Metrics and health over HTTP: /metrics (Prometheus), /live, /ready. No identifier is ever in them.",
        settings: &[setting(
            "listen",
            Form::Listen,
            "\"\"",
            "Address and port, as \"127.0.0.1:9464\"; empty: off. Each process needs its own: CDRVEIL__TELEMETRY__LISTEN.",
        )],
    },
    Section {
        name: "lake",
        meaning: "Delta tables under lake/ and vault/.",
        settings: &[
            setting(
                "compression_level",
                Form::Integer { min: 1, max: 19 },
                "1",
                "Zstandard level of Parquet files: 1 is fast, 19 is small.",
            ),
            setting(
                "compact_target_mib",
                Form::Integer { min: 1, max: 1_024 },
                "128",
                "Size of the files that compaction makes, in MiB. Its memory is about four times that.",
            ),
            setting(
                "compact_files",
                Form::Integer { min: 2, max: 10_000 },
                "16",
                "So many small files of about one size are compacted while their day still fills; once it is over, all are.",
            ),
            setting(
                "upkeep_interval",
                Form::Duration { min_ms: 1_000, max_ms: 86_400_000 },
                "\"5m\"",
                "How often `cdrveil steward` and `cdrveil-vault compact` make a pass, unless they are told --once.",
            ),
        ],
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
                "A cell is withheld when fewer different subscribers stand behind it, on each side that the service has. \
                 Below 20 a site is warned with every release.",
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
            "Hour x service x direction x country A x country B x serving network. false: ingest tallies nothing, and what \
             is loaded meanwhile is never released.",
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
        "columns",
        Form::TextList,
        "",
        "Kafka feeds only: names of the columns of delimited messages that begin without a header line.",
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

/// Settings of `[feeds.NAME.kafka]`: the records come from topics instead of files.
pub const KAFKA_FEED: &[Setting] = &[
    setting("brokers", Form::Brokers, "", "Where the cluster is first asked: [\"kafka1:9092\", \"kafka2:9092\"]."),
    setting("topics", Form::Topics, "", "Topics whose messages this feed's mapping and profile fit: [\"cdr.voice\"]."),
    setting(
        "group",
        Form::Text,
        "",
        "Consumer group; processes of one group share the partitions. Positions stand in the lake's batch log; the group's \
         offsets only tell lag tools.",
    ),
    setting(
        "start",
        Form::OneOf(&["earliest", "latest"]),
        "\"earliest\"",
        "Where a partition begins of which nothing was committed yet.",
    ),
    setting(
        "lost_offsets",
        Form::OneOf(&["stop", "skip"]),
        "\"stop\"",
        "When the topic's retention has deleted what would be read next: stop with an error, or go on and count the gap.",
    ),
    setting(
        "max_message_bytes",
        Form::Integer { min: 1_024, max: 1_073_741_824 },
        "67108864",
        "A message that is longer once decompressed is refused whole, in bytes.",
    ),
    setting(
        "token_file",
        Form::Text,
        "",
        "For SASL OAUTHBEARER: file with the bearer token (relative to this file), read again whenever a fresh one is needed.",
    ),
];

/// Settings of `[sinks.kafka]`: veiled records to a topic, beside the lake or instead of it.
pub const KAFKA_SINK: &[Setting] = &[
    setting("brokers", Form::Brokers, "", "Where the cluster is first asked. It is that of the feed's topics too."),
    setting("topic", Form::Topic, "", "Topic of veiled records, as \"cdr.veiled\". Without one none are written."),
    setting(
        "dead_letter",
        Form::Topic,
        "",
        "Topic of refused records: position, reason and the sealed content. Without one they are in vault/quarantine only.",
    ),
    setting(
        "transactional_id",
        Form::Text,
        "",
        "Prefix of the producers' transactional ids; the account needs the rights for it. One prefix for each site and sink.",
    ),
    setting(
        "recipient",
        Form::Recipient,
        "",
        "Whose pseudonyms are written: each recipient has a key of its own, so that two cannot join what they got. Registered by \
         `cdrveil-vault recipient add NAME`.",
    ),
    setting("format", Form::OneOf(&["json", "avro"]), "\"json\"", "How a record is written: schemas/kafka/."),
    setting(
        "schema_id",
        Form::Integer { min: 0, max: 2_147_483_647 },
        "0",
        "For avro: the schema's number in your registry, which each message begins with.",
    ),
    setting("lake", Form::Flag, "true", "false: this process writes the topic only, another one the lake."),
    setting("token_file", Form::Text, "", "As for a feed."),
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
