//! Refused records once more: through the feed's present mapping and profile, into a batch of the
//! feed's partition `replay`, which says what became of each.
//!
//! A record is judged first and staged only if it passes, so a batch of this partition never
//! refuses anything: what fails again stays where it is, under its old row, and is not counted in.
//! Exactly once, as everywhere, by the manifest's number: whoever finds it taken reads again which
//! records are resolved.

use super::PipelineError;
use super::block::Work;
use super::engine::Engine;
use super::lane::LaneId;
use super::round::Fate;
use crate::failpoint;
use crate::lake::batches::Source;
use crate::lake::resolved::{Handle, Outcome, REPLAY, Replay, Resolved};
use crate::normalise::Accept;
use crate::record::reject::Reason;
use crate::sink::SinkError;
use crate::source::Limits;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use zeroize::Zeroizing;

mod discard;
mod reading;

pub use discard::discard;

/// A refused record as the vault released it. No `Debug`: it holds a record in clear, and is wiped
/// when dropped.
pub struct Opened {
    pub handle: Handle,
    /// What it had been refused for.
    pub reason: Reason,
    /// From 1, as in `vault/quarantine`.
    pub line: i64,
    pub bytes: Zeroizing<Vec<u8>>,
}

/// What a replay needs to know beside the feed.
pub struct Rules {
    /// Column names for all records, whatever header they stood under; empty for none.
    pub given_columns: Vec<String>,
    /// Of the feed's messages without a header line.
    pub configured_columns: Vec<String>,
    pub limits: Limits,
    /// For messages that could not be taken apart; none for feeds of files, which have no such thing.
    pub message_limits: Option<Limits>,
    /// Judge only.
    pub dry_run: bool,
}

/// What became of the records so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Records that passed, and the rows of `cdr` that they became.
    pub veiled: u64,
    pub rows: u64,
    /// Records that the mapping now leaves out by a named rule.
    pub dropped: u64,
    pub refused_by: BTreeMap<&'static str, u64>,
    /// Resolved by somebody else since they were selected.
    pub already_resolved: u64,
    pub batches: u64,
}

/// How one record fares under the present mapping and profile.
#[derive(Clone, Copy)]
enum Verdict {
    Passes { rows: u64 },
    Drops,
    Refused(Reason),
}

/// A feed's partition `replay` at work.
pub struct Replayer<'e, 'a> {
    engine: &'e mut Engine<'a>,
    lane: LaneId,
    rules: Rules,
    recorded: HashMap<[u8; 16], Arc<[String]>>,
    resolved: Resolved,
    pub replayed: Replayed,
}

impl<'e, 'a> Replayer<'e, 'a> {
    /// Opens the partition, finishes what its newest manifest began, and looks up the header rows
    /// that the records of these blocks stood under.
    ///
    /// # Errors
    /// `JoinsInReplay` for feeds whose records are halves; `NoColumns` if records are read by
    /// column names and nothing says theirs. Nothing was opened or loaded then.
    pub fn open(
        engine: &'e mut Engine<'a>,
        rules: Rules,
        selected: &[(Handle, Reason)],
    ) -> Result<Replayer<'e, 'a>, PipelineError> {
        let feed = Arc::clone(&engine.setting.feed);
        if feed.mapping.joins() {
            return Err(PipelineError::JoinsInReplay { feed: feed.name.clone() });
        }
        let mut recorded = HashMap::new();
        if feed.mapping.has_header() {
            let records = || selected.iter().filter(|(_, reason)| !is_message(*reason));
            if rules.given_columns.is_empty() {
                let blocks: HashSet<[u8; 16]> = records().map(|(handle, _)| handle.block).collect();
                recorded = reading::recorded_columns(engine, &blocks)?;
            }
            let otherwise =
                if rules.given_columns.is_empty() { &rules.configured_columns } else { &rules.given_columns };
            let unknown = records().filter(|(handle, _)| !recorded.contains_key(&handle.block)).count();
            if unknown > 0 && otherwise.is_empty() {
                return Err(PipelineError::NoColumns { feed: feed.name.clone(), count: unknown });
            }
            // Whether they fit the mapping is known before anything is opened.
            let all: HashSet<&[String]> = recorded.values().map(|names| &names[..]).collect();
            for names in all.into_iter().chain((unknown > 0).then_some(&otherwise[..])) {
                feed.mapping.open_columns(names)?;
            }
        }
        let lane = engine.open_lane(REPLAY)?;
        Ok(Replayer { engine, lane, rules, recorded, resolved: Resolved::default(), replayed: Replayed::default() })
    }

    /// Replays these records in one batch, however often another process comes first.
    pub fn take(&mut self, mut records: Vec<Opened>) -> Result<(), PipelineError> {
        loop {
            let setting = &self.engine.setting;
            self.resolved.follow(&setting.site.join("lake"), &setting.feed.name)?;
            let before = records.len();
            records.retain(|r| self.resolved.decision(r.handle).is_none());
            self.replayed.already_resolved += (before - records.len()) as u64;
            if records.is_empty() {
                return Ok(());
            }
            let verdicts = self.judge(&records)?;
            failpoint::reached("replay.judged");
            if self.rules.dry_run {
                self.engine.drop_stage(self.lane)?;
            } else if !self.commit(&records, &verdicts)? {
                continue;
            }
            self.count(&verdicts);
            return Ok(());
        }
    }

    /// Decodes and normalises; nothing is kept but the verdicts, one for each record.
    fn judge(&mut self, records: &[Opened]) -> Result<Vec<Verdict>, PipelineError> {
        let feed = Arc::clone(&self.engine.setting.feed);
        let keys = Arc::clone(self.engine.keys());
        // Those of the batch that the records would go into: judged now as they are judged then.
        let (earliest_ms, latest_ms) = self.engine.batch(self.lane).window;
        let accept = Accept { earliest_ms, latest_ms, epochs: &keys.epochs };
        let mut verdicts: Vec<Verdict> = records.iter().map(|r| self.beforehand(r)).collect();
        for piece in self.pieces(records, &verdicts)? {
            let decoded = piece.decoder.decode(piece.batch);
            let (_clear, rejects) = feed.normaliser.normalise(&decoded, &accept);
            let index = |record: u32| decoded.place(record).offset as usize;
            for record in &decoded.rows {
                let verdict = &mut verdicts[index(*record)];
                *verdict = match *verdict {
                    Verdict::Passes { rows } => Verdict::Passes { rows: rows + 1 },
                    Verdict::Drops => Verdict::Passes { rows: 1 },
                    refused @ Verdict::Refused(_) => refused,
                };
            }
            // One that holds several records passes whole or not at all.
            for reject in decoded.rejects.iter().chain(&rejects) {
                verdicts[index(reject.record)] = Verdict::Refused(reject.reason);
            }
        }
        Ok(verdicts)
    }

    /// Of a record that is not even looked at; else that nothing is known of it yet.
    fn beforehand(&self, record: &Opened) -> Verdict {
        match record.reason {
            // Cut into pieces as it came: a piece may look like a record, and is none.
            Reason::RecordTooLong => Verdict::Refused(Reason::RecordTooLong),
            reason if is_message(reason) && self.rules.message_limits.is_none() => Verdict::Refused(reason),
            _ => Verdict::Drops,
        }
    }

    /// Stages what passes and commits it with the record of all verdicts. False: another process
    /// was first, and nothing of this was loaded.
    fn commit(&mut self, records: &[Opened], verdicts: &[Verdict]) -> Result<bool, PipelineError> {
        for piece in self.pieces(records, verdicts)? {
            self.engine.submit_to(self.lane, Work::Raw(piece.batch, piece.decoder), piece.continuation)?;
        }
        self.engine.drain()?;
        let passed = records.iter().zip(verdicts).filter(|(_, v)| !matches!(v, Verdict::Refused(_)));
        let bytes = passed.map(|(r, _)| r.bytes.len() as u64).sum();
        let expected: u64 = verdicts.iter().map(|v| if let Verdict::Passes { rows } = v { *rows } else { 0 }).sum();
        let replay = decided(records, verdicts);
        let batch = self.engine.batch(self.lane);
        if (batch.counts.veiled, batch.counts.quarantined) != (expected, 0) {
            self.engine.drop_stage(self.lane)?;
            return Err(SinkError::Unbalanced.into());
        }
        // They stood among others when they came; alone they would only show gaps.
        batch.sequences.clear();
        batch.sources.push(Source { file: None, offset: 0, bytes, records: batch.counts.records_in });
        batch.replay = Some(replay);
        let settled = self.engine.commit_round(true)?;
        Ok(settled.iter().any(|s| s.lane == self.lane && matches!(s.fate, Fate::Committed { .. })))
    }

    fn count(&mut self, verdicts: &[Verdict]) {
        for verdict in verdicts {
            match verdict {
                Verdict::Passes { rows } => {
                    self.replayed.veiled += 1;
                    self.replayed.rows += rows;
                }
                Verdict::Drops => self.replayed.dropped += 1,
                Verdict::Refused(reason) => *self.replayed.refused_by.entry(reason.code()).or_default() += 1,
            }
        }
        self.replayed.batches += u64::from(!self.rules.dry_run);
    }
}

/// A whole message that could not be taken apart, not a record in it.
fn is_message(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::MessageBomb
            | Reason::MessageDamaged
            | Reason::MessageUnsupported
            | Reason::MessageTooLong
            | Reason::MessageHeader
    )
}

fn decided(records: &[Opened], verdicts: &[Verdict]) -> Replay {
    let outcomes = records.iter().zip(verdicts).filter_map(|(record, verdict)| {
        let outcome = match verdict {
            Verdict::Passes { .. } => Outcome::Veiled,
            Verdict::Drops => Outcome::Dropped,
            Verdict::Refused(_) => return None,
        };
        Some((record.handle, outcome, record.reason.code()))
    });
    let mut replay = Replay::of(outcomes);
    for verdict in verdicts {
        if let Verdict::Refused(reason) = verdict {
            *replay.refused_by.entry(reason.code().to_owned()).or_default() += 1;
        }
    }
    replay.uid = uid();
    replay
}

fn uid() -> u32 {
    rustix::process::getuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::context::Context;
    use crate::cli::{ingest, init};
    use crate::clock::MockClock;
    use crate::config::Site;
    use crate::config::environment::Environment;
    use crate::lake::batches::StreamPosition;
    use crate::lake::rejects;
    use crate::pipeline::engine::Setting;
    use crate::pipeline::messages::Assembler;
    use crate::record::time::Day;
    use std::io::Write;

    const NOW: Day = Day(20_779);

    /// A site with real keys; its records are as if the vault had just released them.
    struct Desk {
        dir: tempfile::TempDir,
        context: Context,
    }

    impl Desk {
        fn new() -> Desk {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("phrase.txt"), "one").unwrap();
            let path = |name: &str| dir.path().join(name).display().to_string();
            let environment = Environment::of(&[
                ("CDRVEIL_PASSPHRASE_FILE", &path("phrase.txt")),
                ("CDRVEIL_VAULT_PASSPHRASE_FILE", &path("phrase.txt")),
                ("CDRVEIL_SITE", &path("site")),
            ]);
            let mut context = Context::new(None, true, environment);
            context.clock = Arc::new(MockClock::at_ms(NOW.start_ms() + 43_200_000));
            let phrases = context.passphrases().unwrap();
            init::create_site(&context.site_dir, "GB", phrases, &*context.clock).unwrap();
            Desk { dir, context }
        }

        fn with<R>(&self, feed: &str, rules: Rules, work: impl FnOnce(&mut Replayer<'_, '_>) -> R) -> R {
            self.engine(feed, |engine| work(&mut Replayer::open(engine, rules, &[]).unwrap()))
        }

        fn engine<R>(&self, feed: &str, work: impl FnOnce(&mut Engine<'_>) -> R) -> R {
            let site = Site::load(&self.context.site_dir, &self.context.environment).unwrap();
            let keys = self.context.ingest_keys().unwrap();
            let setting = Setting {
                site: &self.context.site_dir,
                feed: Arc::new(ingest::feed(&site.feeds[feed], &site.cubes, None).unwrap()),
                keys: &keys,
                clock: &*self.context.clock,
                workers: 1,
                forget_open: false,
                orphan_after_ms: 24 * 3_600_000,
            };
            work(&mut Engine::without_lanes(setting).unwrap())
        }

        fn take(&self, feed: &str, rules: Rules, records: Vec<Opened>) -> Replayed {
            self.with(feed, rules, |replayer| {
                replayer.take(records).unwrap();
                replayer.replayed.clone()
            })
        }

        fn resolved(&self, feed: &str) -> usize {
            Resolved::of_feed(&self.dir.path().join("site/lake"), feed).unwrap().len()
        }
    }

    fn rules(columns: &str, messages: bool) -> Rules {
        Rules {
            given_columns: columns.split(',').filter(|c| !c.is_empty()).map(str::to_owned).collect(),
            configured_columns: Vec::new(),
            limits: Limits::default(),
            message_limits: messages.then(|| Limits::default().of_messages(1 << 20)),
            dry_run: false,
        }
    }

    fn opened(records: &[(Reason, &[u8])]) -> Vec<Opened> {
        let one = |(row, (reason, bytes)): (usize, &(Reason, &[u8]))| Opened {
            handle: Handle { block: [1; 16], row: row as u32 },
            reason: *reason,
            line: row as i64 + 2,
            bytes: Zeroizing::new(bytes.to_vec()),
        };
        records.iter().enumerate().map(one).collect()
    }

    fn call(minute: u32) -> String {
        format!("{NOW}T08:{minute:02}:00Z,+447700900001,+447700900002")
    }

    #[test]
    fn an_empty_line_and_a_piece_of_a_long_record_are_refused_again() {
        let desk = Desk::new();
        let good = call(0);
        let records = opened(&[
            (Reason::ColumnCount, b""),
            (Reason::RecordTooLong, good.as_bytes()),
            (Reason::InvalidTime, good.as_bytes()),
        ]);
        let replayed = desk.take("generic-voice", rules("start,a_number,b_number", false), records);
        assert_eq!((replayed.veiled, replayed.rows, replayed.dropped), (1, 1, 0));
        assert_eq!(replayed.refused_by, BTreeMap::from([("column_count", 1), ("record_too_long", 1)]));
        assert_eq!(desk.resolved("generic-voice"), 1);
    }

    #[test]
    fn a_message_passes_whole_or_not_at_all() {
        let desk = Desk::new();
        let header = "start,a_number,b_number";
        let packed = |text: &str| {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(text.as_bytes()).unwrap();
            gzip.finish().unwrap()
        };
        let good = packed(&format!("{header}\n{}\n{}\n", call(1), call(2)));
        let mixed = packed(&format!("{header}\n{}\nyesterday,1,2\n", call(3)));
        let unknown = format!("{header},shoe\n{},1\n", call(4));
        let alone = packed(header);
        let records: [(Reason, &[u8]); 4] = [
            (Reason::MessageBomb, &good),
            (Reason::MessageBomb, &mixed),
            (Reason::MessageHeader, unknown.as_bytes()),
            (Reason::MessageDamaged, &alone),
        ];
        let none = desk.take("generic-voice", rules("", false), opened(&records));
        assert_eq!((none.veiled, none.refused_by.values().sum::<u64>()), (0, 4), "files have no messages");
        let replayed = desk.take("generic-voice", rules("", true), opened(&records));
        assert_eq!((replayed.veiled, replayed.rows, replayed.dropped), (1, 2, 1));
        assert_eq!(replayed.refused_by, BTreeMap::from([("invalid_time", 1), ("message_header", 1)]));
        let again = desk.take("generic-voice", rules("", true), opened(&records));
        assert_eq!((again.veiled, again.dropped, again.already_resolved), (0, 0, 2));
    }

    /// Judged before somebody else commits, staged after: nothing of it may be loaded.
    #[test]
    fn who_finds_the_number_taken_looks_again() {
        let desk = Desk::new();
        let (one, two) = (call(5), call(6));
        let records = || opened(&[(Reason::InvalidTime, one.as_bytes()), (Reason::InvalidTime, two.as_bytes())]);
        let columns = || rules("start,a_number,b_number", false);
        desk.with("generic-voice", columns(), |slow| {
            let mut held = records();
            let verdicts = slow.judge(&held).unwrap();
            let mut first = records();
            first.truncate(1);
            assert_eq!(desk.take("generic-voice", columns(), first).veiled, 1);
            assert!(!slow.commit(&held, &verdicts).unwrap(), "its number was taken");
            held.reverse();
            slow.take(held).unwrap();
            assert_eq!((slow.replayed.veiled, slow.replayed.already_resolved), (1, 1));
        });
        assert_eq!(desk.resolved("generic-voice"), 2);
    }

    /// Messages under two header lines in one batch, of which no record can be read.
    fn stream(engine: &mut Engine<'_>, messages: &[String]) {
        let lane = engine.open_lane("t-0").unwrap();
        let limits = Limits::default().of_messages(1 << 20);
        let mut assembler = Assembler::new(&engine.setting.feed.mapping, &[], limits).unwrap();
        let mut pieces = Vec::new();
        for (offset, message) in messages.iter().enumerate() {
            assembler.push(offset as i64, Some(message.as_bytes()), None, &mut pieces);
        }
        let next_offset = assembler.flush(&mut pieces).unwrap().next;
        for piece in pieces {
            engine.submit_to(lane, Work::Raw(piece.batch, piece.decoder), piece.continuation).unwrap();
        }
        engine.drain().unwrap();
        let position = StreamPosition { topic: "t".into(), partition: 0, next_offset, skipped: 0 };
        engine.stage_stream(lane, position, Some(Source { file: None, offset: 0, bytes: 1, records: 0 }));
        assert!(matches!(engine.commit_round(true).unwrap()[0].fate, Fate::Committed { .. }));
    }

    #[test]
    fn each_record_of_a_stream_is_read_under_its_own_header() {
        let desk = Desk::new();
        let messages = ["start,a_number,b_number\nx,1,2\n", "b_number,start,a_number\n2,x,1\n"].map(str::to_owned);
        desk.engine("generic-voice", |engine| stream(engine, &messages));
        let mut found = Vec::new();
        let table = desk.dir.path().join("site/vault/quarantine");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let visit = |row: &rejects::Reject<'_>| found.push((row.offset, row.line, row.handle));
        runtime.block_on(rejects::scan(&table, |_| true, false, visit)).unwrap();
        found.sort();
        assert_eq!(found.iter().map(|f| (f.0, f.1)).collect::<Vec<_>>(), [(0, 2), (1, 2)]);
        // As they would be with their time corrected: the columns tell whose header they are read under.
        let bytes = [call(7), format!("+447700900002,{NOW}T08:08:00Z,+447700900001")];
        let records: Vec<Opened> = found
            .iter()
            .zip(&bytes)
            .map(|((_, line, handle), bytes)| Opened {
                handle: *handle,
                reason: Reason::InvalidTime,
                line: *line,
                bytes: Zeroizing::new(bytes.clone().into_bytes()),
            })
            .collect();
        let selected: Vec<(Handle, Reason)> = records.iter().map(|r| (r.handle, r.reason)).collect();
        desk.engine("generic-voice", |engine| {
            let mut replayer = Replayer::open(engine, rules("", true), &selected).unwrap();
            replayer.take(records).unwrap();
            assert_eq!((replayer.replayed.veiled, &replayer.replayed.refused_by), (2, &BTreeMap::new()));
        });
        // A block that no manifest knows stands under no header.
        desk.engine("generic-voice", |engine| {
            let stranger = [(Handle { block: [9; 16], row: 0 }, Reason::InvalidTime)];
            let opened = Replayer::open(engine, rules("", true), &stranger);
            assert!(matches!(opened.err(), Some(PipelineError::NoColumns { count: 1, .. })));
        });
    }

    #[test]
    fn a_record_of_a_layout_or_a_document_needs_no_header() {
        let desk = Desk::new();
        let text = format!(
            "\"\",\"07700900101\",\"07700900102\",\"default\",\"\",\"a\",\"b\",\"Dial\",\"c\",\"{NOW} 08:00:00\",\
             \"{NOW} 08:00:10\",\"{NOW} 08:01:00\",\"60\",\"50\",\"ANSWERED\",\"DOCUMENTATION\""
        );
        let replayed = desk.take("asterisk", rules("", false), opened(&[(Reason::InvalidTime, text.as_bytes())]));
        assert_eq!((replayed.veiled, &replayed.refused_by), (1, &BTreeMap::new()));
        let text = format!(
            r#"{{"service":"voice","start":"{NOW}T08:00:00Z","a_number":"+447700900150","b_number":"+447700900151"}}"#
        );
        let records: [(Reason, &[u8]); 2] = [(Reason::InvalidTime, text.as_bytes()), (Reason::InvalidJson, b"{")];
        let replayed = desk.take("json-lines", rules("", false), opened(&records));
        assert_eq!((replayed.veiled, &replayed.refused_by), (1, &BTreeMap::from([("invalid_json", 1)])));
    }
}
