//! The `cdrveil.toml` of a new site: every setting with its meaning, its default shown.

use super::settings::{FEED, KAFKA_FEED, KAFKA_SINK, PROFILE, SECTIONS, Setting};
use std::fmt::Write;

const HEAD: &str = "\
# Configuration of a cdrveil site. `cdrveil check` says whether it is right.
#
# A line that begins with `#name =` shows a default; take the # away to change it. What is not listed
# here does not exist: unknown names are refused. Units are in the names: _s seconds, _hours, _days,
# _bytes; or they stand in the value: \"15s\". Paths are relative to the folder of this file.
#
# Any one setting can be overridden from the environment, in capitals, with two underscores between
# the parts and one for each hyphen:
#   CDRVEIL__RELEASE__STORE=/srv/release.sqlite
#   CDRVEIL__FEEDS__GENERIC_VOICE__SETTLE_S=60
#
# Passphrases and keys never stand in this file. Programs are given CDRVEIL_PASSPHRASE_FILE (for
# ingest/keys.age) and CDRVEIL_VAULT_PASSPHRASE_FILE (for vault/keys.age), or ask on the terminal.
";

const FEEDS: &str = "
# ---- Feeds ------------------------------------------------------------------------------------
# One table per source of records: [feeds.NAME] with NAME of letters, digits and hyphens. A feed's
# name is part of what is stored; renaming one makes it a new feed. Its [feeds.NAME.profile] says how
# numbers and times are written there. The settings of every feed:
#
";

const KAFKA: &str = "
# ---- Kafka ------------------------------------------------------------------------------------
# A feed with a table [feeds.NAME.kafka] reads topics instead of files and needs no inbox:
#
";

const KAFKA_OPTIONS: &str = "#
# [feeds.NAME.kafka.options] and [sinks.kafka.options] hold properties of librdkafka by their own
# names. Those that would lose or double records are refused. A secret is never written here, but
# where it stands: { file = \"/run/secrets/x\" } or { env = \"NAME\" }. From the environment:
#   CDRVEIL__FEEDS__VOICE_STREAM__KAFKA__OPTIONS__SECURITY_PROTOCOL=sasl_ssl
#   CDRVEIL__FEEDS__VOICE_STREAM__KAFKA__OPTIONS__SASL_PASSWORD=file:/run/secrets/x      (or env:NAME)
";

/// Take the `# ` away: a feed and a sink that load.
const KAFKA_EXAMPLE: &str = "#
# An example, to be uncommented and changed:
#
# [feeds.voice-stream]
# mapping = \"generic-voice\"
# [feeds.voice-stream.profile]
# home_country = \"COUNTRY\"
# [feeds.voice-stream.kafka]
# brokers = [\"kafka1:9093\", \"kafka2:9093\"]
# topics = [\"cdr.voice\"]
# group = \"cdrveil\"
# [feeds.voice-stream.kafka.options]
# \"security.protocol\" = \"sasl_ssl\"
# \"ssl.ca.location\" = \"/etc/ssl/certs/ca-certificates.crt\"
# \"sasl.mechanism\" = \"SCRAM-SHA-512\"
# \"sasl.username\" = \"cdrveil\"
# \"sasl.password\" = { file = \"/run/secrets/kafka-password\" }
#
# [sinks.kafka]
# brokers = [\"kafka1:9093\", \"kafka2:9093\"]
# topic = \"cdr.veiled\"
# dead_letter = \"cdr.rejects\"
# transactional_id = \"cdrveil\"
# recipient = \"stream-desk\"
# [sinks.kafka.options]
# \"security.protocol\" = \"sasl_ssl\"
";

/// The text of `cdrveil.toml` with one feed per shipped mapping.
pub fn site_file(name: &str, country: &str, mappings: &[&str]) -> String {
    let mut out = String::from(HEAD);
    for section in SECTIONS {
        let _ = write!(out, "\n# {}\n[{}]\n", section.meaning, section.name);
        for setting in section.settings {
            comment(&mut out, setting.meaning, "# ");
            if (section.name, setting.name) == ("site", "name") {
                let _ = writeln!(out, "name = {}", toml::Value::String(name.into()));
            } else {
                let _ = writeln!(out, "#{} = {}", setting.name, setting.default);
            }
        }
    }
    out.push_str(FEEDS);
    manual(&mut out, FEED);
    out.push_str("#\n# and of its profile:\n#\n");
    manual(&mut out, PROFILE);
    out.push_str(KAFKA);
    manual(&mut out, KAFKA_FEED);
    out.push_str("#\n# and [sinks.kafka] writes the veiled records of all feeds that read topics to a topic:\n#\n");
    manual(&mut out, KAFKA_SINK);
    out.push_str(KAFKA_OPTIONS);
    out.push_str(&KAFKA_EXAMPLE.replace("COUNTRY", country));
    for mapping in mappings {
        let _ = write!(out, "\n[feeds.{mapping}]\nmapping = \"{mapping}\"\n");
        let _ = writeln!(out, "kind = \"{}\"", if *mapping == "asterisk" { "append" } else { "files" });
        let _ = write!(out, "inbox = \"inbox/{mapping}\"\n\n[feeds.{mapping}.profile]\n");
        let _ = write!(out, "version = 1\nhome_country = \"{country}\"\n");
        if let Some((_, zone)) = ZONES.iter().find(|z| z.0 == country) {
            let _ = writeln!(out, "zone = \"{zone}\"");
        }
    }
    out
}

fn manual(out: &mut String, settings: &[Setting]) {
    for setting in settings {
        let default = if setting.default.is_empty() { String::new() } else { format!(" = {}", setting.default) };
        let _ = writeln!(out, "#   {}{default}", setting.name);
        comment(out, setting.meaning, "#       ");
    }
}

/// Wraps at 100 columns.
fn comment(out: &mut String, text: &str, lead: &str) {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && lead.len() + line.len() + 1 + word.len() > 100 {
            let _ = writeln!(out, "{lead}{line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(out, "{lead}{line}");
}

/// Countries that lie in one time zone (IANA tz database, `zone1970.tab`; overseas parts aside):
/// there, a time without a zone is the country's own. Elsewhere the operator has to say.
const ZONES: [(&str, &str); 44] = [
    ("AE", "Asia/Dubai"),
    ("AT", "Europe/Vienna"),
    ("BE", "Europe/Brussels"),
    ("BG", "Europe/Sofia"),
    ("CH", "Europe/Zurich"),
    ("CY", "Asia/Nicosia"),
    ("CZ", "Europe/Prague"),
    ("DE", "Europe/Berlin"),
    ("DK", "Europe/Copenhagen"),
    ("EE", "Europe/Tallinn"),
    ("EG", "Africa/Cairo"),
    ("FI", "Europe/Helsinki"),
    ("FR", "Europe/Paris"),
    ("GB", "Europe/London"),
    ("GH", "Africa/Accra"),
    ("GR", "Europe/Athens"),
    ("HK", "Asia/Hong_Kong"),
    ("HR", "Europe/Zagreb"),
    ("HU", "Europe/Budapest"),
    ("IE", "Europe/Dublin"),
    ("IL", "Asia/Jerusalem"),
    ("IN", "Asia/Kolkata"),
    ("IS", "Atlantic/Reykjavik"),
    ("IT", "Europe/Rome"),
    ("JP", "Asia/Tokyo"),
    ("KE", "Africa/Nairobi"),
    ("KR", "Asia/Seoul"),
    ("LT", "Europe/Vilnius"),
    ("LU", "Europe/Luxembourg"),
    ("LV", "Europe/Riga"),
    ("MA", "Africa/Casablanca"),
    ("MT", "Europe/Malta"),
    ("NG", "Africa/Lagos"),
    ("NL", "Europe/Amsterdam"),
    ("NO", "Europe/Oslo"),
    ("PL", "Europe/Warsaw"),
    ("RO", "Europe/Bucharest"),
    ("SE", "Europe/Stockholm"),
    ("SG", "Asia/Singapore"),
    ("SI", "Europe/Ljubljana"),
    ("SK", "Europe/Bratislava"),
    ("TH", "Asia/Bangkok"),
    ("TR", "Europe/Istanbul"),
    ("ZA", "Africa/Johannesburg"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_zone_exists_and_every_country_stands_once() {
        assert!(ZONES.is_sorted_by(|a, b| a.0 < b.0));
        for (country, zone) in ZONES {
            assert!(jiff::tz::TimeZone::get(zone).is_ok(), "{country}");
        }
    }
}
