//! One block's way from bytes to messages of the sink, on one thread.

use super::Flow;
use crate::generalise::generalise;
use crate::keys::KeyRing;
use crate::lake::batches::Counts;
use crate::normalise::Accept;
use crate::pipeline::block::{count, refused};
use crate::pipeline::messages::Piece;
use crate::pipeline::{Keys, PipelineError};
use crate::pseudonymise::chained::{Chain, NoRecipientKey};
use crate::record::time::Day;
use crate::sink::SinkError;
use crate::sink::kafka::dead_letter::{self, Origin};
use crate::sink::kafka::producer::{Producer, Trouble};
use crate::sink::kafka::{Message, Veiled};
use crate::source::kafka::consumer::TopicPartition;

const QUARTER_MS: i64 = 15 * 60 * 1000;
/// Dead letters in memory at a time.
const LETTERS: usize = 512;

/// The leased keys, with those of the sink's recipient.
pub(super) struct Keyed {
    keys: Keys,
    chain: Chain,
}

impl Keyed {
    pub(super) fn new(ring: KeyRing, recipient: &str) -> Result<Keyed, NoRecipientKey> {
        let chain = Chain::new(&ring, recipient)?;
        Ok(Keyed { keys: Keys::new(ring), chain })
    }
}

/// What a block put into the open transaction.
#[derive(Default)]
pub(super) struct Passed {
    pub(super) counts: Counts,
    pub(super) sent: u64,
    pub(super) dead_letters: u64,
}

impl Passed {
    pub(super) fn add(&mut self, more: &Passed) {
        self.counts.add(&more.counts);
        self.sent += more.sent;
        self.dead_letters += more.dead_letters;
    }
}

/// Why a block did not get through.
pub(super) enum Failure {
    /// The transaction fails with it.
    Trouble(Trouble),
    /// The run ends with it.
    Ends(PipelineError),
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Failure {
        Failure::Trouble(trouble)
    }
}

impl<E: Into<SinkError>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::Ends(PipelineError::Sink(error.into()))
    }
}

/// Decodes, veils and sends the records of `piece`, judged as of `now_ms`.
pub(super) fn pass_on(
    piece: Piece,
    from: &TopicPartition,
    flow: &Flow<'_>,
    keyed: &Keyed,
    now_ms: i64,
    producer: &mut Producer<'_>,
) -> Result<Passed, Failure> {
    let (feed, keys) = (&*flow.feed, &keyed.keys);
    let decoded = piece.decoder.decode(piece.batch);
    let (earliest_ms, latest_ms) = feed.window(now_ms);
    let accept = Accept { earliest_ms, latest_ms, epochs: &keys.epochs };
    let (clear, rejects) = feed.normaliser.normalise(&decoded, &accept);
    let mut passed = Passed { counts: count(&decoded, &clear, &rejects)?, ..Passed::default() };
    // Brokers refuse what is stamped far ahead, and the second of its writing is nobody's business.
    let stamp = now_ms.div_euclid(QUARTER_MS) * QUARTER_MS;
    if let Some(topic) = &flow.topic {
        let coarse = generalise(&clear, &feed.trunks);
        let veiled = Veiled::new(keyed.chain.export(keys.veiler.veil(&clear)), coarse);
        veiled.messages(&flow.outlet, stamp, |message| producer.send(topic, &message))?;
        passed.sent = veiled.rows() as u64;
    }
    // A later piece of a record too long to be one is sealed by the lake's side.
    if let Some(topic) = flow.dead_letter.as_ref().filter(|_| !piece.continuation) {
        let arrival = keys.quarantine_day(Day::of_ms(now_ms));
        let key = keys.ring.days.get(&arrival).ok_or_else(|| SinkError::NoKey { unit: arrival.to_string() })?;
        let origin = Origin { feed: &feed.name, topic: &from.topic, partition: from.partition };
        for some in refused(&decoded, &rejects, 0).chunks(LETTERS) {
            for letter in dead_letter::letters(origin, &key.quarantine, arrival, some, flow.max_message_bytes)? {
                producer.send(topic, &Message { key: None, timestamp_ms: stamp.max(1), value: &letter })?;
                passed.dead_letters += 1;
            }
        }
    }
    if piece.continuation {
        passed.counts = Counts::default();
    }
    producer.serve();
    Ok(passed)
}
