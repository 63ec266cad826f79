//! A transactional producer: records and the offsets they were read up to become visible together,
//! or not at all.
//!
//! Whatever fails, fails the transaction: `give_up` ends it, and what was in it is written anew from
//! the offsets that the group has committed. Trouble that mends itself is told apart from trouble that
//! somebody must mend.

use super::Message;
use super::slot::Slot;
use crate::failpoint;
use crate::kafka::{Cluster, KafkaError, Link, Resource};
use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError as Rdkafka, RDKafkaErrorCode as Code};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::topic_partition_list::TopicPartitionList;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// One call of librdkafka waits so long; it is called again as long as there is patience.
const STEP: Duration = Duration::from_secs(2);
/// How long brokers may take for a step of a transaction before it is given up; once the run is to
/// end, not that long.
const PATIENCE: Duration = Duration::from_secs(30);
const HURRIED: Duration = Duration::from_secs(5);
/// An abort that takes longer is left to the next producer, which begins with one.
const ABORTING: Duration = Duration::from_secs(5);
/// Fenced so often, the id is somebody else's, or the brokers miss us too often to care.
const FENCED_MAX: u32 = 3;

/// Why a transaction was not to be.
#[derive(Debug)]
pub enum Trouble {
    /// The same may work later without anybody doing anything.
    Passes(KafkaError),
    /// A right, a topic or an option is wrong.
    Stays(KafkaError),
}

impl Trouble {
    pub fn error(self) -> KafkaError {
        match self {
            Trouble::Passes(e) | Trouble::Stays(e) => e,
        }
    }
}

/// Where to, and how.
pub struct Settings<'a> {
    pub cluster: &'a Cluster,
    /// Whose offsets move along.
    pub group: &'a str,
    /// All that are written to.
    pub topics: Vec<String>,
    /// After this long the brokers abort what a process left open that is no more.
    pub transaction_timeout: Duration,
    /// The run is to end.
    pub stopping: &'a dyn Fn() -> bool,
}

/// Makes producers, one after the other, and holds the transaction of the present one.
pub struct Producer<'a> {
    settings: Settings<'a>,
    slot: Slot,
    link: Link,
    /// What the first message that was not delivered was refused for.
    refused: Refusals,
    client: Option<BaseProducer<Context>>,
    /// The brokers know it, and nothing of its id's past is open.
    is_ready: bool,
    was_ready: bool,
    is_open: bool,
    fenced: u32,
}

type Refusals = Arc<Mutex<Option<Code>>>;

struct Context {
    link: Link,
    refused: Refusals,
}

impl<'a> Producer<'a> {
    /// Connects to nothing yet.
    pub fn new(settings: Settings<'a>, slot: Slot) -> Producer<'a> {
        let link = Link::new("sink", settings.cluster, None);
        Producer {
            settings,
            slot,
            link,
            refused: Refusals::default(),
            client: None,
            is_ready: false,
            was_ready: false,
            is_open: false,
            fenced: 0,
        }
    }

    /// After this long the brokers abort a transaction, by the options or by us.
    pub fn transaction_timeout(&self) -> Result<Duration, KafkaError> {
        let config = self.config()?;
        let ms = config.get("transaction.timeout.ms").and_then(|ms| ms.parse().ok());
        Ok(ms.map_or(self.settings.transaction_timeout, Duration::from_millis))
    }

    /// Bytes of a message at most.
    pub fn max_message_bytes(&self) -> Result<usize, KafkaError> {
        let config = self.config()?;
        Ok(config.get("message.max.bytes").and_then(|n| n.parse().ok()).unwrap_or(1_000_000))
    }

    /// Whether records or offsets stand in an open transaction.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Makes sure there is a producer, and with it that nothing of its id's past is open.
    pub fn ready(&mut self) -> Result<(), Trouble> {
        if self.is_ready {
            return Ok(());
        }
        if self.client.is_none() {
            self.client = Some(self.connect().map_err(Trouble::Stays)?);
        }
        let client = self.client.as_ref().expect("made just now");
        let asked = client.init_transactions(STEP);
        client.poll(Duration::ZERO);
        if let Err(e) = asked {
            let trouble = self.judged(&e);
            if !is_retriable(&e) {
                self.client = None;
            }
            return Err(trouble);
        }
        // A poll without a wait serves a single event.
        let serve = || client.poll(Duration::from_millis(50));
        match self.link.reach(client.client(), serve, &self.settings.topics, STEP) {
            Ok(()) => {}
            Err(e) if e.is_retriable() => return Err(Trouble::Passes(e)),
            Err(e) => return Err(Trouble::Stays(e)),
        }
        (self.is_ready, self.was_ready) = (true, true);
        Ok(())
    }

    fn connect(&self) -> Result<BaseProducer<Context>, KafkaError> {
        let context = Context { link: self.link.clone(), refused: Arc::clone(&self.refused) };
        let client = self.config()?.create_with_context(context);
        client.map_err(|e| KafkaError::of(&e, self.slot.id()))
    }

    /// Adds a message to the transaction, begun if there is none. Waits while the queue is full.
    pub fn send(&mut self, topic: &str, message: &Message<'_>) -> Result<(), Trouble> {
        self.begin()?;
        let client = self.client.as_ref().expect("a transaction has a producer");
        let mut record = BaseRecord::<[u8; 16], [u8]>::to(topic).payload(message.value).timestamp(message.timestamp_ms);
        record.key = message.key.as_ref();
        let begun = Instant::now();
        while let Err((e, again)) = client.send(record) {
            if e.rdkafka_error_code() != Some(Code::QueueFull) || self.is_late(begun) {
                return Err(self.judged(&e));
            }
            client.poll(Duration::from_millis(20));
            record = again;
        }
        Ok(())
    }

    /// Takes up what brokers have answered meanwhile.
    pub fn serve(&self) {
        if let Some(client) = &self.client {
            client.poll(Duration::ZERO);
        }
    }

    /// Commits the transaction together with `offsets`, if `fence` says that they are ours still.
    /// After an error it is not known whether it was committed: only the group's offsets tell.
    pub fn commit(&mut self, offsets: &TopicPartitionList, fence: &ConsumerGroupMetadata) -> Result<(), Trouble> {
        self.begin()?;
        let client = self.client.as_ref().expect("a transaction has a producer");
        failpoint::reached("sink.sent");
        self.deliver(client)?;
        let begun = Instant::now();
        again(|| self.is_late(begun), || client.send_offsets_to_transaction(offsets, fence, STEP))
            .map_err(|e| self.judged(&e))?;
        failpoint::reached("sink.offsets");
        again(|| self.is_late(begun), || client.commit_transaction(STEP)).map_err(|e| self.judged(&e))?;
        failpoint::reached("sink.committed");
        self.is_open = false;
        self.link.works();
        Ok(())
    }

    /// Waits until the brokers have every message, as long as they take some of them in time: what is
    /// refused is known by its cause before the offsets say that it is there.
    fn deliver(&self, client: &BaseProducer<Context>) -> Result<(), Trouble> {
        let (mut since, mut left) = (Instant::now(), i32::MAX);
        loop {
            let now_left = client.in_flight_count();
            if lock(&self.refused).is_some() {
                return Err(self.judged(&Rdkafka::Canceled));
            }
            if now_left == 0 {
                return Ok(());
            }
            if now_left < left {
                (since, left) = (Instant::now(), now_left);
            } else if self.is_late(since) {
                return Err(self.judged(&Rdkafka::Flush(Code::OperationTimedOut)));
            }
            let _ = client.flush(Duration::from_millis(100));
        }
    }

    /// Ends whatever is open. What cannot be aborted in time is left to a new producer of the same id.
    pub fn give_up(&mut self, trouble: &KafkaError) {
        if matches!(trouble, KafkaError::Fenced(_)) {
            self.fenced += 1;
            if self.fenced >= FENCED_MAX {
                self.slot.leave();
                self.fenced = 0;
            }
        }
        let keep = match &self.client {
            Some(client) if self.is_open => {
                let begun = Instant::now();
                again(|| begun.elapsed() >= ABORTING, || client.abort_transaction(STEP)).is_ok()
            }
            _ => true,
        };
        if !keep || matches!(trouble, KafkaError::Fenced(_) | KafkaError::Fatal(_)) {
            (self.client, self.is_ready) = (None, false);
        }
        self.is_open = false;
        *lock(&self.refused) = None;
    }

    pub fn complain(&self, text: &str) {
        self.link.complain(text);
    }

    fn is_late(&self, since: Instant) -> bool {
        since.elapsed() >= if (self.settings.stopping)() { HURRIED } else { PATIENCE }
    }

    fn begin(&mut self) -> Result<(), Trouble> {
        if self.is_open {
            return Ok(());
        }
        self.ready()?;
        let client = self.client.as_ref().expect("it is ready");
        client.begin_transaction().map_err(|e| self.judged(&e))?;
        self.is_open = true;
        Ok(())
    }

    /// What is behind an error, and whether it will pass.
    fn judged(&self, error: &Rdkafka) -> Trouble {
        let said = *lock(&self.refused);
        let topics = self.settings.topics.join(", ");
        let meant = match said {
            Some(code) => KafkaError::of_code(code, &topics),
            None => match self.link.explain(error, self.slot.id()) {
                KafkaError::UnknownTopic(_) => KafkaError::UnknownTopic(topics),
                KafkaError::NotAuthorised(Resource::Topic, _, rights) => {
                    KafkaError::NotAuthorised(Resource::Topic, topics, rights)
                }
                KafkaError::NotAuthorised(Resource::Group, _, rights) => {
                    KafkaError::NotAuthorised(Resource::Group, self.settings.group.to_owned(), rights)
                }
                meant => meant,
            },
        };
        let stays = matches!(
            meant,
            KafkaError::Secret { .. }
                | KafkaError::UnknownOption(_)
                | KafkaError::BadValue(_)
                | KafkaError::Options(_)
                | KafkaError::Credentials(_)
                | KafkaError::NotAuthorised(..)
                | KafkaError::UnknownTopic(_)
                | KafkaError::MessageTooLarge
        );
        let refusal = said.or(error.rdkafka_error_code());
        let stays = stays
            || matches!(
                refusal,
                Some(Code::InvalidTimestamp | Code::PolicyViolation | Code::InvalidTransactionTimeout)
            );
        // Once it worked, a handshake that fails is a link that broke in the middle of one.
        let stays = stays || matches!(meant, KafkaError::Tls(_)) && !self.was_ready;
        if stays { Trouble::Stays(meant) } else { Trouble::Passes(meant) }
    }

    fn config(&self) -> Result<ClientConfig, KafkaError> {
        let mut config = self.settings.cluster.client_config()?;
        let timeout = self.settings.transaction_timeout.as_millis().to_string();
        for (name, usual) in [
            ("transaction.timeout.ms", timeout.as_str()),
            // Records of one A party lie where the clients of other languages look for them.
            ("partitioner", "murmur2_random"),
            ("compression.type", "lz4"),
            ("linger.ms", "20"),
            // Memory of what waits to be sent.
            ("queue.buffering.max.kbytes", "65536"),
        ] {
            if config.get(name).is_none() {
                config.set(name, usual);
            }
        }
        config.set("transactional.id", self.slot.id());
        config.set("enable.idempotence", "true");
        config.set("delivery.report.only.error", "true");
        Ok(config)
    }
}

/// Calls until it works, fails for good, or time is up.
fn again(is_late: impl Fn() -> bool, call: impl Fn() -> Result<(), Rdkafka>) -> Result<(), Rdkafka> {
    loop {
        match call() {
            Err(e) if is_retriable(&e) && !is_late() => std::thread::sleep(Duration::from_millis(50)),
            other => return other,
        }
    }
}

/// A step that may be called again as it stands; anything else ends its transaction.
fn is_retriable(error: &Rdkafka) -> bool {
    match error {
        Rdkafka::Transaction(e) => e.is_retriable() && !e.txn_requires_abort(),
        Rdkafka::Flush(code) => *code == Code::OperationTimedOut,
        _ => false,
    }
}

fn lock(refused: &Mutex<Option<Code>>) -> MutexGuard<'_, Option<Code>> {
    refused.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.link.log(level, facility, text);
    }

    fn error(&self, error: Rdkafka, reason: &str) {
        self.link.error(error, reason);
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.link.generate_oauth_token(config)
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((e, _)) = result {
            let code = e.rdkafka_error_code().unwrap_or(Code::Fail);
            // Purged by an abort: that had a cause of its own.
            if !matches!(code, Code::PurgeQueue | Code::PurgeInflight) {
                lock(&self.refused).get_or_insert(code);
            }
        }
    }
}
