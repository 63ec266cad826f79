//! From text to checked values: the file against the list of settings, then the environment over
//! it. Collects every problem instead of stopping at the first.

use super::environment::{Environment, variable_of};
use super::form::{Form, is_name};
use super::options;
use super::problem::{Place, Problem, nearest};
use super::settings::{FEED, KAFKA_FEED, KAFKA_SINK, PROFILE, SECTIONS, Setting};
use std::collections::BTreeMap;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

/// A value that stands in the file or the environment.
pub struct Found {
    pub value: Value,
    pub place: Place,
}

/// Values by path (`release.store`, `feeds.NAME.settle_s`), and where each feed begins.
#[derive(Default)]
pub struct Document {
    pub values: BTreeMap<String, Found>,
    pub feeds: BTreeMap<String, Place>,
    /// Where tables begin that may be left out: `sinks.kafka`, `feeds.NAME.kafka`.
    pub tables: BTreeMap<String, Place>,
    pub problems: Vec<Problem>,
}

impl Document {
    pub fn read(text: &str, environment: &Environment) -> Document {
        let mut document = Document::default();
        let lines = Lines { text };
        match (DeTable::parse(text), toml::from_str::<Table>(text)) {
            (Ok(spans), Ok(values)) => document.sections(spans.get_ref(), &values, &lines),
            (Err(e), _) | (_, Err(e)) => {
                let place = Place::Line(e.span().map_or(1, |s| lines.of(s.start)));
                // Only the message: the error's full text would show the line, with whatever is in it.
                document.refuse(
                    place,
                    format!("this is not TOML: {}", e.message().trim()),
                    "mend the line; texts stand in quotes".into(),
                );
            }
        }
        document.overrides(environment);
        document
    }

    /// The value at `path`, if it is set and right.
    pub fn value(&self, path: &str) -> Option<&Value> {
        self.values.get(path).map(|found| &found.value)
    }

    pub fn place(&self, path: &str) -> Place {
        self.values.get(path).map_or(Place::File, |found| found.place.clone())
    }

    fn sections(&mut self, spans: &DeTable<'_>, values: &Table, lines: &Lines<'_>) {
        for (key, span, value) in entries(spans, values) {
            let place = Place::Line(lines.of(key.span().start));
            let name = key.get_ref().as_ref();
            let known: Vec<&str> = SECTIONS.iter().map(|s| s.name).chain(["feeds", "sinks"]).collect();
            match (section(name), span.get_ref(), value) {
                _ if !known.contains(&name) => self.unknown(place, name, "", &known),
                (_, DeValue::Table(spans), Value::Table(values)) if name == "feeds" => self.feeds(spans, values, lines),
                (_, DeValue::Table(spans), Value::Table(values)) if name == "sinks" => {
                    self.settings(name, &[], spans, values, lines);
                }
                (Some(settings), DeValue::Table(spans), Value::Table(values)) => {
                    self.settings(name, settings, spans, values, lines);
                }
                _ => self.refuse(
                    place,
                    format!("`{name}` is a section, not a value"),
                    format!("write [{name}] and its settings below"),
                ),
            }
        }
    }

    fn feeds(&mut self, spans: &DeTable<'_>, values: &Table, lines: &Lines<'_>) {
        for (key, span, value) in entries(spans, values) {
            let (name, place) = (key.get_ref().as_ref(), Place::Line(lines.of(key.span().start)));
            if !is_name(name) {
                self.refuse(
                    place,
                    "a feed has a name that is not allowed".into(),
                    "use 1 to 64 lower-case letters, digits and hyphens, beginning with a letter".into(),
                );
                continue;
            }
            let (DeValue::Table(spans), Value::Table(values)) = (span.get_ref(), value) else {
                self.refuse(
                    place,
                    format!("`{name}` is a feed, not a value"),
                    format!("write [feeds.{name}] and its settings below"),
                );
                continue;
            };
            self.feeds.insert(name.to_owned(), place);
            self.settings(&format!("feeds.{name}"), FEED, spans, values, lines);
        }
    }

    fn settings(
        &mut self,
        section: &str,
        settings: &[Setting],
        spans: &DeTable<'_>,
        values: &Table,
        lines: &Lines<'_>,
    ) {
        for (key, span, value) in entries(spans, values) {
            let (name, place) = (key.get_ref().as_ref(), Place::Line(lines.of(key.span().start)));
            let path = format!("{section}.{name}");
            match (nested(section, name), span.get_ref(), value) {
                (Some(Nested::Options), DeValue::Table(spans), Value::Table(values)) => {
                    self.options(&path, "", spans, values, lines);
                    continue;
                }
                (Some(Nested::Settings(settings)), DeValue::Table(spans), Value::Table(values)) => {
                    self.tables.insert(path.clone(), place);
                    self.settings(&path, settings, spans, values, lines);
                    continue;
                }
                (Some(_), ..) => {
                    self.refuse(
                        place,
                        format!("`{name}` is a section, not a value"),
                        format!("write [{path}] and its settings below"),
                    );
                    continue;
                }
                (None, ..) => {}
            }
            match settings.iter().find(|s| s.name == name) {
                Some(setting) => self.put(path, setting.form, value.clone(), place),
                None => {
                    let mut known: Vec<&str> = settings.iter().map(|s| s.name).collect();
                    known.extend(["profile", "kafka", "options"].iter().filter(|n| nested(section, n).is_some()));
                    self.unknown(place, name, section, &known);
                }
            }
        }
    }

    /// Properties of librdkafka. Their names have dots, and a dot in TOML opens a table: quoted or not,
    /// the same is meant.
    fn options(&mut self, path: &str, prefix: &str, spans: &DeTable<'_>, values: &Table, lines: &Lines<'_>) {
        for (key, span, value) in entries(spans, values) {
            let name = format!("{prefix}{}", key.get_ref());
            match (span.get_ref(), value) {
                (DeValue::Table(spans), Value::Table(values)) if !options::is_reference(values) => {
                    self.options(path, &format!("{name}."), spans, values, lines);
                }
                _ => self.put_option(path, &name, value.clone(), Place::Line(lines.of(key.span().start))),
            }
        }
    }

    fn put_option(&mut self, path: &str, name: &str, value: Value, place: Place) {
        match options::check(name, &value) {
            Err((wrong, fix)) => self.refuse(place, format!("`{path}`: {wrong}"), fix),
            Ok(()) => {
                self.values.insert(format!("{path}.{name}"), Found { value, place });
            }
        }
    }

    fn put(&mut self, path: String, form: Form, value: Value, place: Place) {
        if holds_secret(&value) {
            self.refuse(place, format!("`{path}` looks like a key or a password"), SECRETS.into());
        } else if let Some(wrong) = form.refuse(&value) {
            self.refuse(
                place,
                format!("`{path}` {wrong}{}", unit_of(&path)),
                "correct the value, or remove the line for the default".into(),
            );
        } else {
            self.values.insert(path, Found { value, place });
        }
    }

    /// Every variable must be one of a setting that there is.
    fn overrides(&mut self, environment: &Environment) {
        let known = self.variables();
        for (name, text) in environment.overrides() {
            let place = Place::Variable(name.to_owned());
            match known.get(name) {
                Some((path, form)) => self.put(path.clone(), *form, form.read(text), place),
                None if self.option_of(name).is_some() => {
                    let (path, option) = self.option_of(name).expect("asked for above");
                    self.put_option(&path, &option, options::read(text), place);
                }
                None if names_secret(name) => {
                    self.refuse(place, "this is not a setting, and looks like a secret".into(), SECRETS.into())
                }
                None => {
                    let names: Vec<&str> = known.keys().map(String::as_str).collect();
                    let fix = nearest(name, &names).map_or_else(
                        || "unset it; names are CDRVEIL__SECTION__SETTING, or CDRVEIL__FEEDS__NAME__SETTING of a feed in the file".into(),
                        |near| format!("did you mean {near}?"),
                    );
                    self.refuse(place, "there is no such setting".into(), fix);
                }
            }
        }
    }

    /// `CDRVEIL__SINKS__KAFKA__OPTIONS__SESSION_TIMEOUT_MS` → its table and `session.timeout.ms`.
    fn option_of(&self, variable: &str) -> Option<(String, String)> {
        self.tables.keys().find_map(|table| {
            let path = format!("{table}.options");
            let rest = variable.strip_prefix(&variable_of(&path))?.strip_prefix("__")?;
            table.ends_with("kafka").then(|| (path, rest.to_lowercase().replace('_', ".")))
        })
    }

    fn variables(&self) -> BTreeMap<String, (String, Form)> {
        let mut known = BTreeMap::new();
        let mut add = |section: &str, settings: &[Setting]| {
            for setting in settings {
                let path = format!("{section}.{}", setting.name);
                known.insert(variable_of(&path), (path, setting.form));
            }
        };
        for section in SECTIONS {
            add(section.name, section.settings);
        }
        if self.tables.contains_key("sinks.kafka") {
            add("sinks.kafka", KAFKA_SINK);
        }
        for feed in self.feeds.keys() {
            add(&format!("feeds.{feed}"), FEED);
            add(&format!("feeds.{feed}.profile"), PROFILE);
            if self.tables.contains_key(&format!("feeds.{feed}.kafka")) {
                add(&format!("feeds.{feed}.kafka"), KAFKA_FEED);
            }
        }
        known
    }

    fn unknown(&mut self, place: Place, name: &str, section: &str, known: &[&str]) {
        let what = if section.is_empty() { "section" } else { "setting" };
        if names_secret(name) {
            return self.refuse(place, format!("`{name}` is not a {what}, and looks like a secret"), SECRETS.into());
        }
        let others = SECTIONS.iter().filter(|s| s.name != section);
        let elsewhere = others.flat_map(|s| s.settings.iter().map(|x| (s.name, x.name)));
        let (homes, names): (Vec<&str>, Vec<&str>) = elsewhere.unzip();
        let home = |near: &str| names.iter().position(|n| *n == near).map_or("", |i| homes[i]);
        let fix = match (nearest(name, known), nearest(name, &names)) {
            (Some(near), _) => format!("did you mean `{near}`{}?", unit_of(near)),
            (None, Some(near)) if near == name => format!("it belongs in [{}]", home(near)),
            (None, Some(near)) if !section.is_empty() => format!("did you mean `{near}` in [{}]?", home(near)),
            _ => format!("remove it; known here: {}", known.join(", ")),
        };
        let within = if section.is_empty() { String::new() } else { format!(" in [{section}]") };
        self.refuse(place, format!("`{name}` is not a {what}{within}"), fix);
    }

    pub fn refuse(&mut self, place: Place, message: String, fix: String) {
        self.problems.push(Problem { place, message, fix });
    }
}

const SECRETS: &str = "secrets never stand in the configuration: passphrases come from the files that \
                       CDRVEIL_PASSPHRASE_FILE and CDRVEIL_VAULT_PASSPHRASE_FILE name; remove it and change the secret";

fn section(name: &str) -> Option<&'static [Setting]> {
    SECTIONS.iter().find(|s| s.name == name).map(|s| s.settings)
}

fn is_feed(section: &str) -> bool {
    section.strip_prefix("feeds.").is_some_and(|rest| !rest.contains('.'))
}

/// Tables inside `section`.
enum Nested {
    Settings(&'static [Setting]),
    /// Free names, checked by librdkafka.
    Options,
}

fn nested(section: &str, name: &str) -> Option<Nested> {
    let in_kafka = section == "sinks.kafka" || section.strip_suffix(".kafka").is_some_and(is_feed);
    match name {
        "profile" if is_feed(section) => Some(Nested::Settings(PROFILE)),
        "kafka" if is_feed(section) => Some(Nested::Settings(KAFKA_FEED)),
        "kafka" if section == "sinks" => Some(Nested::Settings(KAFKA_SINK)),
        "options" if in_kafka => Some(Nested::Options),
        _ => None,
    }
}

/// The unit that a name carries, for messages.
fn unit_of(path: &str) -> &'static str {
    let name = path.rsplit('.').next().unwrap_or(path);
    match name.rsplit('_').next().unwrap_or(name) {
        "s" => " (in seconds, without a unit)",
        "hours" => " (in hours, without a unit)",
        "days" => " (in days, without a unit)",
        "bytes" => " (in bytes, without a unit)",
        _ => "",
    }
}

fn names_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["passphrase", "password", "passwd", "secret", "private", "token", "credential", "api_key", "keyfile", "key_file"]
        .iter()
        .any(|word| name.contains(word))
        || name == "key"
        || name.ends_with("_key")
}

fn holds_secret(value: &Value) -> bool {
    match value {
        Value::String(s) => {
            s.contains("AGE-SECRET-KEY-")
                || s.contains("PRIVATE KEY-----")
                || (s.len() == 64 && s.bytes().all(|b| b.is_ascii_hexdigit()))
        }
        Value::Array(items) => items.iter().any(holds_secret),
        Value::Table(table) => table.values().any(holds_secret),
        _ => false,
    }
}

/// Spans and values of one table side by side, in the order of the file.
fn entries<'a>(
    spans: &'a DeTable<'a>,
    values: &'a Table,
) -> Vec<(&'a Spanned<toml::de::DeString<'a>>, &'a Spanned<DeValue<'a>>, &'a Value)> {
    let mut all: Vec<_> = spans.iter().filter_map(|(k, v)| Some((k, v, values.get(k.get_ref().as_ref())?))).collect();
    all.sort_by_key(|(key, ..)| key.span().start);
    all
}

struct Lines<'a> {
    text: &'a str,
}

impl Lines<'_> {
    /// Line of a byte offset, from 1.
    fn of(&self, offset: usize) -> usize {
        1 + self.text.as_bytes()[..offset.min(self.text.len())].iter().filter(|b| **b == b'\n').count()
    }
}
