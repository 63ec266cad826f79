//! Wires the stages; the only place that knows their order.
//!
//! source → decode → normalise → pseudonymise → generalise, tally → seal → stage → commit.
//! `block` is one block's way through, top to bottom, on a worker; `run` takes files and standard
//! input whole, `watch` never ends, `follow` reads growing files, `messages` makes batches of a stream's
//! messages, `stream` reads topics, and `veiled_stream` reads them once more for the Kafka sink; `replay`
//! takes refused records through once more. CPU work stays on plain threads.

pub mod block;
mod encrypted;
pub mod engine;
pub mod file_lane;
pub mod follow;
pub mod halves;
pub mod idle;
pub mod headers;
pub mod lane;
pub mod messages;
pub mod pool;
pub mod replay;
pub mod round;
pub mod run;
pub mod seen;
pub mod stream;
pub mod summary;
pub mod veiled_stream;
pub mod watch;

use crate::decode::mapping::Mapping;
use crate::decode::open::OpenError;
use crate::generalise::TrunkList;
use crate::keys::{KeyError, KeyRing};
use crate::lake::LakeError;
use crate::normalise::Normaliser;
use crate::pseudonymise::Veiler;
use crate::pseudonymise::chained::NoRecipientKey;
use crate::record::time::{Day, Epoch};
use crate::seal::SealError;
use crate::sink::SinkError;
use crate::sink::evidence::Original;
use crate::source::SourceError;
use crate::tally::Cube;

/// A feed as the flow needs it: everything checked, nothing optional.
pub struct Feed {
    pub name: String,
    pub mapping: Mapping,
    pub normaliser: Normaliser,
    pub profile_version: u32,
    pub profile_digest: String,
    /// Days back from arrival that an event may lie; `None` is unlimited.
    pub accept_late_days: Option<u32>,
    pub future_hours: u32,
    pub original: Original,
    pub trunks: TrunkList,
    pub join_window_ms: i64,
    pub cube: Cube,
}

impl Feed {
    /// First and last acceptable event time for records that arrive at `now_ms`.
    pub fn window(&self, now_ms: i64) -> (i64, i64) {
        let earliest = self.accept_late_days.map_or(i64::MIN, |days| now_ms - i64::from(days) * 86_400_000);
        (earliest, now_ms + i64::from(self.future_hours) * 3_600_000)
    }
}

/// The leased keys, and what is computed from them once.
pub struct Keys {
    pub ring: KeyRing,
    pub veiler: Veiler,
    /// Ascending; epochs whose days all have keys.
    pub epochs: Vec<Epoch>,
}

impl Keys {
    pub fn new(ring: KeyRing) -> Keys {
        let whole = |e: &Epoch| e.days().all(|d| ring.days.contains_key(&d));
        let epochs = ring.epochs.keys().copied().filter(whole).collect();
        Keys { veiler: Veiler::new(&ring), epochs, ring }
    }

    /// The day whose key seals what is refused on `arrival`: that day, or, while the keys of a new
    /// month are missing, the last one that has keys.
    pub fn quarantine_day(&self, arrival: Day) -> Day {
        self.ring.days.range(..=arrival).next_back().map_or(arrival, |(day, _)| *day)
    }
}

/// Why a run stopped. Refused records and files do not stop a run.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Sink(#[from] SinkError),
    #[error(transparent)]
    Keys(#[from] KeyError),
    #[error(transparent)]
    Kafka(#[from] crate::kafka::KafkaError),
    #[error(
        "partition {partition}: offset {next} is to be read next, but the broker begins at {low}: retention has deleted {} offsets unread; set lost_offsets = \"skip\" in the feed's kafka table to go on without them, counted", low - next
    )]
    OffsetsLost { partition: String, next: i64, low: i64 },
    #[error(
        "partition {partition}: offset {next} is to be read next, but the broker ends at {high}: the topic was made anew, or has lost what was read from it; give the feed another name or the topic"
    )]
    TopicRemade { partition: String, next: i64, high: i64 },
    #[error(
        "feed {feed} cannot read from Kafka: its mapping joins the two halves of a call, and a half that waits could not be read again after a restart"
    )]
    JoinsInStream { feed: String },
    #[error(
        "nothing says what the columns of {count} of these records of feed {feed} are: they were refused before header rows were kept"
    )]
    NoColumns { feed: String, count: usize },
    #[error(
        "records of feed {feed} cannot be replayed: its mapping joins the two halves of a call, and a half alone is no call"
    )]
    JoinsInReplay { feed: String },
    #[error(transparent)]
    NoRecipient(#[from] NoRecipientKey),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error("a worker stopped early")]
    Worker,
    #[error("another process is loading feed {feed}; what this one staged was dropped, run it again")]
    Overtaken { feed: String },
    #[error("a growing file of feed {feed} cannot be read on; the files' reports say why")]
    Stopped { feed: String },
    #[error(
        "a batch of feed {feed} took longer than half of [ingest] orphan_after_hours and was dropped; nothing of it was committed"
    )]
    TooLong { feed: String },
    #[error(
        "{count} open halves of calls can no longer be read again where feed {feed} found them; put the files back, or run with --forget-open to count them as lost"
    )]
    HalvesLost { feed: String, count: usize },
}

impl From<LakeError> for PipelineError {
    fn from(e: LakeError) -> PipelineError {
        PipelineError::Sink(SinkError::Lake(e))
    }
}
