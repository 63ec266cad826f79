//! A member of a consumer group that decides nothing: who assigns and revokes is told to the
//! caller, who says where each partition is read from. What the group remembers serves lag tools.

pub mod group;

use crate::kafka::{Cluster, KafkaError, Link};
use rdkafka::Statistics;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError as Rdkafka, RDKafkaErrorCode as Code};
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A topic that was just made is not known to every broker at once.
pub const UNKNOWN_FOR: Duration = Duration::from_secs(4);
/// How long a broker may take to say where a partition begins and ends.
const ASKING: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    pub topic: String,
    pub partition: i32,
}

impl TopicPartition {
    /// Its name among the partitions of a feed.
    pub fn name(&self) -> String {
        format!("{}-{}", self.topic, self.partition)
    }
}

/// What the group decided, in the order it did. Each waits for its answer: `assign` or `unassign`.
#[derive(Debug, PartialEq, Eq)]
pub enum Rebalance {
    Assigned(Vec<TopicPartition>),
    Revoked {
        partitions: Vec<TopicPartition>,
        /// Others may be at work on them already.
        lost: bool,
    },
}

/// What a poll brought.
pub enum Polled<'c> {
    Message(BorrowedMessage<'c>),
    Nothing,
    /// Some partition cannot be read on from where it stood; which one is not said.
    OffsetGone,
    Trouble(KafkaError),
}

/// What the client last heard about a partition.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    /// Where consumers see it end: open transactions lie behind it.
    pub end: i64,
    /// All that can be seen before this offset was fetched, be it nothing but marks of transactions.
    pub fetched_to: Option<i64>,
    pub at: Instant,
}

pub struct Consumer {
    client: BaseConsumer<Context>,
    link: Link,
    topics: Vec<String>,
    group: String,
    heard: Arc<Mutex<HashMap<TopicPartition, Heard>>>,
    max_poll_interval: Duration,
    session: Duration,
}

/// Queues what the group decides; librdkafka waits for `assign` and `unassign`.
struct Context {
    link: Link,
    decided: Mutex<VecDeque<Rebalance>>,
    closing: AtomicBool,
}

impl Consumer {
    /// A member of `group`; `subscribe` joins it.
    pub fn new(cluster: &Cluster, group: &str, topics: &[String]) -> Result<Consumer, KafkaError> {
        let mut config = cluster.client_config()?;
        for (name, usual) in [
            // End offsets, for lag and for knowing when a topic is read to its end.
            ("statistics.interval.ms", "500"),
            // Once the queue was full, the usual second without a fetch leaves workers idle.
            ("fetch.queue.backoff.ms", "20"),
        ] {
            if config.get(name).is_none() {
                config.set(name, usual);
            }
        }
        if config.get("group.protocol") != Some("consumer") {
            config.set("partition.assignment.strategy", "cooperative-sticky");
        }
        config.set("group.id", group);
        config.set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false");
        config.set("auto.offset.reset", "error");
        config.set("isolation.level", "read_committed");
        let ms = |name: &str, usual: u64| {
            Duration::from_millis(config.get(name).and_then(|ms| ms.parse().ok()).unwrap_or(usual))
        };
        let (max_poll_interval, session) = (ms("max.poll.interval.ms", 300_000), ms("session.timeout.ms", 45_000));
        let heard = Arc::new(Mutex::new(HashMap::new()));
        let notes = Arc::clone(&heard);
        let link = Link::new("source", cluster, Some(Box::new(move |stats| note(&notes, &stats))));
        let context = Context { link: link.clone(), decided: Mutex::default(), closing: AtomicBool::new(false) };
        let client = config.create_with_context(context).map_err(|e| KafkaError::of(&e, group))?;
        Ok(Consumer {
            client,
            link,
            topics: topics.to_vec(),
            group: group.to_owned(),
            heard,
            max_poll_interval,
            session,
        })
    }

    /// Whether a broker knows the topics and lets us see them; asks at most for `patience`. Only
    /// before `subscribe`: it polls, and lets go what comes.
    pub fn reach(&self, patience: Duration) -> Result<(), KafkaError> {
        // A poll without a wait serves a single event: statistics alone come more often than that.
        let serve = || drop(self.client.poll(Duration::from_millis(50)));
        self.link.reach(self.client.client(), serve, &self.topics, patience)
    }

    /// Joins the group.
    pub fn subscribe(&self) -> Result<(), KafkaError> {
        let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        self.client.subscribe(&topics).map_err(|e| KafkaError::of(&e, &self.group))
    }

    pub fn poll(&self, timeout: Duration) -> Polled<'_> {
        match self.client.poll(timeout) {
            None => Polled::Nothing,
            Some(Ok(message)) => Polled::Message(message),
            Some(Err(e)) => self.trouble(&e),
        }
    }

    fn trouble<'c>(&self, error: &Rdkafka) -> Polled<'c> {
        if let Some(Code::LogTruncation) = error.rdkafka_error_code() {
            return Polled::OffsetGone;
        }
        let group = matches!(error.rdkafka_error_code(), Some(Code::GroupAuthorizationFailed));
        let subject = if group { self.group.clone() } else { self.topics.join(", ") };
        match KafkaError::of(error, &subject) {
            KafkaError::OffsetGone(_) => Polled::OffsetGone,
            // Said by the link already; librdkafka goes on trying.
            e if e.is_retriable() => Polled::Nothing,
            // The rebalance that follows says which.
            KafkaError::AssignmentLost(_) => Polled::Nothing,
            KafkaError::Other { name, .. } => {
                self.link.complain(&name);
                Polled::Nothing
            }
            e => Polled::Trouble(e),
        }
    }

    /// The next decision of the group.
    pub fn decided(&self) -> Option<Rebalance> {
        self.client.context().decided().pop_front()
    }

    /// The present assignment went to others without our leave.
    pub fn assignment_lost(&self) -> bool {
        self.client.assignment_lost()
    }

    /// Answers `Assigned`, or adds to the answer: reads each partition from its offset.
    pub fn assign(&self, from: &[(TopicPartition, i64)]) -> Result<(), KafkaError> {
        self.client.incremental_assign(&list(from)?).map_err(|e| KafkaError::of(&e, &self.group))
    }

    /// Answers `Revoked`.
    pub fn unassign(&self, partitions: &[TopicPartition]) -> Result<(), KafkaError> {
        let mut assigned = self.assigned();
        let gone: Vec<(TopicPartition, i64)> =
            partitions.iter().filter(|p| assigned.remove(*p)).map(|p| (p.clone(), 0)).collect();
        self.client.incremental_unassign(&list(&gone)?).map_err(|e| KafkaError::of(&e, &self.group))
    }

    fn assigned(&self) -> std::collections::HashSet<TopicPartition> {
        let assignment = self.client.assignment();
        assignment.map(|list| partitions(&list).into_iter().collect()).unwrap_or_default()
    }

    /// Reads an assigned partition from `offset` on; what was fetched of it before is not handed out.
    /// False: that was not to be, and whatever comes may be of anywhere.
    pub fn seek(&self, partition: &TopicPartition, offset: i64) -> bool {
        let Ok(place) = list(&[(partition.clone(), offset)]) else { return false };
        let sought = self.client.seek_partitions(place, ASKING);
        sought.is_ok_and(|places| places.elements().iter().all(|place| place.error().is_ok()))
    }

    /// As `seek`, also where the client has given up fetching because the offset was gone: such a
    /// partition cannot be sought in, and is begun anew. False: it is not ours.
    pub fn begin_anew(&self, partition: &TopicPartition, offset: i64) -> Result<bool, KafkaError> {
        if self.seek(partition, offset) {
            return Ok(true);
        }
        if !self.assigned().contains(partition) {
            return Ok(false);
        }
        self.unassign(std::slice::from_ref(partition))?;
        self.assign(&[(partition.clone(), offset)]).map(|()| true)
    }

    /// Waits a while for a topic of ours that went away; one that stays away is an error.
    pub fn await_topics(&self) -> Result<(), KafkaError> {
        let begun = Instant::now();
        while let Some(missing) = self.missing_topic() {
            if begun.elapsed() >= UNKNOWN_FOR {
                return Err(KafkaError::UnknownTopic(missing));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    /// A topic of ours that is not there, by the brokers' word; asks without polling.
    fn missing_topic(&self) -> Option<String> {
        let is_missing = |topic: &&String| {
            let asked = self.client.fetch_metadata(Some(topic.as_str()), ASKING);
            let error = asked.ok().and_then(|m| m.topics().iter().find(|t| t.name() == **topic)?.error());
            error.is_some_and(|code| Code::from(code) == Code::UnknownTopicOrPartition)
        };
        self.topics.iter().find(is_missing).cloned()
    }

    /// All partitions of our topics, whoever has them.
    pub fn partitions(&self) -> Result<Vec<TopicPartition>, KafkaError> {
        let mut all = Vec::new();
        for topic in &self.topics {
            let asked = self.client.fetch_metadata(Some(topic), ASKING).map_err(|e| self.link.explain(&e, topic))?;
            let found = asked.topics().iter().filter(|t| t.name() == topic).flat_map(|t| t.partitions());
            all.extend(found.map(|p| TopicPartition { topic: topic.clone(), partition: p.id() }));
        }
        Ok(all)
    }

    /// For how long the group keeps the partitions of a member that is gone without a goodbye; where
    /// the brokers decide that (`group.protocol` consumer), what they usually do.
    pub fn session(&self) -> Duration {
        self.session
    }

    /// First offset that the broker has, and the end as consumers see it.
    pub fn bounds(&self, of: &TopicPartition) -> Result<(i64, i64), KafkaError> {
        let bounds = self.client.fetch_watermarks(&of.topic, of.partition, ASKING);
        bounds.map_err(|e| self.link.explain(&e, &of.topic))
    }

    pub fn heard(&self, of: &TopicPartition) -> Option<Heard> {
        lock(&self.heard).get(of).copied()
    }

    /// Tells lag tools where the partitions stand. Nothing depends on it, so nothing waits for it.
    pub fn tell_group(&self, next: &[(TopicPartition, i64)], wait: bool) {
        let mode = if wait { CommitMode::Sync } else { CommitMode::Async };
        if next.is_empty() {
            return;
        }
        if let Ok(offsets) = list(next) {
            // A member that was put out learns it from the rebalance.
            let _ = self.client.commit(&offsets, mode);
        }
    }

    /// Does `work`, which may take long, without losing membership for it: in time the partitions
    /// are paused, and polling goes on. What it brings all the same is handed back as where to read
    /// again: partition and offset.
    pub fn busy_with<T>(&self, work: impl FnOnce() -> T) -> (T, Vec<(TopicPartition, i64)>) {
        let patience = (self.max_poll_interval / 4).min(Duration::from_secs(30));
        let (done, wait) = crossbeam_channel::bounded::<()>(0);
        std::thread::scope(|scope| {
            let poller = scope.spawn(move || {
                let mut strayed = Vec::new();
                // The other end is dropped when the work is done.
                if wait.recv_timeout(patience) == Err(crossbeam_channel::RecvTimeoutError::Timeout) {
                    self.poll_paused(&wait, &mut strayed);
                }
                strayed
            });
            let result = work();
            drop(done);
            (result, poller.join().unwrap_or_default())
        })
    }

    fn poll_paused(&self, wait: &crossbeam_channel::Receiver<()>, strayed: &mut Vec<(TopicPartition, i64)>) {
        use rdkafka::message::Message as _;
        self.link.complain("a commit takes long; reading is paused until it is done");
        let assignment = self.client.assignment();
        if let Ok(all) = &assignment {
            let _ = self.client.pause(all);
        }
        while wait.recv_timeout(Duration::from_millis(50)) == Err(crossbeam_channel::RecvTimeoutError::Timeout) {
            if let Some(Ok(m)) = self.client.poll(Duration::ZERO) {
                strayed.push((TopicPartition { topic: m.topic().to_owned(), partition: m.partition() }, m.offset()));
            }
        }
        if let Ok(all) = &assignment {
            let _ = self.client.resume(all);
        }
    }

    /// Leaves the group, telling it `next` first; false when that took longer than `within`.
    pub fn close(self, next: Vec<(TopicPartition, i64)>, within: Duration) -> bool {
        let (done, wait) = crossbeam_channel::bounded(1);
        // A broker that hangs must not hold up the end of the process.
        std::thread::spawn(move || {
            self.tell_group(&next, true);
            self.client.context().closing.store(true, Ordering::SeqCst);
            // A decision without an answer would hold up the goodbye.
            while let Some(decision) = self.decided() {
                let _ = match decision {
                    Rebalance::Assigned(_) => self.assign(&[]),
                    Rebalance::Revoked { partitions, .. } => self.unassign(&partitions),
                };
            }
            drop(self);
            let _ = done.send(());
        });
        wait.recv_timeout(within).is_ok()
    }
}

impl Context {
    fn decided(&self) -> MutexGuard<'_, VecDeque<Rebalance>> {
        lock(&self.decided)
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.link.log(level, facility, text);
    }

    fn stats(&self, statistics: Statistics) {
        self.link.stats(statistics);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.link.stats_raw(statistics);
    }

    fn error(&self, error: Rdkafka, reason: &str) {
        self.link.error(error, reason);
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.link.generate_oauth_token(config)
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, client: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let assigned = matches!(code, RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS);
        if self.closing.load(Ordering::SeqCst) {
            // Nobody is there to answer any more.
            let _ = match (assigned, client.rebalance_protocol()) {
                (true, _) => Ok(()),
                (false, RebalanceProtocol::Cooperative) => client.incremental_unassign(list),
                (false, _) => client.unassign(),
            };
            return;
        }
        let partitions = partitions(list);
        self.decided().push_back(if assigned {
            Rebalance::Assigned(partitions)
        } else {
            Rebalance::Revoked { partitions, lost: client.assignment_lost() }
        });
    }
}

fn partitions(list: &TopicPartitionList) -> Vec<TopicPartition> {
    list.elements().iter().map(|e| TopicPartition { topic: e.topic().to_owned(), partition: e.partition() }).collect()
}

fn list(partitions: &[(TopicPartition, i64)]) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for (p, offset) in partitions {
        list.add_partition_offset(&p.topic, p.partition, Offset::Offset(*offset))
            .map_err(|e| KafkaError::of(&e, &p.topic))?;
    }
    Ok(list)
}

/// Keeps what the statistics say about partitions.
fn note(heard: &Mutex<HashMap<TopicPartition, Heard>>, stats: &Statistics) {
    let now = Instant::now();
    let mut heard = lock(heard);
    heard.clear();
    for (name, topic) in &stats.topics {
        for (number, p) in topic.partitions.iter().filter(|(number, _)| **number >= 0) {
            let end = if p.ls_offset >= 0 { p.ls_offset } else { p.hi_offset };
            if end >= 0 {
                let partition = TopicPartition { topic: name.clone(), partition: *number };
                let fetched_to = (p.eof_offset >= 0).then_some(p.eof_offset);
                heard.insert(partition, Heard { end, fetched_to, at: now });
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
